"""The appender's tree (RFC 6962 section 2.1): every complete subtree's hash, level by level, in memory.

Proofs are made as RFC 9162 section 2.1.3.1 and 2.1.4.1 define them, iteratively, from a leaf's level upward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.audit.verifier.hashes import EMPTY_ROOT, HASH_BYTES, node_hash

TILE_HEIGHT: Final = 8
TILE_HASHES: Final = 1 << TILE_HEIGHT


class Tree:
    """A Merkle tree that grows to the right; `_levels[l]` holds the hashes of all full subtrees of 2^l."""

    def __init__(self) -> None:
        self._levels: list[bytearray] = [bytearray()]

    @property
    def size(self) -> int:
        """How many leaves it has."""
        return len(self._levels[0]) // HASH_BYTES

    def extend(self, hashes: Sequence[bytes]) -> None:
        """Add leaf hashes at the right, and every subtree that they complete."""
        self._levels[0] += b"".join(hashes)
        level = 0
        while len(self._levels[level]) >= 2 * HASH_BYTES:
            if level + 1 == len(self._levels):
                self._levels.append(bytearray())
            self._complete(level)
            level += 1

    def _complete(self, level: int) -> None:
        below, above = self._levels[level], self._levels[level + 1]
        for at in range(len(above) * 2, len(below) - 2 * HASH_BYTES + 1, 2 * HASH_BYTES):
            middle = at + HASH_BYTES
            above += node_hash(bytes(below[at:middle]), bytes(below[middle : middle + HASH_BYTES]))

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
        return self._siblings(level=0, here=index, last=size - 1, size=size)

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        """The hashes that show that the tree at the new size begins with the tree at the old one."""
        if old_size in (0, new_size):
            return []
        here, last, level = old_size - 1, new_size - 1, 0
        while here & 1:
            here, last, level = here >> 1, last >> 1, level + 1
        own = [self.node(level, here)] if here else []
        return own + self._siblings(level=level, here=here, last=last, size=new_size)

    def _siblings(self, *, level: int, here: int, last: int, size: int) -> list[bytes]:
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
