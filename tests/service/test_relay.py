"""Relaying: an end is passed on as an end and nothing else is, whichever side breaks, and in whichever way."""

from __future__ import annotations

import hashlib
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.service.relay import _as_alert, cut, cut_on_error, relay
from securestream.testing import secure_memory_stream_pair, secure_stream_pair

from ..streams.support import PATIENCE, TOO_MUCH, client_and_puppet, matching_configs, receive_all, receive_until_error
from ..streams.transports import lockstep_pair, memory_pair, reset, socket_pair, tcp_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trio.testing import MockClock

    from ..conftest import Tries

    HalfCloseable = trio.abc.HalfCloseableStream
    Make = Callable[[], Awaitable[tuple[HalfCloseable, HalfCloseable]]]


@dataclass
class Bridge:
    """A client and a target, and what the relay between them raised."""

    client: ss.SecureStream[trio.abc.Stream]
    target: HalfCloseable
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    raised: list[BaseException] = field(default_factory=list)


async def run_relay(server: ss.SecureStream[trio.abc.Stream], near: HalfCloseable, bridge: Bridge) -> None:
    with bridge.scope:
        try:
            async with server, cut_on_error(near):
                await relay(server, near)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the test looks at it
            bridge.raised.append(exc)


@asynccontextmanager
async def bridged(make: Make) -> AsyncIterator[Bridge]:
    """A secure client, its server that relays, and a target behind it. Ends when the relay has."""
    client, server = await secure_stream_pair(await make(), matching_configs(close_timeout=1))
    near, target = await make()
    bridge = Bridge(client, target)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_relay, server, near, bridge)
            yield bridge
    for stream in (client, target):
        await trio.aclose_forcefully(stream)


PLAIN = pytest.mark.parametrize("make", [memory_pair, socket_pair, tcp_pair])


# --- in order ---------------------------------------------------------------------------------------


@PLAIN
async def test_either_direction_may_end_first_and_the_other_goes_on(make: Make) -> None:
    for client_first in (True, False):
        async with bridged(make) as bridge:
            first, second = (bridge.client, bridge.target) if client_first else (bridge.target, bridge.client)
            await first.send_all(b"question")
            await first.send_eof()
            assert await receive_all(second) == b"question"
            await second.send_all(b"answer")
            await second.send_eof()
            assert await receive_all(first) == b"answer"
        assert bridge.raised == []


async def exchange(stream: HalfCloseable, data: bytes, seed: int) -> str:
    """Sends `data` in pieces while receiving; what came, by its digest."""
    rng, came = random.Random(seed), hashlib.sha256()

    async def send() -> None:
        rest = memoryview(data)
        while rest:
            size = rng.choice([1, 100, 16_384, 100_000])
            await stream.send_all(rest[:size])
            rest = rest[size:]
        await stream.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        async for chunk in stream:
            came.update(chunk)
    return came.hexdigest()


async def digests_of_both(make: Make, seed: int, size: int) -> None:
    questions, answers = (random.Random(f"{seed} {side}").randbytes(size) for side in ("questions", "answers"))
    came: dict[str, str] = {}

    async def run(side: str, stream: HalfCloseable, data: bytes) -> None:
        came[side] = await exchange(stream, data, seed)

    async with bridged(make) as bridge, trio.open_nursery() as nursery:
        nursery.start_soon(run, "client", bridge.client, questions)
        nursery.start_soon(run, "target", bridge.target, answers)
    assert came == {"client": hashlib.sha256(answers).hexdigest(), "target": hashlib.sha256(questions).hexdigest()}


async def test_both_directions_at_once_carry_every_byte(tries: Tries) -> None:
    for seed in tries.seeds(small=3, full=100):
        await digests_of_both(tcp_pair, seed, 3_000_000)
        await digests_of_both(lockstep_pair, seed, 300_000)


async def test_who_does_not_read_holds_up_who_sends(autojump_clock: MockClock) -> None:
    async with bridged(lockstep_pair) as bridge:
        sent = 0
        with trio.move_on_after(1):
            while True:
                await bridge.client.send_all(bytes(1_000))
                sent += 1
        assert sent <= 2
        bridge.scope.cancel()


# --- the secure side breaks -------------------------------------------------------------------------


async def ends_with_a_reset(target: trio.abc.ReceiveStream) -> bytes:
    """What came before."""
    received = b""
    with pytest.raises(trio.BrokenResourceError):
        while chunk := await target.receive_some():
            received += chunk
    return received


async def test_an_alert_resets_the_target_after_what_was_sent_before() -> None:
    async with bridged(tcp_pair) as bridge:
        await bridge.client.send_all(bytes(300_000))
        await bridge.client.send_alert(5_000, "out of luck")
        assert len(await ends_with_a_reset(bridge.target)) == 300_000
    (error,) = bridge.raised
    assert isinstance(error, ss.PeerAlert)
    assert error.alert == ss.Alert(5_000, "out of luck")


async def test_a_cut_secure_stream_is_no_end_for_the_target() -> None:
    async with bridged(tcp_pair) as bridge:
        await bridge.client.send_all(b"half of it")
        await trio.aclose_forcefully(bridge.client.transport_stream)
        assert await ends_with_a_reset(bridge.target) == b"half of it"
    assert isinstance(bridge.raised[0], ss.TruncatedStream)


async def test_a_forged_record_is_no_end_for_the_target() -> None:
    stream, puppet = await client_and_puppet(await memory_pair(), matching_configs(close_timeout=1))
    near, target = await tcp_pair()
    bridge = Bridge(stream, target)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_relay, stream, near, bridge)
        await puppet.say(puppet.data(b"genuine"), b"\x40\x00" + bytes(62))
        assert await ends_with_a_reset(target) == b"genuine"
    assert isinstance(bridge.raised[0], ss.BadRecord)


async def test_a_cut_after_the_target_has_ended_is_an_error_all_the_same() -> None:
    async with bridged(tcp_pair) as bridge:
        await bridge.target.send_eof()
        assert await receive_all(bridge.client) == b""
        await trio.aclose_forcefully(bridge.client.transport_stream)
        await ends_with_a_reset(bridge.target)
    assert isinstance(bridge.raised[0], ss.TruncatedStream)


async def test_another_tasks_alert_passes_and_resets_the_target() -> None:
    client, server = await secure_memory_stream_pair(matching_configs(close_timeout=1))
    near, target = await tcp_pair()
    bridge = Bridge(client, target)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_relay, server, near, bridge)
        await trio.testing.wait_all_tasks_blocked()
        await server.send_alert(ss.AlertCode.SHUTTING_DOWN, "back soon")
        await ends_with_a_reset(target)
    with pytest.raises(ss.PeerAlert, match="back soon"):
        await client.receive_some()
    (error,) = bridge.raised
    assert isinstance(error, ExceptionGroup)
    assert isinstance(error.exceptions[0], trio.ClosedResourceError)


# --- who has ended, and is gone -------------------------------------------------------------------------


@asynccontextmanager
async def between(make: Make, look_every: float) -> AsyncIterator[tuple[HalfCloseable, HalfCloseable]]:
    """Two streams with a plain relay between them. Ends when the relay has."""
    (one, near), (far, other) = await make(), await make()

    async def run() -> None:
        async with cut_on_error(near), cut_on_error(far):
            await relay(near, far, look_every=look_every)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            yield one, other


SOCKETS = pytest.mark.parametrize("make", [socket_pair, tcp_pair])


@SOCKETS
async def test_a_peer_that_says_nothing_to_one_that_has_ended_and_gone_holds_no_relay(
    make: Make, autojump_clock: MockClock
) -> None:
    for silent_is_client in (True, False):
        async with between(make, look_every=5) as ends:
            silent, leaving = ends if silent_is_client else ends[::-1]
            await leaving.send_all(b"bye")
            await leaving.send_eof()
            assert await receive_all(silent) == b"bye"
            assert isinstance(leaving, trio.SocketStream)
            reset(leaving)
        assert trio.current_time() < PATIENCE


@SOCKETS
async def test_one_that_has_ended_and_listens_on_gets_what_comes_however_late(
    make: Make, autojump_clock: MockClock
) -> None:
    async with between(make, look_every=0.001 * PATIENCE) as (one, other):
        await other.send_eof()
        assert await receive_all(one) == b""
        await trio.sleep(0.9 * PATIENCE)
        await one.send_all(b"late")
        await one.send_eof()
        assert await receive_all(other) == b"late"


# --- the plain side breaks --------------------------------------------------------------------------


async def test_a_reset_of_the_target_is_an_alert_after_what_it_sent_before() -> None:
    async with bridged(tcp_pair) as bridge:
        await bridge.target.send_all(b"half an answer")
        assert await bridge.client.receive_some() == b"half an answer"
        assert isinstance(bridge.target, trio.SocketStream)
        reset(bridge.target)
        received, error = await receive_until_error(bridge.client)
    assert received == b""
    assert isinstance(error, ss.PeerAlert)
    assert error.alert == ss.Alert(ss.AlertCode.APPLICATION_ERROR, "the connection beyond this one broke")
    assert isinstance(bridge.raised[0], ss.StreamFailure)


async def test_an_answer_to_an_upload_that_is_not_read_is_passed_on_and_has_no_end() -> None:
    """As of a server that refuses an upload and closes: its kernel resets the connection, right behind the answer."""
    answer = bytes(1_000_000)
    async with bridged(tcp_pair) as bridge, trio.open_nursery() as nursery:

        async def upload() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await bridge.client.send_all(bytes(TOO_MUCH))

        async def refuse() -> None:
            await bridge.target.receive_some(1)
            await bridge.target.send_all(answer)
            await bridge.target.aclose()

        nursery.start_soon(upload)
        nursery.start_soon(refuse)
        received, error = await receive_until_error(bridge.client)
    assert answer.startswith(received)  # the reset overtakes what is still in the kernel, as without a relay
    assert isinstance(error, ss.PeerAlert)


async def test_a_target_that_reads_no_more_may_still_answer_and_who_sent_more_is_told() -> None:
    async with bridged(socket_pair) as bridge:
        assert isinstance(bridge.target, trio.SocketStream)
        bridge.target.socket.shutdown(trio.socket.SHUT_RD)
        await bridge.client.send_all(b"nobody reads this")
        await bridge.target.send_all(b"an answer")
        await bridge.target.send_eof()
        received, error = await receive_until_error(bridge.client)
    assert received == b"an answer"
    assert isinstance(error, ss.PeerAlert)


async def test_a_cancelled_relay_is_an_end_for_nobody() -> None:
    async with bridged(tcp_pair) as bridge:
        await bridge.client.send_all(b"half")
        assert await bridge.target.receive_some() == b"half"
        bridge.scope.cancel()
        await ends_with_a_reset(bridge.target)
        with pytest.raises(ss.TruncatedStream):
            await bridge.client.receive_some()
    assert bridge.raised == []


async def test_cancelled_at_any_moment_it_leaves_nothing_behind() -> None:
    for steps in range(30):
        async with bridged(socket_pair) as bridge, trio.open_nursery() as nursery:
            nursery.start_soon(partial(bridge.client.send_all, bytes(100_000)))
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            bridge.scope.cancel()
            nursery.cancel_scope.cancel()
        assert bridge.raised == []


# --- two streams of a kind --------------------------------------------------------------------------


async def test_between_secure_streams_an_alert_is_passed_on_with_its_text() -> None:
    client, near = await secure_memory_stream_pair()
    far, server = await secure_memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            with pytest.raises(ss.StreamFailure):
                async with near, far:
                    await relay(near, far)

        nursery.start_soon(run)
        await server.send_all(b"a part")
        await server.send_alert(4_711, "the rest is lost")
        received, error = await receive_until_error(client)
    assert received == b"a part"
    assert isinstance(error, ss.PeerAlert)
    assert error.alert == ss.Alert(4_711, "the rest is lost")


@pytest.mark.parametrize(("code", "passed_on"), [(14, 14), (99, 1), (4_096, 4_096), (65_535, 65_535)])
def test_a_code_that_no_program_may_send_is_passed_on_as_application_error(code: int, passed_on: int) -> None:
    assert _as_alert(ss.PeerAlert(ss.Alert(code, "text"))).alert == ss.Alert(passed_on, "text")


async def test_between_plain_streams_a_reset_is_passed_on() -> None:
    (client, near), (far, target) = await tcp_pair(), await tcp_pair()
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            with pytest.raises(trio.BrokenResourceError):
                async with cut_on_error(near), cut_on_error(far):
                    await relay(near, far)

        nursery.start_soon(run)
        await target.send_all(b"a part")
        assert await client.receive_some() == b"a part"
        reset(target)
        assert await ends_with_a_reset(client) == b""


# --- cutting off ------------------------------------------------------------------------------------


async def test_within_the_block_a_close_by_anybody_is_a_reset_and_after_it_an_end() -> None:
    near, far = await tcp_pair()
    async with cut_on_error(near):
        await near.send_all(b"all of it")
    assert await receive_all(far) == b"all of it"
    near, far = await tcp_pair()
    async with cut_on_error(near):
        near.socket.close()  # as the kernel does for a program that is killed
        await ends_with_a_reset(far)


async def test_a_cut_waits_for_what_was_sent_to_arrive() -> None:
    near, far = await tcp_pair()
    async with trio.open_nursery() as nursery:

        async def send_and_cut() -> None:
            await near.send_all(bytes(2**21))
            await cut(near)

        nursery.start_soon(send_and_cut)
        assert len(await ends_with_a_reset(far)) == 2**21


async def test_a_cut_waits_for_a_peer_that_reads_nothing_a_second_only(autojump_clock: MockClock) -> None:
    near, far = await tcp_pair()
    with trio.move_on_after(1):
        await near.send_all(bytes(TOO_MUCH))
    before = trio.current_time()
    await cut(near)
    assert trio.current_time() - before == pytest.approx(1)
    await ends_with_a_reset(far)


async def test_a_cut_that_is_cancelled_cuts_at_once() -> None:
    near, far = await tcp_pair()
    with trio.CancelScope() as scope:
        scope.cancel()
        await cut(near)
    assert scope.cancelled_caught
    await ends_with_a_reset(far)


async def test_what_is_closed_already_can_be_cut() -> None:
    near, _ = await tcp_pair()
    await near.aclose()
    await cut(near)


async def test_a_unix_socket_knows_no_reset() -> None:
    near, far = await socket_pair()
    await cut(near)
    assert await far.receive_some() == b""
