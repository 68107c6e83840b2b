"""A line more in a file that other programs read and write: under a lock, and by a new file in place of the old one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_BETWEEN_TRIES = 0.01  # seconds, while another program has the lock


@contextlib.asynccontextmanager
async def locked_folder(path: str) -> AsyncIterator[None]:
    """Keeps other programs that come here waiting, for the folder that `path` is in. Await nothing meanwhile, so that
    nobody waits for long. Waiting for it can be cancelled. Raises `OSError`."""
    folder = _open_folder(path)
    try:
        while not _takes_lock(folder):  # noqa: ASYNC110 - the program that has it can't set an event in this one
            await trio.sleep(_BETWEEN_TRIES)
        yield
    finally:
        os.close(folder)  # and with it the lock goes


def _open_folder(path: str) -> int:
    return os.open(os.path.dirname(os.path.realpath(path)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _takes_lock(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def append_line(path: str, line: str) -> None:
    """Puts a file with one line more in place of the old one, which need not be there, or nothing happens.

    A new file is its owner's only; an old one's mode is kept. Raises `OSError`.
    """
    real = os.path.realpath(path)
    data, mode = b"", 0o600
    with contextlib.suppress(FileNotFoundError), open(real, "rb") as file:
        data, mode = file.read(), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    if data and not data.endswith(b"\n"):
        data += b"\n"
    descriptor, new = tempfile.mkstemp(prefix=f".{os.path.basename(real)}.", dir=os.path.dirname(real))
    try:
        with open(descriptor, "wb") as file:
            file.write(data + f"{line}\n".encode())
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.replace(new, real)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
