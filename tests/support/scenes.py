"""Small scenes for the tests of a sector: who asks, a case with her consent, an offer as it is sent."""

from typing import Any

from schemas.events.access import Actor
from services.sector.domain.bodies import CaseRequest, ConsentRequest, OfferRequest
from services.sector.domain.requests import Asker
from services.sector.handlers.requests import offer, open_case, record_consent
from tests.support.builders import OWNER, RECEIVER, SERVICE
from tests.support.sector import StoredSector

SCOPE: dict[str, Any] = {
    "recipients": [RECEIVER],
    "groups": ["contact", "clinical"],
    "purposes": ["care"],
    "expires_at": "2026-04-01T00:00:00Z",
    "feedback": True,
}
CONSENT: dict[str, Any] = {"scope": SCOPE, "form_version": "f-1", "language": "sw"}
PERSONAL: str = "Case of Amina Example, 12 Harbour Road"


def asker(agency: str = OWNER) -> Asker:
    return Asker(agency, Actor(id="staff-7", role="caseworker", client="desk-system"))


def an_offer_asked(case_id: str, consent_id: str, **changes: Any) -> dict[str, Any]:
    content = {
        "case": case_id,
        "consent": {"id": consent_id, "version": 1},
        "service": SERVICE,
        "recipient": RECEIVER,
        "purpose": "care",
        "groups": ["clinical"],
        "needs": ["medical_care"],
        "urgency": "urgent",
        "age_band": "adult",
        "minor": False,
        "area": "HB01",
        "duty": "intake",
    }
    return content | changes


async def a_case(sector: StoredSector) -> str:
    answer = await open_case(CaseRequest(reference=PERSONAL), asker(), sector.work)
    return str(answer.body["id"])


async def a_recorded_consent(sector: StoredSector, case: str, **scope: Any) -> str:
    asked = ConsentRequest.model_validate(CONSENT | {"scope": SCOPE | scope})
    answer = await record_consent(case, asked, asker(), sector.work)
    return str(answer.body["id"])


async def an_offered_referral(sector: StoredSector, **changes: Any) -> str:
    case = await a_case(sector)
    consent = await a_recorded_consent(sector, case)
    asked = OfferRequest.model_validate(an_offer_asked(case, consent, **changes))
    answer = await offer(asked, asker(), sector.work)
    return str(answer.body["referral"])
