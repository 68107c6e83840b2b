"""What the commands that connect have in common: where to and how, and what a person is told where it fails."""

from __future__ import annotations

import logging
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, ParamSpec, TypedDict, TypeVar

import click
import trio
from click.core import ParameterSource

from ..protocol.keys import PrivateKey, PublicKey
from ..protocol.tls_keys import KeyHash, TlsPrivateKey
from ..service.address import Address as ServerAddress
from ..service.client import open_secure_tcp_stream
from ..streams.config import ClientConfig
from ..streams.tls import TlsClientConfig
from ..trust.servers import KnownServersFile
from .common import (
    FILE_NAME,
    Address,
    Failure,
    address,
    load,
    padding_option,
    post_quantum_option,
    public_key,
    reason,
    why_unconnected,
)
from .known import known_servers_options, trusted_server
from .logs import event_instruments, events_option, log_to_stderr
from .secrets import key_option, load_own_key, load_secret, passphrase_option, server_in, server_in_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.hybrid import PostQuantum
    from ..protocol.padding import PaddingPolicy
    from ..protocol.tls_keys import OwnKey, PeerKey
    from ..streams.secure import SecureStream

    Stream = SecureStream[trio.SocketStream]

P = ParamSpec("P")
R = TypeVar("R")

CONNECT_FILE_VARIABLE = "SECURESTREAM_CONNECT_FILE"


class Dialing(TypedDict):
    """The values of `dialing_options`."""

    server_key: PeerKey | None
    known_servers: str | None
    trust_first_use: bool
    key: str | None
    secret_file: str | None
    post_quantum: PostQuantum | None
    connect_file: str | None
    passphrase_file: str | None
    padding: PaddingPolicy
    events: bool


# Those that say what a connection string says itself.
_OF_AN_ADDRESS = ("server_key", "known_servers", "trust_first_use", "key", "secret_file", "post_quantum")


def where_to(text: str) -> Address | str:
    """HOST:PORT, or a connection string. For click: raises `click.BadParameter`."""
    return text if "=" in text else address(text)


def dialing_options(function: Callable[P, R]) -> Callable[P, R]:
    """Gives a command the options of `Dialing`."""
    options = (
        click.option(
            "--server-key", metavar="PUBKEY", type=public_key, help="The server's public key; over TLS its hash."
        ),
        known_servers_options,
        key_option("This client's private key. Without: a fresh one, for once."),
        click.option(
            "--secret-file",
            metavar="FILE",
            type=FILE_NAME,
            help="The shared secret, for servers that demand one.",
        ),
        post_quantum_option,
        click.option(
            "--connect-file",
            metavar="FILE",
            type=FILE_NAME,
            envvar=CONNECT_FILE_VARIABLE,
            show_envvar=True,
            help="A file with the connection string.",
        ),
        passphrase_option,
        padding_option,
        events_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


def server_given(where: Address | str | None, given: Dialing) -> ServerAddress:
    """The server that a command line names, and how to connect to it; what the library logs goes to standard error.

    It is HOST:PORT and the options that go with it, or a connection string, as it is or in a file. Raises `BadFile`,
    and `click.UsageError` for neither and for both; a file that the environment names gives way to the command line.
    """
    log_to_stderr(logging.WARNING)
    found = _by_options(where, given) if isinstance(where, Address) else _by_string(where, given)
    config = replace(found.config, padding=given["padding"], instruments=event_instruments(given["events"]))
    return replace(found, config=config)


def _by_options(where: Address, given: Dialing) -> ServerAddress:
    if _is_given("connect_file"):
        raise wrong_usage("HOST:PORT and --connect-file exclude each other")
    server = trusted_server(where, given["server_key"], given["known_servers"], given["trust_first_use"])
    key, secret_file, passphrase_file = given["key"], given["secret_file"], given["passphrase_file"]
    own = load_own_key(key, passphrase_file) if key is not None else None
    pinned = server.only_key() if isinstance(server, KnownServersFile) else server
    if isinstance(pinned, KeyHash) or isinstance(own, TlsPrivateKey):
        return ServerAddress(where.host, where.port, _over_tls(server, own, given))
    config = ClientConfig(
        server_key=server,
        key=own,
        secret=load_secret(secret_file, passphrase_file) if secret_file is not None else None,
        post_quantum=given["post_quantum"] or "prefer",
    )
    return ServerAddress(where.host, where.port, config)


def _over_tls(server: PeerKey | KnownServersFile, own: OwnKey | None, given: Dialing) -> TlsClientConfig:
    """One of the keys is for TLS. Raises `click.UsageError` where the other is not, or something else isn't."""
    if isinstance(server, PublicKey) or isinstance(own, PrivateKey):
        raise wrong_usage("one of --key and --server-key is for TLS, and the other is not")
    for option, value in (("--secret-file", given["secret_file"]), ("--post-quantum", given["post_quantum"])):
        if value:
            raise wrong_usage(f"{option} is not for TLS, which the keys are for")
    return load(lambda _: TlsClientConfig(server_key=server, key=own), "")


def _by_string(string: str | None, given: Dialing) -> ServerAddress:
    for name in _OF_AN_ADDRESS:
        if _is_given(name):
            raise wrong_usage(f"--{name.replace('_', '-')} goes with HOST:PORT; a connection string says it itself")
    file, passphrase_file = given["connect_file"], given["passphrase_file"]
    if string is not None:
        if _is_given("connect_file"):
            raise wrong_usage("a connection string and --connect-file exclude each other")
        return server_in(string, passphrase_file)
    if file is None:
        raise wrong_usage("say where to: a connection string, or --connect-file FILE")
    return server_in_file(file, passphrase_file)


def _is_given(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE


def wrong_usage(message: str) -> click.UsageError:
    """For the command that runs."""
    return click.UsageError(message, click.get_current_context())


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
