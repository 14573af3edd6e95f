"""A day's values as a small drawing within the page, with a sentence for whoever does not see it."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final

from markupsafe import Markup

from services.runtime.pages.languages import Wording, message

WIDTH: Final = 144
HEIGHT: Final = 28
UNKNOWN: Final = message("Nothing is known of the last 24 hours.")
SAID: Final = message("Last 24 hours: at most %(most)s, on %(at)s; at the end %(last)s.")
SAID_UNKNOWN: Final = message("Last 24 hours: at most %(most)s, on %(at)s; at the end unknown.")
Points = Sequence[tuple[datetime, float | None]]


def drawn(points: Points, wording: Wording) -> Markup:
    """The drawing; time goes from left to right in every language, and what is unknown is a gap."""
    known = [(value, at) for at, value in points if value is not None]
    if not known:
        return Markup('<span class="nothing">{}</span>').format(wording.say(UNKNOWN))
    most, most_at = max(known, key=lambda one: one[0])
    last = points[-1][1]
    words = {"most": wording.lasting(most), "at": wording.instant(most_at, is_exact=False)}
    if last is None:
        said = wording.say(SAID_UNKNOWN) % words
    else:
        said = wording.say(SAID) % (words | {"last": wording.lasting(last)})
    lines = Markup("").join(Markup('<polyline points="{}"/>').format(line) for line in _lines(points, most))
    return Markup(
        '<svg class="trend" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" height="{}">{}</svg>'
    ).format(said, WIDTH, HEIGHT, WIDTH, HEIGHT, lines)


def _lines(points: Points, most: float) -> Iterator[str]:
    """A line for each stretch of known values, with room above and below for its own breadth."""
    first, last = points[0][0], points[-1][0]
    whole = (last - first).total_seconds() or 1.0
    for is_known, stretch in groupby(points, key=lambda one: one[1] is not None):
        if is_known:
            places = [
                (
                    (at - first).total_seconds() / whole * WIDTH,
                    HEIGHT - 2 - (value or 0) / (most or 1) * (HEIGHT - 4),
                )
                for at, value in stretch
            ]
            if len(places) == 1:  # a line of one point would not be seen
                places.append((places[0][0] + 1, places[0][1]))
            yield " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
