"""Which server a command trusts: one key, or a file of known servers."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from ..trust.servers import FirstUse, KnownServersFile
from .common import FILE_NAME, BadFile, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.tls_keys import PeerKey
    from .common import Address

P = ParamSpec("P")
R = TypeVar("R")


def known_servers_options(function: Callable[P, R]) -> Callable[P, R]:
    """`--known-servers FILE` and `--trust-first-use`, beside a command's `--server-key`."""
    known = click.option(
        "--known-servers",
        metavar="FILE",
        type=FILE_NAME,
        help="In place of --server-key: a list of servers and their keys.",
    )
    first_use = click.option(
        "--trust-first-use",
        is_flag=True,
        help="Believe a server without a key there, once, and write its key down.",
    )
    return known(first_use(function))


def trusted_server(
    where: Address, server_key: PeerKey | None, known_servers: str | None, trust_first_use: bool
) -> PeerKey | KnownServersFile:
    """What `ClientConfig.server_key` takes; in the list a server is called HOST:PORT.

    Raises `BadFile`, and `click.UsageError` unless it is said in one way which server is trusted.
    """
    context = click.get_current_context()
    if server_key is not None and known_servers is not None:
        raise click.UsageError("--server-key and --known-servers exclude each other", context)
    if trust_first_use and known_servers is None:
        raise click.UsageError(
            "--trust-first-use goes with --known-servers FILE, where the key is written down", context
        )
    if server_key is not None:
        return server_key
    if known_servers is None:
        raise click.UsageError(
            "HOST:PORT goes with --server-key PUBKEY or --known-servers FILE: "
            "without it, anyone could stand in the middle",
            context,
        )
    first_use: FirstUse = "trust" if trust_first_use else "refuse"
    if not (trust_first_use or os.path.exists(known_servers)):
        missing = f"{known_servers}: {os.strerror(errno.ENOENT)}"
        raise BadFile(f"{missing}; --trust-first-use makes it, with the key that {where} shows")
    return load(lambda path: KnownServersFile(path, str(where), first_use=first_use), known_servers)
