"""Two tasks that do the same thing at once are a mistake of their program; the stream's own business is none."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss

from .support import (
    TOO_MUCH,
    Configs,
    failure_of,
    in_background,
    matching_configs,
    receive_until_error,
    secure_pair,
)
from .transports import lockstep_pair, socket_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

CALLS: dict[str, Callable[[ss.SecureStream[trio.abc.Stream]], Awaitable[None]]] = {
    "send_all": lambda stream: stream.send_all(b"x"),
    "send_all of nothing": lambda stream: stream.send_all(b""),
    "send_eof": lambda stream: stream.send_eof(),
    "update_key": lambda stream: stream.update_key(),
    "wait_send_all_might_not_block": lambda stream: stream.wait_send_all_might_not_block(),
}


async def forever(call: Callable[[], Awaitable[object]]) -> None:
    """`call`, which only the end of the stream ends."""
    with pytest.raises((trio.ClosedResourceError, trio.BrokenResourceError)):
        await call()


@pytest.mark.parametrize("second", CALLS)
async def test_two_senders_are_busy(second: str, configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await secure_pair(lockstep_pair, configs)
    async with in_background(partial(forever, partial(near.send_all, bytes(TOO_MUCH)))):
        with pytest.raises(trio.BusyResourceError, match="another task is sending"):
            await CALLS[second](near)
        await far.aclose()


async def test_two_receivers_are_busy(configs: Configs, autojump_clock: MockClock) -> None:
    near, _ = await secure_pair(lockstep_pair, configs)
    async with in_background(partial(forever, near.receive_some)):
        with pytest.raises(trio.BusyResourceError, match="another task is receiving"):
            await near.receive_some()
        await near.aclose()


async def test_a_busy_caller_harms_nothing(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await secure_pair(lockstep_pair, configs)

    async def send() -> None:
        await near.send_all(bytes(100_000))
        await near.send_eof()

    async with in_background(send):
        with pytest.raises(trio.BusyResourceError):
            await near.send_all(b"x")
        received = 0
        while chunk := await far.receive_some():
            received += len(chunk)
    assert received == 100_000


async def test_a_sender_and_a_receiver_are_not_busy(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await secure_pair(lockstep_pair, configs)
    async with in_background(partial(forever, near.receive_some)):
        async with in_background(partial(near.send_all, b"data")):
            assert await far.receive_some() == b"data"
        await near.aclose()


async def test_an_alert_takes_its_turn_and_nobody_is_busy(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await secure_pair(socket_pair, configs)
    async with (
        in_background(partial(forever, partial(near.send_all, bytes(TOO_MUCH)))),
        in_background(partial(forever, near.receive_some)),
        in_background(partial(near.send_alert, 5_001)),
    ):
        _, error = await receive_until_error(far)
    assert isinstance(error, ss.PeerAlert)


async def test_an_alert_waits_for_a_task_that_waits_for_room(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(lockstep_pair, matching_configs())
    async with (
        in_background(near.wait_send_all_might_not_block),
        in_background(partial(near.send_alert, 5_001)),
    ):
        _, error = await receive_until_error(far)
    assert isinstance(error, ss.PeerAlert)


async def test_closing_is_never_busy(configs: Configs, autojump_clock: MockClock) -> None:
    near, _ = await secure_pair(lockstep_pair, configs)
    async with (
        in_background(partial(forever, partial(near.send_all, bytes(TOO_MUCH)))),
        in_background(partial(forever, near.receive_some)),
    ):
        await near.aclose()


async def test_looking_for_a_reason_waits_its_turn_behind_a_receiver(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(socket_pair, matching_configs())
    sending = failure_of(near.send_all(bytes(TOO_MUCH)), ss.TruncatedStream)
    receiving = failure_of(near.receive_some(), ss.TruncatedStream)
    async with in_background(lambda: receiving), in_background(lambda: sending):
        await trio.aclose_forcefully(far.transport_stream)
