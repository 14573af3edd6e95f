"""Checks of what was seen and by whom: the trail, the mails and the planted names."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from schemas.events.referral import NEEDS
from schemas.topics import SECTORS
from services.cli.agency_client import GrantedLook
from services.cli.demo.evidence import (
    NameTrace,
    SinkMail,
    StatisticalFact,
)
from services.cli.demo.search import FORMS, PLACES

UNSAID: Final = (
    *(sector.replace("_", " ") for sector in SECTORS),
    *(need.replace("_", " ") for need in NEEDS),
    "referral", "survivor", "violence", "consent", "clinic", "hospital", "shelter", "legal", "school",
    "ref_", "cas_", "evt_", "urgent", "accepted", "withdrawn", "declined",
)  # fmt: skip
"""Words that no mail may hold, in any letter case."""
_DIGIT: Final = re.compile(r"\d")


def looks_in_trail(looks: Sequence[GrantedLook], entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each look that somebody was granted has its own entry, opened, with who, what for and at whom."""
    wanted = Counter(looks)
    found = Counter(
        GrantedLook(
            entry["act"], entry["agency"], entry["actor"]["id"], entry["purpose"], entry.get("referral")
        )
        for entry in entries
        if entry.get("kind") in ("intent", "item")
    )
    return [
        f"{look.agency} was granted {count} looks ({look.act}) at {look.referral or 'a case'}, "
        f"the trail holds {found[look]}"
        for look, count in wanted.items()
        if found[look] < count
    ]


def trail_verifies(verdict: Mapping[str, Any]) -> list[str]:
    """The exported trail is sound by the offline verifier, with every entry's detail opened."""
    if verdict["exit_code"] != 0:
        return [f"the verifier ended with {verdict['exit_code']}: {verdict.get('failure')}"]
    if not verdict["size"] or verdict["details_checked"] != verdict["size"]:
        return [f"{verdict['details_checked']} of {verdict['size']} entries were opened"]
    return []


def mails_say_nothing(mails: Sequence[SinkMail], names: Sequence[str]) -> list[str]:
    """Every mail is as long as every other, and holds no word, name or number that tells anything."""
    problems = []
    if len({mail.size_bytes for mail in mails}) > 1:
        problems.append("mails differ in length")
    for text in {mail.text for mail in mails}:
        said = [word for word in (*UNSAID, *names) if word.casefold() in text.casefold()]
        if said or _DIGIT.search(text):
            problems.append(f"a mail says {', '.join(said) or 'a number'}")
    return problems


def mails_once(
    mails: Sequence[SinkMail], desks: Mapping[tuple[str, str], str], counted: Sequence[StatisticalFact]
) -> list[str]:
    """Each desk that a fact awaited was told, at most once for each fact, and no mail was sent twice."""
    awaited = [(each.awaits or "", each.desk or "") for each in counted]
    wanted = Counter(desks[desk] for desk in awaited if desk in desks)
    found = Counter(mail.to for mail in mails)
    problems = [
        f"{to} got {found[to]} mails, {wanted[to]} facts await it"
        for to in sorted(wanted.keys() | found.keys())
        if not min(wanted[to], 1) <= found[to] <= wanted[to]
    ]
    if len({mail.name for mail in mails}) != len(mails):
        problems.append("a mail was sent twice")
    return problems


def names_stay_home(traces: Sequence[NameTrace], searched_bytes: Mapping[str, int]) -> list[str]:
    """What agencies planted is nowhere but in the database of their own sector."""
    return [
        f"a name of {trace.sector} is in {trace.place}, {trace.where} ({trace.form})"
        for trace in traces
        if not trace.is_at_home
    ]


def search_finds(traces: Sequence[NameTrace], control_traces: Sequence[NameTrace]) -> list[str]:
    """The search is no empty gesture: it finds the control string everywhere in every form, names at home."""
    found = {(trace.place, trace.form) for trace in control_traces}
    home = {trace.sector for trace in traces if trace.is_at_home}
    return [
        *(
            f"the control string was not found in the {place} as {form}"
            for place in PLACES
            for form in FORMS
            if (place, form) not in found
        ),
        *(f"no name of {sector} was found at home" for sector in SECTORS if sector not in home),
    ]
