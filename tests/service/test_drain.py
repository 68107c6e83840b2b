"""A server that ends in order: nobody new, the idle ones told at once, the busy ones given time."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss

from ..streams.support import PATIENCE, Configs, matching_configs, receive_all, receive_until_error
from .support import MemoryListener, Server, ask, serving, shout

if TYPE_CHECKING:
    from trio.testing import MockClock

TOLD = ss.Alert(ss.AlertCode.SHUTTING_DOWN, "this server is shutting down")
Stream = ss.SecureStream[trio.abc.Stream]
ClientStream = ss.SecureStream[trio.abc.HalfCloseableStream]


async def work(stream: Stream) -> None:
    """Takes as many seconds for an answer as the client says."""
    async for chunk in stream:
        await trio.sleep(float(chunk))
        await stream.send_all(b"done")


async def at_work(served: Server, client: ss.ClientConfig, seconds: float) -> ClientStream:
    stream = await served.connect(client)
    await stream.send_all(str(seconds).encode())
    await trio.testing.wait_all_tasks_blocked()
    return stream


async def farewell(stream: ClientStream) -> tuple[bytes, float, ss.Alert]:
    """What still came, when the end came, and how."""
    received, error = await receive_until_error(stream)
    assert isinstance(error, ss.PeerAlert)
    when = trio.current_time()
    await stream.aclose()
    return received, when, error.alert


async def test_idle_connections_are_told_at_once(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    drain = ss.Drain()
    async with serving(shout, server, drain=drain) as served:
        streams = [await served.connect(client) for _ in range(3)]
        assert await ask(streams[0]) == b"HELLO"
        start = trio.current_time()
        drain.start()
        for stream in streams:
            assert await farewell(stream) == (b"", start, TOLD)


async def test_nobody_new_comes_in(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    drain = ss.Drain()
    async with serving(work, server, drain=drain) as served:
        await at_work(served, client, 10)
        drain.start()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError):  # the listener is closed
            await served.listener.connect()


async def test_a_busy_handler_finishes_what_it_does_and_is_then_told(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    drain = ss.Drain(grace=30)
    async with serving(work, server, drain=drain) as served:
        stream = await at_work(served, client, 10)
        start = trio.current_time()
        drain.start()
        received, when, alert = await farewell(stream)
    assert (received, alert) == (b"done", TOLD)
    assert 10 <= when - start <= 10.2


async def test_what_is_not_done_by_the_deadline_is_told_then(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    drain = ss.Drain(grace=30)
    async with serving(work, server, drain=drain) as served:
        stream = await at_work(served, client, 100)
        start = trio.current_time()
        drain.start()
        assert drain.deadline == start + 30
        assert await farewell(stream) == (b"", start + 30, TOLD)


async def test_to_hurry_is_to_let_the_grace_be_over(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    drain = ss.Drain(grace=30)
    async with serving(work, server, drain=drain) as served:
        stream = await at_work(served, client, 100)
        start = trio.current_time()
        drain.start()
        await trio.sleep(5)
        drain.hurry()
        assert 5 <= (await farewell(stream))[1] - start <= 5.2


async def serve_until_drained(
    handler: object, server: ss.ServerConfig, listener: MemoryListener, drain: ss.Drain, ended: list[float]
) -> None:
    try:
        await ss.serve_secure_listeners(handler, [listener], server, drain=drain)  # type: ignore[arg-type]  # any
    finally:
        ended.append(trio.current_time())


async def test_serving_returns_when_the_last_connection_has_ended(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    drain, listener, ended = ss.Drain(grace=30), MemoryListener(), list[float]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_until_drained, work, server, listener, drain, ended)
        stream = await at_work(Server(listener, nursery), client, 7)
        start = trio.current_time()
        drain.start()
        assert (await farewell(stream))[0] == b"done"
    assert 7 <= ended[0] - start <= 7.2


async def test_a_server_with_nobody_in_it_drains_at_once(autojump_clock: MockClock) -> None:
    _, server = matching_configs()
    drain = ss.Drain()
    drain.start()
    start = trio.current_time()
    await ss.serve_secure_listeners(shout, [MemoryListener()], server, drain=drain)
    assert trio.current_time() == start


async def test_cancelled_it_drains_too_and_then_goes_on_cancelled(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    drain, listener, ended = ss.Drain(grace=30), MemoryListener(), list[float]()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_until_drained, work, server, listener, drain, ended)
            idle, busy = [await at_work(Server(listener, nursery), client, seconds) for seconds in (0, 10)]
            assert await idle.receive_some() == b"done"
            await trio.testing.wait_all_tasks_blocked()
            start = trio.current_time()
            scope.cancel()
            with trio.CancelScope(shield=True):
                assert await farewell(idle) == (b"", start, TOLD)
                assert (await farewell(busy))[0] == b"done"
    assert scope.cancelled_caught
    assert 10 <= ended[0] - start <= 10.2


async def test_a_client_in_the_handshake_is_not_forgotten(autojump_clock: MockClock) -> None:
    """It may finish, and what it asks then is answered; one that stays silent holds the server up no longer than
    the grace."""
    client, server = matching_configs()
    drain = ss.Drain(grace=3)
    async with serving(work, server, drain=drain) as served:
        near, silent = [await served.listener.connect() for _ in range(2)]
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        drain.start()
        stream = await ss.wrap_client(near, client)
        assert (await farewell(stream))[2] == TOLD
        assert await silent.receive_some() == b""
        assert trio.current_time() - start <= 3 + 2 * server.close_timeout


async def test_a_question_that_is_on_its_way_is_answered(configs: Configs) -> None:
    """Over a socket: it lies in the kernel, and the handler still waits."""
    client, server = configs
    drain, ends = ss.Drain(), list[trio.SocketListener]()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            serve = partial(ss.serve_secure_tcp, shout, 0, server, host="127.0.0.1", drain=drain)
            ends += await nursery.start(serve)
            port = ends[0].socket.getsockname()[1]
            async with await ss.open_secure_tcp_stream("127.0.0.1", port, client) as stream:
                assert await ask(stream) == b"HELLO"
                drain.start()
                await stream.send_all(b"hello")
                received, error = await receive_until_error(stream)
            assert error.code == "shutting_down"
            assert received in (b"", b"HELLO")


async def test_a_handler_that_does_not_end_is_cut_off_after_the_deadline(autojump_clock: MockClock) -> None:
    async def pour(stream: Stream) -> None:
        while True:
            await stream.send_all(bytes(2**16))

    client, server = matching_configs()
    drain, listener, ended = ss.Drain(grace=3), MemoryListener(), list[float]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_until_drained, pour, server, listener, drain, ended)
        near, far = trio.testing.lockstep_stream_pair()
        await listener.deliver(far)
        await ss.wrap_client(near, client)  # and takes nothing
        start = trio.current_time()
        drain.start()
    assert 3 <= ended[0] - start <= 3 + 2 * server.close_timeout


async def test_a_half_closed_connection_is_let_finish(autojump_clock: MockClock) -> None:
    """After its own end no alert could tell the client anything."""

    async def collect(stream: Stream) -> None:
        await stream.send_eof()
        got.append(await receive_all(stream))

    got = list[bytes]()
    client, server = matching_configs()
    drain = ss.Drain(grace=30)
    async with serving(collect, server, drain=drain) as served:
        stream = await served.connect(client)
        await trio.testing.wait_all_tasks_blocked()
        drain.start()
        await trio.sleep(10)
        await stream.send_all(b"all of it")
        await stream.send_eof()
        assert await receive_all(stream) == b""
    assert got == [b"all of it"]


async def test_handlers_in_a_nursery_of_the_caller_are_told_as_well(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    drain = ss.Drain()
    async with (
        trio.open_nursery() as handlers,
        serving(shout, server, handler_nursery=handlers, drain=drain) as served,
    ):
        stream = await served.connect(client)
        await trio.testing.wait_all_tasks_blocked()
        drain.start()
        assert (await farewell(stream))[2] == TOLD


async def test_one_drain_ends_several_servers(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    drain = ss.Drain()
    async with serving(shout, server, drain=drain) as one, serving(shout, server, drain=drain) as other:
        streams = [await served.connect(client) for served in (one, other)]
        await trio.testing.wait_all_tasks_blocked()
        drain.start()
        assert [(await farewell(stream))[2] for stream in streams] == [TOLD, TOLD]


@pytest.mark.parametrize("wrong", [-1.0, float("nan")])
def test_a_grace_is_none_or_more(wrong: float) -> None:
    with pytest.raises(ValueError, match="grace"):
        ss.Drain(wrong)


# --- signals ---------------------------------------------------------------------------------------------


async def test_a_signal_starts_it_and_another_one_hurries(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    with ss.drain_on(signal.SIGUSR1, grace=30) as drain:
        async with serving(work, server, drain=drain) as served:
            idle, busy = await served.connect(client), await at_work(served, client, 100)
            start = trio.current_time()
            os.kill(os.getpid(), signal.SIGUSR1)
            await drain.wait()
            assert drain.signal == signal.SIGUSR1
            assert (await farewell(idle))[2] == TOLD
            os.kill(os.getpid(), signal.SIGUSR1)
            assert (await farewell(busy))[2] == TOLD
            assert trio.current_time() - start < 30


async def test_a_server_that_ends_by_itself_waits_for_no_signal(autojump_clock: MockClock) -> None:
    _, server = matching_configs()
    with ss.drain_on(signal.SIGUSR1) as drain:
        drain.start()
        await ss.serve_secure_listeners(shout, [MemoryListener()], server, drain=drain)
    assert drain.signal is None
