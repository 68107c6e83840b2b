"""The buffered writer: nothing goes out until a record is full or `flush()` is called."""

from __future__ import annotations

import array
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss

from ..protocol.support import CAPACITY, OVERHEAD
from .support import (
    TOO_MUCH,
    Configs,
    in_background,
    matching_configs,
    receive_all,
    record_lengths,
    secure_pair,
    suite_of,
    tapped_pair,
)
from .transports import lockstep_pair

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.mark.wire
async def test_nothing_goes_out_until_a_record_is_full(configs: Configs, autojump_clock: MockClock) -> None:
    near, far, tap = await tapped_pair(configs)
    await near.send_all(b"first")
    assert await far.receive_some() == b"first"
    sent = len(tap.sends)
    capacity = CAPACITY[suite_of(configs[0])]
    writer = ss.BufferedWriter(near)
    for _ in range(capacity - 1):
        await writer.write(b"x")
    assert len(tap.sends) == sent
    await writer.write(b"yz")
    assert record_lengths(tap.sends[-1]) == [16_384]
    assert await far.receive_some() == b"x" * (capacity - 1) + b"y"
    await writer.flush()
    assert await far.receive_some() == b"z"


@pytest.mark.wire
async def test_a_large_write_sends_full_records_and_keeps_the_rest(configs: Configs, autojump_clock: MockClock) -> None:
    near, far, tap = await tapped_pair(configs)
    await near.send_all(b"first")
    start = len(tap.sent)
    writer = ss.BufferedWriter(near)
    suite = suite_of(configs[0])
    await writer.write(bytes(CAPACITY[suite] * 3 + 10))
    assert record_lengths(tap.sent[start:]) == [16_384] * 3
    await writer.flush()
    assert record_lengths(tap.sent[start:]) == [16_384] * 3 + [10 + OVERHEAD[suite]]
    await near.send_eof()
    assert len(await receive_all(far)) == 5 + CAPACITY[suite] * 3 + 10


async def test_write_checkpoints_only_when_it_sends(autojump_clock: MockClock) -> None:
    near, _, _ = await tapped_pair(matching_configs())
    writer = ss.BufferedWriter(near)
    with trio.testing.assert_no_checkpoints():
        await writer.write(bytes(near.record_capacity - 1))
    with trio.testing.assert_checkpoints():
        await writer.write(b"x")
    with trio.testing.assert_checkpoints():
        await writer.flush()


async def test_leaving_its_block_in_order_flushes(autojump_clock: MockClock) -> None:
    near, far, _ = await tapped_pair(matching_configs())
    async with ss.BufferedWriter(near) as writer:
        await writer.write(b"flushed")
    assert await far.receive_some() == b"flushed"


async def test_leaving_its_block_with_an_exception_does_not_flush(autojump_clock: MockClock) -> None:
    near, _, tap = await tapped_pair(matching_configs())
    sent = tap.sent
    with pytest.raises(ValueError):
        async with ss.BufferedWriter(near) as writer:
            await writer.write(b"a part")
            raise ValueError
    assert tap.sent == sent


async def test_leaving_its_block_by_cancellation_does_not_flush(autojump_clock: MockClock) -> None:
    near, _, tap = await tapped_pair(matching_configs())
    sent = tap.sent
    with trio.move_on_after(1):
        async with ss.BufferedWriter(near) as writer:
            await writer.write(b"a part")
            await trio.sleep_forever()
    assert tap.sent == sent


async def test_flushing_nothing_sends_nothing(autojump_clock: MockClock) -> None:
    near, _, tap = await tapped_pair(matching_configs())
    sent = tap.sent
    writer = ss.BufferedWriter(near)
    await writer.flush()
    await writer.write(b"")
    await writer.flush()
    assert tap.sent == sent


@pytest.mark.parametrize(
    "data",
    [b"abcd", bytearray(b"abcd"), memoryview(b"abcd"), array.array("i", [1, 2])],
    ids=lambda data: type(data).__name__,
)
async def test_everything_that_send_all_takes_can_be_written(
    data: bytes | bytearray | memoryview, configs: Configs, autojump_clock: MockClock
) -> None:
    near, far, _ = await tapped_pair(configs)
    async with ss.BufferedWriter(near) as writer:
        await writer.write(data)
        await writer.write(data)
    await near.send_all(data)
    await near.send_eof()
    assert await receive_all(far) == bytes(data) * 3


async def test_what_was_written_may_be_changed_afterwards(autojump_clock: MockClock) -> None:
    near, far, _ = await tapped_pair(matching_configs())
    data = bytearray(b"before")
    async with ss.BufferedWriter(near) as writer:
        await writer.write(data)
        data[:] = b"after!"
    assert await far.receive_some() == b"before"


async def test_two_tasks_that_write_at_once_are_busy(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(lockstep_pair, matching_configs())
    writer = ss.BufferedWriter(near)
    async with in_background(partial(writer.write, bytes(20_000))):
        with pytest.raises(trio.BusyResourceError, match="writing to this BufferedWriter"):
            await writer.write(b"x")
        with pytest.raises(trio.BusyResourceError):
            await writer.flush()
        assert await far.receive_some() == bytes(near.record_capacity)


async def test_a_closed_stream_shows_when_it_sends(autojump_clock: MockClock) -> None:
    near, _, _ = await tapped_pair(matching_configs())
    writer = ss.BufferedWriter(near)
    await near.send_eof()
    await writer.write(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await writer.flush()


async def test_a_cut_write_lets_no_end_follow(autojump_clock: MockClock) -> None:
    near, _ = await secure_pair(lockstep_pair, matching_configs())
    writer = ss.BufferedWriter(near)
    with trio.move_on_after(1):
        await writer.write(bytes(TOO_MUCH))
    with pytest.raises(ss.TransportBroken):
        await near.send_eof()
