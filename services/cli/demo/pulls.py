"""The agencies' own side of packets: their keys, each pull that they try, and what they open."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic_core import to_json

from deploy.local.installation import Installation
from deploy.local.places import make_directory, write_private
from schemas.events.pulls import PullAnswer
from schemas.trail.permits import read_permit
from services.cli.agency_client import AgencyAccount, AgencyClient
from services.cli.demo.packet_checks import TriedPull

AGREED: Final[Mapping[str, tuple[str, ...]]] = {
    "health": ("contact", "protection", "clinical"),
    "police": ("contact", "protection"),
    "education": ("contact",),
    "social_services": ("contact", "protection", "legal", "education"),
    "civil_society": ("contact", "protection"),
}
"""What a survivor of the demo agrees to, by the receiver's sector."""
CALLED: Final = ("contact.name", "contact.phone")
"""Single fields that she names for each recipient; the protocol alone lets hardly any have these."""
NOT_AGREED_TO: Final[Mapping[str, str]] = {
    "health": "narrative",
    "police": "legal",
    "education": "protection",
    "social_services": "clinical",
    "civil_society": "legal",
}
"""A group that the protocol would share with that sector, and she does not."""


def agreement(groups: Sequence[str], *recipients: AgencyAccount) -> Mapping[str, Any]:
    """What she agrees to: groups, to each recipient how to call her, and that she is counted."""
    fields = {recipient.id: CALLED for recipient in recipients}
    return {"groups": groups, "fields": fields, "statistics": True}


@dataclass
class PullBook:
    """Every pull that agencies tried, and when she took her consent back."""

    installation: Installation
    folder: Path
    """Where the agencies' own systems put what they opened, and nobody else."""
    tried: list[TriedPull] = field(default_factory=list)
    withdrawn_at: dict[str, float] = field(default_factory=dict)
    """Referral → when its withdrawal had been answered, by this process's clock."""

    async def pull(
        self,
        client: AgencyClient,
        referral: str,
        groups: Sequence[str],
        moment: str,
        *,
        owner: str,
        person: int = 0,
    ) -> TriedPull:
        """Ask for groups of a packet that a sector holds, and open what comes."""
        asked_at = time.monotonic()
        answer = await client.pull_packet(referral, groups, person)
        agency = client.agency
        about: Mapping[str, Any] = {
            "referral": referral,
            "agency": agency.id,
            "sector": agency.sector,
            "groups": tuple(groups),
            "moment": moment,
            "asked_at": asked_at,
        }
        if answer.is_success:
            opened = client.open_packet(
                answer.content, self.installation.secrets.public_key(f"vault-{owner}")
            )
            self._keep(agency.id, referral, opened)
            entry = read_permit(PullAnswer.model_validate_json(answer.content).permit.body).index
            tried = TriedPull(**about, entry=entry, fields=_names(opened))
        else:
            tried = TriedPull(**about, code=answer.json()["code"])
        self.tried.append(tried)
        return tried

    def _keep(self, agency: str, referral: str, opened: Mapping[str, Any]) -> None:
        make_directory(self.folder)
        write_private(
            self.folder / f"{agency}-{referral}-{len(self.tried)}.json", to_json(opened), durably=False
        )


def _names(opened: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    return tuple(f"{group}.{name}" for group, fields in opened.items() for name in fields)
