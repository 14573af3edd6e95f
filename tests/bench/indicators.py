"""`python -m tests.bench.indicators`: all indicators anew from a million kept facts, and one month.

Prints the median, and how many figures there were; each round is a transaction of its own, as in the service.
"""

import argparse
import asyncio
import statistics
import time
from typing import Final
from zoneinfo import ZoneInfo

from services.governance.domain.figures import digest_of
from services.governance.store import INDICATORS, StatisticsStore
from tests.support.platform import Space, started_platform

MONTH: Final = "2025-06"
REFERRALS: Final = """
INSERT INTO referral_fact
  (event, type, at, referral, code, met, hop, mark, need, access_need, urgency, area, agency)
SELECT 'evt_' || n || '_' || step, (CAST(:types AS text[]))[step],
  timestamptz '2021-01-01Z' + n * interval '5 years' / CAST(:referrals AS int) + step * interval '3 hours',
  'ref_' || n, 'code_' || n % 6, CASE n % 3 WHEN 0 THEN 'missed' ELSE 'met' END, 2,
  CASE step WHEN 1 THEN CASE n % 4 WHEN 0 THEN 'again' ELSE 'first' END END, 'need_' || n % 10,
  'access_' || n % 6, CASE n % 2 WHEN 0 THEN 'urgent' ELSE 'routine' END, 'ZZ' || n % 200,
  'agency-' || n % 997
FROM generate_series(1, CAST(:referrals AS int)) AS n, generate_series(1, CAST(:steps AS int)) AS step
"""
TYPES: Final = ("offered", "accepted", "started", "provided", "feedback_given", "closed", "withdrawn",
    "seal_confirmed", "declined", "redirected")  # fmt: skip
OWN: Final = """
INSERT INTO governance_fact (event, type, at, key, body)
SELECT 'evt_' || n,
  (ARRAY['meeting_held', 'decision_taken', 'recommendation_agreed', 'effort_logged'])[n % 4 + 1],
  timestamptz '2021-01-01Z' + n * interval '5 years' / CAST(:facts AS int), 'key_' || n % 5000,
  jsonb_build_object('level', 'level_' || n % 6, 'outcome', 'adopted', 'tabled_by', 'un', 'phase', 'planning',
    'changes', 'rule', 'hours', 3, 'month', '2025-06', 'constituency', 'un', 'had_quorum', true)
FROM generate_series(1, CAST(:facts AS int)) AS n
"""


async def measure(space: Space, facts: int, rounds: int) -> None:
    """Fill the tables of this space, then count."""
    own, referrals = facts // 10, facts * 9 // 10 // len(TYPES)
    admin, database = space.database_as_admin("governance"), space.database("governance")
    async with admin.transaction() as transaction:
        await transaction.run(REFERRALS, types=TYPES, referrals=referrals, steps=len(TYPES))
        await transaction.run(OWN, facts=own)
        await transaction.run("ANALYZE")
    seconds: dict[str, list[float]] = {"rebuild": [], "one month": [], "public acts alone": []}
    digests = set()
    for _ in range(rounds):
        async with database.transaction() as transaction:
            store, began = StatisticsStore(transaction, ZoneInfo("UTC")), time.perf_counter()
            await store.count(INDICATORS.values())
            figures = await store.figures()
            digests.add(digest_of(figures))
            seconds["rebuild"].append(time.perf_counter() - began)
        for name in ("one month", "public acts alone"):
            async with database.transaction() as transaction:
                store, began = StatisticsStore(transaction, ZoneInfo("UTC")), time.perf_counter()
                if name == "one month":
                    await store.figures_of(MONTH)
                else:
                    await store.count([one for one in INDICATORS.values() if not one.persons])
                seconds[name].append(time.perf_counter() - began)
    print(f"{referrals * len(TYPES)} facts of referrals, {own} of our own; {len(figures)} figures, {digests}")
    for name, times in seconds.items():
        print(f"{name:18} median {statistics.median(times):7.2f} s of {rounds}, most {max(times):7.2f} s")
    await admin.close()
    await database.close()


def main() -> None:
    """Read the arguments, start the platform, measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--facts", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with started_platform() as platform:
        asyncio.run(measure(Space(platform), arguments.facts, arguments.rounds))


if __name__ == "__main__":
    main()
