"""`securestream tunnel`: both ends as processes, and programs on either side."""

from __future__ import annotations

import contextlib
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.cli.targets import Command, target

from ..streams.transports import reset
from .support import PATIENCE, Keys, Stream, cli, port_of, read_all, read_line, running, serving, tunnel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[trio.SocketStream], Awaitable[None]]

NOWHERE = "127.0.0.1:1"


@contextlib.asynccontextmanager
async def target_of(handler: Handler) -> AsyncIterator[str]:
    """A program that a tunnel leads to."""

    async def run(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await handler(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, run, 0, host="127.0.0.1"))
        with trio.fail_after(PATIENCE):
            yield f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def shout(stream: trio.SocketStream) -> None:
    async for chunk in stream:
        await stream.send_all(bytes(chunk).upper())


async def answer_at_the_end(stream: trio.SocketStream) -> None:
    """What an end of the question has to arrive for."""
    await stream.send_all(b"%d bytes" % len(await read_all(stream)))


async def ask(stream: trio.SocketStream, question: bytes) -> bytes:
    await stream.send_all(question)
    await stream.send_eof()
    return await read_all(stream)


async def is_reset(stream: trio.SocketStream) -> bool:
    """Whether an error comes and no end."""
    try:
        await read_all(stream)
    except trio.BrokenResourceError:
        return True
    return False


async def meets_a_reset(port: int) -> bool:
    """Whether who connects there is reset."""
    try:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            return await is_reset(stream)
    except OSError as exc:  # a reset may come before this side knows that it was connected
        cause = exc.__cause__
        return isinstance(cause, ExceptionGroup) and cause.subgroup(ConnectionResetError) is not None


async def one_line(process: trio.Process) -> str:
    assert process.stderr is not None
    line = b""
    while not line.endswith(b"\n"):
        line += await process.stderr.receive_some(1)
    return line.decode()


# --- in order ---------------------------------------------------------------------------------------


async def test_a_program_talks_through_it_and_half_close_is_kept(keys: Keys) -> None:
    async with target_of(answer_at_the_end) as where, tunnel(keys, where, client=["--padding", "padme"]) as between:
        for size in (0, 1, 3_000_000):
            async with await between.connect() as stream:
                assert await ask(stream, bytes(size)) == b"%d bytes" % size
        for end in (between.client, between.server):
            end.terminate()
            assert await end.wait() == 0
            assert await read_all(end.stderr) == b""


async def test_the_program_and_the_target_may_be_behind_unix_sockets(keys: Keys, tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    who = ["--key", str(keys.server_file), "--allow", keys.client_public]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, shout, [await ss.open_unix_listener(far)])
        async with running("tunnel", "server", *who, "--listen", "127.0.0.1:0", "--target", f"unix:{far}") as server:
            port = await port_of(server)
            local = ["--listen", f"unix:{near}", "--connect", keys.string(port)]
            async with running("tunnel", "client", *local) as client:
                assert await read_line(client) == f"Listening on unix:{near} for 127.0.0.1:{port}\n"
                async with await trio.open_unix_socket(str(near)) as stream:
                    assert await ask(stream, b"hello") == b"HELLO"
        nursery.cancel_scope.cancel()


async def test_the_target_is_told_who_is_there(keys: Keys, tmp_path: Path) -> None:
    told: list[ss.ProxyHeader] = []

    async def handler(stream: trio.SocketStream) -> None:
        told.append(await ss.receive_proxy_header(stream))
        await shout(stream)

    clients = tmp_path / "clients"
    clients.touch(0o600)
    clients.write_text(f"{keys.client_public} alice\n")
    async with target_of(handler) as where:
        who = ["--key", str(keys.server_file), "--clients", str(clients), "--proxy-protocol"]
        async with running("tunnel", "server", *who, "--listen", "127.0.0.1:0", "--target", where) as server:
            port = await port_of(server)
            async with await ss.open_secure_tcp_stream("127.0.0.1", port, keys.config()) as stream:
                await stream.send_all(b"hello")
                assert await stream.receive_some() == b"HELLO"
                own = stream.transport_stream.socket.getsockname()
    assert told == [ss.ProxyHeader(f"127.0.0.1:{own[1]}", f"127.0.0.1:{port}", keys.client.public_key, "alice")]


async def test_a_list_of_known_servers_lets_a_servers_key_change_under_a_client_that_runs(
    keys: Keys, tmp_path: Path
) -> None:
    async def hello(stream: Stream) -> None:
        await stream.send_all(b"hello")

    servers, before = tmp_path / "servers", ss.PrivateKey.generate()
    async with serving(hello, keys) as port:
        name = f"127.0.0.1:{port}"
        servers.write_text(f"{before.public_key} {name}\n")
        trusts = ["--known-servers", str(servers), "--key", str(keys.client_file)]
        async with running("tunnel", "client", "--listen", "127.0.0.1:0", "--connect", name, *trusts) as client:
            local = await port_of(client)
            async with await trio.open_tcp_stream("127.0.0.1", local) as stream:
                assert await is_reset(stream)
            refused = await one_line(client)
            assert keys.server_public in refused
            assert f">> {servers}" in refused
            servers.write_text(f"{before.public_key} {name}\n{keys.server_public} {name}\n")
            while not await hears(local, b"hello"):  # a file that was written to a moment ago is read at a later turn
                pass


async def hears(port: int, wanted: bytes) -> bool:
    """Whether who connects there is told that, and not reset."""
    try:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            return await read_all(stream) == wanted
    except trio.BrokenResourceError:
        return False


# --- commands ---------------------------------------------------------------------------------------


async def test_a_command_serves_and_knows_whom(keys: Keys) -> None:
    script = 'echo "$SECURESTREAM_PEER_KEY $SECURESTREAM_PEER_ADDRESS"; tr a-z A-Z'
    async with tunnel(keys, f"sh -c '{script}'") as between, await between.connect() as stream:
        first, _, rest = (await ask(stream, b"hello")).partition(b"\n")
    assert re.fullmatch(rf"{re.escape(keys.client_public)} 127\.0\.0\.1:\d+", first.decode())
    assert rest == b"HELLO"


async def test_a_command_that_fails_is_no_end_of_its_output(keys: Keys) -> None:
    async with tunnel(keys, "sh -c 'echo half; exit 3'") as between, await between.connect() as stream:
        assert await is_reset(stream)
        assert "alert 1 (application_error): the connection beyond this one broke" in await one_line(between.client)
        assert (await one_line(between.server)).endswith(
            f" {keys.client_public}: the connection with the target sh broke: the command failed with status 3\n"
        )


async def test_a_command_and_what_it_has_started_end_with_the_connection(keys: Keys, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    async with tunnel(keys, f"sh -c 'sleep 1000 & echo $! > {mark}; echo there; wait'") as between:
        stream = await between.connect()
        assert await stream.receive_some() == b"there\n"
        pid = int(mark.read_text())
        reset(stream)
        assert "connection broken" in await one_line(between.client)
        between.server.terminate()
        await between.server.wait()
    with trio.fail_after(PATIENCE):
        await has_ended(pid)


async def has_ended(pid: int) -> None:
    """Returns when it does nothing any more."""
    while True:
        if not is_alive(pid):
            return
        await trio.sleep(0.005)


def is_alive(pid: int) -> bool:
    """Whether it does anything yet. What has ended may wait for whoever has inherited it to look."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("cat", ["cat"]), ("sh -c 'a b'", ["sh", "-c", "a b"]), ("sh 127.0.0.1:5", ["sh", "127.0.0.1:5"])],
)
def test_what_is_neither_an_address_nor_a_path_is_a_command(text: str, wanted: list[str]) -> None:
    assert target(text) == Command(tuple(wanted))


# --- out of order -----------------------------------------------------------------------------------


async def test_a_target_that_is_down_resets_the_program_and_both_logs_say_so(keys: Keys) -> None:
    async with tunnel(keys, NOWHERE) as between:
        assert await meets_a_reset(between.port)
        near, far = await one_line(between.client), await one_line(between.server)
    assert re.fullmatch(
        r"securestream: 127\.0\.0\.1:\d+: the peer ended the stream: "
        r"alert 15 \(backend_unavailable\): the target can't be reached\n",
        near,
    )
    assert re.fullmatch(
        rf"securestream: 127\.0\.0\.1:\d+ {re.escape(keys.client_public)}: "
        rf"the target {re.escape(NOWHERE)} can't be reached: Connection refused\n",
        far,
    )


async def test_a_stranger_is_reset_and_the_target_never_hears_of_him(keys: Keys) -> None:
    heard: list[trio.SocketStream] = []

    async def handler(stream: trio.SocketStream) -> None:
        heard.append(stream)

    async with target_of(handler) as where:
        who = ["--key", str(keys.server_file), "--allow", keys.server_public]
        async with running("tunnel", "server", *who, "--listen", "127.0.0.1:0", "--target", where) as server:
            string = keys.string(await port_of(server))
            async with running("tunnel", "client", "--listen", "127.0.0.1:0", "--connect", string) as client:
                assert await meets_a_reset(await port_of(client))
                assert "is not authorised here [access_denied]; its operator can allow this key" in await one_line(
                    client
                )
    assert heard == []


async def test_an_alert_of_the_server_resets_the_program(keys: Keys) -> None:
    async def fail(stream: Stream) -> None:
        await stream.send_all(b"half")
        raise ss.StreamFailure(5_000, "out of luck")

    local = ["tunnel", "client", "--listen", "127.0.0.1:0", "--connect"]
    async with serving(fail, keys) as port, running(*local, keys.string(port)) as client:
        async with await trio.open_tcp_stream("127.0.0.1", await port_of(client)) as stream:
            assert await stream.receive_some() == b"half"
            assert await is_reset(stream)
        assert (await one_line(client)).endswith("the peer ended the stream: alert 5000: out of luck\n")


@pytest.mark.parametrize("killed", ["client", "server"])
async def test_a_killed_end_is_an_end_for_nobody(keys: Keys, killed: str) -> None:
    seen = trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        await stream.send_all(b"hello")
        assert await is_reset(stream)
        seen.set()

    async with target_of(handler) as where, tunnel(keys, where) as between, await between.connect() as stream:
        assert await stream.receive_some() == b"hello"
        (between.server if killed == "server" else between.client).kill()
        assert await is_reset(stream)
        await seen.wait()
        if killed == "server":
            assert "the connection ended in the middle of the stream" in await one_line(between.client)


async def test_a_server_that_shuts_down_resets_and_says_so(keys: Keys) -> None:
    async with target_of(shout) as where, tunnel(keys, where) as between, await between.connect() as stream:
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"HELLO"
        between.server.terminate()
        assert await is_reset(stream)
        assert "alert 14 (shutting_down)" in await one_line(between.client)
        assert await between.server.wait() == 0


async def test_a_client_that_shuts_down_lets_open_connections_finish(keys: Keys) -> None:
    async with target_of(answer_at_the_end) as where, tunnel(keys, where, client=["--grace", "20"]) as between:
        async with await between.connect() as stream:
            await stream.send_all(b"half")
            between.client.terminate()
            with pytest.raises(OSError, match="connect"):
                while True:
                    await (await between.connect()).aclose()
            assert await ask(stream, b"half") == b"8 bytes"
        assert await between.client.wait() == 0


async def test_a_second_signal_hurries(keys: Keys) -> None:
    async with target_of(shout) as where, tunnel(keys, where, client=["--grace", "1000"]) as between:
        async with await between.connect() as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"HELLO"
            between.client.terminate()
            with pytest.raises(OSError, match="connect"):
                while True:
                    await (await between.connect()).aclose()
            between.client.terminate()
            assert await is_reset(stream)
        assert await between.client.wait() == 0


async def test_connections_beyond_the_limit_are_reset(keys: Keys) -> None:
    one = ["--max-connections", "1"]
    async with target_of(shout) as where, tunnel(keys, where, client=one) as between, await between.connect() as stream:
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"HELLO"
        with contextlib.suppress(OSError):  # which may come before it knows that it was connected
            async with await between.connect() as other:
                assert await is_reset(other)
        assert (await one_line(between.client)).endswith("no room beside 1 connections\n")
        assert await ask(stream, b"still there") == b"STILL THERE"


# --- connection strings -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["argument", "file"])
async def test_connect_takes_a_connection_string(keys: Keys, tmp_path: Path, form: str) -> None:
    async def echo(stream: Stream) -> None:
        async for chunk in stream:
            await stream.send_all(chunk)

    async with serving(echo, keys) as port:
        path = tmp_path / "connection"
        path.write_text(f"# the database\n\n{keys.string(port)}\n")
        given = [keys.string(port)] if form == "argument" else ["--connect-file", str(path)]
        result = await cli("connect", *given, "--padding", "block:512", stdin=b"hello")
    assert (result.status, result.out, result.err) == (0, b"hello", "")


async def test_a_secret_in_the_command_line_gets_a_warning(keys: Keys) -> None:
    secret = keys.client.to_text()
    result = await cli("connect", f"Server={NOWHERE};Server Key={keys.server_public};Client Secret Key={secret}")
    assert result.status == 1
    assert result.err.startswith("securestream: warning: every user of this machine can read the secret key")
    assert secret not in result.err


async def test_a_secret_in_a_file_that_others_can_read_is_refused(keys: Keys, tmp_path: Path) -> None:
    path = tmp_path / "connection"
    path.write_text(f"Server={NOWHERE};Server Key={keys.server_public};Client Secret Key={keys.client.to_text()}")
    path.chmod(0o644)
    result = await cli("connect", "--connect-file", path)
    assert (result.status, result.err) == (
        2,
        f"securestream: {path} is open to others than its owner; to mend it: chmod 600 {path}\n",
    )


async def test_several_connection_strings_in_a_file_are_refused(keys: Keys, tmp_path: Path) -> None:
    path = tmp_path / "connection"
    path.write_text(f"{keys.string(1)}\n{keys.string(2)}\n")
    result = await cli("connect", "--connect-file", path)
    assert result.status == 2
    assert result.err == f"securestream: {path}: one line with a connection string is to be in it, not 2\n"
