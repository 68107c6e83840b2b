"""The client: put and get, and once more from where it stopped when a connection has failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

import securestream as ss

from .._command import in_words
from .folder import check_name
from .messages import CHUNK_BYTES, Request, send
from .transfer import keep_file, send_file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from io import FileIO

    from .folder import Folder
    from .transfer import Progress

    Connect = Callable[[], Awaitable[ss.SecureStream[trio.abc.Stream]]]

PAUSE_SECONDS = 1.0

# Alerts that say nothing about the file: the next connection may do better.
PASSING = {
    ss.AlertCode.APPLICATION_ERROR,
    ss.AlertCode.BUSY,
    ss.AlertCode.IDLE_TIMEOUT,
    ss.AlertCode.INTERNAL_ERROR,
    ss.AlertCode.SHUTTING_DOWN,
}


async def put(connect: Connect, name: str, file: FileIO, progress: Progress) -> None:
    """Raises `OSError` of connecting, `TransferFailed`, and what streams raise."""
    check_name(name)
    async with ss.MessageChannel(await connect(), max_size=CHUNK_BYTES) as channel:
        await send(channel, Request("put", name))
        await send_file(channel, file, progress)


async def get(connect: Connect, name: str, folder: Folder, largest: int, progress: Progress) -> None:
    """Raises `OSError` of connecting, `TransferFailed`, and what streams raise."""
    check_name(name)
    async with ss.MessageChannel(await connect(), max_size=CHUNK_BYTES) as channel:
        await send(channel, Request("get", name))
        await keep_file(channel, folder, name, largest, progress)


async def with_patience(transfer: Callable[[], Awaitable[None]], tries: int, say: Callable[[str], None]) -> None:
    """Up to so many times, as each goes on where the one before has stopped. Raises what the last one raises, and at
    once what another connection would not mend."""
    for left in reversed(range(tries)):
        try:
            return await transfer()
        except (OSError, ss.StreamError) as exc:
            if not left or not may_pass(exc):
                raise
            say(f"{in_words(exc)}; going on in {PAUSE_SECONDS:g} s")
        await trio.sleep(PAUSE_SECONDS)


def may_pass(exc: OSError | ss.StreamError) -> bool:
    """Whether it was the connection, and not the file, the keys or somebody on the way."""
    if isinstance(exc, ss.PeerAlert):
        return exc.alert.code in PASSING
    return isinstance(exc, OSError | ss.TruncatedStream | ss.TransportBroken | ss.HandshakeTimeout)
