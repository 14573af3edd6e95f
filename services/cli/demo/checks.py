"""The checks of a run: each says what does not hold, its parameters the evidence that it stands on."""

import inspect
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.events.codes import NEEDS
from schemas.topics import SECTORS
from services.cli.agency_client import ACCEPT, GrantedLook, NumberedFact, SentStep
from services.cli.demo.learning_checks import LEARNING_CHECKS
from services.cli.demo.packet_checks import (
    nothing_after_withdrawal,
    police_see_nothing_clinical,
    pulls_answered,
    releases_in_trail,
)
from services.cli.demo.partner_checks import PARTNER_CHECKS

GAP_MS_MAX: Final = 25.0
ORDERS_AT_LEAST: Final = 5
UNANSWERED_AT_LEAST: Final = 20
KILLED: Final = {"referrals": "the arbiter", "kafka": "the broker"}
REMINDERS: Final = frozenset({"referral.reminded", "referral.seal_overdue"})
UNHELPED: Final = frozenset(
    {"referral.declined", "referral.expired", "referral.not_provided", "referral.unreachable"}
)
HELD_ON: Final = frozenset(
    {"referral.redirected", "referral.reoffered", "referral.closed_unmet", "referral.withdrawn"}
)
"""What must come after each of these: a successor, a counted need, or her own word."""
UNSAID: Final = (
    *(sector.replace("_", " ") for sector in SECTORS),
    *(need.replace("_", " ") for need in NEEDS),
    "referral", "survivor", "violence", "consent", "clinic", "hospital", "shelter", "legal", "school",
    "ref_", "cas_", "evt_", "urgent", "accepted", "withdrawn", "declined",
)  # fmt: skip
"""Words that no mail may hold, in any letter case."""
RAW, ESCAPED, HEX, UTF_16 = "raw", "JSON-escaped", "hex", "UTF-16"
SHIFTS: Final = ("base64 at 0", "base64 at 1", "base64 at 2")
FORMS: Final = (RAW, ESCAPED, HEX, UTF_16, *SHIFTS)
"""How a string could lie there."""
SEGMENTS, LOGS, DATABASE, DATABASE_FILES = "segments", "logs", "databases", "database files"
CONTROLLED: Final = (SEGMENTS, LOGS, DATABASE, DATABASE_FILES)
"""Where a control string is put by real ways, and must be found in every form."""
MAILS, VAULTS, OPENED = "mails", "vaults", "opened by recipients"
PLACES: Final = (*CONTROLLED, MAILS, VAULTS, OPENED)
NOBODY, CANARY = "control", "canary"
"""Stand for the sector in a trace of the control string, and of what a packet's field holds."""
_DIGIT: Final = re.compile(r"\d")

Evidence = dict[str, Any]
"""Everything that was seen, from outside the services, by the names of the checks' parameters."""
PartyKey = tuple[str, str]
"""A referral and one of its agencies."""


@dataclass(frozen=True, slots=True)
class PlayedReferral:
    """One referral of the run, and how its story ends."""

    referral: str
    story: str
    owner: str
    receiver: str
    ends: str


@dataclass(frozen=True, slots=True)
class SinkMail:
    """A mail in the sink: what anybody on its way could read, and how long it was."""

    to: str
    name: str
    """Its Message-ID."""
    text: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class NameTrace:
    """A planted string where it was found, and in which form."""

    place: str
    """One of `PLACES`."""
    where: str
    """The file, or the service whose database it is."""
    form: str
    sector: str
    """The sector whose agency planted it; `control` for the string that must be found, or `canary`."""
    field: str = "an unknown field"
    """Of a canary: the packet's field that it was written into."""

    @property
    def is_at_home(self) -> bool:
        """Whether it lies in the database of that sector."""
        return (self.place, self.where) == (DATABASE, self.sector)


@dataclass(frozen=True, slots=True)
class Kill:
    """A process that was killed with SIGKILL in the middle of its work."""

    part: str
    pid: int
    unanswered: int
    back_after_seconds: float


def facts_numbered(addressed: Sequence[NumberedFact], received: Sequence[NumberedFact]) -> list[str]:
    """Each party got the facts addressed to it, 1..n without gap, and no others."""
    sent, got = _by_party(addressed), _by_party(received)
    problems = []
    for party in sorted(sent.keys() | got.keys()):
        referral, agency = party
        numbers = [event.number for event in got[party]]
        is_whole = numbers == list(range(1, len(numbers) + 1))
        if not is_whole or got[party] != sorted(sent[party], key=lambda event: event.number):
            problems.append(f"{agency} got other facts of referral {referral} than were sent: {numbers}")
    return problems


def states_agree(
    played: Sequence[PlayedReferral], states: Mapping[str, str], views: Mapping[PartyKey, str]
) -> list[str]:
    """The arbiter and both parties see each referral in the same state."""
    parties = [(each.referral, agency) for each in played for agency in (each.owner, each.receiver)]
    seen = [(*party, views.get(party), states.get(party[0])) for party in parties]
    return [
        f"{agency} sees referral {referral} {view}, the arbiter {state}"
        for referral, agency, view, state in seen
        if state is None or view != state
    ]


def nothing_twice(addressed: Sequence[NumberedFact], counted: Sequence[Mapping[str, Any]]) -> list[str]:
    """Nothing happened twice to a referral, for whichever reader; no refusal was said twice."""
    told = Counter(
        (each.referral, each.type, f"told to {each.agency}", each.step or _again(each.type, each.number))
        for each in addressed
    )
    told.update(
        (each["referral"], each["type"], "counted", None) for each in counted if not _again(each["type"], 1)
    )
    return [
        f"{kind} of referral {referral} was {what} {times} times"
        for (referral, kind, what, _), times in told.items()
        if times > 1
    ]


def every_step_answered(sent: Sequence[SentStep], addressed: Sequence[NumberedFact]) -> list[str]:
    """Whatever was answered 202 has its fact or its refusal: nothing was lost."""
    caused = {each.caused_by for each in addressed}
    lost = [step for step in sent if step.id not in caused]
    return [f"no answer to a step of {one.agency} on referral {one.referral} ({one.fact})" for one in lost]


def stories_ended(
    played: Sequence[PlayedReferral], received: Sequence[NumberedFact], failures: Sequence[str]
) -> list[str]:
    """Every referral of the run ended as its story says, by the last fact to its owner."""
    ends = {(event.referral, event.agency): event.state for event in received}
    problems = list(failures)
    for each in played:
        found = ends.get((each.referral, each.owner))
        if found != each.ends:
            problems.append(f"referral {each.referral} ({each.story}) ended {found}, not {each.ends}")
    return problems


def both_orders(gaps_ms: Mapping[str, float], addressed: Sequence[NumberedFact]) -> list[str]:
    """Acceptance before withdrawal and the other way round, each at least five times, within 25 ms."""
    problems = [f"a pair left {gap:.1f} ms apart" for gap in gaps_ms.values() if gap > GAP_MS_MAX]
    orders = orders_of(gaps_ms, addressed)
    for order in ("accepted", "refused"):
        if orders[order] < ORDERS_AT_LEAST:
            problems.append(f"the acceptance was {order} {orders[order]} times, wanted {ORDERS_AT_LEAST}")
    return problems


def orders_of(raced: Iterable[str], addressed: Sequence[NumberedFact]) -> Counter[str]:
    """What became of the acceptances of referrals that were withdrawn at once."""
    order = {each.referral: "refused" for each in addressed if each.code == "withdrawn"}
    order |= {each.referral: "accepted" for each in addressed if each.type == ACCEPT.fact}
    return Counter(order.get(referral, "lost") for referral in raced)


def killed_at_work(kills: Sequence[Kill]) -> list[str]:
    """The arbiter and the broker were killed while enough steps waited for their answers."""
    waited = Counter({kill.part: kill.unanswered for kill in kills})
    few = [part for part in KILLED if waited[part] < UNANSWERED_AT_LEAST]
    return [f"{part} was killed with only {waited[part]} steps unanswered" for part in few]


def nothing_dead(dead_letters: Mapping[str, int], refused_reports: Mapping[str, str]) -> list[str]:
    """No event became a dead letter, and the trail refused no report."""
    return [
        *(f"{service} has {count} dead letters" for service, count in dead_letters.items() if count),
        *(f"the trail refused reports of {name}: {why}" for name, why in refused_reports.items() if why),
    ]


def listed_only(outsiders: Mapping[str, str | None]) -> list[str]:
    """An organisation that is listed and not admitted gets nothing: the offer is refused for that reason."""
    return [
        f"an offer to the listed organisation {title} was answered {code}"
        for title, code in outsiders.items()
        if code != "agency_inactive"
    ]


def looks_in_trail(looks: Sequence[GrantedLook], entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each look that somebody was granted has its own entry, opened, with who, what for and at whom."""
    wanted = Counter(looks)
    found = Counter(
        GrantedLook(
            entry["act"], entry["agency"], entry["actor"]["id"], entry["purpose"], entry.get("referral")
        )
        for entry in entries
        if entry.get("kind") in ("intent", "item")
    )
    return [
        f"{look.agency} was granted {count} looks ({look.act}) at {look.referral or 'a case'}, "
        f"the trail holds {found[look]}"
        for look, count in wanted.items()
        if found[look] < count
    ]


def nothing_in_silence(counted: Sequence[Mapping[str, Any]]) -> list[str]:
    """No referral just stops where nobody helps: a successor, a counted need, or her own word follows."""
    facts = Counter((each["referral"], each["type"] in UNHELPED) for each in counted if _ends(each["type"]))
    return [
        f"referral {referral} was left without help"
        for (referral, is_unhelped), times in facts.items()
        if is_unhelped and times > facts[referral, False]
    ]


def trail_verifies(verdict: Mapping[str, Any]) -> list[str]:
    """The exported trail is sound by the offline verifier, with every entry's detail opened."""
    if verdict["exit_code"] != 0:
        return [f"the verifier ended with {verdict['exit_code']}: {verdict.get('failure')}"]
    if not verdict["size"] or verdict["details_checked"] != verdict["size"]:
        return [f"{verdict['details_checked']} of {verdict['size']} entries were opened"]
    return []


def mails_say_nothing(mails: Sequence[SinkMail], names: Sequence[str]) -> list[str]:
    """Every mail is as long as every other, and holds no word, name or number that tells anything."""
    problems = []
    if len({mail.size_bytes for mail in mails}) > 1:
        problems.append("mails differ in length")
    for text in {mail.text for mail in mails}:
        said = [word for word in (*UNSAID, *names) if word.casefold() in text.casefold()]
        if said or _DIGIT.search(text):
            problems.append(f"a mail says {', '.join(said) or 'a number'}")
    return problems


def still_awaited(desks: Mapping[str, str], counted: Sequence[Mapping[str, Any]]) -> set[str]:
    """The addresses of desks for which a referral waits by its newest fact."""
    newest = {each["referral"]: str(each.get("awaits")) for each in counted if "referral" in each}
    return {desks[agency] for agency in newest.values() if agency in desks}


def mails_once(
    mails: Sequence[SinkMail], desks: Mapping[str, str], counted: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Each desk that a referral still waits for was told, at most once for each fact, no mail twice."""
    wanted = Counter(desks[each["awaits"]] for each in counted if each.get("awaits") in desks)
    waiting = still_awaited(desks, counted)  # the others may have acted before their mail was due
    found = Counter(mail.to for mail in mails)
    problems = [
        f"{to} got {found[to]} mails, {wanted[to]} facts await it"
        for to in sorted(wanted.keys() | found.keys())
        if not (to in waiting) <= found[to] <= wanted[to]
    ]
    if len({mail.name for mail in mails}) != len(mails):
        problems.append("a mail was sent twice")
    return problems


def names_stay_home(traces: Sequence[NameTrace]) -> list[str]:
    """What agencies planted is nowhere but in the database of their own sector."""
    return [
        f"a name of {trace.sector} is in {trace.place}, {trace.where} ({trace.form})"
        for trace in traces
        if trace.sector in SECTORS and not trace.is_at_home
    ]


def canaries_opened_only(traces: Sequence[NameTrace]) -> list[str]:
    """What packets hold lies nowhere but where a recipient opened it, and there the search does find it."""
    canaries = {trace for trace in traces if trace.sector == CANARY}
    lying = sorted(
        f"a canary of {trace.field} lies in {trace.place}, {trace.where} ({trace.form})"
        for trace in canaries
        if trace.place != OPENED
    )
    return lying or ([] if canaries else ["the search found nothing of what recipients opened"])


def search_finds(traces: Sequence[NameTrace], searched_bytes: Mapping[str, int]) -> list[str]:
    """The search is no empty gesture: it finds the control string everywhere in every form, names at home."""
    found = {(trace.place, trace.form) for trace in traces if trace.sector == NOBODY}
    home = {trace.sector for trace in traces if trace.is_at_home}
    return [
        *(
            f"the control string was not found in the {place} as {form}"
            for place in CONTROLLED
            for form in FORMS
            if (place, form) not in found
        ),
        *(f"no name of {sector} was found at home" for sector in SECTORS if sector not in home),
        *(f"nothing was searched in {place}" for place in PLACES if not searched_bytes.get(place)),
    ]


def _again(kind: str, number: int) -> str | None:
    """What tells apart facts that come again while nobody acts, each after twice the time."""
    return str(number) if kind in REMINDERS else None


def _ends(kind: str) -> bool:
    return kind in UNHELPED | HELD_ON


def _by_party(events: Iterable[NumberedFact]) -> dict[PartyKey, list[NumberedFact]]:
    found: dict[PartyKey, list[NumberedFact]] = defaultdict(list)
    for event in events:
        found[event.referral, event.agency].append(event)
    return found


CHECKS: Final[tuple[tuple[str, Callable[..., list[str]]], ...]] = (
    ("facts numbered without gap", facts_numbered),
    ("last states agree", states_agree),
    ("no effect twice", nothing_twice),
    ("every step answered", every_step_answered),
    ("stories ended as told", stories_ended),
    ("both orders of acceptance and withdrawal", both_orders),
    ("killed in the middle of work", killed_at_work),
    ("no dead letters", nothing_dead),
    ("listed organisations get nothing", listed_only),
    ("every look is in the trail", looks_in_trail),
    ("packets open for receivers that accepted", pulls_answered),
    ("every release has its entry", releases_in_trail),
    ("nothing opens after a withdrawal", nothing_after_withdrawal),
    ("the police see nothing clinical", police_see_nothing_clinical),
    ("no referral ends in silence", nothing_in_silence),
    ("the exported trail verifies", trail_verifies),
    ("mails say nothing", mails_say_nothing),
    ("every awaited desk is told", mails_once),
    ("planted names stay at home", names_stay_home),
    ("canaries lie only where they were opened", canaries_opened_only),
    ("the search finds its control", search_finds),
    *PARTNER_CHECKS,
    *LEARNING_CHECKS,
)
EMPTY_WHEN_GOOD: Final = frozenset({"failures"})


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check and what it found wrong."""

    name: str
    promise: str
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def run_checks(evidence: Evidence) -> tuple[CheckResult, ...]:
    """Every check over the same evidence; a part of it that is empty proves nothing."""
    return tuple(_result(name, check, evidence) for name, check in CHECKS)


def parts_of(check: Callable[..., list[str]]) -> tuple[str, ...]:
    """The parts of the evidence that a check stands on."""
    return tuple(inspect.signature(check).parameters)


def _result(name: str, check: Callable[..., list[str]], evidence: Evidence) -> CheckResult:
    parts = {part: evidence[part] for part in parts_of(check)}
    lacking = [part for part, found in parts.items() if not found and part not in EMPTY_WHEN_GOOD]
    problems = (*(f"there is no evidence: {part} is empty" for part in lacking), *check(**parts))
    return CheckResult(name, inspect.getdoc(check) or "", problems)
