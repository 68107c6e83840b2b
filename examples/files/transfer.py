"""One file over one stream: the side that sends it, and the side that keeps it. Client and server can be either.

No side trusts the other's word. A part that is here is gone on with only if the sender's file begins with the same
bytes, by their SHA-256; what was not offered, is too long or does not come in time ends the transfer; and the file
gets its name only when its size is what was announced and its SHA-256 what the sender has computed meanwhile.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import trio

from .messages import (
    CHUNK_BYTES,
    From,
    Have,
    Kept,
    Sent,
    Size,
    TransferFailed,
    Why,
    broken_off,
    receive,
    receive_chunk,
    send,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash
    from io import FileIO

    import securestream as ss

    from .folder import Arriving, Folder

    # Told the bytes that are done, and those of the whole file.
    Progress = Callable[[int, int], None]

in_thread = trio.to_thread.run_sync  # a chunk at a time: between two a transfer can be cancelled


async def send_file(channel: ss.MessageChannel, file: FileIO, progress: Progress) -> None:
    """Sends what the other side has not got. Raises `TransferFailed`, and what streams raise."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    await send(channel, Size(size))
    have = await receive(channel, Have)
    sha = await _hash_beginning(file, min(have.size, size))
    done = have.size
    if have.size > size or sha.digest() != have.digest:
        sha, done = hashlib.sha256(), 0
    file.seek(done)
    await send(channel, From(done))
    progress(done, size)
    while done < size:
        chunk = await in_thread(_read, file, min(CHUNK_BYTES, size - done))
        sha.update(chunk)
        await send(channel, chunk)
        done += len(chunk)
        progress(done, size)
    await send(channel, Sent(sha.digest()))
    await receive(channel, Kept)


async def keep_file(channel: ss.MessageChannel, folder: Folder, name: str, largest: int, progress: Progress) -> None:
    """Keeps what the other side sends under that name. Raises `TransferFailed`, and what streams raise."""
    size = (await receive(channel, Size)).size
    if size > largest:
        raise TransferFailed(Why.TOO_LARGE, f"the file has {size:,} bytes, where {largest:,} are allowed")
    with folder.arriving(name) as arriving:
        while await in_thread(arriving.measure_some):
            pass
        if not arriving.can_become(size):
            arriving.restart()
        if size - arriving.size > folder.free_bytes():
            raise TransferFailed(Why.CANT_KEEP, "the file can't be kept: there is no room for it")
        await _agree(channel, arriving)
        await _keep_rest(channel, arriving, size, progress)
        await in_thread(arriving.finish)
    await send(channel, Kept())


async def _agree(channel: ss.MessageChannel, arriving: Arriving) -> None:
    """From where to go on: from the end of what is here, or from the beginning."""
    await send(channel, Have(arriving.size, arriving.digest))
    offset = (await receive(channel, From)).offset
    if offset not in (0, arriving.size):
        raise broken_off(f"{arriving.size:,} bytes are here, so it can't go on from {offset:,}")
    if offset != arriving.size:
        arriving.restart()


async def _keep_rest(channel: ss.MessageChannel, arriving: Arriving, size: int, progress: Progress) -> None:
    progress(arriving.size, size)
    while arriving.size < size:
        chunk = await receive_chunk(channel)
        if not 0 < len(chunk) <= size - arriving.size:
            raise broken_off(f"{size - arriving.size:,} bytes were to come, and not {len(chunk):,}")
        await in_thread(arriving.append, chunk)
        progress(arriving.size, size)
    if (await receive(channel, Sent)).digest != arriving.digest:
        raise TransferFailed(Why.DIGEST_DIFFERS, "what has come is not what was sent")


async def _hash_beginning(file: FileIO, size: int) -> _Hash:
    """The SHA-256 of its first bytes, to go on with."""
    sha = hashlib.sha256()
    while size:
        chunk = await in_thread(_read, file, min(CHUNK_BYTES, size))
        sha.update(chunk)
        size -= len(chunk)
    return sha


def _read(file: FileIO, size: int) -> bytes:
    """At least a byte. Raises `TransferFailed`."""
    try:
        chunk = file.read(size)
    except OSError as exc:
        raise TransferFailed(Why.CANT_READ, f"the file can't be read: {exc.strerror}") from exc
    if not chunk:
        raise TransferFailed(Why.CANT_READ, "the file became shorter while it was sent")
    return chunk
