"""Standard input and output as bytes, without holding up the event loop.

Each call runs in a thread, which works alike for terminals, pipes and files. The other way, an
`trio.lowlevel.FdStream`, can't read files, and switches the terminal to non-blocking, which every other
program on that terminal feels, also after this one was killed. A call that is cancelled leaves its thread
waiting; it ends with the process.
"""

from __future__ import annotations

import os
import select
from functools import partial

import trio

STDIN = 0
STDOUT = 1


async def read_some(descriptor: int, max_bytes: int) -> bytes:
    """What is there, at least a byte; b"" at the end. Raises `OSError`."""
    return await trio.to_thread.run_sync(partial(_read, descriptor, max_bytes), abandon_on_cancel=True)


async def write_all(descriptor: int, data: bytes | bytearray) -> None:
    """Raises `OSError`: `BrokenPipeError` when nobody reads any more."""
    await trio.to_thread.run_sync(partial(_write, descriptor, data), abandon_on_cancel=True)


def _read(descriptor: int, max_bytes: int) -> bytes:
    while True:
        try:
            return os.read(descriptor, max_bytes)
        except BlockingIOError:  # somebody else has made it non-blocking
            select.select([descriptor], [], [])


def _write(descriptor: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
