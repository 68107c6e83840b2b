"""`aclose` ends both directions in order, in bounded time, whatever the peer and the other tasks do."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.protocol.records import End

from .support import (
    NEARLY_AT_ONCE,
    PATIENCE,
    TOO_MUCH,
    Configs,
    Pair,
    assert_closed_resource,
    assert_transport_closed,
    at_step,
    client_and_puppet,
    ends_closed,
    in_background,
    matching_configs,
    receive_all,
    receive_until_error,
    secure_pair,
    tapped_pair,
)
from .transports import Tap, Transports, WithoutHalfClose, lockstep_pair, memory_pair, small_socket_pair, tcp_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from securestream.protocol.suites import AnySuite


@pytest.fixture
async def pair(make_transports: Callable[[], Awaitable[Transports]], configs: Configs) -> Pair[trio.abc.Stream]:
    return await secure_pair(make_transports, configs)


# --- in bounded time -----------------------------------------------------------------------------------


async def test_a_peer_that_does_nothing_is_waited_for_no_longer_than_the_close_timeout(
    make_transports: Callable[[], Awaitable[Transports]], suite: AnySuite, autojump_clock: MockClock
) -> None:
    near, _ = await secure_pair(make_transports, matching_configs(suite, close_timeout=3))
    start = trio.current_time()
    await near.aclose()
    assert trio.current_time() - start == pytest.approx(3)
    await assert_transport_closed(near.transport_stream)


@pytest.mark.parametrize("end", ["send_eof", "send_alert"])
async def test_after_an_end_or_an_alert_of_one_s_own_the_peer_is_waited_for_too(
    end: str, configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(memory_pair, configs)
    await getattr(near, end)()
    start = trio.current_time()
    async with in_background(near.aclose):
        await trio.sleep(0.5)
        await far.transport_stream.aclose()
    assert trio.current_time() - start == pytest.approx(0.5)


async def test_after_a_truncated_stream_nobody_is_waited_for(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(make_transports, configs)
    await far.transport_stream.send_eof()  # type: ignore[attr-defined]
    assert type((await receive_until_error(near))[1]) is ss.TruncatedStream
    start = trio.current_time()
    await near.aclose()
    assert trio.current_time() == start


async def test_a_peer_that_has_ended_is_not_waited_for(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(make_transports, configs)
    async with in_background(far.send_eof):
        assert await receive_all(near) == b""
    start = trio.current_time()
    async with in_background(near.aclose):
        assert await receive_all(far) == b""
    assert trio.current_time() == start
    await far.aclose()


async def test_a_peer_that_ends_meanwhile_is_waited_for_no_longer(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(make_transports, configs)
    start = trio.current_time()
    async with in_background(near.aclose):
        assert await receive_all(far) == b""
        await far.aclose()
    assert trio.current_time() == start


async def test_an_end_that_lies_behind_many_records_is_found(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await memory_pair()
    stream, puppet = await client_and_puppet((near, far), configs)
    await puppet.say(*[puppet.data(b"x") for _ in range(2_000)], puppet.close())
    assert await stream.receive_some()
    start = trio.current_time()
    await stream.aclose()
    assert trio.current_time() == start


async def test_a_peer_that_sends_for_ever_is_listened_to_no_longer_than_1_mib(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await lockstep_pair()
    stream, puppet = await client_and_puppet((near, far), configs)
    heard = 0

    async def talk() -> None:
        nonlocal heard
        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
            while True:
                await puppet.say(puppet.data(bytes(16_000)))
                heard += 16_000

    async def listen() -> None:
        await puppet.hear()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk)
        nursery.start_soon(listen)
        start = trio.current_time()
        await stream.aclose()
    assert trio.current_time() == start
    assert 2**20 <= heard + 16_000 <= 2**20 + 64_000


async def test_a_transport_whose_closing_hangs_is_closed_forcefully(autojump_clock: MockClock) -> None:
    class Hanging(Tap):
        async def aclose(self) -> None:
            await super().aclose()
            await trio.sleep_forever()

    near, far = await memory_pair()
    stream, puppet = await client_and_puppet((Hanging(near), Tap(far)), matching_configs(close_timeout=3))
    await puppet.say(puppet.close())
    start = trio.current_time()
    await stream.aclose()
    assert trio.current_time() - start == pytest.approx(3)
    assert await puppet.hear() == (b"", End.CLOSED)


async def test_a_transport_whose_closing_fails_is_closed_and_its_error_raised(autojump_clock: MockClock) -> None:
    class Failing(Tap):
        closed = 0

        async def aclose(self) -> None:
            await super().aclose()
            self.closed += 1
            if self.closed == 1:
                raise OSError("no")

    near, far = await memory_pair()
    stream, puppet = await client_and_puppet((Failing(near), Tap(far)), matching_configs())
    await puppet.say(puppet.close())
    with pytest.raises(OSError, match="no"):
        await stream.aclose()
    await stream.aclose()


async def test_a_close_timeout_of_nothing_closes_at_once(
    make_transports: Callable[[], Awaitable[Transports]], autojump_clock: MockClock
) -> None:
    near, _ = await secure_pair(make_transports, matching_configs(close_timeout=0))
    start = trio.current_time()
    await near.aclose()
    assert trio.current_time() == start
    await assert_transport_closed(near.transport_stream)


# --- other tasks -----------------------------------------------------------------------------------------


async def test_tasks_blocked_in_send_or_receive_wake_with_closed_resource_error_at_once(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, _ = await secure_pair(make_transports, configs)
    calls: list[Callable[[], Awaitable[object]]] = [near.receive_some, partial(near.send_all, bytes(TOO_MUCH))]
    woken = 0

    async def wait_in(call: Callable[[], Awaitable[object]]) -> None:
        nonlocal woken
        with pytest.raises(trio.ClosedResourceError, match="was closed"):
            await call()
        woken += trio.current_time() == start

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for call in calls if make_transports is not memory_pair else calls[:1]:  # memory never blocks a send
            nursery.start_soon(wait_in, call)
        await trio.testing.wait_all_tasks_blocked()
        await near.aclose()
    assert woken == (1 if make_transports is memory_pair else 2)


async def test_a_task_waiting_for_room_wakes_with_closed_resource_error(autojump_clock: MockClock) -> None:
    near, _ = await secure_pair(lockstep_pair, matching_configs())

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError, match="was closed"):
            await near.wait_send_all_might_not_block()

    async with in_background(wait):
        await near.aclose()


async def test_a_send_that_is_just_running_ends_with_closed_resource_error_and_nothing_hangs(
    make_transports: Callable[[], Awaitable[Transports]], suite: AnySuite, autojump_clock: MockClock
) -> None:
    for sending, closing in NEARLY_AT_ONCE:
        near, far = await secure_pair(make_transports, matching_configs(suite))
        send = partial(ends_closed, partial(near.send_all, bytes(TOO_MUCH)))
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(at_step, sending, send)
                nursery.start_soon(at_step, closing, near.aclose)
                received = await receive_until_end_or_error(far)
        assert received < TOO_MUCH
        await trio.aclose_forcefully(far)


async def test_a_send_that_has_just_got_room_ends_at_once(configs: Configs, autojump_clock: MockClock) -> None:
    for steps in [0, 1, 2, 3] * 4:
        near, far = await secure_pair(small_socket_pair, configs)
        start = trio.current_time()

        async def send(near: ss.SecureStream[trio.abc.Stream] = near, start: float = start) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await near.send_all(bytes(TOO_MUCH))
            assert trio.current_time() == start

        async with in_background(send):
            await far.transport_stream.receive_some(200_000)
            await at_step(steps, near.aclose)
        await trio.aclose_forcefully(far)


async def receive_until_end_or_error(stream: ss.SecureStream[trio.abc.Stream]) -> int:
    received = 0
    try:
        async for chunk in stream:
            received += len(chunk)
    except ss.TruncatedStream:
        pass
    else:
        assert not received, "a send that was cut short ended like a whole one"
    return received


async def test_what_arrives_in_the_moment_of_closing_is_delivered_or_not_but_nothing_else(
    make_transports: Callable[[], Awaitable[Transports]], suite: AnySuite, autojump_clock: MockClock
) -> None:
    for sending, closing in NEARLY_AT_ONCE:
        near, far = await secure_pair(make_transports, matching_configs(suite))

        async def receive(near: ss.SecureStream[trio.abc.Stream] = near) -> None:
            with contextlib.suppress(trio.ClosedResourceError):
                assert await near.receive_some() == b"data"

        async def send(far: ss.SecureStream[trio.abc.Stream] = far) -> None:
            with contextlib.suppress(ss.TransportBroken, ss.TruncatedStream):
                await far.send_all(b"data")
            await far.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(at_step, sending, send)
            nursery.start_soon(at_step, closing, near.aclose)


async def test_every_later_call_raises_closed_resource_error(
    pair: Pair[trio.abc.Stream], autojump_clock: MockClock
) -> None:
    near, _ = pair
    await near.aclose()
    await assert_closed_resource(near, "was closed")


async def test_what_has_arrived_is_not_delivered_any_more(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, matching_configs())
    await far.send_all(b"data")
    assert await near.receive_some(1) == b"d"
    await near.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await near.receive_some()


async def test_closing_twice_is_closing_once(pair: Pair[trio.abc.Stream], autojump_clock: MockClock) -> None:
    near, far = pair
    async with in_background(near.aclose):
        start = trio.current_time()
        await near.aclose()
        assert trio.current_time() == start
        assert await receive_all(far) == b""
        await far.aclose()


# --- cancelled ---------------------------------------------------------------------------------------------


async def test_cancelled_it_closes_at_once_with_no_shield(
    pair: Pair[trio.abc.Stream], autojump_clock: MockClock
) -> None:
    near, far = pair
    start = trio.current_time()
    with trio.CancelScope() as scope:
        scope.cancel()
        await near.aclose()
    assert scope.cancelled_caught
    assert trio.current_time() == start
    await assert_transport_closed(near.transport_stream)
    assert type((await receive_until_error(far))[1]) is ss.TruncatedStream


async def test_cancelled_while_it_waits_for_the_peer_it_closes_at_once(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, _ = await secure_pair(make_transports, configs)
    with trio.move_on_after(0.5) as scope:
        await near.aclose()
    assert scope.cancelled_caught
    await assert_transport_closed(near.transport_stream)


# --- both ends at once ---------------------------------------------------------------------------------------


async def test_two_ends_closing_at_once_do_not_hang(
    make_transports: Callable[[], Awaitable[Transports]], suite: AnySuite, autojump_clock: MockClock
) -> None:
    for first, second in NEARLY_AT_ONCE:
        near, far = await secure_pair(make_transports, matching_configs(suite))
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at_step, first, near.aclose)
            nursery.start_soon(at_step, second, far.aclose)
        assert trio.current_time() == start


async def test_two_ends_closing_at_once_over_transports_without_half_close_do_not_hang(
    configs: Configs, autojump_clock: MockClock
) -> None:
    async def make() -> Transports:
        near, far = await lockstep_pair()
        return WithoutHalfClose(near), WithoutHalfClose(far)

    near, far = await secure_pair(make, configs)
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.aclose)
        nursery.start_soon(far.aclose)
    assert trio.current_time() == start


async def test_two_ends_closing_at_once_with_unread_data_do_not_hang(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(make_transports, configs)

    async def send_and_close(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        with trio.move_on_after(1):
            await stream.send_all(bytes(300_000))
        await stream.aclose()

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_and_close, near)
        nursery.start_soon(send_and_close, far)
    assert trio.current_time() - start <= 2


async def test_two_ends_closing_at_once_over_tcp_do_not_hang(configs: Configs) -> None:
    client, server = configs
    with trio.fail_after(PATIENCE):
        near, far = await secure_pair(tcp_pair, (client, server))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.aclose)
            nursery.start_soon(far.aclose)


# --- what the peer has not read yet -----------------------------------------------------------------------------


async def test_over_tcp_the_peer_loses_nothing_though_input_was_left_unread(configs: Configs) -> None:
    data = bytes(300_000)
    with trio.fail_after(PATIENCE):
        near, far = await secure_pair(tcp_pair, configs)
        await far.send_all(bytes(100_000))

        async def send_and_close() -> None:
            await near.send_all(data)
            await near.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_and_close)
            assert await receive_all(far) == data
            await far.aclose()


async def test_over_a_transport_without_half_close_the_end_arrives(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await memory_pair()
    stream, puppet = await client_and_puppet((WithoutHalfClose(near), WithoutHalfClose(far)), configs)
    await stream.send_all(b"data")
    async with in_background(stream.aclose):
        assert await puppet.hear() == (b"data", End.CLOSED)


async def test_the_last_record_is_sent_once(configs: Configs, autojump_clock: MockClock) -> None:
    near, far, tap = await tapped_pair(configs)
    await near.send_eof()
    sent = tap.sent
    assert await receive_all(far) == b""
    await far.aclose()
    await near.aclose()
    assert tap.sent == sent


async def test_after_a_truncated_stream_no_end_is_sent(configs: Configs, autojump_clock: MockClock) -> None:
    near, far, tap = await tapped_pair(configs)
    await far.transport_stream.send_eof()
    sent = tap.sent
    assert type((await receive_until_error(near))[1]) is ss.TruncatedStream
    await near.aclose()
    assert tap.sent == sent
