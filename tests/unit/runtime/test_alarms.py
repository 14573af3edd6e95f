"""Every rule that some code raises is in the table, with a sentence; the table holds no other."""

import ast
import re

from services.runtime.alarms import RULES
from tests.contract.test_tidy import PRODUCT, files_below, place, tree_of

TABLE = "services/runtime/alarms.py"
NAMED_ELSEWHERE = {
    "services/governance/handlers.py": "which record is an alarm stands in a table of its own",
    "services/runtime/partition_alarms.py": "what stands over a partition is read from its row",
    "services/runtime/health.py": "the reason for which a service is not ready is a rule",
}
"""Where a rule's code is no literal, and why."""


def test_every_rule_that_is_raised_is_in_the_table() -> None:
    raised, elsewhere = set(), set()
    for path in files_below(*PRODUCT):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Alarm"):
                match node.args[0]:
                    case ast.Constant(value=str(rule)):
                        raised.add(rule)
                    case _:
                        elsewhere.add(place(path))

    assert len(raised) >= 7
    assert raised - RULES.keys() == set()
    assert elsewhere == NAMED_ELSEWHERE.keys()


def test_the_table_holds_no_rule_that_nothing_raises() -> None:
    product = "".join(path.read_text() for path in files_below(*PRODUCT) if place(path) != TABLE)

    assert [rule for rule in RULES if f'"{rule}"' not in product] == []
    for rule, sentence in RULES.items():
        assert re.fullmatch("[a-z]+(_[a-z]+)*", rule)
        assert re.fullmatch(r"[A-Z].+\.", sentence)
