"""A cancelled call: what was cut short is never taken for whole, and what wasn't touched goes on."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss

from .support import (
    TOO_MUCH,
    Configs,
    Pair,
    client_and_puppet,
    failure_of,
    in_background,
    matching_configs,
    receive_all,
    receive_until_error,
    secure_pair,
    stuffed_pair,
    tapped_pair,
)
from .transports import Transports, WithoutHalfClose, lockstep_pair, memory_pair, socket_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from .transports import HalfCloseablePair

COUNTING = b"".join(n.to_bytes(4, "big") for n in range(2**20))  # 4 MiB, no part like another


async def cut_pair(make: Callable[[], Awaitable[Transports]], configs: Configs) -> Pair[trio.abc.Stream]:
    """A client whose `send_all` was blocked and then cancelled, and its server."""
    near, far = await secure_pair(make, configs)
    with trio.move_on_after(1) as scope:
        await near.send_all(COUNTING)
    assert scope.cancelled_caught
    return near, far


@pytest.fixture(params=[socket_pair, lockstep_pair], ids=["socket", "lockstep"])
def make_blocking(request: pytest.FixtureRequest) -> Callable[[], Awaitable[HalfCloseablePair]]:
    """Transports on which a send can block."""
    make: Callable[[], Awaitable[HalfCloseablePair]] = request.param
    return make


async def test_a_cut_send_never_lets_close_follow(
    make_blocking: Callable[[], Awaitable[HalfCloseablePair]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await cut_pair(make_blocking, configs)
    async with in_background(near.aclose):
        received, error = await receive_until_error(far)
    assert type(error) is ss.TruncatedStream
    assert COUNTING.startswith(received)


async def test_a_cut_send_breaks_every_later_send(
    make_blocking: Callable[[], Awaitable[HalfCloseablePair]], autojump_clock: MockClock
) -> None:
    near, _ = await cut_pair(make_blocking, matching_configs())
    errors = [
        await failure_of(call(), ss.TransportBroken)
        for call in (
            partial(near.send_all, b"more"),
            near.send_eof,
            near.update_key,
            near.wait_send_all_might_not_block,
        )
    ]
    assert {str(error) for error in errors} == {"an earlier send on this stream was cut short"}
    assert len({id(error) for error in errors}) == 4


async def test_receiving_goes_on_after_a_cut_send(
    make_blocking: Callable[[], Awaitable[HalfCloseablePair]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await cut_pair(make_blocking, configs)

    async def answer() -> None:
        await far.send_all(b"an answer")
        await far.send_eof()

    async with in_background(answer):
        assert await receive_all(near) == b"an answer"


async def test_over_sockets_an_alert_follows_a_cut_send_in_order(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await cut_pair(socket_pair, configs)
    async with in_background(partial(near.send_alert, 5_001, "no more of it")):
        received, error = await receive_until_error(far)
    assert isinstance(error, ss.PeerAlert)
    assert error.alert == ss.Alert(5_001, "no more of it")
    assert COUNTING.startswith(received)
    assert len(received) > 100_000


async def test_over_sockets_an_alert_follows_a_record_of_which_nothing_has_left(
    configs: Configs, autojump_clock: MockClock
) -> None:
    (near, far), sent = await stuffed_pair(configs)
    with trio.move_on_after(1):
        await near.send_all(b"y")
    async with in_background(partial(near.send_alert, 5_001)):
        received, error = await receive_until_error(far)
    assert received == sent + b"y"
    assert isinstance(error, ss.PeerAlert)


@pytest.mark.wire
async def test_over_sockets_a_bad_record_is_answered_after_a_cut_send(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await cut_pair(socket_pair, configs)
    await far.transport_stream.send_all(bytes(40))
    await failure_of(near.receive_some(), ss.BadRecord)
    async with in_background(near.aclose):
        received, error = await receive_until_error(far)
    assert COUNTING.startswith(received)
    assert isinstance(error, ss.PeerAlert)
    assert error.alert.code == ss.AlertCode.BAD_RECORD


async def test_over_sockets_a_program_that_times_out_tells_its_peer(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(socket_pair, configs)

    async def leave() -> None:
        with pytest.raises(trio.TooSlowError):
            async with near:
                with trio.fail_after(1):
                    await near.send_all(COUNTING)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        await trio.sleep(1.5)
        received, error = await receive_until_error(far)
    assert COUNTING.startswith(received)
    assert isinstance(error, ss.PeerAlert)
    assert error.alert == ss.Alert(ss.AlertCode.INTERNAL_ERROR)


async def test_over_other_streams_no_alert_follows_a_cut_send(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await cut_pair(lockstep_pair, configs)
    error = await failure_of(near.send_alert(5_001), ss.TransportBroken)
    assert str(error) == "an earlier send on this stream was cut short"
    async with in_background(near.aclose):
        received, seen = await receive_until_error(far)
    assert COUNTING.startswith(received)
    assert type(seen) is ss.TruncatedStream


async def test_over_other_streams_a_bad_record_is_not_answered_after_a_cut_send(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await cut_pair(lockstep_pair, configs)
    async with in_background(partial(far.transport_stream.send_all, bytes(40))):
        await failure_of(near.receive_some(), ss.BadRecord)
    async with in_background(near.aclose):
        _, error = await receive_until_error(far)
    assert type(error) is ss.TruncatedStream


async def test_a_cut_send_eof_is_no_end_and_no_alert_can_follow_it(configs: Configs, autojump_clock: MockClock) -> None:
    (near, far), sent = await stuffed_pair(configs)
    with trio.move_on_after(1) as scope:
        await near.send_eof()
    assert scope.cancelled_caught
    for call in (near.send_eof, near.send_alert):
        await failure_of(call(), ss.TransportBroken)
    await far.transport_stream.send_all(bytes(40))
    await failure_of(near.receive_some(), ss.BadRecord)
    async with in_background(near.aclose):
        received, error = await receive_until_error(far)
    assert received == sent
    assert type(error) is ss.TruncatedStream


@pytest.mark.parametrize("end", ["aclose", "send_alert"])
async def test_a_send_that_is_cancelled_in_the_moment_of_ending_is_a_cut_send_too(
    end: str,
    make_blocking: Callable[[], Awaitable[HalfCloseablePair]],
    configs: Configs,
    autojump_clock: MockClock,
) -> None:
    near, far = await secure_pair(make_blocking, configs)
    scope = trio.CancelScope()
    received, error = b"", ss.StreamError()

    async def send() -> None:
        with scope:
            await near.send_all(COUNTING)

    async def receive() -> None:
        nonlocal received, error
        received, error = await receive_until_error(far)

    async with in_background(send), trio.open_nursery() as nursery:
        scope.cancel()
        nursery.start_soon(receive)
        told = end == "send_alert" and make_blocking is socket_pair
        no_place = end == "send_alert" and not told
        with pytest.raises(ss.TransportBroken, match="cut short") if no_place else contextlib.nullcontext():
            await getattr(near, end)()
        await near.aclose()
    assert COUNTING.startswith(received)
    assert type(error) is (ss.PeerAlert if told else ss.TruncatedStream)


async def test_a_send_that_is_cancelled_before_anything_is_sealed_changes_nothing(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(make_transports, configs)
    with trio.CancelScope() as scope:
        scope.cancel()
        await near.send_all(b"cancelled")
    with trio.CancelScope() as scope:
        scope.cancel()
        await near.send_eof()

    async def send() -> None:
        await near.send_all(b"sent")
        await near.send_eof()

    async with in_background(send):
        assert await receive_all(far) == b"sent"


async def test_a_cancelled_receive_loses_nothing(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(make_transports, configs)
    data = COUNTING[:300_000]
    received = bytearray()

    async def send() -> None:
        for start in range(0, len(data), 7_000):
            await trio.sleep(0.7)
            await far.send_all(data[start : start + 7_000])
        await far.send_eof()

    async with in_background(send):
        ended = False
        while not ended:
            with trio.move_on_after(0.5):
                chunk = await near.receive_some(5_000)
                received += chunk
                ended = not chunk
    assert received == data


@pytest.mark.wire
async def test_a_cancelled_receive_of_half_a_record_goes_on_with_the_other_half(
    configs: Configs, autojump_clock: MockClock
) -> None:
    stream, puppet = await client_and_puppet(await memory_pair(), configs)
    record = puppet.data(b"a record in two halves")
    for cut in (1, 2, 10, 30):
        await puppet.say(record[:cut])
        with trio.move_on_after(1) as scope:
            await stream.receive_some()
        assert scope.cancelled_caught
        await puppet.say(record[cut:])
        assert await stream.receive_some() == b"a record in two halves"
        record = puppet.data(b"a record in two halves")


async def test_a_receive_in_a_cancelled_scope_takes_nothing_that_is_there(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(memory_pair, configs)
    await far.send_all(b"here")
    for expected in (b"h", b"ere"):
        with trio.CancelScope() as scope:
            scope.cancel()
            await near.receive_some()
        assert scope.cancelled_caught
        assert await near.receive_some(len(expected)) == expected


async def test_a_flood_of_empty_records_starves_nobody(configs: Configs, autojump_clock: MockClock) -> None:
    stream, puppet = await client_and_puppet(await memory_pair(), configs)
    turns = 0

    async def work() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    await puppet.say(*[puppet.data(b"") for _ in range(256 * 20)], puppet.data(b"data"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        assert await stream.receive_some() == b"data"
        nursery.cancel_scope.cancel()
    assert turns >= 19


async def test_a_receive_can_be_cancelled_in_a_flood_of_empty_records(
    configs: Configs, autojump_clock: MockClock
) -> None:
    stream, puppet = await client_and_puppet(await memory_pair(), configs)
    await puppet.say(*[puppet.data(b"") for _ in range(1_000)], puppet.data(b"data"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.receive_some()
    assert scope.cancelled_caught
    assert await stream.receive_some() == b"data"


async def test_a_cancelled_wait_for_room_changes_nothing(configs: Configs, autojump_clock: MockClock) -> None:
    (near, far), sent = await stuffed_pair(configs)
    with trio.move_on_after(1) as scope:
        await near.wait_send_all_might_not_block()
    assert scope.cancelled_caught

    async def send() -> None:
        await near.wait_send_all_might_not_block()
        await near.send_all(b"y")
        await near.send_eof()

    async with in_background(send):
        assert await receive_all(far) == sent + b"y"


async def test_a_padding_policy_that_fails_is_a_value_error_and_the_stream_stays_whole(
    configs: Configs, autojump_clock: MockClock
) -> None:
    class Wrong(ss.PaddingPolicy):
        def pad_record(self, record_type: int, length: int, room: int) -> int:
            return -1

    near, far, tap = await tapped_pair(configs)
    right, sent = near.padding, tap.sent
    near.padding = Wrong()
    for call in (partial(near.send_all, b"x"), near.send_eof, near.update_key):
        with pytest.raises(ValueError, match=r"Wrong\.pad_record"):
            await call()
    assert tap.sent == sent
    near.padding = right
    await near.send_all(b"whole")
    await near.send_eof()
    assert await receive_all(far) == b"whole"


async def test_over_a_transport_without_half_close_a_cut_send_is_a_truncated_stream_too(
    autojump_clock: MockClock,
) -> None:
    async def make() -> Transports:
        near, far = await lockstep_pair()
        return WithoutHalfClose(near), WithoutHalfClose(far)

    near, far = await cut_pair(make, matching_configs())
    async with in_background(near.aclose):
        _, error = await receive_until_error(far)
    assert type(error) is ss.TruncatedStream
    assert len(COUNTING) < TOO_MUCH
