"""The router: each client at the server that it wants, and told why where that can't be."""

from __future__ import annotations

import contextlib
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import securestream as ss
from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.messages import (
    Hello,
    Kind,
    decode_hello_untrusted,
    encode_alert_frame,
    encode_frame,
    seal_route,
)
from securestream.service.errand import _find_the_vanished, wanted_server

from ..protocol.support import PROPERTY, new_client
from ..streams.support import receive_all, receive_until_error
from ..streams.transports import reset, tcp_pair
from .router_support import (
    CLIENT,
    HOST,
    LOOPBACK,
    NOWHERE,
    OTHER,
    ROUTER,
    SERVER,
    a_place,
    ask,
    client_config,
    config,
    connect,
    refusal,
    until,
)
from .support import MemoryListener

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock

    from securestream.protocol.handshake import ClientHandshake

    from .router_support import Routes, Stream

# --- to the right server ------------------------------------------------------------------------------


async def test_each_client_comes_to_the_server_that_it_wants() -> None:
    async with a_place() as place:
        one, two = await place.server("one"), await place.server("two", OTHER)
        router = await place.router(config({SERVER.public_key: [one], OTHER.public_key: [two]}))
        assert (await ask(router)).startswith("one ")
        assert (await ask(router, client_config(server_key=OTHER.public_key))).startswith("two ")


async def test_half_close_is_kept_and_all_bytes_come_through() -> None:
    async with a_place() as place:
        router = await place.router(config({SERVER.public_key: [await place.server()]}))
        for size in (0, 1, 3_000_000):
            assert (await ask(router, question=os.urandom(size))).split()[2] == str(size)


async def test_client_and_server_know_one_another_as_without_a_router() -> None:
    seen: list[ss.Peer] = []

    async def note(stream: Stream) -> None:
        seen.append(stream.peer)
        await stream.send_all(stream.session.handshake_hash)

    async with a_place() as place:
        router = await place.router(config({SERVER.public_key: [await place.server(handler=note)]}))
        async with await connect(router) as stream:
            assert await receive_all(stream) == stream.session.handshake_hash
            assert stream.peer.public_key == SERVER.public_key
    assert (seen[0].public_key, seen[0].principal) == (CLIENT.public_key, "client")


async def test_an_alert_in_mid_stream_comes_through() -> None:
    async def fail(stream: Stream) -> None:
        await stream.send_all(b"half")
        raise ss.StreamFailure(5_001, "no more")

    async with a_place() as place:
        router = await place.router(config({SERVER.public_key: [await place.server(handler=fail)]}))
        stream = await connect(router)
        received, error = await receive_until_error(stream)
        await stream.aclose()
    assert received == b"half"
    assert isinstance(error, ss.PeerAlert)
    assert error.alert == ss.Alert(5_001, "no more")


async def test_a_connection_that_is_cut_is_cut_on_the_other_side_and_never_an_end() -> None:
    ended: list[BaseException] = []

    async def wait(stream: Stream) -> None:
        await stream.send_all(b"there")
        try:
            await receive_all(stream)
        except ss.StreamError as exc:
            ended.append(exc)
            raise

    async with a_place() as place:
        router = await place.router(config({SERVER.public_key: [await place.server(handler=wait)]}))
        stream = await connect(router)
        assert await stream.receive_some() == b"there"
        await trio.aclose_forcefully(stream.transport_stream)
        await until(lambda: bool(ended))
        await trio.aclose_forcefully(stream)
    assert isinstance(ended[0], ss.TruncatedStream)


async def test_a_router_s_old_key_is_good_while_it_is_replaced() -> None:
    async with a_place() as place:
        new = ss.PrivateKey.generate()
        routes = {SERVER.public_key: [await place.server()]}
        router = await place.router(config(routes, keys=[new, ROUTER]))
        for key in (ROUTER, new):
            assert await ask(router, client_config(middlebox_key=key.public_key))


# --- no server ----------------------------------------------------------------------------------------


@pytest.mark.shows("router-alerts")
async def test_a_key_that_nobody_has_is_alert_5_whatever_the_default() -> None:
    async with a_place() as place:
        default = await place.server()
        for defaults in ([], [default]):
            router = await place.router(config({OTHER.public_key: [default]}, default=defaults))
            assert await refusal(router) == (ss.AlertCode.UNKNOWN_SERVER_KEY, False)


@pytest.mark.shows("router-alerts")
async def test_a_server_that_is_down_is_alert_15(log: pytest.LogCaptureFixture) -> None:
    async with a_place() as place:
        router = await place.router(config({SERVER.public_key: [NOWHERE]}))
        assert await refusal(router) == (ss.AlertCode.BACKEND_UNAVAILABLE, False)
        assert f"backend {NOWHERE.address} is down: " in log.text
        await until(lambda: "none of 1 servers answers [backend_unavailable]" in log.text)


@pytest.mark.shows("router-alerts")
async def test_a_name_that_is_no_host_is_alert_15() -> None:
    async with a_place() as place:
        for name in ("x" * 70 + ".invalid:1", "a..b:1"):
            router = await place.router(config({SERVER.public_key: [ss.Backend(name)]}))
            assert await refusal(router) == (ss.AlertCode.BACKEND_UNAVAILABLE, False)


UNKNOWING = [
    client_config(middlebox_key=None),  # knows the server and no router
    client_config(server_key=None, middlebox_key=None, secret=ss.SharedSecret(bytes(range(32)))),
    client_config(middlebox_key=OTHER.public_key),
]


@pytest.mark.shows("router-alerts")
@pytest.mark.parametrize("client", UNKNOWING, ids=["no router", "no server", "another router"])
async def test_who_does_not_know_the_router_is_refused(client: ss.ClientConfig) -> None:
    async with a_place() as place:
        router = await place.router(config({SERVER.public_key: [await place.server()]}))
        assert await refusal(router, client) == (ss.AlertCode.UNKNOWN_SERVER_KEY, False)


async def test_or_comes_to_the_default_where_there_is_one() -> None:
    async with a_place() as place:
        default = await place.server("default")
        router = await place.router(config({}, default=[NOWHERE, default]))
        for client in (client_config(middlebox_key=None), client_config(middlebox_key=OTHER.public_key)):
            assert (await ask(router, client)).startswith("default ")


@pytest.mark.shows("router-alerts")
async def test_a_callable_finds_servers_and_its_failure_is_alert_13(log: pytest.LogCaptureFixture) -> None:
    asked: list[ss.PublicKey] = []

    async def find(key: ss.PublicKey) -> Sequence[ss.Backend]:
        asked.append(key)
        if key == OTHER.public_key:
            raise OSError("the database is gone")
        return [server]

    async with a_place() as place:
        server = await place.server()
        router = await place.router(config(find))
        assert await ask(router)
        client = client_config(server_key=OTHER.public_key)
        assert await refusal(router, client) == (ss.AlertCode.INTERNAL_ERROR, False)
        await until(lambda: "the database is gone" in log.text)
    assert asked == [SERVER.public_key, OTHER.public_key]


# --- no room, no time, no sense -----------------------------------------------------------------------


@pytest.mark.shows("router-alerts")
async def test_beyond_the_limit_a_client_is_told_alert_10() -> None:
    async with a_place() as place:
        routes = {SERVER.public_key: [await place.server()]}
        router = await place.router(config(routes, limits=ss.Limits(connections=2)))
        streams = [await connect(router) for _ in range(2)]
        assert await refusal(router) == (ss.AlertCode.BUSY, False)
        await streams[0].aclose()
        await streams[1].aclose()
        while True:  # until the router has seen it
            with contextlib.suppress(ss.HandshakeRefused):
                assert await ask(router)
                break


async def routed_in_memory(nursery: trio.Nursery, routes: Routes | None = None, **changes: object) -> MemoryListener:
    listener = MemoryListener()
    listeners = cast("list[trio.abc.Listener[trio.abc.HalfCloseableStream]]", [listener])
    await nursery.start(partial(ss.serve_router_listeners, listeners, config(routes or {}, **changes)))
    return listener


HELLO = new_client(ephemeral=None).hello()


@pytest.mark.shows("router-alerts")
@pytest.mark.parametrize("said", [b"", HELLO[:1], HELLO[:3], HELLO[:-1]], ids=len)
async def test_a_hello_that_does_not_come_is_alert_9_at_the_deadline(said: bytes, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        listener = await routed_in_memory(nursery)
        transport, start = await listener.connect(), trio.current_time()
        await transport.send_all(said)
        assert await transport.receive_some() == encode_alert_frame(ss.AlertCode.HANDSHAKE_TIMEOUT)
        assert trio.current_time() - start == 5
        assert await transport.receive_some() == b""
        assert trio.current_time() - start <= 6
        nursery.cancel_scope.cancel()


@pytest.mark.shows("router-alerts")
async def test_a_hello_in_drops_has_the_same_deadline(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        listener = await routed_in_memory(nursery)
        transport, start = await listener.connect(), trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            for number in range(len(HELLO)):
                await transport.send_all(HELLO[number : number + 1])
                await trio.sleep(1)
        assert trio.current_time() - start <= 8
        nursery.cancel_scope.cancel()


GARBAGE = {
    "zeros": bytes(3),
    "another protocol": b"GET / HTTP/1.1\r\n\r\n",
    "too long": b"\xff\xff\x01",
    "another frame": encode_frame(Kind.RESPONSE, bytes(64)),
    "another version": HELLO[:6] + b"9" + HELLO[7:],
    "a bad point": HELLO[:-32] + bytes(32),
}


@pytest.mark.shows("router-alerts")
@pytest.mark.parametrize("said", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_refused_at_once(said: bytes, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        listener = await routed_in_memory(nursery)
        transport, start = await listener.connect(), trio.current_time()
        await transport.send_all(said)
        code = 3 if said == GARBAGE["another version"] else 11
        assert await transport.receive_some() == encode_alert_frame(code)
        assert trio.current_time() == start
        nursery.cancel_scope.cancel()


@pytest.mark.shows("router-alerts")
async def test_what_comes_after_garbage_is_not_stored(autojump_clock: MockClock) -> None:
    """A router keeps a hello, and at most one read of what came behind it."""
    taken = 0

    class Endless(trio.abc.HalfCloseableStream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            nonlocal taken
            await trio.lowlevel.checkpoint()
            assert max_bytes is not None
            assert max_bytes <= 16_384
            taken += max_bytes
            return b"\xff" * max_bytes

        async def send_all(self, data: object) -> None:
            await trio.lowlevel.checkpoint()

        async def wait_send_all_might_not_block(self) -> None:
            await trio.lowlevel.checkpoint()

        async def send_eof(self) -> None:
            await trio.lowlevel.checkpoint()

        async def aclose(self) -> None:
            closed.set()
            await trio.lowlevel.checkpoint()

    closed = trio.Event()
    async with trio.open_nursery() as nursery:
        listener = await routed_in_memory(nursery)
        await listener.deliver(Endless())
        await closed.wait()
        nursery.cancel_scope.cancel()
    assert taken <= 2**20 + 2 * 16_384


async def test_slow_clients_keep_nobody_out() -> None:
    async with a_place() as place:
        routes = {SERVER.public_key: [await place.server()]}
        router = await place.router(config(routes, limits=ss.Limits(pending_handshakes=3)))
        slow = [await router.dial() for _ in range(3)]
        await trio.sleep(0.15)  # as long as one may keep it waiting when another needs the place
        assert await ask(router)
        assert await receive_all(slow[0]) == encode_alert_frame(ss.AlertCode.BUSY)
        for stream in slow:
            await stream.aclose()


@pytest.mark.shows("router-alerts")
async def test_refused_clients_that_stay_keep_nobody_out(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        listener = await routed_in_memory(nursery, limits=ss.Limits(pending_handshakes=2), close_timeout=60.0)
        for number in range(6):
            if number % 2 == 0:
                await trio.sleep(0.2)
            transport = await listener.connect()
            await transport.send_all(new_client(ephemeral=None).hello())
            assert await transport.receive_some() == encode_alert_frame(ss.AlertCode.UNKNOWN_SERVER_KEY)
        nursery.cancel_scope.cancel()


async def test_strangers_who_ask_for_a_machine_that_says_nothing_keep_nobody_out(autojump_clock: MockClock) -> None:
    class Silent(ss.Backend):
        async def dial(self) -> trio.SocketStream:
            await trio.sleep_forever()
            raise AssertionError

    async with trio.open_nursery() as nursery:
        listener = await routed_in_memory(
            nursery, {SERVER.public_key: [Silent(f"{HOST}:1")]}, limits=ss.Limits(pending_handshakes=30)
        )

        async def ask(client: ClientHandshake) -> tuple[bytes, float]:
            start = trio.current_time()
            transport = await listener.connect()
            await transport.send_all(client.hello())
            return bytes(await transport.receive_some()), trio.current_time() - start

        def stranger() -> ClientHandshake:
            return new_client(middlebox_key=ROUTER.public_key, server_key=SERVER.public_key, ephemeral=None)

        assert await ask(stranger()) == (encode_alert_frame(ss.AlertCode.BACKEND_UNAVAILABLE), 2)
        for _ in range(100):
            nursery.start_soon(ask, stranger())
        await trio.sleep(1)
        other = new_client(middlebox_key=ROUTER.public_key, server_key=OTHER.public_key, ephemeral=None)
        assert await ask(other) == (encode_alert_frame(ss.AlertCode.UNKNOWN_SERVER_KEY), 0)
        nursery.cancel_scope.cancel()


# --- several servers ----------------------------------------------------------------------------------


async def test_the_server_with_the_fewest_connections_is_next() -> None:
    async with a_place() as place:
        backends = [await place.server(name) for name in "abc"]
        router = await place.router(config({SERVER.public_key: backends}))
        streams, names = [await connect(router) for _ in range(9)], []
        for stream in streams:
            await stream.send_eof()
            names.append((await receive_all(stream)).split()[0])
            await stream.aclose()
    assert {name: names.count(name) for name in names} == {b"a": 3, b"b": 3, b"c": 3}


async def test_a_client_of_a_server_that_is_down_comes_to_another_one() -> None:
    async with a_place() as place:
        router = await place.router(config({SERVER.public_key: [NOWHERE, await place.server()]}))
        for _ in range(5):
            assert (await ask(router)).startswith("server ")


async def test_a_server_that_is_up_again_is_found_by_dialling(log: pytest.LogCaptureFixture) -> None:
    async with a_place() as place:
        server = trio.socket.socket()
        await server.bind((HOST, 0))
        backend = ss.Backend(f"{HOST}:{server.getsockname()[1]}")
        router = await place.router(config({SERVER.public_key: [backend]}, retry=0.01))
        assert await refusal(router) == (ss.AlertCode.BACKEND_UNAVAILABLE, False)
        server.listen()
        looking, _ = await server.accept()  # nobody but the router
        looking.close()
        await until(lambda: "is up again" in log.text)
        server.close()


# --- who the client is --------------------------------------------------------------------------------


async def test_a_server_is_told_the_client_s_address() -> None:
    async with a_place() as place:
        router = await place.router(config({SERVER.public_key: [await place.server(proxy_from=LOOPBACK)]}))
        stream = await connect(router)
        own = stream.transport_stream.socket.getsockname()
        await stream.send_eof()
        assert (await receive_all(stream)).split()[1].decode() == f"{own[0]}:{own[1]}"
        await stream.aclose()


@pytest.mark.parametrize(
    "addresses",
    [
        bytes(108) + b"/run/front".ljust(108, b"\0"),  # HAProxy's, of a client on its Unix socket
        b"\x1b" * 108 + b"/run/front".ljust(108, b"\0"),  # which may have bound itself to anything
    ],
    ids=["no name", "a strange name"],
)
async def test_a_client_whose_address_can_not_be_handed_on_comes_to_the_server_all_the_same(addresses: bytes) -> None:
    header = b"\r\n\r\n\0\r\nQUIT\n\x21\x31" + len(addresses).to_bytes(2, "big") + addresses
    async with a_place() as place:
        server = await place.server(proxy_from=LOOPBACK)
        router = await place.router(config({SERVER.public_key: [server]}), proxy_from=LOOPBACK)
        transport = await router.dial()
        await transport.send_all(header)
        async with await ss.wrap_client(transport, client_config()) as stream:
            await stream.send_eof()
            assert (await receive_all(stream)).startswith(b"server 127.0.0.1:")


async def test_a_router_behind_a_router_and_another_one_hands_the_first_address_on() -> None:
    async with a_place() as place:
        hop = await place.server(proxy_from=LOOPBACK)
        for _ in range(2):
            hop = await place.router(config({SERVER.public_key: [hop]}), proxy_from=LOOPBACK)
        router = await place.router(config({SERVER.public_key: [hop]}))
        stream = await connect(router)
        own = stream.transport_stream.socket.getsockname()
        await stream.send_eof()
        assert (await receive_all(stream)).split()[1].decode() == f"{own[0]}:{own[1]}"
        await stream.aclose()


async def test_a_router_with_a_key_of_its_own_may_be_the_default_of_the_one_in_front() -> None:
    async with a_place() as place:
        behind = await place.router(config({SERVER.public_key: [await place.server()]}))
        front = await place.router(config({}, keys=[OTHER], default=[behind]))
        assert (await ask(front)).startswith("server ")


@pytest.mark.shows("router-alerts")
async def test_routers_in_a_circle_refuse(log: pytest.LogCaptureFixture) -> None:
    routes: dict[ss.PublicKey, list[ss.Backend]] = {}
    async with a_place() as place:
        one = await place.router(config(routes))
        routes[SERVER.public_key] = [await place.router(config({SERVER.public_key: [one]}))]
        assert await refusal(one) == (ss.AlertCode.BACKEND_UNAVAILABLE, False)
        await until(lambda: log.text.count("do routers lead to one another in a circle?") == 1)


# --- the end ------------------------------------------------------------------------------------------


async def test_drained_it_takes_nobody_new_and_lets_those_that_are_there_finish() -> None:
    drain = ss.Drain(grace=60)
    async with a_place() as place:
        router = await place.router(config({SERVER.public_key: [await place.server()]}), drain=drain)
        stream = await connect(router)
        drain.start()
        await wait_until_nobody_listens(router)
        await stream.send_all(b"hello")
        await stream.send_eof()
        assert (await receive_all(stream)).endswith(b" 5")
        await stream.aclose()


async def test_what_is_left_after_the_grace_is_cut_and_never_ended() -> None:
    drain = ss.Drain(grace=0)
    async with a_place() as place:
        router = await place.router(config({SERVER.public_key: [await place.server()]}), drain=drain)
        stream = await connect(router)
        drain.start()
        assert isinstance((await receive_until_error(stream))[1], ss.TruncatedStream | ss.TransportBroken)
        await stream.aclose()


async def wait_until_nobody_listens(router: ss.Backend) -> None:
    with pytest.raises(OSError):
        while True:
            await (await router.dial()).aclose()


async def test_cancelled_while_it_refuses_it_leaves_no_connection_open(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        listener = await routed_in_memory(nursery)
        transport = await listener.connect()
        await transport.send_all(bytes(3))
        assert await transport.receive_some() == encode_alert_frame(ss.AlertCode.PROTOCOL_ERROR)
        nursery.cancel_scope.cancel()  # while it waits for the client's end
    with pytest.raises(trio.BrokenResourceError):
        await transport.send_all(b"x")


async def test_cancelled_it_cuts_what_is_open() -> None:
    async with a_place() as place:
        backend = await place.server()
        async with trio.open_nursery() as nursery:
            route = partial(ss.serve_router_tcp, 0, config({SERVER.public_key: [backend]}), host=HOST)
            listeners = await nursery.start(route)
            stream = await connect(ss.Backend(f"{HOST}:{listeners[0].socket.getsockname()[1]}"))
            nursery.cancel_scope.cancel()
        assert isinstance((await receive_until_error(stream))[1], ss.TruncatedStream | ss.TransportBroken)
        await stream.aclose()


async def test_who_is_silent_after_its_server_has_gone_keeps_no_place(autojump_clock: MockClock) -> None:
    """As a stranger would be whom the server has given up waiting for."""

    async def give_up(stream: trio.SocketStream) -> None:
        assert await stream.receive_some()
        await stream.send_eof()
        await trio.testing.wait_all_tasks_blocked()
        reset(stream)

    async with a_place() as place:
        routes = {
            SERVER.public_key: [await place.plain(give_up)],
            OTHER.public_key: [await place.server("other", OTHER)],
        }
        router = await place.router(config(routes, limits=ss.Limits(connections=1)))
        stranger = await router.dial()
        await stranger.send_all(new_client(server_key=SERVER.public_key, middlebox_key=ROUTER.public_key).hello())
        assert await stranger.receive_some() == b""
        await trio.sleep(10)
        assert (await ask(router, client_config(server_key=OTHER.public_key))).startswith("other ")
        await stranger.aclose()


async def test_a_machine_that_has_vanished_is_looked_for() -> None:
    near, far = await tcp_pair()
    _find_the_vanished(near, far)
    for stream in (near, far):
        assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 4) != bytes(4)
    reset(near)
    _find_the_vanished(far)


# --- configurations -----------------------------------------------------------------------------------

WRONG: dict[str, dict[str, object]] = {
    "keys": {"keys": []},
    "PrivateKey": {"keys": [ROUTER.public_key]},
    "default": {"default": [f"{HOST}:1"]},
    "routes": {"routes": "routes"},
    "timeouts": {"handshake_timeout": 0},
    "idle_timeout": {"limits": ss.Limits(idle_timeout=1)},
    "lifetime": {"limits": ss.Limits(lifetime=1)},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_configuration_that_can_not_be_is_told_at_once(name: str) -> None:
    with pytest.raises((ValueError, TypeError), match=name):
        config({}, **WRONG[name])


# --- what it reads ------------------------------------------------------------------------------------


def hello_with_route(named: bytes) -> bytes:
    """A hello whose route, sealed to the router, holds these 32 bytes."""
    e, r = ss.PrivateKey.generate(), bytes(ROUTER.public_key)
    route = seal_route(named, e.exchange(r), bytes(e.public_key), r)
    return encode_frame(Kind.HELLO, Hello(False, (1,), route, bytes(e.public_key)).header + bytes(e.public_key))


@pytest.mark.shows("router-alerts")
@pytest.mark.parametrize("named", [bytes(32), b"\xff" * 32, bytes([1]) + bytes(31)], ids=["zero", "large", "one"])
async def test_a_route_to_what_is_no_key_is_alert_5(named: bytes, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        listener = await routed_in_memory(nursery, default=[NOWHERE])
        transport = await listener.connect()
        await transport.send_all(hello_with_route(named))
        assert await transport.receive_some() == encode_alert_frame(ss.AlertCode.UNKNOWN_SERVER_KEY)
        nursery.cancel_scope.cancel()


@pytest.mark.shows("router-alerts")
@PROPERTY
@given(st.binary(max_size=60), st.binary(min_size=48, max_size=48), st.binary(min_size=32, max_size=32))
def test_no_hello_makes_it_raise_anything_but_remote_protocol_error(rest: bytes, route: bytes, e: bytes) -> None:
    for body in (rest, b"SSv1\0\1\1" + route + e, b"SSv1\1\1\1" + route + e + rest):
        with contextlib.suppress(RemoteProtocolError):
            assert wanted_server(decode_hello_untrusted(body), [ROUTER, OTHER]) is None


def test_it_reads_a_route_for_any_of_its_keys_and_for_no_other() -> None:
    hello = decode_hello_untrusted(hello_with_route(bytes(SERVER.public_key))[3:])
    assert wanted_server(hello, [OTHER, ROUTER]) == SERVER.public_key
    assert wanted_server(hello, [OTHER, SERVER]) is None
