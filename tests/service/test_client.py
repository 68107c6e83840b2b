"""Connecting over TCP."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss

from ..streams.support import (
    PATIENCE,
    Configs,
    failure_of,
    matching_configs,
)
from .support import ask, serving, serving_tcp, shout

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_a_name_with_several_addresses_is_tried_until_one_answers(configs: Configs) -> None:
    # The server listens on 127.0.0.1 only; "localhost" may be ::1 first.
    client, server = configs
    with trio.fail_after(PATIENCE):
        async with serving_tcp(shout, server) as port:
            for host in ("localhost", "127.0.0.1", b"localhost"):
                async with await ss.open_secure_tcp_stream(host, port, client) as stream:
                    assert await ask(stream) == b"HELLO"


async def test_nobody_listening_is_an_os_error() -> None:
    client, _ = matching_configs()
    with trio.fail_after(PATIENCE):
        taken = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = taken[0].socket.getsockname()[1]
        await taken[0].aclose()
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(OSError) as caught:
                await ss.open_secure_tcp_stream(host, port, client)
            assert not isinstance(caught.value, trio.BrokenResourceError)


async def test_small_packets_are_not_held_back() -> None:
    client, server = matching_configs()
    with trio.fail_after(PATIENCE):
        async with (
            serving_tcp(shout, server) as port,
            await ss.open_secure_tcp_stream("127.0.0.1", port, client) as stream,
        ):
            assert stream.transport_stream.getsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY)


async def test_a_local_address_is_used() -> None:
    client, server = matching_configs()
    with trio.fail_after(PATIENCE):
        async with (
            serving_tcp(shout, server) as port,
            await ss.open_secure_tcp_stream("127.0.0.1", port, client, local_address="127.0.0.2") as stream,
        ):
            assert stream.transport_stream.socket.getsockname()[0] == "127.0.0.2"


async def test_a_handshake_that_fails_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[trio.SocketStream] = []
    original = trio.open_tcp_stream

    async def open_tcp_stream(host: str, port: int, *, local_address: str | None) -> trio.SocketStream:
        opened.append(await original(host, port, local_address=local_address))
        return opened[-1]

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    client, server = matching_configs()
    other = replace(client, server_key=ss.PrivateKey.generate().public_key)
    with trio.fail_after(PATIENCE):
        async with serving_tcp(shout, server) as port:
            await failure_of(ss.open_secure_tcp_stream("127.0.0.1", port, other), ss.ServerKeyMismatch)
    assert [stream.socket.fileno() for stream in opened] == [-1]


async def test_connecting_is_outside_the_handshake_s_deadline(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    async with serving(shout, server) as served:

        async def open_slowly(*arguments: object, **options: object) -> trio.abc.Stream:
            await trio.sleep(100)
            return await served.listener.connect()

        monkeypatch.setattr(trio, "open_tcp_stream", open_slowly)
        assert await ask(await ss.open_secure_tcp_stream("far away", 1, client)) == b"HELLO"
        with pytest.raises(trio.TooSlowError), trio.fail_after(50):
            await ss.open_secure_tcp_stream("far away", 1, client)


async def test_an_error_of_connecting_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*arguments: object, **options: object) -> trio.abc.Stream:
        raise OSError(errno.EHOSTUNREACH, "no route")

    monkeypatch.setattr(trio, "open_tcp_stream", fail)
    with pytest.raises(OSError, match="no route"):
        await ss.open_secure_tcp_stream("far away", 1, matching_configs()[0])


async def test_a_server_of_another_kind_is_a_handshake_error() -> None:
    client, _ = matching_configs()

    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            await nursery.start(trio.serve_listeners, answer, listeners)
            port = listeners[0].socket.getsockname()[1]
            await failure_of(ss.open_secure_tcp_stream("127.0.0.1", port, client), ss.HandshakeError)
            nursery.cancel_scope.cancel()
