"""Roots and proofs of the tree, checked as RFC 9162 section 2.1 says, iteratively.

A hash that is not 32 bytes proves nothing, roots included. Growth from size 0 is proved by no hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .hashes import EMPTY_ROOT, HASH_BYTES, node_hash


def edge_of(hashes: Iterable[bytes]) -> list[bytes]:
    """The complete subtrees over hashes in order, the largest first; nothing else is kept in memory."""
    edge: list[bytes] = []
    for count, node in enumerate(hashes, start=1):
        edge.append(node)
        pairs = count
        while pairs & 1 == 0:
            right = edge.pop()
            edge[-1] = node_hash(edge[-1], right)
            pairs >>= 1
    return edge


def folded(edge: Sequence[bytes]) -> bytes:
    """Root of complete subtrees that stand side by side, the largest first."""
    if not edge:
        return EMPTY_ROOT
    root = edge[-1]
    for left in reversed(edge[:-1]):
        root = node_hash(left, root)
    return root


def verify_inclusion(hashed: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether the path proves that this leaf hash stands at this index (section 2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes(hashed, root, *path):
        return False
    here, last = index, size - 1
    for node in path:
        if last == 0:
            return False
        if here & 1 or here == last:
            hashed = node_hash(node, hashed)
            here, last = _up_while_left(here, last)
        else:
            hashed = node_hash(hashed, node)
        here, last = here >> 1, last >> 1
    return last == 0 and hashed == root


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the larger tree begins with the whole smaller one (section 2.1.4.2)."""
    if not 0 <= old_size <= new_size or not _are_hashes(old_root, new_root, *proof):
        return False
    if old_size == new_size or old_size == 0:
        expected = new_root if old_size == new_size else EMPTY_ROOT
        return not proof and old_root == expected
    is_whole = old_size & (old_size - 1) == 0
    nodes = [old_root, *proof] if is_whole else list(proof)
    return bool(nodes) and _grown(old_size, new_size, nodes) == (old_root, new_root)


def _grown(old_size: int, new_size: int, nodes: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The two roots that the nodes lead to, or None where they are too few or too many."""
    here, last = old_size - 1, new_size - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    old = new = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return None
        if here & 1 or here == last:
            old, new = node_hash(node, old), node_hash(node, new)
            here, last = _up_while_left(here, last)
        else:
            new = node_hash(new, node)
        here, last = here >> 1, last >> 1
    return (old, new) if last == 0 else None


def _up_while_left(here: int, last: int) -> tuple[int, int]:
    while here and not here & 1:
        here, last = here >> 1, last >> 1
    return here, last


def _are_hashes(*nodes: bytes) -> bool:
    return all(len(node) == HASH_BYTES for node in nodes)
