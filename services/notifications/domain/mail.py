"""The one mail that a duty desk gets: a fixed text for each language, always of one size, saying nothing.

Whoever reads it over a shoulder, in a mail store or on the wire learns that some desk has something to do.
All mails of one installation have the same number of bytes, whatever the language, the desk or the
occasion.
"""

import base64
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from hmac import digest
from typing import Final, Literal

Language = Literal["en", "fr", "es", "ar", "sw"]

SUBJECT_BYTES: Final = 39  # with name and frame just within the 76 characters of RFC 2047, section 2
FILL_LINES: Final = 4
FILL_CHARACTERS: Final = 64  # a line: within the 78 of RFC 5322; all lines hold what an address may lack
BODY_BYTES: Final = 300
ADDRESS_BYTES_MAX: Final = 254
MESSAGE_ID_BYTES: Final = 16


TEMPLATES: Final[Mapping[Language, tuple[str, ...]]] = {
    "en": (
        "An action is waiting",
        "An action is waiting for your desk.",
        "Please open your own system to see it.",
        "This message was sent automatically. Replies are not read.",
    ),
    "fr": (
        "Une action est en attente",
        "Une action est en attente pour votre permanence.",
        "Veuillez ouvrir votre propre système pour la voir.",
        "Ce message a été envoyé automatiquement. Les réponses ne sont pas lues.",
    ),
    "es": (
        "Hay una acción pendiente",
        "Hay una acción pendiente para su puesto de turno.",
        "Abra su propio sistema para verla.",
        "Este mensaje se envió automáticamente. No se leen las respuestas.",
    ),
    "ar": (
        "إجراء في الانتظار",
        "هناك إجراء في انتظار مكتب المناوبة لديكم.",
        "يرجى فتح نظامكم الخاص للاطلاع عليه.",
        "أُرسلت هذه الرسالة تلقائيا. لا تُقرأ الردود عليها.",
    ),
    "sw": (
        "Kuna hatua inayosubiri",
        "Kuna hatua inayosubiri dawati lenu la zamu.",
        "Tafadhali fungueni mfumo wenu wenyewe ili kuiona.",
        "Ujumbe huu umetumwa moja kwa moja. Majibu hayasomwi.",
    ),
}
"""Subject and sentences in each language; there is no place where a value could be put in."""


def message_id(event: str, key: bytes, sender: str) -> str:
    """The same name for the same event at each attempt; without the key it says nothing about the event."""
    name = base64.b32encode(digest(key, event.encode("ascii"), "sha256")[:MESSAGE_ID_BYTES])
    return f"<{name.decode('ascii').rstrip('=').lower()}@{sender.rpartition('@')[2]}>"


def mail_bytes(language: Language, *, sender: str, to: str, message: str, written_at: datetime) -> bytes:
    """The whole mail; spaces in subject and body and the fill make all mails of one sender equally long."""
    subject, *sentences = TEMPLATES[language]
    headers = (
        f"From: {sender}",
        f"To: {to}",
        *_fill(ADDRESS_BYTES_MAX - len(to)),
        f"Subject: =?utf-8?b?{_encoded(subject.encode().ljust(SUBJECT_BYTES))}?=",
        f"Date: {format_datetime(written_at)}",
        f"Message-ID: {message}",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: base64",
        f"Content-Language: {language}",
        "Auto-Submitted: auto-generated",
    )
    body = _encoded("\r\n\r\n".join((*sentences, "")).encode().ljust(BODY_BYTES))
    lines = [body[start : start + 76] for start in range(0, len(body), 76)]
    return "\r\n".join((*headers, "", *lines, "")).encode("ascii")


def _fill(characters: int) -> list[str]:
    """Header lines that say nothing, so many characters longer in all than the shortest."""
    sizes = [min(max(characters - FILL_CHARACTERS * line, 0), FILL_CHARACTERS) for line in range(FILL_LINES)]
    return [f"X-Fill: {'-' * (1 + size)}" for size in sizes]


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
