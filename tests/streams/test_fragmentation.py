"""However a transport splits and joins what it carries, the same comes out: handshake, data, end."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import securestream as ss
from securestream.testing import secure_stream_pair

from ..protocol.support import PROPERTY
from .support import (
    Configs,
    failure_of,
    matching_configs,
    receive_all,
    receive_until_error,
)
from .transports import Tap, memory_pair

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trio.testing import MockClock

ONE_AT_A_TIME = [1]
ALL_AT_ONCE = [0]


class Chopped(Tap):
    """A transport that carries pieces of these sizes, over and over, in both directions. A size of 0 waits until
    nobody has anything more to say, and carries all of it."""

    def __init__(self, inner: trio.abc.HalfCloseableStream, sizes: Sequence[int]) -> None:
        super().__init__(inner)
        self._sizes = itertools.cycle(sizes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        data = bytes(data)
        while data:
            size = next(self._sizes) or len(data)
            await super().send_all(data[:size])
            data = data[size:]

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        size = next(self._sizes)
        if not size:
            await trio.testing.wait_all_tasks_blocked()
        return await super().receive_some(size or max_bytes)


async def chopped_pair(configs: Configs, *sizes: Sequence[int]) -> tuple[ss.SecureStream[Chopped], ...]:
    near, far = await memory_pair()
    return await secure_stream_pair((Chopped(near, sizes[0]), Chopped(far, sizes[1])), configs)


async def talk(stream: ss.SecureStream[Chopped], writes: Iterable[bytes]) -> None:
    for data in writes:
        await stream.send_all(data)
    await stream.send_eof()


async def both_ways(configs: Configs, sizes: tuple[Sequence[int], ...], writes: tuple[Sequence[bytes], ...]) -> None:
    """Checks that each end receives exactly what the other has written, and then the end."""
    streams = await chopped_pair(configs, *sizes)
    received: dict[int, bytes] = {}

    async def listen(number: int) -> None:
        received[number] = await receive_all(streams[number])
        assert await streams[number].receive_some() == b""

    async with trio.open_nursery() as nursery:
        for number in range(2):
            nursery.start_soon(talk, streams[number], writes[number])
            nursery.start_soon(listen, number)
    assert [received[1], received[0]] == [b"".join(each) for each in writes]
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(stream.aclose)
    assert trio.current_time() == start


SIZES = st.lists(st.sampled_from([0, 1, 2, 3, 5, 24, 37, 100, 511, 16_384]), max_size=6).map(
    lambda sizes: [*sizes, 4_096]
)
WRITES = st.lists(st.one_of(st.binary(max_size=100), st.integers(0, 40_000).map(bytes)), max_size=4)


@PROPERTY
@given(suite=st.sampled_from(ss.Suite), sizes=st.tuples(SIZES, SIZES), writes=st.tuples(WRITES, WRITES))
def test_split_and_joined_anywhere_the_same_comes_out(
    suite: ss.Suite, sizes: tuple[list[int], ...], writes: tuple[list[bytes], ...]
) -> None:
    trio.run(both_ways, matching_configs(suite), sizes, writes, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("sizes", [ONE_AT_A_TIME, ALL_AT_ONCE], ids=["one byte at a time", "all at once"])
async def test_the_same_comes_out(sizes: Sequence[int], configs: Configs, autojump_clock: MockClock) -> None:
    await both_ways(configs, (sizes, sizes), ([b"question", b"", b"more of it"], [b"answer"]))


async def test_a_peer_that_sends_one_byte_at_a_time_is_understood_and_understands(
    configs: Configs, autojump_clock: MockClock
) -> None:
    await both_ways(configs, (ONE_AT_A_TIME, [65_536]), ([b"question"], [bytes(5_000)]))


@pytest.mark.parametrize("sizes", [ONE_AT_A_TIME, ALL_AT_ONCE], ids=["one byte at a time", "all at once"])
async def test_an_alert_comes_out(sizes: Sequence[int], configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await chopped_pair(configs, sizes, sizes)
    await far.send_all(b"before")
    await far.send_alert(5_001, "why")
    received, error = await receive_until_error(near)
    assert received == b"before"
    assert isinstance(error, ss.PeerAlert)
    assert error.alert == ss.Alert(5_001, "why")


@pytest.mark.parametrize("sizes", [ONE_AT_A_TIME, ALL_AT_ONCE], ids=["one byte at a time", "all at once"])
async def test_a_refusal_comes_out(sizes: Sequence[int], keyed_configs: Configs, autojump_clock: MockClock) -> None:
    client, _ = keyed_configs
    _, other_server = matching_configs(client.suites[0])
    near, far = await memory_pair()
    wrapping = ss.wrap_server(Chopped(far, sizes), other_server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(failure_of, wrapping, ss.HandshakeTruncated))
        await failure_of(ss.wrap_client(Chopped(near, sizes), client), ss.ServerKeyMismatch)
