"""StreamPool: streams used one after the other; what goes back, what doesn't, and who gets one when."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss

from ..streams.support import PATIENCE, client_and_puppet, in_background, matching_configs
from ..streams.test_cancellation import at_each_checkpoint, is_cut
from ..streams.transports import Tls, WithoutHalfClose, reset, tcp_pair
from .support import MemoryListener, ask, serving, serving_tcp, shout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trio.testing import MockClock

    from ..streams.support import Puppet

    Stream = ss.SecureStream[trio.SocketStream]
    Pool = ss.StreamPool[trio.SocketStream]

CLIENT, SERVER = matching_configs()


class Shouting:
    """A server on TCP that shouts, and counts its handshakes and those of its streams that are open."""

    def __init__(self) -> None:
        self.port = 0
        self.handshakes = 0
        self.open = 0
        self.streams: list[Stream] = []

    async def authorize(self, peer: ss.Peer) -> None:
        self.handshakes += 1

    async def handle(self, stream: Stream) -> None:
        self.open += 1
        self.streams.append(stream)
        try:
            await shout(stream)
        finally:
            self.open -= 1

    async def connect(self) -> Stream:
        return await ss.open_secure_tcp_stream("127.0.0.1", self.port, CLIENT)


@asynccontextmanager
async def shouting() -> AsyncIterator[Shouting]:
    server = Shouting()
    with trio.fail_after(PATIENCE):
        async with serving_tcp(server.handle, replace(SERVER, authorize=server.authorize)) as server.port:
            yield server


async def settled() -> None:
    """Until the system has delivered what was sent, and everybody has done what he has to."""
    await trio.testing.wait_all_tasks_blocked(0.01)


# --- use after use ------------------------------------------------------------------------------------


async def test_a_stream_is_used_again_without_another_handshake() -> None:
    async with shouting() as server, ss.StreamPool(server.connect) as pool:
        used = set()
        for _ in range(20):
            async with pool.stream() as stream:
                used.add(stream)
                assert await ask(stream) == b"HELLO"
        assert (len(used), server.handshakes, pool.statistics().opened) == (1, 1, 1)


async def test_a_connection_string_and_what_it_says_will_do() -> None:
    server = Shouting()
    async with serving_tcp(server.handle, replace(SERVER, authorize=server.authorize)) as port:
        text = f"Server=127.0.0.1:{port};Server Key={SERVER.key.public_key}"
        for where in (text, ss.parse_address(text)):
            async with ss.StreamPool(where) as pool, pool.stream() as stream:
                assert await ask(stream) == b"HELLO"
    with pytest.raises(ss.AddressError):
        ss.StreamPool("Server=nowhere")


async def test_over_memory_streams_are_used_again_too(autojump_clock: MockClock) -> None:
    async with serving(shout, SERVER) as server, ss.StreamPool(partial(server.connect, CLIENT)) as pool:
        for _ in range(3):
            async with pool.stream() as stream:
                assert await ask(stream) == b"HELLO"
        assert pool.statistics() == ss.PoolStatistics(open=1, idle=1, waiting=0, opened=1)


async def test_as_many_are_opened_as_are_in_use_at_once() -> None:
    async with shouting() as server, ss.StreamPool(server.connect) as pool:
        for _ in range(3):
            async with pool.stream() as one, pool.stream() as other:
                assert one is not other
                assert await ask(one) == await ask(other) == b"HELLO"
        assert server.handshakes == 2


# --- what goes back -----------------------------------------------------------------------------------


async def end_it(stream: Stream) -> None:
    await stream.send_eof()


async def close_it(stream: Stream) -> None:
    await stream.aclose()


async def leave_some(stream: Stream) -> None:
    await stream.send_all(b"hello")
    await stream.receive_some(1)


async def leave_everything(stream: Stream) -> None:
    await stream.send_all(b"hello")
    await settled()


async def give_up_waiting(stream: Stream) -> None:
    """For an answer that may come when another one uses the stream."""
    assert await ask(stream) == b"HELLO"
    async with in_background(stream.receive_some) as scope:
        scope.cancel()


async def cut_a_send_short(stream: Stream) -> None:
    assert await is_cut(partial(stream.send_all, bytes(2**24)), 2)
    assert not stream._may_send()


async def alert_it(stream: Stream) -> None:
    await stream.send_alert(5_000, "no more")


SPOILING = [end_it, close_it, leave_some, leave_everything, give_up_waiting, cut_a_send_short, alert_it]


@pytest.mark.parametrize("spoil", SPOILING)
async def test_a_stream_that_is_not_clean_does_not_go_back(spoil: Callable[[Stream], Awaitable[None]]) -> None:
    async with shouting() as server, ss.StreamPool(server.connect) as pool:
        async with pool.stream() as first:
            await spoil(first)
        assert pool.statistics() == ss.PoolStatistics(open=0, idle=0, waiting=0, opened=1)
        async with pool.stream() as second:
            assert second is not first
            assert await ask(second) == b"HELLO"


async def test_a_stream_whose_answer_came_after_all_goes_back() -> None:
    async with shouting() as server, ss.StreamPool(server.connect) as pool:
        async with pool.stream() as stream:
            await give_up_waiting(stream)
            assert await ask(stream) == b"HELLO"
        assert pool.statistics().idle == 1


async def test_a_stream_that_another_task_still_uses_does_not_go_back() -> None:
    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()

    async with shouting() as server, ss.StreamPool(server.connect) as pool, trio.open_nursery() as nursery:
        async with pool.stream() as stream:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
        assert pool.statistics().open == 0


async def test_left_by_an_exception_the_stream_is_closed_and_its_peer_told() -> None:
    seen: list[ss.PeerAlert] = []

    async def listen(stream: Stream) -> None:
        try:
            await shout(stream)
        except ss.PeerAlert as exc:
            seen.append(exc)

    async with serving_tcp(listen, SERVER) as port:
        async with ss.StreamPool(partial(ss.open_secure_tcp_stream, "127.0.0.1", port, CLIENT)) as pool:
            with pytest.raises(ss.StreamFailure):
                async with pool.stream() as stream:
                    assert await ask(stream) == b"HELLO"
                    raise ss.StreamFailure(5_001, "enough")
            assert pool.statistics().open == 0
        await settled()
    assert [exc.alert for exc in seen] == [ss.Alert(5_001, "enough")]


# --- what is handed out again -------------------------------------------------------------------------


async def with_alert(puppet: Puppet[trio.SocketStream]) -> None:
    await puppet.say(puppet.alert(ss.AlertCode.SHUTTING_DOWN))


async def with_content(puppet: Puppet[trio.SocketStream]) -> None:
    await puppet.say(puppet.data(b"an answer that nobody asked for"))


async def with_a_piece(puppet: Puppet[trio.SocketStream]) -> None:
    await puppet.say(puppet.data(b"an answer that nobody asked for")[:-5])


async def with_garbage(puppet: Puppet[trio.SocketStream]) -> None:
    await puppet.say(bytes(100))


async def with_an_end(puppet: Puppet[trio.SocketStream]) -> None:
    await puppet.say(puppet.close())


async def with_its_connection_gone(puppet: Puppet[trio.SocketStream]) -> None:
    await puppet.transport.aclose()


async def with_a_reset(puppet: Puppet[trio.SocketStream]) -> None:
    reset(puppet.transport)


async def with_a_flood_of_empty_records(puppet: Puppet[trio.SocketStream]) -> None:
    with trio.move_on_after(1):
        while True:
            await puppet.say(*[puppet.data(b"") for _ in range(500)])


async def with_empty_records(puppet: Puppet[trio.SocketStream]) -> None:
    await puppet.say(puppet.data(b""), puppet.data(b""))


async def with_another_key(puppet: Puppet[trio.SocketStream]) -> None:
    await puppet.say(puppet.seal(ss.protocol.suites.RecordType.KEY_UPDATE), puppet.data(b""))


async def with_nothing(puppet: Puppet[trio.SocketStream]) -> None:
    """Silence."""


DIRTY = [
    with_alert,
    with_content,
    with_a_piece,
    with_garbage,
    with_an_end,
    with_its_connection_gone,
    with_a_reset,
    with_a_flood_of_empty_records,
]


class Puppets:
    """Opens streams to servers that are moved by hand."""

    def __init__(self) -> None:
        self.puppets: list[Puppet[trio.SocketStream]] = []

    async def connect(self) -> Stream:
        stream, puppet = await client_and_puppet(await tcp_pair(), matching_configs(close_timeout=0.1))
        self.puppets.append(puppet)
        return stream


async def two_uses(between: Callable[[Puppet[trio.SocketStream]], Awaitable[None]]) -> int:
    """How many streams they take."""
    servers = Puppets()
    with trio.fail_after(PATIENCE):
        async with ss.StreamPool(servers.connect) as pool:
            async with pool.stream():
                pass
            await between(servers.puppets[0])
            await settled()
            async with pool.stream() as stream:
                await servers.puppets[-1].say(servers.puppets[-1].data(b"here"))
                assert await stream.receive_some() == b"here"
            return pool.statistics().opened


@pytest.mark.parametrize("between", DIRTY)
async def test_an_idle_stream_is_not_handed_out(
    between: Callable[[Puppet[trio.SocketStream]], Awaitable[None]], autojump_clock: MockClock
) -> None:
    assert await two_uses(between) == 2


@pytest.mark.parametrize("between", [with_nothing, with_empty_records, with_another_key])
async def test_an_idle_stream_is_handed_out(
    between: Callable[[Puppet[trio.SocketStream]], Awaitable[None]], autojump_clock: MockClock
) -> None:
    assert await two_uses(between) == 1


async def test_a_server_that_was_started_again_is_met_with_new_streams_only() -> None:
    async with shouting() as server, ss.StreamPool(server.connect) as pool:
        async with pool.stream() as one, pool.stream() as other:
            assert await ask(one) == await ask(other) == b"HELLO"
        for stream in server.streams:
            await stream.send_alert(ss.AlertCode.SHUTTING_DOWN)
        await settled()
        async with pool.stream() as one, pool.stream() as other:
            assert await ask(one) == await ask(other) == b"HELLO"
        assert server.handshakes == 4


async def test_over_tls_whatever_comes_while_a_stream_is_idle_is_the_end_of_it(autojump_clock: MockClock) -> None:
    tls, configs = Tls(), matching_configs(close_timeout=0.1)
    servers: list[ss.SecureStream[trio.abc.Stream]] = []

    async def connect() -> ss.SecureStream[trio.abc.Stream]:
        near, far = tls.over(*await tcp_pair())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, far)
            return await ss.wrap_client(near, configs[0])

    async def serve(transport: trio.abc.Stream) -> None:
        servers.append(await ss.wrap_server(transport, configs[1]))

    async with ss.StreamPool(connect) as pool:
        for expected in (1, 1):
            async with pool.stream():
                await settled()
            assert pool.statistics().opened == expected
        await servers[0].send_alert(5_000)
        await settled()
        async with pool.stream():
            assert pool.statistics().opened == 2
    for stream in servers:
        await trio.aclose_forcefully(stream)


# --- time and numbers ---------------------------------------------------------------------------------


@asynccontextmanager
async def memory_pool(
    *, max_idle: int | None = None, max_lifetime: float = math.inf, max_streams: int = 10
) -> AsyncIterator[ss.StreamPool[trio.abc.HalfCloseableStream]]:
    with trio.fail_after(PATIENCE * 100):
        async with serving(shout, SERVER) as server:
            connect = partial(server.connect, CLIENT)
            async with ss.StreamPool(
                connect, max_streams=max_streams, max_idle=max_idle, idle_timeout=10, max_lifetime=max_lifetime
            ) as pool:
                yield pool


async def use(pool: ss.StreamPool[trio.abc.HalfCloseableStream], at_once: int = 1) -> None:
    if at_once:
        async with pool.stream() as stream:
            assert await ask(stream) == b"HELLO"
            await use(pool, at_once - 1)


async def test_a_stream_that_was_idle_for_too_long_is_not_used_again(autojump_clock: MockClock) -> None:
    async with memory_pool() as pool:
        for seconds, opened in ((0, 1), (9, 1), (9, 1), (11, 2), (9, 2)):
            await trio.sleep(seconds)
            await use(pool)
            assert pool.statistics().opened == opened


async def test_a_stream_that_is_too_old_is_not_used_again(autojump_clock: MockClock) -> None:
    async with memory_pool(max_lifetime=20) as pool:
        for seconds, opened in ((0, 1), (9, 1), (9, 1), (9, 2), (9, 2)):
            await trio.sleep(seconds)
            await use(pool)
            assert pool.statistics().opened == opened
        async with pool.stream():
            await trio.sleep(21)
        assert pool.statistics().open == 0


async def test_what_was_needed_once_is_closed_when_it_is_overdue(autojump_clock: MockClock) -> None:
    async with memory_pool() as pool:
        await use(pool, at_once=5)
        await trio.sleep(8)
        assert pool.statistics() == ss.PoolStatistics(open=5, idle=5, waiting=0, opened=5)
        await use(pool)
        await trio.sleep(8)
        await use(pool)
        assert pool.statistics() == ss.PoolStatistics(open=1, idle=1, waiting=0, opened=5)


async def test_no_more_than_max_idle_are_kept(autojump_clock: MockClock) -> None:
    for most in (0, 2):
        async with memory_pool(max_idle=most) as pool:
            await use(pool, at_once=5)
            assert pool.statistics() == ss.PoolStatistics(open=most, idle=most, waiting=0, opened=5)


async def test_no_more_than_max_streams_are_open_whatever_happens() -> None:
    most = 0

    async def look(stream: Stream) -> None:
        nonlocal most
        most = max(most, server.open)
        await ask(stream)
        most = max(most, server.open)

    async def use_often(pool: Pool, number: int) -> None:
        for turn in range(10):
            with trio.CancelScope() as scope:
                async with pool.stream() as stream:
                    await look(stream)
                    if (turn + number) % 3 == 0:
                        scope.cancel()
                    await trio.lowlevel.checkpoint()

    async with shouting() as server, ss.StreamPool(server.connect, max_streams=4) as pool:
        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(use_often, pool, number)
        assert pool.statistics().waiting == 0
        assert pool.statistics().open == pool.statistics().idle <= 4
    assert most == 4


def test_limits_that_make_no_sense_are_refused() -> None:
    make = partial(ss.StreamPool[trio.SocketStream], Shouting().connect)
    for wrong in (
        partial(make, max_streams=0),
        partial(make, max_idle=-1),
        partial(make, idle_timeout=0),
        partial(make, idle_timeout=math.nan),
        partial(make, max_lifetime=-1),
    ):
        with pytest.raises(ValueError):
            wrong()


# --- the queue ----------------------------------------------------------------------------------------


async def test_who_waits_is_served_in_order_and_nobody_pushes_in(autojump_clock: MockClock) -> None:
    order: list[int] = []

    async def wait(number: int) -> None:
        async with pool.stream():
            order.append(number)
            await trio.sleep(1)

    async with memory_pool(max_streams=1) as pool, trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(wait, number)
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(0.5)
        assert pool.statistics().waiting == 9
        await trio.sleep(0.5)
        nursery.start_soon(wait, 10)  # just when the place is free again
    assert order == list(range(11))
    assert pool.statistics().opened == 1


async def test_who_gives_up_waiting_holds_nobody_up(autojump_clock: MockClock) -> None:
    served: list[str] = []

    async def wait(name: str) -> None:
        async with pool.stream():
            served.append(name)

    async with memory_pool(max_streams=1) as pool, trio.open_nursery() as nursery, pool.stream():
        with trio.move_on_after(1) as scope:
            await wait("impatient")
        assert scope.cancelled_caught
        nursery.start_soon(wait, "patient")
        await trio.testing.wait_all_tasks_blocked()
        assert pool.statistics().waiting == 1
    assert served == ["patient"]


async def test_who_is_cancelled_in_the_moment_of_his_turn_passes_the_stream_on(autojump_clock: MockClock) -> None:
    for first in ("free", "cancel"):
        served: list[str] = []

        async def wait(name: str, scope: trio.CancelScope, served: list[str] = served) -> None:
            with scope:
                async with pool.stream():
                    await trio.lowlevel.checkpoint()
                    served.append(name)

        async with memory_pool(max_streams=1) as pool, trio.open_nursery() as nursery:
            unlucky = trio.CancelScope()
            async with pool.stream():
                nursery.start_soon(wait, "unlucky", unlucky)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(wait, "next", trio.CancelScope())
                await trio.testing.wait_all_tasks_blocked()
                if first == "cancel":
                    unlucky.cancel()
            unlucky.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert pool.statistics().waiting == 0
            assert pool.statistics().open == pool.statistics().idle
        assert served == ["next"]


async def test_where_nothing_can_be_opened_each_gets_the_error_and_no_place_is_lost(autojump_clock: MockClock) -> None:
    refused = 0

    async def refuse() -> ss.SecureStream[trio.abc.Stream]:
        await trio.sleep(1)
        raise ConnectionRefusedError("nobody listens")

    async def hope() -> None:
        nonlocal refused
        with pytest.raises(ConnectionRefusedError):
            async with pool.stream():
                pytest.fail("a stream out of nowhere")
        refused += 1

    async with ss.StreamPool(refuse, max_streams=2) as pool, trio.open_nursery() as nursery:
        for _ in range(7):
            nursery.start_soon(hope)
    assert refused == 7
    assert pool.statistics() == ss.PoolStatistics(open=0, idle=0, waiting=0, opened=0)


# --- the pool's end -----------------------------------------------------------------------------------


async def test_a_pool_that_is_closed_closes_what_is_idle_now_and_what_is_in_use_later() -> None:
    async with shouting() as server:
        pool = ss.StreamPool(server.connect, max_streams=2)
        async with pool.stream() as held:
            async with pool.stream() as idle:
                assert await ask(idle) == b"HELLO"
            await pool.aclose()
            with pytest.raises(trio.ClosedResourceError):
                await idle.send_all(b"x")
            assert await ask(held) == b"HELLO"
        with pytest.raises(trio.ClosedResourceError):
            await held.send_all(b"x")
        with pytest.raises(trio.ClosedResourceError, match="this pool was closed"):
            async with pool.stream():
                pytest.fail("a closed pool gave a stream")
        await pool.aclose()
        await settled()
        assert server.open == 0
        assert pool.statistics().open == 0


async def test_who_waits_while_the_pool_is_closed_is_told(autojump_clock: MockClock) -> None:
    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError, match="this pool was closed"):
            async with pool.stream():
                pytest.fail("a closed pool gave a stream")

    async with memory_pool(max_streams=1) as pool, trio.open_nursery() as nursery, pool.stream():
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await pool.aclose()
    assert pool.statistics() == ss.PoolStatistics(open=0, idle=0, waiting=0, opened=1)


async def test_closing_takes_no_longer_for_many_silent_servers_than_for_one(autojump_clock: MockClock) -> None:
    servers = Puppets()
    pool = ss.StreamPool(servers.connect)
    async with pool.stream(), pool.stream(), pool.stream():
        pass
    before = trio.current_time()
    await pool.aclose()
    assert trio.current_time() - before == pytest.approx(0.1, abs=0.05)


# --- cancelled wherever it can be ---------------------------------------------------------------------


async def visit(pool: ss.StreamPool[trio.abc.Stream]) -> None:
    """All that can be awaited: opening, using, closing one too many, closing what is overdue and opening another."""
    async with pool.stream() as one, pool.stream() as other:
        await ask(other)
        assert await ask(one) == b"HELLO"
    await trio.sleep(20)
    async with pool.stream() as one:
        assert await ask(one) == b"HELLO"


class Counted(WithoutHalfClose):
    """A transport that is counted while it is open."""

    def __init__(self, inner: trio.abc.Stream, open_ones: set[Counted]) -> None:
        super().__init__(inner)
        self._open_ones = open_ones
        open_ones.add(self)

    async def aclose(self) -> None:
        self._open_ones.discard(self)
        await super().aclose()


async def test_cancelled_at_each_checkpoint_no_place_task_or_transport_is_left(autojump_clock: MockClock) -> None:
    async def trial(steps: int) -> bool:
        open_ones: set[Counted] = set()

        async def connect() -> ss.SecureStream[trio.abc.Stream]:
            return await ss.wrap_client(Counted(await listener.connect(), open_ones), CLIENT)

        async with serving(shout, SERVER) as server:
            listener: MemoryListener = server.listener
            await trio.testing.wait_all_tasks_blocked()
            tasks = trio.lowlevel.current_statistics().tasks_living
            pool = ss.StreamPool(connect, max_streams=2, max_idle=1, idle_timeout=10)
            cut = await is_cut(partial(visit, pool), steps)
            statistics = pool.statistics()
            assert statistics.open == statistics.idle == len(open_ones)
            assert statistics.waiting == 0
            if cut:
                async with pool.stream() as one, pool.stream() as other:  # all places are there still
                    assert await ask(one) == await ask(other) == b"HELLO"
            await pool.aclose()
            assert not open_ones
            await trio.testing.wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().tasks_living == tasks
        return cut

    await at_each_checkpoint(trial)


async def test_closing_cancelled_at_each_checkpoint_leaves_no_socket() -> None:
    async def trial(steps: int) -> bool:
        async with shouting() as server:
            pool = ss.StreamPool(server.connect)
            async with pool.stream() as one, pool.stream() as other:
                assert await ask(one) == await ask(other) == b"HELLO"
            cut = await is_cut(pool.aclose, steps)
            assert pool.statistics() == ss.PoolStatistics(open=0, idle=0, waiting=0, opened=2)
            assert one.transport_stream.socket.fileno() == other.transport_stream.socket.fileno() == -1
            await settled()
            assert server.open == 0
        return cut

    await at_each_checkpoint(trial)
