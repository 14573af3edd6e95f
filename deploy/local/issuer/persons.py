"""The people who can sign in here: a file of their pseudonyms, and of what their passphrases hash to."""

import asyncio
import hashlib
import hmac
import json
import secrets
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from services.runtime.clock import Clock
from services.runtime.durable_files import write_durably
from services.runtime.logs import log
from services.runtime.tokens import Pseudonym

PERSONS_MAX: Final = 1_000
PASSPHRASE_BYTES: Final = 15
FAILURES_MAX: Final = 5
REFUSED_FOR: Final = timedelta(minutes=1)
COST: Final = {"n": 1 << 14, "r": 8, "p": 1}
"""Of scrypt (RFC 7914): 16 MiB and some fifty milliseconds a try."""

_Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{32,128}$")]
_PERSONS: Final = TypeAdapter(Annotated[dict[Pseudonym, tuple[_Hex, _Hex]], Field(max_length=PERSONS_MAX)])
"""Pseudonym → salt and hash."""


class Persons:
    """Who may sign in; the file is read at each try, so that whoever is added can sign in at once."""

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._one_tries = asyncio.Lock()
        self._failures: Counter[str] = Counter()
        self._since: datetime = clock.now()

    async def know(self, name: str, passphrase: str) -> bool:
        """Whether this is that person's passphrase; waits for other tries, of which one is made at a time.

        After five failures in a minute a name is refused for the rest of it, with any passphrase.
        """
        async with self._one_tries:
            now = self._clock.now()
            if not timedelta() <= now - self._since < REFUSED_FOR:
                self._failures.clear()
                self._since = now
            known = _read(self._file)
            whose = name if name in known else ""
            if self._failures[whose] >= FAILURES_MAX:
                log().warning("sign_in_refused", error_code="too_many_tries")
                return False
            salt, expected = known.get(name, ("00" * 16, ""))
            is_right = hmac.compare_digest(await asyncio.to_thread(_hash, passphrase, salt), expected)
            if not is_right:
                self._failures[whose] += 1
                log().warning("sign_in_refused", error_code="wrong_passphrase")
            return is_right


def add_person(file: Path, name: str) -> str:
    """Let a person sign in by a new passphrase, which is told this once; whoever was there gets another."""
    passphrase, salt = secrets.token_urlsafe(PASSPHRASE_BYTES), secrets.token_hex(16)
    written = json.dumps({**_read(file), name: (salt, _hash(passphrase, salt))})
    _PERSONS.validate_json(written)
    write_durably(file, written.encode())
    return passphrase


def is_person(file: Path, name: str) -> bool:
    """Whether somebody of this name can sign in."""
    return name in _read(file)


def _read(file: Path) -> Mapping[str, tuple[str, str]]:
    try:
        return _PERSONS.validate_json(file.read_bytes())
    except (OSError, ValidationError):
        log().error("persons_unreadable")
        return {}


def _hash(passphrase: str, salt: str) -> str:
    return hashlib.scrypt(passphrase.encode(), salt=bytes.fromhex(salt), dklen=32, **COST).hex()
