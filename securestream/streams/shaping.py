"""Traffic that says nothing: records sent because of the clock, so that it doesn't show what is sent, or when.

    send_cover_traffic(stream, interval)                    records without content, where there would be silence
    ConstantRate(stream, interval=, record=)                records of one size at fixed ticks, data or not
    ConstantRate(stream, interval=, record=, burst=)        the same, silent between bursts of a multiple of `burst`

Both run in a nursery of the caller's, and end when the stream's own direction does.

Theory of operation (`ConstantRate`)
-----------------------------------

One task, `run()`, sends; all others leave with it what they want sent. While it runs it is the one sender of the
stream below, so that whoever sends there by mistake gets `trio.BusyResourceError` and not a record off the beat.

*A message* is what one `send_all` wants sent; there is never more than one, and its caller waits until all of it
is out, which is the back-pressure. At a tick `run()` takes a record's worth of it, or nothing: the same record is
sealed either way, by the same code, so neither size nor work tells which.

*A tick that can't be kept*, because the transport takes nothing, is left out and counted. After a jam the beat goes
on as before; nothing is made up for. Jams come of the network and of the receiver, not of what is sent.

*The end* (an end, an alert, closing) is a record like the others and has a tick like the others: whoever wants it
waits until `run()` has come to that tick and is over, and sends it himself through the stream below. So there
is one way to end a stream. A burst is filled up first; the last record is its last.
"""

from __future__ import annotations

import contextlib
import enum
import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import trio

from ..protocol.alerts import Alert, AlertCode
from ..protocol.padding import BlockPadding
from ..protocol.suites import MAX_RECORD
from .errors import TransportBroken
from .secure import CUT_SHORT, Half, flat, only_cancelled
from .turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .secure import SecureStream


async def send_cover_traffic(
    stream: SecureStream[trio.abc.Stream], interval: float | Callable[[], float], *, size: int | Callable[[], int] = 1
) -> None:
    """Sends records without content whenever this side has sent nothing for `interval`, until its direction ends.

    Run it in a nursery of yours: `nursery.start_soon(ss.send_cover_traffic, stream, 1.0)`. `interval` is in seconds,
    or a callable that is asked after each record, the program's or this one's. A steady interval tells cover from
    data by its rhythm. `functools.partial(random.SystemRandom().expovariate, 2.0)` has none: where the program's
    messages come as by chance, nobody can say of a record which of the two it is.

    Cover looks on the wire as one `send_all` of `size` bytes does, under the same padding policy: 1 to 16 MiB, or
    a callable that is asked each time. Under a policy with a smallest size, 1 looks like every small message. It
    makes a `send_all` wait for no more than itself, is left out where the transport has no room, and
    reaches no reader. It notices no dead peer: what waits for one needs a deadline of its own.

    Returns when this direction has ended: by `send_eof()`, `aclose()`, an alert or a broken connection. Raises
    `ValueError` for an interval that isn't more than 0 s and a size out of bounds, and what the padding policy's
    failure is.
    """
    while stream._may_send():
        seconds = _checked_interval(interval() if callable(interval) else interval)
        with trio.move_on_after(seconds) as silence:
            await stream._sent_or_ended()
        if silence.cancelled_caught:
            await stream._send_cover(size() if callable(size) else size)


def _checked_interval(seconds: float) -> float:
    if not 0 < seconds < math.inf:
        raise ValueError(f"an interval is more than 0 s, not {seconds}")
    return seconds


@dataclass(frozen=True)
class ConstantRateStatistics:
    """What a `ConstantRate` has sent so far, and what it has cost. The record that ends the direction isn't counted.

    `records`                      all that were sent
    `data_records`                 of these, those with content
    `missed_ticks`                 for which the transport, or the machine, was too slow
    `content_bytes`, `wire_bytes`  the program's, and the transport's
    `messages`                     calls of `send_all` that were sent whole
    `mean_latency`, `max_latency`  seconds from the call of `send_all` until its last byte was sent
    """

    records: int
    data_records: int
    missed_ticks: int
    content_bytes: int
    wire_bytes: int
    messages: int
    mean_latency: float
    max_latency: float

    @property
    def waste(self) -> float:
        """The share of the wire bytes that was no content: 0 to 1. 0 where nothing was sent."""
        return 1 - self.content_bytes / self.wire_bytes if self.wire_bytes else 0.0


class _Run(enum.Enum):
    READY = enum.auto()
    RUNNING = enum.auto()
    OVER = enum.auto()


class _Fate(enum.Enum):
    WAITING = enum.auto()
    SENT = enum.auto()
    DROPPED = enum.auto()  # somebody has closed the stream


class _Message:
    """What one `send_all` wants sent."""

    __slots__ = ("_content", "_taken", "fate", "since")

    def __init__(self, content: memoryview) -> None:
        self._content, self._taken = content, 0
        self.since: float = trio.current_time()
        self.fate: _Fate = _Fate.WAITING

    def take(self, size: int) -> memoryview:
        """The next `size` bytes of it, or what is left."""
        start = self._taken
        self._taken = min(start + size, len(self._content))
        return self._content[start : self._taken]

    @property
    def is_taken(self) -> bool:
        return self._taken == len(self._content)

    @property
    def is_cut(self) -> bool:
        """Whether the peer would have a part of it and no more."""
        return 0 < self._taken < len(self._content)


class _Beat:
    """Ticks, an interval apart from the first. One that has passed is left out."""

    def __init__(self, interval: float) -> None:
        self._start, self._interval, self._tick = trio.current_time(), interval, 0
        self.missed: int = 0

    def next(self, *, after_silence: bool) -> float:
        """When the next tick is, on Trio's clock."""
        following = self._tick + 1
        self._tick = max(following, math.ceil((trio.current_time() - self._start) / self._interval))
        if not after_silence:
            self.missed += self._tick - following
        return self._start + self._tick * self._interval


@final
class ConstantRate(trio.abc.HalfCloseableStream):
    """A secure stream whose records are of one size and leave at fixed ticks, whatever is sent.

        async with trio.open_nursery() as nursery, ss.ConstantRate(stream, interval=0.01, record=1_024) as shaped:
            nursery.start_soon(shaped.run)
            await shaped.send_all(b"question")

    `interval`  seconds from record to record
    `record`    bytes of each on the wire: up to 16,384, at least one more than what a record needs for itself (22 or
                37, depending on the suite)
    `burst`     None: a record at every tick. A number: silent while there is nothing to send; what is sent becomes
                a burst of records, a multiple of that number, the last ones empty (Cai et al., "A Systematic
                Approach to Developing and Evaluating Website Fingerprinting Defenses", CCS 2014, section 5: Tamaraw)

    It shapes what this side sends; the peer does the same with its own, or doesn't. Receiving is the stream's own.
    `send_all` returns when its last byte is sent, so it waits for one tick at least: gather small pieces with a
    `BufferedWriter` around this. The stream's padding policy is set so that every record has the one size; an alert
    with a text of more than one record is longer. Raises `ValueError` for numbers that make no sense.

    Not hidden: when the stream begins and ends, that there are bursts and about how long they are, and a receiver
    that stops reading. `trio.ClosedResourceError` and the like are as `SecureStream`'s.
    """

    def __init__(
        self, stream: SecureStream[trio.abc.Stream], *, interval: float, record: int, burst: int | None = None
    ) -> None:
        least, record = MAX_RECORD - stream.record_capacity + 1, operator.index(record)
        if not least <= record <= MAX_RECORD:
            raise ValueError(f"a record on this stream has {least} to {MAX_RECORD:,} bytes, not {record:,}")
        if burst is not None and operator.index(burst) < 1:
            raise ValueError(f"a burst has at least 1 record, not {burst}")
        self.transport_stream: SecureStream[trio.abc.Stream] = stream
        self.interval: float = _checked_interval(interval)
        self.record: int = record
        self.burst: int | None = burst
        self._room = record - least + 1
        stream.padding = BlockPadding(self._room)
        self._run = _Run.READY
        self._message: _Message | None = None
        self._is_cut = False  # the peer has a part of a message: no more of the program's can follow
        self._enders = 0  # tasks that wait for the end's tick
        self._beat = _Beat(interval)
        self._silence = trio.CancelScope()
        self._news = trio.lowlevel.ParkingLot()  # a record was sent, or it is over
        self._turns = Turns("sending on this ConstantRate")
        self._records = self._data_records = self._content_bytes = self._messages = 0
        self._latency = self._max_latency = 0.0

    @property
    def record_capacity(self) -> int:
        """How many bytes of content fill one record."""
        return self._room

    def statistics(self) -> ConstantRateStatistics:
        """What was sent so far, and what it has cost."""
        return ConstantRateStatistics(
            records=self._records,
            data_records=self._data_records,
            missed_ticks=self._beat.missed,
            content_bytes=self._content_bytes,
            wire_bytes=self._records * self.record,
            messages=self._messages,
            mean_latency=self._latency / self._messages if self._messages else 0.0,
            max_latency=self._max_latency,
        )

    # --- the beat

    async def run(self) -> None:
        """Sends a record at each tick, until this direction ends: in a nursery of yours, once.

        Cancelled, it breaks off; what sends through it then raises `trio.ClosedResourceError`. Raises
        `trio.BusyResourceError` while another task is sending on the stream below, or in `run()`, and what the
        failure of a padding policy is that was set meanwhile. What goes wrong with the connection, the program's own
        calls will tell.
        """
        await trio.lowlevel.checkpoint()
        if self._run is _Run.OVER:
            return
        below = self.transport_stream._send_turns
        below.begin()
        self._run = _Run.RUNNING
        try:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._keep_the_beat()
        finally:
            below.end()
            self._note_over()

    def _note_over(self) -> None:
        """Nothing is sent through this any more: who waits is told."""
        self._run = _Run.OVER
        self._take_back()
        if self._is_cut:
            self.transport_stream._break_sending(CUT_SHORT)
        self._news.unpark_all()

    async def _keep_the_beat(self) -> None:
        self._beat = _Beat(self.interval)
        while True:
            if silent := self._is_silent():
                self._silence = trio.CancelScope()
                await self._wait(self._silence)
            await self._wait(trio.CancelScope(deadline=self._beat.next(after_silence=silent)))
            if self._is_end_due() or not self.transport_stream._may_send():
                return
            await self._send_record()

    async def _wait(self, scope: trio.CancelScope) -> None:
        """Until the scope is cancelled, or nothing can be sent any more."""
        with scope:
            while self.transport_stream._may_send():
                await self.transport_stream._sent_or_ended()

    def _is_silent(self) -> bool:
        """Whether a burst is over and no other wanted."""
        if self.burst is None or self._message is not None or self._enders:
            return False
        return self._records % self.burst == 0

    def _is_end_due(self) -> bool:
        """Whether this tick is the last record's."""
        if not self._enders or self._message is not None:
            return False
        return self.burst is None or (self._records + 1) % self.burst == 0

    async def _send_record(self) -> None:
        stream, message = self.transport_stream, self._message
        content = message.take(self._room) if message is not None else b""
        if content:
            await stream._send(stream._writer.data, memoryview(content))
        else:
            await stream._send(stream._writer.cover, 1)
        self._records += 1
        self._data_records += bool(content)
        self._content_bytes += len(content)
        if message is not None and message.is_taken:
            self._note_sent(message)
        self._news.unpark_all()

    def _note_sent(self, message: _Message) -> None:
        if self._message is message:
            self._message = None
        message.fate = _Fate.SENT
        latency = trio.current_time() - message.since
        self._messages += 1
        self._latency += latency
        self._max_latency = max(self._max_latency, latency)

    # --- sending

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends `data` at the next ticks; returns when all of it is sent. Waits for `run()` where it hasn't begun.

        Raises what `SecureStream.send_all` does, and `trio.ClosedResourceError` where `run()` is over. Cancelled
        before its first tick, it has sent nothing. Cancelled between its first and its last, it breaks the
        sending half, as on the stream below: the peer will get no clean end. The beat goes on.
        """
        self._turns.begin()
        try:
            self._check()
            content = flat(data)
            if content:
                await self._deliver(_Message(content))
            else:
                await trio.lowlevel.checkpoint()
        finally:
            self._turns.end()

    async def _deliver(self, message: _Message) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._message = message
        self._silence.cancel()
        try:
            while self._message is message:
                await self._news.park()
        finally:
            if self._message is message:
                self._take_back()
        if message.fate is _Fate.DROPPED:
            raise trio.ClosedResourceError("this stream was closed")
        if message.fate is _Fate.WAITING:
            self._check()

    async def wait_send_all_might_not_block(self) -> None:
        """Returns when the transport has taken the record of the last tick. Raises what `send_all` does."""
        self._turns.begin()
        try:
            self._check()
            await trio.lowlevel.checkpoint()
            while self._run is _Run.RUNNING and self.transport_stream._send_turns.taken:
                await self._news.park()
            self._check()
        finally:
            self._turns.end()

    def _check(self) -> None:
        """Raises where nothing can be sent."""
        if self._enders:
            raise trio.ClosedResourceError("this stream is being closed")
        self.transport_stream._check(self.transport_stream._sending)
        if self._is_cut:
            raise self.transport_stream._own(TransportBroken(CUT_SHORT))
        if self._run is _Run.OVER:
            raise trio.ClosedResourceError("run() of this ConstantRate is over")

    def _take_back(self) -> _Message | None:
        """No more of what is being sent goes out."""
        message, self._message = self._message, None
        if message is not None and message.is_cut:
            self._is_cut = True
            self.transport_stream._note_cut()
        return message

    # --- receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As `SecureStream.receive_some`."""
        return await self.transport_stream.receive_some(max_bytes)

    # --- the end

    async def send_eof(self) -> None:
        """Sends the authenticated end of this direction at its tick. Raises what `SecureStream.send_eof` does."""
        self._turns.begin()
        try:
            if self.transport_stream._sending is Half.OPEN:
                self._check()
                await self._reach_the_end()
            await self.transport_stream.send_eof()
        finally:
            self._turns.end()

    async def send_alert(self, code: int = AlertCode.APPLICATION_ERROR, message: str = "") -> None:
        """Ends the stream with an alert at its tick; what is being sent is cut off there. As
        `SecureStream.send_alert`; it waits for the rest of the burst first."""
        Alert.of_application(code, message)  # no tick is lost for what can't be sent
        await self._break_off()
        await self.transport_stream.send_alert(code, message)

    async def aclose(self) -> None:
        """Ends both directions at a tick and closes the stream below, and so its transport. As `SecureStream.aclose`;
        it waits for the rest of the burst first. Tasks that send wake at once, one that receives when it is closed."""
        try:
            await self._break_off()
        finally:
            await self.transport_stream.aclose()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Left in order: a clean end. Left by an exception: an alert. Left by cancellation: closed at once."""
        try:
            if exc is None or not only_cancelled(exc):
                await self._break_off()
        finally:
            await self.transport_stream.__aexit__(exc_type, exc, traceback)

    async def _break_off(self) -> None:
        """Comes to the end without what is being sent, in the time that this takes by the clock and `close_timeout`."""
        if (message := self._take_back()) is not None:
            message.fate = _Fate.DROPPED
            self._news.unpark_all()
        if self._run is _Run.READY:
            self._note_over()
        ticks = 1 + (self.burst or 1)
        with trio.move_on_after(ticks * self.interval + self.transport_stream._close_timeout):
            await self._reach_the_end()

    async def _reach_the_end(self) -> None:
        """Waits for the tick of the last record, which is the caller's to send."""
        self._enders += 1
        self._silence.cancel()
        try:
            while self._run is not _Run.OVER:
                await self._news.park()
        finally:
            self._enders -= 1

    def __repr__(self) -> str:
        burst = "" if self.burst is None else f" in bursts of {self.burst}"
        return f"<ConstantRate: {self.record} bytes each {self.interval} s{burst}, {self.transport_stream}>"
