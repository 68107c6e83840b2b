"""The second process of `securestream demo`: answers two kinds of requests, and ends with its standard input."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import click
import trio

from ..service.drain import Drain
from ..streams.buffered import BufferedWriter
from ..streams.config import ServerConfig
from ..streams.errors import StreamFailure
from ..trust.keyfile import read_key_file
from ..trust.peers import AuthorizedPeers
from .common import Address, load, public_key, run
from .logs import log_to_stderr
from .running import serve_until_drained
from .serving import accepting
from .stdio import STDIN, read_some

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..protocol.keys import PublicKey
    from .places import Place
    from .serving import Stream

# The first line of what a client sends says what it wants.
ECHO = b"echo\n"
LONG_ANSWER = b"long answer\n"
_LONGEST_REQUEST = 100
_GRACE = 3  # seconds

ROWS = 10_000
ROWS_BEFORE_THE_FAILURE = 4_000
UNKNOWN_REQUEST = 5_000
BACKEND_GONE = 5_001


def row(number: int) -> bytes:
    """A line of the long answer."""
    return b"row %05d of a long answer\n" % number


@click.command(hidden=True)
@click.option("--key", required=True, metavar="FILE")
@click.option("--allow", required=True, metavar="PUBKEY", type=public_key)
def demo_server(key: str, allow: PublicKey) -> int:
    """The server of `securestream demo`. Prints its port, and ends when its standard input does."""
    config = ServerConfig(key=load(read_key_file, key), authorize=AuthorizedPeers([allow]))
    log_to_stderr(logging.ERROR)

    async def serve() -> None:
        drain = Drain(_GRACE)
        async with trio.open_nursery() as nursery:
            here = Address("127.0.0.1", 0)
            nursery.start_soon(serve_until_drained, accepting(_answer), config, here, drain, _say_port)
            await _until_stdin_ends()
            drain.start()

    return run(serve)


def _say_port(listening: Sequence[Place]) -> None:
    (where,) = listening
    assert isinstance(where, Address)
    click.echo(where.port)


async def _until_stdin_ends() -> None:
    """However the demo ends, also by a kill -9, its end of the pipe is closed with it."""
    while await read_some(STDIN, 4_096):
        pass


async def _answer(stream: Stream) -> None:
    request, rest = await _first_line(stream)
    if request == ECHO:
        await _send_back(stream, rest)
    elif request == LONG_ANSWER:
        await _send_rows(stream)
    else:
        raise StreamFailure(UNKNOWN_REQUEST, "a request begins with a line: echo, or long answer")


async def _first_line(stream: Stream) -> tuple[bytes, bytes]:
    """The first line, and what came with it."""
    data = b""
    while b"\n" not in data and len(data) < _LONGEST_REQUEST and (chunk := await stream.receive_some()):
        data += chunk
    line, newline, rest = data.partition(b"\n")
    return line + newline, rest


async def _send_back(stream: Stream, first: bytes) -> None:
    async with BufferedWriter(stream) as writer:
        await writer.write(first)
        async for chunk in stream:
            await writer.write(chunk)


async def _send_rows(stream: Stream) -> None:
    writer = BufferedWriter(stream)
    for number in range(ROWS_BEFORE_THE_FAILURE):
        await writer.write(row(number))
    await writer.flush()
    raise StreamFailure(BACKEND_GONE, f"the backend went away after {ROWS_BEFORE_THE_FAILURE:,} of {ROWS:,} rows")
