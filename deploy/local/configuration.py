"""What the operator chooses: one TOML file in the data directory, and `CONCERT_…` variables over it."""

import json
import os
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.local.places import cache_directory, default_directory, make_directory
from deploy.local.refusals import CannotRun
from services.runtime.settings import (
    PREFIX,
    ConsoleSettings,
    IssuerSettings,
    KafkaSettings,
    UnknownSetting,
    refuse_unknown,
)

FILE_NAME: Final = "concert.toml"
LOG_NUMBER: Final = "log_number"
"""The file with which the access log goes on under another name, once `concert trail recover` began it."""
KEPT: Final = ("mode", "cell", "jurisdiction", "year")
"""What makes an installation this one: written once, so that it stays the same in the years to come."""

HEADING: Final = """\
# Concert on this machine. CONCERT_... variables win over this file.
# Ports that are named in a section [ports] are used or refused, never replaced.
# [scale] says how many processes of a service run, such as health = 2; `concert scale` writes it below."""
MARK: Final = "# Below this line the supervisor writes; a port that is taken is chosen anew."
WORD: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExternalDatabase(_Section):
    """A PostgreSQL server that somebody else runs, and its administrator."""

    url: str
    password_file: Path


class MailServer(_Section):
    """Where notifications hand in their mail; without it the local sink takes them."""

    host: str
    port: int = 25
    sender: str = "concert@localhost"
    encryption: Literal["starttls", "none"] = "starttls"
    """Mail in the clear is for a server on this machine alone."""
    authority_file: Path | None = None
    """The authority, in PEM, that signed the server's certificate, where it is not a public one."""


class Configuration(BaseSettings):
    """One installation on one machine."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__"
    )

    data: Path
    """The data directory; everything of this installation lies in it."""
    cache: Path
    """Downloads, shared by all installations of this user."""
    mode: Literal["local", "test", "live"] = "local"
    cell: str = Field(default="test-local", pattern=WORD)
    jurisdiction: str = Field(default="demo", pattern=WORD)
    """Where the access log counts; part of its name."""
    year: int = Field(ge=2000, le=9999)
    """The year of the access log; part of its name."""
    ports: Mapping[str, int] = {}
    """Ports that the operator names; taken ones are refused."""
    chosen_ports: Mapping[str, int] = {}
    """Ports that the supervisor chose; taken ones are chosen anew."""
    kafka: KafkaSettings | None = None
    """Brokers that somebody else runs, and the administrator that makes topics, users and rights there."""
    database: ExternalDatabase | None = None
    smtp: MailServer | None = None
    scale: Mapping[str, int] = {}
    """How many processes of a service run, where it is more than one; `concert scale` changes it."""
    probe: bool = True
    """Whether referrals between probes show that all works; in mode `local`, which admits them by itself."""
    issuer: IssuerSettings | None = None
    """Who signs agencies' access tokens, where it is not the local issuer."""
    console: ConsoleSettings | None = None
    """How people reach the operators' console, where the local issuer does not sign them in."""
    governance_keys_file: Path | None = None
    """The public keys of governance's three holders, where they are not this installation's own."""
    areas_file: Path = Path(__file__).with_name("areas.csv")
    """The tree of p-codes where partners work; that of an invented country, until the operator names one."""

    @classmethod
    def settings_customise_sources(cls, *_: Any, **sources: Any) -> tuple[Any, ...]:
        """The environment wins over the file, which `load` hands in."""
        return sources["env_settings"], sources["init_settings"]

    @property
    def origin(self) -> str:
        """The name of the access log."""
        return self.origin_of(self.log_number)

    @property
    def log_number(self) -> int:
        """Which log of its year it is; read each time, so that what starts later is told of a new one."""
        try:
            return int((self.data / LOG_NUMBER).read_text("ascii"))
        except FileNotFoundError:
            return 1
        except ValueError:
            raise CannotRun("bad_configuration", f"{self.data / LOG_NUMBER} holds no number.") from None

    def origin_of(self, number: int) -> str:
        """The name of a log of this year by its number."""
        return f"audit.localhost/{self.jurisdiction}/{self.year}" + (f"-{number}" if number > 1 else "")

    @property
    def has_one_broker(self) -> bool:
        """Whether topics have the few partitions of a single broker."""
        return self.kafka is None or self.mode == "local"

    @property
    def logs(self) -> Path:
        """Where each part's output goes."""
        return self.data / "logs"

    @property
    def run(self) -> Path:
        """The lock and the state of the supervisor."""
        return self.data / "run"


def load(data: Path | None = None) -> Configuration:
    """The configuration of a data directory, or what a first start there would write."""
    try:
        refuse_unknown(os.environ, Configuration)
    except UnknownSetting as unknown:
        raise CannotRun("unknown_setting", str(unknown)) from None
    folder = data or Path(os.environ.get("CONCERT_DATA") or default_directory())
    folder = folder.expanduser().absolute()
    values: dict[str, Any] = {"cache": cache_directory(), "year": datetime.now(UTC).year}
    values |= {**_read(folder / FILE_NAME), "data": folder}
    try:
        found = Configuration(**values)
    except ValidationError as error:
        places = sorted({".".join(str(part) for part in each["loc"]) for each in error.errors()})
        raise CannotRun("bad_configuration", f"The configuration is wrong at: {', '.join(places)}.") from None
    _check_mode(found)
    return found.model_copy(update={"data": folder})


def _check_mode(found: Configuration) -> None:
    """The same rules as each service has, said once before anything starts."""
    if found.mode == "live":
        raise CannotRun(
            "wrong_mode", "Mode live needs sealed events, which this release does not write; use mode test."
        )
    if not found.cell.startswith("test-"):
        raise CannotRun("wrong_mode", "A cell that is not live has a name that begins with test-.")
    if found.mode != "local" and not found.issuer:
        raise CannotRun("wrong_mode", "The local issuer serves mode local only; name your own issuer.")
    if found.mode != "local" and found.console and not found.console.is_private:
        raise CannotRun(
            "wrong_mode", "People sign in over https only, but in mode local; name such addresses."
        )
    if found.mode != "local" and not found.governance_keys_file:
        raise CannotRun(
            "wrong_mode",
            "Mode local alone makes governance's keys itself; name the three holders' public keys as "
            "governance_keys_file (`concert governance keys create`).",
        )


def trial(data: Path, **changes: Any) -> Configuration:
    """The configuration of a temporary installation, for demonstrations and tests."""
    values: dict[str, Any] = {"cache": cache_directory(), "year": datetime.now(UTC).year, "data": data}
    return Configuration.model_construct(**values | {"probe": False} | changes)


def kept(configuration: Configuration, ports: Mapping[str, int], scale: Mapping[str, int]) -> Configuration:
    """The configuration with what the supervisor chose, written down."""
    chosen = {name: port for name, port in ports.items() if name not in configuration.ports}
    found = configuration.model_copy(update={"chosen_ports": chosen, "scale": dict(scale)})
    write(found)
    return found


def write(configuration: Configuration) -> None:
    """Writes the file at a first start; later only what stands below the mark, which is the supervisor's."""
    make_directory(configuration.data, 0o711)
    file = configuration.data / FILE_NAME
    try:
        above, _, _ = file.read_text(encoding="utf-8").partition(MARK)
    except FileNotFoundError:
        lines = [f"{name} = {json.dumps(getattr(configuration, name))}" for name in KEPT]
        above = "\n".join((HEADING, *lines))
    ports = "".join(f"{name} = {port}\n" for name, port in sorted(configuration.chosen_ports.items()))
    scale = "".join(f"{name} = {count}\n" for name, count in sorted(configuration.scale.items()))
    below = f"[chosen_ports]\n{ports}"
    if scale and "scale" not in tomllib.loads(above):  # the operator's own numbers hold at the next start
        below += f"\n[scale]\n{scale}"
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{above.rstrip()}\n\n{MARK}\n{below}", encoding="utf-8")
    fresh.replace(file)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise CannotRun("bad_configuration", f"{file} is not readable as TOML.") from None
    except OSError as error:
        raise CannotRun("unreachable_directory", f"{file} cannot be read: {error.strerror}.") from None
