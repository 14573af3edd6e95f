"""The tree over the trail's leaves (RFC 6962, RFC 9162 section 2.1): its hashes and its proofs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

_EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Hash of a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """Root over leaf hashes, folding complete subtrees from the right edge."""
    edge: list[bytes] = []
    for count, node in enumerate(hashes, start=1):
        edge.append(node)
        while count % 2 == 0:
            right = edge.pop()
            edge[-1] = node_hash(edge[-1], right)
            count //= 2
    return _folded(edge)


def _folded(edge: list[bytes]) -> bytes:
    if not edge:
        return _EMPTY_ROOT
    root = edge[-1]
    for left in reversed(edge[:-1]):
        root = node_hash(left, root)
    return root


def verify_inclusion(hashed: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether the path proves a leaf hash at an index of a tree (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size or any(len(node) != 32 for node in (hashed, root, *path)):
        return False
    position, last = index, size - 1
    for node in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            hashed = node_hash(node, hashed)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            hashed = node_hash(hashed, node)
        position, last = position >> 1, last >> 1
    return last == 0 and hashed == root


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the new tree begins with the old one (RFC 9162 section 2.1.4.2; from size 0: no hashes)."""
    if not 0 <= old_size <= new_size or any(len(node) != 32 for node in (old_root, new_root, *proof)):
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    if old_size == 0:
        return not proof and old_root == _EMPTY_ROOT
    return _grows(old_size, old_root, new_size, new_root, list(proof))


def _grows(old_size: int, old_root: bytes, new_size: int, new_root: bytes, nodes: list[bytes]) -> bool:
    if old_size & (old_size - 1) == 0:
        nodes.insert(0, old_root)
    if not nodes:
        return False
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old, new = nodes[0], nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, node)
        position, last = position >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root
