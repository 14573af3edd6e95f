"""The key of an agency that its packets are sealed to: kept in a file of its own, never at any service."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from deploy.local.places import write_private
from deploy.local.refusals import CannotRun
from schemas.events.packet import FIELD_ROWS, SafeContact, may_contact
from schemas.events.pulls import PullAnswer
from schemas.trail.bytes import TrailFault, decoded, encoded
from schemas.wire.hpke import DEFAULT_SUITE, CannotOpen, key_id, new_pair, public_of
from schemas.wire.key_records import VALID_FOR_MAX, KeyRecord, sign_key_record
from schemas.wire.packets import open_release
from schemas.wire.signed import SignatureWrong

BEFORE: Final = timedelta(minutes=5)
"""How much earlier than now a record begins, for clocks that are behind."""


class CannotOpenRelease(CannotRun):
    """A release that this key does not open, or that the owner's vault did not sign."""

    def __init__(self) -> None:
        super().__init__("cannot_open", "The release does not open with this key; pull again with its own.")


@dataclass(frozen=True, slots=True)
class PacketKey:
    """The private half of an agency's packet key: with it, and with nothing else, a release opens."""

    agency: str
    suite: int
    private: bytes = field(repr=False)

    @classmethod
    def new(cls, agency: str) -> Self:
        """A fresh key."""
        return cls(agency, DEFAULT_SUITE, new_pair(DEFAULT_SUITE)[0])

    @classmethod
    def read(cls, file: Path) -> Self:
        """The key of a file."""
        try:
            words = json.loads(file.read_text("ascii"))
            key = cls(str(words["agency"]), int(words["suite"]), decoded(words["private"]))
            public_of(key.suite, key.private)
        except (OSError, ValueError, KeyError, TypeError, TrailFault, CannotOpen):
            raise CannotRun("bad_key_file", f"{file} holds no packet key of an agency.") from None
        return key

    def write(self, file: Path) -> None:
        """Keep it in a file that its owner alone may read."""
        words = {"agency": self.agency, "suite": self.suite, "private": encoded(self.private)}
        write_private(file, json.dumps(words).encode())

    @property
    def id(self) -> str:
        """Its name in pulls and releases."""
        return key_id(self.suite, public_of(self.suite, self.private))

    def record(self, signing_key: Ed25519PrivateKey, now: datetime) -> KeyRecord:
        """What the agency registers at its own sector, signed by its admitted key."""
        return sign_key_record(
            signing_key,
            holder=self.agency,
            suite=self.suite,
            public=public_of(self.suite, self.private),
            not_before=now - BEFORE,
            not_after=now - BEFORE + VALID_FOR_MAX,
        )

    def open(self, answer: bytes, vault_key: bytes) -> dict[str, dict[str, Any]]:
        """The groups of a pull's answer, if the owner's vault signed it and it was sealed to this key.

        Fields that go only with others, as a number with her rules, are left out where those are missing.
        """
        try:
            release = PullAnswer.model_validate_json(answer).release
            opened = open_release(release, self.private, vault_key)
        except (ValueError, SignatureWrong, CannotOpen):
            raise CannotOpenRelease from None
        return {
            group: {
                name: value
                for name, value in fields.items()
                if FIELD_ROWS[group][name].only_with in (None, *fields)
            }
            for group, fields in opened.items()
        }


def may_call(groups: Mapping[str, Mapping[str, Any]], at: datetime) -> bool | None:
    """Whether her rules let her be called at that moment; None where no rules were opened."""
    try:
        rules = SafeContact.model_validate(groups["contact"]["safe_contact"])
    except (KeyError, ValidationError):
        return None
    return may_contact(rules, "call", at)
