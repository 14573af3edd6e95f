"""How every aggregate of governance moves: its table, read by one pure function.

A table's row says: in these states, this act, by these roles, under these conditions, leads to that state. An
aggregate is one file with its table, the fields of its acts, and a function an act.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Final, Generic, NamedTuple, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.ids import DecisionId
from schemas.roles import GOVERNANCE_ROLES
from schemas.wire.body import Body, unlisted
from services.governance.domain.rules import Rules
from services.runtime.errors import NotFound, Refused, define_refusal

PEOPLE: Final = GOVERNANCE_ROLES
"""Who acts by token: for a committee's secretariat, in a seat, with a partner's authority; or looks on."""
CLOCK: Final = "clock"
DECISION: Final = "decision"
FOUNDING: Final = "founding"
"""What acts besides: a time that has come, another act that was decided, the founding act."""
WAITING_MAX: Final = 200
"""How many of one kind a partner may have waiting, so that none fills the table for all."""
SHARES: Final = 5
"""No partner makes more than a fifth of what is kept of a kind, whatever became of it."""
NOTHING: Final = "none"
"""The state of what does not exist yet."""

_define: Final = partial(define_refusal, __name__)

RoleMayNot: Final = _define("role_may_not", "Your role may not do this; the table says which may.", 403)
NotAPartner: Final = _define("not_a_partner", "Let two partners admit your organisation first.", 403)
UnknownReference: Final = _define(
    "unknown_reference", "It names something unknown here, or in no state for this; look at it.", 422
)
TooManyOpen: Final = _define(
    "too_many_open",
    "So many that your organisation made wait already; let them be dealt with, or drop some.",
)
NotMadeByYou: Final = _define("not_made_by_you", "Whoever made it takes it back; ask that partner.", 403)
TooMany: Final = _define("too_many", "Governance keeps no more of this kind; end or reuse what is there.")
CodeNotListed: Final = _define(
    "code_not_listed", "It names a code that is on no list of today; the port's description shows each.", 422
)
RecordFull: Final = _define("record_full", "It holds no more of this; end it, and begin another.")
NotInThisState: Final = _define("not_in_this_state", "Do what its state allows: GET it, and see `allowed`.")
AlreadyThere: Final = _define("already_there", "Something else stands under this id; choose another.")


class ActBody(BaseModel):
    """What an act says; a field that no table names is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Nothing(ActBody):
    """An act that says nothing besides."""


class Adoption(ActBody):
    """A committee decided that something shall be so."""

    decision: DecisionId


class Content(ActBody):
    """What an aggregate is made of, beside its state."""

    kind: ClassVar[str]
    hidden: ClassVar[frozenset[str]] = frozenset()
    """What nobody is shown."""


C = TypeVar("C", bound=Content)


@dataclass(frozen=True, slots=True)
class GovernanceRecord(Generic[C]):
    """One committee, mandate, meeting … as it stands."""

    id: str
    state: str
    content: C
    version: int = 1
    made_by: str = ""
    """The partner that made it; nobody where the founding or a decision did."""


@dataclass(frozen=True, slots=True)
class PartnerActor:
    """Who acts: a partner's person in a role; nobody where time, a decision or the founding does."""

    role: str
    partner: str = ""
    staff: str = ""


@dataclass(frozen=True, slots=True)
class PartnerAct:
    """What somebody does to one aggregate, and when."""

    kind: str
    id: str
    name: str
    actor: PartnerActor
    body: BaseModel
    at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """What an act makes of an aggregate, whom it tells, and which acts follow from it."""

    content: Content
    facts: tuple[Body, ...] = ()
    then: tuple[PartnerAct, ...] = ()
    state: str = ""
    """Where the row leaves it open."""
    done: "Sequence[ActOutcome]" = ()
    """What was done on the way, on the very register that the row's function was shown."""


@dataclass(frozen=True, slots=True)
class ActOutcome:
    """An act that was done, what stands now, its facts, and what is in force from now on."""

    act: PartnerAct
    record: GovernanceRecord[Any]
    facts: tuple[Body, ...]
    current: Body | None
    due: datetime | None


class GovernanceRegister:
    """Every aggregate as it stands, by kind and id."""

    def __init__(self) -> None:
        self._records: dict[str, dict[str, GovernanceRecord[Any]]] = {}
        self.seen = 0
        """The number of the last act that it knows."""

    def get(self, kind: str, name: str) -> GovernanceRecord[Any] | None:
        """The record, if there is one."""
        return self._records.get(kind, {}).get(name)

    def find(self, content: type[C], name: str | None) -> GovernanceRecord[C]:
        """The record that somebody names; raises UnknownReference."""
        found = self.get(content.kind, name or "")
        if found is None:
            raise UnknownReference
        return cast(GovernanceRecord[C], found)

    def all(self, content: type[C]) -> Collection[GovernanceRecord[C]]:
        """Every record of this kind."""
        return cast(Collection[GovernanceRecord[C]], self.of(content.kind))

    def of(self, kind: str) -> Collection[GovernanceRecord[Any]]:
        """The same, where the kind's class is not at hand."""
        return self._records.get(kind, {}).values()

    def put(self, record: GovernanceRecord[Any]) -> None:
        """Take in how a record stands; an older version than the one known changes nothing."""
        known = self.get(record.content.kind, record.id)
        if known is None or known.version < record.version:
            self._records.setdefault(record.content.kind, {})[record.id] = record

    def copy(self) -> "GovernanceRegister":
        """The same, for acts that may yet be refused."""
        copy = GovernanceRegister()
        copy._records = {kind: dict(records) for kind, records in self._records.items()}
        return copy


@dataclass(frozen=True, slots=True)
class Scene:
    """What a row's functions may look at, besides content and body."""

    act: PartnerAct
    record: GovernanceRecord[Any] | None
    register: GovernanceRegister
    rules: Rules

    @property
    def at(self) -> datetime:
        """When it is done."""
        return self.act.at

    @property
    def partner(self) -> str:
        """Whose person does it."""
        return self.act.actor.partner

    def days_until(self, end: datetime) -> int:
        """How many days are left, one that has begun counted: the clock acts just after its time."""
        return max(-((self.at - end) // timedelta(days=1)), 0)

    def follow(self, kind: str, name: str, act: str, body: BaseModel, role: str = DECISION) -> PartnerAct:
        """An act that follows from this one."""
        return PartnerAct(kind, name, act, PartnerActor(role), body, self.at)


class Condition(NamedTuple):
    """One thing that must hold: a function of scene, content and body that raises one of these refusals."""

    check: Callable[[Scene, Any, Any], None]
    refusals: tuple[type[Refused], ...]


def condition(*refusals: type[Refused]) -> Callable[[Callable[[Scene, Any, Any], None]], Condition]:
    """Makes a condition of a function that raises these refusals."""
    return lambda check: Condition(check, refusals)


@condition(NotMadeByYou)
def made_by_actor(scene: Scene, _: Content, __: BaseModel) -> None:
    """Only the partner that made it."""
    if not scene.record or scene.record.made_by != scene.partner:
        raise NotMadeByYou


def unchanged(_: Scene, content: Content, __: BaseModel) -> Change:
    """What an act makes that moves the state alone."""
    return Change(content)


class ActRow(NamedTuple):
    """One row of a table."""

    states: str
    """Where it may be done, in one word or several; `none` where nothing stands yet."""
    act: str
    by: str
    """The roles, several words."""
    target: str
    """The state afterwards; empty where it stays, or where the function says it."""
    body: type[BaseModel]
    make: Callable[[Scene, Any, Any], Change]
    """Gives the change; the content is None where nothing stands yet."""
    needs: tuple[Condition, ...] = ()
    about: str = ""
    """The act in a sentence, for people; empty for what no person does."""
    once: bool = False
    """Whether the very same from the same partner counts once, whatever was done since."""
    refusals: tuple[type[Refused], ...] = ()
    """What the function itself may refuse, after every condition holds."""
    is_long: bool = False
    """Whether it takes seconds, in which others are answered."""

    @property
    def of_people(self) -> tuple[str, ...]:
        """The roles that are people's."""
        return tuple(role for role in self.by.split() if role in PEOPLE)


def drop_row(states: str, by: str) -> ActRow:
    """The row of every table by which whoever made something takes it back."""
    about = "Take back what your organisation made, while it waits."
    return ActRow(states, "drop", by, "dropped", Nothing, unchanged, (made_by_actor,), about)


@dataclass(frozen=True, slots=True)
class LifeCycle:
    """One aggregate: its table, its place in addresses, its clock, and what it says is in force."""

    content: type[Content]
    plural: str
    id_kind: str
    most: int
    """How many of them governance keeps."""
    waits: str
    """The states, several words, in which one waits for others; a partner has so many at most."""
    rows: tuple[ActRow, ...]
    example: Mapping[str, Any] = field(default_factory=dict)
    """What the act says that makes one."""
    timer: Callable[[GovernanceRecord[Any]], tuple[datetime, str] | None] = lambda _: None
    """When the clock acts next, and how."""
    current: Callable[[GovernanceRecord[Any]], Body | None] = lambda _: None
    page: int = 200
    """How many of them are shown at a time."""
    names: Mapping[str, tuple[ActRow, ...]] = field(init=False)

    def __post_init__(self) -> None:
        names: dict[str, tuple[ActRow, ...]] = {}
        for row in self.rows:
            names[row.act] = (*names.get(row.act, ()), row)
        object.__setattr__(self, "names", names)

    @property
    def kind(self) -> str:
        """Its name."""
        return self.content.kind

    def allowed(self, state: str) -> list[str]:
        """The acts that people may do in a state."""
        return [row.act for row in self.rows if state in row.states.split() and row.of_people]

    def refusals(self, act: str) -> list[type[Refused]]:
        """What can stand in the way of an act, besides role and state."""
        return [no for row in self.names[act] for no in sum((it.refusals for it in row.needs), row.refusals)]

    def row(self, act: PartnerAct, state: str) -> ActRow:
        """The row for an act; raises RoleMayNot before it tells anything of the state."""
        rows = [row for row in self.names.get(act.name, ()) if act.actor.role in row.by.split()]
        if not rows:
            raise RoleMayNot
        for row in rows:
            if state in row.states.split():
                return row
        if state == NOTHING:
            raise NotFound
        raise AlreadyThere if all(NOTHING in row.states.split() for row in rows) else NotInThisState


Cycles = Mapping[str, LifeCycle]


def check_partner(name: str, register: GovernanceRegister) -> None:
    """Refuse whoever takes no part."""
    found = register.get("partner", name)
    if found is None or found.state != "admitted":
        raise NotAPartner


def perform(
    acts: Sequence[PartnerAct], register: GovernanceRegister, cycles: Cycles, rules: Rules
) -> list[ActOutcome]:
    """Do these acts and all that follows from them, or raise the first refusal and change nothing."""
    return rehearse(acts, register.copy(), cycles, rules)


def rehearse(
    acts: Sequence[PartnerAct], trial: GovernanceRegister, cycles: Cycles, rules: Rules
) -> list[ActOutcome]:
    """The same on a register of the caller's own, in which all stays up to the act that is refused."""
    waiting, outcomes = list(acts), list[ActOutcome]()
    while waiting:
        outcome, change = _step(waiting.pop(0), trial, cycles, rules)
        trial.put(outcome.record)
        outcomes += [outcome, *change.done]
        waiting[:0] = change.then
    return outcomes


def _kept(content: Content) -> Content:
    """The content as it will be read back; what could not be would stop every act, and every start."""
    try:
        return type(content).model_validate_json(content.model_dump_json())
    except ValidationError:
        raise RecordFull from None


def _step(
    act: PartnerAct, register: GovernanceRegister, cycles: Cycles, rules: Rules
) -> tuple[ActOutcome, Change]:
    cycle, record = cycles[act.kind], register.get(act.kind, act.id)
    maker = act.actor.partner if act.actor.role in PEOPLE else ""  # what a file names is nobody's own
    if act.actor.role in PEOPLE:
        check_partner(act.actor.partner, register)
    row = cycle.row(act, record.state if record else NOTHING)
    if act.actor.role not in (CLOCK, DECISION) and unlisted(act.body):
        raise CodeNotListed  # else whoever names a person in a code's place would be read by all
    if record is None:
        _check_room(maker, register, cycle)
    scene, content = Scene(act, record, register, rules), record.content if record else None
    for one in row.needs:
        one.check(scene, content, act.body)
    change = row.make(scene, content, act.body)
    version, state = (record.version + 1, record.state) if record else (1, NOTHING)
    made_by = record.made_by if record and NOTHING not in row.states.split() else maker
    now = change.state or row.target or state
    after = GovernanceRecord(act.id, now, _kept(change.content), version, made_by)
    timer = cycle.timer(after)
    due = timer[0] if timer else None
    return ActOutcome(act, after, change.facts, cycle.current(after), due), change


def _check_room(maker: str, register: GovernanceRegister, cycle: LifeCycle) -> None:
    """Refuse one more where nobody's, or this partner's, is left room for."""
    if len(register.of(cycle.kind)) >= cycle.most:
        raise TooMany
    own = [one for one in register.of(cycle.kind) if one.made_by == maker] if maker else []
    if sum(one.state in cycle.waits.split() for one in own) >= WAITING_MAX or len(own) * SHARES >= cycle.most:
        raise TooManyOpen
