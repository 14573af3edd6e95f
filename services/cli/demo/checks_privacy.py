"""Checks of what was seen and by whom: the trail, the mails, the planted names, the processes' identities."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from schemas.events.referral import NEEDS
from schemas.topics import SECTORS
from services.cli.demo.evidence import Evidence, Identity
from services.cli.demo.traces import FORMS, PLACES

UNSAID: Final = (
    *(sector.replace("_", " ") for sector in SECTORS),
    *(need.replace("_", " ") for need in NEEDS),
    "referral", "survivor", "violence", "consent", "clinic", "hospital", "shelter", "legal", "school",
    "ref_", "cas_", "evt_", "urgent", "accepted", "withdrawn", "declined",
)  # fmt: skip
"""Words that no mail may hold, in any letter case."""
_DIGIT: Final = re.compile(r"\d")


def views_in_trail(evidence: Evidence) -> list[str]:
    """Each look that somebody was granted has its own entry, opened, with who, what for and at whom."""
    wanted = Counter(
        (read.act, read.agency, read.staff, read.purpose, read.referral) for read in evidence.reads
    )
    found = Counter(
        (
            entry.get("act"),
            entry.get("agency"),
            (entry.get("actor") or {}).get("id"),
            entry.get("purpose"),
            entry.get("referral"),
        )
        for entry in evidence.entries
        if entry.get("kind") in ("intent", "item")
    )
    return [
        f"{agency} was granted {count} looks ({act}) at {_named(referral)}, the trail holds {found[key]}"
        for key, count in wanted.items()
        for act, agency, _, _, referral in (key,)
        if found[key] < count
    ]


def _named(referral: str | None) -> str:
    return f"referral {referral}" if referral else "a case"


def trail_verifies(evidence: Evidence) -> list[str]:
    """The exported trail is sound by the offline verifier, with every entry's detail opened."""
    verdict = evidence.verdict
    if verdict.exit_code != 0:
        return [f"the verifier ended with {verdict.exit_code}: {verdict.sentence}"]
    if not verdict.entries or verdict.details != verdict.entries:
        return [f"{verdict.details} of {verdict.entries} entries were opened"]
    return []


def mails_say_nothing(evidence: Evidence) -> list[str]:
    """Every mail is as long as every other, and holds no word, name or number that tells anything."""
    problems = []
    if len({mail.size_bytes for mail in evidence.mails}) > 1:
        problems.append("mails differ in length")
    for text in {mail.text for mail in evidence.mails}:
        folded = text.casefold()
        said = [word for word in UNSAID if word.casefold() in folded]
        said += [name for name in evidence.names if name.casefold() in folded]
        if said or _DIGIT.search(text):
            problems.append(f"a mail says {', '.join(said) or 'a number'}")
    return problems


def mails_once(evidence: Evidence) -> list[str]:
    """Each desk that a fact awaited was told, at most once for each fact, and no mail was sent twice."""
    wanted = Counter(
        evidence.desks[each.awaits, each.desk]
        for each in evidence.counted
        if each.awaits and each.desk and (each.awaits, each.desk) in evidence.desks
    )
    found = Counter(mail.to for mail in evidence.mails)
    problems = [
        f"{to} got {found[to]} mails, {wanted[to]} facts await it"
        for to in sorted(wanted.keys() | found.keys())
        if not min(wanted[to], 1) <= found[to] <= wanted[to]
    ]
    if len({mail.name for mail in evidence.mails}) != len(evidence.mails):
        problems.append("a mail was sent twice")
    return problems


def names_stay_home(evidence: Evidence) -> list[str]:
    """What agencies planted is nowhere but in the database of their own sector."""
    return [
        f"a name of {trace.sector} is in {trace.kind} {trace.place} ({trace.form})"
        for trace in evidence.traces
        if trace.kind != trace.sector
    ]


def search_finds(evidence: Evidence) -> list[str]:
    """The search is no empty gesture: it finds the control string everywhere in every form, names at home."""
    found = {searched.place: searched.control_found for searched in evidence.searched}
    home = {trace.sector for trace in evidence.traces if trace.kind == trace.sector}
    return [
        *(
            f"the control string was not found in the {place} as {form}"
            for place in PLACES
            for form in FORMS
            if form not in found.get(place, ())
        ),
        *(f"no name of {sector} was found at home" for sector in SECTORS if sector not in home),
    ]


def own_identities(evidence: Evidence) -> list[str]:
    """Each process has its own database role and its own Kafka user, as the servers see it."""
    problems = []
    for identity in evidence.identities:
        problems += _as_wanted(identity, "database role", identity.roles, identity.wants_role)
        problems += _as_wanted(identity, "Kafka user", identity.users, identity.wants_user)
    problems += _shared("database role", (role for each in evidence.identities for role in each.roles))
    problems += _shared("Kafka user", (user for each in evidence.identities for user in each.users))
    return problems


def _as_wanted(identity: Identity, kind: str, found: tuple[str, ...], wanted: str | None) -> list[str]:
    if found == ((wanted,) if wanted else ()):
        return []
    return [f"{identity.name} has the {kind} {', '.join(found) or 'none'}, not {wanted or 'none'}"]


def _shared(kind: str, names: Iterable[str]) -> list[str]:
    return [
        f"the {kind} {name} is shared by {count} processes"
        for name, count in Counter(names).items()
        if count > 1
    ]
