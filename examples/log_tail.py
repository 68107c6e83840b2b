"""`tail -f` from another machine, by a reader who knows how it ended.

    python -m examples.log_tail server --log app.log
    python -m examples.log_tail client connection

A log that falls silent may be at its end, its server may be dead, or somebody may have cut the connection before what
he doesn't want seen. Over TCP these look alike. Here each is another end, and another exit status:

    0  the log was moved away or removed, and this was all of it
    1  the connection was cut: the server was killed, or the network is gone, even without a word
    3  the server can't go on, and says why: the log was truncated, the disk failed, the server shuts down
"""

from __future__ import annotations

import codecs
import os
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

import trio

import securestream as ss

from ._command import Failure, command_line, printable, run, serve, write_output

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    AnyStream = ss.SecureStream[trio.abc.Stream]

TAIL_BYTES = 8_192  # of what was there before
CHUNK_BYTES = 65_536
LOOK_SECONDS = 0.2
TAKE_SECONDS = 60  # for a client to take a chunk
KEEP_ALIVE_SECONDS = 5  # a server with nothing to say sends a record without content
SILENCE_SECONDS = 20  # so a client that gets not even that has lost it

# This program's own alerts.
LOG_TRUNCATED = 5_001
LOG_UNREADABLE = 5_002
TOO_SLOW = 5_003


# --- the server ---------------------------------------------------------------------------------------


class LogTail:
    """`handle` is a handler for `ss.serve_secure_tcp`. Each client gets the file at its own pace: nothing is queued."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def handle(self, stream: AnyStream) -> None:
        """Until the log ends, or the client does."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_gone, stream, nursery.cancel_scope)
            await self._send_log(stream)
            nursery.cancel_scope.cancel()

    async def _send_log(self, stream: AnyStream) -> None:
        try:
            async with aclosing(follow(self._path)) as chunks:
                async for chunk in chunks:
                    await send_in_time(stream, chunk)
        except OSError as exc:
            raise ss.StreamFailure(LOG_UNREADABLE, f"the log can't be read: {exc.strerror}") from exc


async def until_gone(stream: AnyStream, scope: trio.CancelScope) -> None:
    """Who only sends learns of no end: so somebody has to listen, to a client that has nothing to say."""
    if await stream.receive_some():
        raise ss.StreamFailure(ss.AlertCode.PROTOCOL_ERROR, "a reader has nothing to say")
    scope.cancel()


async def send_in_time(stream: AnyStream, chunk: bytes) -> None:
    with trio.move_on_after(TAKE_SECONDS) as scope:
        await stream.send_all(chunk)
    if scope.cancelled_caught:
        raise ss.StreamFailure(TOO_SLOW, f"{len(chunk):,} bytes were not taken in {TAKE_SECONDS} s")


async def follow(path: str) -> AsyncGenerator[bytes, None]:
    """The last lines, and what is appended, until the file is no longer where it was and nothing more comes.

    Raises `OSError`, and `ss.StreamFailure` where it is found shorter than before: what was cut off may not have been
    read. (One that is cut and has grown beyond its old size between two looks can't be told from one that grew.)
    """
    async with await trio.open_file(path, "rb", buffering=0) as file:
        descriptor = file.fileno()
        await file.seek(max(0, os.fstat(descriptor).st_size - TAIL_BYTES))
        if await file.tell():
            await file.readline()  # the rest of one
        while True:
            is_there, position = names(path, descriptor), await file.tell()
            while chunk := await file.read(CHUNK_BYTES):
                yield chunk
            if os.fstat(descriptor).st_size < position:
                raise ss.StreamFailure(LOG_TRUNCATED, "the log was truncated, and lines may be missing")
            if not is_there and await file.tell() == position:
                return
            await trio.sleep(LOOK_SECONDS)


def names(path: str, descriptor: int) -> bool:
    """Whether the file that is open is still the one of that name. Raises `OSError`."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


# --- the client ---------------------------------------------------------------------------------------


async def watch(address: ss.Address) -> None:
    """Prints the log as it comes. Raises `Failure` where it was cut, and `ss.PeerAlert` where the server says why."""
    async with await ss.connect(address) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(fail_in_silence, stream)
        await show(stream)
        nursery.cancel_scope.cancel()


async def show(stream: AnyStream) -> None:
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    try:
        async for chunk in stream:
            await write_output(printable(decode(chunk)).encode())
    except ss.TruncatedStream as exc:
        raise Failure(f"the log was cut, and there may be more: {exc}") from exc


async def fail_in_silence(stream: AnyStream) -> None:
    """A network that is gone sends no end. What comes is counted by the stream, empty records with the others."""
    received = -1
    while (now := stream.statistics().wire_bytes_received) > received:
        received = now
        await trio.sleep(SILENCE_SECONDS)
    raise Failure(f"the log was cut, and there may be more: nothing came for {SILENCE_SECONDS} s")


def main() -> None:
    parser, server, _client = command_line("log_tail", __doc__)
    server.add_argument("--log", metavar="FILE", required=True)
    arguments = parser.parse_args()
    if arguments.side == "server":
        limits = ss.Limits(connections=100)
        run(partial(serve, LogTail(arguments.log).handle, arguments, limits=limits, keep_alive=KEEP_ALIVE_SECONDS))
    run(partial(watch, arguments.address))


if __name__ == "__main__":
    main()
