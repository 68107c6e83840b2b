"""What a stream does against a listener, by name: a padding policy, or a constant rate.

padme                   a policy, as `lab_policy` takes them
rate:4096:10            a record of 4,096 bytes every 10 ms, from the first to the last
rate:4096:10:50         the same, in bursts of a multiple of 50 records
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from ..protocol.padding import NoPadding, PaddingPolicy
from ..streams.shaping import ConstantRate
from .policies import lab_policy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..streams.secure import SecureStream

RATE = "rate"


@dataclass(frozen=True)
class Defence:
    """`padding`, unless there is an `interval` (seconds): then a constant rate of records of `record` bytes."""

    padding: PaddingPolicy
    interval: float = 0.0
    record: int = 0
    burst: int | None = None

    @contextlib.asynccontextmanager
    async def over(self, stream: SecureStream[trio.abc.Stream]) -> AsyncIterator[trio.abc.HalfCloseableStream]:
        """The stream to talk through; closed in order at the end. Raises `ValueError` for a record that is out of
        bounds."""
        if not self.interval:
            async with stream:
                yield stream
            return
        shaped = ConstantRate(stream, interval=self.interval, record=self.record, burst=self.burst)
        async with trio.open_nursery() as nursery, shaped:
            nursery.start_soon(shaped.run)
            yield shaped


def defence(text: str, seed: int) -> Defence:
    """A defence by its name. Raises `ValueError`, which says what would do."""
    kind, *numbers = text.split(":")
    if kind != RATE:
        return Defence(lab_policy(text, seed))
    if not (2 <= len(numbers) <= 3 and all(number.isdecimal() and 0 < int(number) <= 10**6 for number in numbers)):
        raise ValueError(f"{text}: a constant rate is rate:BYTES:MILLISECONDS or rate:BYTES:MILLISECONDS:BURST")
    record, milliseconds, *burst = map(int, numbers)
    if not 64 <= record <= 16_384:
        raise ValueError(f"{text}: records have 64 to 16,384 bytes here")
    return Defence(NoPadding(), milliseconds / 1_000, record, burst[0] if burst else None)
