"""The file transfer: whole files both ways, taken up again, and what a stranger may try with names and sizes."""

from __future__ import annotations

import hashlib
import os
import signal
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from io import FileIO
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio
import trio.testing

import securestream as ss
from examples.files import client
from examples.files.client import get, put, with_patience
from examples.files.folder import Folder, check_name
from examples.files.messages import (
    CHUNK_BYTES,
    From,
    Have,
    Kept,
    Message,
    Request,
    Sent,
    Size,
    TransferFailed,
    Why,
    receive,
    send,
)
from examples.files.server import FileServer, no_progress

from ..cli.support import ENVIRONMENT, Result
from ..ports import free_ports
from ..service.support import serving, serving_tcp
from ..streams.support import PATIENCE, matching_configs
from ..streams.transports import reset
from .programs import Home, command, ran

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from trio.testing import MockClock

    from examples.files.client import Connect
    from examples.files.transfer import Progress

    Trouble = Callable[[ss.SecureStream[trio.abc.Stream]], Awaitable[None]]

LARGEST = 10 * CHUNK_BYTES
CONTENT = bytes(range(251)) * (3 * CHUNK_BYTES // 251)  # no two chunks alike
NAME = "report.pdf"


class Place:
    """A served folder, one to get files into, and how to connect."""

    def __init__(self, root: Path, connect: Connect) -> None:
        self.there, self.here = root / "there", root / "here"
        self.connect = connect

    async def put(self, content: bytes = CONTENT, *, progress: Progress = no_progress) -> None:
        with self.local(content) as file:
            await put(self.connect, NAME, file, progress)

    async def get(self, *, largest: int = LARGEST, progress: Progress = no_progress) -> None:
        with opened(self.here) as folder:
            await get(self.connect, NAME, folder, largest, progress)

    @contextmanager
    def local(self, content: bytes) -> Iterator[FileIO]:
        path = self.here.parent / "to send"
        path.write_bytes(content)
        with FileIO(path) as file:
            yield file

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[ss.MessageChannel]:
        """For a client that is moved by hand."""
        async with ss.MessageChannel(await self.connect(), max_size=CHUNK_BYTES) as channel:
            yield channel

    async def alert_for(self, *messages: Message | bytes, then_end: bool = False) -> ss.Alert:
        """What a client is told for these, sent without waiting for answers."""
        async with await self.connect() as stream:
            channel = ss.MessageChannel(stream, max_size=CHUNK_BYTES)
            for message in messages:
                await send(channel, message)
            if then_end:
                await stream.send_eof()
            with pytest.raises(ss.PeerAlert) as caught:
                async for _ in channel:
                    pass
        return caught.value.alert


@contextmanager
def opened(path: Path) -> Iterator[Folder]:
    folder = Folder(path)
    try:
        yield folder
    finally:
        folder.close()


@asynccontextmanager
async def place(root: Path, *, over_tcp: bool = False, troubles: Sequence[Trouble] = ()) -> AsyncIterator[Place]:
    """The first clients meet with `troubles`, in place of the server's handler."""
    client_config, server_config = matching_configs(close_timeout=1)
    for name in ("there", "here"):
        os.mkdir(root / name)
    with opened(root / "there") as folder, trio.fail_after(PATIENCE):
        server, left = FileServer(folder, LARGEST), list(troubles)

        async def handler(stream: ss.SecureStream[trio.abc.Stream]) -> None:
            await (left.pop(0)(stream) if left else server.handle(stream))

        if over_tcp:
            async with serving_tcp(handler, server_config) as port:
                yield Place(root, partial(ss.open_secure_tcp_stream, "127.0.0.1", port, client_config))
        else:
            async with serving(handler, server_config) as memory:
                yield Place(root, partial(memory.connect, client_config))


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def everything_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def sha(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


class Stop(Exception):
    """What a test stops a transfer with."""


class Seen(list[int]):
    """A progress, and where it was each time it was told."""

    def __call__(self, done: int, size: int) -> None:
        self.append(done)


def stop_at(done: int, stop: Callable[[], None]) -> Progress:
    """Calls `stop` when so many bytes are done."""

    def progress(now: int, size: int) -> None:
        if now >= done:
            stop()

    return progress


def fail() -> None:
    raise Stop


# --- whole files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 7])
@pytest.mark.parametrize("over_tcp", [False, True], ids=["memory", "tcp"])
async def test_a_file_is_put_and_got_whole(size: int, over_tcp: bool, tmp_path: Path) -> None:
    content = (CONTENT * 2)[:size]
    async with place(tmp_path, over_tcp=over_tcp) as it:
        await it.put(content)
        assert files_in(it.there) == {NAME: content}
        seen = Seen()
        await it.get(progress=seen)
        assert files_in(it.here) == {NAME: content}
        assert (seen[0], seen[-1]) == (0, size)


async def test_a_file_that_is_there_already_is_compared_and_not_sent(tmp_path: Path) -> None:
    async with place(tmp_path) as it:
        await it.put()
        begun = Seen()
        for transfer in (it.put, it.get, it.get):
            begun.clear()
            await transfer(progress=begun)
        assert begun == [len(CONTENT)]
        assert files_in(it.there) == files_in(it.here) == {NAME: CONTENT}


@pytest.mark.parametrize("other", [b"", b"another", CONTENT[:-1], CONTENT + b"x", CONTENT[:-1] + b"x"])
async def test_another_file_of_that_name_is_never_replaced(other: bytes, tmp_path: Path) -> None:
    async with place(tmp_path) as it:
        await it.put()
        with pytest.raises(ss.PeerAlert) as caught:
            await it.put(other)
        assert caught.value.alert.code == Why.FILE_EXISTS
        assert files_in(it.there) == {NAME: CONTENT}


async def test_a_file_that_comes_from_elsewhere_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    async with place(tmp_path) as it:

        def come(done: int, size: int) -> None:
            (it.there / NAME).write_bytes(b"another")

        with pytest.raises(ss.PeerAlert) as caught:
            await it.put(progress=come)
        assert caught.value.alert.code == Why.FILE_EXISTS
        assert files_in(it.there)[NAME] == b"another"


# --- taken up again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["put", "get"])
@pytest.mark.parametrize("how", ["alert", "cut"])
async def test_a_transfer_that_broke_goes_on_from_where_it_was(action: str, how: str, tmp_path: Path) -> None:
    """Left by an exception it is an alert, from either side; else it is a cut. No half has the file's name."""
    async with place(tmp_path, over_tcp=True) as it:
        connect, streams = it.connect, list[ss.SecureStream[trio.abc.Stream]]()

        async def connect_and_keep() -> ss.SecureStream[trio.abc.Stream]:
            streams.append(await connect())
            return streams[-1]

        def cut() -> None:
            transport = streams[-1].transport_stream
            assert isinstance(transport, trio.SocketStream)
            if action == "put":
                transport.socket.shutdown(trio.socket.SHUT_RDWR)  # what has left still arrives there
            else:
                reset(transport)  # what has arrived is not read here

        it.connect = connect_and_keep
        keeper, transfer = (it.there, it.put) if action == "put" else (it.here, it.get)
        if action == "get":
            await it.put()
        with pytest.raises((Stop, trio.BrokenResourceError, trio.ClosedResourceError)):
            await transfer(progress=stop_at(2 * CHUNK_BYTES, fail if how == "alert" else cut))
        await until(lambda: not locked(keeper / f".{NAME}.part"))
        part = files_in(keeper)
        assert list(part) == [f".{NAME}.part"]
        assert CONTENT.startswith(part[f".{NAME}.part"])
        assert len(part[f".{NAME}.part"]) >= CHUNK_BYTES
        begun = Seen()
        await transfer(progress=begun)
        assert begun[0] == len(part[f".{NAME}.part"])
        assert files_in(keeper) == {NAME: CONTENT}


def locked(part: Path) -> bool:
    """Whether a transfer is at it."""
    with opened(part.parent) as folder:
        try:
            with folder.arriving(NAME):
                return False
        except TransferFailed:
            return True


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - what happens on the other side has no event for the test
        await trio.sleep(0.01)


@pytest.mark.parametrize("part", [b"x", CONTENT[:1000] + b"x", CONTENT + b"x", bytes(len(CONTENT))])
async def test_a_part_of_something_else_is_not_gone_on_from(part: bytes, tmp_path: Path) -> None:
    async with place(tmp_path) as it:
        (it.there / f".{NAME}.part").write_bytes(part)
        begun = Seen()
        await it.put(progress=begun)
        assert begun[0] == 0
        assert files_in(it.there) == {NAME: CONTENT}


async def test_a_part_that_has_all_only_gets_its_name(tmp_path: Path) -> None:
    async with place(tmp_path) as it:
        (it.there / f".{NAME}.part").write_bytes(CONTENT)
        begun = Seen()
        await it.put(progress=begun)
        assert begun == [len(CONTENT)]
        assert files_in(it.there) == {NAME: CONTENT}


async def test_a_client_with_patience_connects_again_until_the_file_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PAUSE_SECONDS", 0)
    said: list[str] = []

    async def come_again(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        raise ss.StreamFailure(ss.AlertCode.SHUTTING_DOWN, "come again")

    async with place(tmp_path, troubles=[trio.aclose_forcefully, come_again]) as it:
        connect = it.connect

        async def connect_at_last() -> ss.SecureStream[trio.abc.Stream]:
            if not said:
                raise OSError("nobody is listening")
            return await connect()

        it.connect = connect_at_last
        with it.local(CONTENT) as file:
            await with_patience(lambda: put(it.connect, NAME, file, no_progress), 4, said.append)
        assert files_in(it.there) == {NAME: CONTENT}
    assert [text.partition(";")[0] for text in said] == [
        "nobody is listening",
        "the connection ended in the middle of the stream",
        "the peer ended the stream: alert 14 (shutting_down): come again",
    ]


async def test_patience_ends_with_the_last_try_and_at_once_where_it_would_mend_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PAUSE_SECONDS", 0)
    said: list[str] = []

    async def fail_by(exc: Exception) -> None:
        raise exc

    passing = [OSError(), ss.TruncatedStream(), ss.PeerAlert(ss.Alert(ss.AlertCode.INTERNAL_ERROR, ""))]
    final = [
        ss.PeerAlert(ss.Alert(Why.NO_SUCH_FILE, "")),
        ss.BadRecord("forged", "bad_record"),
        ss.HandshakeRefused(ss.Alert(ss.AlertCode.ACCESS_DENIED, "")),
        TransferFailed(Why.CANT_READ, ""),
    ]
    for exc, pauses in [*((exc, 2) for exc in passing), *((exc, 0) for exc in final)]:
        said.clear()
        with pytest.raises(type(exc)):
            await with_patience(partial(fail_by, exc), 3, said.append)
        assert len(said) == pauses, exc


# --- names --------------------------------------------------------------------------------------------

BAD_NAMES = [
    *("", ".", "..", "../outside", "a/../../outside", "/etc/passwd", "a/b", "a/", ".hidden", f".{NAME}.part"),
    *("a\0b", "a\nb", "\x1b[2J", "\u202efdp.exe", "x" * 201, "ä" * 101),
]


@pytest.mark.parametrize("action", ["put", "get"])
async def test_names_that_are_no_plain_names_are_refused_and_nothing_is_made(action: str, tmp_path: Path) -> None:
    async with place(tmp_path) as it:
        (tmp_path / "outside").write_bytes(b"secret")
        (it.there / ".hidden").write_bytes(b"secret")
        before = everything_in(tmp_path)
        for name in BAD_NAMES:
            content = msgspec.json.encode({"type": "request", "action": action, "name": name})
            following = [Size(1)] if action == "put" else []
            assert (await it.alert_for(content, *following)).code == Why.BAD_NAME, name
        assert everything_in(tmp_path) == before
        assert (tmp_path / "outside").read_bytes() == b"secret"


@pytest.mark.parametrize("name", ["a", "x" * 200, "ä" * 100, "two words", "a..b", "~", "-rf", "a\\b", "C:x"])
async def test_other_names_are_names(name: str, tmp_path: Path) -> None:
    assert check_name(name) == name
    async with place(tmp_path) as it:
        with it.local(b"content") as file:
            await put(it.connect, name, file, no_progress)
        assert files_in(it.there) == {name: b"content"}


def make_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def make_dangling_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside.with_name("not there"))


def make_pipe(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def make_folder(path: Path, outside: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("name", [NAME, f".{NAME}.part"])
@pytest.mark.parametrize("make", [make_link, make_dangling_link, make_pipe, make_folder])
async def test_what_is_no_plain_file_is_neither_read_nor_written_nor_waited_for(
    make: Callable[[Path, Path], None], name: str, tmp_path: Path
) -> None:
    async with place(tmp_path) as it:
        outside = tmp_path / "outside"
        outside.write_bytes(b"secret")
        make(it.there / name, outside)
        for transfer in (it.put, it.get):
            with pytest.raises(ss.PeerAlert) as caught:
                await transfer()
            assert caught.value.alert.code in (Why.CANT_READ, Why.CANT_KEEP, Why.NO_SUCH_FILE)
            assert str(tmp_path) not in caught.value.alert.message
        assert outside.read_bytes() == b"secret"
        assert not outside.with_name("not there").exists()


# --- what no honest peer sends ------------------------------------------------------------------------


async def test_a_beginning_that_was_not_offered_is_refused(tmp_path: Path) -> None:
    async with place(tmp_path) as it:
        (it.there / f".{NAME}.part").write_bytes(CONTENT[:1_000])
        for offset in (1, 999, 1_001, len(CONTENT), 2**63 - 1):
            alert = await it.alert_for(Request("put", NAME), Size(len(CONTENT)), From(offset))
            assert alert.code == ss.AlertCode.PROTOCOL_ERROR
        assert files_in(it.there) == {f".{NAME}.part": CONTENT[:1_000]}


@pytest.mark.parametrize("chunks", [[b""], [b"12345678901"], [b"1234567890", b"1"], [b"12345", b"123456"]])
async def test_more_or_less_than_was_announced_is_refused(chunks: list[bytes], tmp_path: Path) -> None:
    async with place(tmp_path) as it:
        alert = await it.alert_for(Request("put", NAME), Size(10), From(0), *chunks, Sent(sha(b"".join(chunks))))
        assert alert.code == ss.AlertCode.PROTOCOL_ERROR
        assert NAME not in files_in(it.there)


async def test_a_stream_that_ends_in_order_in_the_middle_of_a_file_is_no_end_of_the_file(tmp_path: Path) -> None:
    async with place(tmp_path) as it:
        messages: list[Message | bytes] = [
            Request("put", NAME),
            Size(len(CONTENT)),
            From(0),
            CONTENT[:CHUNK_BYTES],
            Sent(sha(CONTENT)),
        ]
        for count in range(1, 5):
            alert = await it.alert_for(*messages[:count], then_end=True)
            assert alert.message == "the other side has ended before the file did"
        assert files_in(it.there) == {f".{NAME}.part": CONTENT[:CHUNK_BYTES]}


async def test_content_that_is_not_what_was_sent_gets_no_name_and_the_next_try_mends_it(tmp_path: Path) -> None:
    async with place(tmp_path) as it:
        wrong = bytes(len(CONTENT))
        chunks = [wrong[start : start + CHUNK_BYTES] for start in range(0, len(wrong), CHUNK_BYTES)]
        alert = await it.alert_for(Request("put", NAME), Size(len(wrong)), From(0), *chunks, Sent(sha(CONTENT)))
        assert alert.code == Why.DIGEST_DIFFERS
        assert NAME not in files_in(it.there)
        await it.put()
        assert files_in(it.there) == {NAME: CONTENT}


async def test_too_large_a_file_is_refused_before_anything_of_it_is_kept(tmp_path: Path) -> None:
    async with place(tmp_path) as it:
        for size in (LARGEST + 1, 2**63 - 1):
            alert = await it.alert_for(Request("put", NAME), Size(size), From(0), b"x")
            assert alert.code == Why.TOO_LARGE
        await it.put()
        with pytest.raises(TransferFailed, match="are allowed"):
            await it.get(largest=len(CONTENT) - 1)
        assert files_in(it.here) == {}
        await it.get(largest=len(CONTENT))


NO_MESSAGES = {
    "nothing": b"",
    "garbage": b"\xff{",
    "another kind": msgspec.json.encode(Size(1)),
    "an unknown action": b'{"type":"request","action":"drop","name":"x"}',
    "an unknown field": b'{"type":"request","action":"put","name":"x","mode":"0777"}',
    "a name that is no text": b'{"type":"request","action":"put","name":1}',
    "a lone surrogate": b'{"type":"request","action":"put","name":"\\ud800"}',
    "a deep nest": b"[" * CHUNK_BYTES,
}


@pytest.mark.parametrize("name", NO_MESSAGES)
async def test_what_is_no_request_gets_an_alert(name: str, tmp_path: Path) -> None:
    async with place(tmp_path) as it:
        alert = await it.alert_for(NO_MESSAGES[name], Size(0))
        assert alert.code in (ss.AlertCode.PROTOCOL_ERROR, Why.BAD_NAME)
        assert len(alert.message) <= 200
        assert files_in(it.there) == {}


@pytest.mark.parametrize("size", [b"-1", b"1.5", b"1e30", b"9223372036854775808", b'"1"', b"null"])
async def test_what_is_no_size_gets_an_alert(size: bytes, tmp_path: Path) -> None:
    async with place(tmp_path) as it:
        alert = await it.alert_for(Request("put", NAME), b'{"type":"size","size":%b}' % size)
        assert alert.code == ss.AlertCode.PROTOCOL_ERROR
        assert files_in(it.there) == {}


async def test_a_digest_of_a_part_that_is_longer_than_the_file_has_it_sent_from_the_beginning(tmp_path: Path) -> None:
    async with place(tmp_path) as it:
        await it.put()
        async with it.channel() as channel:
            await send(channel, Request("get", NAME))
            assert (await receive(channel, Size)).size == len(CONTENT)
            await send(channel, Have(2**63 - 1, bytes(32)))
            assert (await receive(channel, From)).offset == 0
            received = b"".join([await channel.receive() for _ in range(-(-len(CONTENT) // CHUNK_BYTES))])
            assert received == CONTENT
            assert (await receive(channel, Sent)).digest == sha(CONTENT)
            await send(channel, Kept())


async def test_two_transfers_of_one_file_don_t_mix(tmp_path: Path) -> None:
    async with place(tmp_path) as it, it.channel() as slow:
        await send(slow, Request("put", NAME))
        await send(slow, Size(len(CONTENT)))
        await receive(slow, Have)
        with pytest.raises(ss.PeerAlert) as caught:
            await it.put()
        assert caught.value.alert.code == Why.FILE_BUSY
        await slow.stream.send_alert()
        await until(lambda: not locked(it.there / NAME))
        await it.put()
        assert files_in(it.there) == {NAME: CONTENT}


# --- what the machine refuses -------------------------------------------------------------------------


async def test_a_file_that_is_not_there_is_said_to_be_so_and_leaves_nothing(tmp_path: Path) -> None:
    async with place(tmp_path) as it:
        with pytest.raises(ss.PeerAlert) as caught:
            await it.get()
        assert caught.value.alert.code == Why.NO_SUCH_FILE
        assert files_in(it.here) == {}


async def test_where_there_is_no_room_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def little(folder: Folder) -> int:
        return len(CONTENT) - 1

    monkeypatch.setattr(Folder, "free_bytes", little)
    async with place(tmp_path) as it:
        with pytest.raises(ss.PeerAlert, match="no room") as caught:
            await it.put()
        assert caught.value.alert.code == Why.CANT_KEEP
        assert files_in(it.there) == {}


async def test_a_file_that_becomes_shorter_while_it_is_sent_is_not_taken_for_whole(tmp_path: Path) -> None:
    async with place(tmp_path) as it:

        def shorten(done: int, size: int) -> None:
            os.truncate(tmp_path / "to send", CHUNK_BYTES)

        with pytest.raises(TransferFailed, match="became shorter"):
            await it.put(progress=shorten)
        await until(lambda: not locked(it.there / NAME))
        assert files_in(it.there) == {f".{NAME}.part": CONTENT[:CHUNK_BYTES]}


@pytest.mark.parametrize("messages", [[], [Request("put", NAME)]])
async def test_a_client_that_falls_silent_is_told_so(
    messages: list[Message], tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Before any thread of the server's works for it: the clock would jump over that."""
    client_config, server_config = matching_configs()
    with opened(tmp_path) as folder:
        async with (
            serving(FileServer(folder, LARGEST).handle, server_config) as server,
            ss.MessageChannel(await server.connect(client_config)) as channel,
        ):
            for message in messages:
                await send(channel, message)
            with pytest.raises(ss.PeerAlert, match="nothing has moved for 60 s"):
                await channel.receive()


# --- as processes -------------------------------------------------------------------------------------


async def test_a_server_that_is_killed_in_the_middle_goes_on_after_its_restart(tmp_path: Path) -> None:
    home = Home(tmp_path)
    os.mkdir(shared := tmp_path / "shared")
    path = tmp_path / "large"
    path.write_bytes(os.urandom(2**20) * 32)  # more than the kernel takes ahead
    begun = Seen()
    port = free_ports()
    async with home.serving("files", "--folder", shared, port=port) as (server, connection):
        address = ss.read_address_file(connection)
        with FileIO(path) as file, pytest.raises(ss.StreamError):
            await put(partial(ss.connect, address), NAME, file, stop_at(2**24, server.kill))
        assert await server.wait() == -signal.SIGKILL
    assert list(files_in(shared)) == [f".{NAME}.part"]
    async with home.serving("files", "--folder", shared, port=port):
        with FileIO(path) as file:
            await put(partial(ss.connect, address), NAME, file, begun)
    assert begun[0] > 0
    assert (shared / NAME).read_bytes() == path.read_bytes()


async def test_a_full_disk_is_said_to_be_so_and_what_was_kept_is_no_file(tmp_path: Path) -> None:
    """A limit on the size of a file in the place of the disk's: the system refuses the same call."""
    home = Home(tmp_path)
    os.mkdir(shared := tmp_path / "shared")
    (tmp_path / NAME).write_bytes(CONTENT)
    limited = ("bash", "-c", 'ulimit -f 300; exec "$@"', "bash")
    async with home.serving("files", "--folder", shared, before=limited) as (_, connection):
        result = await ran("files", "client", connection, "put", tmp_path / NAME)
    assert result.status == 3
    assert result.err == "the peer ended the stream: alert 5006: the file can't be kept: File too large\n"
    assert files_in(shared) == {f".{NAME}.part": CONTENT[: 300 * 1_024]}


async def test_a_file_that_is_not_here_is_one_line_and_nobody_is_connected_to(tmp_path: Path) -> None:
    result = await ran("files", "client", Home(tmp_path).connection(1), "put", tmp_path / "missing")
    assert result.status == 1
    assert result.err.count("\n") == 1
    assert "No such file" in result.err


async def test_a_name_that_can_t_be_sent_is_said_to_be_so_without_a_number(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_bytes(b"x")
    result = await ran("files", "client", Home(tmp_path).connection(1), "put", tmp_path / ".hidden")
    assert result.status == 1
    assert result.err == "a name has 1 to 200 bytes, does not begin with a dot, and has no / in it\n"


async def test_a_terminal_gets_a_bar_and_a_pipe_does_not(tmp_path: Path) -> None:
    home = Home(tmp_path)
    os.mkdir(shared := tmp_path / "shared")
    (tmp_path / NAME).write_bytes(CONTENT)
    async with home.serving("files", "--folder", shared) as (_, connection):
        words = command("files", "client", connection, "put", tmp_path / NAME)
        shown = await on_terminal(words)
        assert "786.4/786.4" in shown, shown
        assert await ran("files", *words[3:]) == Result(0, b"", "")
    assert files_in(shared) == {NAME: CONTENT}


async def on_terminal(words: list[str]) -> str:
    """What a command shows on standard error, where that is a terminal."""
    master, slave = os.openpty()
    shown = bytearray()

    async def look() -> None:
        async with trio.lowlevel.FdStream(master) as stream:
            with suppress(trio.BrokenResourceError):  # so a terminal ends, when nobody has it open any more
                async for chunk in stream:
                    shown.extend(chunk)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            try:
                await trio.run_process(words, stderr=slave, env={**ENVIRONMENT, "COLUMNS": "120"})
            finally:
                os.close(slave)
    return shown.decode()
