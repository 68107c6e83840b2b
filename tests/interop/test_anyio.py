"""AnyIO's stream helpers over secure streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
import trio
from anyio.streams.buffered import BufferedByteReceiveStream, BufferedByteStream
from anyio.streams.text import TextReceiveStream, TextStream

import securestream as ss
from examples.with_anyio import SecureByteStream, answer_lines
from securestream.testing import secure_memory_stream_pair

from .conftest import cut, served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Stream = ss.SecureStream[trio.SocketStream]
    Mishap = Callable[[Stream], Awaitable[None]]


async def test_lines_are_received_however_they_were_cut_into_records() -> None:
    async with served(answer_lines) as server, server.connect() as stream:
        lines = BufferedByteStream(SecureByteStream(stream))
        for piece in (b"o", b"ne\ntw", b"o\n"):
            await lines.send(piece)
        assert await lines.receive_until(b"\n", 100) == b"ONE"
        assert await lines.receive_exactly(4) == b"TWO\n"


async def test_text_is_decoded_across_records() -> None:
    near, far = await secure_memory_stream_pair()
    async with TextStream(SecureByteStream(near)) as text, far:
        for byte in "grüß gott".encode():
            await far.send_all(bytes([byte]))
        await far.send_eof()
        assert "".join([part async for part in text]) == "grüß gott"


async def test_an_end_is_anyio_s_end_and_half_a_line_is_incomplete() -> None:
    near, far = await secure_memory_stream_pair()
    async with near, far:
        await far.send_all(b"half a line")
        await far.send_eof()
        with pytest.raises(anyio.IncompleteRead):
            await BufferedByteReceiveStream(SecureByteStream(near)).receive_until(b"\n", 100)
        with pytest.raises(anyio.EndOfStream):
            await SecureByteStream(near).receive()


async def test_a_stream_that_ends_in_its_middle_is_broken_and_not_at_its_end(mishap: Mishap) -> None:
    async def half(stream: Stream) -> None:
        await stream.send_all(b"half")
        await mishap(stream)

    async with served(half) as server, server.connect() as stream:
        text = TextReceiveStream(SecureByteStream(stream))
        received = ""
        with pytest.raises(anyio.BrokenResourceError) as broken:
            async for part in text:
                received += part
        assert received in ("half", "")  # a reset may take back what was not read yet
        assert isinstance(broken.value.__cause__, ss.StreamError)


async def test_its_errors_are_anyio_s() -> None:
    near, far = await secure_memory_stream_pair()
    stream = SecureByteStream(near)
    async with far, trio.open_nursery() as nursery:
        nursery.start_soon(near.receive_some)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await stream.receive()
        nursery.cancel_scope.cancel()
    await stream.aclose()
    for attempt in (stream.receive(), stream.send(b"x"), stream.send_eof()):
        with pytest.raises(anyio.ClosedResourceError):
            await attempt


async def test_cancelled_by_anyio_it_loses_nothing() -> None:
    near, far = await secure_memory_stream_pair()
    async with near, far:
        with anyio.move_on_after(0.01) as scope:
            await SecureByteStream(near).receive()
        assert scope.cancelled_caught
        await far.send_all(b"hello")
        assert await SecureByteStream(near).receive() == b"hello"


async def test_a_server_goes_on_when_one_of_its_clients_is_cut() -> None:
    async with served(answer_lines) as server, server.connect() as other:
        async with server.connect() as stream:
            await stream.send_all(b"half")
            await cut(stream)
        await other.send_all(b"hello\n")
        assert await other.receive_some() == b"HELLO\n"
