"""A server: one task a connection, so that no client waits for another."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.testing import secure_stream_pair

from ..streams.support import (
    PATIENCE,
    Configs,
    failure_of,
    matching_configs,
    receive_all,
    receive_until_error,
)
from .support import MemoryListener, ask, serving, serving_tcp, shout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trio.testing import MockClock


async def test_a_client_talks_to_a_handler_over_tcp(configs: Configs) -> None:
    client, server = configs
    with trio.fail_after(PATIENCE):
        async with (
            serving_tcp(shout, server) as port,
            await ss.open_secure_tcp_stream("127.0.0.1", port, client) as stream,
        ):
            assert await ask(stream) == b"HELLO"


async def test_a_handler_that_returns_has_its_stream_closed_in_order(
    configs: Configs, autojump_clock: MockClock
) -> None:
    async def greet(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        await stream.send_all(b"good bye")

    client, server = configs
    async with serving(greet, server) as served, await served.connect(client) as stream:
        assert await receive_all(stream) == b"good bye"


async def test_a_handler_may_close_its_stream_itself(autojump_clock: MockClock) -> None:
    async def close(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        await stream.aclose()
        await trio.sleep(1)

    client, server = matching_configs()
    async with serving(close, server) as served, await served.connect(client) as stream:
        assert await receive_all(stream) == b""


async def test_a_silent_client_never_stalls_the_accept_loop(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    async with serving(shout, server) as served:
        start = trio.current_time()
        silent = [await served.listener.connect() for _ in range(10)]
        async with await served.connect(client) as stream:
            assert await ask(stream) == b"HELLO"
        assert trio.current_time() == start
        assert len(silent) == 10


async def test_a_slow_authorize_never_stalls_the_accept_loop(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    slow_key = ss.PrivateKey.generate()

    async def authorize(peer: ss.Peer) -> None:
        if peer.public_key == slow_key.public_key:
            await trio.sleep(4)

    async with serving(shout, replace(server, authorize=authorize)) as served, trio.open_nursery() as nursery:
        start = trio.current_time()
        nursery.start_soon(served.connect, replace(client, key=slow_key))
        await trio.testing.wait_all_tasks_blocked()
        assert await ask(await served.connect(client)) == b"HELLO"
        assert trio.current_time() == start


async def test_200_clients_at_once_are_all_served(configs: Configs) -> None:
    """How fast is the machine's business: here both sides of all of them share one task's time."""
    client, server = configs
    client, server = replace(client, handshake_timeout=PATIENCE), replace(server, handshake_timeout=PATIENCE)
    answers: list[bytes] = []

    async def visit(port: int) -> None:
        async with await ss.open_secure_tcp_stream("127.0.0.1", port, client) as stream:
            answers.append(await ask(stream))

    with trio.fail_after(PATIENCE):
        async with serving_tcp(shout, server) as port, trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(visit, port)
    assert answers == [b"HELLO"] * 200


async def test_the_handler_knows_who_its_client_is(autojump_clock: MockClock) -> None:
    seen: list[ss.Peer] = []

    async def look(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        seen.append(stream.peer)

    client, server = matching_configs()
    assert client.key is not None
    names = ss.AuthorizedPeers({client.key.public_key: "alice"})
    async with serving(look, replace(server, authorize=names)) as served, await served.connect(client) as stream:
        await receive_all(stream)
    assert (seen[0].public_key, seen[0].principal) == (client.key.public_key, "alice")


async def test_the_peer_s_address_is_its_host_and_port() -> None:
    client, server = matching_configs()
    seen: list[str] = []

    async def look(stream: ss.SecureStream[trio.SocketStream]) -> None:
        seen.append(stream.peer.address)

    with trio.fail_after(PATIENCE):
        async with (
            serving_tcp(look, server) as port,
            await ss.open_secure_tcp_stream("127.0.0.1", port, client) as stream,
        ):
            near = stream.transport_stream.socket.getsockname()
            assert stream.peer.address == f"127.0.0.1:{port}"
            await receive_all(stream)
    assert seen == [f"127.0.0.1:{near[1]}"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_address_is_shown_as_programs_write_it(host: str) -> None:
    client, server = matching_configs()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            try:
                listeners = await nursery.start(partial(ss.serve_secure_tcp, shout, 0, server, host=host))
            except* OSError:
                pytest.skip(f"{host} is no address of this machine")
            port = listeners[0].socket.getsockname()[1]
            async with await ss.open_secure_tcp_stream(host, port, client) as stream:
                assert stream.peer.address == (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            nursery.cancel_scope.cancel()


# --- ending ------------------------------------------------------------------------------------------------


async def test_a_server_that_is_cancelled_cuts_its_streams(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    async with serving(shout, server) as served:
        stream = await served.connect(client)
        served.nursery.cancel_scope.cancel()
    _, error = await receive_until_error(stream)
    assert type(error) is ss.TruncatedStream


async def test_to_drain_cancel_serving_and_put_a_deadline_on_the_handlers_nursery(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    async with trio.open_nursery() as handlers:
        async with serving(shout, server, handler_nursery=handlers) as served:
            quick, slow = [await served.connect(client) for _ in range(2)]
        handlers.cancel_scope.deadline = trio.current_time() + 10
        with trio.CancelScope(shield=True):
            assert await ask(quick) == b"HELLO"  # nobody new comes in, but who is there is served
            await quick.send_eof()
            assert await receive_all(quick) == b""
            start = trio.current_time()
            _, error = await receive_until_error(slow)
            assert trio.current_time() - start == pytest.approx(10)
    assert type(error) is ss.TruncatedStream


# --- other listeners -------------------------------------------------------------------------------------------


@pytest.fixture
async def unix_listener(tmp_path: Path) -> AsyncIterator[trio.SocketListener]:
    socket = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await socket.bind(str(tmp_path / "server"))
    socket.listen()
    async with trio.SocketListener(socket) as listener:
        yield listener


async def test_a_unix_socket_is_served(unix_listener: trio.SocketListener, configs: Configs) -> None:
    client, server = configs
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(ss.serve_secure_listeners, shout, [unix_listener], server))
            transport = await trio.open_unix_socket(unix_listener.socket.getsockname())
            async with await ss.wrap_client(transport, client) as stream:
                assert await ask(stream) == b"HELLO"
            nursery.cancel_scope.cancel()


async def test_the_address_of_a_unix_socket_is_no_ip_address_whatever_path_it_has_chosen(
    unix_listener: trio.SocketListener, tmp_path: Path
) -> None:
    client, server = matching_configs()
    asked: list[str] = []

    async def authorize(peer: ss.Peer) -> None:
        asked.append(peer.address)

    for name in ("client", "a\nforged line", "10.0.0.1:22"):
        with trio.fail_after(PATIENCE):
            socket = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
            await socket.bind(os.fspath(tmp_path / name))
            await socket.connect(unix_listener.socket.getsockname())
            transports = (trio.SocketStream(socket), await unix_listener.accept())
            for stream in await secure_stream_pair(transports, (client, replace(server, authorize=authorize))):
                await trio.aclose_forcefully(stream)
    paths = ("client", r"a\nforged line", "10.0.0.1:22")
    assert asked == [f"unix:{tmp_path / path}" for path in paths]


async def test_several_listeners_are_served_at_once(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    listeners = [MemoryListener() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(ss.serve_secure_listeners, shout, listeners, server))
        for listener in listeners:
            assert await ask(await ss.wrap_client(await listener.connect(), client)) == b"HELLO"
        nursery.cancel_scope.cancel()


async def test_secure_handler_is_a_handler_for_trio_serve_tcp(keyed_configs: Configs) -> None:
    client, server = keyed_configs
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, ss.secure_handler(shout, server), 0, host="127.0.0.1")
            listeners = await nursery.start(serve)
            port = listeners[0].socket.getsockname()[1]
            async with await ss.open_secure_tcp_stream("127.0.0.1", port, client) as stream:
                assert await ask(stream) == b"HELLO"
            refusal = ss.open_secure_tcp_stream("127.0.0.1", port, replace(client, key=ss.PrivateKey.generate()))
            assert (await failure_of(refusal, ss.HandshakeRefused)).code == "access_denied"
            nursery.cancel_scope.cancel()


async def test_a_client_s_configuration_is_none_for_a_server() -> None:
    client, server = matching_configs()
    for config in (client, None):
        with pytest.raises(TypeError, match="config takes a ServerConfig, not a "):
            await ss.serve_secure_tcp(shout, 0, config, host="127.0.0.1")  # type: ignore[arg-type]  # the mistake
        with pytest.raises(TypeError, match="config takes a ServerConfig, not a "):
            ss.secure_handler(shout, config)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(TypeError, match="config takes a RouterConfig, not a ServerConfig"):
        await ss.serve_router_tcp(0, server, host="127.0.0.1")  # type: ignore[arg-type]  # the mistake


async def test_a_port_that_is_taken_is_an_os_error() -> None:
    _, server = matching_configs()
    with trio.fail_after(PATIENCE):
        async with serving_tcp(shout, server) as port:
            with pytest.raises(OSError):
                await ss.serve_secure_tcp(shout, port, server, host="127.0.0.1")


async def test_without_a_host_every_interface_is_listened_on() -> None:
    client, server = matching_configs()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(ss.serve_secure_tcp, shout, 0, server, backlog=5))
            port = listeners[0].socket.getsockname()[1]
            async with await ss.open_secure_tcp_stream("127.0.0.1", port, client) as stream:
                assert await ask(stream) == b"HELLO"
            nursery.cancel_scope.cancel()
