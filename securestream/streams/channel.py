"""What `SecureStream` needs of the stream below it, which is a little more than Trio's interface has.

*To be interrupted*: another task's alert or close must wake whoever is blocked, without closing anything.
*To know what was sent*: when sending ends early, over a socket the unsent rest is known and kept in `unsent`, so
that an alert can still follow it in order. Over another stream it isn't known how much went out: `unsent` is None,
and nothing can follow.
*To read into place*: a socket fills the reader's own buffer; other streams' bytes are copied into it.

`SocketChannel` is for `trio.SocketStream`, `StreamChannel` for every other stream; `TlsChannel` lies between one of
them and a secure stream. All raise
`trio.ClosedResourceError` where they were interrupted or closed, `trio.BrokenResourceError` where the
connection is gone.
"""

from __future__ import annotations

import errno
import os
import select
from typing import TYPE_CHECKING, Protocol, TypeAlias

import trio

from ..protocol.alerts import printable
from ..protocol.records import READ_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.errors import RemoteProtocolError
    from .tls_channel import TlsChannel


class Reader(Protocol):
    """What a channel fills: a `RecordReader`, or TLS."""

    def space(self) -> memoryview: ...
    def filled(self, size: int) -> None: ...
    def feed(self, data: bytes | bytearray) -> None: ...
    def feed_eof(self) -> None: ...
    def fail(self, failure: RemoteProtocolError) -> None: ...


class StreamChannel:
    """Over any `trio.abc.Stream`."""

    __slots__ = ("_receive_scope", "_send_scope", "bytes_received", "bytes_sent", "stream")

    unsent: bytes | None = None  # never known

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream: trio.abc.Stream = stream
        self.bytes_sent: int = 0
        self.bytes_received: int = 0
        self._send_scope = trio.CancelScope()
        self._receive_scope = trio.CancelScope()

    async def put(self, data: bytes | memoryview) -> None:
        """Sends. A checkpoint only where it has to wait."""
        with trio.CancelScope() as self._send_scope:
            await self.stream.send_all(data)
            self.bytes_sent += len(data)
            return
        raise trio.ClosedResourceError("interrupted by another task")

    send = put  # with a checkpoint always, as other streams have theirs
    send_last = put  # what an earlier send has left is not known

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

    async def receive_into(self, reader: Reader) -> int:
        """Feeds the reader with what comes, or with the transport's end; gives the number of bytes."""
        data = await self.receive(READ_SIZE)
        if data:
            reader.feed(data)
        else:
            reader.feed_eof()
        return len(data)

    def has_input(self) -> bool:
        """Whether there surely is something to receive."""
        return False  # who knows

    def can_send_now(self) -> bool:
        """Whether a record can go out without anybody reading at the other end."""
        return False  # who knows

    def would_block(self) -> bool:
        """Whether a record surely has to wait until somebody reads at the other end."""
        return False  # who knows

    def receive_now(self, reader: Reader) -> bool:
        """As `receive_into`, without waiting; whether anything, or the end, had come. Other streams can't be read
        so: what lies in the socket below one is taken for the end."""
        socket_stream = _socket_below(self.stream)
        if socket_stream is None or not SocketChannel(socket_stream).has_input():
            return False  # where there is no socket below, who knows
        reader.feed_eof()
        return True

    async def send_eof(self) -> None:
        """Half-closes the transport where it can."""
        if isinstance(self.stream, trio.abc.HalfCloseableStream):
            await self.stream.send_eof()

    def interrupt_receive(self) -> None:
        self._receive_scope.cancel()

    def interrupt_send(self) -> None:
        self._send_scope.cancel()

    def interrupt_send_between_writes(self) -> None:
        """Wakes a sender where what it was sending can go on afterwards; here it can't."""


class SocketChannel:
    """Over a `trio.SocketStream`: reads and writes its file descriptor, so it knows what was sent.

    Waits first and reads then: data that is awaited is seldom there already, and no buffer is held while waiting.
    """

    __slots__ = ("_interrupted", "_socket", "bytes_received", "bytes_sent", "stream", "unsent")

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream: trio.SocketStream = stream
        self._socket = stream.socket
        self._interrupted = False
        self.unsent: bytes | None = b""
        self.bytes_sent: int = 0
        self.bytes_received: int = 0

    async def put(self, data: bytes | memoryview) -> None:
        """Sends. A checkpoint only where it has to wait."""
        size, sent = len(data), 0
        self._interrupted = False
        try:
            while sent < size:
                try:
                    written = os.write(self._socket.fileno(), memoryview(data)[sent:] if sent else data)
                    sent += written
                    self.bytes_sent += written  # as it goes: who watches sees whether the peer takes anything
                except BlockingIOError:
                    await self._wait_for_room()
            self.unsent = b""
        except BaseException as exc:
            self.unsent = bytes(memoryview(data)[sent:])
            if isinstance(exc, OSError):
                raise _stream_error(exc) from exc
            raise

    async def send(self, data: bytes | memoryview) -> None:
        """Sends, with a checkpoint always."""
        await self.put(data)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def send_last(self, data: bytes | memoryview) -> None:
        """Sends what an earlier send has left, and then this, after which nothing is sent."""
        await self.send((self.unsent or b"") + bytes(data))

    async def _wait_for_room(self) -> None:
        await trio.lowlevel.wait_writable(self._socket.fileno())
        if self._interrupted:  # when there was room already, and nobody waiting to be woken
            raise trio.ClosedResourceError("interrupted by another task")

    async def wait_writable(self) -> None:
        await trio.lowlevel.wait_writable(self._descriptor())

    def _descriptor(self) -> int:
        """Asked for each time: it may have been closed meanwhile, and its number be another's."""
        if (descriptor := self._socket.fileno()) < 0:
            raise trio.ClosedResourceError(_CLOSED)
        return descriptor

    async def receive(self, max_bytes: int) -> bytes:
        while True:
            await trio.lowlevel.wait_readable(self._descriptor())
            try:
                data = os.read(self._socket.fileno(), max_bytes)
            except BlockingIOError:
                continue
            except OSError as exc:
                raise _stream_error(exc) from exc
            self.bytes_received += len(data)
            return data

    async def receive_into(self, reader: Reader) -> int:
        """Feeds the reader with what comes, or with the transport's end; gives the number of bytes."""
        while True:
            await trio.lowlevel.wait_readable(self._descriptor())
            try:
                return self._read_into(reader)
            except BlockingIOError:
                continue
            except OSError as exc:
                raise _stream_error(exc) from exc

    def _read_into(self, reader: Reader) -> int:
        size = os.readv(self._socket.fileno(), (reader.space(),))
        self.bytes_received += size
        if size:
            reader.filled(size)
        else:
            reader.feed_eof()
        return size

    def receive_now(self, reader: Reader) -> bool:
        """As `receive_into`, without waiting; whether anything, or the end, had come."""
        if self._socket.fileno() >= 0 and not self.has_input():
            return False
        try:
            self._read_into(reader)
        except BlockingIOError:
            return False
        except OSError:
            reader.feed_eof()
        return True

    def has_input(self) -> bool:
        """Whether there surely is something to receive."""
        return self._is_ready(select.POLLIN)

    def can_send_now(self) -> bool:
        """Whether a record can go out without anybody reading at the other end."""
        return self._is_ready(select.POLLOUT)

    def _is_ready(self, direction: int) -> bool:
        if self._socket.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(self._socket.fileno(), direction)
        return bool(poll.poll(0))

    def would_block(self) -> bool:
        """Whether a record surely has to wait until somebody reads at the other end."""
        return not self.can_send_now()

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


TransportChannel = StreamChannel | SocketChannel
Channel: TypeAlias = "StreamChannel | SocketChannel | TlsChannel"

_CLOSED = "this socket was already closed"


def channel_over(stream: trio.abc.Stream) -> TransportChannel:
    """The channel for this transport. Where sockets are no file descriptors, they are streams like others."""
    if isinstance(stream, trio.SocketStream) and hasattr(os, "readv"):
        return SocketChannel(stream)
    return StreamChannel(stream)


def _stream_error(exc: OSError) -> Exception:
    if exc.errno in (errno.EBADF, errno.ENOTSOCK):
        return trio.ClosedResourceError(_CLOSED)
    return trio.BrokenResourceError(f"the connection is broken: {exc.strerror or exc}")


def _socket_below(stream: object) -> trio.SocketStream | None:
    """The socket that a stream is over, if it is over one and tells."""
    while stream is not None and not isinstance(stream, trio.SocketStream):
        stream = getattr(stream, "transport_stream", None)
    return stream


def has_left(stream: trio.abc.Stream) -> bool:
    """Whether a stream's peer has reset the connection before anybody looked: then even its address is gone."""
    bottom = _socket_below(stream)
    if bottom is None:
        return False
    try:
        bottom.socket.getpeername()
    except OSError as exc:
        return exc.errno == errno.ENOTCONN
    return False


def address_of(stream: trio.abc.Stream) -> str:
    """Where a stream's peer is, as printable text; "" where the transport doesn't tell."""
    # Clients of Unix sockets have no name as a rule: then it is the server's path that says where it comes from.
    return _address(stream, lambda socket: socket.getpeername() or socket.getsockname())


def own_address_of(stream: trio.abc.Stream) -> str:
    """Where its near end is, of the same kind."""
    return _address(stream, lambda socket: socket.getsockname())


def _address(stream: trio.abc.Stream, name_of: Callable[[trio.socket.SocketType], object]) -> str:
    bottom = _socket_below(stream)
    if bottom is None:
        return ""
    try:
        name = name_of(bottom.socket)
    except OSError:
        return ""
    if isinstance(name, tuple) and isinstance(name[0], str):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    # A path that the peer chose: it must not pass for an IP address and port.
    return f"unix:{printable(name)}" if name and isinstance(name, str) else ""
