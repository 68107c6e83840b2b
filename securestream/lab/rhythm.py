"""`lab shaping`: what the rhythm of records tells of a program, and what it costs to hide it.

A program that talks in bouts, as people and machines do, over the real stream and a line of limited speed, in
virtual time. It is generated, from the seed; records, sizes and times are the real stream's. For each way to shape the
traffic: what a listener sees second by second, the rhythm of it, and what messages and a bulk transfer wait for.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import trio

from ..protocol.padding import BlockPadding
from ..streams.shaping import ConstantRate, send_cover_traffic
from .results import generator
from .wire import Seen, recorded_pair, run_in_virtual_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from ..streams.secure import SecureStream

RECORD, INTERVAL, BURST = 1_024, 1 / 16, 16  # bytes, seconds, records: a whole number of ticks in each second
BLOCK = 960  # bytes that messages are padded to, where no constant rate does it
BANDWIDTH = 100_000.0  # bytes a second
SECONDS = 300
SHOWN = 30.0  # seconds of the timeline that a result keeps
LAGS = 20
BULK = 200_000  # bytes

# How the traffic of the sending side can be shaped.
SHAPES = ("off", "cover:steady", "cover:random", "rate", "rate:bursts")


@dataclass(frozen=True)
class Message:
    """When the program sends it, in seconds from the beginning, and how long it is."""

    time: float
    size: int


@dataclass(frozen=True)
class ShapingRow:
    """One way to shape the traffic.

    `timeline`         the first 30 s on the wire: seconds, bytes
    `autocorrelation`  of the gaps between records, at lags 1 to 20; None where all gaps are alike
    `tells`            how well bytes in a second tell the seconds in which the program sends from those in which it
                       doesn't: the share of pairs put in order, 0.5 where they tell nothing
    `latency_...`      seconds from the program's call until the peer has the whole message
    `bulk_rate`        bytes a second of a transfer of 200,000
    """

    shape: str
    messages: int
    records: int
    content_bytes: int
    wire_bytes: int
    latency_mean: float
    latency_max: float
    bulk_rate: float
    tells: float
    autocorrelation: tuple[float, ...] | None
    timeline: tuple[tuple[float, int], ...]


def bouts(seed: int, seconds: float = SECONDS) -> list[Message]:
    """A program's messages: bouts of 1 to 12, tenths of seconds apart, and pauses of 4 s on average between them;
    80 to 900 bytes each."""
    rng = generator(seed, "bouts")
    found: list[Message] = []
    now = 0.0
    while True:
        now += float(rng.exponential(4.0))
        for _ in range(int(rng.integers(1, 13))):
            now += float(rng.exponential(0.15))
            if now >= seconds:
                return found
            found.append(Message(now, int(rng.integers(80, 900))))


def shape(name: str, seed: int, seconds: float = SECONDS) -> ShapingRow:
    """The same program, with its traffic shaped in the way of that name."""
    messages = bouts(seed, seconds)
    records, arrivals = run_in_virtual_time(partial(_talk, name, messages, seed, seconds))
    latencies = np.asarray(arrivals) - np.asarray([message.time for message in messages[: len(arrivals)]])
    times = np.asarray([seen.time for seen in records])
    return ShapingRow(
        shape=name,
        messages=len(arrivals),
        records=len(records),
        content_bytes=sum(message.size for message in messages[: len(arrivals)]),
        wire_bytes=sum(seen.size for seen in records),
        latency_mean=float(latencies.mean()) if len(arrivals) else 0.0,
        latency_max=float(latencies.max()) if len(arrivals) else 0.0,
        bulk_rate=run_in_virtual_time(partial(_bulk, name, seed)),
        tells=_tells(records, messages, seconds),
        autocorrelation=autocorrelation(np.diff(times).tolist()),
        timeline=tuple((seen.time, seen.size) for seen in records if seen.time < SHOWN),
    )


@contextlib.asynccontextmanager
async def _shaped(name: str, stream: SecureStream[trio.abc.Stream], seed: int) -> AsyncIterator[trio.abc.SendStream]:
    """What to send through. Ends without a goodbye."""
    async with trio.open_nursery() as nursery:
        kind, _, variant = name.partition(":")
        if kind == "rate":
            burst = BURST if variant else None
            shaped = ConstantRate(stream, interval=INTERVAL, record=RECORD, burst=burst)
            nursery.start_soon(shaped.run)
            yield shaped
        else:
            if kind == "cover":
                nursery.start_soon(send_cover_traffic, stream, _gap(variant, seed))
            yield stream
        nursery.cancel_scope.cancel()


def _gap(variant: str, seed: int) -> float | Callable[[], float]:
    if variant == "steady":
        return 0.5
    rng = generator(seed, "cover")
    return lambda: float(rng.exponential(0.5))


async def _talk(name: str, messages: Sequence[Message], seed: int, seconds: float) -> tuple[list[Seen], list[float]]:
    """What was seen of what the program sends, and when each message had arrived; times from the beginning."""
    async with recorded_pair(client_padding=BlockPadding(BLOCK), bandwidth=BANDWIDTH) as pair:
        start, seen_before = trio.current_time(), len(pair.wire.records)
        arrivals: list[float] = []
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery, _shaped(name, pair.client, seed) as stream:
                nursery.start_soon(_note_arrivals, pair.server, [message.size for message in messages], arrivals)
                for message in messages:
                    await trio.sleep_until(start + message.time)
                    await stream.send_all(bytes(message.size))
                await trio.sleep_forever()
        sent = [Seen(seen.time - start, True, seen.size) for seen in pair.wire.records[seen_before:] if seen.outgoing]
        return sent, [time - start for time in arrivals]


async def _note_arrivals(stream: trio.abc.ReceiveStream, sizes: Sequence[int], arrivals: list[float]) -> None:
    """When the last byte of each message has come."""
    received, due = 0, np.cumsum(sizes).tolist()
    while len(arrivals) < len(due):
        received += len(await stream.receive_some())
        while len(arrivals) < len(due) and received >= due[len(arrivals)]:
            arrivals.append(trio.current_time())


async def _bulk(name: str, seed: int) -> float:
    async with recorded_pair(client_padding=BlockPadding(BLOCK), bandwidth=BANDWIDTH) as pair:
        arrivals: list[float] = []
        start = trio.current_time()
        async with trio.open_nursery() as nursery, _shaped(name, pair.client, seed) as stream:
            nursery.start_soon(_note_arrivals, pair.server, [BULK], arrivals)
            await stream.send_all(bytes(BULK))
        return BULK / (arrivals[0] - start)


# --- what a listener makes of it ----------------------------------------------------------------------


def autocorrelation(gaps: Sequence[float]) -> tuple[float, ...] | None:
    """Of a series at lags 1 to 20, from -1 to 1. None where it doesn't vary, or is too short to say."""
    series = np.asarray(gaps) - np.mean(gaps) if len(gaps) else np.zeros(0)
    variance = float((series**2).sum())
    if len(series) <= LAGS or variance < 1e-12:
        return None
    return tuple(float((series[:-lag] * series[lag:]).sum() / variance) for lag in range(1, LAGS + 1))


def _tells(records: Sequence[Seen], messages: Sequence[Message], seconds: float) -> float:
    """The probability that a second with messages shows more bytes than one without; half for as many."""
    edges = np.arange(int(seconds)) + INTERVAL / 2  # no tick is near an edge
    shown, _ = np.histogram([seen.time for seen in records], edges, weights=[seen.size for seen in records])
    busy = np.histogram([message.time for message in messages], edges)[0] > 0
    more = shown[busy][:, None] - shown[~busy][None, :]
    return float((np.sign(more).mean() + 1) / 2) if more.size else 0.5
