"""The fuzzer's bytes, read as decisions: where to cut, what to edit, which of several ways to go.

Past their end every decision is 0, so that any bytes at all are a whole run, and a short input a simple one.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeVar

from ..protocol.support import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

MOST_EDITS = 7


class Choices:
    """Reads `data` from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return max(0, len(self._data) - self._at)

    def take(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def rest(self) -> bytes:
        return self.take(self.left)

    def byte(self) -> int:
        return int.from_bytes(self.take(1), "little")

    def number(self) -> int:
        """0 to 65,535."""
        return int.from_bytes(self.take(2), "little")

    def one_of(self, values: Sequence[T]) -> T:
        return values[self.byte() % len(values)]

    def content(self) -> bytes:
        """Up to 20,000 bytes at the cost of a few."""
        size, pattern = self.number() % 20_000, self.take(4) or b"\0"
        return bytes(itertools.islice(itertools.cycle(pattern), size))

    def pieces(self, data: bytes) -> list[bytes]:
        """`data` cut at up to 6 places, or in single bytes."""
        count = self.byte() % 8
        if count == 7 and len(data) < 1_000:
            return [data[at : at + 1] for at in range(len(data))]
        places = [self.number() % (len(data) + 1) for _ in range(count)]
        return cut(data, places) if data else []

    def edited(self, data: bytes) -> bytes:
        """`data` with up to 7 edits; none where the next byte is 0."""
        for _ in range(self.byte() % (MOST_EDITS + 1)):
            data = self._edit(data)
        return data

    def _edit(self, data: bytes) -> bytes:
        edit, at, value = self.byte() % 6, self.number() % (len(data) + 1), self.byte()
        before, after = data[:at], data[at:]
        match edit:
            case 0 if after:
                return before + bytes([after[0] ^ value]) + after[1:]
            case 1 if after:
                return before + bytes([value]) + after[1:]
            case 2:
                return before + bytes([value]) + after
            case 3:
                return before + after[value:]
            case 4:
                return before
            case _:
                return before + self.take(value) + after
