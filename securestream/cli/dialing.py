"""What the commands that connect have in common: where to, how, and what a person is told where it fails."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click
import trio
from click.core import ParameterSource

from ..service.client import open_secure_tcp_stream
from .common import FILE_NAME, Address, Failure, reason, why_unconnected
from .secrets import server_in, server_in_file

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
        type=FILE_NAME,
        envvar=CONNECT_FILE_VARIABLE,
        show_envvar=True,
        help="A file with the connection string.",
    )(function)


def server_given(
    string: str | None, file: str | None, passphrase_file: str | None, padding: PaddingPolicy
) -> ServerAddress:
    """The server of a connection string, given as it is or in a file. Raises `BadFile`, and `click.UsageError` for
    neither and for both; a file that the environment names gives way to the command line."""
    context = click.get_current_context()
    if string is not None:
        if context.get_parameter_source("connect_file") is ParameterSource.COMMANDLINE:
            raise click.UsageError("a connection string and --connect-file exclude each other", context)
        found = server_in(string, passphrase_file)
    elif file is not None:
        found = server_in_file(file, passphrase_file)
    else:
        raise click.UsageError("say where to: a connection string, or --connect-file FILE", context)
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
        raise Failure(
            f"can't connect to {where}: {why_unconnected(exc)}; is the server running, and the address right?"
        ) from None
