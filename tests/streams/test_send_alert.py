"""`send_alert` ends the stream for both: what was sent is delivered, then the reason; nothing follows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss

from .support import (
    NEARLY_AT_ONCE,
    PATIENCE,
    TOO_MUCH,
    Configs,
    Pair,
    assert_closed_resource,
    assert_transport_closed,
    at_step,
    ends_closed,
    failure_of,
    in_background,
    matching_configs,
    receive_until_error,
    secure_pair,
    stuffed_pair,
    tapped_pair,
)
from .transports import Transports, lockstep_pair, memory_pair, socket_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from securestream.protocol.suites import AnySuite

COUNTING = bytes(range(256)) * 2**14  # 4 MiB


@pytest.fixture
async def pair(make_transports: Callable[[], Awaitable[Transports]], configs: Configs) -> Pair[trio.abc.Stream]:
    return await secure_pair(make_transports, configs)


async def test_the_peer_receives_what_was_sent_before_and_then_the_alert(
    pair: Pair[trio.abc.Stream], autojump_clock: MockClock
) -> None:
    near, far = pair

    async def send() -> None:
        await near.send_all(b"before")
        await near.send_alert(5_001, "that's all")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        received, error = await receive_until_error(far)
    assert received == b"before"
    assert isinstance(error, ss.PeerAlert)
    assert error.alert == far.alert == ss.Alert(5_001, "that's all")
    assert error.authenticated
    assert near.alert is None


async def test_from_another_task_it_stops_a_running_send_all_after_the_batch_in_flight(
    make_transports: Callable[[], Awaitable[Transports]], suite: AnySuite, autojump_clock: MockClock
) -> None:
    for sending, alerting in NEARLY_AT_ONCE:
        near, far = await secure_pair(make_transports, matching_configs(suite))
        send = partial(ends_closed, partial(near.send_all, COUNTING))
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(at_step, sending, send)
                nursery.start_soon(at_step, alerting, partial(near.send_alert, 5_001, "stop"))
                received, error = await receive_until_error(far)
        assert isinstance(error, ss.PeerAlert), error.__cause__
        assert error.alert == ss.Alert(5_001, "stop")
        assert COUNTING.startswith(received)
        assert len(received) < len(COUNTING)
        await trio.aclose_forcefully(near)
        await trio.aclose_forcefully(far)


async def test_a_send_all_that_is_blocked_gets_closed_resource_error(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(socket_pair, configs)
    send = partial(ends_closed, partial(near.send_all, COUNTING))
    async with in_background(send), in_background(partial(near.send_alert, 5_001, "stop")):
        received, error = await receive_until_error(far)
    assert COUNTING.startswith(received)
    assert isinstance(error, ss.PeerAlert)
    assert error.alert == ss.Alert(5_001, "stop")


async def test_a_receive_that_is_blocked_gets_closed_resource_error(
    pair: Pair[trio.abc.Stream], autojump_clock: MockClock
) -> None:
    near, far = pair
    async with in_background(partial(ends_closed, near.receive_some)), in_background(partial(near.send_alert, 5_001)):
        _, error = await receive_until_error(far)
    assert isinstance(error, ss.PeerAlert)


async def test_a_task_that_waits_for_room_gets_closed_resource_error(
    configs: Configs, autojump_clock: MockClock
) -> None:
    (near, far), _ = await stuffed_pair(configs)
    start = trio.current_time()

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError, match="ended the stream with alert"):
            await near.wait_send_all_might_not_block()
        assert trio.current_time() == start

    async with in_background(wait), in_background(partial(near.send_alert, 5_001)):
        _, error = await receive_until_error(far)
    assert isinstance(error, ss.PeerAlert)


async def test_it_waits_at_most_the_close_timeout_and_then_closes_forcefully(autojump_clock: MockClock) -> None:
    for make in (lockstep_pair, socket_pair):
        near, _ = await secure_pair(make, matching_configs(close_timeout=3))
        send = partial(ends_closed, partial(near.send_all, bytes(TOO_MUCH)))
        async with in_background(send):
            start = trio.current_time()
            await near.send_alert()
            assert trio.current_time() - start == pytest.approx(3)
        await assert_transport_closed(near.transport_stream)


async def test_every_later_call_raises_closed_resource_error(
    pair: Pair[trio.abc.Stream], autojump_clock: MockClock
) -> None:
    near, far = pair
    async with in_background(partial(receive_until_error, far)):
        await near.send_alert()
        await assert_closed_resource(near, "ended the stream with alert")


async def test_the_peer_s_alerts_are_ignored_afterwards(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, matching_configs())
    await far.send_all(b"data")
    await far.send_alert(5_002)
    await near.send_alert(5_001)
    with pytest.raises(trio.ClosedResourceError):
        await near.receive_some()
    await near.aclose()


async def test_what_has_arrived_is_not_delivered_any_more(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, matching_configs())
    await far.send_all(b"data")
    assert await near.receive_some(1) == b"d"
    await near.send_alert(5_001)
    with pytest.raises(trio.ClosedResourceError):
        await near.receive_some()


async def test_aclose_afterwards_sends_nothing_more(configs: Configs, autojump_clock: MockClock) -> None:
    near, far, tap = await tapped_pair(configs)
    await near.send_alert(5_001)
    sent = tap.sent
    async with in_background(partial(receive_until_error, far)):
        await near.aclose()
    assert tap.sent == sent


@pytest.mark.parametrize(
    ("code", "message"), [(0, ""), (-1, ""), (65_536, ""), (5_001, "x" * 16_346), (5_001, "\ud800")], ids=repr
)
async def test_what_cannot_be_sent_is_a_value_error_and_the_stream_stays_whole(
    code: int, message: str, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(memory_pair, matching_configs())
    with pytest.raises(ValueError):
        await near.send_alert(code, message)
    await near.send_all(b"whole")
    assert await far.receive_some() == b"whole"


@pytest.mark.parametrize(
    ("code", "message"),
    [(1, ""), (7, "x" * 16_345), (ss.AlertCode.IDLE_TIMEOUT, "zzz"), (4_096, "ä\n\0"), (65_535, "x" * 500)],
)
async def test_every_code_and_text_that_is_allowed_arrives_as_it_was_sent(
    code: int, message: str, configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(memory_pair, configs)
    await near.send_alert(code, message)
    _, error = await receive_until_error(far)
    assert far.alert == ss.Alert(code, message)
    assert str(error).isprintable()


async def test_after_send_eof_it_is_a_closed_resource(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, matching_configs())
    await near.send_eof()
    with pytest.raises(trio.ClosedResourceError, match="send_eof"):
        await near.send_alert()
    assert await far.receive_some() == b""


async def test_after_aclose_it_is_a_closed_resource(autojump_clock: MockClock) -> None:
    near, _ = await secure_pair(memory_pair, matching_configs())
    await trio.aclose_forcefully(near)
    with pytest.raises(trio.ClosedResourceError, match="was closed"):
        await near.send_alert()


async def test_an_alert_is_never_answered_with_an_alert(autojump_clock: MockClock) -> None:
    near, far, tap = await tapped_pair(matching_configs())
    await far.send_alert(5_001, "first")
    await receive_until_error(near)
    sent = tap.sent
    error = await failure_of(near.send_alert(5_002), ss.PeerAlert)
    assert error.alert == ss.Alert(5_001, "first")
    await near.aclose()
    assert tap.sent == sent


async def test_where_the_connection_is_gone_it_is_a_transport_broken(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(socket_pair, matching_configs())
    await trio.aclose_forcefully(far.transport_stream)
    await failure_of(near.send_alert(), ss.TransportBroken)
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")


async def test_a_peer_that_vanishes_while_an_alert_waits_its_turn_harms_nothing(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(lockstep_pair, matching_configs())

    async def send() -> None:
        with pytest.raises(trio.ClosedResourceError, match="ended the stream with alert"):
            await near.send_all(bytes(TOO_MUCH))

    async def end() -> None:
        with pytest.raises(ss.TransportBroken, match="cut short"):
            await near.send_alert(5_001)

    async with in_background(send), in_background(end):
        await trio.aclose_forcefully(far.transport_stream)
    await near.aclose()


async def test_a_truncated_stream_can_still_be_answered_with_an_alert(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(socket_pair, matching_configs())
    await far.transport_stream.send_eof()  # type: ignore[attr-defined]
    await failure_of(near.receive_some(), ss.TruncatedStream)
    await near.send_alert(5_001, "where is the rest?")
    _, error = await receive_until_error(far)
    assert isinstance(error, ss.PeerAlert)


async def test_its_caller_s_cancellation_passes_unchanged(autojump_clock: MockClock) -> None:
    near, _ = await secure_pair(lockstep_pair, matching_configs(close_timeout=3))
    with trio.move_on_after(1) as scope:
        await near.send_alert()
    assert scope.cancelled_caught
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")


async def test_an_alert_whose_task_is_cancelled_by_what_it_woke_is_sent_by_closing(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(socket_pair, matching_configs(close_timeout=5))

    async def watchdog() -> None:
        await trio.sleep(1)
        await near.send_alert(5_001, "too slow")

    async def handle() -> None:
        with pytest.RaisesGroup(trio.ClosedResourceError):
            async with near, trio.open_nursery() as nursery:
                nursery.start_soon(watchdog)
                await near.send_all(bytes(TOO_MUCH))  # nobody receives, so this waits, and is woken first

    async with in_background(handle):
        await trio.sleep(2)
        received, error = await receive_until_error(far)
        await far.aclose()
    assert isinstance(error, ss.PeerAlert)
    assert error.alert == ss.Alert(5_001, "too slow")
    assert not received.strip(b"\0")
    assert len(received) < TOO_MUCH


async def test_a_receiver_wakes_when_the_alert_has_gone_out(
    make_transports: Callable[[], Awaitable[Transports]], autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(make_transports, matching_configs())
    ended = await far_end_of_alert_from_a_watchdog(near, far)
    assert isinstance(ended, ss.PeerAlert)


async def far_end_of_alert_from_a_watchdog(
    near: ss.SecureStream[trio.abc.Stream], far: ss.SecureStream[trio.abc.Stream]
) -> ss.StreamError:
    async def watched() -> None:
        with pytest.RaisesGroup(trio.ClosedResourceError):
            async with near, trio.open_nursery() as nursery:
                nursery.start_soon(near.send_alert)
                await near.receive_some()

    async with in_background(watched):
        _, error = await receive_until_error(far)
        await far.aclose()
    return error
