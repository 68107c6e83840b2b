"""A server behind proxies: who is listed says who the client is, and nobody else does."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.lowlevel
import trio.testing

import securestream as ss
from securestream.protocol.messages import encode_alert_frame
from securestream.service.proxy_protocol import MAX_PROXY_HEADER

from ..streams.support import PATIENCE, failure_of, matching_configs, receive_all
from ..streams.transports import reset
from .support import ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path

    from trio.testing import MockClock

    Dial = Callable[[bytes], Awaitable[trio.SocketStream]]


LOOPBACK = ["127.0.0.0/8"]
CLIENT = "192.0.2.1:4711"
HEADER = ss.ProxyHeader(CLIENT, "198.51.100.2:9222").encode()


async def whoami(stream: ss.SecureStream[trio.SocketStream]) -> None:
    """Answers with the address that it is told of."""
    await stream.receive_some()
    await stream.send_all(stream.peer.address.encode())


@asynccontextmanager
async def proxied(config: ss.ServerConfig, proxy_from: Iterable[str]) -> AsyncIterator[Dial]:
    """A server on loopback, and how to get there."""
    serve = partial(ss.serve_secure_tcp, whoami, 0, config, host="127.0.0.1", proxy_from=proxy_from)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(serve)
            async with dialling(listeners[0].socket.getsockname()[1]) as dial:
                yield dial
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def dialling(port: int) -> AsyncIterator[Dial]:
    """Connects, and says something. Closes everything at the end."""
    dialled: list[trio.SocketStream] = []

    async def dial(said: bytes) -> trio.SocketStream:
        dialled.append(await trio.open_tcp_stream("127.0.0.1", port))
        await dialled[-1].send_all(said)
        return dialled[-1]

    yield dial
    for stream in dialled:
        await trio.aclose_forcefully(stream)


async def test_the_client_s_address_is_what_a_listed_proxy_says() -> None:
    client, server = matching_configs()
    async with proxied(server, LOOPBACK) as dial, await ss.wrap_client(await dial(HEADER), client) as stream:
        assert (await ask(stream)).decode() == CLIENT


async def test_a_proxy_that_has_nothing_to_say_stands_for_itself() -> None:
    client, server = matching_configs()
    async with proxied(server, LOOPBACK) as dial:
        transport = await dial(ss.ProxyHeader().encode())
        own = transport.socket.getsockname()[1]
        async with await ss.wrap_client(transport, client) as stream:
            assert (await ask(stream)).decode() == f"127.0.0.1:{own}"


async def test_authorize_judges_the_client_s_address(tmp_path: Path) -> None:
    client, server = matching_configs()
    assert client.key is not None
    file = tmp_path / "clients"
    file.touch(0o600)
    file.write_text(f"{client.key.public_key} alice from=192.0.2.0/24\n")
    server = replace(server, authorize=ss.AuthorizedPeersFile(file))
    async with proxied(server, LOOPBACK) as dial:
        await (await ss.wrap_client(await dial(HEADER), client)).aclose()
        other = ss.ProxyHeader("203.0.113.9:1", "198.51.100.2:9222").encode()
        refused = await failure_of(ss.wrap_client(await dial(other), client), ss.HandshakeRefused)
    assert refused.code == "access_denied"


async def test_a_client_that_a_proxy_brings_from_elsewhere_gets_nothing_in_clear(log: pytest.LogCaptureFixture) -> None:
    client = ss.DevClientConfig()
    async with proxied(ss.DevServerConfig(), LOOPBACK) as dial:
        await failure_of(ss.wrap_client(await dial(HEADER), client), ss.HandshakeTruncated)
        for source in ("127.0.0.1:4711", "[::1]:4711", "[::ffff:7f00:1]:4711", ""):
            local = ss.ProxyHeader(source, source).encode()
            async with await ss.wrap_client(await dial(local), client) as stream:
                assert (await ask(stream)).decode().startswith(source)
    assert f"refused {CLIENT}: profile dev" in log.text


async def test_who_is_not_listed_can_not_say_who_he_is() -> None:
    client, server = matching_configs()
    async with proxied(server, ["192.0.2.0/24", "unix"]) as dial:
        refused = await failure_of(ss.wrap_client(await dial(HEADER), client), ss.HandshakeRefused)
        assert refused.code == "protocol_error"
        async with await ss.wrap_client(await dial(b""), client) as stream:
            assert (await ask(stream)).decode().startswith("127.0.0.1:")


async def test_who_is_listed_has_to_say_something(log: pytest.LogCaptureFixture) -> None:
    client, server = matching_configs()
    async with proxied(server, LOOPBACK) as dial:
        await failure_of(ss.wrap_client(await dial(b""), client), ss.HandshakeTruncated)
    assert "no PROXY header, version 2; does whoever connects send one? [protocol_error]" in log.text


@pytest.mark.parametrize("said", [b"", HEADER[:5], HEADER[:-1]], ids=len)
async def test_a_header_that_does_not_come_is_waited_for_until_the_deadline(
    said: bytes, log: pytest.LogCaptureFixture
) -> None:
    _, server = matching_configs()
    async with proxied(replace(server, handshake_timeout=0.5), LOOPBACK) as dial:
        assert await (await dial(said)).receive_some() == b""
    assert only_line(log).endswith("[handshake_timeout]")


async def test_header_and_handshake_have_one_deadline_together(autojump_clock: MockClock) -> None:
    _, server = matching_configs()
    async with proxied(replace(server, handshake_timeout=2), LOOPBACK) as dial:
        start = trio.current_time()
        transport = await dial(HEADER[:5])
        await trio.sleep(1.5)
        await transport.send_all(HEADER[5:])
        assert await transport.receive_some() == encode_alert_frame(ss.AlertCode.HANDSHAKE_TIMEOUT)
        assert trio.current_time() == pytest.approx(start + 2)


async def test_a_header_that_is_too_long_is_refused_before_it_is_stored(log: pytest.LogCaptureFixture) -> None:
    _, server = matching_configs()
    async with proxied(server, LOOPBACK) as dial:
        transport = await dial(HEADER[:14] + MAX_PROXY_HEADER.to_bytes(2, "big"))
        assert await transport.receive_some() == b""
    assert f"a PROXY header of more than {MAX_PROXY_HEADER:,} bytes" in only_line(log)


async def test_the_limit_of_a_source_is_that_of_the_client_and_not_of_the_proxy() -> None:
    client, server = matching_configs()
    async with proxied(replace(server, limits=ss.Limits(connections_per_source=1)), LOOPBACK) as dial:
        streams = []
        for number in range(3):
            said = ss.ProxyHeader(f"192.0.2.{number}:1", "198.51.100.2:2").encode()
            streams.append(await ss.wrap_client(await dial(said), client))
        again = ss.ProxyHeader("192.0.2.1:2", "198.51.100.2:2").encode()
        refused = await failure_of(ss.wrap_client(await dial(again), client), ss.HandshakeRefused)
        assert refused.code == "busy"
        for stream in streams:
            await stream.aclose()


async def test_connections_that_hold_their_header_back_are_no_more_than_the_limit() -> None:
    client, server = matching_configs()
    async with proxied(replace(server, limits=ss.Limits(pending_handshakes=3)), LOOPBACK) as dial:
        held = [await dial(HEADER[:5]) for _ in range(3)]
        await trio.sleep(0.15)  # as long as one may keep a server waiting when another needs the place
        async with await ss.wrap_client(await dial(HEADER), client) as stream:
            assert (await ask(stream)).decode() == CLIENT
        assert await held[0].receive_some() == b""


async def test_checks_that_connect_and_close_are_no_warnings(log: pytest.LogCaptureFixture) -> None:
    _, server = matching_configs()
    local = bytearray(ss.ProxyHeader().encode())
    local[12] = 0x20  # the command LOCAL: a proxy's own connection
    for said, proxy_from in [(b"", []), (b"", LOOPBACK), (bytes(local), LOOPBACK)]:
        async with proxied(server, proxy_from) as dial:
            transport = await dial(said)
            await transport.send_eof()
            assert await receive_all(transport) == b""
            reset_one = await dial(said)
            await trio.testing.wait_all_tasks_blocked()
            reset(reset_one)
            await trio.testing.wait_all_tasks_blocked(0.01)
    assert [record.levelno for record in log.records] == 6 * [logging.INFO]


async def test_whoever_comes_over_a_unix_socket_may_be_a_proxy(tmp_path: Path) -> None:
    client, server = matching_configs()
    listener = await ss.open_unix_listener(tmp_path / "socket")
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(ss.serve_secure_listeners, whoami, [listener], server, proxy_from=["unix"]))
        transport = await trio.open_unix_socket(listener.path)
        await transport.send_all(HEADER)
        async with await ss.wrap_client(transport, client) as stream:
            assert (await ask(stream)).decode() == CLIENT
        nursery.cancel_scope.cancel()


async def test_a_handler_for_other_listeners_takes_them_too() -> None:
    client, server = matching_configs()
    handler = ss.secure_handler(whoami, server, proxy_from=LOOPBACK)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with dialling(port) as dial, await ss.wrap_client(await dial(HEADER), client) as stream:
            assert (await ask(stream)).decode() == CLIENT
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("proxy_from", [["somewhere"], ["10.0.0.1/8"], "10.0.0.0/8"], ids=str)
async def test_what_is_no_list_of_networks_is_told_at_once(proxy_from: Iterable[str]) -> None:
    _, server = matching_configs()
    with pytest.raises((ValueError, TypeError), match="networks"):
        await ss.serve_secure_listeners(whoami, [], server, proxy_from=proxy_from)


def only_line(log: pytest.LogCaptureFixture) -> str:
    (record,) = log.records
    return record.getMessage()


@pytest.mark.parametrize("proxy_from", [[], LOOPBACK], ids=["direct", "proxied"])
@pytest.mark.parametrize("command", [0x20, 0x21], ids=["local", "proxy"])
async def test_a_check_that_is_reset_before_it_is_accepted_is_no_warning(
    command: int, proxy_from: list[str], log: pytest.LogCaptureFixture
) -> None:
    """So HAProxy ends its checks. The system has forgotten then who it was, and what was said may still be read."""
    _, server = matching_configs()
    listener, *_ = await trio.open_tcp_listeners(0, host="127.0.0.1")
    said = bytearray(HEADER)
    said[12] = command
    check = await trio.open_tcp_stream(*listener.socket.getsockname())
    await check.send_all(said)
    reset(check)
    await trio.lowlevel.checkpoint()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            serve = partial(ss.serve_secure_listeners, proxy_from=proxy_from)
            await nursery.start(serve, whoami, [listener], server)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert [record.levelno for record in log.records] == [logging.INFO]
