"""The tree: published vectors, every leaf in every tree to 100, and nothing accepted with a bit flipped."""

import base64
import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Final

import pytest

from schemas.trail.tree import EMPTY_ROOT, Tree, leaf_hash, tree_root, verify_consistency, verify_inclusion
from tests.support.shared import shared_data

SIZES: Final = range(101)
LEAVES: Final = [leaf_hash(f"access-{number}".encode()) for number in range(100)]

ALLOWED_DEVIATION: Final = "additional/sizes-are-equal-one-and-proof-is-empty.json"
"""Its roots are 12 bytes of text, to be accepted; we refuse every hash that is not 32 bytes."""


def grown(leaves: Sequence[bytes], *, step: int = 7) -> Tree:
    tree = Tree()
    for start in range(0, len(leaves), step):
        tree.extend(leaves[start : start + step])
    return tree


ROOTS: Final = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "d78decf394ddcd4cc88aa4b8661640b524df50feaaade4c0f371853958e14300",
    2: "b4270700cd45ca94198d0503d4a0891a899dc186f16e3ad435f42d94bdd55b8d",
    3: "bb4539755db06fac45344a0ead7d0c5020122bc7e2bd3b60369cc92c175c6ff2",
    7: "49fce01313a934e8a49f48550bf28e37bbfefa58310c5127c9e272015b5abfc1",
    256: "bcb7df9a36abe66ff6912357dafc6191c06452eb53c1e00309506e63dcb6af93",
    70_000: "dd653e43eb3f0ef82e1e5287c9b6809f725fa94e1f2ee0a4207f7f301d37f099",
}


@pytest.mark.parametrize("size", ROOTS)
def test_roots_are_the_published_ones(size: int) -> None:
    leaves = [leaf_hash(f"access-{number}".encode()) for number in range(size)]

    roots = (grown(leaves, step=1000).root(), tree_root(leaves), naive_root(leaves))

    assert {root.hex() for root in roots} == {ROOTS[size]}


def test_the_classic_tree_of_eight_has_its_root() -> None:
    entries = (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
    leaves = [leaf_hash(bytes.fromhex(entry)) for entry in entries]

    assert grown(leaves).root().hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


SECOND_IN_SEVEN: Final = [
    "9fdd1fba70d96254ab13bf9bf12ad7e6213e795a085d1df94cab3c66bb9164b9",
    "b4270700cd45ca94198d0503d4a0891a899dc186f16e3ad435f42d94bdd55b8d",
    "bcf524d88664e08ae10c5372483fff2e0d1de5a22a8542c8cc545868ebe06b46",
]
SIXTH_IN_SEVEN: Final = [
    "015b5afc8f5fa05de7dddee6f3523887e33e60560c38d36c36c49d9d1e6d72e7",
    "343d822f9bb2371c60af3cdb222f6d1df46365293714c9bffbd34ff78b090189",
]


@pytest.mark.parametrize(("index", "path"), [(2, SECOND_IN_SEVEN), (6, SIXTH_IN_SEVEN)])
def test_inclusion_proofs_are_the_published_ones(index: int, path: list[str]) -> None:
    assert [node.hex() for node in grown(LEAVES[:7]).inclusion_proof(index, 7)] == path


def test_the_consistency_proof_is_the_published_one() -> None:
    proof = [node.hex() for node in grown(LEAVES[:7]).consistency_proof(3, 7)]

    assert proof == [LEAVES[2].hex(), *SECOND_IN_SEVEN]


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """A second implementation, as RFC 6962 section 2.1 defines the root: recursively, over all leaves."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"").digest()
    middle = split_of(len(leaves))
    return sha256(b"\x01" + naive_root(leaves[:middle]) + naive_root(leaves[middle:])).digest()


def naive_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Section 2.1.1."""
    if len(leaves) == 1:
        return []
    middle = split_of(len(leaves))
    if index < middle:
        return [*naive_path(index, leaves[:middle]), naive_root(leaves[middle:])]
    return [*naive_path(index - middle, leaves[middle:]), naive_root(leaves[:middle])]


def naive_growth(old: int, leaves: Sequence[bytes], *, is_known: bool = True) -> list[bytes]:
    """Section 2.1.2."""
    if old == len(leaves):
        return [] if is_known else [naive_root(leaves)]
    middle = split_of(len(leaves))
    if old <= middle:
        return [*naive_growth(old, leaves[:middle], is_known=is_known), naive_root(leaves[middle:])]
    return [*naive_growth(old - middle, leaves[middle:], is_known=False), naive_root(leaves[:middle])]


def split_of(size: int) -> int:
    """The largest power of two below a size."""
    return 1 << (size - 1).bit_length() - 1


def test_roots_and_proofs_are_those_of_the_second_implementation() -> None:
    whole = grown(LEAVES)
    for size in range(1, 41):
        leaves = LEAVES[:size]
        assert whole.root(size) == naive_root(leaves)
        for at in range(size):
            assert whole.inclusion_proof(at, size) == naive_path(at, leaves)
            assert whole.consistency_proof(at + 1, size) == naive_growth(at + 1, leaves)


def test_every_leaf_is_proved_in_every_tree_and_by_no_other_proof() -> None:
    whole = grown(LEAVES)
    for size in SIZES:
        root = whole.root(size)
        for index in range(size):
            path = whole.inclusion_proof(index, size)
            assert verify_inclusion(LEAVES[index], index, size, path, root)
            for wrong in altered(path, bit=(index + size) % 256):
                assert not verify_inclusion(LEAVES[index], index, size, wrong, root)
            assert not verify_inclusion(flipped(LEAVES[index], 5), index, size, path, root)
            assert not verify_inclusion(LEAVES[index], index, size, path, flipped(root, 5))


def test_every_tree_grows_out_of_every_smaller_one_and_out_of_no_other() -> None:
    whole = grown(LEAVES)
    for new in SIZES:
        for old in range(new + 1):
            heads = (old, whole.root(old), new, whole.root(new))
            proof = whole.consistency_proof(old, new)
            assert verify_consistency(*heads, proof)
            for wrong in altered(proof, bit=(old + new) % 256):
                assert not verify_consistency(*heads, wrong)
            if old > 0:
                assert not verify_consistency(old, flipped(whole.root(old), 9), *heads[2:], proof)
                assert not verify_consistency(*heads[:3], flipped(whole.root(new), 9), proof)


def altered(proof: list[bytes], *, bit: int) -> list[list[bytes]]:
    """The proof with a bit flipped in each hash, one hash more, one less, one cut short."""
    wrong = [[*proof[:at], flipped(node, bit), *proof[at + 1 :]] for at, node in enumerate(proof)]
    wrong.append([*proof, bytes(32)])
    if proof:
        wrong += [proof[:-1], [*proof[:-1], proof[-1][:31]]]
    return wrong


def flipped(node: bytes, bit: int) -> bytes:
    return (int.from_bytes(node, "big") ^ 1 << bit).to_bytes(32, "big")


def test_from_size_nought_no_hashes_prove_growth() -> None:
    assert verify_consistency(0, EMPTY_ROOT, 7, grown(LEAVES[:7]).root(), [])
    assert not verify_consistency(0, LEAVES[0], 7, grown(LEAVES[:7]).root(), [])
    assert not verify_consistency(0, EMPTY_ROOT, 0, LEAVES[0], [])


def test_sizes_that_cannot_be_prove_nothing() -> None:
    assert not verify_inclusion(LEAVES[0], 1, 1, [], LEAVES[0])
    assert not verify_inclusion(LEAVES[0], -1, 1, [], LEAVES[0])
    assert not verify_consistency(2, LEAVES[0], 1, LEAVES[0], [])


def test_the_98_published_inclusion_cases() -> None:
    cases = json.loads(shared_data("merkle/inclusion-vectors.json", cases=98).read_text())

    def accepts(case: dict[str, Any]) -> bool:
        return bool(
            verify_inclusion(
                raw(case["leafHash"]), case["leafIdx"], case["treeSize"], proof_of(case), raw(case["root"])
            )
        )

    assert len(cases) == 98
    assert deviations(cases, accepts) == []


def test_the_98_published_consistency_cases() -> None:
    cases = json.loads(shared_data("merkle/consistency-vectors.json", cases=98).read_text())

    def accepts(case: dict[str, Any]) -> bool:
        heads = (case["size1"], raw(case["root1"]), case["size2"], raw(case["root2"]))
        return bool(verify_consistency(*heads, proof_of(case)))

    assert len(cases) == 98
    assert deviations(cases, accepts) == [ALLOWED_DEVIATION]


def deviations(cases: list[dict[str, Any]], accepts: Callable[[dict[str, Any]], bool]) -> list[str]:
    return [case["name"] for case in cases if accepts(case) == case["wantErr"]]


def raw(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def proof_of(case: dict[str, Any]) -> list[bytes]:
    return [raw(node) for node in case["proof"] or ()]


def test_changed_tiles_are_those_that_got_a_hash() -> None:
    tree = grown(LEAVES[:10])
    before = tree.size
    tree.extend([LEAVES[0]] * 500)

    assert tree.tiles_since(before) == [(0, 0), (0, 1), (1, 0)]
    assert len(tree.tile(0, 1)) == 254 * 32
    assert tree.tile(1, 0) == tree.node(8, 0)
    assert tree.tile(2, 0) == b""
