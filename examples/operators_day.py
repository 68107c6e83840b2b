"""An operator's first day, with the command line and nothing else, while clients are at work.

    python examples/operators_day.py

Makes keys, authorises a client, starts a server, adds a second client, replaces the shared secret and then the server's
own key, takes the second client out again, and ends the server. A load of requests runs through all of it and gets
every answer. Takes some seconds, in a temporary folder, on loopback.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

import securestream as ss

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

SECURESTREAM = [sys.executable, "-m", "securestream"]
DAY_SECONDS = 100  # much more than it takes
PAUSE_SECONDS = 0.01  # between two requests of the load


def say(text: str) -> None:
    print(text, flush=True)


# --- the command line -------------------------------------------------------------------------------


async def securestream(*arguments: str | Path, stdin: bytes = b"", status: int = 0) -> str:
    """Runs a command to its end, which is to be with that status; what it says, or what went wrong."""
    command = [*SECURESTREAM, *map(str, arguments)]
    done = await trio.run_process(command, stdin=stdin, capture_stdout=True, capture_stderr=True, check=False)
    if done.returncode != status:
        raise SystemExit(f"securestream {arguments[0]}: status {done.returncode}: {done.stderr.decode()}")
    return (done.stderr if status else done.stdout).decode().strip()


def new_place() -> socket.socket:
    """A listening socket that outlives the servers behind it, as systemd's do: at a change none is missing."""
    return socket.create_server(("127.0.0.1", 0), backlog=1_000)


def port_of(place: socket.socket) -> int:
    port: int = place.getsockname()[1]
    return port


# Puts the socket where systemd does, says so, and becomes the command.
_AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Daemon:
    """A command that runs until it is ended."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, nursery: trio.Nursery, place: socket.socket, *arguments: str | Path) -> Daemon:
        """Starts it on that socket, by the protocol of systemd, and waits until it listens."""
        words = [*map(str, arguments), "--listen", "systemd", "--grace", "5"]
        fd = place.fileno()
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", _AS_SYSTEMD, str(fd), *SECURESTREAM, *words],
            pass_fds=[fd], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        nursery.start_soon(_kept, process)
        assert process.stdout is not None
        if not (await process.stdout.receive_some()).startswith(b"Listening"):
            raise SystemExit(f"securestream {arguments[0]} did not start")
        return cls(process)

    async def end(self) -> None:
        """As systemd would: SIGTERM, and what is open may finish."""
        self._process.send_signal(signal.SIGTERM)
        if await self._process.wait() != 0:
            raise SystemExit(f"a command ended with status {self._process.returncode}")


async def _kept(process: trio.Process) -> None:
    """While the day lasts; nothing is left behind, whatever happens."""
    try:
        await process.wait()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


# --- programs on either side ------------------------------------------------------------------------


async def shout(stream: trio.SocketStream) -> None:
    """The service behind the tunnel."""
    with contextlib.suppress(trio.BrokenResourceError):
        async for chunk in stream:
            await stream.send_all(bytes(chunk).upper())


async def ask(port: int, question: bytes) -> bytes:
    """One request over the local end of a tunnel. Raises `OSError` and `trio.BrokenResourceError`."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(question)
        await stream.send_eof()
        return b"".join([chunk async for chunk in stream])


@dataclass
class Load:
    """Requests one after the other, each repeated until it has its answer."""

    port: int
    answered: int = 0
    repeated: int = 0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    async def run(self) -> None:
        """Until its scope is cancelled."""
        with self.scope:
            while True:
                question = b"question %d" % self.answered
                try:
                    answer = await ask(self.port, question)
                except (OSError, trio.BrokenResourceError):
                    self.repeated += 1
                    continue
                if answer != question.upper():
                    raise SystemExit(f"a wrong answer: {answer!r}")
                self.answered += 1
                await trio.sleep(PAUSE_SECONDS)

    async def goes_on(self) -> None:
        """Waits for a few answers more."""
        target = self.answered + 5
        while self.answered < target:  # noqa: ASYNC110 - a look now and then will do
            await trio.sleep(PAUSE_SECONDS)


# --- the day ----------------------------------------------------------------------------------------


class Day:
    """What the operator has made so far."""

    def __init__(self, folder: Path, nursery: trio.Nursery, target: int) -> None:
        self._folder = folder
        self._nursery = nursery
        self._target = f"127.0.0.1:{target}"
        self._clients = folder / "clients"

    async def make_key(self, name: str) -> str:
        return await securestream("keygen", "-o", self._folder / f"{name}.key")

    def make_secret(self, name: str) -> None:
        """Only its owner reads it, from the first moment."""
        descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(ss.SharedSecret.generate().to_text() + "\n")

    def authorise(self, names: Mapping[str, str]) -> None:
        """Replaces the list, whole or not at all."""
        new = self._folder / "clients.new"
        new.write_text("".join(f"{key} {name}\n" for name, key in names.items()), encoding="ascii")
        new.chmod(0o600)
        new.rename(self._clients)

    async def start_server(self, place: socket.socket, key: str, *secrets: str) -> Daemon:
        secret_files = [f"--secret-file={self._folder / secret}" for secret in secrets]
        who = ("--key", self._folder / f"{key}.key", "--clients", self._clients)
        end = ("tunnel", "server", "--target", self._target)
        return await Daemon.start(self._nursery, place, *end, *who, *secret_files)

    async def start_client(self, place: socket.socket, name: str, port: int, server_key: str, secret: str) -> Daemon:
        """Its connection string is in a file."""
        file = self._folder / f"{name}.connection"
        file.write_text(self.string(name, port, server_key, secret), encoding="ascii")
        return await Daemon.start(self._nursery, place, "tunnel", "client", "--connect-file", file)

    def string(self, name: str, port: int, server_key: str, secret: str) -> str:
        key, shared = self._folder / f"{name}.key", self._folder / secret
        return f"Server=127.0.0.1:{port};Server Key={server_key};Client Key={key};Shared Secret File={shared}"


async def run_day(day: Day, nursery: trio.Nursery, places: list[socket.socket]) -> None:
    front, new_front, alices = places

    server_key, alice = await day.make_key("server"), await day.make_key("alice")
    day.make_secret("secret 1")
    say("made keys for the server and for alice, and a shared secret")

    day.authorise({"alice": alice})
    server = await day.start_server(front, "server", "secret 1")
    client = await day.start_client(alices, "alice", port_of(front), server_key, "secret 1")
    load = Load(port_of(alices))
    nursery.start_soon(load.run)
    await load.goes_on()
    say("authorised alice, started the server, and alice is at work")

    bob = await day.make_key("bob")
    day.authorise({"alice": alice, "bob": bob})
    bobs = day.string("bob", port_of(front), server_key, "secret 1")
    assert await securestream("connect", bobs, stdin=b"bob") == "BOB"
    say("added bob, without a restart")

    day.make_secret("secret 2")
    server = await replaced(server, day.start_server(front, "server", "secret 1", "secret 2"))
    client = await replaced(client, day.start_client(alices, "alice", port_of(front), server_key, "secret 2"))
    server = await replaced(server, day.start_server(front, "server", "secret 2"))
    assert "[bad_secret" in await securestream("connect", bobs, status=1)
    await load.goes_on()
    say("replaced the shared secret, and the old one is refused")

    new_key = await day.make_key("new server")
    new_server = await day.start_server(new_front, "new server", "secret 2")
    client = await replaced(client, day.start_client(alices, "alice", port_of(new_front), new_key, "secret 2"))
    await server.end()
    await load.goes_on()
    say("replaced the server's key, by a second server beside the first until the clients had moved")

    bobs = day.string("bob", port_of(new_front), new_key, "secret 2")
    await revoke_while_connected(bobs, lambda: day.authorise({"alice": alice}))
    assert "[access_denied" in await securestream("connect", bobs, status=1)
    await load.goes_on()
    say("took bob out: his connection was ended, he gets no other, and alice is still at work")

    load.scope.cancel()
    async with await trio.open_tcp_stream("127.0.0.1", port_of(alices)) as stream:
        await stream.send_all(b"the last question")
        await stream.send_eof()
        await client.end()
        await new_server.end()
        assert await stream.receive_some() == b"THE LAST QUESTION"
    say("ended the server, and what was open was finished")
    say(f"{load.answered} requests were answered; {load.repeated} had to be repeated")


async def revoke_while_connected(string: str, revoke: Callable[[], None]) -> None:
    """A client that waits at its terminal is told."""
    command = [*SECURESTREAM, "connect", string]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    async with process.stdin, process.stdout:
        await process.stdin.send_all(b"before")
        assert await process.stdout.receive_some() == b"BEFORE"
        revoke()
        status = await process.wait()
    assert status == 3, status  # an alert: see securestream connect --help


async def replaced(old: Daemon, starting: Awaitable[Daemon]) -> Daemon:
    """The new one listens before the old one ends."""
    new = await starting
    await old.end()
    return new


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder, trio.fail_after(DAY_SECONDS):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, shout, 0, host="127.0.0.1"))
            target = listeners[0].socket.getsockname()[1]
            with contextlib.ExitStack() as stack:
                places = [stack.enter_context(new_place()) for _ in range(3)]
                await run_day(Day(Path(folder), nursery, target), nursery, places)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
