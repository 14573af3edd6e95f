"""A release on real stores with a real vault: what column and consent say, under a permit, or nothing."""

import asyncio
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.exc import SQLAlchemyError
from structlog.testing import capture_logs

from schemas.events.access import Actor, EventReport, OutcomeReport
from schemas.events.break_glass import BreakGlassApproval
from schemas.events.consent import Closure
from schemas.events.governance import ServiceCurrent
from schemas.events.packet import PacketClinical
from schemas.events.referral import ReportBreakGlass
from schemas.wire.public_keys import written
from schemas.wire.signed import sign
from schemas.wire.topic import source_of
from services.runtime.errors import NotFound, Refused
from services.sector import releases
from services.sector.api import release_app
from services.sector.domain import refusals
from services.sector.domain.closures import WithdrawalTask
from services.sector.handlers.packets import write_group
from services.sector.handlers.pulls import PermittedRelease
from tests.support.builders import OWNER, RECEIVER, STRANGER, a_service, agency_key, an_id
from tests.support.clock import NOON
from tests.support.releases import CONTENTS, SAFE, ReleaseScene
from tests.support.scenes import a_case, a_recorded_consent, asker
from tests.support.sector import CELL, StoredSector

POLICE_KEY = Ed25519PrivateKey.from_private_bytes(b"p" * 32)


@pytest.fixture
def scene(sector: StoredSector, tmp_path: Path) -> ReleaseScene:
    return ReleaseScene(sector, tmp_path)


async def outcomes(scene: ReleaseScene) -> list[tuple[str, str | None]]:
    told = await scene.sector.reported()
    return [(one.result, one.reason) for one in told if isinstance(one, OutcomeReport)]


async def denials(scene: ReleaseScene) -> list[str | None]:
    told = await scene.sector.reported()
    return [one.access.reason for one in told if isinstance(one, EventReport) and one.access.act == "denial"]


async def withdraw(scene: ReleaseScene, referral: str) -> None:
    """She takes her consent back: the row of the ledger stands, and nothing else is done yet."""
    consent = (await scene.sector.view(OWNER, referral)).consent
    assert consent
    task = WithdrawalTask(
        agency=OWNER, actor=Actor(client="desk"), duty="intake", referral=referral, consent=consent,
        stop_contact=True,
    )  # fmt: skip
    await scene.sector.work.closures.add("consent", consent.ledger_id, task, scene.sector.clock.now())


async def refused(scene: ReleaseScene, pull: Any) -> type[Refused]:
    """The refusal of a pull, of which nothing is left but what the trail is told."""
    held = await scene.sector.rows("SELECT 1 FROM release_made")
    given = len(scene.given)
    with pytest.raises(Refused) as error:
        await scene.released(pull)
    assert await scene.sector.rows("SELECT 1 FROM release_made") == held
    assert len(scene.given) == given
    return type(error.value)


async def test_a_nurse_opens_what_her_column_shows_and_no_more(scene: ReleaseScene) -> None:
    referral = await scene.prepare()

    opened = await scene.released(scene.pull(referral, "contact", "clinical"))

    assert opened["clinical"] == CONTENTS["clinical"]
    assert opened["contact"]["safe_contact"]["channels"] == SAFE["channels"]
    assert not {"name", "phone"} & opened["contact"].keys()  # those her consent would have to name
    [asked] = scene.trail.asked
    access = asked.access
    assert (access.act, access.basis, access.subject, access.groups) == (
        "disclosure", "consent", referral, {"contact": "1", "clinical": "2"},
    )  # fmt: skip
    assert access.recipient
    assert access.recipient.agency == RECEIVER
    assert await outcomes(scene) == [("released", None)]
    held = await scene.sector.work.packets.holders((await scene.sector.view(OWNER, referral)).case or "")
    assert [(one.agency, one.group) for one in held] == [(RECEIVER, "clinical"), (RECEIVER, "contact")]


async def test_named_fields_of_her_consent_are_shown(scene: ReleaseScene) -> None:
    referral = await scene.prepare(fields={RECEIVER: ["contact.name"]})

    opened = await scene.released(scene.pull(referral, "contact"))

    assert opened["contact"]["name"] == "Canary Name"
    assert "phone" not in opened["contact"]


async def test_the_owner_reads_all_of_its_own_by_the_same_pull(scene: ReleaseScene) -> None:
    referral = await scene.prepare()

    opened = await scene.released(scene.pull(referral, "contact", "protection", by=OWNER))

    assert opened["contact"]["phone"] == CONTENTS["contact"]["phone"]
    assert opened["protection"]["home"] == "canary road"
    assert scene.trail.asked[0].access.basis == "own_case"


async def test_a_sector_gets_no_group_that_the_protocol_denies(scene: ReleaseScene) -> None:
    referral = await scene.prepare(recipients=[RECEIVER, STRANGER], purposes=["care", "investigation"])
    await scene.move(referral, "accepted", STRANGER)

    pull = scene.pull(referral, "clinical", by=STRANGER, purpose="investigation")

    assert await refused(scene, pull) is refusals.GroupNotShared
    assert await denials(scene) == ["group_not_shared"]
    assert not scene.trail.asked


@pytest.mark.parametrize(
    "changes", [{"groups": ("legal",)}, {"purpose": "protection"}], ids=["group", "purpose"]
)
async def test_what_her_consent_does_not_name_is_refused(scene: ReleaseScene, changes: Any) -> None:
    referral = await scene.prepare()

    assert await refused(scene, scene.pull(referral, "clinical", **changes)) is refusals.ConsentDoesNotCover
    assert await denials(scene) == ["consent_does_not_cover"]


async def test_strangers_wrong_states_and_unknown_ids_find_the_same_nothing(scene: ReleaseScene) -> None:
    referral = await scene.prepare()

    assert await refused(scene, scene.pull(referral, "clinical", by=STRANGER)) is NotFound
    assert await refused(scene, scene.pull(an_id("referral"), "clinical")) is NotFound
    for state in ("offered", "provided", "withdrawn", "sealed"):
        await scene.move(referral, state)
        assert await refused(scene, scene.pull(referral, "clinical")) is NotFound
    assert set(await denials(scene)) == {"not_found"}


async def test_what_was_withdrawn_is_not_there(scene: ReleaseScene) -> None:
    referral = await scene.prepare()
    permitted = await scene.releases.permit(scene.pull(referral, "clinical"))
    await withdraw(scene, referral)

    with pytest.raises(NotFound):  # a withdrawal after the permit, before the release
        await scene.releases.release(permitted, scene.take)

    assert scene.given == []
    assert await outcomes(scene) == [("refused", "not_found")]
    assert await refused(scene, scene.pull(referral, "clinical")) is NotFound


async def test_a_consent_of_another_case_covers_nothing(scene: ReleaseScene) -> None:
    referral = await scene.prepare()
    other = await a_recorded_consent(scene.sector, await a_case(scene.sector))
    await scene.sector.rows("UPDATE referral_view SET consent_id = :other, consent_version = 1", other=other)

    assert await refused(scene, scene.pull(referral, "clinical")) is refusals.ConsentDoesNotCover


async def test_a_permit_serves_one_release(scene: ReleaseScene) -> None:
    """V8."""
    referral = await scene.prepare()
    permitted = await scene.releases.permit(scene.pull(referral, "clinical"))
    assert await scene.sector.work.reports.use(permitted.permit.origin, permitted.permit.index)

    with pytest.raises(refusals.PermitUsed):
        await scene.releases.release(permitted, scene.take)

    assert scene.given == []
    assert await outcomes(scene) == [("refused", "permit_used")]


async def test_a_nonce_serves_one_release(scene: ReleaseScene) -> None:
    referral = await scene.prepare()
    permitted = await scene.releases.permit(scene.pull(referral, "clinical"))
    await scene.releases.release(permitted, scene.take)

    with pytest.raises(refusals.VaultRefused):
        await scene.releases.release(permitted, scene.take)

    assert len(scene.given) == 1
    assert (await outcomes(scene))[-1] == ("refused", "nonce_unknown")


async def test_what_changed_since_the_intent_is_not_released(scene: ReleaseScene) -> None:
    referral = await scene.prepare()
    permitted = await scene.releases.permit(scene.pull(referral, "clinical"))
    case = (await scene.sector.view(OWNER, referral)).case
    await write_group("clinical", PacketClinical(pep="needed"), str(case), asker(), scene.sector.work)

    with pytest.raises(refusals.GroundChanged):
        await scene.releases.release(permitted, scene.take)

    assert await outcomes(scene) == [("refused", "ground_changed")]


async def test_a_release_that_takes_too_long_ends_without_a_trace_but_in_the_trail(
    scene: ReleaseScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    referral = await scene.prepare()
    permitted = await scene.releases.permit(scene.pull(referral, "clinical"))
    monkeypatch.setattr(releases, "RELEASE_SECONDS", 2.0)

    async def slow(_content: bytes) -> None:
        await asyncio.Event().wait()

    with pytest.raises(refusals.ReleaseLate):
        await scene.releases.release(permitted, slow)

    assert not await scene.sector.rows("SELECT 1 FROM permit_used")
    assert await outcomes(scene) == [("released", "not_completed")]  # it may have got a part


async def test_an_agency_that_takes_its_groups_slowly_keeps_no_other_waiting(
    scene: ReleaseScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    referral, taken, begun = await scene.prepare(), asyncio.Event(), []
    slow = [await scene.releases.permit(scene.pull(referral, "clinical")) for _ in range(5)]
    other = await scene.releases.permit(scene.pull(referral, "clinical", by=OWNER))

    async def taking(permitted: PermittedRelease, *_: object) -> None:
        begun.append(permitted)
        await (taken.wait() if permitted in slow else asyncio.sleep(0))

    monkeypatch.setattr(scene.releases, "_open_work", nullcontext)
    monkeypatch.setattr(scene.releases, "_release", taking)
    async with asyncio.TaskGroup() as group:
        for permitted in slow:
            group.create_task(scene.releases.release(permitted, scene.take))
        await asyncio.sleep(0)
        await scene.releases.release(other, scene.take)
        assert begun == [*slow[: releases.RELEASES_OF_AGENCY_MAX], other]
        monkeypatch.setattr(releases, "WAITING_OF_AGENCY_MAX", 2)
        with pytest.raises(refusals.TooManyPulls):
            await scene.releases.permit(slow[0].pull)
        taken.set()

    assert len(begun) == len(slow) + 1


async def test_a_database_that_fails_meanwhile_leaves_an_outcome_that_the_trail_takes(
    scene: ReleaseScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    referral = await scene.prepare()
    permitted = await scene.releases.permit(scene.pull(referral, "clinical"))

    async def failing(*_: object, **__: object) -> None:
        raise SQLAlchemyError  # its own `code` is None: no reason, without which the trail refuses it

    monkeypatch.setattr(releases, "ground_of", failing)
    with pytest.raises(SQLAlchemyError):
        await scene.releases.release(permitted, scene.take)

    assert await outcomes(scene) == [("failed", "not_completed")]


@pytest.mark.parametrize("part", ["trail", "vault", "vault's ledger"])
async def test_without_trail_or_vault_nothing_is_released_and_writing_goes_on(
    scene: ReleaseScene, part: str
) -> None:
    referral = await scene.prepare()
    if part == "trail":
        scene.trail.statuses = [503, 503, 503]
    elif part == "vault":
        scene.vault.is_away = True
    else:
        await scene.vault.closed([Closure(n=1, kind="keyset", id=an_id("keyset", "of another"))], 0)

    away = refusals.TrailUnavailable if part == "trail" else refusals.VaultUnavailable
    assert await refused(scene, scene.pull(referral, "clinical")) is away
    case = await a_case(scene.sector)
    await write_group("clinical", PacketClinical(pep="needed"), case, asker(), scene.sector.work)


async def test_a_key_that_the_agency_did_not_sign_gets_nothing(scene: ReleaseScene) -> None:
    referral = await scene.prepare()
    pull = scene.pull(referral, "clinical", signed_by=agency_key(STRANGER))

    assert await refused(scene, pull) is refusals.KeyRefused
    assert await outcomes(scene) == [("refused", "key_record_unsigned")]


async def a_danger(scene: ReleaseScene, **changes: Any) -> BreakGlassApproval:
    """What a supervisor of the police agrees to, signed by the police's service."""
    public = written(POLICE_KEY.public_key().public_bytes_raw())
    await scene.sector.work.register.keep(ServiceCurrent, [a_service("police", signing_key=public)])
    words: dict[str, Any] = {
        "referral": (await scene.sector.rows("SELECT referral FROM referral_view"))[0].referral,
        "requester": RECEIVER, "approver": STRANGER, "approved_by": "staff-9",
        "groups": ["contact", "protection"], "reason": "threat_to_life", "approved_at": NOON,
    }  # fmt: skip
    return sign(BreakGlassApproval.model_validate(words | changes), POLICE_KEY)


async def in_danger(scene: ReleaseScene, of: str, *groups: str, **changes: Any) -> Any:
    approval = await a_danger(scene, **changes)
    return scene.pull(of, *(groups or ("contact",)), purpose="protection", approval=approval)


async def test_in_danger_another_agencys_word_opens_two_groups_and_everybody_is_told(
    scene: ReleaseScene,
) -> None:
    referral = await scene.prepare(groups=["clinical"])
    await scene.move(referral, "offered")  # nobody has accepted yet

    opened = await scene.released(await in_danger(scene, referral, "contact", "protection"))

    assert opened["contact"]["phone"] == CONTENTS["contact"]["phone"]
    assert opened["protection"] == {
        "violence_types": ["medical_care_first"]
    }  # what the matrix hides stays so
    access = scene.trail.asked[0].access
    assert (access.act, access.basis, access.reason) == ("break_glass", "break_glass", "threat_to_life")
    assert access.approver
    assert (access.approver.agency, access.approver.id) == (STRANGER, "staff-9")
    [step] = [one for one in await scene.sector.sent() if isinstance(one, ReportBreakGlass)]
    assert (step.referral, step.agency, step.groups, step.approver) == (
        referral, OWNER, ("contact", "protection"), STRANGER,
    )  # fmt: skip


DANGERS: dict[str, tuple[dict[str, Any], type[Refused]]] = {
    "another referral": ({"referral": an_id("referral", "other")}, refusals.ApprovalRefused),
    "another agency": ({"requester": OWNER}, refusals.ApprovalRefused),
    "its own word": ({"approver": RECEIVER}, refusals.ApprovalRefused),
    "an agency that nobody admitted": ({"approver": "nobody"}, refusals.ApprovalRefused),
    "an agency of another sector": ({"approver": OWNER}, refusals.ApprovalRefused),
    "four hours ago": ({"approved_at": NOON - timedelta(hours=4)}, refusals.ApprovalRefused),
    "fewer groups": ({"groups": ["protection"]}, refusals.ApprovalRefused),
}


@pytest.mark.parametrize("case", DANGERS)
async def test_an_approval_that_does_not_hold_opens_nothing(scene: ReleaseScene, case: str) -> None:
    changes, refusal = DANGERS[case]
    referral = await scene.prepare()

    assert await refused(scene, await in_danger(scene, referral, **changes)) is refusal
    assert await denials(scene) == ["approval_refused"]
    assert not scene.trail.asked


async def test_danger_opens_no_other_group_and_serves_no_other_purpose(scene: ReleaseScene) -> None:
    referral = await scene.prepare()
    good = await in_danger(scene, referral)

    clinical = good.model_copy(update={"groups": ("clinical",)})
    care = good.model_copy(update={"purpose": "care"})

    assert await refused(scene, clinical) is refusals.ApprovalRefused
    assert await refused(scene, care) is refusals.PurposeNotShared


@pytest.mark.parametrize("state", ["declined", "provided", "withdrawn", "sealed"])
async def test_who_is_no_receiver_any_more_finds_nothing_in_danger_either(
    scene: ReleaseScene, state: str
) -> None:
    referral = await scene.prepare()
    await scene.move(referral, state)

    assert await refused(scene, await in_danger(scene, referral)) is NotFound


async def test_a_sector_that_asks_for_anothers_agency_is_told_so_in_the_log(scene: ReleaseScene) -> None:
    pull = scene.pull(await scene.prepare(), "clinical")
    app = release_app(scene.releases, scene.sector.open, CELL, "tests")
    names = (("URI", source_of(CELL, "police")),)

    async def from_the_police(scope: Any, receive: Any, send: Any) -> None:
        certified = {"peer_certificate": {"subjectAltName": names}}
        await app({**scope, "extensions": certified}, receive, send)

    with capture_logs() as lines:
        transport = httpx2.ASGITransport(from_the_police)
        async with httpx2.AsyncClient(transport=transport, base_url="http://owner") as client:
            headers = {"content-type": "application/json"}
            answer = await client.post("/v1/releases", content=pull.model_dump_json(), headers=headers)

    assert answer.json()["code"] == "sectors_only"
    assert [(line["event"], line["peer"]) for line in lines] == [("release_not_theirs", "police")]
