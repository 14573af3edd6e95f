"""Who is told what: each fact once for each party, as its sector may see it, and once for statistics."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count

from schemas.events.facts import FactBase, ReferralRedirected
from schemas.topics import INBOX, REFERRALS_FACTS
from schemas.wire.minimisation import STATISTICS, Matrix, minimise
from services.referrals.domain.gate import InForce
from services.referrals.domain.referral import Outcome, Referral, Refusal
from services.runtime.subscription import OutboxEvent

Pair = tuple[str, str]
"""A referral and one agency that is told about it."""
Numbers = Mapping[Pair, Iterator[int]]
"""What numbers each pair gets next."""


def count_numbers(outcomes: Iterable[Outcome]) -> Counter[Pair]:
    """How many numbers each agency needs for each referral."""
    counts: Counter[Pair] = Counter()
    for outcome in outcomes:
        if outcome.facts and outcome.referral:
            for agency in outcome.referral.parties:
                counts[outcome.referral.id, agency] += len(outcome.facts)
        if outcome.refusal and outcome.refusal.is_numbered:
            counts[outcome.refusal.fact.referral, outcome.refusal.agency] += 1
    return counts


def numbers_from(counts: Mapping[Pair, int], last: Mapping[Pair, int]) -> Numbers:
    """The numbers of a batch; `last` is the highest of each pair once all have theirs."""
    return {pair: count(last[pair] - own + 1) for pair, own in counts.items()}


def address_facts(outcomes: Sequence[Outcome], numbers: Numbers, in_force: InForce) -> Iterator[OutboxEvent]:
    """Every event of a batch, in the order in which the facts happened."""
    for outcome in outcomes:
        if outcome.referral:
            for fact in outcome.facts:
                yield from _to_parties(fact, outcome.referral, outcome, numbers, in_force)
                yield _to_statistics(fact, outcome.referral, outcome, in_force)
        if outcome.refusal:
            yield _to_asker(outcome.refusal, outcome, numbers)


def _to_parties(
    fact: FactBase, referral: Referral, outcome: Outcome, numbers: Numbers, in_force: InForce
) -> Iterator[OutboxEvent]:
    matrix = _matrix(referral, in_force)
    for agency in referral.parties:
        sector = in_force.agencies[agency].sector
        number = next(numbers[referral.id, agency])
        is_owner = agency == referral.owner
        seen = minimise(fact, sector, matrix, is_owner=is_owner, to=agency, number=number)
        at, cause = outcome.at, outcome.caused_by
        if isinstance(fact, ReferralRedirected) and not is_owner:
            # The next receiver is told at the same moment for the same cause: neither may join the two.
            at, cause = at.replace(minute=0, second=0, microsecond=0), None
        yield OutboxEvent(INBOX[sector], seen, at, cause)


def _to_statistics(fact: FactBase, referral: Referral, outcome: Outcome, in_force: InForce) -> OutboxEvent:
    awaits, desk = referral.awaits()
    matrix = _matrix(referral, in_force)
    told = minimise(fact, STATISTICS, matrix, awaits=awaits, awaits_desk=desk)
    return OutboxEvent(REFERRALS_FACTS, told, outcome.at, outcome.caused_by)


def _matrix(referral: Referral, in_force: InForce) -> Matrix:
    """The matrix under which it was offered; a referral that never was says nothing of a need."""
    return in_force.protocols[referral.protocol].matrix if referral.protocol else {}


def _to_asker(refusal: Refusal, outcome: Outcome, numbers: Numbers) -> OutboxEvent:
    number = next(numbers[refusal.fact.referral, refusal.agency]) if refusal.is_numbered else None
    told = minimise(refusal.fact, refusal.sector, {}, to=refusal.agency, number=number)
    return OutboxEvent(INBOX[refusal.sector], told, outcome.at, outcome.caused_by)
