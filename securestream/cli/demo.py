"""`securestream demo`: two processes, a file there and back, and three things going wrong as they should."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from .. import __version__
from ..protocol.keys import PrivateKey
from ..streams.config import ClientConfig
from ..trust.keyfile import write_key_file
from .common import Failure, explain, reason, run
from .demo_parts import (
    HOST,
    Source,
    failing_answer,
    one_file,
    other_server,
    patience,
    refused_stranger,
    standard_library,
    there_and_back,
)
from .demo_screen import Screen
from .demo_server import ROWS

if TYPE_CHECKING:
    from ..protocol.keys import PublicKey

_EXAMPLES = """\b
Examples:
  securestream demo
  securestream demo holiday.mp4
"""


@click.command(epilog=_EXAMPLES)
@click.argument("file", required=False, metavar="[FILE]")
def demo(file: str | None) -> int:
    """Shows it all on this machine.

    Starts a server in a second process, sends FILE through it and back (by default some megabytes of the sources of
    Python's standard library), and compares. Then an answer fails in its middle, a client without the right key is
    refused, and a client refuses a server that it doesn't know. Exit status 0 when all of that has happened, else 1.
    """
    source = standard_library() if file is None else _file(file)
    return run(lambda: _Demo(source).run())


def _file(name: str) -> Source:
    path = Path(name)
    try:
        if not path.is_file() and path.exists():
            raise Failure(f"{name}: not a regular file; name one to send, or none")
        with path.open("rb"):
            return one_file(path)
    except OSError as exc:
        raise Failure(reason(exc)) from None


class _Demo:
    """The client's side, and the order of events."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._screen = Screen()
        self._server_key = PrivateKey.generate()
        self._key = PrivateKey.generate()
        self._config = ClientConfig(key=self._key, server_key=self._server_key.public_key)

    async def run(self) -> None:
        screen = self._screen
        screen.title(f"securestream {__version__}: this process is the client, another one the server")
        screen.fact("server key", self._server_key.public_key)
        screen.fact("client key", self._key.public_key)
        async with trio.open_nursery() as nursery:
            with patience():
                process, port = await _start_server(nursery, self._server_key, self._key.public_key)
            screen.fact("server", f"process {process.pid}, on {HOST}:{port}")
            await self._there_and_back(port)
            await self._failing_answer(port)
            await self._refused_stranger(port)
            await self._other_server(port)
            with patience():
                await _end_server(process)
        screen.title("\nAll four went as they should, and the server process has ended.")

    async def _there_and_back(self, port: int) -> None:
        screen, source = self._screen, self._source
        screen.part(1, "Data goes to the server and comes back")
        with screen.progress(source.size) as show_progress:
            transfer = await there_and_back(port, self._config, source, show_progress)
        statistics = transfer.statistics
        screen.fact("content", f"{source.size:,} bytes: {source.title}")
        screen.fact("suite", transfer.suite)
        screen.fact("there", _direction(statistics.records_sent, statistics.wire_bytes_sent, source.size))
        screen.fact("back", _direction(statistics.records_received, statistics.wire_bytes_received, source.size))
        screen.fact("time", f"{transfer.seconds:.2f} s, there and back")
        screen.fact("sent", transfer.digest_sent)
        screen.fact("received", transfer.digest_received)
        screen.good("the two SHA-256 digests are the same")

    async def _failing_answer(self, port: int) -> None:
        self._screen.part(2, "A long answer fails in its middle")
        answer = await failing_answer(port, self._config)
        self._screen.fact("asked for", f"{ROWS:,} rows")
        self._screen.fact("received", f"{answer.rows:,} rows, {answer.size:,} bytes; and then:")
        self._screen.message(explain(answer.error))
        self._screen.good("nobody takes this part of an answer for all of it")

    async def _refused_stranger(self, port: int) -> None:
        self._screen.part(3, "A client that the server doesn't know")
        key, error = await refused_stranger(port, self._server_key.public_key)
        self._screen.fact("its key", key)
        self._screen.message(explain(error))
        self._screen.good("refused, and told why")

    async def _other_server(self, port: int) -> None:
        self._screen.part(4, "A client that expects another server")
        expected, error = await other_server(port, self._key)
        self._screen.fact("expects", expected)
        self._screen.message(explain(error))
        self._screen.good("the client left before it had shown who it is")


def _direction(records: int, wire_bytes: int, size: int) -> str:
    overhead = f": {wire_bytes / size - 1:,.2%} more than the content" if size else ""
    return f"{records:,} records, {wire_bytes:,} bytes{overhead}"


# --- the second process -----------------------------------------------------------------------------


async def _start_server(nursery: trio.Nursery, key: PrivateKey, client: PublicKey) -> tuple[trio.Process, int]:
    """The server process, listening, and its port. It ends with its standard input, and with `nursery`."""
    with tempfile.TemporaryDirectory(prefix="securestream-demo-") as folder:
        key_file = Path(folder) / "server.key"
        write_key_file(key_file, key)
        # A group of its own: Ctrl-C is this process's to handle.
        start = partial(
            trio.run_process,
            [sys.executable, "-P", "-m", "securestream", "demo-server", "--key", key_file, "--allow", str(client)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            process_group=0,
        )
        process: trio.Process = await nursery.start(start)
        return process, await _port(process)


async def _port(process: trio.Process) -> int:
    """The one line that the server prints."""
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        data = await process.stdout.receive_some()
        if not data:
            raise Failure("the demo failed: its server process ended before it was ready")
        line += data
    return int(line)


async def _end_server(process: trio.Process) -> None:
    assert process.stdin is not None
    await process.stdin.aclose()
    if await process.wait() != 0:
        raise Failure(f"the demo failed: its server process ended with status {process.returncode}")
