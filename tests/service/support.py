"""What the tests of the service share: a listener in memory, and a server behind it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio
import trio.testing

import securestream as ss

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[ss.SecureStream[trio.abc.Stream]], Awaitable[object]]


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener that programs connect to without a network."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](1_000)

    async def connect(self) -> trio.abc.HalfCloseableStream:
        near, far = trio.testing.memory_stream_pair()
        await self.deliver(far)
        return near

    async def deliver(self, transport: trio.abc.Stream) -> None:
        """Has it accepted."""
        await self._send.send(transport)

    async def accept(self) -> trio.abc.Stream:
        return await self._receive.receive()

    async def aclose(self) -> None:
        await self._receive.aclose()


class Server:
    """A server in memory, and how to get a stream to it."""

    def __init__(self, listener: MemoryListener, nursery: trio.Nursery) -> None:
        self.listener = listener
        self.nursery = nursery

    async def connect(self, client: ss.ClientConfig) -> ss.SecureStream[trio.abc.HalfCloseableStream]:
        return await ss.wrap_client(await self.listener.connect(), client)


@asynccontextmanager
async def serving(
    handler: Handler,
    config: ss.ServerConfig,
    handler_nursery: trio.Nursery | None = None,
    drain: ss.Drain | None = None,
) -> AsyncIterator[Server]:
    """Serves meanwhile."""
    listener = MemoryListener()
    serve = partial(
        ss.serve_secure_listeners, handler, [listener], config, handler_nursery=handler_nursery, drain=drain
    )
    async with trio.open_nursery() as nursery:
        assert await nursery.start(serve) == [listener]
        yield Server(listener, nursery)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving_tcp(
    handler: Callable[[ss.SecureStream[trio.SocketStream]], Awaitable[object]], config: ss.ServerConfig
) -> AsyncIterator[int]:
    """Serves on a TCP port of 127.0.0.1, and gives its number."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(ss.serve_secure_tcp, handler, 0, config, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def shout(stream: ss.SecureStream[trio.abc.Stream]) -> None:
    """The handler that the tests serve when it doesn't matter."""
    async for chunk in stream:
        await stream.send_all(chunk.upper())


async def ask(stream: ss.SecureStream[trio.abc.Stream]) -> bytes:
    """One question to `shout`, and its answer."""
    await stream.send_all(b"hello")
    return await stream.receive_some()
