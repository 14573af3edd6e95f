import base64
import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from itertools import product
from typing import get_args

import pytest

from services.notifications.domain.mail import (
    ADDRESS_BYTES_MAX,
    BODY_BYTES,
    SUBJECT_BYTES,
    TEMPLATES,
    Language,
    mail_bytes,
    message_id,
)

SENDER = "notice@concert.example"
KEY = bytes(range(32))
LANGUAGES: tuple[Language, ...] = get_args(Language)
DESKS = ("a@b.example", "night-desk@shelter-for-all.example", "d@" + "e" * 60 + "." + "f" * 60 + ".example")
EVENTS = ("evt_" + "a" * 26, "evt_" + "z" * 26)
TIMES = (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2026, 11, 22, 13, 14, 15, 987_654, tzinfo=UTC))
CASES = tuple(product(LANGUAGES, DESKS, EVENTS, TIMES))

FORBIDDEN = {
    "en": "referral case survivor victim violence abuse rape assault health medical clinic hospital"
    " police school education shelter legal court social need urgent critical child minor woman"
    " girl withdrawn declined accepted offered expired name number phone address",
    "fr": "référence cas survivante victime violence abus viol agression santé médical clinique"
    " hôpital police école éducation refuge juridique tribunal social besoin urgent critique"
    " enfant mineure femme fille retiré refusé accepté offre expiré nom numéro téléphone adresse",
    "es": "remisión derivación caso sobreviviente víctima violencia abuso violación agresión salud"
    " médico clínica hospital policía escuela educación refugio legal tribunal social necesidad"
    " urgente crítico niña menor mujer retirado rechazado aceptado oferta vencido nombre número"
    " teléfono dirección",
    "ar": "إحالة حالة ناجية ضحية عنف إساءة اغتصاب اعتداء صحة طبي عيادة مستشفى شرطة مدرسة تعليم مأوى"
    " قانون محكمة اجتماعي حاجة عاجل حرج طفل قاصر امرأة فتاة سحب رفض قبول عرض اسم رقم هاتف عنوان",
    "sw": "rufaa kesi manusura mwathirika ukatili unyanyasaji ubakaji afya matibabu kliniki hospitali"
    " polisi shule elimu makazi sheria mahakama jamii mahitaji haraka dharura mtoto mwanamke"
    " msichana kuondolewa kukataliwa kukubaliwa jina nambari simu anwani",
}
"""Parts of words that no mail of a language may hold."""


def mail(language: Language, desk: str, event: str, at: datetime) -> bytes:
    name = message_id(event, KEY, SENDER)
    return mail_bytes(language, sender=SENDER, to=desk, message=name, written_at=at)


def read(content: bytes) -> EmailMessage:
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


def test_every_language_has_a_template_and_a_list_of_forbidden_words() -> None:
    assert set(TEMPLATES) == set(LANGUAGES) == set(FORBIDDEN)


def test_all_mails_have_the_same_number_of_bytes() -> None:
    assert len({len(mail(*case)) for case in CASES}) == 1


def test_a_mail_differs_from_another_only_where_it_says_to_whom_when_and_which() -> None:
    for language in LANGUAGES:
        left = mail(language, DESKS[0], EVENTS[0], TIMES[0]).split(b"\r\n")
        right = mail(language, DESKS[1], EVENTS[1], TIMES[1]).split(b"\r\n")

        differing = [one.partition(b":")[0] for one, other in zip(left, right, strict=True) if one != other]

        assert differing == [b"To", b"X-Fill", b"Date", b"Message-ID"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_template_fits_its_frame(language: Language) -> None:
    subject, *sentences = TEMPLATES[language]

    assert len(subject.encode()) <= SUBJECT_BYTES
    assert len("\r\n\r\n".join(sentences).encode()) <= BODY_BYTES - 4


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_mail_says_that_an_action_is_waiting_and_nothing_else(language: Language) -> None:
    subject, *sentences = TEMPLATES[language]

    message = read(mail(language, DESKS[0], EVENTS[0], TIMES[0]))

    assert str(message["subject"]).strip() == subject
    assert message.get_content().split("\r\n\r\n")[:3] == sentences
    assert not message.get_content().split("\r\n\r\n")[3].strip()
    assert str(message["to"]).strip() == DESKS[0]
    assert message["from"] == SENDER
    assert message["content-language"] == language
    assert message.get_content_type() == "text/plain"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_template_holds_a_forbidden_word(language: Language) -> None:
    said = words(" ".join(TEMPLATES[language]))

    for word in FORBIDDEN[language].split():
        assert not [one for one in said if word.casefold() in one], word


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_template_holds_a_digit_or_a_place_for_a_value(language: Language) -> None:
    assert not re.search(r"[\d{}%$<>]", " ".join(TEMPLATES[language]))


def test_the_list_of_forbidden_words_finds_one() -> None:
    assert "referral" in words("A referral is waiting.")
    assert {"إحالة"} & set(words("هناك إحالة في الانتظار"))


def test_every_line_is_as_short_as_it_should_be() -> None:
    for case in CASES:
        lines = mail(*case).split(b"\r\n")
        # RFC 2047, section 2, and RFC 5322, section 2.1.1; an address alone cannot be made shorter
        assert max(len(line) for line in lines if b"=?" in line) <= 76
        assert max(len(line) for line in lines if b"@" not in line) <= 78
        assert max(map(len, lines)) <= 998
        assert max(len(word) for word in re.findall(rb"=\?\S+\?=", mail(*case))) <= 75


def test_the_name_of_a_message_is_the_same_at_each_attempt_and_another_for_each_event() -> None:
    assert message_id(EVENTS[0], KEY, SENDER) == message_id(EVENTS[0], KEY, SENDER)
    assert message_id(EVENTS[0], KEY, SENDER) != message_id(EVENTS[1], KEY, SENDER)


def test_the_name_of_a_message_says_nothing_without_the_key() -> None:
    name = message_id(EVENTS[0], KEY, SENDER)

    assert name != message_id(EVENTS[0], bytes(32), SENDER)
    assert "a" * 26 not in name
    assert re.fullmatch(r"<[a-z2-7]{26}@concert\.example>", name)


def test_the_longest_address_that_is_taken_still_fits() -> None:
    longest = "d@" + "e" * (ADDRESS_BYTES_MAX - 10) + ".example"

    assert len(mail("en", longest, EVENTS[0], TIMES[0])) == len(mail("en", DESKS[0], EVENTS[0], TIMES[0]))


def test_the_body_travels_as_plain_text_in_base64() -> None:
    _, _, body = mail("ar", DESKS[0], EVENTS[0], TIMES[0]).partition(b"\r\n\r\n")

    assert len(base64.b64decode(body)) == BODY_BYTES
