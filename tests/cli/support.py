"""What the tests of the command share: it runs as a process of its own, bounded, and is never left behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import trio

import securestream as ss
from securestream.trust.keyfile import write_key_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

ROOT = Path(ss.__file__).parents[1]

# Much longer than anything here takes, on any machine: only a hang gets there.
PATIENCE = 30

# What the commands take from the environment.
OWN = {"SECURESTREAM_KEY_FILE", "SECURESTREAM_PASSPHRASE_FILE"}
# Warnings are errors there, too, and nothing that the caller has set changes what is printed.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS", *OWN}},
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    "PYTHONWARNINGS": "error",
    "TERM": "xterm-256color",
}

Stream = ss.SecureStream[trio.SocketStream]


@dataclass(frozen=True)
class Result:
    """What came of a command."""

    status: int
    out: bytes
    err: str


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "securestream", *map(str, arguments)]


async def cli(*arguments: str | Path, stdin: bytes | int | IO[bytes] = b"", umask: int = -1) -> Result:
    """Runs a command to its end."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            command(*arguments), stdin=stdin, capture_stdout=True, capture_stderr=True, check=False, env=ENVIRONMENT,
            umask=umask,
        )  # fmt: skip
    return Result(done.returncode, done.stdout, done.stderr.decode())


@contextlib.asynccontextmanager
async def running(
    *arguments: str | Path,
    stdin: int = subprocess.PIPE,
    stdout: int = subprocess.PIPE,
    patience: float = PATIENCE,
) -> AsyncIterator[trio.Process]:
    """A command while it runs. It is killed at the end, whatever happens."""
    async with process(command(*arguments), stdin=stdin, stdout=stdout, patience=patience) as started:
        yield started


@contextlib.asynccontextmanager
async def process(
    arguments: list[str],
    *,
    stdin: int = subprocess.PIPE,
    stdout: int = subprocess.PIPE,
    pass_fds: Sequence[int] = (),
    env: dict[str, str] = ENVIRONMENT,
    patience: float = PATIENCE,
) -> AsyncIterator[trio.Process]:
    """Any program while it runs. It is killed at the end, whatever happens."""
    started = await trio.lowlevel.open_process(
        arguments, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=env, pass_fds=pass_fds
    )
    try:
        with trio.fail_after(patience):
            yield started
    finally:
        started.kill()
        with trio.CancelScope(shield=True):
            await started.wait()
            for pipe in (started.stdin, started.stdout, started.stderr):
                if pipe is not None:
                    await pipe.aclose()


async def read_line(process: trio.Process) -> str:
    """One line of standard output, or what there is at its end."""
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n") and (byte := await process.stdout.receive_some(1)):
        line += byte
    return line.decode()


async def read_all(stream: trio.abc.ReceiveStream | None) -> bytes:
    assert stream is not None
    return b"".join([chunk async for chunk in stream])


class Keys:
    """A server's and a client's, in files."""

    def __init__(self, folder: Path) -> None:
        self.server, self.client = ss.PrivateKey.generate(), ss.PrivateKey.generate()
        self.server_file, self.client_file = folder / "server.key", folder / "client.key"
        write_key_file(self.server_file, self.server)
        write_key_file(self.client_file, self.client)
        self.server_public, self.client_public = str(self.server.public_key), str(self.client.public_key)

    def connect(self, port: int) -> list[str]:
        """The arguments of a client that the server knows."""
        where = f"127.0.0.1:{port}"
        return ["connect", where, "--server-key", self.server_public, "--key", str(self.client_file)]

    def string(self, port: int) -> str:
        """The same as a connection string."""
        return f"Server=127.0.0.1:{port};Server Key={self.server_public};Client Key={self.client_file}"

    def config(self) -> ss.ClientConfig:
        return ss.ClientConfig(key=self.client, server_key=self.server.public_key)


@contextlib.asynccontextmanager
async def echo_server(keys: Keys) -> AsyncIterator[tuple[trio.Process, int]]:
    """`securestream echo` for the client of `keys`, and its port."""
    who = ["--key", str(keys.server_file), "--allow", keys.client_public]
    async with running("echo", *who, "--listen", "127.0.0.1:0") as process:
        line = await read_line(process)
        yield process, int(line.split()[2].rpartition(":")[2])


async def port_of(process: trio.Process) -> int:
    """The port that a command says it listens on."""
    return int((await read_line(process)).split()[2].rpartition(":")[2])


@dataclass(frozen=True)
class Tunnel:
    """Both ends of a tunnel, and the local port."""

    server: trio.Process
    client: trio.Process
    port: int

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)


@contextlib.asynccontextmanager
async def tunnel(
    keys: Keys,
    target: str,
    *,
    server: Sequence[str] = (),
    client: Sequence[str] = (),
    patience: float = PATIENCE,
) -> AsyncIterator[Tunnel]:
    """A tunnel to `target` for the client of `keys`, with more options for either end."""
    who = ["--key", str(keys.server_file), "--allow", keys.client_public]
    served = ["tunnel", "server", *who, "--listen", "127.0.0.1:0", "--target", target, *server]
    async with running(*served, patience=patience) as far:
        string = keys.string(await port_of(far))
        local = ["tunnel", "client", "--listen", "127.0.0.1:0", "--connect", string, *client]
        async with running(*local, patience=patience) as near:
            yield Tunnel(far, near, await port_of(near))


@contextlib.asynccontextmanager
async def serving(
    handler: Callable[[Stream], Awaitable[None]],
    keys: Keys,
    authorize: Callable[[ss.Peer], Awaitable[object]] | None = None,
) -> AsyncIterator[int]:
    """A server in this process, with a handler of the test's; its port."""
    authorize = authorize or ss.AuthorizedPeers([keys.client.public_key])
    config = ss.ServerConfig(key=keys.server, authorize=authorize)
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(
            lambda task_status: ss.serve_secure_tcp(handler, 0, config, host="127.0.0.1", task_status=task_status)
        )
        with trio.fail_after(PATIENCE):
            yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()
