"""What people call the codes of the pages; a code without words is shown as it is."""

from typing import Final, Literal

from services.runtime.pages.languages import message as _
from services.runtime.pages.tables import Signal, Term

TERMS: Final = {
    # verdicts of streams
    "ok": _("OK"),
    "slow": _("Slow"),
    "stalled": _("Stalled"),
    "unknown": _("Unknown"),
    # states of parts
    "answers": _("Answers"),
    "silent": _("No answer"),
    "unsound": _("Unsound answer"),
    # states of letters and plans
    "waiting": _("Waiting"),
    "redriven": _("Redriven"),
    "discarded": _("Discarded"),
    "planned": _("Planned: nothing was done yet"),
    "waits_for_second": _("Waits for a second person"),
    "running": _("Running"),
    "done": _("Done"),
    "failed": _("Failed"),
    "expired": _("Expired: nothing was done"),
    "paused": _("Paused"),
    "cancelled": _("Cancelled"),
    # what is said to a plan
    "confirmation": _("Confirm"),
    "approval": _("Approve and begin"),
    "pause": _("Pause"),
    "resumption": _("Go on"),
    "cancellation": _("Cancel"),
    # acts
    "redrive": _("Redrive"),
    "discard": _("Discard"),
    "reset": _("Reset of a reader’s place"),
    "refill": _("Refill of a topic"),
    # the probe
    "seen": _("Went all the way"),
    "missing": _("Did not arrive"),
}
LEVELS: Final[dict[str, Literal["good", "warning", "bad", "unknown"]]] = {
    "ok": "good", "answers": "good", "seen": "good", "done": "good", "redriven": "good",
    "slow": "warning", "waits_for_second": "warning",
    "running": "warning", "paused": "warning", "planned": "warning", "waiting": "warning",
    "stalled": "bad", "silent": "bad", "unsound": "bad", "missing": "bad", "failed": "bad",
}  # fmt: skip
"""Code → how it is to be taken; of one that is not here, nothing is known."""
WAS: Final = {
    "ok": _("Unknown now; was OK"),
    "slow": _("Unknown now; was slow"),
    "stalled": _("Unknown now; was stalled"),
    "answers": _("Unknown now; answered"),
}
"""What a state is called that is too old to be believed."""


def term(code: str) -> Term:
    """A code with its words."""
    return Term(code, TERMS.get(code, code))


def signal(code: str, *, is_stale: bool = False) -> Signal:
    """A state as it is shown; an old one is never shown as if it still held."""
    if is_stale:
        return Signal("unknown", Term("unknown", WAS.get(code, TERMS["unknown"])))
    return Signal(LEVELS.get(code, "unknown"), term(code))
