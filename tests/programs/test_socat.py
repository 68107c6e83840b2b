"""A shell at the other end of a tunnel, as with SSH: socat gives it a terminal, and another socat ours."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
from typing import TYPE_CHECKING

import trio

from ..cli.support import Keys, read_all, tunnel
from .support import PATIENCE, need

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Nothing is typed before it is there: what a terminal gets while its modes are still being set can be lost.
PROMPT = b"ready%"


class Terminal:
    """What a person sees and types."""

    def __init__(self, descriptor: int) -> None:
        self._stream = trio.lowlevel.FdStream(descriptor)
        self.shown = b""

    async def type(self, text: bytes) -> None:
        await self._stream.send_all(text)

    async def until(self, text: bytes) -> None:
        """Until it shows `text`, beyond what it has shown before."""
        while text not in self.shown:
            self.shown += await self._stream.receive_some()
        self.shown = self.shown.partition(text)[2]

    async def aclose(self) -> None:
        await self._stream.aclose()


@contextlib.asynccontextmanager
async def terminal_at(port: int) -> AsyncIterator[tuple[Terminal, trio.Process]]:
    ours, inside = pty.openpty()
    command = [need("socat"), "-d", "-,rawer", f"TCP:127.0.0.1:{port}"]
    process = await trio.lowlevel.open_process(command, stdin=inside, stdout=inside, stderr=subprocess.PIPE)
    terminal = Terminal(ours)
    try:
        with trio.fail_after(PATIENCE):
            yield terminal, process
    finally:
        process.kill()
        os.close(inside)
        with trio.CancelScope(shield=True):
            await process.wait()
            await terminal.aclose()
            assert process.stderr is not None
            await process.stderr.aclose()


def shell() -> str:
    """The command of an interactive shell in a terminal of its own, with a prompt that no typed line contains."""
    return f"{need('socat')} - EXEC:'env PS1={PROMPT.decode()} sh -i',pty,stderr,setsid,sigint,sane,ctty"


async def test_a_shell_takes_lines_control_characters_and_its_end(keys: Keys) -> None:
    async with tunnel(keys, shell()) as between, terminal_at(between.port) as (terminal, process):
        await terminal.until(PROMPT)
        await terminal.type(b"echo $((6 * 7)); tty\n")
        await terminal.until(b"42")
        await terminal.until(b"/dev/pts/")
        await terminal.until(PROMPT)
        await terminal.type(b"sh -c 'echo slee''ping; exec sleep 1000'\n")
        await terminal.until(b"sleeping")  # so it has the terminal, and a Ctrl-C is for it
        await terminal.type(b"\x03")
        await terminal.until(PROMPT)
        await terminal.type(b"exit\n")
        assert await process.wait() == 0


async def test_a_killed_server_ends_the_terminal_with_an_error(keys: Keys) -> None:
    async with tunnel(keys, shell()) as between, terminal_at(between.port) as (terminal, process):
        await terminal.until(PROMPT)
        await terminal.type(b"echo $((6 * 7))\n")
        await terminal.until(b"42")
        between.server.kill()
        await process.wait()
        assert b"Connection reset by peer" in await read_all(process.stderr)
