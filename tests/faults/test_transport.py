"""The transport with faults does what it says: a test with faults that don't happen shows nothing."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from ..streams.support import failure_of, receive_all
from ..streams.transports import close_sockets
from .transport import Fault, Kind, Link, Pace, Trouble, connected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio.testing import MockClock

TEXT = bytes(range(100))
ARRIVES = {
    Trouble(): TEXT,
    Trouble(Fault.CUT, 30): TEXT[:30],
    Trouble(Fault.CUT, 0): b"",
    Trouble(Fault.LAG, 30, 5): TEXT,
    Trouble(Fault.HOLE, 30, 7): TEXT[:30] + TEXT[37:],
    Trouble(Fault.DOUBLE, 30, 7): TEXT[:37] + TEXT[30:],
    Trouble(Fault.DOUBLE, 90, 10): TEXT + TEXT[90:],
    Trouble(Fault.FLIP, 30, 2): TEXT[:30] + bytes([30 ^ 4]) + TEXT[31:],
}
every_pace = pytest.mark.parametrize(
    "pace",
    [Pace(), Pace(fine=1_000, pause=0.01), Pace(grains=(1, 40), room=1)],
    ids=["smooth", "byte by byte", "no room"],
)


@pytest.fixture(autouse=True)
def sockets() -> Iterator[None]:
    """Sockets of a test end with it."""
    yield
    close_sockets()


async def say(stream: trio.abc.Stream) -> None:
    await stream.send_all(TEXT)
    await stream.aclose()


@every_pace
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("trouble", ARRIVES, ids=str)
async def test_a_fault_happens_at_its_byte_whatever_the_pieces(
    trouble: Trouble, pace: Pace, kind: Kind, autojump_clock: MockClock
) -> None:
    link, start = Link(random.Random(0), up=trouble, pace=pace), trio.current_time()
    async with connected(link, kind) as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(say, client)
        assert await receive_all(server) == ARRIVES[trouble]
    assert link.up.struck is (trouble.fault is not Fault.NONE)
    assert link.up.arrived == ARRIVES[trouble]
    assert (trio.current_time() - start >= trouble.size) is (trouble.fault is Fault.LAG)


@every_pace
async def test_a_stalled_way_delivers_no_more_and_says_nothing(pace: Pace, autojump_clock: MockClock) -> None:
    link = Link(random.Random(0), up=Trouble(Fault.STALL, 30), pace=pace)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(say, link.client)
        received = bytearray()
        with trio.move_on_after(10) as scope:
            while chunk := await link.server.receive_some():
                received += chunk
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()
    assert received == TEXT[:30]


@every_pace
async def test_a_reset_breaks_both_ends(pace: Pace, autojump_clock: MockClock) -> None:
    link = Link(random.Random(0), up=Trouble(Fault.RESET, 30), pace=pace)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(failure_of, receive_all(link.server), trio.BrokenResourceError)
        await failure_of(say_for_ever(link.client), trio.BrokenResourceError)
    for end in (link.client, link.server):
        await failure_of(end.receive_some(), trio.BrokenResourceError)
        await failure_of(end.send_all(b"x"), trio.BrokenResourceError)


async def say_for_ever(stream: trio.abc.Stream) -> None:
    while True:
        await stream.send_all(TEXT)


async def test_an_end_that_was_closed_says_so_and_its_peer_is_told(autojump_clock: MockClock) -> None:
    link = Link(random.Random(0))
    await link.client.aclose()
    await failure_of(link.client.send_all(b"x"), trio.ClosedResourceError)
    await failure_of(link.client.receive_some(), trio.ClosedResourceError)
    assert await link.server.receive_some() == b""
    await failure_of(link.server.send_all(b"x"), trio.BrokenResourceError)
