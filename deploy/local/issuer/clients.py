"""Who may ask the issuer for tokens, and proves it by `private_key_jwt` (RFC 7523, OpenID Connect §9)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Generic, TypeVar

from joserfc import jws
from joserfc.jwk import KeySet
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from schemas.ids import AgencyId
from schemas.wire.strict_json import parse_json
from services.runtime.clock import Clock
from services.runtime.tokens import ALGORITHM, LEEWAY_SECONDS, TOKEN_BYTES_MAX, NumericDate, Pseudonym

COMMAND: Final = "command"
"""The client by which the `concert` command stands for the systems of all agencies."""
PROBE: Final = "probe"
"""The client by which operations stands for the systems of probes, and of no other agency."""
LIFE_SECONDS_MAX: Final = 300
USED_MAX: Final = 100_000
"""How many assertions are remembered until they end; with more, none is taken."""


class Client(BaseModel):
    """One that asks for tokens: an agency's system, or a console."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Pseudonym
    keys: Mapping[str, Any]
    """Its public keys, as a JSON Web Key Set."""
    comes_back_to: str | None = None
    """Where a browser is sent with the code, exactly; without it nobody signs in for this client."""
    names_staff: bool = False
    """Whether it may say which of an agency's people it acts for."""
    agencies: tuple[AgencyId, ...] | None = None
    """Whose people these may be; None is any agency's."""

    def may_name(self, agency: str) -> bool:
        """Whether it may act for people of this agency."""
        return self.names_staff and (self.agencies is None or agency in self.agencies)


CLIENTS: Final = TypeAdapter(Annotated[list[Client], Field(max_length=1_000)])


class ClientAssertion(BaseModel):
    """What a client says of itself; good once, for five minutes at most."""

    model_config = ConfigDict(extra="ignore", strict=True)

    iss: str
    sub: str
    aud: str | list[str]
    exp: NumericDate
    iat: NumericDate
    jti: Annotated[str, Field(min_length=16, max_length=128)]


class StaffAssertion(ClientAssertion):
    """What an agency's system says of the person behind it."""

    sub: Pseudonym
    agency: AgencyId
    role: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,39}$")]


Said = TypeVar("Said", bound=ClientAssertion)


class NotProven(Exception):
    """An assertion that does not hold; never says which check failed."""


class AssertionReader(Generic[Said]):
    """Reads assertions of one kind, each once."""

    def __init__(
        self, kind: type[Said], clients: Mapping[str, Client], audiences: Sequence[str], clock: Clock
    ) -> None:
        self._kind = kind
        self._clients = clients
        self._audiences = frozenset(audiences)
        self._clock = clock
        self._used: dict[str, float] = {}

    def read(self, token: str) -> tuple[Client, Said]:
        """Who says what; raises NotProven."""
        try:
            client, said = self._signed(token)
        except Exception as error:  # whatever a library raises over bytes from outside: the unexpected denies
            raise NotProven from error
        now = self._clock.now().timestamp()
        named = {said.aud} if isinstance(said.aud, str) else {*said.aud}
        is_live = said.iat - LEEWAY_SECONDS <= now < said.exp + LEEWAY_SECONDS
        if not (named & self._audiences and is_live and 0 < said.exp - said.iat <= LIFE_SECONDS_MAX):
            raise NotProven
        self._use(f"{client.id} {said.jti}", said.exp + LEEWAY_SECONDS, now)
        return client, said

    def _signed(self, token: str) -> tuple[Client, Said]:
        if len(token) > TOKEN_BYTES_MAX:
            raise NotProven
        unproven = jws.extract_compact(token.encode())
        if "crit" in unproven.headers():
            raise NotProven
        said = self._kind.model_validate(parse_json(unproven.payload))
        client = self._clients[said.iss]
        registered: Any = dict(client.keys)
        jws.deserialize_compact(token, KeySet.import_key_set(registered), algorithms=[ALGORITHM])
        return client, said

    def _use(self, name: str, until: float, now: float) -> None:
        if name in self._used or len(self._used) >= USED_MAX:
            self._used = {one: ends for one, ends in self._used.items() if ends > now}
        if name in self._used or len(self._used) >= USED_MAX:
            raise NotProven
        self._used[name] = until


def read_clients(file: Path) -> Mapping[str, Client]:
    """The clients that an installation registered."""
    return {client.id: client for client in CLIENTS.validate_json(file.read_bytes())}
