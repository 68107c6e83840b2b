"""One task ends the stream with an alert; the task that reads wakes for it, and leaves its `async with stream`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.testing import secure_stream_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from .support import Configs
    from .transports import Transports


@pytest.mark.parametrize("size", [0, 10**6], ids=["idle", "in the middle of a send"])
async def test_closing_in_another_task_does_not_lose_an_alert_that_is_on_its_way(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, size: int, autojump_clock: MockClock
) -> None:
    client, server = await secure_stream_pair(await make_transports(), configs)

    async def handle() -> None:
        with pytest.raises(trio.ClosedResourceError):
            async with server:
                await server.receive_some()

    async def send() -> None:
        with contextlib.suppress(trio.ClosedResourceError):  # memory takes it all before the alert
            await server.send_all(bytes(size))

    async def read_late() -> None:
        await trio.sleep(0.2)
        with pytest.raises(ss.PeerAlert, match="too quiet"):
            while await client.receive_some():
                pass
        await client.aclose()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handle)
            nursery.start_soon(read_late)
            if size:
                nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            await server.send_alert(ss.AlertCode.IDLE_TIMEOUT, "too quiet")
