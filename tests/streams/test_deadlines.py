"""The handshake has a deadline of its own, on either side; the caller's timeouts stay the caller's."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.protocol.messages import Kind

from .support import (
    Configs,
    FrameStream,
    assert_transport_closed,
    failure_of,
    handshake_outcomes,
    in_background,
    matching_configs,
    puppet_client,
    puppet_server,
    receive_until_error,
    secure_pair,
)
from .transports import Tap, fill, lockstep_pair, memory_pair, small_socket_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from .transports import Transports


async def test_a_silent_server_is_a_handshake_timeout(
    make_transports: Callable[[], Awaitable[Transports]], autojump_clock: MockClock
) -> None:
    client, _ = matching_configs()
    near, far = await make_transports()
    start = trio.current_time()
    async with in_background(partial(_receive_for_ever, far)):
        error = await failure_of(ss.wrap_client(near, client), ss.HandshakeTimeout)
    assert trio.current_time() - start == pytest.approx(6)
    assert str(error) == "the server took more than 6 s for the handshake"
    assert not isinstance(error, trio.TooSlowError)


async def _receive_for_ever(transport: trio.abc.Stream) -> None:
    while await transport.receive_some():
        pass


async def test_a_silent_client_is_a_handshake_timeout_and_is_told_alert_9(
    make_transports: Callable[[], Awaitable[Transports]], autojump_clock: MockClock
) -> None:
    _, server = matching_configs()
    near, far = await make_transports()
    heard = bytearray()

    async def listen() -> None:
        while data := await near.receive_some():
            heard.extend(data)
        await near.aclose()

    start = trio.current_time()
    async with in_background(listen):
        error = await failure_of(ss.wrap_server(far, server), ss.HandshakeTimeout)
    assert trio.current_time() - start == pytest.approx(5)
    assert str(error) == "the client took more than 5 s for the handshake"
    assert heard == bytes([5, 0, 4, ss.AlertCode.HANDSHAKE_TIMEOUT, 0])


async def test_a_client_that_stops_after_the_challenge_is_told_alert_9(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    near, far = await memory_pair()

    async def stop_after_the_challenge() -> None:
        frames = FrameStream(near)
        await near.send_all(_hello(client))
        await frames.receive(Kind.CHALLENGE)
        assert await frames.receive(Kind.ALERT) == bytes([ss.AlertCode.HANDSHAKE_TIMEOUT, 0])
        await near.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_after_the_challenge)
        await failure_of(ss.wrap_server(far, server), ss.HandshakeTimeout)


def _hello(config: ss.ClientConfig) -> bytes:
    return config._new_handshake().hello()


async def test_nothing_follows_a_challenge_that_nobody_took(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    near, far = await lockstep_pair()
    start = trio.current_time()
    async with in_background(partial(near.send_all, _hello(client))):
        await failure_of(ss.wrap_server(far, server), ss.HandshakeTimeout)
    assert trio.current_time() - start == pytest.approx(5)


async def test_over_sockets_the_alert_follows_a_challenge_that_was_cut_short(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    near, far = await small_socket_pair()
    fill(far)
    await near.send_all(_hello(client))
    async with in_background(partial(failure_of, ss.wrap_server(far, server), ss.HandshakeTimeout)):
        await trio.sleep(5.5)
        received = bytearray()
        while chunk := await near.receive_some():
            received += chunk
        await near.aclose()
    frames = received.lstrip(b"x")
    challenge = int.from_bytes(frames[:2], "little")
    assert frames[2] == Kind.CHALLENGE
    assert frames[challenge:] == bytes([5, 0, Kind.ALERT, ss.AlertCode.HANDSHAKE_TIMEOUT, 0])


async def test_no_second_verdict_follows_one_that_nobody_took(autojump_clock: MockClock) -> None:
    near, far = await small_socket_pair()

    async def authorize(peer: ss.Peer) -> None:
        fill(far)

    client, server = matching_configs()
    handshaking = ss.wrap_server(far, replace(server, authorize=authorize))
    async with in_background(partial(failure_of, handshaking, ss.HandshakeTimeout)):
        await puppet_client(near, client)
        await trio.sleep(10)
        received = bytearray()
        while chunk := await near.receive_some():
            received += chunk
    assert set(received) == set(b"x")


async def test_a_client_that_trickles_gets_no_more_time(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    near, far = await memory_pair()
    start = trio.current_time()

    async def trickle() -> None:
        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
            for byte in _hello(client):
                await near.send_all(bytes([byte]))
                await trio.sleep(0.5)
        await near.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trickle)
        await failure_of(ss.wrap_server(far, server), ss.HandshakeTimeout)
        assert trio.current_time() - start <= server.handshake_timeout + server.close_timeout


async def test_a_server_that_withholds_its_verdict_is_a_handshake_timeout(
    configs: Configs, autojump_clock: MockClock
) -> None:
    client, server = configs
    near, far = await memory_pair()
    async with in_background(partial(puppet_server, far, server, accept=False)):
        await failure_of(ss.wrap_client(near, client), ss.HandshakeTimeout)


async def test_a_client_that_does_not_wait_for_the_verdict_is_done_after_its_response(
    configs: Configs, autojump_clock: MockClock
) -> None:
    client, server = configs
    near, far = await memory_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(puppet_server, far, server, accept=False))
        stream = await ss.wrap_client(near, replace(client, wait_for_accept=False))
    assert stream.peer.public_key == client.pinned_key


async def test_judging_the_server_s_key_runs_inside_the_client_s_deadline(autojump_clock: MockClock) -> None:
    async def judge(key: ss.PublicKey) -> None:
        await trio.sleep_forever()

    client, server = matching_configs()
    at_client, at_server = await handshake_outcomes(await memory_pair(), replace(client, server_key=judge), server)
    assert isinstance(at_client, ss.HandshakeRefused | ss.HandshakeTimeout)
    assert isinstance(at_server, ss.HandshakeTimeout)


async def test_the_server_s_reason_arrives_as_it_is_a_second_faster_than_the_client(
    make_transports: Callable[[], Awaitable[Transports]], autojump_clock: MockClock
) -> None:
    async def authorize(peer: ss.Peer) -> None:
        await trio.sleep_forever()

    client, server = matching_configs()
    at_client, at_server = await handshake_outcomes(
        await make_transports(), client, replace(server, authorize=authorize)
    )
    assert isinstance(at_client, ss.HandshakeRefused)
    assert at_client.alert == ss.Alert(ss.AlertCode.HANDSHAKE_TIMEOUT)
    assert isinstance(at_server, ss.HandshakeTimeout)


async def test_telling_a_client_that_takes_nothing_is_bounded_by_the_close_timeout(autojump_clock: MockClock) -> None:
    class TakesNothing(Tap):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await trio.sleep_forever()

    _, server = matching_configs(close_timeout=2)
    _, far = await memory_pair()
    start = trio.current_time()
    await failure_of(ss.wrap_server(TakesNothing(far), server), ss.HandshakeTimeout)
    assert trio.current_time() - start == pytest.approx(5 + 2)


async def test_math_inf_is_allowed_and_waits_for_ever(configs: Configs, autojump_clock: MockClock) -> None:
    async def authorize(peer: ss.Peer) -> str:
        await trio.sleep(80_000)
        return "at last"

    client, server = configs
    patient = replace(client, handshake_timeout=math.inf, close_timeout=math.inf)
    _, stream = await secure_pair(
        memory_pair, (patient, replace(server, authorize=authorize, handshake_timeout=math.inf))
    )
    assert stream.peer.principal == "at last"


# --- the caller's own -------------------------------------------------------------------------------------


async def test_the_caller_s_timeout_of_a_client_is_the_caller_s_own_error(autojump_clock: MockClock) -> None:
    client, _ = matching_configs()
    near, _ = await memory_pair()
    with pytest.raises(trio.TooSlowError), trio.fail_after(3):
        await ss.wrap_client(near, client)
    await assert_transport_closed(near)


async def test_the_caller_s_cancellation_of_a_server_passes_unchanged_and_sends_no_alert(
    make_transports: Callable[[], Awaitable[Transports]], autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    near, far = await make_transports()

    async def judge(key: ss.PublicKey) -> None:
        await trio.sleep_forever()

    async with in_background(
        partial(failure_of, ss.wrap_client(near, replace(client, server_key=judge)), ss.HandshakeTruncated)
    ) as scope:
        with trio.move_on_after(3) as caller:
            await ss.wrap_server(far, server)
        assert caller.cancelled_caught
        await assert_transport_closed(far)
        scope.cancel()


async def test_the_caller_s_cancellation_while_authorize_runs_is_no_verdict(
    make_transports: Callable[[], Awaitable[Transports]], autojump_clock: MockClock
) -> None:
    async def authorize(peer: ss.Peer) -> None:
        await trio.sleep_forever()

    client, server = matching_configs()
    near, far = await make_transports()
    async with in_background(partial(failure_of, ss.wrap_client(near, client), ss.HandshakeTruncated)):
        with trio.move_on_after(3) as caller:
            await ss.wrap_server(far, replace(server, authorize=authorize))
        assert caller.cancelled_caught


async def test_the_caller_s_cancellation_while_a_client_is_told_ends_that_too(autojump_clock: MockClock) -> None:
    _, server = matching_configs(close_timeout=100)
    near, far = await memory_pair()
    await near.send_all(b"not a hello")
    with trio.move_on_after(3) as caller:
        await ss.wrap_server(far, server)
    assert caller.cancelled_caught
    await assert_transport_closed(far)


async def test_the_deadline_ends_with_the_handshake(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, configs)
    await trio.sleep(3_600)
    await near.send_all(b"still here")
    assert await far.receive_some() == b"still here"


async def test_a_verdict_that_a_slow_authorize_gives_too_late_is_not_given(autojump_clock: MockClock) -> None:
    async def authorize(peer: ss.Peer) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(7)

    client, server = matching_configs()
    at_client, at_server = await handshake_outcomes(
        await memory_pair(), replace(client, handshake_timeout=20), replace(server, authorize=authorize)
    )
    assert isinstance(at_server, ss.HandshakeTimeout)
    assert isinstance(at_client, ss.HandshakeRefused)
    assert at_client.alert == ss.Alert(ss.AlertCode.HANDSHAKE_TIMEOUT)


async def test_a_client_whose_server_refuses_late_learns_it_on_its_first_receive(
    configs: Configs, autojump_clock: MockClock
) -> None:
    async def authorize(peer: ss.Peer) -> None:
        await trio.sleep(2)
        raise PermissionError("thought about it")

    client, server = configs
    near, far = await memory_pair()
    async with in_background(
        partial(failure_of, ss.wrap_server(far, replace(server, authorize=authorize)), ss.AccessDenied)
    ):
        stream = await ss.wrap_client(near, replace(client, wait_for_accept=False))
        await stream.send_all(b"hopeful")
        _, error = await receive_until_error(stream)
        assert isinstance(error, ss.HandshakeRefused)
        assert error.alert.message == "thought about it"
        await stream.aclose()


async def test_a_puppet_s_silence_after_the_handshake_is_no_timeout(
    configs: Configs, autojump_clock: MockClock
) -> None:
    client, server = configs
    near, far = await memory_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(puppet_client, near, client)
        stream = await ss.wrap_server(far, server)
    with trio.move_on_after(1_000) as scope:
        await stream.receive_some()
    assert scope.cancelled_caught
