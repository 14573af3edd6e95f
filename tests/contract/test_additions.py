"""What comes later is added in few places: a copy of the product gets one of each, and finds it by itself."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
Edits = tuple[tuple[str, str, str], ...]
"""File, a text in it, and what stands there afterwards; a new file has no text before."""

TOPIC: Final[Edits] = (
    ("schemas/topics.py", "\nTOPICS: Final = (",
     '\nALARMS: Final = Topic("referrals.alarms", "referrals", ("notifications",), "restricted",'
     ' ("referral",), facts.FACTS, "referrals.alarm")\n\nTOPICS: Final = (ALARMS, '),
    ("services/notifications/subscriptions.py", "SUBSCRIPTIONS: Final = (",
     "SUBSCRIPTIONS: Final = (Subscription((topics.ALARMS,), write_notices),"),
)  # fmt: skip
SECTOR: Final[Edits] = (
    ("schemas/topics.py", "SECTORS: Final = (", 'SECTORS: Final = ("justice", '),
    ("services/justice/__init__.py", "", '"""The courts."""\n'),
    ("services/justice/__main__.py", "",
     "from services.justice.profile import PROFILE\n"
     "from services.sector.entry import run_sector\n\nrun_sector(PROFILE)\n"),
    ("services/justice/profile.py", "",
     "from services.sector.domain.profile import Profile\n\n"
     'PROFILE = Profile("justice", "Courts", frozenset({"legal_aid"}), frozenset({"no_capacity"}))\n'),
    ("pyproject.toml", '"health | police', '"justice | health | police'),
    ("pyproject.toml", '["services.health"', '["services.justice", "services.health"'),
)  # fmt: skip
FIELD: Final[Edits] = (
    ("schemas/events/referral.py", "    area: Annotated[Area | None, EVERYBODY] = None\n",
     "    area: Annotated[Area | None, EVERYBODY] = None\n"
     '    homeless: Annotated[Flag | None, MatrixRow("shelter", lambda homeless: homeless)] = None\n'),
    ("deploy/local/protocol.json", '  "matrix": {\n', '  "matrix": {\n    "shelter": {"health": "F"},\n'),
)  # fmt: skip
STEP: Final[Edits] = (
    ("schemas/events/referral.py", "class StartService(",
     'class PauseService(StepBase):\n    type: ClassVar[str] = "referral.pause"\n'
     '    resource: ClassVar[str] = "pauses"\n\n\nclass StartService('),
    ("schemas/events/facts.py", "class ServiceStarted(",
     'class ServicePaused(FactBase):\n    type: ClassVar[str] = "referral.paused"\n\n\n'
     "class ServiceStarted("),
    ("schemas/events/life_cycle.py", '    START = "start"\n',
     '    START = "start"\n    PAUSE = "pause"\n'),
    ("schemas/events/life_cycle.py", "    (State.IN_SERVICE, Verb.PROVIDE)",
     "    (State.IN_SERVICE, Verb.PAUSE): State.ACCEPTED,\n    (State.IN_SERVICE, Verb.PROVIDE)"),
    ("schemas/events/life_cycle.py", '    Verb.START: "receiver",\n',
     '    Verb.START: "receiver",\n    Verb.PAUSE: "receiver",\n'),
    ("services/referrals/domain/steps.py", "    Verb.START: ",
     "    Verb.PAUSE: contract.ServicePaused,\n    Verb.START: "),
)  # fmt: skip
AGGREGATE: Final[Edits] = (
    ("services/governance/domain/pledges.py", "",
     "from typing import ClassVar\n\n"
     "from services.governance.domain.life_cycle import (\n"
     "    NOTHING, ActRow, Change, Content, LifeCycle, Nothing,\n)\n\n\n"
     'class Pledge(Content):\n    kind: ClassVar[str] = "pledge"\n\n    places: int\n\n\n'
     "PLEDGES = LifeCycle(\n"
     '    content=Pledge, plural="pledges", id_kind="meeting", most=10, waits="made",\n'
     "    rows=(\n"
     '        ActRow(NOTHING, "make", "seat", "made", Pledge, lambda _, __, body: Change(body)),\n'
     '        ActRow("made", "keep", "seat", "kept", Nothing, lambda _, content, __: Change(content)),\n'
     "    ),\n)\n"),
    ("services/governance/domain/tables.py", "import PARTNERS\n",
     "import PARTNERS\nfrom services.governance.domain.pledges import PLEDGES\n"),
    ("services/governance/domain/tables.py", "for cycle in (", "for cycle in (PLEDGES, "),
)  # fmt: skip
PROBE: Final = """
import importlib, json, sys
from types import SimpleNamespace

from deploy.local.processes import PROCESSES
from schemas.events.facts import ROWS, ReferralOffered
from schemas.events.referral import OfferReferral, PauseService
from schemas.publishing.__main__ import published
from schemas.topics import ALARMS, INBOX, SERVICES, TOPICS
from services.governance.api.partners import described_app as partners_port
from services.governance.domain.areas import read_areas
from schemas.wire.minimisation import minimise
from services.justice.profile import PROFILE
from services.notifications.subscriptions import SUBSCRIPTIONS
from schemas.events.life_cycle import State
from services.referrals.domain.steps import answer
from services.runtime import administration
from services.sector.api import described_app
from tests.support.builders import a_referral, in_force
from tests.support.clock import NOON
from tests.support.partnership import AREAS
from tests.support.stage import Stage

def users_of(topic):
    rights = administration.topology([topic], SERVICES, "", local=False).rights
    return sorted({one.principal.removeprefix("User:") for one in rights})

files = published()
channels = json.loads(files["asyncapi.json"])["channels"]
routes = described_app(PROFILE).openapi()
bodies = routes["components"]["schemas"]
fact = ReferralOffered(referral="ref_" + "a" * 26, homeless=True)
pause = PauseService(referral=fact.referral, agency="a", duty="desk")
paused, told = answer(a_referral(State.IN_SERVICE), pause, in_force(), at=NOON)
stage = Stage(read_areas(AREAS.read_text("utf-8")))
stage.found()
stage.do("seat ministry", "make", "pledge", "mtg_first", {"places": 3})
stage.do("seat ministry", "keep", "pledge", "mtg_first")
pledges = partners_port().openapi()["paths"]
json.dump({
    "aggregate": [sorted(path for path in pledges if "pledge" in path), stage.state("pledge", "mtg_first")],
    "topic": [ALARMS.title in channels, any(ALARMS in one.topics for one in SUBSCRIPTIONS),
              users_of(ALARMS)],
    "sector": ["sector.justice.inbox" in channels, "justice" in {one.name for one in PROCESSES},
               users_of(INBOX["justice"])],
    "field": ["homeless" in bodies["OfferRequest"]["properties"], "homeless" in OfferReferral.model_fields,
              [minimise(fact, reader, {"shelter": {"health": "F"}}).homeless for reader in INBOX],
              sorted(ROWS)],
    "step": ["referral.pause-1.0.json" in files, any(path.endswith("/pauses") for path in routes["paths"]),
             str(paused.state), told[0].type],
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the copy knows of the additions."""
    copy = tmp_path_factory.mktemp("grown")
    for folder in ("schemas", "services", "deploy", "tests/support"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for name, before, after in (*TOPIC, *SECTOR, *FIELD, *STEP, *AGGREGATE):
        file = copy / name
        file.parent.mkdir(exist_ok=True)
        text = file.read_text("utf-8") if before else ""
        assert before in text, f"{name} has no such place any more: {before}"
        file.write_text(text.replace(before, after, 1), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(
        (sys.executable, "-c", PROBE), cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def files_of(addition: Edits) -> set[str]:
    return {file for file, _, _ in addition}


def test_a_topic_is_a_line_and_a_handler(found: dict[str, Any]) -> None:
    is_channel, is_handled, users = found["topic"]

    assert len(files_of(TOPIC)) == 2
    assert is_channel
    assert is_handled
    assert users == ["notifications", "referrals"]


def test_row_5_a_sector_is_a_folder_a_word_of_the_table_and_a_name_in_two_contracts(
    found: dict[str, Any],
) -> None:
    assert {file.rpartition("/")[0] for file in files_of(SECTOR)} == {"schemas", "services/justice", ""}
    assert found["sector"] == [True, True, ["justice", "referrals"]]


def test_a_field_of_the_offer_is_one_place_and_a_row_of_the_matrix(found: dict[str, Any]) -> None:
    in_body, in_step, seen, rows = found["field"]

    assert len(files_of(FIELD)) == 2
    assert in_body
    assert in_step
    assert seen.count(True) == 1
    assert "shelter" in rows


def test_a_step_is_its_class_its_row_and_its_rule(found: dict[str, Any]) -> None:
    assert len(files_of(STEP)) == 4
    assert found["step"] == [True, True, "accepted", "referral.paused"]


def test_an_aggregate_of_governance_is_one_file_and_a_word_in_the_list_of_tables(
    found: dict[str, Any],
) -> None:
    routes, state = found["aggregate"]

    assert len(files_of(AGGREGATE)) == 2
    assert routes == [
        "/v1/pledges", "/v1/pledges/{name}", "/v1/pledges/{name}/acts", "/v1/pledges/{name}/keep",
    ]  # fmt: skip
    assert state == "kept"
