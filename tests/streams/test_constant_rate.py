"""Constant rate, as it is seen on the wire: records of one size at fixed ticks, whatever is sent."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.protocol import records
from securestream.streams import secure
from securestream.testing import secure_stream_pair

from .support import (
    Pair,
    client_and_puppet,
    ends_closed,
    failure_of,
    in_background,
    matching_configs,
    receive_all,
    receive_until_error,
    record_lengths,
    secure_pair,
    tapped_pair,
)
from .transports import fill, lockstep_pair, memory_pair, socket_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trio.testing import MockClock

    from .support import Configs
    from .transports import Tap, Transports

    Program = Callable[[ss.ConstantRate], Awaitable[None]]

RECORD = 1_000
INTERVAL = 0.25  # a binary fraction, so that ticks are exact


@asynccontextmanager
async def running(
    stream: ss.SecureStream[trio.abc.Stream], *, burst: int | None = None
) -> AsyncIterator[ss.ConstantRate]:
    """A constant rate that runs beside the block, and is cut when that is over."""
    shaped = ss.ConstantRate(stream, interval=INTERVAL, record=RECORD, burst=burst)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shaped.run)
        yield shaped
        nursery.cancel_scope.cancel()


async def begun(stream: ss.SecureStream[trio.abc.Stream]) -> None:
    """The first record has the cipher's prefix in front of it: gone, with a record of another kind."""
    await stream.update_key()


# --- what is seen -------------------------------------------------------------------------------------


async def nothing(shaped: ss.ConstantRate) -> None:
    await trio.sleep(30 * INTERVAL)


async def one_byte(shaped: ss.ConstantRate) -> None:
    await trio.sleep(7.3 * INTERVAL)
    await shaped.send_all(b"x")


async def one_byte_after_another(shaped: ss.ConstantRate) -> None:
    for _ in range(20):
        await shaped.send_all(b"x")


async def twenty_records(shaped: ss.ConstantRate) -> None:
    await shaped.send_all(bytes(20 * shaped.record_capacity))


async def more_than_can_be_sent(shaped: ss.ConstantRate) -> None:
    await shaped.send_all(bytes(10**7))


async def what_is_given_up(shaped: ss.ConstantRate) -> None:
    with trio.move_on_after(INTERVAL / 3):
        await shaped.send_all(bytes(10**7))


async def what_is_given_up_in_its_middle(shaped: ss.ConstantRate) -> None:
    with trio.move_on_after(3.5 * INTERVAL):
        await shaped.send_all(bytes(10**7))


async def an_end(shaped: ss.ConstantRate) -> None:
    await trio.sleep(INTERVAL / 2)
    await shaped.send_all(b"x")
    await trio.sleep(28.3 * INTERVAL)
    await shaped.send_eof()


PROGRAMS = [
    one_byte,
    one_byte_after_another,
    twenty_records,
    more_than_can_be_sent,
    what_is_given_up,
    what_is_given_up_in_its_middle,
    an_end,
]


async def seen_of(
    program: Program, make: Callable[[], Awaitable[Transports]], configs: Configs
) -> list[tuple[float, int]]:
    """Times and sizes of what leaves in 30 ticks, as the other end of the transport gets it."""
    near, far = await secure_pair(make, configs)
    seen: list[tuple[float, int]] = []

    async def listen() -> None:
        while data := await far.transport_stream.receive_some():
            seen.append((trio.current_time(), len(data)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await begun(near)
        await trio.testing.wait_all_tasks_blocked()
        seen.clear()
        start = trio.current_time()
        with trio.move_on_after(30.5 * INTERVAL):
            async with running(near) as shaped:
                await program(shaped)
                await trio.sleep_forever()
        nursery.cancel_scope.cancel()
    return [((time - start) / INTERVAL, size) for time, size in seen]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: str(program.__name__))
@pytest.mark.wire
async def test_sizes_and_times_are_identical_with_payload_and_without(
    program: Program,
    make_transports: Callable[[], Awaitable[Transports]],
    configs: Configs,
    autojump_clock: MockClock,
) -> None:
    silent = await seen_of(nothing, make_transports, configs)
    assert silent == [(tick, RECORD) for tick in range(1, 31)]
    assert await seen_of(program, make_transports, configs) == silent


@pytest.mark.wire
async def test_key_updates_come_at_the_same_ticks(
    configs: Configs, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "UPDATE_AFTER_BYTES", 5_000)
    silent = await seen_of(nothing, memory_pair, configs)
    assert sum(size for _, size in silent) == (30 + 4) * RECORD
    assert await seen_of(twenty_records, memory_pair, configs) == silent


class Wire:
    """What a tap saw since it was asked to look."""

    def __init__(self, tap: Tap) -> None:
        self._tap, self._first, self._start = tap, len(tap.sends), trio.current_time()

    def ticks(self) -> list[float]:
        """When, in intervals."""
        return [(time - self._start) / INTERVAL for time in self._tap.times[self._first :]]

    def sizes(self) -> list[int]:
        return [length for data in self._tap.sends[self._first :] for length in record_lengths(data)]


async def tapped(configs: Configs | None = None) -> tuple[ss.SecureStream[Tap], ss.SecureStream[Tap], Wire]:
    near, far, tap = await tapped_pair(configs or matching_configs())
    await begun(near)
    return near, far, Wire(tap)


async def test_what_is_sent_arrives(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(make_transports, configs)
    content = bytes(range(256)) * 50
    received = b""

    async def receive() -> None:
        nonlocal received
        received = await receive_all(far)
        await far.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        async with ss.ConstantRate(near, interval=INTERVAL, record=RECORD) as shaped:
            nursery.start_soon(shaped.run)
            for start in range(0, len(content), 3_000):
                await shaped.send_all(content[start : start + 3_000])
    assert received == content


async def test_both_ends_may_do_it(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, matching_configs())
    async with running(near) as one, running(far) as other:
        await one.send_all(b"question")
        assert await other.receive_some() == b"question"
        await other.send_all(b"answer")
        assert await one.receive_some() == b"answer"


# --- bursts -----------------------------------------------------------------------------------------


@pytest.mark.wire
async def test_a_burst_is_filled_up_to_a_multiple_and_then_there_is_silence(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, _, wire = await tapped(configs)
    async with running(near, burst=4) as shaped:
        await trio.sleep(10.5 * INTERVAL)
        await shaped.send_all(b"x")
        await trio.sleep(20.5 * INTERVAL)
        await shaped.send_all(bytes(5 * shaped.record_capacity))
        await trio.sleep(30 * INTERVAL)
    assert set(wire.sizes()) == {RECORD}
    assert wire.ticks() == [11, 12, 13, 14, *range(32, 40)]


@pytest.mark.parametrize("size", [1, 500, 2_000, 6_800])
async def test_bursts_of_one_class_are_identical(size: int, autojump_clock: MockClock) -> None:
    near, far, wire = await tapped()
    async with running(near, burst=8) as shaped:
        await shaped.send_all(bytes(size))
        await shaped.send_eof()
        assert await receive_all(far) == bytes(size)
    assert wire.ticks() == list(range(1, 9))
    assert set(wire.sizes()) == {RECORD}


async def test_what_comes_while_a_burst_is_filled_up_belongs_to_it(autojump_clock: MockClock) -> None:
    near, _, wire = await tapped()
    async with running(near, burst=5) as shaped:
        await shaped.send_all(b"x")
        await trio.sleep(2.5 * INTERVAL)
        await shaped.send_all(b"y")
        await trio.sleep(20 * INTERVAL)
    assert wire.ticks() == [1, 2, 3, 4, 5]
    assert shaped.statistics().missed_ticks == 0


async def test_messages_without_a_pause_leave_no_gap_between_bursts(autojump_clock: MockClock) -> None:
    near, _, wire = await tapped()
    async with running(near, burst=2) as shaped:
        for _ in range(6):
            await shaped.send_all(b"x")
    assert wire.ticks() == [1, 2, 3, 4, 5, 6]


async def test_an_end_out_of_silence_is_the_last_record_of_a_burst(autojump_clock: MockClock) -> None:
    near, far, wire = await tapped()
    async with running(near, burst=3) as shaped:
        await trio.sleep(4.5 * INTERVAL)
        await shaped.send_eof()
        assert await far.receive_some() == b""
    assert wire.ticks() == [5, 6, 7]
    assert shaped.statistics().records == 2


# --- what it costs ----------------------------------------------------------------------------------


async def test_a_sender_is_held_back_to_the_rate(autojump_clock: MockClock) -> None:
    near, _, _ = await tapped()
    async with running(near) as shaped:
        start = trio.current_time()
        await shaped.send_all(bytes(10 * shaped.record_capacity))
        assert trio.current_time() - start == 10 * INTERVAL
        await shaped.send_all(bytes(10 * shaped.record_capacity + 1))
        assert trio.current_time() - start == 21 * INTERVAL


async def test_latency_and_waste_are_reported(autojump_clock: MockClock) -> None:
    near, _, _ = await tapped()
    async with running(near) as shaped:
        assert shaped.statistics() == ss.ConstantRateStatistics(0, 0, 0, 0, 0, 0, 0.0, 0.0)
        assert shaped.statistics().waste == 0
        await shaped.send_all(bytes(500))
        await trio.sleep(1.5 * INTERVAL)
        await shaped.send_all(bytes(shaped.record_capacity + 1))
    found = shaped.statistics()
    assert found == ss.ConstantRateStatistics(
        records=4,
        data_records=3,
        missed_ticks=0,
        content_bytes=501 + shaped.record_capacity,
        wire_bytes=4 * RECORD,
        messages=2,
        mean_latency=1.25 * INTERVAL,
        max_latency=1.5 * INTERVAL,
    )
    assert found.waste == 1 - found.content_bytes / 4_000


async def test_small_pieces_are_gathered_by_a_buffered_writer(autojump_clock: MockClock) -> None:
    near, far, wire = await tapped()
    async with running(near) as shaped:
        async with ss.BufferedWriter(shaped) as writer:
            for _ in range(2 * shaped.record_capacity):
                await writer.write(b"x")
        assert len(wire.ticks()) == 2
        assert await far.receive_some() == b"x" * 2 * shaped.record_capacity


async def test_ticks_that_can_not_be_kept_are_left_out_and_counted(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(lockstep_pair, matching_configs())
    times: list[float] = []

    async def read() -> None:
        await trio.sleep(4.5 * INTERVAL)
        while True:
            await far.transport_stream.receive_some()
            times.append(trio.current_time() / INTERVAL)

    start = trio.current_time() / INTERVAL
    async with in_background(read) as scope:
        async with running(near) as shaped:
            await trio.sleep(7.5 * INTERVAL)
        scope.cancel()
    assert [time - start for time in times] == [4.5, 5, 6, 7]
    assert shaped.statistics().missed_ticks == 3


# --- who may send -----------------------------------------------------------------------------------


async def test_nobody_else_sends_on_the_stream_below(autojump_clock: MockClock) -> None:
    near, far, _ = await tapped()
    async with running(near):
        await trio.sleep(INTERVAL / 2)
        for call in (partial(near.send_all, b"x"), near.send_eof, near.update_key):
            with pytest.raises(trio.BusyResourceError):
                await call()
    await near.send_all(b"afterwards")
    assert await far.receive_some() == b"afterwards"


async def test_two_tasks_that_send_at_once_are_busy(autojump_clock: MockClock) -> None:
    near, _, _ = await tapped()
    async with running(near) as shaped, in_background(partial(shaped.send_all, bytes(5_000))):
        for call in (partial(shaped.send_all, b"x"), shaped.send_eof, shaped.wait_send_all_might_not_block):
            with pytest.raises(trio.BusyResourceError, match="this ConstantRate"):
                await call()


async def test_it_runs_once_at_a_time(autojump_clock: MockClock) -> None:
    near, _, _ = await tapped()
    async with running(near) as shaped:
        await trio.sleep(INTERVAL)
        with pytest.raises(trio.BusyResourceError):
            await shaped.run()
    await shaped.run()  # it is over, and so is this


async def test_a_send_waits_for_the_beat_to_begin(autojump_clock: MockClock) -> None:
    near, far, _ = await tapped()
    shaped = ss.ConstantRate(near, interval=INTERVAL, record=RECORD)
    async with in_background(partial(shaped.send_all, b"early")), trio.open_nursery() as nursery:
        nursery.start_soon(shaped.run)
        assert await far.receive_some() == b"early"
        nursery.cancel_scope.cancel()


async def test_where_the_beat_was_cancelled_in_a_send_no_end_can_follow(autojump_clock: MockClock) -> None:
    near, far, _ = await tapped()
    shaped = ss.ConstantRate(near, interval=INTERVAL, record=RECORD)
    async with in_background(partial(failure_of, shaped.send_all(bytes(5_000)), ss.TransportBroken)):
        with trio.move_on_after(1.5 * INTERVAL):
            await shaped.run()
    for call in (near.send_eof, shaped.send_eof, shaped.wait_send_all_might_not_block):
        with pytest.raises(ss.TransportBroken, match="cut short"):
            await call()
    await near.aclose()
    _, error = await receive_until_error(far)
    assert isinstance(error, ss.TruncatedStream)


async def test_closing_the_stream_below_after_a_cut_is_no_end(autojump_clock: MockClock) -> None:
    near, far, _ = await tapped()
    async with running(near) as shaped:
        with trio.move_on_after(1.5 * INTERVAL):
            await shaped.send_all(bytes(5_000))
        await near.aclose()
    _, error = await receive_until_error(far)
    assert isinstance(error, ss.TruncatedStream)


async def test_a_sender_wakes_when_the_beat_is_cancelled(autojump_clock: MockClock) -> None:
    near, far, _ = await tapped()
    shaped = ss.ConstantRate(near, interval=INTERVAL, record=RECORD)
    async with in_background(partial(ends_closed, partial(shaped.send_all, b"x"))):
        with trio.move_on_after(INTERVAL / 2):
            await shaped.run()
    await ends_closed(partial(shaped.send_all, b"x"))
    await near.send_all(b"whole")
    assert await far.receive_some() == b"whole"


# --- cancellation -----------------------------------------------------------------------------------


async def test_a_send_that_is_cancelled_before_its_first_tick_has_sent_nothing(autojump_clock: MockClock) -> None:
    near, far, _ = await tapped()
    async with running(near) as shaped:
        with trio.move_on_after(INTERVAL / 2):
            await shaped.send_all(bytes(5_000))
        await shaped.send_all(b"another")
        await shaped.send_eof()
        assert await receive_all(far) == b"another"


async def test_a_send_that_is_cancelled_between_its_ticks_lets_no_end_follow(autojump_clock: MockClock) -> None:
    near, far, _ = await tapped()
    async with running(near) as shaped:
        with trio.move_on_after(2.5 * INTERVAL):
            await shaped.send_all(bytes(5_000))
        with pytest.raises(ss.TransportBroken, match="cut short"):
            await shaped.send_all(b"another")
        with pytest.raises(ss.TransportBroken, match="cut short"):
            await shaped.send_eof()
        await shaped.aclose()
    received, error = await receive_until_error(far)
    assert received == bytes(2 * shaped.record_capacity)
    assert isinstance(error, ss.TruncatedStream)


@pytest.mark.parametrize("make", [memory_pair, socket_pair], ids=["memory", "socket"])
async def test_after_a_cut_an_alert_can_follow(
    make: Callable[[], Awaitable[Transports]], autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(make, matching_configs())
    async with running(near) as shaped:
        with trio.move_on_after(1.5 * INTERVAL):
            await shaped.send_all(bytes(5_000))
        await shaped.send_alert(5_001, "out of time")
    received, error = await receive_until_error(far)
    assert received == bytes(shaped.record_capacity)
    assert isinstance(error, ss.PeerAlert)


async def test_an_end_that_is_cancelled_before_its_tick_is_none(autojump_clock: MockClock) -> None:
    near, far, wire = await tapped()
    async with running(near) as shaped:
        with trio.move_on_after(INTERVAL / 2):
            await shaped.send_eof()
        await shaped.send_all(b"more")
        assert await far.receive_some() == b"more"
        assert wire.ticks() == [1]


# --- the end ----------------------------------------------------------------------------------------


async def test_closing_waits_for_the_tick(autojump_clock: MockClock) -> None:
    near, far, wire = await tapped()
    async with trio.open_nursery() as nursery, ss.ConstantRate(near, interval=INTERVAL, record=RECORD) as shaped:
        nursery.start_soon(shaped.run)
        await shaped.send_all(b"x")
        await trio.sleep(INTERVAL * 1.5)
        nursery.start_soon(far.aclose)
    assert wire.ticks() == [1, 2, 3]
    assert set(wire.sizes()) == {RECORD}


async def test_after_an_end_receiving_goes_on(autojump_clock: MockClock) -> None:
    near, far, wire = await tapped()
    async with running(near) as shaped:
        await shaped.send_eof()
        assert wire.ticks() == [1]
        await shaped.send_eof()
        assert await far.receive_some() == b""
        await far.send_all(b"answer")
        await far.send_eof()
        assert await receive_all(shaped) == b"answer"
        with pytest.raises(trio.ClosedResourceError):
            await shaped.send_all(b"x")


async def test_leaving_by_an_exception_tells_the_peer_at_a_tick(autojump_clock: MockClock) -> None:
    near, far, wire = await tapped()

    with pytest.RaisesGroup(ss.StreamFailure):
        async with trio.open_nursery() as nursery, ss.ConstantRate(near, interval=INTERVAL, record=RECORD) as shaped:
            nursery.start_soon(shaped.run)
            await trio.sleep(1.5 * INTERVAL)
            raise ss.StreamFailure(5_001, "the backend went away")
    assert wire.ticks() == [1, 2]
    assert wire.sizes() == [RECORD, RECORD]
    _, error = await receive_until_error(far)
    assert isinstance(error, ss.PeerAlert)
    assert error.alert == ss.Alert(5_001, "the backend went away")


async def test_leaving_by_cancellation_cuts_it_at_once(autojump_clock: MockClock) -> None:
    near, far, wire = await tapped()
    with trio.move_on_after(1.5 * INTERVAL):
        async with (
            trio.open_nursery() as nursery,
            ss.ConstantRate(near, interval=INTERVAL, record=RECORD) as shaped,
        ):
            nursery.start_soon(shaped.run)
            await trio.sleep_forever()
    assert wire.ticks() == [1]
    _, error = await receive_until_error(far)
    assert isinstance(error, ss.TruncatedStream)


@pytest.mark.parametrize("end", ["send_alert", "aclose"])
async def test_whoever_is_sending_when_the_stream_is_ended_wakes_at_once(end: str, autojump_clock: MockClock) -> None:
    near, far, _ = await tapped()
    async with running(near, burst=10) as shaped, trio.open_nursery() as nursery:
        nursery.start_soon(ends_closed, partial(shaped.send_all, bytes(10**6)))
        await trio.sleep(2.5 * INTERVAL)
        before = trio.current_time()
        nursery.start_soon(getattr(shaped, end))
        await trio.testing.wait_all_tasks_blocked()
        await ends_closed(partial(shaped.send_all, b"x"))
        assert trio.current_time() == before
    received, error = await receive_until_error(far)
    assert received == bytes(2 * shaped.record_capacity)
    assert type(error) is (ss.PeerAlert if end == "send_alert" else ss.TruncatedStream)


async def test_an_alert_that_can_not_be_sent_is_told_before_anything_ends(autojump_clock: MockClock) -> None:
    near, far, _ = await tapped()
    async with running(near) as shaped:
        with pytest.raises(ValueError):
            await shaped.send_alert(50)
        await shaped.send_all(b"still there")
        assert await far.receive_some() == b"still there"


async def test_a_peer_s_alert_ends_the_beat_and_is_told_to_who_sends(autojump_clock: MockClock) -> None:
    near, far, _ = await tapped()
    shaped = ss.ConstantRate(near, interval=1_000, record=RECORD)
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shaped.run)
        nursery.start_soon(failure_of, shaped.send_all(b"x"), ss.PeerAlert)
        nursery.start_soon(failure_of, shaped.receive_some(), ss.PeerAlert)
        await trio.testing.wait_all_tasks_blocked()
        await far.send_alert(5_001, "enough")
    assert trio.current_time() - start < 10


@pytest.mark.parametrize("make", [memory_pair, socket_pair])
async def test_a_peer_that_is_gone_ends_the_beat(
    make: Callable[[], Awaitable[Transports]], autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(make, matching_configs())
    shaped = ss.ConstantRate(near, interval=INTERVAL, record=RECORD)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shaped.run)
        await trio.aclose_forcefully(far)
        with pytest.raises(trio.BrokenResourceError):
            await shaped.send_all(bytes(10**6))
        with pytest.raises(trio.BrokenResourceError):
            await shaped.send_all(b"x")


async def test_closing_a_connection_that_takes_nothing_is_bounded(autojump_clock: MockClock) -> None:
    near, _ = await secure_pair(socket_pair, matching_configs())
    assert isinstance(near.transport_stream, trio.SocketStream)
    fill(near.transport_stream)
    start = trio.current_time()
    async with (
        trio.open_nursery() as nursery,
        ss.ConstantRate(near, interval=INTERVAL, record=RECORD, burst=4) as shaped,
    ):
        nursery.start_soon(shaped.run)
        await trio.sleep(10)
    assert trio.current_time() - start <= 10 + (4 + 1) * INTERVAL + 2


async def test_closing_before_the_beat_has_begun_is_an_end_too(autojump_clock: MockClock) -> None:
    near, far, wire = await tapped()
    async with trio.open_nursery() as nursery:
        shaped = ss.ConstantRate(near, interval=INTERVAL, record=RECORD)
        nursery.start_soon(shaped.run)
        nursery.start_soon(far.aclose)
        await shaped.aclose()
    assert wire.sizes() == [RECORD]


async def test_closing_the_stream_below_wakes_whoever_waits(autojump_clock: MockClock) -> None:
    near, _, _ = await tapped()
    shaped = ss.ConstantRate(near, interval=1_000, record=RECORD)
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shaped.run)
        nursery.start_soon(ends_closed, partial(shaped.send_all, b"x"))
        nursery.start_soon(ends_closed, shaped.receive_some)
        await trio.testing.wait_all_tasks_blocked()
        await near.aclose()
    assert trio.current_time() - start < 10


async def test_a_policy_that_fails_meanwhile_fails_the_beat(autojump_clock: MockClock) -> None:
    near, _, _ = await tapped()
    shaped = ss.ConstantRate(near, interval=INTERVAL, record=RECORD)
    near.padding = ss.RecordPadding(beyond)
    with pytest.raises(ValueError, match="out of bounds"):
        await shaped.run()
    with pytest.raises(trio.ClosedResourceError):
        await shaped.send_all(b"x")


def beyond(record_type: int, length: int, room: int) -> int:
    return room + 1


# --- numbers ----------------------------------------------------------------------------------------


@pytest.mark.wire
async def test_a_record_may_be_as_small_and_as_large_as_they_come(configs: Configs, autojump_clock: MockClock) -> None:
    for record in (16_384 - (await tapped(configs))[0].record_capacity + 1, 16_384):
        near, far, wire = await tapped(configs)
        shaped = ss.ConstantRate(near, interval=INTERVAL, record=record)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shaped.run)
            await shaped.send_all(b"xyz")
            await shaped.send_eof()
            assert await receive_all(far) == b"xyz"
        assert set(wire.sizes()) == {record}


@pytest.mark.parametrize(
    ("interval", "record", "burst"),
    [
        *((interval, 1_000, None) for interval in (0, -1, float("nan"), float("inf"))),
        *((1, record, None) for record in (-5, 0, 22, 16_385)),
        *((1, 1_000, burst) for burst in (0, -1)),
    ],
)
async def test_numbers_that_make_no_sense_are_refused(interval: float, record: int, burst: int | None) -> None:
    near, _, _ = await tapped()
    with pytest.raises(ValueError):
        ss.ConstantRate(near, interval=interval, record=record, burst=burst)
    assert near.padding.is_none


async def test_it_says_what_it_is() -> None:
    near, _, _ = await tapped()
    assert repr(ss.ConstantRate(near, interval=0.5, record=99, burst=7)).startswith(
        "<ConstantRate: 99 bytes each 0.5 s in bursts of 7, <SecureStream with "
    )


# --- as a Trio stream -------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [memory_pair, lockstep_pair], ids=["memory", "lockstep"])
async def test_it_is_a_half_closeable_stream_as_trio_checks_it(
    make: Callable[[], Awaitable[Transports]], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secure, "LINGER_BYTES", 2**14)
    async with trio.open_nursery() as nursery:

        def shape(stream: ss.SecureStream[trio.abc.Stream], burst: int | None) -> ss.ConstantRate:
            shaped = ss.ConstantRate(stream, interval=INTERVAL, record=RECORD, burst=burst)
            nursery.start_soon(shaped.run)
            return shaped

        bursts = itertools.cycle([None, 3])

        async def make_shaped() -> tuple[ss.ConstantRate, ss.ConstantRate]:
            near, far = await secure_stream_pair(await make(), matching_configs())
            return shape(near, next(bursts)), shape(far, next(bursts))

        async def make_clogged() -> tuple[ss.ConstantRate, ss.ConstantRate]:
            near, far = await secure_stream_pair(await make(), matching_configs())
            pair = shape(near, None), shape(far, None)
            await trio.sleep(1.5 * INTERVAL)
            return pair

        await trio.testing.check_half_closeable_stream(make_shaped, make_clogged if make is lockstep_pair else None)
        nursery.cancel_scope.cancel()


async def test_the_other_end_needs_not_know(autojump_clock: MockClock) -> None:
    near, puppet = await client_and_puppet(await memory_pair(), matching_configs())
    async with running(near) as shaped:
        await shaped.send_all(b"text")
        await trio.sleep(3.5 * INTERVAL)
        await shaped.send_eof()
    received, _ = await puppet.hear()
    assert received == b"text"
    assert puppet.reader.records == 5


def test_it_fits_where_a_trio_stream_is_wanted() -> None:
    make: Callable[[], Awaitable[Pair[trio.abc.Stream]]] = partial(secure_pair, memory_pair, matching_configs())
    assert issubclass(ss.ConstantRate, trio.abc.HalfCloseableStream)
    assert callable(make)
