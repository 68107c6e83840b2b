"""Over TLS, which can't half-close and of which nobody knows how much it has sent."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.testing import secure_stream_pair

from .support import TOO_MUCH, Configs, failure_of, handshake_outcomes, in_background, receive_until_error
from .transports import Tls, lockstep_pair, memory_pair, socket_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from .transports import Transports


@pytest.mark.parametrize("make", [memory_pair, lockstep_pair, socket_pair])
async def test_two_ends_closing_at_once_end_within_the_close_timeout(
    make: Callable[[], Awaitable[Transports]], tls: Tls, configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_stream_pair(tls.over(*await make()), configs)
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.aclose)
        nursery.start_soon(far.aclose)
    assert trio.current_time() - start <= configs[0].close_timeout


async def test_a_cut_send_is_a_truncated_stream_though_tls_ends_in_order(
    tls: Tls, configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_stream_pair(tls.over(*await socket_pair()), configs)
    with trio.move_on_after(1) as scope:
        await near.send_all(bytes(TOO_MUCH))
    assert scope.cancelled_caught
    await failure_of(near.send_alert(5_001), ss.TransportBroken)
    async with in_background(near.aclose):
        _, error = await receive_until_error(far)
    assert type(error) is ss.TruncatedStream


async def test_tls_s_own_end_is_no_end(tls: Tls, configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await secure_stream_pair(tls.over(*await memory_pair()), configs)
    await near.send_all(b"half")
    async with in_background(near.transport_stream.aclose):
        received, error = await receive_until_error(far)
        await far.transport_stream.aclose()
    assert received == b"half"
    assert type(error) is ss.TruncatedStream


async def test_an_alert_arrives(tls: Tls, configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await secure_stream_pair(tls.over(*await memory_pair()), configs)
    await near.send_all(b"half")
    await near.send_alert(5_001, "why")
    async with in_background(near.aclose):
        received, error = await receive_until_error(far)
        await far.aclose()
    assert received == b"half"
    assert isinstance(error, ss.PeerAlert)


async def test_a_refusal_arrives(tls: Tls, keyed_configs: Configs, autojump_clock: MockClock) -> None:
    client, server = keyed_configs
    stranger = replace(client, key=ss.PrivateKey.generate())
    at_client, at_server = await handshake_outcomes(tls.over(*await memory_pair()), stranger, server)
    assert isinstance(at_client, ss.HandshakeRefused)
    assert isinstance(at_server, ss.AccessDenied)


async def test_a_failing_tls_handshake_is_a_truncated_handshake_on_either_side(
    tls: Tls, configs: Configs, autojump_clock: MockClock
) -> None:
    client, server = configs
    near, far = await memory_pair()
    _, tls_server = tls.over(near, far)
    await near.send_all(b"this is no TLS\r\n\r\n")
    async with in_background(partial(failure_of, ss.wrap_server(tls_server, server), ss.HandshakeTruncated)):
        await near.aclose()
    near, far = await memory_pair()
    tls_client, _ = tls.over(near, far)
    await far.send_all(b"this is no TLS\r\n\r\n")
    await failure_of(ss.wrap_client(tls_client, client), ss.HandshakeTruncated)
