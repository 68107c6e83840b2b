"""HTTP over secure streams: h11 under httpcore and Hypercorn."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import h11
import httpcore
import hypercorn
import pytest
import trio
import trio.testing

import securestream as ss
from examples.with_http import SecureBackend, SecureNetworkStream, hello, serve_app
from securestream.testing import secure_memory_stream_pair

from ..streams.support import PATIENCE, failure_of
from .conftest import Served, cut, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

    Stream = ss.SecureStream[trio.SocketStream]
    Mishap = Callable[[Stream], Awaitable[None]]


@asynccontextmanager
async def pool_of(server: Served) -> AsyncIterator[httpcore.AsyncConnectionPool]:
    async with httpcore.AsyncConnectionPool(network_backend=SecureBackend(server.client)) as pool:
        yield pool


app = partial(serve_app, app=hello, config=hypercorn.Config())


async def test_hypercorn_serves_its_application_to_httpcore() -> None:
    async with served(app) as server, pool_of(server) as pool:
        body = bytes(range(256)) * 5_000  # many records
        answer = await pool.request("POST", f"http://127.0.0.1:{server.port}/", content=body)
        assert (answer.status, answer.content) == (200, body)
        assert server.client.key is not None
        assert dict(answer.headers)[b"x-client"].decode() == str(server.client.key.public_key)


async def test_one_stream_carries_many_requests() -> None:
    handshakes = 0

    async def counted(stream: Stream) -> None:
        nonlocal handshakes
        handshakes += 1
        await app(stream)

    async with served(counted) as server, pool_of(server) as pool:
        for _ in range(5):
            await pool.request("GET", f"http://127.0.0.1:{server.port}/")
    assert handshakes == 1


async def answer_until_closed(stream: Stream, half: bytes, mishap: Mishap | None) -> None:
    """An answer as of HTTP/1.0: the end of the connection is the end of its body, and nothing else tells."""
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + half)
    if mishap is not None:
        await mishap(stream)


async def test_a_body_without_a_length_ends_with_the_stream_s_own_end() -> None:
    async with served(partial(answer_until_closed, half=b"all of it", mishap=None)) as server, pool_of(server) as pool:
        assert (await pool.request("GET", f"http://127.0.0.1:{server.port}/")).content == b"all of it"


async def test_half_a_body_is_never_taken_for_a_whole_one(mishap: Mishap) -> None:
    """Over plain TCP the same cut would be a success, with a short body."""
    async with served(partial(answer_until_closed, half=b"half", mishap=mishap)) as server, pool_of(server) as pool:
        with pytest.raises(httpcore.ReadError):
            await pool.request("GET", f"http://127.0.0.1:{server.port}/")


async def test_half_a_question_is_no_question_for_the_application() -> None:
    events: list[str] = []
    over = trio.Event()

    async def listen(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        while not events or events[-1] != "http.disconnect":
            event = await receive()
            assert event["type"] != "http.request" or event["more_body"]
            events.append(event["type"])
        over.set()

    handler = partial(serve_app, app=listen, config=hypercorn.Config())
    async with served(handler) as server, server.connect() as stream:
        await stream.send_all(b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 100\r\n\r\nhalf")
        await trio.testing.wait_all_tasks_blocked(0.01)
        await cut(stream)
        await over.wait()
    assert events[-1] == "http.disconnect"


async def test_who_is_refused_can_not_connect() -> None:
    key = ss.PrivateKey.generate()
    async with served(app) as server:
        stranger = ss.ClientConfig(key=key, server_key=ss.PrivateKey.generate().public_key)
        async with httpcore.AsyncConnectionPool(network_backend=SecureBackend(stranger)) as pool:
            with pytest.raises(httpcore.ConnectError, match="the server has the key"):
                await pool.request("GET", f"http://127.0.0.1:{server.port}/")


async def test_timeouts_are_httpcore_s() -> None:
    async def say_nothing(stream: Stream) -> None:
        await stream.receive_some()
        await trio.sleep_forever()

    async with served(say_nothing) as server, pool_of(server) as pool:
        with pytest.raises(httpcore.ReadTimeout):
            await pool.request("GET", f"http://127.0.0.1:{server.port}/", extensions={"timeout": {"read": 0.05}})


async def test_h11_over_memory() -> None:
    """The library that both stand on, without a socket."""
    client, server = await secure_memory_stream_pair()
    near, far = h11.Connection(h11.CLIENT), h11.Connection(h11.SERVER)
    with trio.fail_after(PATIENCE):
        async with client, server:
            question = near.send(h11.Request(method="GET", target="/", headers=[("host", "here")]))
            await client.send_all((question or b"") + (near.send(h11.EndOfMessage()) or b""))
            far.receive_data(await server.receive_some())
            assert isinstance(far.next_event(), h11.Request)
            for event in (h11.Response(status_code=200, headers=[]), h11.Data(data=b"body"), h11.EndOfMessage()):
                await server.send_all(far.send(event) or b"")
            await server.send_eof()
            received: list[h11.Event] = []
            while not received or not isinstance(received[-1], h11.EndOfMessage):
                event_or_not = near.next_event()
                if event_or_not is h11.NEED_DATA:
                    near.receive_data(await client.receive_some())
                else:
                    assert isinstance(event_or_not, h11.Event)
                    received.append(event_or_not)
            assert [type(each).__name__ for each in received] == ["Response", "Data", "EndOfMessage"]
            assert await client.receive_some() == b""


async def test_reading_after_closing_is_httpcore_s_error() -> None:
    async with served(app) as server:
        stream = SecureNetworkStream(await ss.open_secure_tcp_stream("127.0.0.1", server.port, server.client))
        assert stream.get_extra_info("is_readable") is False
        await stream.aclose()
        await failure_of(stream.read(1), httpcore.ReadError)
        await failure_of(stream.write(b"x"), httpcore.WriteError)
