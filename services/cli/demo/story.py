"""One referral told from start to end, in lines that a caseworker can read aloud: each says what happened."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from services.cli.agency_client import ACCEPT, SEAL, WITHDRAW, AgencyClient
from services.cli.demo.canaries import new_packet
from services.cli.demo.checks import PlayedReferral
from services.cli.demo.packet_checks import ACCEPTED, NOT_SHARED, STRANGER, WITHDRAWN, TriedPull
from services.cli.demo.play import COUNTED, Play, all_told, happened, leave, take
from services.cli.demo.pulls import agreement

HOLDERS: Final = ("health", "police")
"""Whom she agrees to, by sector: for both the same groups."""
AGREED: Final = ("contact", "protection", "clinical")
PULLED: Final[Mapping[str, tuple[str, ...]]] = {"health": AGREED, "police": ("contact", "protection")}
WORDS: Final[Mapping[str, str]] = {
    "contact": "how to reach her safely",
    "protection": "what keeps her safe",
    "clinical": "what clinicians found",
}
NAME: Final = "one survivor, two agencies"
WHO: Final = 1
"""A person at each agency who was refused nothing before: the trail names a first refusal's referral."""
ID_LETTERS: Final = 10


@dataclass(frozen=True, slots=True)
class ToldCase:
    """What was asked and answered in the one case that is told."""

    case: str
    titles: Mapping[str, str]
    """Agency → its name: the owner, each holder, and the stranger."""
    owner: str
    referrals: Mapping[str, str]
    """Sector of the holder → the referral to it."""
    pulls: Sequence[TriedPull]


async def play_one(play: Play) -> ToldCase:
    """Play the case: two agencies are asked, both open what she agreed to, and then she takes it back."""
    first = {client.agency.sector: client for client in reversed(list(play.trial.clients.values()))}
    owner, stranger = first["social_services"], first["education"]
    holders = {sector: first[sector] for sector in HOLDERS}
    health, police = holders.values()
    agencies = (health.agency, police.agency)
    body = await owner.prepare(*agencies, agreed=agreement(AGREED, *agencies), count=COUNTED)
    await owner.write_packet(body["case"], new_packet())
    referrals = {}
    for sector, holder in holders.items():
        service, needs = next(iter(holder.agency.services.items()))
        agency = holder.agency
        offer = {"service": service, "needs": needs, "recipient": agency.id, "purpose": agency.purpose}
        referrals[sector] = (await owner.offer({**body, **offer})).referral
        parties = (owner.agency.id, agency.id)
        play.played.append(PlayedReferral(referrals[sector], NAME, *parties, "sealed"))
        await all_told((owner, holder), referrals[sector], "referral.offered")
        await take(ACCEPT, holder, referrals[sector])
        await all_told((owner, holder), referrals[sector], ACCEPT.fact)
    pull = partial(play.trial.pulls.pull, owner=owner.agency.sector, person=WHO)
    pulls = [await pull(holders[at], referrals[at], PULLED[at], ACCEPTED) for at in HOLDERS]
    pulls.append(await pull(police, referrals["police"], ["clinical"], NOT_SHARED))
    pulls.append(await pull(stranger, referrals["health"], ["contact"], STRANGER))
    await _withdraw(play, owner, referrals["health"])
    play.trial.pulls.withdrawn_at[referrals["police"]] = time.monotonic()  # the same consent covered both
    pulls += [await pull(holders[at], referrals[at], ["contact"], WITHDRAWN) for at in HOLDERS]
    await _withdraw(play, owner, referrals["police"])
    for sector, holder in holders.items():
        await all_told((owner, holder), referrals[sector], WITHDRAW.fact)
        await take(SEAL, holder, referrals[sector])
        await all_told((owner, holder), referrals[sector], SEAL.fact)
    titles = {client.agency.id: client.agency.title for client in (owner, stranger, *holders.values())}
    return ToldCase(body["case"], titles, owner.agency.id, referrals, pulls)


def lines_of(told: ToldCase, entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The case in a dozen lines, each entry of the trail by its number."""
    titles, pulls = told.titles, {(pull.agency, pull.moment): pull for pull in told.pulls}
    opened = [pull for pull in told.pulls if pull.moment == ACCEPTED]
    asked = " and ".join(titles[pull.agency] for pull in opened)
    by_sector = {pull.sector: pull for pull in opened}
    police, stranger = (
        by_sector["police"].agency,
        next(pull.agency for pull in told.pulls if pull.moment == STRANGER),
    )
    shown = {sector: _shown(pull) for sector, pull in by_sector.items()}
    return [
        f"{titles[told.owner]} opened a case ({_short(told.case)}) and wrote down what she told, sealed.",
        f"She agreed that {asked} may learn {_words(AGREED)}, and nobody else.",
        f"{asked} were asked to help ({', '.join(_short(pull.referral) for pull in opened)}) and said yes.",
        *(
            f"{titles[pull.agency]} learned {_words(pull.groups)} ({shown[sector]}): entry {pull.entry}."
            for sector, pull in by_sector.items()
        ),
        f"The police were not shown {WORDS['clinical']}: {titles[police]} asked and was refused, because the "
        f"protocol shares it with no police{_noted(pulls[police, NOT_SHARED], entries)}.",
        f"{titles[stranger]}, which nobody had asked, was answered as if there were no such referral"
        f"{_noted(pulls[stranger, STRANGER], entries)}.",
        f"Then she took her consent back{_withdrawal(told, entries)}.",
        *(
            f"{titles[pull.agency]} asked once more, and nothing opened{_noted(pull, entries)}."
            for pull in told.pulls
            if pull.moment == WITHDRAWN
        ),
        f"{asked} confirmed that what they hold of her is sealed.",
        f"Looks in danger, without her consent (break-glass): {_in_danger(told, entries)} in the trail.",
    ]


async def _withdraw(play: Play, owner: AgencyClient, referral: str) -> None:
    sent = await leave(WITHDRAW, owner, referral)
    play.trial.pulls.withdrawn_at.setdefault(referral, time.monotonic())
    await happened(WITHDRAW, owner, sent)


def _shown(pull: TriedPull) -> str:
    return ", ".join(name.partition(".")[2].replace("_", " ") for name in pull.fields)


def _words(groups: Sequence[str]) -> str:
    *others, last = (WORDS[group] for group in groups)
    return f"{', '.join(others)} and {last}" if others else last


def _noted(pull: TriedPull, entries: Sequence[Mapping[str, Any]]) -> str:
    """Where the trail has a refusal."""
    same = {"act": "denial", "agency": pull.agency, "reason": pull.code, "referral": pull.referral}
    return _entry(entry for entry in entries if same.items() <= entry.items())


def _withdrawal(told: ToldCase, entries: Sequence[Mapping[str, Any]]) -> str:
    same = {"act": "consent", "reason": "withdrawn", "referral": told.referrals["health"]}
    return _entry(entry for entry in entries if same.items() <= entry.items())


def _in_danger(told: ToldCase, entries: Sequence[Mapping[str, Any]]) -> int:
    hers = set(told.referrals.values())
    return sum(entry.get("act") == "break_glass" and entry.get("referral") in hers for entry in entries)


def _entry(found: Iterator[Mapping[str, Any]]) -> str:
    entry = next(found, None)
    return f": entry {entry['index']}" if entry else ""


def _short(name: str) -> str:
    return f"{name[:ID_LETTERS]}…"
