"""The tree over the trail's leaves (RFC 6962, RFC 9162 section 2.1): its hashes, its proofs, its growth.

A hash that is not 32 bytes proves nothing, roots included. Growth from size 0 is proved by no hashes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

HASH_BYTES: Final = 32
TILE_HEIGHT: Final = 8
TILE_HASHES: Final = 1 << TILE_HEIGHT
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Hash of a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_root(hashes: Iterable[bytes]) -> bytes:
    """Root over leaf hashes."""
    return folded(edge_of(hashes))


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
    """Whether the path proves a leaf hash at an index of a tree (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes(hashed, root, *path):
        return False
    sides = list(_sides(index, size - 1))
    if len(path) != len(sides):
        return False
    for node, is_left in zip(path, sides, strict=True):
        hashed = node_hash(node, hashed) if is_left else node_hash(hashed, node)
    return hashed == root


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the new tree begins with the whole old one (RFC 9162 section 2.1.4.2)."""
    if not 0 <= old_size <= new_size or not _are_hashes(old_root, new_root, *proof):
        return False
    if old_size in (0, new_size):
        return not proof and old_root == (EMPTY_ROOT if old_size < new_size else new_root)
    is_complete = old_size & (old_size - 1) == 0
    nodes = [old_root, *proof] if is_complete else list(proof)
    here, last, _ = _largest_subtree(old_size, new_size)
    sides = list(_sides(here, last))
    if len(nodes) != 1 + len(sides):
        return False
    old = new = nodes[0]
    for node, is_left in zip(nodes[1:], sides, strict=True):
        old, new = (node_hash(node, old), node_hash(node, new)) if is_left else (old, node_hash(new, node))
    return (old, new) == (old_root, new_root)


class Tree:
    """A tree that grows to the right, in memory; `_levels[l]` holds the hashes of full subtrees of 2^l."""

    def __init__(self) -> None:
        self._levels: list[bytearray] = [bytearray()]

    @property
    def size(self) -> int:
        """How many leaves it has."""
        return len(self._levels[0]) // HASH_BYTES

    def extend(self, hashes: Sequence[bytes]) -> None:
        """Add leaf hashes at the right, and every subtree that they complete."""
        for node in hashes:
            level, position = 0, self.size
            self._levels[0] += node
            while position & 1:
                node = node_hash(self.node(level, position - 1), node)
                level, position = level + 1, position >> 1
                if level == len(self._levels):
                    self._levels.append(bytearray())
                self._levels[level] += node

    def node(self, level: int, position: int) -> bytes:
        """The hash of a complete subtree."""
        at = position * HASH_BYTES
        return bytes(self._levels[level][at : at + HASH_BYTES])

    def root(self, size: int | None = None) -> bytes:
        """The root at a size; now, if none is named."""
        return self._range_root(0, self.size if size is None else size)

    def _range_root(self, start: int, stop: int) -> bytes:
        """Root over the leaves from start, which begins a subtree as large as the range, to stop."""
        root = b""
        while start < stop:
            level = ((stop - start) & -(stop - start)).bit_length() - 1
            stop -= 1 << level
            left = self.node(level, stop >> level)
            root = node_hash(left, root) if root else left
        return root or EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """The hashes that lead from a leaf to the root at a size, the leaf's sibling first."""
        return self._siblings(index, size - 1, level=0, size=size)

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        """The hashes that show that the tree at the new size begins with the tree at the old one."""
        if old_size in (0, new_size):
            return []
        here, last, level = _largest_subtree(old_size, new_size)
        own = [self.node(level, here)] if here else []
        return own + self._siblings(here, last, level=level, size=new_size)

    def _siblings(self, here: int, last: int, *, level: int, size: int) -> list[bytes]:
        found = []
        while last:
            sibling = here ^ 1
            if sibling <= last:
                start = sibling << level
                found.append(self._range_root(start, min(start + (1 << level), size)))
            here, last, level = here >> 1, last >> 1, level + 1
        return found

    def tile(self, level: int, number: int) -> bytes:
        """A tile of hashes as far as it is filled (C2SP tlog-tiles)."""
        height = level * TILE_HEIGHT
        if height >= len(self._levels):
            return b""
        at = number * TILE_HASHES * HASH_BYTES
        return bytes(self._levels[height][at : at + TILE_HASHES * HASH_BYTES])

    def tiles_since(self, size: int) -> list[tuple[int, int]]:
        """Level and number of every tile that holds a hash which the tree at that size did not have."""
        changed = []
        for level in range(0, len(self._levels), TILE_HEIGHT):
            before, now = size >> level, self.size >> level
            if now > before:
                numbers = range(before // TILE_HASHES, (now - 1) // TILE_HASHES + 1)
                changed += [(level // TILE_HEIGHT, number) for number in numbers]
        return changed


def _sides(here: int, last: int) -> Iterator[bool]:
    """For each hash of a proof, from a node upward: whether it stands at the left."""
    while last:
        is_left = bool(here & 1) or here == last
        if is_left:
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        yield is_left
        here, last = here >> 1, last >> 1


def _largest_subtree(old_size: int, new_size: int) -> tuple[int, int, int]:
    """Where a proof of growth begins: the old tree's last complete subtree, the new last, their level."""
    here, last, level = old_size - 1, new_size - 1, 0
    while here & 1:
        here, last, level = here >> 1, last >> 1, level + 1
    return here, last, level


def _are_hashes(*nodes: bytes) -> bool:
    return all(len(node) == HASH_BYTES for node in nodes)
