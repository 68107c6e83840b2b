"""What is served: ticks by symbol, and a log that is replicated. In memory, and as simple as can be."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .messages import Tick

ROWS_AT_ONCE = 100


class DatabaseError(Exception):
    """Something that the client may know."""


class Database:
    """Changes are made without an await in between: each has happened or it hasn't."""

    def __init__(self) -> None:
        self.ticks: defaultdict[str, list[Tick]] = defaultdict(list)
        self.log: list[bytes] = []

    def ingest(self, tick: Tick) -> int:
        self.ticks[tick.symbol].append(tick)
        return len(self.ticks[tick.symbol])

    def append(self, position: int, segment: bytes) -> int:
        """Raises `DatabaseError` for a segment out of place."""
        if position != len(self.log):
            raise DatabaseError(f"the log has {len(self.log)} segments, not {position}")
        self.log.append(segment)
        return len(self.log)

    async def query(self, symbol: str) -> AsyncGenerator[list[Tick], None]:
        """The ticks of a symbol, some at a time. Raises `DatabaseError`, perhaps in the middle."""
        found = self.ticks.get(symbol, [])
        for start in range(0, len(found), ROWS_AT_ONCE):
            await trio.lowlevel.checkpoint()  # a real one would wait for its disk here
            yield found[start : start + ROWS_AT_ONCE]
