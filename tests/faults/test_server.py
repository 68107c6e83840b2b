"""A server whose connections are faulty: it serves the others meanwhile, ends each handler, and has its room back.

All in memory and on a clock that jumps. Whether room was given back is asked from outside: when the storm is over
exactly as many clients get in as the limits say.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss

from ..service.conftest import log
from ..service.support import MemoryListener, Server, ask, serving, shout
from ..streams.support import failure_of, matching_configs
from .conversations import CLOSING, FOREVER, HANDSHAKE, PATIENCE
from .transport import NO_TROUBLE, Fault, Link, Pace, Trouble

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from ..conftest import Tries

__all__ = ["log"]
pytestmark = pytest.mark.shows("faulty-clients")

FAULTY, HONEST = 20, 5
CLIENT, SERVER = matching_configs()
LIMITS = ss.Limits(pending_handshakes=FAULTY + HONEST, connections=FAULTY + HONEST)


class Handler:
    """Answers in capitals, gives up a client that is silent for long, and counts itself."""

    def __init__(self) -> None:
        self.running = 0
        self.ended = Counter[str]()

    async def __call__(self, stream: ss.SecureStream[trio.abc.Stream]) -> None:
        self.running += 1
        try:
            with trio.move_on_after(PATIENCE):
                await shout(stream)
            self.ended["in order" if stream.statistics().bytes_received else "without a word"] += 1
        except ss.StreamError as exc:
            self.ended[type(exc).__name__] += 1
            raise
        finally:
            self.running -= 1


@asynccontextmanager
async def counted_server() -> AsyncIterator[tuple[Server, Handler]]:
    """A server, which at the end has room for as many as before, and no more, and no task of a connection."""
    handler = Handler()
    async with serving(handler, replace(SERVER, limits=LIMITS)) as served:
        await trio.testing.wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        with trio.fail_after(FOREVER):
            yield served, handler
            await trio.sleep(PATIENCE + HANDSHAKE + CLOSING)
        assert handler.running == 0
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        streams = [await served.connect(CLIENT) for _ in range(LIMITS.connections)]
        assert (await failure_of(served.connect(CLIENT), ss.HandshakeRefused)).code == "busy"
        for stream in streams:
            assert await ask(stream) == b"HELLO"
            await stream.aclose()


async def faulty_client(listener: MemoryListener, seed: int, seen: Counter[Fault]) -> None:
    """A client that means well, and whose link does not."""
    rng = random.Random(seed)
    trouble = Trouble(
        rng.choice(list(Fault)), rng.choice([rng.randint(0, 700), rng.randint(0, 5_000)]), rng.randint(1, 8)
    )
    troubles = rng.choice([(trouble, NO_TROUBLE), (NO_TROUBLE, trouble)])
    link = Link(rng, *troubles, Pace(grains=(1, 100, 5_000), fine=rng.choice([0, 300]), pause=0.001))
    await trio.sleep(rng.uniform(0, 2))
    await listener.deliver(link.server)
    try:
        with trio.move_on_after(PATIENCE):
            async with await ss.wrap_client(link.client, CLIENT) as stream:
                await talk(stream, rng.randbytes(rng.randint(1, 10_000)))
    except ss.StreamError:
        pass
    seen.update(way.trouble.fault for way in (link.up, link.down) if way.struck)


async def talk(stream: ss.SecureStream[trio.abc.Stream], text: bytes) -> None:
    """Says `text` and checks that what comes back is what `shout` makes of it, as far as it comes."""
    received = bytearray()

    async def hear() -> None:
        while chunk := await stream.receive_some():
            received.extend(chunk)
            assert text.upper().startswith(received)
        assert len(received) == len(text), "an end before all was there"

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear)
            await stream.send_all(text)
            await stream.send_eof()
    except* ss.StreamError as group:
        raise group.exceptions[0] from None


async def honest_client(served: Server, seed: int) -> None:
    """Is let in at once, and gets its answer."""
    rng = random.Random(seed)
    await trio.sleep(rng.uniform(0, 10))
    start = trio.current_time()
    async with await served.connect(CLIENT) as stream:
        await talk(stream, rng.randbytes(10_000))
    assert trio.current_time() == start, "it was kept waiting"


async def test_faulty_connections_take_nothing_from_honest_ones_and_leave_nothing_behind(
    tries: Tries, autojump_clock: MockClock, log: pytest.LogCaptureFixture
) -> None:
    seen, seeds = Counter[Fault](), tries.seeds(small=10, full=1_000)
    for seed in seeds:
        log.clear()
        async with counted_server() as (served, handler), trio.open_nursery() as nursery:
            for n in range(FAULTY):
                nursery.start_soon(faulty_client, served.listener, seed * FAULTY + n, seen)
            for n in range(HONEST):
                nursery.start_soon(honest_client, served, seed * HONEST + n)
        assert handler.ended["in order"] >= HONEST, f"seed {seed}"
        assert not [record for record in log.records if record.levelno >= logging.ERROR], f"seed {seed}: {log.text}"
    tries.found("faults that happened", str({fault.value: seen[fault] for fault in Fault}))
    assert all(seen[fault] >= 5 for fault in Fault if fault is not Fault.NONE)
