"""Transports for tests: real ones, and fakes that do what real ones seldom do."""

from __future__ import annotations

import contextlib
import os
import ssl
import struct

import trio
import trio.testing
import trustme

Transports = tuple[trio.abc.Stream, trio.abc.Stream]
HalfCloseablePair = tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]


async def memory_pair() -> HalfCloseablePair:
    """Takes everything at once, and tells nobody how much it has sent."""
    return trio.testing.memory_stream_pair()


async def lockstep_pair() -> HalfCloseablePair:
    """Takes nothing before somebody receives it."""
    return trio.testing.lockstep_stream_pair()


async def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two sockets without a network between them: what one sends is there for the other at once, so that a
    clock that jumps is safe with them."""
    near, far = trio.socket.socketpair()
    return _remembered(trio.SocketStream(near), trio.SocketStream(far))


async def small_socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Sockets that take a few small records and then no more."""
    near, far = await socket_pair()
    near.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 4_096)
    return near, far


async def tcp_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Real TCP, with its resets."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listeners[0] as listener:
        near = await trio.testing.open_stream_to_socket_listener(listener)
        return _remembered(near, await listener.accept())


def fill(stream: trio.SocketStream) -> None:
    """Sends b"x" until not a byte more can leave it before the other end receives."""
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(stream.socket.fileno(), b"x" * 100)


def reset(stream: trio.SocketStream) -> None:
    """Closes it with a TCP reset."""
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


_made: list[trio.SocketStream] = []


def _remembered(*streams: trio.SocketStream) -> tuple[trio.SocketStream, trio.SocketStream]:
    _made.extend(streams)
    near, far = streams
    return near, far


def close_sockets() -> None:
    """Closes what a test has left open."""
    for stream in _made:
        if (descriptor := stream.socket.detach()) >= 0:
            os.close(descriptor)
    _made.clear()


class Tls:
    """TLS over any two transports."""

    def __init__(self) -> None:
        authority = trustme.CA()
        self._client = ssl.create_default_context()
        self._server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.configure_trust(self._client)
        authority.issue_cert("localhost").configure_cert(self._server)

    def over(
        self, near: trio.abc.Stream, far: trio.abc.Stream
    ) -> tuple[trio.SSLStream[trio.abc.Stream], trio.SSLStream[trio.abc.Stream]]:
        return (
            trio.SSLStream(near, self._client, server_hostname="localhost"),
            trio.SSLStream(far, self._server, server_side=True),
        )


class Tap(trio.abc.HalfCloseableStream):
    """A transport that remembers what went out through it and when, and what was asked of it."""

    def __init__(self, inner: trio.abc.HalfCloseableStream) -> None:
        self.inner = inner
        self.sends: list[bytes] = []
        self.times: list[float] = []  # of each of them
        self.receives = 0

    @property
    def sent(self) -> bytes:
        return b"".join(self.sends)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sends.append(bytes(data))
        self.times.append(trio.current_time())
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self.receives += 1
        return await self.inner.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self.inner.send_eof()

    async def aclose(self) -> None:
        await self.inner.aclose()


class WithoutHalfClose(trio.abc.Stream):
    """A transport as TLS is: it can end both directions or none."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self._inner = inner

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._inner.aclose()
