"""What the tests of the two-sided examples share: each side as a process of its own, in a folder with keys."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import trio

from ..cli.support import ENVIRONMENT, PATIENCE, Keys, Result, port_of, process, read_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Home:
    """A folder with a server's key, its list of clients, and a client's key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = Keys(folder)
        (folder / "clients").write_text(f"{self.keys.client_public} alice\n", encoding="ascii")

    @contextlib.asynccontextmanager
    async def serving(
        self, program: str, *options: str | Path, port: int = 0, before: tuple[str, ...] = ()
    ) -> AsyncIterator[tuple[trio.Process, Path]]:
        """The server, and a file with the connection string that leads to it. `before`: a command that runs it."""
        files: list[str | Path] = ["--key", self.keys.server_file, "--clients", self.folder / "clients"]
        words: list[str | Path] = ["server", *files, "--listen", f"127.0.0.1:{port}", *options]
        async with process([*before, *command(program, *words)]) as server:
            yield server, self.connection(await port_of(server))

    def connection(self, port: int, key: str = "client.key") -> Path:
        """A file with the connection string of a client."""
        path = self.folder / f"connection of {key}"
        path.write_text(self.keys.string(port).replace("client.key", key), encoding="utf-8")
        return path

    @contextlib.asynccontextmanager
    async def client(self, program: str, connection: Path) -> AsyncIterator[trio.Process]:
        async with process(command(program, "client", connection)) as started:
            yield started


def command(program: str, *words: str | Path) -> list[str]:
    return [sys.executable, "-m", f"examples.{program}", *map(str, words)]


async def ran(program: str, *words: str | Path, stdin: bytes = b"") -> Result:
    """Runs it to its end."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            command(program, *words), stdin=stdin, capture_stdout=True, capture_stderr=True, check=False,
            env=ENVIRONMENT,
        )  # fmt: skip
    return Result(done.returncode, done.stdout, done.stderr.decode())


async def rest_of(started: trio.Process) -> Result:
    """How it ends, with what it has said and not been read of yet."""
    out, err = b"", b""

    async def read_out() -> None:
        nonlocal out
        out = await read_all(started.stdout)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_out)
        err = await read_all(started.stderr)
    return Result(await started.wait(), out, err.decode())
