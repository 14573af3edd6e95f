"""What a new version of a protocol changes, cell by cell, in words."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from schemas.events.governance import ProtocolDocument
from services.governance.domain.protocols import differences
from tests.support.stage import a_protocol

OLD = a_protocol(("clinic", "precinct")).model_dump(mode="json")


@pytest.mark.parametrize(("edit", "told"), [
    (lambda new: None, []),
    (lambda new: new.update(version=2), []),
    (lambda new: new.update(valid_until="2032-01-01T00:00:00Z"),
        ["valid until: 2032-01-01T00:00:00+00:00 instead of 2031-01-01T00:00:00+00:00"]),
    (lambda new: new.update(valid_from="2026-02-01T00:00:00Z"),
        ["valid from: 2026-02-01T00:00:00+00:00 instead of 2026-01-01T00:00:00+00:00"]),
    (lambda new: new.update(jurisdiction="elsewhere"), ["jurisdiction: elsewhere instead of demo"]),
    (lambda new: new.update(entry_fresh_for_days=30),
        ["directory entries count as fresh for: 30 days instead of 365 days"]),
    (lambda new: new.update(parties=["clinic", "shelter"]),
        ["party precinct: no longer there, was takes part",
         "party shelter: takes part, which was not there before"]),
    (lambda new: new["matrix"]["need"].update(education="N", police="C"),
        ["need is seen by police: in coarse form instead of in full",
         "need is seen by education: not at all instead of in coarse form"]),
    (lambda new: new["matrix"]["need"].update(education="O"),
        ["need is seen by education: where she names it instead of in coarse form"]),
    (lambda new: new["timers"]["answer"].update(urgent=60),
        ["answer when urgent: 60 seconds instead of 10800 seconds"]),
    (lambda new: new["pulls"][0].update(fields=["safe_contact"], purposes=["care"]),
        ["contact may be pulled by social_services on consent for care:"
         " safe_contact instead of name, phone, safe_contact",
         *(f"contact may be pulled by social_services on consent for {purpose}:"
           " no longer there, was name, phone, safe_contact"
           for purpose in ("legal_aid", "protection", "schooling", "shelter"))]),
    (lambda new: new["pulls"].reverse(), []),
])  # fmt: skip
def test_two_versions_differ_in_the_cells_that_were_edited(
    edit: Callable[[dict[str, Any]], object], told: list[str]
) -> None:
    new = copy.deepcopy(OLD)
    edit(new)

    found = differences(ProtocolDocument.model_validate(OLD), ProtocolDocument.model_validate(new))

    assert [*found] == told
