"""Connections by the thousand in one process, both ends of each: busy ones get their bytes, idle ones are still there.

Over TCP of this machine, if the process may have two descriptors a connection; else over memory, and the test says so.
"""

from __future__ import annotations

import os
import random
import resource
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss

from ..service.support import serving, serving_tcp
from ..streams.support import matching_configs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from ..conftest import Tries

    Connect = Callable[[], Awaitable["Stream"]]

Stream = ss.SecureStream[trio.abc.Stream]

pytestmark = pytest.mark.shows("many-connections")

AT_ONCE = 50  # connect, or close, at the same moment
ROUNDS = 5  # of a busy connection
OTHER_DESCRIPTORS = 200


@contextmanager
def descriptors(count: int) -> Iterator[bool]:
    """Whether this process may have so many; its limit is raised meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_enough = hard == resource.RLIM_INFINITY or hard >= count
    if is_enough and soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield is_enough
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident() -> int:
    """This process's memory in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Echo:
    """The handler, and how many of it there are."""

    def __init__(self) -> None:
        self.running = 0

    async def __call__(self, stream: Stream) -> None:
        self.running += 1
        async for chunk in stream:
            await stream.send_all(chunk)
        self.running -= 1


@asynccontextmanager
async def echoing(echo: Echo, *, over_tcp: bool) -> AsyncIterator[Connect]:
    """A server, and how to connect to it. Deadlines are long: only the machine's speed could reach them."""
    client, server = matching_configs()
    client = replace(client, handshake_timeout=600, close_timeout=60)
    server = replace(server, handshake_timeout=600, close_timeout=60)
    if over_tcp:
        async with serving_tcp(echo, server) as port:
            yield lambda: ss.open_secure_tcp_stream("127.0.0.1", port, client)
    else:
        async with serving(echo, server) as served:
            yield lambda: served.connect(client)


async def a_few_at_once(count: int, operation: Callable[[int], Awaitable[object]]) -> None:
    """`operation` for each number below `count`."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await operation(number)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(work)


async def echoed(stream: Stream, text: bytes) -> None:
    """All of `text` comes back."""
    received = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, text)
        while len(received) < len(text):
            chunk = await stream.receive_some()
            assert chunk, "an end that was none"
            received += chunk
    assert received == text, "bytes of another connection, or none of anybody's"


async def be_busy(connect: Connect, number: int) -> None:
    """One busy connection, from connect to close."""
    rng = random.Random(number)
    async with await connect() as stream:
        for _ in range(ROUNDS):
            await echoed(stream, rng.randbytes(rng.randint(1, 60_000)))
        await stream.send_eof()
        assert await stream.receive_some() == b""


async def test_idle_and_busy_connections_by_the_thousand_all_get_their_bytes(tries: Tries) -> None:
    idle, busy = tries.choose(small=300, full=5_000), tries.choose(small=50, full=500)
    tries.tried(idle + busy)
    with (
        descriptors(2 * (idle + busy) + OTHER_DESCRIPTORS) as is_enough,
        trio.fail_after(tries.choose(small=100, full=900)),
    ):
        tries.found("transport", "TCP" if is_enough else "memory, as so many descriptors are not allowed")
        echo, streams = Echo(), list[Stream]()
        async with echoing(echo, over_tcp=is_enough) as connect:

            async def add_idle(number: int) -> None:
                streams.append(await connect())

            async def prove_alive(number: int) -> None:
                async with streams[number] as stream:
                    await echoed(stream, number.to_bytes(4, "big"))

            await be_busy(connect, 0)  # what the first connection costs is no connection's
            before = resident()
            await a_few_at_once(idle, add_idle)
            tries.found("KiB for an idle connection, both ends", round((resident() - before) / idle / 1_024, 1))
            async with trio.open_nursery() as nursery:
                for number in range(busy):
                    nursery.start_soon(be_busy, connect, number)
            assert echo.running == idle
            await a_few_at_once(idle, prove_alive)
            while echo.running:
                await trio.lowlevel.checkpoint()
