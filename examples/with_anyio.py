"""AnyIO's stream helpers over secure streams: texts, lines, exact sizes.

python examples/with_anyio.py    (needs anyio; it runs on AnyIO's Trio backend)

AnyIO's streams are like Trio's and not the same: an end is the exception `EndOfStream`. Twenty lines stand between.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import trio
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.text import TextStream

import securestream as ss

if TYPE_CHECKING:
    from collections.abc import Iterator


class SecureByteStream(anyio.abc.ByteStream):
    """A secure stream, or any Trio stream that can be half-closed, as AnyIO's."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._stream = stream

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        with translated():
            data = await self._stream.receive_some(max_bytes)
        if not data:
            raise anyio.EndOfStream
        return bytes(data)

    async def send(self, item: bytes) -> None:
        with translated():
            await self._stream.send_all(item)

    async def send_eof(self) -> None:
        with translated():
            await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


@contextmanager
def translated() -> Iterator[None]:
    """A cut stream is `BrokenResourceError`, with the reason as its cause, and never `EndOfStream`."""
    try:
        yield
    except trio.BrokenResourceError as exc:
        raise anyio.BrokenResourceError from exc
    except trio.ClosedResourceError as exc:
        raise anyio.ClosedResourceError from exc
    except trio.BusyResourceError as exc:
        raise anyio.BusyResourceError("using") from exc


async def answer_lines(stream: ss.SecureStream[trio.SocketStream]) -> None:
    """A handler for `serve_secure_tcp`: a line for each line."""
    lines = BufferedByteReceiveStream(SecureByteStream(stream))
    try:
        while True:
            await stream.send_all((await lines.receive_until(b"\n", 1_000)).upper() + b"\n")
    except anyio.IncompleteRead:
        pass  # the client's own end; one that was cut is BrokenResourceError


async def main() -> None:
    server = ss.ServerConfig(key=ss.PrivateKey.generate(), authorize=ss.ANYONE)
    client = ss.ClientConfig(server_key=server.key.public_key)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(ss.serve_secure_tcp, host="127.0.0.1"), answer_lines, 0, server)
        stream = await ss.open_secure_tcp_stream("127.0.0.1", listener.socket.getsockname()[1], client)
        async with TextStream(SecureByteStream(stream)) as text:
            await text.send("grüß gott\n")
            print(await text.receive(), end="")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
