"""Clients that take their time, so that the server runs out of places for handshakes: honest ones get in all the same.

In memory, on a clock that jumps. Each slow client holds a place for as long as the server lets it, and comes back at
once when it is thrown out. Up to one place less than the limit nobody notices. Beyond, whoever has kept the server
waiting for longest makes room for who comes; streams that are there go on.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss

from ..protocol.support import new_client
from ..service.support import Server, ask, serving, shout
from ..streams.support import matching_configs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trio.testing import MockClock

    from ..conftest import Tries

    Slow = Callable[[trio.abc.Stream], Awaitable[None]]

CLIENT, SERVER = matching_configs()
HELLO = new_client(ephemeral=None).hello()
AT_ONCE = 1  # second, of which none should pass
HELD = SERVER.handshake_timeout + SERVER.close_timeout  # as long as a slow client can have a place
PART_OF_AN_INSTANT = 0.001
HONEST = 10
BETWEEN = 0.7  # seconds, so that they come at any moment of the slow ones' deadlines


# --- slow clients -----------------------------------------------------------------------------------


async def drip(transport: trio.abc.Stream) -> None:
    """A byte of its hello a second."""
    for number in range(len(HELLO)):
        await transport.send_all(HELLO[number : number + 1])
        await trio.sleep(1)


async def keep_the_response(transport: trio.abc.Stream) -> None:
    """Has the server compute its challenge, and says no more."""
    await transport.send_all(HELLO)
    while await transport.receive_some():
        pass
    await trio.sleep(2 * HELD)


async def drip_the_response(transport: trio.abc.Stream) -> None:
    """A byte of what might be a response a second."""
    await transport.send_all(HELLO)
    for byte in bytes([67, 0, 3]) + bytes(64):
        await transport.send_all(bytes([byte]))
        await trio.sleep(1)


async def say_nothing(transport: trio.abc.Stream) -> None:
    """Connects."""
    await trio.sleep(2 * HELD)


every_slow_client = pytest.mark.parametrize("slow", [drip, keep_the_response, drip_the_response, say_nothing])


async def come_back_for_ever(served: Server, slow: Slow) -> None:
    """A slow client that is there again a moment after the server has let go of it, a second after it had no place."""
    while True:
        near, far = trio.testing.memory_stream_pair()
        transport, start = Watched(far), trio.current_time()
        await served.listener.deliver(transport)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_refused, slow, near)
            with trio.fail_after(HELD + PART_OF_AN_INSTANT):
                await transport.closed.wait()
            nursery.cancel_scope.cancel()
        await near.aclose()
        await trio.sleep(0.01 if trio.current_time() > start else 1)


async def until_refused(slow: Slow, transport: trio.abc.Stream) -> None:
    with suppress(trio.BrokenResourceError):
        await slow(transport)


class Watched(trio.abc.HalfCloseableStream):
    """The server's end of a connection; `closed` tells when the server has let go of it."""

    def __init__(self, inner: trio.abc.HalfCloseableStream) -> None:
        self._inner = inner
        self.closed = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._inner.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def aclose(self) -> None:
        self.closed.set()
        await self._inner.aclose()


@dataclass(frozen=True)
class Siege:
    """A server among slow clients."""

    server: Server
    early: ss.SecureStream[trio.abc.Stream]  # of an honest client that was there before them
    call_off: Callable[[], None]


@asynccontextmanager
async def besieged(slow: Slow, *, count: int, limit: int) -> AsyncIterator[Siege]:
    """A server with that many places for handshakes, and so many slow clients, all of them there."""
    async with serving(shout, replace(SERVER, limits=ss.Limits(pending_handshakes=limit))) as served:
        early = await served.connect(CLIENT)
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(come_back_for_ever, served, slow)
            await trio.testing.wait_all_tasks_blocked()
            yield Siege(served, early, nursery.cancel_scope.cancel)
            nursery.cancel_scope.cancel()
        await early.aclose()


async def connect_and_ask(server: Server) -> None:
    """What an honest client wants, and at once."""
    with trio.fail_after(AT_ONCE):
        async with await server.connect(CLIENT) as stream:
            assert await ask(stream) == b"HELLO"


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A line for each slow client is nothing to keep."""
    caplog.set_level(logging.CRITICAL, logger="securestream")


# --- up to the limit --------------------------------------------------------------------------------


@pytest.mark.shows("slow-loris")
@every_slow_client
async def test_honest_clients_connect_at_once_while_slow_ones_hold_all_places_but_one(
    slow: Slow, tries: Tries, autojump_clock: MockClock
) -> None:
    limit = tries.choose(small=100, full=4_096)
    tries.tried(HONEST)
    async with besieged(slow, count=limit - 1, limit=limit) as siege:
        for _ in range(HONEST):
            await connect_and_ask(siege.server)
            await trio.sleep(BETWEEN)


# --- beyond it --------------------------------------------------------------------------------------


@pytest.mark.shows("slow-loris")
@every_slow_client
@pytest.mark.parametrize("count", [10, 300])  # as many as places; more than are told "busy"
async def test_streams_that_are_there_go_on_however_many_slow_clients_come(
    slow: Slow, count: int, autojump_clock: MockClock
) -> None:
    async with besieged(slow, count=count, limit=10) as siege:
        for _ in range(HONEST):
            with trio.fail_after(AT_ONCE):
                assert await ask(siege.early) == b"HELLO"
            await trio.sleep(BETWEEN)


@pytest.mark.shows("slow-loris")
@every_slow_client
@pytest.mark.parametrize("count", [10, 30, 300])
async def test_an_honest_client_without_a_place_hears_so_at_once_and_has_one_when_the_slow_ones_are_gone(
    slow: Slow, count: int, autojump_clock: MockClock
) -> None:
    async with besieged(slow, count=count, limit=10) as siege:
        with trio.fail_after(AT_ONCE):
            with pytest.raises((ss.HandshakeRefused, ss.HandshakeTruncated)) as caught:
                await siege.server.connect(CLIENT)
        assert caught.value.code == ("busy" if count < 256 else "handshake_truncated")
        siege.call_off()
        await trio.sleep(HELD)
        for _ in range(HONEST):
            await connect_and_ask(siege.server)


@pytest.mark.shows("slow-loris")
@every_slow_client
@pytest.mark.parametrize("count", [10, 30])
async def test_honest_clients_connect_within_a_second_while_slow_ones_want_all_places(
    slow: Slow, count: int, tries: Tries, autojump_clock: MockClock
) -> None:
    tries.tried(HONEST)
    async with besieged(slow, count=count, limit=10) as siege:
        for _ in range(HONEST):
            with trio.fail_after(AT_ONCE):
                await try_until_there_is_a_place(siege.server)
            await trio.sleep(BETWEEN)


async def try_until_there_is_a_place(server: Server) -> None:
    """Slow clients that have only just come keep their places for a moment."""
    while True:
        with suppress(ss.HandshakeRefused):
            return await connect_and_ask(server)
        await trio.sleep(0.1)


@pytest.mark.parametrize("full", [{"pending_handshakes": 2}, {"connections": 2}])
async def test_the_client_that_waited_longest_loses_its_place_and_is_told(
    full: dict[str, int], autojump_clock: MockClock
) -> None:
    async with serving(shout, replace(SERVER, limits=ss.Limits(**full))) as served:
        slow = [await served.listener.connect() for _ in range(2)]
        await trio.sleep(0.2)
        async with await served.connect(CLIENT) as stream:
            assert await slow[0].receive_some() == bytes([5, 0, 4, ss.AlertCode.BUSY, 0])
            assert await slow[0].receive_some() == b""
            assert await ask(stream) == b"HELLO"
            async with await ss.wrap_client(slow[1], CLIENT) as patient:
                assert await ask(patient) == b"HELLO"


async def test_a_client_that_waits_for_authorize_keeps_its_place(autojump_clock: MockClock) -> None:
    async def take_a_second(peer: ss.Peer) -> None:
        await trio.sleep(1)

    config = replace(SERVER, authorize=take_a_second, limits=ss.Limits(pending_handshakes=1))
    async with serving(shout, config) as served, trio.open_nursery() as nursery:
        nursery.start_soon(connect_and_wait, served)
        await trio.sleep(0.5)
        with pytest.raises(ss.HandshakeRefused) as caught:
            await served.connect(CLIENT)
        assert caught.value.alert.code == ss.AlertCode.BUSY


async def connect_and_wait(server: Server) -> None:
    async with await server.connect(CLIENT) as stream:
        assert await ask(stream) == b"HELLO"
