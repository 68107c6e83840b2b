"""A room where everybody hears what everybody says.

    python -m examples.chat server
    python -m examples.chat client connection

What to see here:

* Nobody logs in, and nobody can pass for somebody else: the name in front of a line is the one that the server's list
  of clients has for the key.
* Who takes nothing stalls nobody. Each member has a queue of so many lines, filled without waiting; who is that far
  behind is taken out, and told so by an alert, if he takes that.
* Who sends without end is held back: a member is read at a bounded pace, and the rest waits in TCP, not here.
* A line has a bounded length, is UTF-8, and has nothing in it that steers a terminal; another one ends its sender's
  connection, with the reason.
"""

from __future__ import annotations

from contextlib import aclosing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

import securestream as ss

from ._command import command_line, input_lines, printable, run, serve, write_output

if TYPE_CHECKING:
    from collections.abc import Iterator

    AnyStream = ss.SecureStream[trio.abc.Stream]

MAX_SAID = 1_000  # bytes of one line
MAX_MESSAGE = 2_000  # with a name in front
MAX_NAME = 100  # characters
QUEUE_LINES = 100
LINES_A_SECOND = 50  # of all members together, so that a full room can keep up with a full room
LEAVE_SECONDS = 5  # to take what was said before one left
TOO_SLOW = 5_001  # this program's own alert


# --- the server ---------------------------------------------------------------------------------------


class Member:
    """Somebody in the room, and the lines on their way to him."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.scope = trio.CancelScope()
        self.is_too_slow = False
        self._said, self.lines = trio.open_memory_channel[str](QUEUE_LINES)

    def hear(self, line: str) -> None:
        """Never waits: the others are not to wait for him."""
        try:
            self._said.send_nowait(line)
        except trio.WouldBlock:
            self.is_too_slow = True
            self.scope.cancel()

    def hear_no_more(self) -> None:
        """After what he was sent so far."""
        self._said.close()


class Room:
    """`handle` is a handler for `ss.serve_secure_tcp`."""

    def __init__(self) -> None:
        self._members: set[Member] = set()

    async def handle(self, stream: AnyStream) -> None:
        """One member. What it raises is what he gets to know, as an alert."""
        channel = ss.MessageChannel(stream, max_size=MAX_MESSAGE)
        member = Member((stream.peer.name or str(stream.peer.public_key))[:MAX_NAME])
        with member.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pass_on, member, channel)
                with self._entered(member):
                    await self._listen_to(member, channel)
                member.scope.deadline = trio.current_time() + LEAVE_SECONDS
        if member.is_too_slow:
            raise ss.StreamFailure(TOO_SLOW, f"you were {QUEUE_LINES} lines behind")

    @contextmanager
    def _entered(self, member: Member) -> Iterator[None]:
        self._members.add(member)
        self._say(f"* {member.name} has come")
        try:
            yield
        finally:
            self._members.remove(member)
            member.hear_no_more()
            self._say(f"* {member.name} has left")

    async def _listen_to(self, member: Member, channel: ss.MessageChannel) -> None:
        async for content in channel:
            self._say(f"{member.name}: {decode_line_untrusted(content)}")
            await trio.sleep(len(self._members) / LINES_A_SECOND)

    def _say(self, line: str) -> None:
        for member in self._members:
            member.hear(line)


async def pass_on(member: Member, channel: ss.MessageChannel) -> None:
    async for line in member.lines:
        await channel.send(line.encode())


def decode_line_untrusted(content: bytes) -> str:
    """Raises `ss.StreamFailure`, and nothing else."""
    if len(content) > MAX_SAID:
        raise ss.StreamFailure(ss.AlertCode.PROTOCOL_ERROR, f"a line has {MAX_SAID:,} bytes at most")
    try:
        line = content.decode()
    except UnicodeDecodeError:
        raise ss.StreamFailure(ss.AlertCode.PROTOCOL_ERROR, "a line is UTF-8") from None
    if not line.isprintable():
        raise ss.StreamFailure(ss.AlertCode.PROTOCOL_ERROR, "a line has no control characters in it")
    return line


# --- the client ---------------------------------------------------------------------------------------


async def take_part(address: ss.Address) -> None:
    """Says what comes on standard input, and prints what is said."""
    channel = ss.MessageChannel(await ss.connect(address), max_size=MAX_MESSAGE)
    async with channel, trio.open_nursery() as nursery:
        nursery.start_soon(say_input, channel)
        async for content in channel:
            await write_output(f"{printable(content.decode(errors='replace'))}\n".encode())
        nursery.cancel_scope.cancel()


async def say_input(channel: ss.MessageChannel) -> None:
    """To its end; and then the room is left in order, when all that was said before has been heard."""
    async with aclosing(input_lines(MAX_SAID)) as lines:
        async for line in lines:
            await channel.send(line)
    await channel.stream.send_eof()


def main() -> None:
    parser, _server, _client = command_line("chat", __doc__)
    arguments = parser.parse_args()
    if arguments.side == "server":
        run(partial(serve, Room().handle, arguments, limits=ss.Limits(connections=100), keep_alive=30))
    run(partial(take_part, arguments.address))


if __name__ == "__main__":
    main()
