"""Notes, keys and checkpoints: the published ones open, every other spelling is refused, none crashes."""

import hashlib
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.trail.bytes import TrailFault, decoded, encoded
from schemas.trail.notes import (
    Checkpoint,
    Signer,
    checkpoint_text,
    named_key,
    signed_checkpoint,
    signed_note,
    vkey,
)
from services.audit.verifier.kit import read_opening, read_policy

ORIGIN: Final = "audit.example/juris-a"
SIGNER: Final = Signer.from_seed(ORIGIN, hashlib.sha256(b"test vector: log key").digest())
WITNESS: Final = Signer.from_seed(
    "witness.example/cso-1", hashlib.sha256(b"test vector: witness key").digest()
)
VKEY: Final = "audit.example/juris-a+2f185f70+Abj4WuGJrE9C2Bf4iyk9FgL1vwzWbrHUWeOj8vYvi++Z"
ROOT: Final = "SfzgExOpNOikn0hVC/KON7v++lgxDFEnyeJyAVtav8E="
TEXT: Final = f"{ORIGIN}\n7\n{ROOT}\n"
OWN_LINE: Final = (
    "\u2014 audit.example/juris-a"
    " LxhfcA086q9piYmEBQEHX1/xpCt90/2zcfKCdcX0LGASpZwm6flKRtLfc4nQLwmB+wym5rRgZe59lJOkN07x5h1G6AM=\n"
)
WITNESS_LINE: Final = (
    "\u2014 witness.example/cso-1 YldOSwAAAABpVbkAo9av07nIQ/rfSpmQhtyz+rfy+Pxy2i/M3gHz1k9TiYal+eIWbWZh"
    "NIuojP8EVb98pVGj91y+ZjLZ8hhXBSW0BA==\n"
)
NOTE: Final = f"{TEXT}\n{OWN_LINE}{WITNESS_LINE}"


def refuses(note: str) -> bool:
    try:
        signed_checkpoint(note, named_key(VKEY))
    except TrailFault:
        return True
    return False


def test_the_published_keys_are_made() -> None:
    assert vkey(SIGNER.public) == VKEY
    assert named_key(VKEY) == SIGNER.public


def test_the_published_checkpoint_is_made() -> None:
    head = Checkpoint(ORIGIN, 7, decoded(ROOT))

    assert signed_note(checkpoint_text(head), SIGNER) == f"{TEXT}\n{OWN_LINE}"


def test_the_published_cosigned_checkpoint_opens() -> None:
    assert not refuses(NOTE)
    assert not refuses(f"{TEXT}\n{OWN_LINE}")
    assert not refuses(f"{TEXT}\n{WITNESS_LINE}{OWN_LINE}")


def test_a_checkpoint_says_origin_size_and_root() -> None:
    assert signed_checkpoint(NOTE, named_key(VKEY)) == Checkpoint(ORIGIN, 7, decoded(ROOT))


def resigned(text: str) -> str:
    """A note over any text, truly signed: only the reader's strictness is left to refuse it."""
    return signed_note(text, SIGNER)


STRANGER: Final = Signer.from_seed("stranger.example", b"s" * 32)

MALFORMED: Final = {
    "carriage returns": NOTE.replace("\n", "\r\n"),
    "carriage returns, signed": resigned(TEXT.replace("\n", "\r\n")),
    "hyphen for the dash": NOTE.replace("\u2014", "-"),
    "en dash for the dash": NOTE.replace("\u2014", "\u2013"),
    "leading zero": resigned(TEXT.replace("\n7\n", "\n07\n")),
    "plus sign": resigned(TEXT.replace("\n7\n", "\n+7\n")),
    "other digits": resigned(TEXT.replace("\n7\n", "\n\u0667\n")),
    "no size": resigned(TEXT.replace("\n7\n", "\n\n")),
    "size beyond 63 bits": resigned(TEXT.replace("\n7\n", f"\n{2**63}\n")),
    "no final newline": NOTE[:-1],
    "two final newlines": NOTE + "\n",
    "31-byte root": resigned(TEXT.replace(ROOT, encoded(bytes(31)))),
    "root in another spelling": resigned(TEXT.replace("v8E=", "v8F=")),
    "root without padding": resigned(TEXT.replace(ROOT, ROOT[:-1])),
    "extension line": resigned(TEXT + "more\n"),
    "another origin": resigned(TEXT.replace("juris-a", "juris-b")),
    "no blank line": TEXT + OWN_LINE,
    "no signature": f"{TEXT}\n",
    "no own signature": f"{TEXT}\n{WITNESS_LINE}",
    "one key twice": f"{TEXT}\n{OWN_LINE}{OWN_LINE}",
    "17 signatures": f"{TEXT}\n{OWN_LINE}"
    + "".join(
        signed_note(TEXT, Signer.from_seed(f"w{n}.example", b"w" * 32)).split("\n\n")[1] for n in range(16)
    ),
    "two spaces": NOTE.replace("\u2014 audit", "\u2014  audit"),
    "signature without key id": f"{TEXT}\n{OWN_LINE}\u2014 stranger.example AAAA\n",
    "malformed stranger": f"{TEXT}\n{OWN_LINE}\u2014 stranger.example ====\n",
    "wrong signature": f"{TEXT}\n{OWN_LINE.replace('LxhfcA086q', 'LxhfcA086r')}",
    "another size under the signature": NOTE.replace("\n7\n", "\n8\n"),
    "control character": NOTE.replace("juris-a\n7", "juris-a\x00\n7"),
    "empty": "",
    "newlines alone": "\n\n\n",
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_note_is_refused(case: str) -> None:
    assert refuses(MALFORMED[case])


def test_sixteen_signatures_are_read() -> None:
    others = (Signer.from_seed(f"w{number}.example", b"w" * 32) for number in range(15))
    lines = "".join(signed_note(TEXT, one).split("\n\n")[1] for one in others)

    assert not refuses(f"{TEXT}\n{OWN_LINE}{lines}")


def test_every_flipped_bit_of_a_note_is_refused() -> None:
    note = f"{TEXT}\n{OWN_LINE}".encode()
    for at in range(len(note)):
        for bit in range(8):
            wrong = bytes([*note[:at], note[at] ^ 1 << bit, *note[at + 1 :]])
            assert refuses(wrong.decode("utf-8", "surrogateescape")), (at, bit)


@given(st.text())
def test_no_text_crashes_the_reader(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize(
    "key",
    [
        VKEY.replace("2f185f70", "2f185f71"),
        VKEY.replace("2f185f70", "2F185F70"),
        VKEY.replace("juris-a", "juris-b"),
        VKEY[:-1],
        VKEY + "=",
        "audit.example/juris-a",
        "",
        "+2f185f70+Abj4WuGJrE9C2Bf4iyk9FgL1vwzWbrHUWeOj8vYvi++Z",
    ],
)
def test_a_key_whose_parts_do_not_belong_together_is_refused(key: str) -> None:
    with pytest.raises(TrailFault, match=r"key|base64"):
        named_key(key)


@pytest.mark.parametrize(
    "policy",
    [
        f"log {VKEY}\nquorum none",
        f"log {VKEY}\nquorum any\n",
        f"log {VKEY}\n",
        f"witness {VKEY}\nquorum none\n",
        f"log {VKEY}\nquorum none\nmore\n",
    ],
)
def test_a_policy_of_another_form_is_refused(policy: str) -> None:
    assert read_policy(f"log {VKEY}\nquorum none\n").name == ORIGIN
    with pytest.raises(TrailFault):
        read_policy(policy)


def test_a_detail_line_of_any_depth_is_refused() -> None:
    for depth in range(500, 1_010):  # somewhere here Python reads what it can no longer write
        line = b'{"detail":' + b"[" * depth + b"]" * depth + b',"index":0,"salt":""}\n'
        with pytest.raises(TrailFault):
            read_opening(line, 0)
