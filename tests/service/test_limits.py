"""How many connections one server takes, from where, and how long they last."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.service.connection import source_of
from securestream.testing import secure_stream_pair

from ..streams.support import (
    PATIENCE,
    TOO_MUCH,
    Configs,
    failure_of,
    in_background,
    matching_configs,
    receive_until_error,
    record_lengths,
)
from ..streams.transports import Tap, small_socket_pair
from .support import MemoryListener, ask, serving, serving_tcp, shout

if TYPE_CHECKING:
    from trio.testing import MockClock


def limited(config: ss.ServerConfig, **limits: float) -> ss.ServerConfig:
    return replace(config, limits=ss.Limits(**limits))  # type: ignore[arg-type]  # the test's own, by name


async def end_of(stream: ss.SecureStream[trio.abc.HalfCloseableStream]) -> tuple[float, ss.Alert]:
    """When the server ended it, seconds from now, and how."""
    start = trio.current_time()
    _, error = await receive_until_error(stream)
    assert isinstance(error, ss.PeerAlert)
    await stream.aclose()
    return trio.current_time() - start, error.alert


# --- idle ------------------------------------------------------------------------------------------------


async def test_a_client_that_says_nothing_is_told_alert_16(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    async with serving(shout, limited(server, idle_timeout=60)) as served:
        seconds, alert = await end_of(await served.connect(client))
    assert alert == ss.Alert(ss.AlertCode.IDLE_TIMEOUT, "nothing came for 60 s")
    assert 60 <= seconds <= 60 + 60 / 8


async def test_many_idle_clients_end_one_by_one_and_others_have_their_turn(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("securestream.service.server._LOOKS_AT_ONCE", 3)  # the connections come and go meanwhile
    client, server = matching_configs()
    async with serving(shout, limited(server, idle_timeout=60)) as served, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(end_of, await served.connect(client))
        async with await served.connect(client) as stream:
            for _ in range(4):
                await trio.sleep(30)
                assert await ask(stream) == b"HELLO"


async def test_each_message_begins_the_idle_time_anew(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    async with serving(shout, limited(server, idle_timeout=60)) as served:
        stream = await served.connect(client)
        for _ in range(5):
            await trio.sleep(50)
            assert await ask(stream) == b"HELLO"
        assert 60 <= (await end_of(stream))[0] <= 60 + 60 / 8


async def test_a_handler_that_works_is_not_idle(autojump_clock: MockClock) -> None:
    async def work(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        await stream.receive_some()
        await trio.sleep(1_000)
        await stream.send_all(b"done")

    client, server = matching_configs()
    async with serving(work, limited(server, idle_timeout=60)) as served, await served.connect(client) as stream:
        await stream.send_all(b"go")
        assert await stream.receive_some() == b"done"


@pytest.mark.parametrize("cover", [1.0, 59.0])
async def test_empty_records_do_not_count_as_something_said(cover: float, autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    async with serving(shout, limited(server, idle_timeout=60)) as served, trio.open_nursery() as nursery:
        stream = await served.connect(client)
        nursery.start_soon(ss.send_cover_traffic, stream, cover)
        assert (await end_of(stream))[1].code == ss.AlertCode.IDLE_TIMEOUT


async def test_a_client_that_takes_nothing_is_idle_too(autojump_clock: MockClock) -> None:
    ended = trio.Event()

    async def pour(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        try:
            while True:
                await stream.send_all(bytes(2**16))
        finally:
            ended.set()

    client, server = matching_configs()
    listener = MemoryListener()
    config = limited(server, idle_timeout=60)
    async with trio.open_nursery() as nursery:
        await nursery.start(ss.serve_secure_listeners, pour, [listener], config)
        near, far = trio.testing.lockstep_stream_pair()
        await listener.deliver(far)
        await ss.wrap_client(near, client)
        start = trio.current_time()
        await ended.wait()
        assert 60 <= trio.current_time() - start <= 60 + 60 / 8
        nursery.cancel_scope.cancel()


async def test_each_piece_that_a_client_takes_counts(configs: Configs) -> None:
    """Over a socket, where a batch goes out piece by piece, long before the next one is sealed."""
    near, far = await secure_stream_pair(await small_socket_pair(), configs)
    with trio.fail_after(PATIENCE):
        async with in_background(partial(far.send_all, bytes(TOO_MUCH))) as sending:
            before = far._progress()
            while far._progress() == before:
                await near.receive_some()
            assert far._waits()
            sending.cancel()
    for end in (near, far):
        await trio.aclose_forcefully(end)


async def test_the_finally_block_of_an_idle_handler_runs_before_the_alert(autojump_clock: MockClock) -> None:
    async def polite(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        try:
            await stream.receive_some()
        finally:
            with trio.CancelScope(shield=True):
                await stream.send_all(b"good bye")

    client, server = matching_configs()
    async with serving(polite, limited(server, idle_timeout=60)) as served:
        received, error = await receive_until_error(await served.connect(client))
    assert received == b"good bye"
    assert error.code == "idle_timeout"


# --- lifetime ---------------------------------------------------------------------------------------------


async def test_a_connection_ends_after_its_lifetime_whatever_it_does(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    async with serving(shout, limited(server, lifetime=100)) as served:
        start, stream = trio.current_time(), await served.connect(client)
        with pytest.raises(ss.PeerAlert) as caught:
            for _ in range(100):
                await ask(stream)
                await trio.sleep(3)
        assert trio.current_time() - start == pytest.approx(100, abs=3)
    assert caught.value.alert.code == ss.AlertCode.SHUTTING_DOWN
    assert "as long as one may" in caught.value.alert.message


async def test_a_lifetime_holds_for_a_handler_of_trio_serve_listeners_too(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ss.secure_handler(shout, limited(server, lifetime=100)), far)
        stream = await ss.wrap_client(near, client)
        assert (await receive_until_error(stream))[1].code == "shutting_down"


@pytest.mark.parametrize("wrong", [{"limits": ss.Limits(idle_timeout=1)}, {"keep_alive": 1.0}])
def test_what_a_bare_handler_could_not_keep_is_refused(wrong: dict[str, object]) -> None:
    _, server = matching_configs()
    with pytest.raises(ValueError, match="serve_secure"):
        ss.secure_handler(shout, replace(server, **wrong))  # type: ignore[arg-type]  # the test's own, by name


@pytest.mark.parametrize("name", ["idle_timeout", "lifetime"])
@pytest.mark.parametrize("wrong", [0, -1, math.nan])
def test_times_are_more_than_none(name: str, wrong: float) -> None:
    with pytest.raises(ValueError, match="more than none"):
        ss.Limits(**{name: wrong})  # type: ignore[arg-type]  # the test's own, by name


@pytest.mark.parametrize("wrong", [0, -1, math.nan])
def test_a_keep_alive_is_more_than_none(wrong: float) -> None:
    _, server = matching_configs()
    with pytest.raises(ValueError, match="keep_alive"):
        replace(server, keep_alive=wrong)


# --- keep-alive ------------------------------------------------------------------------------------------


async def test_a_server_that_has_nothing_to_say_keeps_the_connection_alive(autojump_clock: MockClock) -> None:
    client, server = matching_configs(ss.Suite.AEGIS_256)
    async with serving(shout, replace(server, keep_alive=40)) as served:
        near, far = trio.testing.memory_stream_pair()
        tap = Tap(far)
        await served.listener.deliver(tap)
        stream = await ss.wrap_client(near, client)
        before = len(tap.sent)
        with trio.move_on_after(200):
            await stream.receive_some()
        one_byte = 37 + 1
        assert record_lengths(tap.sent[before:]) == [one_byte] * 4  # each 40 s and up to an eighth
        assert await ask(stream) == b"HELLO"  # a client that knows nothing of it does not mind
        await stream.aclose()


async def test_keep_alive_is_left_out_where_there_is_traffic(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    async with serving(shout, replace(server, keep_alive=40)) as served, await served.connect(client) as stream:
        for _ in range(20):
            assert await ask(stream) == b"HELLO"
            await trio.sleep(20)
        assert stream.statistics().records_received == 21  # the verdict, and the answers


async def test_a_client_that_takes_no_keep_alive_holds_up_no_other(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    async with serving(shout, replace(server, keep_alive=40)) as served:
        near, far = trio.testing.lockstep_stream_pair()
        await served.listener.deliver(far)
        deaf = await ss.wrap_client(near, client)
        async with await served.connect(client) as stream:
            with trio.move_on_after(200):
                await stream.receive_some()
            assert stream.statistics().records_received == 5
        await trio.aclose_forcefully(deaf)


# --- sources -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("10.1.2.3:4711", "10.1.2.3"),
        ("[2001:db8:1:2:3:4:5:6]:4711", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::]:1", "2001:db8:1:2::/64"),
        ("[fe80::1%eth0]:4711", "fe80::/64"),
        ("[::1]:4711", "::/64"),
        ("[::ffff:10.1.2.3]:4711", "10.1.2.3"),
        ("", ""),
        ("unix:/run/client", ""),
        ("unix:10.1.2.3:4711", ""),
    ],
)
def test_a_source_is_an_ipv4_address_or_the_network_of_an_ipv6_address(address: str, source: str) -> None:
    assert source_of(address) == source


@pytest.mark.wire
async def test_beyond_the_connections_of_one_source_a_client_is_told_alert_10(configs: Configs) -> None:
    client, server = configs
    with trio.fail_after(PATIENCE):
        async with serving_tcp(shout, limited(server, connections_per_source=2)) as port:
            first, second = [await ss.open_secure_tcp_stream("127.0.0.1", port, client) for _ in range(2)]
            refused = await failure_of(ss.open_secure_tcp_stream("127.0.0.1", port, client), ss.HandshakeRefused)
            assert refused.code == "busy"
            other = await ss.open_secure_tcp_stream("127.0.0.1", port, client, local_address="127.0.0.2")
            assert await ask(other) == b"HELLO"  # another source has places of its own
            await first.aclose()
            third = await _until_there_is_room(port, client)
            assert [await ask(stream) for stream in (second, third)] == [b"HELLO"] * 2
            for stream in (second, third, other):
                await stream.aclose()


async def _until_there_is_room(port: int, client: ss.ClientConfig) -> ss.SecureStream[trio.SocketStream]:
    while True:
        with contextlib.suppress(ss.HandshakeRefused):
            return await ss.open_secure_tcp_stream("127.0.0.1", port, client)


async def test_connections_without_an_ip_address_are_not_counted_by_source(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    async with serving(shout, limited(server, connections_per_source=1)) as served:
        for stream in [await served.connect(client) for _ in range(5)]:
            assert await ask(stream) == b"HELLO"
