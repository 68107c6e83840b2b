"""How a command gets at secrets: from files, opened by a passphrase where they are locked. Never from its arguments,
which every user of the machine can read."""

from __future__ import annotations

import getpass
import os
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from ..service.address import Address, parse_address, read_address_file
from ..trust.keyfile import read_key_file, read_own_key_file, read_passphrase_file, read_secret_file
from .common import FILE_NAME, BadFile, Failure, complain, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.keys import PrivateKey, SharedSecret
    from ..protocol.tls_keys import OwnKey

P = ParamSpec("P")
R = TypeVar("R")

KEY_VARIABLE = "SECURESTREAM_KEY_FILE"


def key_option(text: str, *, required: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """`--key FILE`, or the file that the environment names."""
    return click.option(
        "--key",
        metavar="FILE",
        type=FILE_NAME,
        required=required,
        envvar=KEY_VARIABLE,
        show_envvar=True,
        help=text,
    )


def passphrase_option(function: Callable[P, R]) -> Callable[P, R]:
    """`--passphrase-file FILE`, for what is locked, or the file that the environment names."""
    return click.option(
        "--passphrase-file",
        metavar="FILE",
        type=FILE_NAME,
        envvar="SECURESTREAM_PASSPHRASE_FILE",
        show_envvar=True,
        help="Its first line opens what is locked. Without, the terminal is asked.",
    )(function)


def load_key(path: str, passphrase_file: str | None) -> PrivateKey:
    """The private key in a file, opened where it is locked. Raises `BadFile`."""
    return load(partial(read_key_file, passphrase=passphrase_for(passphrase_file, path)), path)


def load_own_key(path: str, passphrase_file: str | None) -> OwnKey:
    """The same, of a key that may be for TLS. Raises `BadFile`."""
    return load(partial(read_own_key_file, passphrase=passphrase_for(passphrase_file, path)), path)


def load_secret(path: str, passphrase_file: str | None) -> SharedSecret:
    """The shared secret in a file, opened where it is locked. Raises `BadFile`."""
    return load(partial(read_secret_file, passphrase=passphrase_for(passphrase_file, path)), path)


def server_in(text: str, passphrase_file: str | None = None) -> Address:
    """Where a connection string from the command line leads, its files read; a secret in it gets a warning.

    Raises `BadFile`, also for a string that can't be used.
    """
    if "=" not in text:
        raise BadFile("that is no connection string; a file that holds one goes with --connect-file")
    passphrase = passphrase_for(passphrase_file, "what the connection string names")
    found = load(partial(parse_address, passphrase=passphrase), text)
    if found.string is not None and found.string.client_key is not None:
        complain(
            "warning: every user of this machine can read the secret key in this command line; "
            "put it into a file, and Client Key=FILE in its place"
        )
    return found


def server_in_file(path: str, passphrase_file: str | None = None) -> Address:
    """The same, of the connection string in a file. Raises `BadFile`."""
    passphrase = passphrase_for(passphrase_file, "what the connection string names")
    return load(partial(read_address_file, passphrase=passphrase), path)


def passphrase_for(passphrase_file: str | None, locked: str) -> Callable[[], str | bytes]:
    """What opens `locked`: from the file, or asked for on the terminal, and only where something is locked."""
    if passphrase_file is not None:
        return partial(load, read_passphrase_file, passphrase_file)
    return partial(_ask, f"Passphrase of {locked}: ")


def new_passphrase(passphrase_file: str | None) -> str | bytes:
    """For a new key: from the file, or asked for twice. Raises `Failure` where the two differ."""
    if passphrase_file is not None:
        return load(read_passphrase_file, passphrase_file)
    first = _ask("New passphrase: ")
    if not first:
        raise Failure("an empty passphrase locks nothing; leave --passphrase out for a key without one")
    if first != _ask("The same again: "):
        raise Failure("the two passphrases differ; nothing was written")
    return first


def _ask(prompt: str) -> str:
    """On the terminal itself, wherever standard input and output go. Raises `BadFile` where there is none."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        raise BadFile("a passphrase is needed, and there is no terminal to ask on; give --passphrase-file") from None
    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise click.Abort from None
