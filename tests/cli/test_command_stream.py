"""A command as a stream: what it may take for an end, what closing does to others, and what it inherits."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import trio
import trio.testing

from securestream.cli.command_stream import CommandStream
from securestream.cli.targets import Command, open_target
from securestream.protocol.dev import NOBODY
from securestream.streams.config import Peer

from .support import PATIENCE

if TYPE_CHECKING:
    import pytest
    from trio.testing import MockClock


async def a_command(*arguments: str) -> trio.Process:
    return await trio.lowlevel.open_process(arguments, stdin=subprocess.DEVNULL, start_new_session=True)


async def test_a_command_that_is_cut_off_is_killed_before_the_end_of_its_input() -> None:
    with trio.fail_after(PATIENCE):
        process = await a_command("sleep", "1000")
        seen: list[int | None] = []
        stdin = trio.testing.MemorySendStream(close_hook=lambda: seen.append(process.returncode))
        await trio.aclose_forcefully(CommandStream(process, stdin, trio.testing.MemoryReceiveStream()))
    assert seen[0] == -signal.SIGKILL


async def test_a_number_that_is_another_process_by_now_is_left_alone() -> None:
    with trio.fail_after(PATIENCE):
        ended, other = await a_command("true"), await a_command("sleep", "1000")
        await ended.wait()
        ended.pid = other.pid
        stream = CommandStream(ended, trio.testing.MemorySendStream(), trio.testing.MemoryReceiveStream())
        await trio.aclose_forcefully(stream)
        other.terminate()
        assert await other.wait() == -signal.SIGTERM


async def test_a_command_that_can_not_be_killed_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    process = await a_command("sleep", "1000")
    stream = CommandStream(process, trio.testing.MemorySendStream(), trio.testing.MemoryReceiveStream())
    with monkeypatch.context() as another_user, trio.fail_after(60):
        another_user.setattr(os, "killpg", refuse)
        await stream.aclose()
    process.kill()
    await process.wait()


async def test_a_command_does_not_inherit_the_keys_and_logs_of_the_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURESTREAM_KEY_FILE", "server.key")
    monkeypatch.setenv("SECURESTREAM_KEYLOG", "keys.log")
    peer = Peer(public_key=NOBODY, address="192.0.2.1:4711")
    with trio.fail_after(PATIENCE):
        async with await open_target(Command(("env",)), peer) as stream:
            output = b"".join([bytes(chunk) async for chunk in stream]).decode()
    ours = sorted(line for line in output.splitlines() if line.startswith("SECURESTREAM_"))
    assert ours == [
        "SECURESTREAM_PEER_ADDRESS=192.0.2.1:4711",
        "SECURESTREAM_PEER_KEY=" + str(NOBODY),
        "SECURESTREAM_PEER_NAME=",
    ]
