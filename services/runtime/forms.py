"""What a browser's form sends, read in one way: each name once, nothing that is no text."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request

from services.runtime import refusals
from services.runtime.errors import define_refusal
from services.runtime.requests import BodyForm

FORM_BYTES_MAX: Final = 16 * 1024
FIELDS_MAX: Final = 32
_FORM: Final = re.compile(
    r'application/x-www-form-urlencoded([ \t]*;[ \t]*charset="?utf-8"?)?', re.IGNORECASE
)

NotAForm: Final = define_refusal(
    __name__, "not_a_form", "send a form, URL-encoded in UTF-8, of at most 32 fields with each name once", 400
)


def read_form(body: bytes) -> Mapping[str, str]:
    """The fields of a form by their names (WHATWG URL, §5.1); raises NotAForm."""
    try:
        fields = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=FIELDS_MAX,
        )  # fmt: skip
    except ValueError:
        raise NotAForm from None
    found = dict(fields)
    if len(found) != len(fields):
        raise NotAForm
    return found


FORM: Final = BodyForm(_FORM, FORM_BYTES_MAX, read_form, NotAForm, refusals.TooLarge)


async def form_of(request: Request) -> Mapping[str, str]:
    """A dependency: the fields that came; none for an empty body."""
    body = await request.body()
    return read_form(body) if body else {}
