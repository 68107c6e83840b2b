"""The log tail: three ends, and none is taken for another; and readers who don't read."""

from __future__ import annotations

import os
import signal
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from examples import log_tail
from examples._command import Failure
from examples.log_tail import LOG_TRUNCATED, LOG_UNREADABLE, TAIL_BYTES, TOO_SLOW, LogTail, fail_in_silence, follow
from securestream.testing import secure_lockstep_stream_pair, secure_memory_stream_pair

from ..cli.support import read_line
from ..service.support import serving
from ..streams.support import PATIENCE, matching_configs
from .programs import Home, rest_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from trio.testing import MockClock


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log with two lines, that is looked at often."""
    monkeypatch.setattr(log_tail, "LOOK_SECONDS", 0.01)
    path = tmp_path / "app.log"
    path.write_bytes(b"one\ntwo\n")
    return path


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def move_away(log: Path, server: trio.Process | None = None) -> None:
    log.rename(log.with_suffix(".1"))


# --- following a file ---------------------------------------------------------------------------------


async def test_what_is_there_and_what_is_appended_comes_until_the_file_is_removed(log: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with aclosing(follow(str(log))) as chunks:
            assert await anext(chunks) == b"one\ntwo\n"
            for number in range(3):
                append(log, b"%d\n" % number)
                assert await anext(chunks) == b"%d\n" % number
            append(log, b"the last\n")
            os.remove(log)
            assert [chunk async for chunk in chunks] == [b"the last\n"]


async def test_a_file_that_is_replaced_is_at_its_end(log: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with aclosing(follow(str(log))) as chunks:
            await anext(chunks)
            move_away(log)
            append(log, b"another log\n")
            assert [chunk async for chunk in chunks] == []


async def test_a_long_log_comes_from_a_line_s_beginning(log: Path) -> None:
    append(log, b"".join(b"line %d\n" % number for number in range(10_000)))
    async with aclosing(follow(str(log))) as chunks:
        tail = await anext(chunks)
    assert TAIL_BYTES - 20 < len(tail) <= TAIL_BYTES
    assert tail.startswith(b"line ")
    assert tail.endswith(b"line 9998\nline 9999\n")


async def test_a_log_that_becomes_shorter_is_a_failure(log: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with aclosing(follow(str(log))) as chunks:
            await anext(chunks)
            os.truncate(log, 3)
            with pytest.raises(ss.StreamFailure, match="truncated") as caught:
                await anext(chunks)
    assert caught.value.alert.code == LOG_TRUNCATED


# --- the handler --------------------------------------------------------------------------------------


async def test_a_reader_who_talks_is_told_that_he_has_nothing_to_say(log: Path) -> None:
    client, server = matching_configs()
    with trio.fail_after(PATIENCE):
        async with serving(LogTail(str(log)).handle, server) as served, await served.connect(client) as stream:
            await stream.send_all(b"hello")
            with pytest.raises(ss.PeerAlert, match="nothing to say"):
                async for _ in stream:
                    pass


@pytest.mark.parametrize("leave", [ss.SecureStream.aclose, trio.aclose_forcefully])
async def test_a_reader_who_goes_ends_his_handler_though_the_log_is_silent(
    leave: Callable[[ss.SecureStream[trio.abc.Stream]], Awaitable[None]], log: Path
) -> None:
    ended = trio.Event()

    async def handle(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        try:
            await LogTail(str(log)).handle(stream)
        finally:
            ended.set()

    client, server = matching_configs(close_timeout=0.1)
    with trio.fail_after(PATIENCE):
        async with serving(handle, server) as served:
            stream = await served.connect(client)
            await stream.receive_some()
            await leave(stream)
            await ended.wait()


async def test_a_reader_who_takes_nothing_is_told_so(autojump_clock: MockClock) -> None:
    near, far = await secure_lockstep_stream_pair()
    with pytest.raises(ss.StreamFailure, match="not taken in 60 s") as caught:
        await log_tail.send_in_time(far, b"x")
    assert caught.value.alert.code == TOO_SLOW
    await trio.aclose_forcefully(near)
    await trio.aclose_forcefully(far)


# --- the client ---------------------------------------------------------------------------------------


async def test_a_silent_network_is_a_cut_log(autojump_clock: MockClock) -> None:
    near, far = await secure_memory_stream_pair()
    async with near, far:
        with pytest.RaisesGroup(pytest.RaisesExc(Failure, match=r"cut.*nothing came for 20 s")):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(near.receive_some)
                await fail_in_silence(near)


async def test_a_silent_log_is_none(autojump_clock: MockClock) -> None:
    """The server's empty records are heard, which carry nothing."""
    near, far = await secure_memory_stream_pair()
    async with near, far:
        with trio.move_on_after(1_000) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(near.receive_some)
                nursery.start_soon(ss.send_cover_traffic, far, log_tail.KEEP_ALIVE_SECONDS)
                await fail_in_silence(near)
        assert scope.cancelled_caught


# --- as processes -------------------------------------------------------------------------------------


def truncate(log: Path, server: trio.Process) -> None:
    os.truncate(log, 0)


def kill(log: Path, server: trio.Process) -> None:
    server.send_signal(signal.SIGKILL)


def terminate(log: Path, server: trio.Process) -> None:
    server.send_signal(signal.SIGTERM)


ENDS: dict[Callable[[Path, trio.Process], None], tuple[int, str]] = {
    move_away: (0, ""),
    kill: (1, "the log was cut, and there may be more: the connection ended in the middle of the stream\n"),
    truncate: (3, "the peer ended the stream: alert 5001: the log was truncated, and lines may be missing\n"),
    terminate: (3, "the peer ended the stream: alert 14 (shutting_down): this server is shutting down\n"),
}


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_the_reader_is_told_which_end_it_was(
    end: Callable[[Path, trio.Process], None], log: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path)
    async with home.serving("log_tail", "--log", log) as (server, at), home.client("log_tail", at) as client:
        assert [await read_line(client) for _ in range(2)] == ["one\n", "two\n"]
        append(log, "drei \x1b[2J größer\n".encode())
        assert await read_line(client) == "drei \\x1b[2J größer\n"
        end(log, server)
        ended = await rest_of(client)
    status, text = ENDS[end]
    assert (ended.status, ended.out, ended.err) == (status, b"", text)


async def test_a_log_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    home = Home(tmp_path)
    async with (
        home.serving("log_tail", "--log", tmp_path / "none") as (_, connection),
        home.client("log_tail", connection) as it,
    ):
        ended = await rest_of(it)
    assert ended.status == 3
    assert f"alert {LOG_UNREADABLE}: the log can't be read: No such file or directory" in ended.err
