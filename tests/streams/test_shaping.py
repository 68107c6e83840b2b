"""Cover traffic, as it is seen on the wire."""

from __future__ import annotations

import itertools
import math
import random
from bisect import bisect
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pytest
import trio
import trio.testing

import securestream as ss

from .support import in_background, matching_configs, record_lengths, secure_pair, tapped_pair
from .transports import fill, memory_pair, socket_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trio.testing import MockClock

    from .support import Configs
    from .transports import Tap, Transports

T = TypeVar("T")


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


@pytest.mark.wire
async def test_each_record_sent_starts_the_interval_anew(configs: Configs, autojump_clock: MockClock) -> None:
    near, far, wire = await tapped_pair(configs)
    await near.send_all(b"first")
    sends, start = len(wire.sends), trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ss.send_cover_traffic, near, 1)
        await trio.sleep(0.5)
        await near.send_all(b"x" * 100)
        await trio.sleep(2.25)
        nursery.cancel_scope.cancel()
    overhead = 16_384 - near.record_capacity
    assert wire_after(wire, sends) == [overhead + 100, overhead + 1, overhead + 1]
    assert [time - start for time in wire.times[sends:]] == pytest.approx([0.5, 1.5, 2.5])
    assert await far.receive_some() == b"first" + b"x" * 100


POLICIES = [
    ss.BlockPadding(512), ss.BlockPadding(40_000), ss.FullRecords(), ss.TorCells(), ss.BucketPadding([300, 20_000]),
]  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@pytest.mark.wire
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
    flushes = [record_lengths(data) for data in wire.sends[sends:]]
    assert len(flushes) == 3 + 3
    assert all(flush == flushes[0] for flush in flushes)


class Chance:
    """A source of messages or of cover: when and how much, by its own dice."""

    def __init__(self, seed: int, rate: float) -> None:
        self._dice, self._rate = random.Random(seed), rate

    def gap(self) -> float:
        return float(self._dice.expovariate(self._rate))

    def length(self) -> int:
        """As a typist's and a file server's together."""
        return self._dice.choice([self._dice.randint(1, 40), self._dice.randint(1_000, 9_000)])


class Traffic:
    """What a listener sees of a program, or of none, with cover."""

    def __init__(self) -> None:
        self.gaps: list[float] = []  # before each record
        self.sizes: list[int] = []
        self.genuine: list[bool] = []  # what he doesn't see

    async def listen(
        self, seconds: float, cover: Chance, data: Chance | None, interval: float | Callable[[], float] | None = None
    ) -> None:
        near, _, wire = await tapped_pair(matching_configs())
        near.padding = ss.Padme()
        sends, own = len(wire.sends), set[int]()
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(ss.send_cover_traffic, near, interval or cover.gap, size=cover.length))
                while data is not None:
                    await trio.sleep(data.gap())
                    own.add(len(wire.sends))
                    await near.send_all(bytes(data.length()))
        self.gaps = [after - before for before, after in itertools.pairwise(wire.times[sends:])]
        self.sizes = [len(data) for data in wire.sends[sends + 1 :]]
        self.genuine = [sends + 1 + n in own for n in range(len(self.gaps))]

    def of(self, values: list[T], *, genuine: bool) -> list[T]:
        return [value for value, is_genuine in zip(values, self.genuine, strict=True) if is_genuine is genuine]


def distance(some: Sequence[float], others: Sequence[float]) -> float:
    """Kolmogorov's and Smirnov's: how far two samples are from being of one distribution, in units in which one in a
    thousand pairs of one distribution is above 1.95."""
    one, two = sorted(some), sorted(others)
    steps = (abs(bisect(one, x) / len(one) - bisect(two, x) / len(two)) for x in one + two)
    return max(steps) * math.sqrt(len(one) * len(two) / (len(one) + len(two)))


async def test_sizes_and_times_have_one_distribution_with_payload_and_without(autojump_clock: MockClock) -> None:
    silent, busy = Traffic(), Traffic()
    await silent.listen(1_000, Chance(1, 2.0), None)
    await busy.listen(1_000, Chance(2, 1.0), Chance(3, 1.0))
    assert min(len(silent.gaps), len(busy.gaps)) > 1_500
    assert distance(silent.gaps, busy.gaps) < 1.95
    assert distance(silent.sizes, busy.sizes) < 1.95


async def test_a_record_s_size_and_time_do_not_tell_whether_it_is_cover(autojump_clock: MockClock) -> None:
    traffic = Traffic()
    await traffic.listen(2_000, Chance(4, 1.0), Chance(5, 1.0))
    gaps_after = traffic.gaps[1:] + traffic.gaps[:1]
    for seen in (traffic.gaps, gaps_after, traffic.sizes):
        data, cover = traffic.of(list(seen), genuine=True), traffic.of(list(seen), genuine=False)
        assert min(len(data), len(cover)) > 1_500
        assert distance(data, cover) < 1.95


async def test_a_steady_interval_does_tell_cover_from_data(autojump_clock: MockClock) -> None:
    traffic = Traffic()
    await traffic.listen(1_000, Chance(6, 1.0), Chance(7, 1.0), interval=0.5)
    assert distance(traffic.of(traffic.gaps, genuine=True), traffic.of(traffic.gaps, genuine=False)) > 10


async def test_cover_under_keyed_padding_is_not_always_as_long(autojump_clock: MockClock) -> None:
    near, _, wire = await tapped_pair(matching_configs())
    near.padding = ss.KeyedPadding(bytes(16), 1_000)
    sends = len(wire.sends)
    with trio.move_on_after(100):
        await ss.send_cover_traffic(near, 1)
    assert len({len(data) for data in wire.sends[sends:]}) > 50


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
async def test_it_returns_as_soon_as_this_direction_ends(
    end: Callable[[ss.SecureStream[trio.SocketStream]], Awaitable[None]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(socket_pair, configs)
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ss.send_cover_traffic, near, 1_000)
        await trio.sleep(2_500)
        await end(near)  # type: ignore[arg-type]
    assert near.statistics().records_sent == 3
    assert trio.current_time() - start < 2_500 + 2  # at once, and not at the next tick
    await far.aclose()


async def test_it_returns_when_the_peer_is_gone(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, configs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ss.send_cover_traffic, near, 1)
        await trio.aclose_forcefully(far.transport_stream)


async def test_it_returns_when_the_peer_ends_the_stream_with_an_alert(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(memory_pair, configs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ss.send_cover_traffic, near, 1_000_000)
        await far.send_alert(5_001, "enough")
        with pytest.raises(ss.PeerAlert):
            await near.receive_some()
    assert trio.current_time() < 1_000_000


async def test_a_dead_peer_s_stream_is_not_kept_alive(configs: Configs, autojump_clock: MockClock) -> None:
    """Neither is a deadline for data met by cover, nor does cover keep closing from its own."""
    near, far = await secure_pair(socket_pair, configs)
    assert isinstance(near.transport_stream, trio.SocketStream)
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for end in (near, far):
            nursery.start_soon(ss.send_cover_traffic, end, 1)
        with pytest.raises(trio.TooSlowError):
            with trio.fail_after(10):
                await near.receive_some()
        fill(near.transport_stream)
        await trio.aclose_forcefully(far)
        await near.aclose()
    assert trio.current_time() - start < 10 + 2


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


@pytest.mark.parametrize("size", [0, -1, 2**24 + 1, lambda: 0])
async def test_a_size_is_one_byte_to_16_mib(size: int | Callable[[], int], autojump_clock: MockClock) -> None:
    near, _ = await secure_pair(memory_pair, matching_configs())
    with pytest.raises(ValueError, match="1 to 16,777,216 bytes"):
        await ss.send_cover_traffic(near, 1, size=size)


def more_than_there_is_room_for(record_type: int, length: int, room: int) -> int:
    return room + 1


async def test_a_failing_policy_fails_the_cover_and_leaves_the_stream_whole(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, matching_configs())
    near.padding = ss.RecordPadding(more_than_there_is_room_for)
    with pytest.raises(ValueError, match="out of bounds"):
        await ss.send_cover_traffic(near, 1)
    near.padding = ss.NoPadding()
    await near.send_all(b"data")
    assert await far.receive_some() == b"data"


@pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf"), lambda: 0])
async def test_an_interval_is_more_than_none(
    interval: float | Callable[[], float], configs: Configs, autojump_clock: MockClock
) -> None:
    near, _ = await secure_pair(memory_pair, matching_configs())
    with pytest.raises(ValueError, match="more than 0 s"):
        await ss.send_cover_traffic(near, interval)
