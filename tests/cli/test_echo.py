"""`securestream echo`, as a process."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.cli.app import run

from .support import Keys, cli, command, echo_server, process, read_all, read_line, running

if TYPE_CHECKING:
    from pathlib import Path


async def test_it_prints_its_address_and_public_key_and_sends_back_what_it_gets(keys: Keys) -> None:
    options = ["--key", str(keys.server_file), "--allow", keys.client_public]
    async with running("echo", *options, "--listen", "127.0.0.1:0") as server:
        line = await read_line(server)
        match = re.fullmatch(r"Listening on 127\.0\.0\.1:([1-9]\d*) as (\S{44})\n", line)
        assert match is not None
        assert match[2] == keys.server_public
        async with await ss.open_secure_tcp_stream("127.0.0.1", int(match[1]), keys.config()) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
            await stream.send_eof()
            assert await stream.receive_some() == b""


async def test_it_listens_on_ipv6(keys: Keys) -> None:
    with trio.socket.socket(trio.socket.AF_INET6) as probe:
        try:
            await probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
    options = ["--key", str(keys.server_file), "--allow-anyone", "--listen", "[::1]:0"]
    async with running("echo", *options) as server:
        where = (await read_line(server)).split()[2]
        assert re.fullmatch(r"\[::1\]:[1-9]\d*", where)
        answer = await cli("connect", where, "--server-key", keys.server_public, stdin=b"hello")
    assert (answer.status, answer.out, answer.err) == (0, b"hello", "")


async def test_the_key_may_come_from_standard_input(keys: Keys) -> None:
    async with running("echo", "--key", "-", "--listen", "127.0.0.1:0", "--allow-anyone") as server:
        assert server.stdin is not None
        await server.stdin.send_all(keys.server_file.read_bytes())
        await server.stdin.aclose()
        assert keys.server_public in await read_line(server)


async def test_each_allowed_client_may_connect(keys: Keys) -> None:
    other = ss.PrivateKey.generate()
    allowed = ["--allow", keys.client_public, "--allow", str(other.public_key)]
    options = ["--key", str(keys.server_file), "--listen", "127.0.0.1:0", *allowed]
    async with running("echo", *options) as server:
        port = int((await read_line(server)).split()[2].rpartition(":")[2])
        for key in (keys.client, other):
            config = ss.ClientConfig(key=key, server_key=keys.server.public_key)
            async with await ss.open_secure_tcp_stream("127.0.0.1", port, config):
                pass


async def connected_at_last(port: int, keys: Keys) -> ss.SecureStream[trio.SocketStream]:
    """A file that was written to a moment ago may not be whole, and is read at a later client's turn."""
    while True:
        with contextlib.suppress(ss.HandshakeRefused):
            return await ss.open_secure_tcp_stream("127.0.0.1", port, keys.config())


async def test_a_file_of_clients_says_who_may_connect_and_is_read_again(tmp_path: Path, keys: Keys) -> None:
    clients = tmp_path / "clients"
    clients.touch(0o600)
    options = ["--key", str(keys.server_file), "--listen", "127.0.0.1:0", "--clients", str(clients)]
    async with running("echo", *options, "--padding", "block:512") as server:
        port = int((await read_line(server)).split()[2].rpartition(":")[2])
        with pytest.raises(ss.HandshakeRefused):
            await ss.open_secure_tcp_stream("127.0.0.1", port, keys.config())
        clients.write_text(f"{keys.client_public} alice\n")
        async with await connected_at_last(port, keys) as stream:
            before = stream.statistics().wire_bytes_received
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
            assert stream.statistics().wire_bytes_received - before > 512


async def test_refusals_are_logged_in_one_line_each(keys: Keys) -> None:
    stranger = ss.PrivateKey.generate()
    config = ss.ClientConfig(key=stranger, server_key=keys.server.public_key)
    async with echo_server(keys) as (server, port):
        for _ in range(2):
            with pytest.raises(ss.HandshakeRefused):
                await ss.open_secure_tcp_stream("127.0.0.1", port, config)
        garbage = await trio.open_tcp_stream("127.0.0.1", port)
        async with garbage:
            await garbage.send_all(b"GET / HTTP/1.1\r\n\r\n")
            await read_all(garbage)
        server.terminate()
        lines = (await read_all(server.stderr)).decode().splitlines()
    assert len(lines) == 3
    assert all(re.match(r"securestream: refused 127\.0\.0\.1:\d+[,:] ", line) for line in lines)
    assert all(str(stranger.public_key) in line for line in lines[:2])


async def test_a_secret_file_keeps_out_who_does_not_know_the_secret(tmp_path: Path, keys: Keys) -> None:
    secret, path = ss.SharedSecret.generate(), tmp_path / "group.secret"
    path.touch(0o600)
    path.write_text(secret.to_text())
    options = ["--key", str(keys.server_file), "--allow-anyone", "--secret-file", str(path)]
    async with running("echo", *options, "--listen", "127.0.0.1:0") as server:
        where = (await read_line(server)).split()[2]
        known = await cli("connect", where, "--server-key", keys.server_public, "--secret-file", path, stdin=b"hello")
        with pytest.raises(ss.HandshakeRefused) as caught:
            await ss.open_secure_tcp_stream("127.0.0.1", int(where.rpartition(":")[2]), keys.config())
    assert (known.status, known.out) == (0, b"hello")
    assert caught.value.alert.code == ss.AlertCode.BAD_SECRET


async def test_several_secrets_are_taken_and_none_where_it_is_optional(tmp_path: Path, keys: Keys) -> None:
    paths = [tmp_path / "old", tmp_path / "new"]
    for path in paths:
        path.touch(0o600)
        path.write_text(ss.SharedSecret.generate().to_text())
    options = ["--key", str(keys.server_file), "--allow-anyone", *(f"--secret-file={path}" for path in paths)]
    async with running("echo", *options, "--secret-optional", "--listen", "127.0.0.1:0") as server:
        where = (await read_line(server)).split()[2]
        for secret in ([], *(["--secret-file", str(path)] for path in paths)):
            known = await cli("connect", where, "--server-key", keys.server_public, *secret, stdin=b"hello")
            assert (known.status, known.out) == (0, b"hello")


@pytest.mark.usefixtures("usual_sigint")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_a_signal_ends_it_and_open_connections_are_told(keys: Keys, number: signal.Signals, status: int) -> None:
    async with echo_server(keys) as (server, port):
        async with await ss.open_secure_tcp_stream("127.0.0.1", port, keys.config()) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
            server.send_signal(number)
            with pytest.raises(ss.PeerAlert) as caught:
                await stream.receive_some()
            assert caught.value.alert == ss.Alert(ss.AlertCode.SHUTTING_DOWN, "this server is shutting down")
        assert await server.wait() == status
        assert await read_all(server.stderr) == b""


async def test_a_connection_that_does_not_listen_does_not_hold_up_the_end(keys: Keys) -> None:
    async with echo_server(keys) as (server, port):
        stream = await ss.open_secure_tcp_stream("127.0.0.1", port, keys.config())
        with trio.move_on_after(0.3):  # until nothing more goes in: what comes back is not read
            while True:
                await stream.send_all(bytes(2**20))
        server.terminate()
        assert await server.wait() == 0
        await trio.aclose_forcefully(stream)


def test_a_port_that_is_taken_is_one_line(keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = f"127.0.0.1:{other.getsockname()[1]}"
        assert run(["echo", "--key", str(keys.server_file), "--allow-anyone", "--listen", where]) == 1
    assert capsys.readouterr() == ("", f"securestream: can't listen on {where}: Address already in use\n")


async def test_its_reader_may_leave(keys: Keys) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    options = ["--key", str(keys.server_file), "--allow-anyone", "--listen", "127.0.0.1:0"]
    try:
        async with running("echo", *options, stdout=writing) as server:
            assert await read_all(server.stderr) == b""
            assert await server.wait() == 141
    finally:
        os.close(writing)


# --- other places, limits, draining ------------------------------------------------------------------------


async def test_it_listens_on_a_unix_socket_and_takes_it_away_at_the_end(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "echo"
    options = ["--key", str(keys.server_file), "--allow-anyone", "--listen", f"unix:{path}"]
    async with running("echo", *options) as server:
        assert await read_line(server) == f"Listening on unix:{path} as {keys.server_public}\n"
        async with await ss.wrap_client(await trio.open_unix_socket(path), keys.config()) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
        server.terminate()
        assert await server.wait() == 0
        assert await read_all(server.stderr) == b""
    assert not path.exists()


async def test_it_takes_the_sockets_that_systemd_has_opened(keys: Keys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        port, number = opened.getsockname()[1], opened.fileno()
        echo = command("echo", "--key", keys.server_file, "--allow-anyone", "--listen", "systemd")
        as_systemd = [sys.executable, "-c", START_AS_SYSTEMD, str(number), *echo]
        async with process(as_systemd, pass_fds=[number]) as server:
            assert (await read_line(server)).startswith(f"Listening on 127.0.0.1:{port} as ")
            async with await ss.open_secure_tcp_stream("127.0.0.1", port, keys.config()) as stream:
                await stream.send_all(b"hello")
                assert await stream.receive_some() == b"hello"
            server.terminate()
            assert await server.wait() == 0


START_AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


async def test_its_limits_are_those_of_its_options(keys: Keys) -> None:
    limits = ["--max-per-source", "1", "--idle-timeout", "2", "--lifetime", "60", "--keep-alive", "30"]
    options = ["--key", str(keys.server_file), "--allow-anyone", "--listen", "127.0.0.1:0", *limits]
    async with running("echo", *options) as server:
        port = int((await read_line(server)).split()[2].rpartition(":")[2])
        async with await ss.open_secure_tcp_stream("127.0.0.1", port, keys.config()) as stream:
            with pytest.raises(ss.HandshakeRefused) as refused:
                await ss.open_secure_tcp_stream("127.0.0.1", port, keys.config())
            with pytest.raises(ss.PeerAlert) as ended:
                await stream.receive_some()
    assert refused.value.alert.code == ss.AlertCode.BUSY
    assert ended.value.alert.code == ss.AlertCode.IDLE_TIMEOUT


@pytest.mark.parametrize("signals", [1, 2])
async def test_connections_at_work_have_the_grace_and_a_second_signal_ends_it(keys: Keys, signals: int) -> None:
    """A client that takes nothing keeps the echo at work. With one signal and a grace of none it ends as well."""
    grace = "0" if signals == 1 else "1000"
    options = ["--key", str(keys.server_file), "--allow-anyone", "--listen", "127.0.0.1:0", "--grace", grace]
    async with running("echo", *options) as server:
        port = int((await read_line(server)).split()[2].rpartition(":")[2])
        idle = await ss.open_secure_tcp_stream("127.0.0.1", port, keys.config())
        busy = await ss.open_secure_tcp_stream("127.0.0.1", port, keys.config())
        with trio.move_on_after(0.3):  # until nothing more goes in
            while True:
                await busy.send_all(bytes(2**20))
        server.terminate()
        with pytest.raises(ss.PeerAlert) as told:
            await idle.receive_some()
        if signals == 2:
            server.terminate()
        assert await server.wait() == 0
        assert told.value.alert.code == ss.AlertCode.SHUTTING_DOWN
        for stream in (idle, busy):
            await trio.aclose_forcefully(stream)


async def test_it_shows_figures_on_loopback_and_events_on_standard_error(keys: Keys) -> None:
    options = ["--key", str(keys.server_file), "--allow", keys.client_public, "--listen", "127.0.0.1:0"]
    async with running("echo", *options, "--metrics", "127.0.0.1:0", "--events") as server:
        port = int((await read_line(server)).split()[2].rpartition(":")[2])
        async with await ss.open_secure_tcp_stream("127.0.0.1", port, keys.config()) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
            await stream.send_eof()
            assert await stream.receive_some() == b""
        assert server.stderr is not None
        told = b""
        while b"stream_closed" not in told:
            told += await server.stderr.receive_some()
        figures = re.search(rb"securestream: metrics on http://(127\.0\.0\.1):([0-9]+)/metrics\n", told)
        assert figures is not None
        async with await trio.open_tcp_stream("127.0.0.1", int(figures[2])) as http:
            await http.send_all(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert b'securestream_bytes_total{direction="sent"} 5.0' in await read_all(http)
        server.terminate()
        assert await server.wait() == 0
    assert re.search(rb"securestream: handshake_done address=127\.0\.0\.1:\d+ peer=\S{44} suite=", told)


def test_figures_are_not_shown_to_other_machines(keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--key", str(keys.server_file), "--allow-anyone", "--listen", "127.0.0.1:0"]
    assert run(["echo", *options, "--metrics", "0.0.0.0:0"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("securestream: can't show metrics on 0.0.0.0:0: metrics are shown on loopback only")
