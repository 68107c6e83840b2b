"""Two streams made one: what a tunnel and a router are built from.

    async with stream, cut_on_error(target):
        await relay(stream, target)

An end is passed on as an end, and nothing else is. A secure stream that breaks, by an alert, a cut or a forged record,
resets the TCP connection behind it; a TCP connection that is reset becomes an alert on the secure stream. So who reads
to the end, on either side, has all of it or an error.

The work is shared: `relay` copies, and says by what it raises who broke; the blocks around it end each stream as that
demands. `async with stream` of a secure stream does so by itself, `cut_on_error` does it for other streams.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import trio

from ..protocol.alerts import AlertCode
from ..protocol.codes import FIRST_OF_APPLICATION, is_named
from ..streams.errors import PeerAlert, StreamFailure
from ..streams.secure import SecureStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

T_Stream = TypeVar("T_Stream", bound=trio.abc.Stream)

_CHUNK = 65_536
_RECORDS_AT_ONCE = 8
# Before a reset: how long the peer's system may take for what was sent before, and how often that is looked at.
_DELIVERY_SECONDS = 1.0
_LOOK_SECONDS = 0.005
_TCP = (socket.AF_INET, socket.AF_INET6)


# --- copying ----------------------------------------------------------------------------------------


async def relay(
    one: trio.abc.HalfCloseableStream, other: trio.abc.HalfCloseableStream, *, look_every: float = math.inf
) -> None:
    """Copies what either stream receives to the other, until both have ended. Half-close is kept.

    At most one chunk a direction is held, 131 KB or less: who doesn't read holds up who sends.

    Where one of them breaks it raises, once what came before was passed on: `StreamFailure` where the other one is a
    secure stream, with the alert that its peer is to get; otherwise the `trio.BrokenResourceError` of the one that
    broke. To take no more is to break, too: an end that follows is not passed on.

    Who has ended and gone altogether can't be told from who has ended and listens on, unless it is sent something. With
    `look_every`, seconds, the system is asked that often (on Linux): it knows where the connection has been reset, or
    keep-alives (tcp(7)) went unanswered. Then there is nothing to wait for, and both directions are over.

    Closes neither stream; left by an exception, both are in the middle and to be cut off.
    """
    directions = _Relay(look_every)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(directions.carry, one, other, nursery.cancel_scope)
        nursery.start_soon(directions.carry, other, one, nursery.cancel_scope)
    directions.check()


@dataclass(frozen=True)
class _Break:
    """A stream that broke, why, and the other one, which is to be told."""

    stream: trio.abc.Stream
    why: trio.BrokenResourceError
    other: trio.abc.Stream


class _Relay:
    """Both directions, and the first break of each kind: in receiving, and in sending."""

    def __init__(self, look_every: float) -> None:
        self._look_every = look_every
        self._under_way = 2
        self._broken: _Break | None = None
        self._undelivered: _Break | None = None

    async def carry(
        self, source: trio.abc.HalfCloseableStream, sink: trio.abc.HalfCloseableStream, both: trio.CancelScope
    ) -> None:
        """One direction, and then for as long as `source` is there for the other one."""
        await self._copy(source, sink, both)
        self._under_way -= 1
        if self._under_way:
            await _until_gone(source, self._look_every)
        both.cancel()

    async def _copy(
        self, source: trio.abc.HalfCloseableStream, sink: trio.abc.HalfCloseableStream, both: trio.CancelScope
    ) -> None:
        """One direction, until its end or until a stream is broken."""
        size = _RECORDS_AT_ONCE * sink.record_capacity if isinstance(sink, SecureStream) else _CHUNK
        receiving = True
        try:
            while data := await source.receive_some(size):
                receiving = False
                await sink.send_all(data)
                receiving = True
            if not self._has_refused(source):
                receiving = False
                await sink.send_eof()
        except trio.BrokenResourceError as exc:
            if receiving:
                self._broken = self._broken or _Break(source, exc, sink)
                both.cancel()
            else:  # the sink may have sent its whole answer, or its reason, before: the other direction finds it
                self._undelivered = self._undelivered or _Break(sink, exc, source)

    def _has_refused(self, source: trio.abc.Stream) -> bool:
        """Whether `source` did not take what was sent to it. Then its end is none: Linux reports a reset once, to the
        send that met it, and tells whoever receives afterwards that the stream has ended."""
        return self._undelivered is not None and self._undelivered.stream is source

    def check(self) -> None:
        """Raises what is to be known of what broke."""
        found = self._broken or self._undelivered
        if found is not None:
            if isinstance(found.other, SecureStream):
                raise _as_alert(found.why) from found.why
            raise found.why


def _as_alert(exc: trio.BrokenResourceError) -> StreamFailure:
    """What the peer of a secure stream may know of the stream beyond: its alert, if it was one."""
    if isinstance(exc, PeerAlert):
        code = exc.alert.code
        passed_on = is_named(code) or code >= FIRST_OF_APPLICATION
        return StreamFailure(code if passed_on else AlertCode.APPLICATION_ERROR, exc.alert.message)
    return StreamFailure(AlertCode.APPLICATION_ERROR, "the connection beyond this one broke")


# --- ending -----------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def cut_on_error(stream: T_Stream) -> AsyncIterator[T_Stream]:
    """Closes `stream`: in order, or, where the block is left by an exception or cancelled, by `cut`.

    Within the block a TCP connection is set to be reset whenever it is closed, so that a program that is killed leaves
    no end behind either.
    """
    try:
        _reset_on_close(stream, True)
        yield stream
        _reset_on_close(stream, False)
    except BaseException:
        await cut(stream)
        raise
    await stream.aclose()


async def cut(stream: trio.abc.Stream) -> None:
    """Closes `stream` so that its peer sees an error and no end, where the transport has such a thing: TCP resets.

    What was sent before is given a second to arrive, unless this is cancelled. Who is at the other end of a Unix
    socket sees an end: it knows no reset.
    """
    try:
        with trio.move_on_after(_DELIVERY_SECONDS):
            while _is_undelivered(stream):  # noqa: ASYNC110 - the kernel has no event for it
                await trio.sleep(_LOOK_SECONDS)
    finally:
        _reset_on_close(stream, True)
        await trio.aclose_forcefully(stream)


def _tcp_socket(stream: trio.abc.Stream) -> trio.socket.SocketType | None:
    """Its socket, unless it is closed."""
    if isinstance(stream, trio.SocketStream) and stream.socket.family in _TCP and stream.socket.fileno() >= 0:
        return stream.socket
    return None


def _reset_on_close(stream: trio.abc.Stream, on: bool) -> None:
    if (tcp := _tcp_socket(stream)) is not None:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", on, 0))


async def _until_gone(stream: trio.abc.Stream, look_every: float) -> None:
    await trio.sleep(look_every)
    while not _is_gone(stream):  # noqa: ASYNC110 - the kernel's event for it comes at once, for the end
        await trio.sleep(look_every)


def _is_gone(stream: trio.abc.Stream) -> bool:
    """Whether a socket whose other end has ended takes nothing any more either. False where nobody knows."""
    if not isinstance(stream, trio.SocketStream) or sys.platform != "linux":
        return False
    poll = select.poll()
    poll.register(stream.socket.fileno(), 0)  # POLLERR and POLLHUP are told unasked: poll(2)
    return bool(poll.poll(0))


def _is_undelivered(stream: trio.abc.Stream) -> bool:
    """Whether the peer's system has not acknowledged all that was sent (tcp(7), SIOCOUTQ). False where nobody knows."""
    tcp = _tcp_socket(stream)
    if tcp is None or sys.platform != "linux":
        return False
    from fcntl import ioctl
    from termios import TIOCOUTQ

    return int.from_bytes(ioctl(tcp.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder) > 0
