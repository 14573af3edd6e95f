"""Checks of what was decided and told: nothing lost, nothing twice, all agree."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from services.cli.demo.evidence import Addressed, Evidence, Told

ORDERS_AT_LEAST: Final = 5
GAP_MS_MAX: Final = 5.0
UNANSWERED_AT_LEAST: Final = 20
KILLED: Final = ("referrals", "kafka")

Pair = tuple[str, str]
Key = TypeVar("Key")


def facts_numbered(evidence: Evidence) -> list[str]:
    """Each party got the facts addressed to it, 1..n without gap, and no others."""
    addressed = _by_pair(each.told for each in evidence.addressed)
    received = _by_pair(evidence.received)
    problems = []
    for pair in sorted(addressed.keys() | received.keys()):
        numbers = [told.number for told in received.get(pair, [])]
        if numbers != list(range(1, len(numbers) + 1)):
            problems.append(f"{pair[1]} got facts {_shown(numbers)} of referral {pair[0]}")
        elif received.get(pair) != sorted(addressed.get(pair, []), key=lambda told: told.number):
            problems.append(f"{pair[1]} got other facts of referral {pair[0]} than the arbiter sent it")
    return problems


def states_agree(evidence: Evidence) -> list[str]:
    """The arbiter and both parties see each referral in the same state."""
    seen: dict[str, dict[str, str | None]] = defaultdict(dict)
    for view in evidence.views:
        seen[view.referral][view.agency] = view.state
    problems = []
    for played in evidence.played:
        state = evidence.states.get(played.referral)
        for agency in (played.owner, played.receiver):
            found = seen[played.referral].get(agency)
            if state is None or found != state:
                problems.append(f"{agency} sees referral {played.referral} {found}, the arbiter {state}")
    return problems


def nothing_twice(evidence: Evidence) -> list[str]:
    """Nothing happened twice to a referral, for whichever reader; no refusal was said twice."""
    told = Counter(
        (each.told.agency, each.told.referral, each.told.type, each.refused) for each in evidence.addressed
    )
    counted = Counter((each.referral, each.type) for each in evidence.counted)
    return [
        *(
            f"{agency} was told {kind} of referral {referral} {n} times"
            for (agency, referral, kind, _), n in _more(told)
        ),
        *(f"{kind} of referral {referral} was counted {n} times" for (referral, kind), n in _more(counted)),
    ]


def every_step_answered(evidence: Evidence) -> list[str]:
    """Whatever was answered 202 has its fact or its refusal: nothing was lost."""
    caused = {each.caused_by for each in evidence.addressed}
    lost = [asked for asked in evidence.asked if asked.id not in caused]
    return [f"no answer to a step of {one.agency} on referral {one.referral} ({one.fact})" for one in lost]


def stories_ended(evidence: Evidence) -> list[str]:
    """Every referral of the run ended as its story says, by the last fact to its owner."""
    last: dict[Pair, Told] = {}
    for told in evidence.received:
        last[told.referral, told.agency] = told
    problems = list(evidence.failures)
    for played in evidence.played:
        end = last.get((played.referral, played.owner))
        if end is None or end.state != played.ends:
            found = end.state if end else None
            problems.append(f"referral {played.referral} ({played.story}) ended {found}, not {played.ends}")
    return problems


def both_orders(evidence: Evidence) -> list[str]:
    """Acceptance before withdrawal and the other way round, each at least five times, within 5 ms."""
    orders = Counter(order_of(race.referral, evidence.addressed) for race in evidence.races)
    problems = [
        f"a pair left {race.gap_ms:.1f} ms apart" for race in evidence.races if race.gap_ms > GAP_MS_MAX
    ]
    for order in ("accepted", "refused"):
        if orders[order] < ORDERS_AT_LEAST:
            problems.append(f"the acceptance was {order} {orders[order]} times, wanted {ORDERS_AT_LEAST}")
    return problems


def order_of(referral: str, addressed: Iterable[Addressed]) -> str | None:
    """What became of the acceptance in a race with the withdrawal."""
    for each in addressed:
        if each.told.referral == referral and each.told.type == "referral.accepted":
            return "accepted"
        if each.told.referral == referral and each.code == "withdrawn":
            return "refused"
    return None


def killed_at_work(evidence: Evidence) -> list[str]:
    """The arbiter and the broker were killed while enough steps waited for their answers."""
    problems = [
        f"{part} was not killed" for part in KILLED if part not in [kill.part for kill in evidence.kills]
    ]
    for kill in evidence.kills:
        if kill.unanswered < UNANSWERED_AT_LEAST:
            problems.append(f"{kill.part} was killed with only {kill.unanswered} steps unanswered")
    return problems


def nothing_dead(evidence: Evidence) -> list[str]:
    """No event became a dead letter, and the trail refused no report."""
    return [
        *(f"{service} has {count} dead letters" for service, count in _some(evidence.dead_letters)),
        *(
            f"the trail refused {count} reports of {service}"
            for service, count in _some(evidence.refused_reports)
        ),
    ]


def listed_only(evidence: Evidence) -> list[str]:
    """An organisation that is listed and not admitted gets nothing: the offer is refused for that reason."""
    return [
        f"an offer to the listed organisation {each.title} was answered {each.code}"
        for each in evidence.listed
        if each.code != "agency_inactive"
    ]


def _by_pair(facts: Iterable[Told]) -> Mapping[Pair, list[Told]]:
    found: dict[Pair, list[Told]] = defaultdict(list)
    for told in facts:
        found[told.referral, told.agency].append(told)
    return found


def _shown(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:20]))


def _more(counts: Mapping[Key, int]) -> list[tuple[Key, int]]:
    return [(key, times) for key, times in counts.items() if times > 1]


def _some(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(name, count) for name, count in sorted(counts.items()) if count]
