"""What a tunnel leads to: a TCP port, a Unix socket, or a command of its own for each connection."""

from __future__ import annotations

import os
import shlex
import shutil
from typing import TYPE_CHECKING, NamedTuple

import click
import trio

from .command_stream import CommandStream
from .common import Address, address
from .places import UnixPath, place

if TYPE_CHECKING:
    from ..streams.config import Peer

CONNECT_SECONDS = 10
_WHAT = "a target is HOST:PORT, unix:PATH, or a command"


class Command(NamedTuple):
    """A command and its arguments."""

    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return self.arguments[0]  # the others may be nobody's business


Target = Address | UnixPath | Command


def target(text: str) -> Target:
    """What is neither HOST:PORT nor unix:PATH is a command, in words as a shell has them.

    For click: raises `click.BadParameter`.
    """
    if text.startswith("unix:"):
        path = place(text)
        assert isinstance(path, UnixPath)
        return path
    try:
        return address(text)
    except click.BadParameter as exc:
        try:
            arguments = shlex.split(text)
        except ValueError:
            raise click.BadParameter("a quote in the command is not closed") from None
        if arguments and shutil.which(arguments[0]):
            return Command(tuple(arguments))
        name = f"{arguments[0]}: " if arguments else ""
        raise click.BadParameter(f"{name}{_WHAT} that is there; and {exc.message}") from None


async def open_target(where: Target, peer: Peer) -> trio.abc.HalfCloseableStream:
    """A stream to the target, for that peer. Raises `OSError`, also where it takes more than 10 s."""
    with trio.move_on_after(CONNECT_SECONDS):
        match where:
            case Address():
                return await trio.open_tcp_stream(where.host, where.port)
            case UnixPath():
                return await trio.open_unix_socket(where.path)
            case _:
                return await CommandStream.start(where.arguments, _environment(peer))
    raise TimeoutError(f"no answer within {CONNECT_SECONDS} s")


def _environment(peer: Peer) -> dict[str, str]:
    """This program's, and what a command is told of the peer that it serves. What this one was told of its own keys
    and logs is not for it: a `securestream` that it starts would take them for its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SECURESTREAM_")}
    return {
        **inherited,
        "SECURESTREAM_PEER_KEY": str(peer.public_key),
        "SECURESTREAM_PEER_NAME": peer.name,
        "SECURESTREAM_PEER_ADDRESS": peer.address,
    }
