"""What the commands that connect have in common: where to, how, and what a person is told where it fails."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click
import trio

from ..service.address import read_address_file
from ..service.client import open_secure_tcp_stream
from ..streams.secure import leaves
from .common import Address, Failure, load, reason
from .secrets import passphrase_for, server_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.padding import PaddingPolicy
    from ..service.address import Address as ServerAddress
    from ..streams.secure import SecureStream

    Stream = SecureStream[trio.SocketStream]

P = ParamSpec("P")
R = TypeVar("R")

CONNECT_FILE_VARIABLE = "SECURESTREAM_CONNECT_FILE"


def connect_file_option(function: Callable[P, R]) -> Callable[P, R]:
    """`--connect-file FILE`, or the file that the environment names."""
    return click.option(
        "--connect-file",
        metavar="FILE",
        envvar=CONNECT_FILE_VARIABLE,
        show_envvar=True,
        help="A file with the connection string.",
    )(function)


def server_given(
    string: str | None, file: str | None, passphrase_file: str | None, padding: PaddingPolicy
) -> ServerAddress:
    """The server of a connection string, given as it is or in a file. Raises `BadFile`, and `click.UsageError` for
    neither; the string on the command line is the one that counts, for the file may be the environment's."""
    if string is not None:
        found = server_in(string, passphrase_file)
    elif file is not None:
        passphrase = passphrase_for(passphrase_file, "what the connection string names")
        found = load(partial(read_address_file, passphrase=passphrase), file)
    else:
        raise click.UsageError("say where to: a connection string, or --connect-file FILE", click.get_current_context())
    return replace(found, config=replace(found.config, padding=padding))


async def open_stream(server: ServerAddress) -> Stream:
    """Raises `Failure` where there is no connection, and what a failed handshake raises."""
    where = Address(server.host, server.port)
    try:
        with trio.fail_after(server.timeout):
            return await open_secure_tcp_stream(server.host, server.port, server.config)
    except trio.TooSlowError:
        raise Failure(f"no connection to {where} within {server.timeout:g} s: is the address right?") from None
    except UnicodeError:
        raise Failure(f"{where.host}: not the name of a host") from None
    except socket.gaierror as exc:
        raise Failure(f"{where.host}: {reason(exc)}; is the name spelled right?") from None
    except OSError as exc:
        # One error, or one for each of the host's addresses.
        numbers = {leaf.errno for leaf in leaves(exc.__cause__ or exc) if isinstance(leaf, OSError) and leaf.errno}
        text = ", ".join(map(os.strerror, sorted(numbers))) or str(exc)
        raise Failure(f"can't connect to {where}: {text}; is the server running, and the address right?") from None
