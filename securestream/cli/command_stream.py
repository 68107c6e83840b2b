"""A command's standard input and output as one stream, which ends in order only where the command does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Self, final

import trio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# How long a command may go on behind the end of its output, and how long once nobody is there any more.
_EXIT_SECONDS = 1.0
_GOODBYE_SECONDS = 5.0
_DEATH_SECONDS = 1.0  # for one that is killed: a moment, unless it is stuck in its kernel


@final
class CommandStream(trio.abc.HalfCloseableStream):
    """What is sent goes to the command's standard input, what it writes to its standard output is received; its
    standard error is this program's. Made by `start`. A command that fails is no end of its output: receiving raises
    `trio.BrokenResourceError` in place of it.

    It is the first of a process group of its own, so that closing ends what it has started, too.
    """

    def __init__(self, process: trio.Process, stdin: trio.abc.SendStream, stdout: trio.abc.ReceiveStream) -> None:
        self._process = process
        self._stdin = stdin
        self._stdout = stdout

    @classmethod
    async def start(cls, arguments: Sequence[str], environment: Mapping[str, str]) -> Self:
        """Starts the command. Raises `OSError` where it can't."""
        process = await trio.lowlevel.open_process(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        return cls(process, process.stdin, process.stdout)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stdin.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stdin.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stdin.aclose()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stdout.receive_some(max_bytes)
        if not data:
            with trio.move_on_after(_EXIT_SECONDS):
                await self._process.wait()
            if self._process.returncode:
                raise trio.BrokenResourceError(f"the command failed with status {self._process.returncode}")
        return data

    async def aclose(self) -> None:
        """Closes its input and output, gives it 5 s to end, and kills what is left. Cancelled, it kills at once, and
        before the command could take the end of its input for a whole one."""
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            await self._close_pipes()
            with trio.move_on_after(_GOODBYE_SECONDS):
                await self._process.wait()
        finally:
            self._kill()
            with trio.CancelScope(shield=True):
                with trio.move_on_after(_DEATH_SECONDS):
                    await self._process.wait()
                await self._close_pipes()

    async def _close_pipes(self) -> None:
        await self._stdin.aclose()
        await self._stdout.aclose()

    def _kill(self) -> None:
        """What is left of its group. One of another user, say sudo's, goes by itself, if at all."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is None or not _is_there(self._process.pid):
                os.killpg(self._process.pid, signal.SIGKILL)


def _is_there(pid: int) -> bool:
    """Whether there is a process of this number. Once a command was waited for, that is another one."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True  # a `PermissionError` is for who asks
