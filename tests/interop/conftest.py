"""Other libraries over secure streams: real packages, over sockets and in memory."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss

from ..streams.support import PATIENCE, matching_configs
from ..streams.transports import reset

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Stream = ss.SecureStream[trio.SocketStream]
    Handler = Callable[[Stream], Awaitable[object]]


class Served:
    """A server on loopback, its port, and a client's configuration."""

    def __init__(self, port: int, client: ss.ClientConfig) -> None:
        self.port = port
        self.client = client

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Stream]:
        stream = await ss.open_secure_tcp_stream("127.0.0.1", self.port, self.client)
        async with stream:
            yield stream


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[Served]:
    client, server = matching_configs()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(ss.serve_secure_tcp, host="127.0.0.1"), handler, 0, server)
            yield Served(listener.socket.getsockname()[1], client)
            nursery.cancel_scope.cancel()


async def cut(stream: Stream) -> None:
    """Resets the connection below, as a server that is killed does."""
    reset(stream.transport_stream)


@pytest.fixture(params=["alert", "cut"])
def mishap(request: pytest.FixtureRequest) -> Callable[[Stream], Awaitable[None]]:
    """How a server's stream ends in its middle: by an alert, or without a word."""

    async def alert(stream: Stream) -> None:
        raise ss.StreamFailure(5_001, "the backend went away")

    return alert if request.param == "alert" else cut
