"""What the programs of this folder share: a command line, a server that ends in order, and errors in one line.

    python -m examples.NAME server --key server.key --clients clients --listen 127.0.0.1:9222
    python -m examples.NAME client connection

Secrets are in files: every user of the machine can read a command line.

Exit status: 0 when all went well; 1 for no connection, or one that was cut; 2 for wrong usage, or a file that can't be
used; 3 for an alert from the other side.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, NoReturn, TypeVar

import trio

import securestream as ss

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    Stream = ss.SecureStream[trio.SocketStream]

T = TypeVar("T")
GRACE_SECONDS = 3  # for what is at work when the server is told to end


class Failure(Exception):
    """What was to be done could not be done. The text is for people."""


# --- the command line ---------------------------------------------------------------------------------


def command_line(
    name: str, doc: str | None
) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser, argparse.ArgumentParser]:
    """The parser, and its two for the server's and the client's side, to which a program adds what is its own.

    `.side` is which of them it was; `.key`, `.clients` and `.listen` are the server's, `.address` the client's.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(f"python -m examples.{name}", description=doc, formatter_class=raw)
    sides = parser.add_subparsers(dest="side", metavar="server|client", required=True)
    server = sides.add_parser("server", help="serve the clients of a list")
    server.add_argument("--key", metavar="FILE", default="server.key", type=checked(ss.read_key_file))
    server.add_argument("--clients", metavar="FILE", default="clients", type=checked(ss.AuthorizedPeersFile))
    server.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:9222", type=checked(host_and_port))
    client = sides.add_parser("client", help="connect to a server")
    address = checked(ss.read_address_file)
    client.add_argument("address", metavar="FILE", type=address, help="holds the connection string")
    return parser, server, client


def checked(read: Callable[[str], T]) -> Callable[[str], T]:
    """For argparse: what `read` makes of an argument, with its own words for what is wrong; they repeat no secret."""

    def convert(text: str) -> T:
        try:
            return read(text)
        except OSError as exc:
            name = "" if "=" in text else f": {text}"  # a connection string where its file should be may hold a secret
            raise argparse.ArgumentTypeError(f"{exc.strerror}{name}") from None
        except (ValueError, ImportError) as exc:
            raise argparse.ArgumentTypeError(str(exc)) from None

    return convert


def host_and_port(text: str) -> tuple[str, int]:
    """HOST:PORT, an IPv6 address in brackets. Raises `ValueError`."""
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) < 65_536):
        raise ValueError("it is HOST:PORT, as 127.0.0.1:9222")
    return host.strip("[]"), int(port)


def count(text: str) -> int:
    """Raises `ValueError` for what isn't a number from 1 up."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError("it is a number from 1 up")
    return int(text)


# --- running ------------------------------------------------------------------------------------------


async def serve(
    handler: Callable[[Stream], Awaitable[object]],
    arguments: argparse.Namespace,
    *,
    limits: ss.Limits | None = None,
    keep_alive: float = math.inf,
) -> None:
    """Serves until SIGTERM or Ctrl-C, and then ends in order. Who is taken out of the list is cut off."""
    config = ss.ServerConfig(
        key=arguments.key,
        authorize=arguments.clients,
        recheck=1.0,
        limits=limits or ss.Limits(),
        keep_alive=keep_alive,
    )
    host, port = arguments.listen
    with ss.drain_on(signal.SIGTERM, signal.SIGINT, grace=GRACE_SECONDS) as drain:
        async with trio.open_nursery() as nursery:
            serving = partial(ss.serve_secure_tcp, handler, port, config, host=host, drain=drain)
            try:
                listeners = await nursery.start(serving)
            except OSError as exc:
                raise Failure(f"can't listen on {host}:{port}: {exc.strerror}") from exc
            port = listeners[0].socket.getsockname()[1]
            where = f"[{host}]" if ":" in host else host
            print(f"Listening on {where}:{port} as {config.key.public_key}", flush=True)


def run(work: Callable[[], Awaitable[object]]) -> NoReturn:
    """Runs it, and exits. What can go wrong is one line on standard error; what nobody has foreseen, a traceback."""
    logging.basicConfig(format="%(name)s: %(message)s")
    status = 0
    try:
        trio.run(work)
    except* KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except* (OSError, trio.TooSlowError, ss.StreamError, ss.StreamFailure, Failure) as group:
        exc = first_in(group)
        print(printable(in_words(exc)), file=sys.stderr)
        status = 3 if isinstance(exc, ss.PeerAlert) and not isinstance(exc, ss.HandshakeError) else 1
    sys.exit(status)


def first_in(group: BaseException) -> BaseException:
    """Of the errors in a group the first."""
    return first_in(group.exceptions[0]) if isinstance(group, BaseExceptionGroup) else group


def in_words(exc: BaseException) -> str:
    """One line for people. Trio's error for "no connection" keeps what the system said of each address below it."""
    if isinstance(exc, ss.StreamFailure):
        return exc.alert.message  # what the other side was told
    if isinstance(exc, OSError) and isinstance(exc.__cause__, BaseExceptionGroup):
        first = first_in(exc.__cause__)
        return f"{exc}: {os.strerror(first.errno)}" if isinstance(first, OSError) and first.errno else str(exc)
    return str(exc)


# --- standard input and output ------------------------------------------------------------------------


async def read_input(max_bytes: int = 65_536) -> bytes:
    """What is there of standard input, at least a byte; b"" at its end. Cancelled, it leaves its thread waiting, which
    ends with the process: a terminal can't be asked without waiting in a way that works for pipes and files, too."""
    return await trio.to_thread.run_sync(os.read, 0, max_bytes, abandon_on_cancel=True)


async def input_lines(max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The lines of standard input, without their ends; a longer one comes in pieces of `max_bytes`."""
    rest = b""
    while data := await read_input(max_bytes):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            for start in range(0, len(line) or 1, max_bytes):
                yield line[start : start + max_bytes]
        while len(rest) > max_bytes:
            yield rest[:max_bytes]
            rest = rest[max_bytes:]
    if rest:
        yield rest


async def write_output(data: bytes | bytearray) -> None:
    """To standard output. Raises `OSError`: `BrokenPipeError` where nobody reads it any more."""
    view = memoryview(data)
    while view:
        view = view[await trio.to_thread.run_sync(os.write, 1, view, abandon_on_cancel=True) :]


def printable(text: str) -> str:
    """`text` from elsewhere, with all that could steer a terminal escaped, but for line ends and tabs."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
