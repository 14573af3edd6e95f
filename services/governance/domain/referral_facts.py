"""What is kept of a fact about a referral to be counted: codes and random ids, and only what is counted."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from schemas.events import facts
from schemas.events.unmet_need import UnmetNeedRecorded
from schemas.wire.envelope import ReadEvent

CODE_OF: Final[Mapping[str, str]] = {
    facts.ReferralOffered.type: "",
    facts.ReferralAccepted.type: "",
    facts.ReferralDeclined.type: "reason",
    facts.ReferralExpired.type: "",
    facts.ServiceStarted.type: "",
    facts.ServiceProvided.type: "outcome",
    facts.ServiceNotProvided.type: "reason",
    facts.ReferralUnreachable.type: "",
    facts.FeedbackGiven.type: "",
    facts.ReferralRedirected.type: "",
    facts.ReferralReoffered.type: "",
    facts.ReferralClosed.type: "",
    facts.ReferralClosedUnmet.type: "unmet",
    facts.ReferralWithdrawn.type: "",
    facts.SealConfirmed.type: "",
    UnmetNeedRecorded.type: "",
}
"""The kinds of fact that are counted, each with the field whose code is counted too."""
COUNTED_MARKS: Final = ("first", "again")
"""Without one of these her referral counts nowhere."""


class ReferralFact(NamedTuple):
    """One fact about a referral, or about a need that no service answers."""

    event: str
    type: str
    at: datetime
    referral: str
    code: str | None
    met: str | None
    hop: int | None
    mark: str | None
    need: str | None
    access_need: str | None
    urgency: str | None
    area: str | None
    agency: str | None
    """Whom an offer awaits."""


def referral_fact(event: ReadEvent[Any]) -> ReferralFact | None:
    """What is kept of it; nothing of a kind that is not counted, nor of an offer that counts nowhere."""
    body, kind = event.body, event.body.type
    is_offer, mark = kind == facts.ReferralOffered.type, getattr(body, "count", None)
    if kind not in CODE_OF or (is_offer and mark not in COUNTED_MARKS):
        return None
    needs = body.needs if is_offer else [body.need] if isinstance(body, UnmetNeedRecorded) else None
    return ReferralFact(
        event=event.id,
        type=kind.rpartition(".")[2],
        at=event.at,
        referral=event.key,
        code=getattr(body, CODE_OF[kind], None),
        met=getattr(body, "met", None),
        hop=getattr(body, "hop", None),
        mark=mark,
        need=_one_of(needs),
        access_need=_one_of(getattr(body, "access_needs", None)),
        urgency=getattr(body, "urgency", None) if is_offer else None,
        area=getattr(body, "area", None),
        agency=body.awaits if is_offer else None,
    )


def _one_of(codes: Sequence[str] | None) -> str | None:
    """One code, so that nobody counts twice in a table; unsaid where the protocol lets nobody see it."""
    if codes is None:
        return None
    return codes[0] if len(codes) == 1 else "several" if codes else "none"
