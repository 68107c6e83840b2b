"""Cover traffic, as it is seen on the wire."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss

from .support import in_background, matching_configs, record_lengths, secure_pair, tapped_pair
from .transports import fill, memory_pair, socket_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from .support import Configs
    from .transports import Tap, Transports


def wire_after(tap: Tap, sends: int) -> list[int]:
    """The lengths of what went out after so many sends."""
    return [length for data in tap.sends[sends:] for length in record_lengths(data)]


async def test_an_empty_record_goes_out_at_each_tick_and_reaches_no_reader(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(make_transports, configs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ss.send_cover_traffic, near, 1)
        with trio.move_on_after(10.5) as scope:
            await far.receive_some()
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()
    assert (near.statistics().records_sent, near.statistics().bytes_sent) == (10, 0)
    assert (far.statistics().records_received, far.statistics().bytes_received) == (10, 0)
    async with in_background(partial(near.send_all, b"data")):
        assert await far.receive_some() == b"data"


async def test_a_tick_before_which_something_was_sent_is_left_out(configs: Configs, autojump_clock: MockClock) -> None:
    near, far, wire = await tapped_pair(configs)
    await near.send_all(b"first")
    sends = len(wire.sends)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ss.send_cover_traffic, near, 1)
        await trio.sleep(0.5)
        await near.send_all(b"x" * 100)
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    overhead = 16_384 - near.record_capacity
    assert wire_after(wire, sends) == [overhead + 100, overhead]
    assert await far.receive_some() == b"first" + b"x" * 100


@pytest.mark.parametrize("policy", [ss.BlockPadding(512), ss.FullRecords(), ss.TorCells(), ss.BucketPadding([300])])
async def test_under_a_policy_with_a_smallest_size_cover_can_not_be_told_from_small_data(
    policy: ss.PaddingPolicy, configs: Configs, autojump_clock: MockClock
) -> None:
    near, _, wire = await tapped_pair(configs)
    near.padding = policy
    await near.send_all(b"first")
    sends = len(wire.sends)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ss.send_cover_traffic, near, 1)
        for _ in range(3):
            await trio.sleep(1.5)
            await near.send_all(b"a small message")
        nursery.cancel_scope.cancel()
    assert len(set(wire_after(wire, sends))) == 1
    assert len(wire_after(wire, sends)) == 3 + 2


async def test_intervals_may_be_random(configs: Configs, autojump_clock: MockClock) -> None:
    near, _, _ = await tapped_pair(configs)
    random_gap = partial(random.Random(7).expovariate, 2.0)
    with trio.move_on_after(100):
        await ss.send_cover_traffic(near, random_gap)
    assert 150 < near.statistics().records_sent < 250


async def end_by_eof(stream: ss.SecureStream[trio.SocketStream]) -> None:
    await stream.send_eof()


async def end_by_alert(stream: ss.SecureStream[trio.SocketStream]) -> None:
    await stream.send_alert()


async def end_by_close(stream: ss.SecureStream[trio.SocketStream]) -> None:
    await stream.aclose()


@pytest.mark.parametrize("end", [end_by_eof, end_by_alert, end_by_close])
async def test_it_returns_when_this_direction_ends(
    end: Callable[[ss.SecureStream[trio.SocketStream]], Awaitable[None]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(socket_pair, configs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ss.send_cover_traffic, near, 1)
        await trio.sleep(2.5)
        await end(near)  # type: ignore[arg-type]
    assert near.statistics().records_sent == 3
    await far.aclose()


async def test_it_returns_when_the_peer_is_gone(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, configs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ss.send_cover_traffic, near, 1)
        await trio.aclose_forcefully(far.transport_stream)


async def test_it_is_left_out_where_the_transport_has_no_room_and_blocks_nobody(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(socket_pair, configs)
    assert isinstance(near.transport_stream, trio.SocketStream)
    fill(near.transport_stream)
    before = near.statistics().records_sent
    with trio.move_on_after(5):
        await ss.send_cover_traffic(near, 1)
    assert near.statistics().records_sent == before
    await trio.aclose_forcefully(far)


async def test_a_sender_never_gets_busy_and_loses_nothing(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await secure_pair(socket_pair, configs)
    received = bytearray()

    async def receive() -> None:
        async for chunk in far:
            received.extend(chunk)
        await far.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        async with trio.open_nursery() as inner:
            inner.start_soon(ss.send_cover_traffic, near, 0.001)
            for n in range(100):
                await near.send_all(bytes([n]) * 1_000)
                await trio.sleep(0.002)
            inner.cancel_scope.cancel()
        await near.aclose()
    assert received == b"".join(bytes([n]) * 1_000 for n in range(100))


@pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf"), lambda: 0])
async def test_an_interval_is_more_than_none(
    interval: float | Callable[[], float], configs: Configs, autojump_clock: MockClock
) -> None:
    near, _ = await secure_pair(memory_pair, matching_configs())
    with pytest.raises(ValueError, match="more than 0 s"):
        await ss.send_cover_traffic(near, interval)
