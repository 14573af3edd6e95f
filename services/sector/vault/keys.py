"""A vault's keys by epoch: key-encryption keys at a provider, intake pairs, and when they go."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.wire.hpke import DEFAULT_SUITE, PRIVATE_BYTES, CannotOpen, public_of
from schemas.wire.packets import (
    KEK_NONCE_BYTES,
    IntakeKey,
    WrapPlace,
    unwrap_at_intake,
    unwrap_with_kek,
    wrap_with_kek,
)
from schemas.wire.signed import sign
from services.runtime.durable_files import sync_folder, write_durably
from services.sector.vault.requests import DataKeyWrap

KEK_BYTES: Final = 32
EPOCH_LIFE: Final = timedelta(days=7)
KEY_LIFE: Final = timedelta(days=35)
"""From an epoch's begin until its key goes: as long as a backup lives."""
REWRAP_WITHIN: Final = timedelta(days=1)
"""How long no key goes after an epoch began: what older ones hold is wrapped anew first."""
INTAKE_LIFE: Final = timedelta(days=14)
"""How long writers can do without a vault."""

RandomBytes = Callable[[int], bytes]


class KeyProvider(Protocol):
    """Holds key-encryption keys, which never leave it: it wraps and unwraps."""

    def make(self, epoch: str) -> None:
        """Makes the key of an epoch; one that was made and never used is made anew."""

    def wrap(self, place: WrapPlace, data_key: bytes) -> bytes:
        """Wraps a data key with the key of its place's epoch."""

    def unwrap(self, place: WrapPlace, wrap: bytes) -> bytes:
        """Unwraps; CannotOpen also where the epoch's key is gone."""

    def destroy(self, epoch: str) -> None:
        """Takes the key of an epoch away for good; without harm where it is gone already."""


class KeyFiles(KeyProvider):
    """Keys as files that their owner alone may read; read at each use, so that what is gone is gone."""

    def __init__(self, folder: Path, random_bytes: RandomBytes) -> None:
        self._folder = folder
        self._random_bytes = random_bytes

    def make(self, epoch: str) -> None:
        write_durably(self._file(epoch), self._random_bytes(KEK_BYTES))

    def wrap(self, place: WrapPlace, data_key: bytes) -> bytes:
        nonce = self._random_bytes(KEK_NONCE_BYTES)
        return wrap_with_kek(place, self._file(place.epoch).read_bytes(), nonce, data_key)

    def unwrap(self, place: WrapPlace, wrap: bytes) -> bytes:
        return unwrap_with_kek(place, read_key(self._file(place.epoch)), wrap)

    def destroy(self, epoch: str) -> None:
        take_away(self._file(epoch))

    def _file(self, epoch: str) -> Path:
        return self._folder / f"{epoch}.kek"


@dataclass(frozen=True, slots=True)
class KeyEpoch:
    """One epoch: when it began, or None of the next one, and the suite of its intake pair."""

    number: int
    began: str | None
    suite: int = DEFAULT_SUITE

    @property
    def name(self) -> str:
        """As wraps name it."""
        return f"e{self.number}"


class Epochs:
    """The epochs whose keys are there: older ones, the current one, and the next one's intake pair."""

    def __init__(self, folder: Path, sector: str, provider: KeyProvider, random_bytes: RandomBytes) -> None:
        self._folder = folder
        self._list = folder / "epochs"
        self._sector = sector
        self._provider = provider
        self._random_bytes = random_bytes
        self._epochs: list[KeyEpoch] = []
        if self._list.exists():
            self._epochs = [KeyEpoch(**row) for row in json.loads(self._list.read_bytes())]

    @property
    def is_new(self) -> bool:
        """Whether there has never been an epoch."""
        return not self._epochs

    @property
    def current(self) -> KeyEpoch:
        """The epoch that new wraps belong to."""
        return self._epochs[-2]

    @property
    def all(self) -> list[KeyEpoch]:
        """Those that began, the oldest first."""
        return self._epochs[:-1]

    def keep(self, now: datetime) -> bool:
        """Take away keys whose time is over, and begin the next epoch each week; says whether one began."""
        age = now - datetime.fromisoformat(str(self.current.began))
        if age >= REWRAP_WITHIN:  # after a long pause the last epoch is old, and its key holds everything
            self._destroy_old(now)
        if age < EPOCH_LIFE:
            return False
        self.rotate(now)
        return True

    def rotate(self, now: datetime) -> None:
        """Begin the next epoch; what older keys hold stays readable until they go."""
        last = self._epochs[-1] if self._epochs else self._make(KeyEpoch(1, None))
        begun = KeyEpoch(last.number, now.isoformat(), last.suite)
        following = self._make(KeyEpoch(last.number + 1, None))
        # A crash before this line leaves keys that nothing names; they are made anew.
        self._write([*self._epochs[:-1], begun, following])

    def intake_keys(self, now: datetime, private: Ed25519PrivateKey) -> list[IntakeKey]:
        """The signed intake keys of this epoch and the next."""
        return [sign(self._intake_key(epoch, now), private) for epoch in self._epochs[-2:]]

    def unwrap(self, row: DataKeyWrap) -> bytes:
        """The data key of a row, in either form; CannotOpen where nothing opens it any more."""
        place = row.place(self._sector)
        if row.is_adopted:
            return self._provider.unwrap(place, row.wrap)
        epoch = next((one for one in self._epochs if one.name == row.epoch), None)
        if epoch is None:
            raise CannotOpen
        return unwrap_at_intake(place, epoch.suite, read_key(self._intake_file(epoch)), row.wrap)

    def adopt(self, row: DataKeyWrap) -> DataKeyWrap:
        """The same data key, wrapped with the current epoch's key."""
        data_key = self.unwrap(row)
        own = row.model_copy(update={"epoch": self.current.name, "is_adopted": True})
        wrap = self._provider.wrap(own.place(self._sector), data_key)
        return own.model_copy(update={"wrap": wrap})

    def _destroy_old(self, now: datetime) -> None:
        old = [epoch for epoch in self.all[:-1] if now - datetime.fromisoformat(str(epoch.began)) >= KEY_LIFE]
        for epoch in old:
            self._provider.destroy(epoch.name)
            take_away(self._intake_file(epoch))
        if old:
            # A crash before this line: the keys are gone, and are looked for once more.
            self._write(self._epochs[len(old) :])

    def _make(self, epoch: KeyEpoch) -> KeyEpoch:
        self._provider.make(epoch.name)
        write_durably(self._intake_file(epoch), self._random_bytes(PRIVATE_BYTES))
        return epoch

    def _intake_key(self, epoch: KeyEpoch, now: datetime) -> IntakeKey:
        return IntakeKey(
            sector=self._sector,
            epoch=epoch.name,
            suite=epoch.suite,
            public=public_of(epoch.suite, read_key(self._intake_file(epoch))),
            not_before=now,
            not_after=now + INTAKE_LIFE,
        )

    def _intake_file(self, epoch: KeyEpoch) -> Path:
        return self._folder / f"{epoch.name}.intake"

    def _write(self, epochs: list[KeyEpoch]) -> None:
        write_durably(self._list, json.dumps([asdict(epoch) for epoch in epochs]).encode())
        self._epochs = epochs


def read_key(file: Path) -> bytes:
    """A key from its file; CannotOpen where it is gone."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise CannotOpen from None


def take_away(file: Path) -> None:
    """Remove a file so that a power cut cannot bring it back."""
    file.unlink(missing_ok=True)
    sync_folder(file.parent)
