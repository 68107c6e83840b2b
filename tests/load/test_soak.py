"""A server and its clients for a long time, with every kind of end: nothing is left of what is over.

Each visit is a connection over TCP that goes as its seed says: talk, half-close, alerts of either side, resets,
handshakes that are cancelled, refused, cut short or never begun; or a pool of them, used by more than it has room
for. Before and after, when the last connection is gone,
tasks, descriptors and the package's objects are counted and must be the same; memory may grow by a bound that doesn't
depend on how many visits there were.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import tracemalloc
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.protocol import records

from ..service.support import serving_tcp
from ..streams.support import matching_configs
from ..streams.test_cancellation import is_cut
from ..streams.transports import reset
from .test_many_connections import resident

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..conftest import Tries

    Stream = ss.SecureStream[trio.SocketStream]

AT_ONCE = 10
WARM_UP = 200
MAY_GROW = 2**18  # bytes, by what Python keeps for another time
CLIENT, SERVER = matching_configs()
STRANGER = replace(CLIENT, key=ss.PrivateKey.generate())


# --- what the server does -----------------------------------------------------------------------------


async def serve(stream: Stream) -> None:
    """As the client's first byte says."""
    command = await stream.receive_some(1)
    match command:
        case b"f":
            await stream.send_all(b"so far")
            raise ss.StreamFailure(5_001, "and no farther")
        case b"r":
            reset(stream.transport_stream)
        case b"s":
            while True:
                await stream.send_all(bytes(50_000))
        case b"l":
            async for _ in stream:
                pass
        case _:
            async for chunk in stream:
                await stream.send_all(chunk)


# --- what clients do ----------------------------------------------------------------------------------


async def talk(stream: Stream, rng: random.Random) -> None:
    """To and fro, and an end in order."""
    text = rng.randbytes(rng.randint(1, 40_000))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(say, stream, text)
        received = b"".join([chunk async for chunk in stream])
    assert received == text


async def say(stream: Stream, text: bytes) -> None:
    await stream.send_all(b"e" + text)
    await stream.send_eof()


async def close_at_once(stream: Stream, rng: random.Random) -> None:
    """Says nothing."""


async def close_in_the_middle(stream: Stream, rng: random.Random) -> None:
    """Of much that comes."""
    await stream.send_all(b"s")
    for _ in range(rng.randint(0, 5)):
        await stream.receive_some()


async def send_alert(stream: Stream, rng: random.Random) -> None:
    """In the middle."""
    await stream.send_all(rng.choice([b"e", b"s"]) + rng.randbytes(100))
    await stream.receive_some()
    await stream.send_alert(5_002, "that will do")


async def fail(stream: Stream, rng: random.Random) -> None:
    """Leaves its block by an exception."""
    await stream.send_all(b"e")
    raise ss.StreamFailure(5_002, "that will do")


async def hear_alert(stream: Stream, rng: random.Random) -> None:
    """The server's."""
    await stream.send_all(b"f")
    while True:
        assert await stream.receive_some(), "an end that was none"


async def hear_reset(stream: Stream, rng: random.Random) -> None:
    """The server's."""
    await stream.send_all(b"r")
    while True:
        assert await stream.receive_some(), "an end that was none"


async def reset_it(stream: Stream, rng: random.Random) -> None:
    """While bytes are on their way."""
    await stream.send_all(rng.choice([b"e" * 1_000, b"s"]))
    reset(stream.transport_stream)


async def be_cancelled(stream: Stream, rng: random.Random) -> None:
    """In the middle of sending more than goes out, and once more in closing."""
    await is_cut(partial(stream.send_all, b"l" * 2_000_000), rng.randint(0, 5))
    await is_cut(stream.aclose, rng.randint(0, 3))


THROUGH_THE_HANDSHAKE = (
    talk, talk, close_at_once, close_in_the_middle, send_alert, fail, hear_alert, hear_reset, reset_it, be_cancelled,
)  # fmt: skip


async def visit(transport: trio.SocketStream, rng: random.Random) -> None:
    """One connection, from the handshake on."""
    async with await ss.wrap_client(transport, CLIENT) as stream:
        await rng.choice(THROUGH_THE_HANDSHAKE)(stream, rng)


async def cancel_handshake(transport: trio.SocketStream, rng: random.Random) -> None:
    """At one of its checkpoints."""
    await is_cut(partial(visit, transport, rng), rng.randint(0, 6))


async def be_a_stranger(transport: trio.SocketStream, rng: random.Random) -> None:
    """Is refused."""
    await ss.wrap_client(transport, STRANGER)


async def talk_garbage(transport: trio.SocketStream, rng: random.Random) -> None:
    """In place of a hello, or before nothing."""
    async with transport:
        await transport.send_all(rng.randbytes(rng.randint(0, 400)))


async def go_away(transport: trio.SocketStream, rng: random.Random) -> None:
    """With a reset."""
    reset(transport)


async def share_a_pool(transport: trio.SocketStream, rng: random.Random) -> None:
    """Several at once, who talk, fail, or are cancelled wherever they are."""
    host, port = transport.socket.getpeername()
    await transport.aclose()

    async def connect() -> Stream:
        stream = await ss.open_secure_tcp_stream(host, port, CLIENT)
        await stream.send_all(b"e")
        return stream

    async with (
        ss.StreamPool(connect, max_streams=rng.randint(1, 2), max_idle=rng.randint(0, 2)) as pool,
        trio.open_nursery() as nursery,
    ):
        for _ in range(3):
            nursery.start_soon(use_pool, pool, random.Random(rng.random()))


async def use_pool(pool: ss.StreamPool[trio.SocketStream], rng: random.Random) -> None:
    with suppress(*FORESEEN):
        await is_cut(partial(use_pooled_stream, pool, rng), rng.choice([rng.randint(0, 40), 10_000]))


async def use_pooled_stream(pool: ss.StreamPool[trio.SocketStream], rng: random.Random) -> None:
    async with pool.stream() as stream:
        left = rng.randint(1, 20_000)
        await stream.send_all(rng.randbytes(left))
        while left:
            left -= len(await stream.receive_some(rng.randint(1, left)))
        await rng.choice([close_at_once, close_at_once, send_alert, fail, reset_it])(stream, rng)


WAYS = (visit, visit, visit, visit, cancel_handshake, be_a_stranger, talk_garbage, go_away, share_a_pool)
FORESEEN = (ss.StreamError, ss.StreamFailure, trio.ClosedResourceError, trio.BrokenResourceError)


# --- what is left -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Footprint:
    """What there is of this process."""

    tasks: int
    descriptors: int
    objects: Counter[str]
    traced: int = field(compare=False)  # bytes
    resident: int = field(compare=False)


def footprint() -> Footprint:
    """Now, without what can be collected and the buffers that are kept for the next stream."""
    gc.collect()  # a generator that is collected gives its buffer back, so this comes first
    for spare in records._spare.values():
        spare.clear()
    names = [f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects()]
    return Footprint(
        trio.lowlevel.current_statistics().tasks_living,
        len(os.listdir("/proc/self/fd")),
        Counter(name for name in names if name.startswith("securestream.")),
        tracemalloc.get_traced_memory()[0],
        resident(),
    )


@pytest.fixture
def traced() -> Iterator[None]:
    """Python's memory is counted."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


class Visits:
    """Makes visits, each drawn from the seed and its number, and waits until nothing of them goes on."""

    def __init__(self, port: int, seed: int) -> None:
        self.made = 0
        self._port = port
        self._seed = seed
        self._idle_tasks = trio.lowlevel.current_statistics().tasks_living

    async def make(self, at_least: int, seconds: float = 0) -> None:
        """So many, and until so many seconds are over."""
        enough, until = self.made + at_least, trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(self._work, lambda: self.made < enough or trio.current_time() < until)
        while trio.lowlevel.current_statistics().tasks_living > self._idle_tasks:
            await trio.lowlevel.checkpoint()

    async def _work(self, goes_on: Callable[[], bool]) -> None:
        while goes_on():
            self.made += 1
            name = f"visit {self.made} of seed {self._seed}"
            rng = random.Random(name)
            try:
                transport = await trio.open_tcp_stream("127.0.0.1", self._port)
                await rng.choice(WAYS)(transport, rng)
            except FORESEEN:
                pass
            except Exception as exc:
                exc.add_note(name)
                raise


@pytest.mark.slow
@pytest.mark.shows("soak")
async def test_connections_with_every_kind_of_end_leave_nothing_behind(
    tries: Tries, traced: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="securestream")  # pytest keeps every line
    (seed,) = tries.seeds(small=1, full=1)
    seconds = tries.choose(small=0, full=1_800)
    with trio.fail_after(seconds + 300):
        async with serving_tcp(serve, SERVER) as port:
            await trio.testing.wait_all_tasks_blocked()  # the server's start is over
            visits = Visits(port, seed)
            await visits.make(WARM_UP)
            before = footprint()
            await visits.make(tries.choose(small=800, full=0), seconds)
            after = footprint()
    tries.tried(visits.made)
    tries.found("traced KiB before, after", f"{before.traced / 1_024:.0f}, {after.traced / 1_024:.0f}")
    tries.found("resident MiB before, after", f"{before.resident / 2**20:.1f}, {after.resident / 2**20:.1f}")
    tries.found("tasks, descriptors, objects", f"{after.tasks}, {after.descriptors}, {after.objects.total()}")
    assert after == before
    assert after.traced - before.traced < MAY_GROW
