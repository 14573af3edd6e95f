"""V1-V7: a true permit passes, a permit that is wrong in one point is refused by the check of that point.

Each case is true in every other respect, signatures included: leaving one check out lets its cases pass.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest
from pydantic import ValidationError

from schemas.events.access import ACTS, Access, Item, Opening, PermitAnswer, PermitRequest, Receipt
from schemas.trail.bytes import (
    canonical,
    commitment,
    decoded,
    items_field,
    leaf,
    request_digest,
    stamped,
    tag,
    trail_words,
)
from schemas.trail.notes import Checkpoint, Signer, checkpoint_text, signed_note
from schemas.trail.permits import (
    BadPermit,
    PermitBody,
    Question,
    Trust,
    check_permit,
    read_permit,
    signed_permit,
)
from schemas.trail.tree import Tree, leaf_hash
from tests.support.access import SUBJECT, an_access

ORIGIN: Final = "audit.example/juris-a"
AUDIENCE: Final = "urn:concert:test-local:health"
LOG: Final = Signer.from_seed(ORIGIN, b"l" * 32)
PERMITS: Final = Signer.from_seed(f"{ORIGIN}/permit", b"p" * 32)
STRANGER: Final = Signer.from_seed(f"{ORIGIN}/permit", b"s" * 32)
TRUST: Final = Trust(ORIGIN, (PERMITS.public,), LOG.public)
TAG_KEY: Final = b"k" * 32
ASKED_AT: Final = 100.0
LEAVES_BEFORE: Final = 20
SIGNED: Final = 16


ITEMS: Final = (Item(subject=SUBJECT), Item(subject="ref_" + "b" * 26))
ITEM_LEAVES: Final = (leaf(b"1" * 16, b"1" * 32), leaf(b"2" * 16, b"2" * 32))


def a_question(words: Access | None = None, *items: Item, **changes: Any) -> Question:
    access = words or an_access()
    request = PermitRequest(idem=b"i" * 16, nonce=b"n" * 16, access=access, items=items)
    asked = Question(AUDIENCE, request.plain(), ASKED_AT, ACTS[access.act].lists, tag_key=TAG_KEY)
    return replace(asked, **changes)


@dataclass(frozen=True)
class Case:
    """What a trail says; every part of it can be replaced before it is signed."""

    question: Question
    words: dict[str, Any]
    body: dict[str, Any]
    item_leaves: tuple[bytes, ...] = ()
    salt: bytes = b"s" * 32
    number: int = 3
    tag: bytes | None = None
    signer: Signer = PERMITS
    key: str = PERMITS.name
    log: Signer = LOG
    signed_size: int = SIGNED
    other_tree: bool = False
    path: tuple[bytes, ...] | None = None
    raw_detail: bytes | None = None

    def answer(self) -> PermitAnswer:
        """The answer, with everything that follows from these parts made truly."""
        detail = self.raw_detail if self.raw_detail is not None else canonical(self.words)
        mark = self.tag if self.tag is not None else tag(TAG_KEY, self.number)
        own_leaf = leaf_hash(leaf(mark, commitment(self.salt, detail)))
        tree = Tree()
        tree.extend([leaf_hash(bytes([number])) for number in range(LEAVES_BEFORE)])
        tree.extend([own_leaf])
        index = LEAVES_BEFORE
        words: dict[str, Any] = {
            "origin": ORIGIN,
            "audience": AUDIENCE,
            "request": request_digest(self.question.request, AUDIENCE),
            "nonce": decoded(self.question.request["nonce"]),
            "leaf": own_leaf,
            "index": index,
            "count": 1 + len(self.item_leaves),
            "size": tree.size,
            "root": tree.root(),
            "expires": "2026-03-02T12:00:30.000Z",
        }
        permit = signed_permit(PermitBody(**(words | self.body)), self.signer)
        root = tree.root(self.signed_size) if not self.other_tree else bytes(32)
        note = signed_note(checkpoint_text(Checkpoint(self.log.name, self.signed_size, root)), self.log)
        path = self.path if self.path is not None else tuple(tree.inclusion_proof(index, tree.size))
        proof = tuple(tree.consistency_proof(min(self.signed_size, tree.size), tree.size))
        return PermitAnswer(
            permit=permit | {"key": self.key},
            opening=Opening(detail=detail, salt=self.salt, tag=mark),
            items=self.item_leaves,
            receipt=Receipt(path=path, checkpoint=note, consistency=proof),
        )


def a_case(question: Question | None = None, item_leaves: tuple[bytes, ...] = (), **changes: Any) -> Case:
    asked = question or a_question()
    access = asked.request["access"]
    words = access | trail_words("intent", "before", service=AUDIENCE, site=ORIGIN)
    number = 3 if "subject" in access else None
    leaves = item_leaves if asked.names_items else None
    detail = stamped(words, at="2026-03-02T12:00:00.000Z", number=number, item_leaves=leaves)
    return replace(Case(asked, detail, {}, item_leaves), **changes)


def a_listing() -> Case:
    question = a_question(an_access(act="list", subject=None), *ITEMS, tag_key=None)
    return a_case(question, ITEM_LEAVES)


def said(case: Case, **changes: Any) -> Case:
    """The same with another detail."""
    words = {key: value for key, value in (case.words | changes).items() if value is not None}
    return replace(case, words=words)


def checked(case: Case, question: Question | None = None, *, now: float = ASKED_AT + 1) -> PermitBody:
    return check_permit(case.answer().model_dump(), question or case.question, TRUST, now=now)


def test_a_true_permit_passes() -> None:
    assert checked(a_case()).index == LEAVES_BEFORE


def test_a_true_permit_for_a_list_passes() -> None:
    assert checked(a_listing()).count == 3


def test_a_recipient_without_the_subjects_key_checks_all_but_the_tag() -> None:
    case = a_case(tag=b"t" * 16)

    assert checked(case, replace(case.question, tag_key=None)).count == 1


def test_the_first_checkpoint_is_of_nothing_and_any_tree_grows_out_of_it() -> None:
    assert checked(a_case(signed_size=0)).count == 1


WRONG: Final[dict[str, tuple[str, Callable[[], Case]]]] = {
    "V1 another key": ("permit_signature_wrong", lambda: a_case(signer=STRANGER)),
    "V1 an unknown name": ("permit_signature_wrong", lambda: a_case(key="audit.example/other")),
    "V2 another log": ("permit_for_another_log", lambda: wrong_body(origin="audit.example/juris-b")),
    "V2 another service": (
        "permit_for_another_service",
        lambda: wrong_body(audience="urn:concert:test-local:police"),
    ),
    "V3 another request": ("permit_for_another_request", lambda: wrong_body(request=b"r" * 32)),
    "V3 another nonce": ("nonce_unknown", lambda: wrong_body(nonce=b"m" * 16)),
    "V4 another purpose": ("detail_differs", lambda: said(a_case(), purpose="curiosity")),
    "V4 a field less": ("detail_differs", lambda: said(a_case(), basis=None)),
    "V4 a field more": ("detail_differs", lambda: said(a_case(), reason="other")),
    "V4 another kind": ("detail_differs", lambda: said(a_case(), kind="event")),
    "V4 another mode": ("detail_differs", lambda: said(a_case(), mode="late")),
    "V4 another version": ("detail_differs", lambda: said(a_case(), v=2)),
    "V4 true for one": ("detail_differs", lambda: said(a_case(), v=True)),
    "V4 another service": ("detail_differs", lambda: said(a_case(), service="urn:concert:test-local:police")),
    "V4 another site": ("detail_differs", lambda: said(a_case(), site="audit.example/juris-b")),
    "V4 no time": ("detail_differs", lambda: said(a_case(), t=None)),
    "V4 no counter": ("detail_differs", lambda: said(a_case(), n=None)),
    "V4 a counter below one": ("detail_differs", lambda: said(a_case(), n=0)),
    "V4 items of nobody": ("detail_differs", lambda: said(a_case(), items=items_field(()))),
    "V4 another spelling": (
        "detail_differs",
        lambda: replace(a_case(), raw_detail=json.dumps(a_case().words).encode()),
    ),
    "V4 no JSON": ("detail_differs", lambda: replace(a_case(), raw_detail=b"{")),
    "V4 another count": ("detail_differs", lambda: wrong_body(count=2)),
    "V4 an item less": ("detail_differs", lambda: replace(a_listing(), item_leaves=ITEM_LEAVES[:1])),
    "V4 another item": (
        "detail_differs",
        lambda: replace(a_listing(), item_leaves=(ITEM_LEAVES[0], ITEM_LEAVES[0])),
    ),
    "V4 items in another order": (
        "detail_differs",
        lambda: replace(a_listing(), item_leaves=ITEM_LEAVES[::-1]),
    ),
    "V4 another leaf": ("leaf_differs", lambda: wrong_body(leaf=b"f" * 32)),
    "V4 another tag": ("leaf_differs", lambda: a_case(tag=b"t" * 16)),
    "V4 another counter": ("leaf_differs", lambda: a_case(number=4)),
    "V5 another root": ("not_in_tree", lambda: wrong_body(root=b"o" * 32)),
    "V5 another index": ("not_in_tree", lambda: wrong_body(index=LEAVES_BEFORE - 1)),
    "V5 another path": ("not_in_tree", lambda: a_case(path=(bytes(32),))),
    "V6 another key": (
        "checkpoint_untrusted",
        lambda: a_case(log=Signer.from_seed(ORIGIN, b"x" * 32)),
    ),
    "V6 another log": (
        "checkpoint_untrusted",
        lambda: a_case(log=Signer.from_seed("audit.example/juris-b", b"l" * 32)),
    ),
    "V7 another history": ("not_consistent", lambda: a_case(other_tree=True)),
}


def wrong_body(**changes: Any) -> Case:
    return a_case(body=changes)


@pytest.mark.parametrize("case", WRONG)
def test_a_permit_that_is_wrong_in_one_point_is_refused_there(case: str) -> None:
    code, make = WRONG[case]

    with pytest.raises(BadPermit) as refused:
        checked(make())

    assert refused.value.code == code


@pytest.mark.parametrize("later", [-1.0, 30.5])
def test_a_permit_that_comes_too_late_or_too_early_is_refused(later: float) -> None:
    with pytest.raises(BadPermit, match="too long after"):
        checked(a_case(), now=ASKED_AT + later)


def test_a_permit_of_exactly_thirty_seconds_passes() -> None:
    assert checked(a_case(), now=ASKED_AT + 30).count == 1


def test_a_tree_smaller_than_one_seen_before_is_refused() -> None:
    case = a_case()

    with pytest.raises(BadPermit, match="smaller"):
        checked(case, replace(case.question, size_seen=LEAVES_BEFORE + 2))
    assert checked(case, replace(case.question, size_seen=LEAVES_BEFORE + 1)).size == LEAVES_BEFORE + 1


def test_a_checkpoint_beyond_the_permits_tree_is_refused() -> None:
    case = a_case(signed_size=LEAVES_BEFORE + 1)
    answer = case.answer()
    note = signed_note(checkpoint_text(Checkpoint(ORIGIN, LEAVES_BEFORE + 9, bytes(32))), LOG)
    receipt = answer.receipt.model_dump() | {"checkpoint": note}

    with pytest.raises(BadPermit, match="grow"):
        check_permit(answer.model_dump() | {"receipt": receipt}, case.question, TRUST, now=ASKED_AT)


def test_the_permits_exact_bytes_are_signed() -> None:
    answer = a_case().answer()
    spaced = answer.permit.body.replace(b'"v":1', b'"v": 1')
    permit = answer.permit.model_dump() | {"body": spaced}

    with pytest.raises(BadPermit, match="not signed"):
        check_permit(answer.model_dump() | {"permit": permit}, a_question(), TRUST, now=ASKED_AT)


MUTANTS: Final = {
    "check_signature": "V1",
    "check_addressed": "V2",
    "check_requested": "V3",
    "check_opened": "V4",
    "check_in_tree": "V5",
    "check_signed": "V6",
    "check_grown": "V7",
}


@pytest.mark.parametrize("check", MUTANTS)
def test_leaving_one_check_out_is_noticed_by_its_cases_alone(
    check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind: dict[str, Callable[..., object]] = {
        "check_signature": lambda permit, trust: read_permit(permit["body"]),
        "check_signed": _unchecked_checkpoint,
    }
    monkeypatch.setattr(f"schemas.trail.permits.{check}", blind.get(check, lambda *_given, **_named: None))

    noticed = {case[:2] for case in WRONG if passes(WRONG[case][1]())}

    assert noticed == {MUTANTS[check]}


def _unchecked_checkpoint(note: str, _trust: Trust) -> Checkpoint:
    origin, size, root = note.split("\n")[:3]
    return Checkpoint(origin, int(size), decoded(root))


def passes(case: Case) -> bool:
    try:
        checked(case)
    except BadPermit:
        return False
    return True


@pytest.mark.parametrize("hashes", [64, 65])
def test_a_receipt_with_more_than_63_hashes_is_refused(hashes: int) -> None:
    assert len(Receipt(path=(bytes(32),) * 63, checkpoint="", consistency=()).path) == 63
    with pytest.raises(ValidationError):
        Receipt(path=(bytes(32),) * hashes, checkpoint="", consistency=())


@pytest.mark.parametrize(
    "text", ["AAAA", "A" * 22 + "==="[:2] + "=", "A" * 21 + "B==", "A" * 22, "\u0661" * 24, 7]
)
def test_sixteen_bytes_have_one_spelling(text: object) -> None:
    with pytest.raises(ValidationError):
        PermitRequest.model_validate({"idem": text, "nonce": "A" * 22 + "==", "access": {"act": "view"}})


def test_no_refusal_repeats_a_value() -> None:
    with pytest.raises(ValidationError) as refused:
        Access.model_validate({"act": "view", "agency": "Name Of A Person"})

    assert "Name Of A Person" not in str(refused.value)
