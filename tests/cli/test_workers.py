"""`securestream echo --workers`: one server, several processes."""

from __future__ import annotations

import os
import re
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.cli.app import run

from ..ports import free_ports
from .support import Keys, Stream, port_of, read_all, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def echo(keys: Keys, *more: str, count: int = 2) -> AsyncIterator[tuple[trio.Process, int]]:
    """The server with its workers, and its port."""
    options = ["--key", str(keys.server_file), "--allow", keys.client_public, "--listen", "127.0.0.1:0"]
    async with running("echo", *options, "--workers", str(count), *more) as server:
        yield server, await port_of(server)


def workers_of(server: trio.Process) -> set[int]:
    return set(map(int, Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()))


async def replaced(server: trio.Process, victim: int) -> set[int]:
    """The workers, when there is another for the victim."""
    while True:
        now = workers_of(server)
        if len(now) == 2 and victim not in now:
            return now
        await trio.sleep(0.01)  # of another process's children nobody is told


async def connect(port: int, keys: Keys) -> Stream:
    return await ss.open_secure_tcp_stream("127.0.0.1", port, keys.config())


async def answers(stream: Stream) -> bool:
    """Whether it is alive; a stream that was cut is an error, and never an end."""
    try:
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hello"
    except ss.StreamError:
        return False
    return True


async def test_many_clients_are_served_by_several_processes_with_one_key(keys: Keys) -> None:
    async with echo(keys) as (server, port), AsyncExitStack() as opened:
        assert len(workers_of(server)) == 2
        streams = [await opened.enter_async_context(await connect(port, keys)) for _ in range(20)]
        assert all([await answers(stream) for stream in streams])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_all_of_them(keys: Keys, number: signal.Signals, usual_sigint: None) -> None:
    async with echo(keys) as (server, port), AsyncExitStack() as opened:
        streams = [await connect(port, keys) for _ in range(10)]
        for stream in streams:
            opened.push_async_callback(trio.aclose_forcefully, stream)
        server.send_signal(number)
        for stream in streams:
            with pytest.raises(ss.PeerAlert) as told:
                await stream.receive_some()
            assert told.value.alert.code == ss.AlertCode.SHUTTING_DOWN
        assert await server.wait() == (0 if number is signal.SIGTERM else 130)
        assert await read_all(server.stderr) == b""


async def test_a_killed_worker_takes_its_own_streams_with_it_and_no_others_and_is_replaced(keys: Keys) -> None:
    async with echo(keys) as (server, port), AsyncExitStack() as opened:
        streams = [await opened.enter_async_context(await connect(port, keys)) for _ in range(30)]
        victim, other = workers_of(server)
        os.kill(victim, signal.SIGKILL)
        alive = [await answers(stream) for stream in streams]
        assert True in alive
        assert False in alive
        assert other in await replaced(server, victim)
        assert await answers(await opened.enter_async_context(await connect(port, keys)))
        server.terminate()
        assert await server.wait() == 0
        told = (await read_all(server.stderr)).decode()
    assert re.fullmatch(
        rf"securestream: worker [01] \(process {victim}\) ended by SIGKILL; another starts in 0\.1 s\n", told
    )


async def test_each_worker_shows_its_figures_on_a_port_of_its_own(keys: Keys) -> None:
    """Where one of the ports is taken, the server says so and ends."""
    first = free_ports(2)
    async with echo(keys, "--metrics", f"127.0.0.1:{first}"):
        for port in (first, first + 1):
            async with await trio.open_tcp_stream("127.0.0.1", port) as http:
                await http.send_all(b"GET /metrics HTTP/1.1\r\n\r\n")
                assert b"securestream_" in await read_all(http)
        options = ["--key", str(keys.server_file), "--allow-anyone", "--listen", "127.0.0.1:0", "--workers", "2"]
        async with running("echo", *options, "--metrics", f"127.0.0.1:{first}") as second:
            assert await second.wait() == 1
            told = (await read_all(second.stderr)).decode()
    taken = rf"(?:{first}|{first + 1})"  # whichever worker comes first
    assert re.search(rf"securestream: can't show metrics on 127\.0\.0\.1:{taken}: Address already in use\n", told)
    assert re.search(r"securestream: worker [01] ended with status 1 before all were ready\n$", told)


async def test_a_proxy_that_is_named_is_believed_by_all_of_them(keys: Keys) -> None:
    clients = keys.client_file.with_name("clients")
    clients.touch(0o600)
    clients.write_text(f"{keys.client_public} alice from=192.0.2.0/24\n")
    options = ["--key", str(keys.server_file), "--clients", str(clients), "--listen", "127.0.0.1:0", "--workers", "2"]
    async with running("echo", *options, "--proxy-from", "127.0.0.0/8") as server:
        port = await port_of(server)
        for source, welcome in [("192.0.2.1:1", True), ("198.51.100.1:1", False)] * 3:
            transport = await trio.open_tcp_stream("127.0.0.1", port)
            await transport.send_all(ss.ProxyHeader(source, "127.0.0.1:9222").encode())
            if welcome:
                async with await ss.wrap_client(transport, keys.config()) as stream:
                    assert await answers(stream)
            else:
                with pytest.raises(ss.HandshakeRefused):
                    await ss.wrap_client(transport, keys.config())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--listen", "unix:/run/echo", "--workers", "2"], "--workers share a port: --listen HOST:PORT"),
        (["--listen", "systemd", "--workers", "2"], "--workers share a port: --listen HOST:PORT"),
        (["--listen", "127.0.0.1:0", "--workers", "0"], "not in the range 1<=x<=256"),
        (["--listen", "127.0.0.1:0", "--workers", "2", "--metrics", "127.0.0.1:65535"], "none above 65535"),
        (["--listen", "127.0.0.1:0", "--proxy-from", "localhost"], "10.0.0.0/8 or 2001:db8::/32, or the word unix"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_started(
    keys: Keys, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["echo", "--key", str(keys.server_file), "--allow-anyone", *options]) == 2
    assert message in capsys.readouterr().err
