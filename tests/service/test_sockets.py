"""Unix sockets on a path, and sockets that systemd has opened."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.service import sockets

from ..streams.support import PATIENCE, Configs
from .support import ask, shout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@asynccontextmanager
async def serving_at(listener: trio.abc.Listener[trio.SocketStream], server: ss.ServerConfig) -> AsyncIterator[None]:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(ss.serve_secure_listeners, shout, [listener], server))
            yield
            nursery.cancel_scope.cancel()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# --- Unix sockets ------------------------------------------------------------------------------------------


async def test_a_path_is_served_and_removed_at_the_end(tmp_path: Path, configs: Configs) -> None:
    path = tmp_path / "server"
    listener = await ss.open_unix_listener(path)
    assert (listener.path, repr(listener)) == (str(path), f"<UnixListener on {str(path)!r}>")
    async with (
        serving_at(listener, configs[1]),
        await ss.wrap_client(await trio.open_unix_socket(path), configs[0]) as stream,
    ):
        assert await ask(stream) == b"HELLO"
    assert not path.exists()
    await listener.aclose()


async def test_both_ends_of_a_unix_socket_are_named_by_its_path(tmp_path: Path, configs: Configs) -> None:
    asked: list[str] = []

    async def look(stream: ss.SecureStream[trio.SocketStream]) -> None:
        asked.append(stream.peer.address)

    path = tmp_path / "server"
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            listener = await ss.open_unix_listener(path)
            await nursery.start(partial(ss.serve_secure_listeners, look, [listener], configs[1]))
            async with await ss.wrap_client(await trio.open_unix_socket(path), configs[0]) as stream:
                assert stream.peer.address == f"unix:{path}"
                assert await stream.receive_some() == b""
            nursery.cancel_scope.cancel()
    assert asked == [f"unix:{path}"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
async def test_its_file_has_the_mode_that_was_asked_for(tmp_path: Path, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        async with await ss.open_unix_listener(tmp_path / "server", mode=mode):
            assert mode_of(tmp_path / "server") == mode
    finally:
        os.umask(before)


async def test_its_owner_alone_may_connect_unless_asked_otherwise(tmp_path: Path) -> None:
    async with await ss.open_unix_listener(tmp_path / "server"):
        assert mode_of(tmp_path / "server") == 0o600


async def test_at_no_moment_may_more_connect_than_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an open umask the file is looked at when it has just come to be."""
    seen: list[int] = []
    lstat = os.lstat

    def look(path: str) -> os.stat_result:
        found = lstat(path)
        seen.append(stat.S_IMODE(found.st_mode))
        return found

    before = os.umask(0)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "lstat", look)
            async with await ss.open_unix_listener(tmp_path / "server"):
                pass
    finally:
        os.umask(before)
    assert seen[0] == 0o600


async def test_a_socket_that_a_killed_server_left_is_replaced(tmp_path: Path, configs: Configs) -> None:
    path = tmp_path / "server"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
        left.listen()
    assert path.exists()
    async with (
        serving_at(await ss.open_unix_listener(path), configs[1]),
        await ss.wrap_client(await trio.open_unix_socket(path), configs[0]) as stream,
    ):
        assert await ask(stream) == b"HELLO"


@pytest.mark.parametrize("full", [False, True])
async def test_a_socket_that_is_in_use_is_not_replaced(tmp_path: Path, full: bool) -> None:
    path = tmp_path / "server"
    waiting: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as used:
        used.bind(str(path))
        used.listen(0)
        while full:  # until it takes no more
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            full = waiting[-1].connect_ex(str(path)) == 0
        with pytest.raises(OSError) as caught:
            await ss.open_unix_listener(path)
        assert path.exists()
    for each in waiting:
        each.close()
    assert (caught.value.errno, caught.value.filename) == (errno.EADDRINUSE, str(path))


@pytest.mark.parametrize("kind", ["file", "folder", "link to nothing", "link to a socket"])
async def test_nothing_else_is_ever_removed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "server"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "other"))
    match kind:
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case "link to nothing":
            path.symlink_to(tmp_path / "nowhere")
        case _:
            path.symlink_to(tmp_path / "other")
    before = path.lstat()
    with pytest.raises(FileExistsError):
        await ss.open_unix_listener(path)
    assert path.lstat() == before
    assert (tmp_path / "other").exists()


async def test_closing_leaves_a_path_that_another_server_has_taken(tmp_path: Path) -> None:
    path = tmp_path / "server"
    first = await ss.open_unix_listener(path)
    path.unlink()
    async with await ss.open_unix_listener(path):
        await first.aclose()
        assert path.exists()
    assert not path.exists()


@pytest.mark.parametrize("name", ["nowhere/server", "x" * 200])
async def test_a_path_that_does_not_do_is_an_os_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError):
        await ss.open_unix_listener(tmp_path / name)


# --- systemd -------------------------------------------------------------------------------------------------


@pytest.fixture
def opened() -> Iterator[socket.socket]:
    """What systemd would have opened: it blocks, and children inherit it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.set_inheritable(True)
        yield listening


def hand_over(monkeypatch: pytest.MonkeyPatch, descriptor: int, *, count: str = "1", pid: int | None = None) -> None:
    monkeypatch.setattr(sockets, "_FIRST_DESCRIPTOR", descriptor)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() if pid is None else pid))
    monkeypatch.setenv("LISTEN_FDS", count)
    monkeypatch.setenv("LISTEN_FDNAMES", "echo")


async def test_sockets_of_systemd_are_served(
    opened: socket.socket, monkeypatch: pytest.MonkeyPatch, configs: Configs
) -> None:
    hand_over(monkeypatch, opened.fileno())
    (listener,) = ss.systemd_listeners()
    port = opened.getsockname()[1]
    opened.detach()  # it is the listener's now
    assert not os.get_inheritable(listener.socket.fileno())
    assert not any(name.startswith("LISTEN_") for name in os.environ)
    async with (
        serving_at(listener, configs[1]),
        await ss.open_secure_tcp_stream("127.0.0.1", port, configs[0]) as stream,
    ):
        assert await ask(stream) == b"HELLO"


@pytest.mark.parametrize(
    ("count", "pid", "message"),
    [
        ("1", 1, "none were opened"),
        ("0", None, "a number from 1 to 64"),
        ("65", None, "a number from 1 to 64"),
        ("-1", None, "a number from 1 to 64"),
        ("1 ", None, "a number from 1 to 64"),
        ("", None, "a number from 1 to 64"),
        ("9" * 5_000, None, "a number from 1 to 64"),
        ("\u0661", None, "a number from 1 to 64"),
    ],
)
async def test_what_was_not_meant_for_this_process_is_left_alone(
    opened: socket.socket, monkeypatch: pytest.MonkeyPatch, count: str, pid: int | None, message: str
) -> None:
    hand_over(monkeypatch, opened.fileno(), count=count, pid=pid)
    with pytest.raises(ValueError, match=message) as caught:
        ss.systemd_listeners()
    assert len(str(caught.value)) < 200
    assert opened.getsockname()  # still open
    assert "LISTEN_FDS" not in os.environ


async def test_a_process_that_systemd_did_not_start_has_none() -> None:
    with pytest.raises(ValueError, match="socket unit"):
        ss.systemd_listeners()


@pytest.mark.parametrize("kind", ["not listening", "datagrams", "a file", "closed"])
def test_a_descriptor_that_is_no_listening_socket_is_refused(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    with (
        socket.socket() as idle,
        socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        open(os.devnull, "rb") as file,
    ):
        descriptors = {"not listening": idle.fileno(), "datagrams": datagrams.fileno(), "a file": file.fileno()}
        hand_over(monkeypatch, descriptors.get(kind, 1_000))
        with pytest.raises(ValueError, match="systemd's sockets can't be used"):
            ss.systemd_listeners()
        assert idle.getsockname()
        assert datagrams.getsockname()
        assert file.read() == b""
