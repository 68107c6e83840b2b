"""trio-websocket over secure streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio_websocket

from examples.with_websocket import echo, websocket_over

from .conftest import cut, served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import securestream as ss

    Stream = ss.SecureStream[trio.SocketStream]
    Mishap = Callable[[Stream], Awaitable[None]]


async def test_messages_go_both_ways_whatever_their_size() -> None:
    async with (
        served(echo) as server,
        server.connect() as stream,
        websocket_over(stream, "orders.example", "/") as socket,
    ):
        for message in ("", "grüß gott", b"", bytes(range(256)) * 3_000):
            await socket.send_message(message)
            assert await socket.get_message() == message


async def test_closing_in_order_is_code_1000() -> None:
    async with served(echo) as server, server.connect() as stream:
        async with websocket_over(stream, "orders.example", "/") as socket:
            await socket.aclose()
        assert socket.closed is not None
        assert socket.closed.code == 1000


async def test_a_stream_that_ends_in_its_middle_is_an_abnormal_closure(mishap: Mishap) -> None:
    async def fail_after_one(stream: Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            socket = await request.accept()
            await socket.send_message("one")
            nursery.cancel_scope.cancel()
        await mishap(stream)

    async with (
        served(fail_after_one) as server,
        server.connect() as stream,
        websocket_over(stream, "here", "/") as socket,
    ):
        assert await socket.get_message() == "one"
        with pytest.raises(trio_websocket.ConnectionClosed) as closed:
            await socket.get_message()
        assert closed.value.reason is not None
        assert closed.value.reason.code == 1006


async def test_a_client_that_is_cut_ends_the_server_s_handler_and_no_other() -> None:
    ended: list[bool] = []

    async def watched(stream: Stream) -> None:
        await echo(stream)
        ended.append(True)

    async with served(watched) as server, server.connect() as other, websocket_over(other, "here", "/") as alive:
        async with server.connect() as stream, websocket_over(stream, "here", "/") as socket:
            await cut(stream)
            with pytest.raises(trio_websocket.ConnectionClosed):
                await socket.get_message()
        await alive.send_message("still here")
        assert await alive.get_message() == "still here"
        assert ended == [True]
