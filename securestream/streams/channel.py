"""What `SecureStream` needs of the stream below it, which is a little more than Trio's interface has.

*To be interrupted*: another task's alert or close must wake whoever is blocked, without closing anything.
*To know what was sent*: when sending ends early, over a socket the unsent rest is known and kept, so that an
alert can still follow it in order. Over any other stream it isn't known how much went out, and nothing can follow.

*To count what goes through*, for statistics.

`SocketChannel` is for `trio.SocketStream`, `StreamChannel` for every other stream. Both raise
`trio.ClosedResourceError` where they were interrupted or closed, `trio.BrokenResourceError` where the
connection is gone.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, TypeVar

import trio

from ..protocol.alerts import printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class StreamChannel:
    """Over any `trio.abc.Stream`."""

    __slots__ = ("_receive_scope", "_send_scope", "bytes_received", "bytes_sent", "stream")

    unsent: bytes | None = None  # never known

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._send_scope: trio.CancelScope | None = None
        self._receive_scope: trio.CancelScope | None = None
        self.bytes_sent = self.bytes_received = 0

    async def send(self, data: bytes | memoryview) -> None:
        with trio.CancelScope() as self._send_scope:
            await self.stream.send_all(data)
            self.bytes_sent += len(data)
            return
        raise trio.ClosedResourceError("interrupted by another task")

    async def wait_writable(self) -> None:
        with trio.CancelScope() as self._send_scope:
            return await self.stream.wait_send_all_might_not_block()
        raise trio.ClosedResourceError("interrupted by another task")

    async def receive(self, max_bytes: int) -> bytes | bytearray:
        with trio.CancelScope() as self._receive_scope:
            data = await self.stream.receive_some(max_bytes)
            self.bytes_received += len(data)
            return data
        raise trio.ClosedResourceError("interrupted by another task")

    async def send_eof(self) -> None:
        """Half-closes the transport where it can."""
        if isinstance(self.stream, trio.abc.HalfCloseableStream):
            await self.stream.send_eof()

    def interrupt_receive(self) -> None:
        if self._receive_scope is not None:
            self._receive_scope.cancel()

    def interrupt_send(self) -> None:
        if self._send_scope is not None:
            self._send_scope.cancel()

    def interrupt_send_between_writes(self) -> None:
        """Wakes a sender where what it was sending can go on afterwards; here it can't."""


class SocketChannel:
    """Over a `trio.SocketStream`: talks to the socket, so it knows what was sent."""

    __slots__ = ("_interrupted", "_socket", "bytes_received", "bytes_sent", "stream", "unsent")

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._socket = stream.socket
        self._interrupted = False
        self.unsent: bytes | None = b""
        self.bytes_sent = self.bytes_received = 0

    async def send(self, data: bytes | memoryview) -> None:
        self._interrupted = False
        sent = 0
        view = memoryview(data)
        try:
            while sent < len(view):
                self._check_interrupted()
                sent += await self._socket.send(view[sent:] if sent else view)
        except BaseException as exc:
            self.unsent = bytes(view[sent:])
            if isinstance(exc, OSError):
                raise _stream_error(exc) from exc
            raise
        finally:
            self.bytes_sent += sent

    def _check_interrupted(self) -> None:
        # Between two writes nobody is blocked, so there is nobody to be woken.
        if self._interrupted:
            raise trio.ClosedResourceError("interrupted by another task")

    async def wait_writable(self) -> None:
        await _translated(self._socket.wait_writable)

    async def receive(self, max_bytes: int) -> bytes:
        try:
            data = await self._socket.recv(max_bytes)
        except OSError as exc:
            raise _stream_error(exc) from exc
        self.bytes_received += len(data)
        return data

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    def interrupt_receive(self) -> None:
        # Despite its name this only wakes whoever waits on the socket, in either direction.
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket.fileno())

    def interrupt_send(self) -> None:
        self._interrupted = True
        self.interrupt_receive()

    interrupt_send_between_writes = interrupt_send


Channel = StreamChannel | SocketChannel


def channel_over(stream: trio.abc.Stream) -> Channel:
    """The channel for this transport."""
    return SocketChannel(stream) if isinstance(stream, trio.SocketStream) else StreamChannel(stream)


async def _translated(function: Callable[[], Awaitable[T]]) -> T:
    try:
        return await function()
    except OSError as exc:
        raise _stream_error(exc) from exc


def _stream_error(exc: OSError) -> Exception:
    if exc.errno in (errno.EBADF, errno.ENOTSOCK):
        return trio.ClosedResourceError("this socket was already closed")
    return trio.BrokenResourceError(f"the connection is broken: {exc.strerror or exc}")


def address_of(stream: trio.abc.Stream) -> str:
    """Where a stream's peer is, as printable text; "" where the transport doesn't tell."""
    if not isinstance(stream, trio.SocketStream):
        inner = getattr(stream, "transport_stream", None)
        return address_of(inner) if isinstance(inner, trio.abc.Stream) else ""
    try:
        name = stream.socket.getpeername()
    except OSError:
        return ""
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return printable(name) if isinstance(name, str) else ""  # a path that the peer chose
