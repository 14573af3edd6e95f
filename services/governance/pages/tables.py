"""Every table of the page: what it is called, what its columns are, and what makes its rows."""

from typing import Final

from schemas.events.dialogue import GROUPS
from schemas.events.learning import QUESTIONS
from services.governance.pages import rows
from services.governance.pages.terms import terms
from services.runtime.pages.languages import message as _
from services.runtime.pages.tables import PageTable

TABLES: Final[tuple[PageTable[rows.ReportSource], ...]] = (
    PageTable(
        "committees", _("Committees"),
        _("Who sits where, for whom; and which seats stand empty."),
        {
            "committee": _("Committee"), "type": _("Type"), "level": _("Level"), "area": _("Area"),
            "state": _("State"), "seats": _("Seats held"), "empty": _("Seats empty"),
            "civil_share": _("Civil society and women’s movements"),
        },
        rows.committees, _("No committee was constituted yet."),
    ),
    PageTable(
        "mandates", _("Mandates"),
        _("What each committee may decide, until when. An expired one blocks new decisions, no referral."),
        {
            "mandate": _("Mandate"), "committee": _("Committee"), "subjects": _("Subjects"),
            "area": _("Area"), "until": _("Until"), "state": _("State"), "blocked": _("Blocked now"),
        },
        rows.mandates, _("No mandate was given yet."),
    ),
    PageTable(
        "decisions", _("Decisions by level"),
        _("Where decisions are taken; what lies above a mandate is passed up."),
        {
            "level": _("Level"), "adopted": _("Adopted"), "rejected": _("Rejected"),
            "routed_up": _("Passed up"), "share": _("Share of decisions"),
        },
        rows.decisions, _("Nothing was decided yet."),
    ),
    PageTable(
        "influence", _("Influence"),
        _("Whose proposals pass: what each constituency put before a committee, and what was adopted of it."),
        {
            "constituency": _("Speaks for"), "tabled": _("Proposals"), "adopted": _("Adopted"),
            "ratio": _("Influence ratio"),
        },
        rows.influence, _("Nobody put anything before a committee yet."),
    ),
    PageTable(
        "phases", _("Phases of the cycle"),
        _("In which phase partners spoke, decided or agreed, and in how many dialogues a group was heard."),
        {
            "phase": _("Phase"), "dialogues": _("Dialogues"), "decisions": _("Decisions"),
            "recommendations": _("Recommendations"), "unheard": _("Dialogues without those concerned"),
            **{one.code: one.text for one in terms(GROUPS)},
        },
        rows.phases, "",
    ),
    PageTable(
        "dialogues", _("Dialogues"),
        _("The newest first: who called it, who spoke, and which groups facing discrimination were heard."),
        {
            "dialogue": _("Dialogue"), "convenor": _("Convenor"), "on": _("Day"), "level": _("Level"),
            "area": _("Area"), "phase": _("Phase"), "constituencies": _("Who spoke"),
            "groups": _("Groups heard"),
        },
        rows.dialogues, _("No dialogue was held yet."),
    ),
    PageTable(
        "stalled", _("Stalled recommendations"),
        _("Past due, and nothing moved for a month; the longest due first."),
        {
            "recommendation": _("Recommendation"), "text": _("Text"), "level": _("Level"),
            "area": _("Area"), "owner": _("Owner"), "due_on": _("Due"), "progress": _("Progress"),
        },
        rows.stalled, _("Nothing is stalled."),
    ),
    PageTable(
        "recommendations", _("Recommendations by year and level"),
        _("What at least two constituencies agreed on, by the year of the agreement, and how far it is."),
        {
            "year": _("Year"), "level": _("Level"), "stalled": _("Stalled"), "agreed": _("Agreed"),
            "assigned": _("Assigned"), "progressed": _("Under way"), "implemented": _("Implemented"),
            "verified": _("Verified"), "all": _("All"),
        },
        rows.recommendations, _("Nothing was agreed yet."),
    ),
    PageTable(
        "burden", _("Burden per partner"),
        _("What the last twelve months asked of each partner, beside the time that it offers."),
        {
            "partner": _("Partner"), "constituency": _("Speaks for"), "meetings": _("Meetings attended"),
            "hours": _("Hours given"), "hours_offered": _("Hours offered a month"),
            "owned": _("Recommendations in hand"), "stalled": _("Stalled"),
        },
        rows.burden, _("No partner takes part yet."),
    ),
    PageTable(
        "scorecards", _("Scorecards"),
        _("How reference groups of civil society found each service, from 1, never, to 5, always."),
        {
            "agency": _("Agency"), "service": _("Service"), "quarter": _("Quarter"),
            "groups": _("Reference groups"), **{one.code: one.text for one in terms(QUESTIONS)},
        },
        rows.scorecards, _("No service was scored yet."),
    ),
    PageTable(
        "lessons", _("Lessons"),
        _("What two constituencies learned together, and the rule, budget or service that it changed."),
        {
            "lesson": _("Lesson"), "text": _("Text"), "causes": _("Root causes"), "changed": _("Changed"),
            "by": _("By"),
        },
        rows.lessons, _("No lesson changed anything yet."),
    ),
    PageTable(
        "released", _("Released figures"),
        _(
            "People’s referrals by month, as civil society signed them, rounded to five. What is not "
            "listed is under eleven; * is eleven or more and - any number, hidden so that nobody works "
            "out a small one."
        ),
        {
            "release": _("Release"), "month": _("Month"), "figure": _("Figure"), "of": _("Of what"),
            "shown": _("Shown"), "signed_by": _("Signed by"),
        },
        rows.released, _("No release shows a count yet."),
    ),
    PageTable(
        "acts", _("Public acts by month"),
        _("What organisations did, counted by indicators that anybody may read; the newest first."),
        {"month": _("Month"), "figure": _("Figure"), "of": _("Of what"), "count": _("Count")},
        rows.acts, _("Nothing was counted yet."),
    ),
)  # fmt: skip
"""Every table of the page, in its order."""
