"""Checks of what was decided and told: nothing lost, nothing twice, all agree."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from services.cli.agency_client import ACCEPT, NumberedFact, SentStep
from services.cli.demo.evidence import (
    AddressedFact,
    Kill,
    PartyKey,
    PlayedReferral,
    StatisticalFact,
)

GAP_MS_MAX: Final = 5.0
ORDERS_AT_LEAST: Final = 5
UNANSWERED_AT_LEAST: Final = 20
KILLED: Final = ("referrals", "kafka")
SHOWN_MAX: Final = 20


def facts_numbered(addressed: Sequence[AddressedFact], received: Sequence[NumberedFact]) -> list[str]:
    """Each party got the facts addressed to it, 1..n without gap, and no others."""
    sent = _by_party(each.event for each in addressed)
    got = _by_party(received)
    problems = []
    for party in sorted(sent.keys() | got.keys()):
        referral, agency = party
        numbers = [event.number for event in got[party]]
        if numbers != list(range(1, len(numbers) + 1)):
            problems.append(f"{agency} got facts {numbers[:SHOWN_MAX]} of referral {referral}")
        elif got[party] != sorted(sent[party], key=lambda event: event.number):
            problems.append(f"{agency} got other facts of referral {referral} than the arbiter sent it")
    return problems


def states_agree(
    played: Sequence[PlayedReferral], states: Mapping[str, str], views: Mapping[PartyKey, str]
) -> list[str]:
    """The arbiter and both parties see each referral in the same state."""
    seen = {
        (each.referral, agency): (views.get((each.referral, agency)), states.get(each.referral))
        for each in played
        for agency in (each.owner, each.receiver)
    }
    return [
        f"{agency} sees referral {referral} {view}, the arbiter {state}"
        for (referral, agency), (view, state) in seen.items()
        if state is None or view != state
    ]


def nothing_twice(addressed: Sequence[AddressedFact], counted: Sequence[StatisticalFact]) -> list[str]:
    """Nothing happened twice to a referral, for whichever reader; no refusal was said twice."""
    events = [each.event for each in addressed]
    told = Counter((each.referral, each.type, f"told to {each.agency}", each.step) for each in events)
    told.update((each.referral, each.type, "counted", None) for each in counted)
    return [
        f"{kind} of referral {referral} was {what} {times} times"
        for (referral, kind, what, _), times in told.items()
        if times > 1
    ]


def every_step_answered(sent: Sequence[SentStep], addressed: Sequence[AddressedFact]) -> list[str]:
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


def both_orders(gaps_ms: Mapping[str, float], addressed: Sequence[AddressedFact]) -> list[str]:
    """Acceptance before withdrawal and the other way round, each at least five times, within 5 ms."""
    orders = orders_of(gaps_ms, addressed)
    return [
        *(f"a pair left {gap:.1f} ms apart" for gap in gaps_ms.values() if gap > GAP_MS_MAX),
        *(
            f"the acceptance was {order} {orders[order]} times, wanted {ORDERS_AT_LEAST}"
            for order in ("accepted", "refused")
            if orders[order] < ORDERS_AT_LEAST
        ),
    ]


def orders_of(raced: Iterable[str], addressed: Sequence[AddressedFact]) -> Counter[str]:
    """What became of the acceptances of referrals that were withdrawn at once."""
    order = {each.event.referral: "refused" for each in addressed if each.event.code == "withdrawn"}
    order |= {each.event.referral: "accepted" for each in addressed if each.event.type == ACCEPT.fact}
    return Counter(order.get(referral, "lost") for referral in raced)


def killed_at_work(kills: Sequence[Kill]) -> list[str]:
    """The arbiter and the broker were killed while enough steps waited for their answers."""
    waited = {kill.part: kill.unanswered for kill in kills}
    return [
        f"{part} was killed with only {waited.get(part, 0)} steps unanswered"
        for part in KILLED
        if waited.get(part, 0) < UNANSWERED_AT_LEAST
    ]


def nothing_dead(dead_letters: Mapping[str, int], refused_reports: Mapping[str, int]) -> list[str]:
    """No event became a dead letter, and the trail refused no report."""
    return [
        *(f"{service} has {count} dead letters" for service, count in dead_letters.items() if count),
        *(f"the trail refused {n} reports of {service}" for service, n in refused_reports.items() if n),
    ]


def listed_only(outsiders: Mapping[str, str | None]) -> list[str]:
    """An organisation that is listed and not admitted gets nothing: the offer is refused for that reason."""
    return [
        f"an offer to the listed organisation {title} was answered {code}"
        for title, code in outsiders.items()
        if code != "agency_inactive"
    ]


def _by_party(events: Iterable[NumberedFact]) -> dict[PartyKey, list[NumberedFact]]:
    found: dict[PartyKey, list[NumberedFact]] = defaultdict(list)
    for event in events:
        found[event.referral, event.agency].append(event)
    return found
