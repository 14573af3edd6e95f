"""What an operator chooses for a process: `CONCERT_…` variables, secrets from files; other names refused."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.runtime.clock import TEST_CLOCK

PREFIX: Final = "CONCERT_"
LOCAL_ISSUER: Final = "/local-issuer"
"""How the name of the issuer ends that mode `local` alone trusts."""
READ_ELSEWHERE: Final = ("CONCERT_MAVEN_REPOSITORY", "CONCERT_CRASH_AT", "CONCERT_SOCKETS", "CONCERT_TEST_")
"""Variables that only the launcher, `deploy/local`, crash points, the fork server and tests read."""


class UnknownSetting(Exception):
    """A `CONCERT_…` variable that no setting reads: probably a slip of the pen."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DatabaseSettings(_Part):
    """Where this process's own database answers."""

    url: str
    """`postgresql+asyncpg://role@host:port/database`, without a password."""
    password_file: Path | None = None
    """File that holds the role's password."""


class KafkaSettings(_Part):
    """Where the brokers answer, and as whom."""

    bootstrap: str
    user: str
    password_file: Path
    namespace: str = ""
    """Put before every topic and group; empty in production."""


class TlsSettings(_Part):
    """This service's certificate for the internal port, and the authority that all services trust."""

    certificate_file: Path
    key_file: Path
    authority_file: Path


class IssuerSettings(_Part):
    """Who signs the agencies' access tokens."""

    name: str
    """The `iss` of every token."""
    keys_file: Path
    """The issuer's public keys, as a JSON Web Key Set."""


class ConsoleSettings(_Part):
    """Under which address people reach a console, and which issuer signs them in (OpenID Connect)."""

    address: Annotated[str, Field(pattern=r"^https?://[a-z0-9.-]{1,253}(:[0-9]{1,5})?$")]
    """Scheme, host and port as browsers show them."""
    issuer: Annotated[str, Field(pattern=r"^https?://[!-~]{1,500}$")]
    """Its address, as its tokens name it."""
    client: Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
    """How the issuer knows this console."""
    key_file: Path
    """The private key (JWK, ES384) by which the console proves itself; the issuer has its public half."""
    algorithm: Literal["ES256", "ES384", "PS256", "RS256"] = "ES384"
    """By which the issuer signs, and nothing else is taken."""

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can read what browsers, console and issuer say."""
        return all(url.startswith("https://") for url in (self.address, self.issuer))


class PortSettings(_Part):
    """Where to listen when no sockets were handed over; on loopback."""

    api: int = 0
    internal: int = 0
    health: int = 0


class ProcessSettings(BaseSettings):
    """What any process needs, whatever it can reach."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    mode: Literal["local", "test", "live"]
    """`live` is refused until events are sealed: brokers could read what concerns a person."""
    cell: str
    """The cell's name in every event's source; a test installation's begins with `test-`."""
    process: int = Field(default=1, ge=1, le=99)
    """Which of its service's processes this is."""

    @classmethod
    def from_environment(cls) -> Self:
        """Read the environment; a name that no setting reads is refused."""
        refuse_unknown(os.environ, cls)
        settings = cls()
        settings.check_mode()
        return settings

    def check_mode(self) -> None:
        """Refuse mode `live` for now, and a cell that is not named a test's."""
        if self.mode == "live" and TEST_CLOCK in os.environ:
            raise WrongMode(f"mode live keeps the machine's time; take {TEST_CLOCK} away")
        if self.mode == "live":
            raise WrongMode("mode live needs sealed events, which this release does not write; use mode test")
        if not self.cell.startswith("test-"):
            raise WrongMode("the cell of an installation that is not live must begin with test-")


class RuntimeSettings(ProcessSettings):
    """What every service needs; a service's own class adds its own."""

    database: DatabaseSettings
    kafka: KafkaSettings | None = None
    tls: TlsSettings | None = None
    issuer: IssuerSettings | None = None
    console: ConsoleSettings | None = None
    ports: PortSettings = PortSettings()
    trail_url: str | None = None
    """The internal address of the access trail, `https://host:port`."""
    outbox_shards: int = 1
    """How many relays share this service's outbox; events of one key stay on one shard."""
    batch_records_max: int = 500
    """How many records one transaction of the consumer takes."""
    gather_ms: int = 0
    """How long the brokers may hold back what is to be read, so that more is applied in one transaction."""
    lease_seconds: float = Field(default=15, ge=6)
    """After standing still for so long a process loses partitions, locks and number to the others."""
    outbox_rows_max: int = 1_000_000
    """With so many unsent events it is not ready, and refuses what would write more: the disk guard."""
    epoch_file: Path | None = None
    """Where the writer epoch stands beside the database, so that an older copy of it is noticed."""
    neighbours: Mapping[str, str] = {}
    """Service → where its internal port answers: those that it asks once its database was put back."""

    def check_mode(self) -> None:
        """The rules of every process, and a local issuer for mode `local` alone."""
        super().check_mode()
        if self.mode != "local" and self.issuer and self.issuer.name.endswith(LOCAL_ISSUER):
            raise WrongMode("the local issuer serves mode local only; name your own issuer")
        if self.mode != "local" and self.console and not self.console.is_private:
            raise WrongMode("people sign in over https only, but in mode local; name such addresses")


class WrongMode(Exception):
    """Settings that do not go with the installation's mode."""


def refuse_unknown(environment: Mapping[str, str], cls: type[BaseSettings]) -> None:
    """Compare the names given with the settings there are; raises UnknownSetting."""
    known = {f"{PREFIX}{name.upper()}" for name in cls.model_fields}
    unknown = [
        name
        for name in environment
        if name.startswith(PREFIX)
        and name.split("__")[0] not in known
        and not name.startswith(READ_ELSEWHERE)
    ]
    if unknown:
        raise UnknownSetting(
            f"No setting has the name {', '.join(sorted(unknown))}; correct it or take it away."
        )


def secret_from(file: Path) -> SecretStr:
    """The content of a secret file, without the line end."""
    return SecretStr(file.read_text(encoding="ascii").strip())
