"""A padding policy that fails: an error for the send that met it, and never in the way of an end."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss

from .support import (
    failure_of,
    handshake_outcomes,
    in_background,
    matching_configs,
    memory_pair,
    receive_until_error,
    secure_pair,
    tapped_pair,
)
from .transports import small_socket_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from .support import Configs
    from .transports import Transports


class Failing(ss.PaddingPolicy):
    """Divides by zero, for records of these types."""

    def __init__(self, *types: int) -> None:
        self.types = types

    def pad_record(self, record_type: int, length: int, room: int) -> int:
        if record_type in self.types:
            raise ZeroDivisionError("swordfish")
        return 0


ALERT, CLOSE, KEY_UPDATE, ACCEPT = 1, 2, 3, 4


async def test_closing_sends_the_end_in_a_full_record_and_logs(
    make_transports: Callable[[], Awaitable[Transports]],
    configs: Configs,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    near, far = await secure_pair(make_transports, configs)
    near.padding = Failing(CLOSE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.aclose)
        assert await far.receive_some() == b""
        await far.aclose()
    assert "ZeroDivisionError: swordfish" in caplog.text
    assert [record.levelno for record in caplog.records if record.levelno > logging.WARNING] == [logging.ERROR]


@pytest.mark.wire
async def test_the_end_that_goes_out_all_the_same_has_the_size_of_any_record(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, far, wire = await tapped_pair(configs)
    near.padding = Failing(CLOSE)
    before = len(wire.sent)  # of the handshake
    async with in_background(far.aclose):
        await near.aclose()
    assert len(wire.sent) - before in (16_384, 16_384 + 24)  # and the header of suite 1


async def test_an_alert_goes_out(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(make_transports, configs)
    near.padding = Failing(ALERT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_alert, 5_001, "why")
        _, error = await receive_until_error(far)
    assert isinstance(error, ss.PeerAlert)
    assert error.alert == ss.Alert(5_001, "why")


async def test_a_half_close_that_meets_it_fails_and_changes_nothing(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(memory_pair, configs)
    near.padding = Failing(CLOSE)
    with pytest.raises(ZeroDivisionError):
        await near.send_eof()
    near.padding = ss.NoPadding()
    await near.send_all(b"all is well")
    await near.send_eof()
    assert await far.receive_some() == b"all is well"
    assert await far.receive_some() == b""


@pytest.mark.parametrize("authorised", [True, False])
async def test_the_server_s_verdict_goes_out(authorised: bool, autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    if not authorised:
        client = replace(client, key=ss.PrivateKey.generate())
    server = replace(server, padding=Failing(ACCEPT, ALERT))
    near, far = await handshake_outcomes(await memory_pair(), client, server)
    if authorised:
        assert (near, far) == (None, None)
    else:
        assert isinstance(near, ss.HandshakeRefused)
        assert near.alert.code == ss.AlertCode.ACCESS_DENIED
        assert isinstance(far, ss.AccessDenied)


async def test_a_policy_that_calls_itself_full_records_is_replaced_too(autojump_clock: MockClock) -> None:
    class NeverFull(ss.FullRecords):
        def pad_record(self, record_type: int, length: int, room: int) -> int:
            raise ZeroDivisionError

    near, far = await secure_pair(memory_pair, matching_configs())
    near.padding = NeverFull()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.aclose)
        assert await far.receive_some() == b""
        await far.aclose()


async def test_closing_with_full_records_over_tiny_sockets_takes_no_time(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(_tiny_sockets, matching_configs(close_timeout=30))
    near.padding = far.padding = ss.FullRecords()
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.aclose)
        nursery.start_soon(far.aclose)
    assert trio.current_time() - started < 1


async def _tiny_sockets() -> tuple[trio.SocketStream, trio.SocketStream]:
    near, far = await small_socket_pair()
    far.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 4_096)
    return near, far


async def test_what_a_closed_transport_leaves_is_not_called_an_alert(autojump_clock: MockClock) -> None:
    near, _ = await secure_pair(memory_pair, matching_configs())
    await near.transport_stream.aclose()
    await failure_of(near.receive_some(), trio.ClosedResourceError)
    error = await failure_of(near.receive_some(), trio.ClosedResourceError)
    assert "its transport was closed" in str(error)
