"""SecureStream: records over any stream, as a Trio stream.

Theory of operation
-------------------

The two directions are independent halves, each in one state of `Half`. Whoever changes a state does so before
the next await ("decide synchronously, then await"), so that every task sees the same story:

    OPEN -> ENDED    an authenticated end: we sent CLOSE, or the peer did
    OPEN -> BROKEN   can't go on: an alert came, the transport failed, a send was cut short
    any  -> CLOSED   by this side: aclose(), or an alert of our own

*Who reads, who writes.* `receive_some` never writes and `send_all` never reads, so neither can be held up by
the other direction, and no task runs in the background. What follows from reading (an alert to answer with) is
kept and sent by `aclose()`. The one exception is a send that has failed: it has nothing more to write, and
reads what the peer may have left as its reason (kept for later receives, until 1 MiB has come).
A program that never receives learns of no alert.

*Turns.* Each way has its `Turns`: they tell the caller of his mistake when two of his tasks do the same thing, and
let the stream's own business (alerts, closing, looking for a reason) take turns with his calls without his noticing.

*Waking.* An alert or a close must wake tasks that are blocked in the transport. `channel.py` does that without
closing the transport, because an alert may still have to go out.

*Nothing is sealed twice.* A batch that was sealed and not sent is kept by the channel if it knows how much went
out (sockets do); then an alert can follow it. Otherwise the sending half is broken for good.
"""

from __future__ import annotations

import contextlib
import enum
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar, final

import trio

from ..protocol.alerts import Alert, AlertCode, decode_alert_untrusted
from ..protocol.codes import code_name
from ..protocol.records import End, RecordReader, RecordWriter
from ..protocol.suites import RecordType
from .errors import (
    AlertWasSent,
    BadRecord,
    HandshakeError,
    HandshakeRefused,
    HandshakeTruncated,
    PeerAlert,
    StreamError,
    StreamFailure,
    TransportBroken,
    TruncatedStream,
)
from .sealing import seal_at_any_rate
from .turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from ..protocol.handshake import Session
    from ..protocol.padding import PaddingPolicy
    from .channel import Channel
    from .config import Peer
    from .instrument import Instrument

# A stream over TCP is a stream over something, so a handler for any transport is one for TCP.
T = TypeVar("T")
T_co = TypeVar("T_co", bound=trio.abc.Stream, covariant=True)

LINGER_BYTES = 2**20
SMALL = 512  # bytes; a socket that is writable has room for more
_LOOKS = 16  # reads of what came unasked; who has sent more is cut off
CUT_SHORT = "an earlier send on this stream was cut short"


class Half(enum.Enum):
    """How one direction of a stream stands."""

    OPEN = enum.auto()
    ENDED = enum.auto()
    BROKEN = enum.auto()
    CLOSED = enum.auto()


class Wire(enum.Enum):
    """What has gone out, against what was asked for. CLOSE follows what is whole, and nothing else."""

    WHOLE = enum.auto()
    SHORT = enum.auto()  # a send ended early, after whole records: an alert may follow
    TORN = enum.auto()  # perhaps in the middle of one: an alert may follow where the channel knows the rest


@dataclass(frozen=True)
class StreamStatistics:
    """What went through a stream so far. Bytes are the application's, what alerts say included; padding is counted
    apart; wire bytes are the transport's, those of the handshake included."""

    bytes_sent: int
    bytes_received: int
    records_sent: int
    records_received: int
    padding_sent: int
    wire_bytes_sent: int
    wire_bytes_received: int
    key_updates_sent: int
    key_updates_received: int


@dataclass(frozen=True)
class Parts(Generic[T_co]):
    """What a handshake hands over. Only `wrap.py` makes one, so only there can a stream come from."""

    transport_stream: T_co
    channel: Channel
    peer: Peer
    session: Session
    writer: RecordWriter
    reader: RecordReader
    close_timeout: float
    observer: Instrument | None = None


@final
class SecureStream(trio.abc.HalfCloseableStream, Generic[T_co]):
    """An encrypted, authenticated stream to a peer that has proved its key.

    Made by `wrap_client`, `wrap_server` and what builds on them. A full `trio.abc.HalfCloseableStream`, and:

    `transport_stream`  the stream below
    `peer`              who is at the other end: a `Peer`
    `session`           suite and channel binding: a `Session`
    `alert`             the alert that the peer ended the stream with, or None

    `receive_some` returns b"" only at the peer's authenticated end. Left by an exception, `async with stream`
    tells the peer with an alert; a clean end is sent by leaving it in order.
    """

    def __init__(self, parts: Parts[T_co]) -> None:
        if not isinstance(parts, Parts):
            raise TypeError("a SecureStream is made by wrap_client() or wrap_server()")
        self.transport_stream = parts.transport_stream
        self.peer: Peer = parts.peer
        self.session: Session = parts.session
        self._channel = parts.channel
        self._writer = parts.writer
        self._reader = parts.reader
        self._close_timeout = parts.close_timeout
        self._observer = parts.observer
        self._sending = Half.OPEN
        self._receiving = Half.OPEN
        self._closed = False
        self._failure: Callable[[], StreamError] | None = None  # why receiving is broken
        self._send_failure = ""  # why sending is broken, where the peer gave no reason
        self._wire = Wire.WHOLE
        self._answer: Alert | None = None  # what aclose() sends in place of CLOSE
        self._sent_alert: Alert | None = None  # what send_alert() has ended the stream with
        self._alert_is_leaving = False  # another task is in send_alert()
        self._plain = b""
        self._plain_at = 0
        self._later: list[bytes] = []  # what came while _plain was waiting to be received
        self._awaited = (
            False  # a receive waits, or has waited last and was cancelled: what it waited for may still come
        )
        self._send_turns = Turns("sending on this SecureStream")
        self._receive_turns = Turns("receiving on this SecureStream")
        self._shapers: trio.lowlevel.ParkingLot | None = None  # see _sent_or_ended

    # --- sending

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends `data` in records, and nothing else: it is on its way when this returns.

        Raises `trio.ClosedResourceError` after `send_eof()`, `aclose()` or `send_alert()`;
        `trio.BusyResourceError` when another task is sending; `PeerAlert` when the peer has ended the stream
        with an alert and that is known here; `TransportBroken` or `TruncatedStream` when the connection is
        gone; `ValueError` when the padding policy returns what can't be.

        A call that is cancelled after something was sealed breaks the sending half: the peer will get no clean
        end. Receiving goes on.
        """
        self._send_turns.begin()
        try:
            content = flat(data)
            if content:
                await self._send(self._writer.data, content)
            else:
                self._check(self._sending)
                await trio.lowlevel.checkpoint()
        finally:
            self._send_turns.end()

    async def send_eof(self) -> None:
        """Sends the authenticated end of this direction; receiving goes on. Doing it again does nothing.

        Raises what `send_all` does.
        """
        self._send_turns.begin()
        try:
            if self._sending is Half.ENDED:
                await trio.lowlevel.checkpoint()
                return
            await self._send(self._control, RecordType.CLOSE)
        finally:
            self._send_turns.end()

    async def update_key(self) -> None:
        """Changes the key of this direction. It is done without being asked after each GiB.

        Raises what `send_all` does.
        """
        self._send_turns.begin()
        try:
            await self._send(self._control, RecordType.KEY_UPDATE)
        finally:
            self._send_turns.end()

    async def wait_send_all_might_not_block(self) -> None:
        """Returns when `send_all` might not block. Raises what `send_all` does."""
        self._send_turns.begin()
        try:
            self._check(self._sending)
            await self._send_turns.take()
            try:
                await self._channel.wait_writable()
            except (trio.ClosedResourceError, trio.BrokenResourceError) as exc:
                await self._explain_failed_send(exc)
            finally:
                self._send_turns.give()
        finally:
            self._send_turns.end()

    @property
    def record_capacity(self) -> int:
        """How many bytes fill one record: 16,362 or 16,347, depending on the suite."""
        return self._writer.capacity

    @property
    def padding(self) -> PaddingPolicy:
        """The padding policy of what this side sends. It may be changed at any time; `TypeError` for what is none."""
        return self._writer.padding

    @padding.setter
    def padding(self, policy: PaddingPolicy) -> None:
        self._writer.padding = policy

    async def _send(self, seal: Callable[[T], Iterable[bytes | memoryview]], what: T) -> None:
        """Seals and sends, in turn with alerts and other business of the stream."""
        if not self._may_send():
            self._check(self._sending)
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._send_turns.take_if_free():
            await self._send_turns.take()
        try:
            if not self._may_send():
                self._check(self._sending)
            await self._transmit(seal(what))
        finally:
            self._send_turns.give()

    def _may_send(self) -> bool:
        return self._sending is Half.OPEN and self._failure is None

    def _control(self, record_type: RecordType) -> list[bytes]:
        wire = self._writer.control(record_type)
        if record_type is RecordType.CLOSE:
            self._sending = Half.ENDED
            self._wake_shapers()
        return [wire]

    async def _transmit(self, batches: Iterable[bytes | memoryview]) -> None:
        going_on, sealed = self._sending, iter(batches)
        try:
            # Asked before the next batch is sealed: an alert's record has to follow the last one that was sent.
            while self._sending is going_on and (batch := next(sealed, None)) is not None:
                await (self._channel.send_last(batch) if self._writer.ended else self._channel.send(batch))
        except (trio.ClosedResourceError, trio.BrokenResourceError) as exc:
            self._wire = Wire.TORN
            await self._explain_failed_send(exc)
        except BaseException:
            self._wire = Wire.TORN
            self._break_sending(CUT_SHORT)
            raise
        if self._sending is not going_on:
            self._wire = Wire.SHORT
            self._check(self._sending)
        self._wake_shapers()

    def _break_sending(self, why: str) -> None:
        if self._sending is not Half.CLOSED:
            self._sending, self._send_failure = Half.BROKEN, why
            self._wake_shapers()

    async def _explain_failed_send(self, exc: trio.ClosedResourceError | trio.BrokenResourceError) -> NoReturn:
        """Raises what the caller is to know of a failed transport: best of all, the peer's own reason."""
        if isinstance(exc, trio.ClosedResourceError) and self._sending is not Half.OPEN:
            self._check_failure(self._sending)
        self._break_sending(str(exc))
        if isinstance(exc, trio.ClosedResourceError):
            raise exc
        await self._look_for_reason()
        try:
            self._check_failure(self._sending)
        except StreamError as error:
            raise error from exc
        raise exc

    async def _look_for_reason(self) -> None:
        with trio.CancelScope(relative_deadline=self._close_timeout):
            await self._receive_turns.take()
            try:
                before = self._reader.content_bytes
                while self._receiving is Half.OPEN and self._reader.content_bytes - before < LINGER_BYTES:
                    await self._receive_once()
            finally:
                self._receive_turns.give()

    # --- receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Whatever has arrived, at most `max_bytes`; b"" only at the peer's authenticated end.

        Raises `PeerAlert`, `TruncatedStream` or `BadRecord` once all that came before has been received, and
        again at every later call; `trio.ClosedResourceError` after `aclose()` or `send_alert()`;
        `trio.BusyResourceError` when another task is receiving. A cancelled call loses nothing.
        """
        self._receive_turns.begin()
        try:
            if max_bytes is not None:
                max_bytes = operator.index(max_bytes)
                if max_bytes < 1:
                    raise ValueError("max_bytes must be at least 1")
            if self._receiving is Half.CLOSED:
                self._check(self._receiving)
            if self._plain or self._receiving is not Half.OPEN:
                await trio.lowlevel.checkpoint()
            else:
                self._awaited = True
                await self._wait_for_content()
                self._awaited = False
            return self._take_content(max_bytes)
        finally:
            self._receive_turns.end()

    async def _wait_for_content(self) -> None:
        if not self._receive_turns.take_if_free():
            await self._receive_turns.take()
        try:
            while not self._plain and self._receiving is Half.OPEN:
                await self._receive_once()
        finally:
            self._receive_turns.give()

    async def _receive_once(self) -> None:
        """Opens what is there, or else reads the transport once. The caller has the turn."""
        cause: BaseException | None = None
        if self._reader.has_more:
            await trio.lowlevel.checkpoint()  # a flood of empty records starves nobody
        else:
            try:
                await self._channel.receive_into(self._reader)
            except trio.BrokenResourceError as exc:
                cause = exc
                self._reader.feed_eof()
            except trio.ClosedResourceError:
                self._check(self._receiving)
                self._receiving = Half.CLOSED
                raise
        self._open_records(cause)

    def _open_records(self, cause: BaseException | None = None) -> None:
        content = self._reader.read()
        if content:
            if self._plain:
                self._later.append(content)
            else:
                self._plain = content
        if self._reader.end is not End.OPEN and self._receiving is Half.OPEN:
            self._note_end(cause)

    def _note_end(self, cause: BaseException | None) -> None:
        """The peer's direction is at its end. What came before it may still be waiting to be received."""
        end = self._reader.end
        if end is End.CLOSED:
            self._receiving = Half.ENDED
            return
        self._receiving = Half.BROKEN
        self._failure = self._failure_of(end, cause)
        if end is End.FAILED and self._reader.failure is not None:
            self._answer = Alert(self._reader.failure.alert_code)
        if end is End.ALERTED and self._sending is not Half.CLOSED:
            self._sending = Half.BROKEN
            self._channel.interrupt_send()
        self._wake_shapers()
        if self._observer is not None and self._reader.alert is not None and not self._reader.verdict_due:
            self._observer.alert_received(self, self._reader.alert)

    def _failure_of(self, end: End, cause: BaseException | None) -> Callable[[], StreamError]:
        """Why receiving is broken, as a new exception for each call."""
        reader, verdict_due = self._reader, self._reader.verdict_due
        alert, failure, authenticated = reader.alert, reader.failure, reader.authenticated

        def make() -> StreamError:
            if alert is not None:
                kind = HandshakeRefused if verdict_due else PeerAlert
                return kind(alert, authenticated=authenticated)
            if failure is not None:
                code = code_name(failure.alert_code)
                error: StreamError = HandshakeError(str(failure)) if verdict_due else BadRecord(str(failure), code)
            else:
                error = HandshakeTruncated(_NO_VERDICT) if verdict_due else TruncatedStream()
            error.__cause__ = failure or cause
            return error

        return make

    def _take_content(self, max_bytes: int | None) -> bytes:
        """What a receive gives, decided after its last await."""
        if self._receiving is Half.CLOSED:
            self._check(self._receiving)
        if not self._plain:
            self._check_failure(self._receiving)
            return b""
        start, plain = self._plain_at, self._plain
        if max_bytes is None or len(plain) - start <= max_bytes:
            self._plain, self._plain_at = b"".join(self._later), 0
            self._later = []
            return plain[start:] if start else plain
        self._plain_at += max_bytes
        return plain[start : start + max_bytes]

    # --- what a state means to a caller

    def _check(self, half: Half) -> None:
        """Raises unless this half can go on."""
        if half is Half.ENDED:
            raise trio.ClosedResourceError("send_eof() was called before")
        self._check_failure(half)

    def _check_failure(self, half: Half) -> None:
        if half is Half.CLOSED:
            if self._sent_alert is not None:
                raise AlertWasSent(self._sent_alert, self)
            raise trio.ClosedResourceError("this stream was closed" if self._closed else "its transport was closed")
        if half is Half.BROKEN:
            if self._failure is None:
                raise self._own(TransportBroken(self._send_failure))
            raise self._own(self._failure())
        if half is Half.OPEN and self._failure is not None:
            raise self._own(self._failure())

    def _own(self, error: StreamError) -> StreamError:
        error.stream = self
        return error

    # --- alerts and the end

    @property
    def alert(self) -> Alert | None:
        """The alert that the peer ended the stream with, once it has been read."""
        return self._reader.alert

    async def send_alert(self, code: int = AlertCode.APPLICATION_ERROR, message: str = "") -> None:
        """Ends the stream with an alert: the peer receives what was sent before, then `PeerAlert`.

        `code`: an `AlertCode`, or 4,096 to 65,535 for the application's own. `message`: at most 16,345 bytes of
        UTF-8. Later calls raise `trio.ClosedResourceError`, and so does a `send_all` or `receive_some` that
        another task is in. Waits at most `close_timeout`; close the stream afterwards, as always.

        Raises `ValueError` and `TypeError` for what can't be sent, `trio.ClosedResourceError` after `send_eof()`,
        `aclose()` or an earlier alert, and what `send_all` raises when the connection is gone. Where the padding
        policy fails, the alert goes out all the same, in a full record.
        """
        await self._send_alert(Alert.of_application(code, message))

    async def _send_alert(self, alert: Alert) -> None:
        if self._sending in (Half.CLOSED, Half.ENDED):
            self._check(self._sending)
        if self._reader.alert is not None or not self._alert_may_follow():
            self._check_failure(Half.BROKEN)
        self._sending = self._receiving = Half.CLOSED
        self._answer, self._sent_alert = None, alert
        self._wake_shapers()
        if self._send_turns.taken:
            self._channel.interrupt_send_between_writes()
        self._alert_is_leaving = True
        try:
            with trio.CancelScope(relative_deadline=self._close_timeout) as scope:
                await trio.lowlevel.checkpoint_if_cancelled()
                await self._send_turns.take()
                try:
                    await self._send_this_alert(alert)
                finally:
                    self._send_turns.give()
        except trio.BrokenResourceError as exc:
            raise self._own(TransportBroken(str(exc))) from exc
        finally:
            self._alert_is_leaving = False
            self._channel.interrupt_receive()  # not before: whoever wakes may cancel this task
        if scope.cancelled_caught:
            await trio.aclose_forcefully(self.transport_stream)

    def _alert_may_follow(self) -> bool:
        """Whether an ALERT can be the next record: not after CLOSE, and not where it isn't known what was sent."""
        cut_cleanly = self._wire is Wire.SHORT or self._channel.unsent is not None
        may_go_on = self._sending is Half.OPEN or (self._sending is Half.BROKEN and cut_cleanly)
        return may_go_on and not self._writer.ended

    async def _send_this_alert(self, alert: Alert) -> None:
        if self._writer.ended and self._closed:  # while this waited
            raise trio.ClosedResourceError("this stream was closed")
        if not await self._send_last(RecordType.ALERT, alert.encode()):
            raise trio.BrokenResourceError("a send that was cut short left no place for an alert")

    async def _send_last(self, record_type: RecordType, content: bytes) -> bool:
        """The last record of this direction, or what is left of it, after what was sealed before and not sent.
        False where none may follow what was sent: the peer is to see a truncated stream, which it is.
        The caller has the turn."""
        if self._writer.ended:  # by another task, perhaps cancelled in the middle
            wire = b""
        elif self._may_be_last(record_type):
            wire = seal_at_any_rate(self._writer, lambda: self._writer.control(record_type, content))
        else:
            return False
        if self._channel.unsent or wire:
            await self._channel.send_last(wire)
        if self._observer is not None and wire and record_type is RecordType.ALERT:
            self._observer.alert_sent(self, decode_alert_untrusted(content))
        return True

    def _may_be_last(self, record_type: RecordType) -> bool:
        if record_type is RecordType.CLOSE:
            return self._wire is Wire.WHOLE
        return self._wire is not Wire.TORN or self._channel.unsent is not None

    async def aclose(self) -> None:
        """Ends both directions and closes the transport, within `close_timeout` seconds.

        Sends CLOSE, or the alert that a receive found necessary; then waits for the peer's end: closing a TCP
        connection with unread input makes the kernel throw away what the peer has not read yet. Tasks blocked
        in this stream wake with `trio.ClosedResourceError`. Cancelled, it closes at once, and the peer sees a
        truncated stream.
        """
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        last = self._last_record()
        said_goodbye = last is not None or self._sending in (Half.ENDED, Half.CLOSED)
        linger = said_goodbye and self._reader.end in (End.OPEN, End.FAILED)
        self._shut()
        try:
            with trio.CancelScope(relative_deadline=self._close_timeout) as scope:
                await self._finish(last, linger=linger)
                await self.transport_stream.aclose()
            if scope.cancelled_caught:
                await trio.aclose_forcefully(self.transport_stream)
        except BaseException:
            await trio.aclose_forcefully(self.transport_stream)
            raise
        finally:
            self._wipe()

    def _last_record(self) -> tuple[RecordType, bytes] | None:
        if self._sent_alert is not None:  # or was to be: it may be on its way, or whoever sent it cancelled
            return RecordType.ALERT, self._sent_alert.encode()
        if self._answer is not None and self._alert_may_follow():
            return RecordType.ALERT, self._answer.encode()
        if self._sending is Half.OPEN and self._receiving is not Half.BROKEN:
            return RecordType.CLOSE, b""
        return None

    def _shut(self) -> None:
        self._closed = True
        self._sending = self._receiving = Half.CLOSED
        self._wake_shapers()
        self._plain, self._plain_at, self._later = b"", 0, []
        if self._alert_is_leaving:  # it has woken everybody, and closing waits for it: see _send_goodbye
            return
        if self._receive_turns.taken:
            self._channel.interrupt_receive()
        if self._send_turns.taken:
            self._channel.interrupt_send()

    async def _finish(self, last: tuple[RecordType, bytes] | None, *, linger: bool) -> None:
        if not linger:
            await self._send_goodbye(last)
        elif self._is_small(last) and not self._send_turns.taken and self._channel.can_send_now():
            await self._send_goodbye(last)
            await self._discard_input()
        else:
            # Both at once: where two ends that close wait for each other to read, they must.
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_goodbye, last)
                await self._discard_input()

    def _is_small(self, last: tuple[RecordType, bytes] | None) -> bool:
        """Whether the last record surely fits where there is any room."""
        return self._writer.padding.is_none and (last is None or len(last[1]) < SMALL) and not self._channel.unsent

    async def _send_goodbye(self, last: tuple[RecordType, bytes] | None) -> None:
        # The peer may be gone, and a send of another task may still be on its way out of the transport.
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            await trio.lowlevel.checkpoint_if_cancelled()
            await self._send_turns.take()  # behind another task's alert, if one is on its way
            try:
                if last is not None:
                    await self._send_last(*last)
                if self._reader.end is End.FAILED:  # the peer may have failed too, and wait for this
                    await self._channel.send_eof()
            finally:
                self._send_turns.give()

    async def _discard_input(self) -> None:
        """Until the peer's end, the transport's, or 1 MiB."""
        left = LINGER_BYTES
        await self._receive_turns.take()
        try:
            while left > 0 and self._reader.end not in (End.CLOSED, End.ALERTED):
                if self._reader.has_more:
                    await trio.lowlevel.checkpoint()  # as for a receiver: a flood starves nobody
                    self._reader.read()
                else:
                    received = await self._channel.receive_into(self._reader)
                    left -= received or left
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            self._receive_turns.give()

    def _wipe(self) -> None:
        if self._observer is not None:
            self._observer.stream_closed(self, self._how_it_ended(), self.statistics())
        self._writer.wipe()
        self._reader.wipe()

    def _how_it_ended(self) -> str:
        """In a word, for `Instrument.stream_closed`."""
        alert = self._reader.alert or self._sent_alert or self._answer
        if alert is not None:
            return alert.name
        if self._failure is not None:
            return self._failure().code
        if not self._writer.ended:
            return "cut"
        return "closed" if self._reader.end is End.CLOSED else "half_closed"

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Left in order: a clean end. Left by an exception: an alert. Left by cancellation: closed at once."""
        try:
            if exc is not None:
                await self._leave_with(exc)
        finally:
            await self.aclose()

    async def _leave_with(self, exc: BaseException) -> None:
        alert = alert_for(exc, self)
        if only_cancelled(exc):
            self._shut()
            self._wipe()
            await trio.aclose_forcefully(self.transport_stream)
        elif alert is not None and self._sending not in (Half.CLOSED, Half.ENDED):
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._send_alert(alert)

    def statistics(self) -> StreamStatistics:
        """What went through so far."""
        writer, reader = self._writer, self._reader
        return StreamStatistics(
            bytes_sent=writer.content_bytes,
            bytes_received=reader.content_bytes,
            records_sent=writer.records,
            records_received=reader.records,
            padding_sent=writer.padding_bytes,
            wire_bytes_sent=self._channel.bytes_sent,
            wire_bytes_received=self._channel.bytes_received,
            key_updates_sent=writer.key_updates,
            key_updates_received=reader.key_updates,
        )

    def __repr__(self) -> str:
        return f"<SecureStream with {self.peer.public_key}, {self.session.suite.name}>"

    # --- for what shapes the traffic of this side (`shaping.py`)

    async def _sent_or_ended(self) -> None:
        """Waits until something was sent, or nothing can be sent any more."""
        if self._shapers is None:
            self._shapers = trio.lowlevel.ParkingLot()
        await self._shapers.park()

    def _wake_shapers(self) -> None:
        if self._shapers is not None:
            self._shapers.unpark_all()

    async def _send_cover(self, size: int = 1) -> None:
        """What looks like `size` bytes and has no content, unless somebody is sending or it would have to wait.
        What goes wrong, the program's own calls will tell."""
        if not self._may_send() or self._channel.would_block() or self._send_turns.taken:
            return
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._send(self._writer.cover, size)

    def _note_cut(self) -> None:
        """What was sent so far is a part of what was to be sent: no clean end may follow, an alert may."""
        self._wire = Wire.SHORT

    # --- what a server looks at (`service/connection.py`)

    def _waits(self) -> bool:
        """Whether a call of the program's waits for the peer: to send something, or to take something."""
        return self._receive_turns.taken or self._send_turns.taken

    def _is_idle(self) -> bool:
        """Whether it waits for the peer to begin something: nothing has come, nothing is being sent."""
        waits = self._receive_turns.taken and not self._send_turns.taken
        return waits and self._receiving is self._sending is Half.OPEN and not self._channel.has_input()

    def _progress(self) -> tuple[int, int, int]:
        """Other than before, if anything of the program's has gone either way meanwhile."""
        going = self._channel.bytes_sent if self._send_turns.taken else 0
        return self._writer.content_bytes, self._reader.content_bytes, going

    # --- what the layer above can't take (`messages.py`)

    def _refuse(self, failure: Callable[[], StreamError]) -> NoReturn:
        """Ends receiving as a bad record does: every later call raises `failure`, and closing tells the peer."""
        self._receiving = Half.BROKEN
        self._failure = failure
        self._answer = Alert(AlertCode.PROTOCOL_ERROR, str(failure()))
        self._plain, self._plain_at, self._later = b"", 0, []
        self._wake_shapers()
        raise self._own(failure())

    # --- between two uses (`service/pool.py`)

    def _is_clean(self) -> bool:
        """Whether the next user finds this stream as the handshake left it.

        What has come while nobody received is opened now, without waiting. Empty records and key updates are none of
        a user's business; content, an end or an alert are, and the stream is not for another one.
        """
        for _ in range(_LOOKS):
            if not (self._is_at_rest() and self._channel.receive_now(self._reader)):
                break
            self._open_records()
        return self._is_at_rest()

    def _is_at_rest(self) -> bool:
        """Whether both directions are open and whole, nobody is in them, and nothing is left to be received, or due."""
        return (
            self._may_send()
            and self._wire is Wire.WHOLE
            and self._receiving is Half.OPEN
            and not self._plain
            and not self._awaited
            and self._reader.is_between_records
            and self._send_turns.idle
            and self._receive_turns.idle
        )

    # --- the handshake's last step (`wrap.py`)

    async def _wait_for_verdict(self) -> None:
        """Raises `HandshakeError` unless the server accepts."""
        while self._reader.accepted is None and self._receiving is Half.OPEN:
            await self._receive_once()
        if self._reader.accepted is None:
            self._check_failure(self._receiving)


_NO_VERDICT = "the server closed the connection in place of an answer"


def flat(data: bytes | bytearray | memoryview) -> memoryview:
    """What a caller wants sent, byte by byte."""
    content = memoryview(data)
    return content if content.format == "B" and content.ndim == 1 else content.cast("B")


# --- what an exception tells the peer ---------------------------------------------------------------


def leaves(exc: BaseException) -> list[BaseException]:
    """The exceptions in a group, or the exception itself."""
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for inner in exc.exceptions for leaf in leaves(inner)]
    return [exc]


def only_cancelled(exc: BaseException) -> bool:
    """Whether nothing but a cancellation is in `exc`."""
    return all(isinstance(leaf, trio.Cancelled) for leaf in leaves(exc))


def is_end_of(exc: BaseException, stream: object) -> bool:
    """Whether `exc` says nothing but that `stream` is at its end, by its peer, the network or an alert of this
    side's. `trio.ClosedResourceError` otherwise is a mistake: somebody uses what he has closed."""
    return isinstance(exc, StreamError | AlertWasSent) and exc.stream is stream


def alert_for(exc: BaseException, stream: object) -> Alert | None:
    """What the peer of `stream` is told when `exc` ends it.

    Exactly one `StreamFailure` gives its code and text. Only cancellations, or only what the end of `stream`
    itself has raised: no alert. Everything else is an internal error, and its text stays here.
    """
    causes = [leaf for leaf in leaves(exc) if not isinstance(leaf, trio.Cancelled)]
    failures = [leaf for leaf in causes if isinstance(leaf, StreamFailure)]
    if len(failures) == 1:
        return failures[0].alert
    if all(is_end_of(leaf, stream) for leaf in causes):
        return None
    return Alert(AlertCode.INTERNAL_ERROR)
