"""WebSockets over secure streams, with trio-websocket.

python examples/with_websocket.py    (needs trio-websocket)
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, cast

import trio
import trio_websocket

import securestream as ss

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    Stream = ss.SecureStream[trio.SocketStream]


async def echo(stream: Stream) -> None:
    """A handler for `serve_secure_tcp`: sends each message back."""
    async with trio.open_nursery() as nursery:
        request = await trio_websocket.wrap_server_stream(nursery, stream)
        async with await request.accept() as socket:
            try:
                while True:
                    await socket.send_message(await socket.get_message())
            except trio_websocket.ConnectionClosed:
                pass  # by the client in order, or because the stream broke


@asynccontextmanager
async def websocket_over(stream: Stream, host: str, path: str) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    """The client's end. Inside, whatever breaks the stream is `ConnectionClosed`, with code 1006."""
    async with trio.open_nursery() as nursery:
        transport = cast("trio.SocketStream", stream)  # so say its types; its documentation takes any Trio stream
        connecting = trio_websocket.wrap_client_stream(nursery, transport, host, path)
        async with await connecting as socket:
            yield socket


async def main() -> None:
    server = ss.ServerConfig(key=ss.PrivateKey.generate(), authorize=ss.ANYONE)
    client = ss.ClientConfig(server_key=server.key.public_key)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(ss.serve_secure_tcp, host="127.0.0.1"), echo, 0, server)
        stream = await ss.open_secure_tcp_stream("127.0.0.1", listener.socket.getsockname()[1], client)
        async with stream, websocket_over(stream, "orders.example", "/") as socket:
            for message in ("hello", b"\0\1\2"):
                await socket.send_message(message)
                print(await socket.get_message())
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
