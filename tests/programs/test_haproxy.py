"""Behind HAProxy: two servers with one key, a load of clients, and one server that is killed in the middle."""

from __future__ import annotations

import contextlib
import random
import re
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss

from ..cli.support import ENVIRONMENT, ROOT, Keys
from ..ports import free_ports
from .support import PATIENCE, need

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

# What `docs/scaling.md` shows, with checks at a quicker pace.
CONFIGURATION = """
global
    maxconn 1000

defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout check 5s
    retries 3
    option redispatch

listen securestream
    bind fd@{listening}
    balance roundrobin
    default-server check inter 50ms fall 2 rise 2 send-proxy-v2 on-marked-down shutdown-sessions
    server one 127.0.0.1:{one}
    server two 127.0.0.1:{two}
"""

# It says which server it is and where its client is; then it echoes.
SERVER = """
import functools, logging, signal, sys
import trio, securestream as ss

name, key, port = sys.argv[1:]
logging.basicConfig(format="%(levelname)s %(message)s")

async def handler(stream):
    await stream.send_all(f"{name} {stream.peer.address}".encode())
    async for chunk in stream:
        await stream.send_all(chunk)

async def main():
    config = ss.ServerConfig(key=ss.read_key_file(key), authorize=ss.ANYONE)
    with ss.drain_on(signal.SIGTERM, grace=0) as drain:
        async with trio.open_nursery() as nursery:
            serve = functools.partial(ss.serve_secure_tcp, host="127.0.0.1", drain=drain, proxy_from=["127.0.0.1"])
            (listener,) = await nursery.start(serve, handler, int(port), config)
            print(listener.socket.getsockname()[1], flush=True)

trio.run(main)
"""


@dataclass
class Backend:
    """One of the servers."""

    name: str
    process: trio.Process
    port: int
    log: Path

    def kill(self) -> None:
        self.process.kill()


@contextlib.asynccontextmanager
async def backend(name: str, keys: Keys, folder: Path, port: int = 0) -> AsyncIterator[Backend]:
    log = folder / f"{name}.log"
    with log.open("ab") as file:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", SERVER, name, str(keys.server_file), str(port)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file, env=ENVIRONMENT,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        yield Backend(name, process, int(await process.stdout.receive_some()), log)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()


@contextlib.asynccontextmanager
async def haproxy(one: int, two: int, folder: Path) -> AsyncIterator[int]:
    """Its port. It is given a socket that listens, so none can be taken by somebody else."""
    file, program = folder / "haproxy.cfg", need("haproxy")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        file.write_text(CONFIGURATION.format(listening=listening.fileno(), one=one, two=two))
        process = await trio.lowlevel.open_process(
            [program, "-db", "-q", "-f", str(file)], stdin=subprocess.DEVNULL, pass_fds=[listening.fileno()]
        )
        try:
            yield listening.getsockname()[1]
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


@dataclass
class Client:
    """One client of the load, and what became of it."""

    number: int
    server: str = ""
    address: str = ""
    rounds: int = 0
    error: Exception | None = None
    ended: bool = False
    finish: trio.Event = field(default_factory=trio.Event)

    async def run(self, port: int, config: ss.ClientConfig) -> None:
        """Echoes of random sizes until `finish`, or an error. Each byte that comes back is the one that was due."""
        chance = random.Random(self.number)
        try:
            async with await ss.open_secure_tcp_stream("127.0.0.1", port, config) as stream:
                self.server, said = (await stream.receive_some()).decode().split()
                assert stream.transport_stream.socket.getsockname() == _address(said)
                while not self.finish.is_set():
                    await echo(stream, chance.randbytes(chance.randrange(1, 60_000)))
                    self.rounds += 1
                await stream.send_eof()
                assert await stream.receive_some() == b""
                self.ended = True
        except ss.StreamError as exc:
            self.error = exc


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


async def echo(stream: ss.SecureStream[trio.SocketStream], data: bytes) -> None:
    """Less than what the sockets on the way hold, so that nobody has to send and receive at once."""
    await stream.send_all(data)
    got = b""
    while len(got) < len(data):
        chunk = await stream.receive_some()
        assert chunk, "a false end: the server has not ended this stream"
        got += chunk
    assert got == data


async def until(condition: Callable[[], bool]) -> None:
    """Looks now and then: other processes tell nobody."""
    while True:
        if condition():
            return
        await trio.sleep(0.01)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


async def connected(port: int, config: ss.ClientConfig) -> str:
    """Which server a new client gets to."""
    async with await ss.open_secure_tcp_stream("127.0.0.1", port, config) as stream:
        return (await stream.receive_some()).decode().split()[0]


async def connected_at_last(port: int, config: ss.ClientConfig) -> str:
    """The same, again where HAProxy shut the connection in its handshake, as it may until it has seen that a server is
    down: that is an error and no end."""
    while True:
        with contextlib.suppress(ss.HandshakeTruncated):
            return await connected(port, config)


async def test_a_killed_server_breaks_its_own_streams_each_with_an_error_and_new_ones_go_to_the_other(
    tmp_path: Path, keys: Keys
) -> None:
    config = keys.config()
    clients = [Client(number) for number in range(40)]
    print("seeds 0 to 39")
    with trio.fail_after(PATIENCE):
        async with (
            backend("one", keys, tmp_path, free_ports()) as one,
            backend("two", keys, tmp_path) as two,
            haproxy(one.port, two.port, tmp_path) as port,
            trio.open_nursery() as nursery,
        ):
            for client in clients:
                nursery.start_soon(client.run, port, config)
            await until(lambda: all(client.rounds >= 2 for client in clients))
            assert Counter(client.server for client in clients) == {"one": 20, "two": 20}

            one.kill()
            of_one = [client for client in clients if client.server == "one"]
            of_two = [client for client in clients if client.server == "two"]
            await until(lambda: all(client.error for client in of_one))
            assert not any(client.ended for client in of_one)
            assert [await connected_at_last(port, config) for _ in range(10)] == 10 * ["two"]

            before = {client.number: client.rounds for client in of_two}
            await until(lambda: all(client.rounds >= before[client.number] + 2 for client in of_two))
            for client in clients:
                client.finish.set()
            await until(lambda: all(client.ended for client in of_two))
            assert not any(client.error for client in of_two)

            async with backend("one", keys, tmp_path, one.port):  # and when it is back, it is used again
                seen: set[str] = set()
                while seen != {"one", "two"}:
                    seen.add(await connected_at_last(port, config))
            nursery.cancel_scope.cancel()
    print("errors:", Counter(type(client.error).__name__ for client in of_one))
    assert two.log.read_text() == ""
    assert one.log.read_text() == ""


async def test_checks_of_haproxy_are_no_warnings_and_no_handshakes(tmp_path: Path, keys: Keys) -> None:
    """A check every 50 ms; when a dozen must have come, the log is as empty as it was."""
    with trio.fail_after(PATIENCE):
        async with (
            backend("one", keys, tmp_path) as one,
            backend("two", keys, tmp_path) as two,
            haproxy(one.port, two.port, tmp_path) as port,
        ):
            for _ in range(12):
                assert await connected(port, keys.config()) in ("one", "two")
                await trio.sleep(0.05)
            assert one.log.read_text() + two.log.read_text() == ""


async def test_who_goes_round_haproxy_can_not_say_who_it_is(tmp_path: Path, keys: Keys) -> None:
    """Nor does it get in without a header from where the proxy is."""
    async with backend("one", keys, tmp_path) as one:
        with pytest.raises(ss.HandshakeError):
            await connected(one.port, keys.config())
        assert re.search(r"WARNING refused \S+: no PROXY header, version 2", one.log.read_text())


def test_the_configuration_in_the_documentation_is_one_that_haproxy_takes(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    shown = re.search(r"```haproxy\n(.*?)```", text, re.DOTALL)
    assert shown is not None
    file = tmp_path / "haproxy.cfg"
    file.write_text(shown[1])
    subprocess.run([need("haproxy"), "-c", "-q", "-f", file], check=True, timeout=PATIENCE)
    tested = CONFIGURATION.format(listening=0, one=1, two=2)
    for line in ("option redispatch", "send-proxy-v2", "on-marked-down shutdown-sessions", "mode tcp"):
        assert line in shown[1]
        assert line in tested
