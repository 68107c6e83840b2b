"""`securestream check`: what is in the files that programs run on, before they run on them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from ..service.routes import RoutesFile
from ..trust.address import Transport
from ..trust.lists import is_over, utc_now
from ..trust.peers import AuthorizedPeersFile
from ..trust.servers import parse_servers
from ..trust.watched import WatchedFile
from .common import FILE_NAME, BadFile, complain, load
from .secrets import load_own_key, load_secret, passphrase_option, server_in, server_in_file

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator

    from ..protocol.hybrid import ClientPostQuantum
    from ..service.address import Address
    from ..streams.config import ClientConfig
    from ..trust.address import ConnectionString

    Look = Callable[[], Iterator[str]]

_HANDSHAKES: dict[ClientPostQuantum, str] = {
    "prefer": "post-quantum where the server has it",
    "require": "post-quantum, or there is no connection",
    "off": "classical",
    "fallback": "classical",
}

_EXAMPLES = """\b
Examples:
  securestream check --key server.key --clients clients
  securestream check --known-servers servers --secret-file group.secret
  securestream check --connect-file redis.connection
  securestream check --key router.key --routes routes
\b
Exit status:
  0  all of it can be used
  1  the output can't be written
  2  something can't be used; it is named on standard error, with its line
"""


@click.command(epilog=_EXAMPLES)
@click.option("--key", "keys", metavar="FILE", type=FILE_NAME, multiple=True, help="A private key.")
@click.option(
    "--secret-file",
    "secret_files",
    metavar="FILE",
    type=FILE_NAME,
    multiple=True,
    help="A shared secret.",
)
@click.option("--clients", metavar="FILE", type=FILE_NAME, multiple=True, help="A list of authorised clients.")
@click.option("--known-servers", metavar="FILE", type=FILE_NAME, multiple=True, help="A list of known servers.")
@click.option("--routes", metavar="FILE", type=FILE_NAME, multiple=True, help="A router's list of servers.")
@click.option("--connect", "strings", metavar="STRING", multiple=True, help="A connection string, and its files.")
@click.option(
    "--connect-file",
    "string_files",
    metavar="FILE",
    type=FILE_NAME,
    multiple=True,
    help="The same, in a file.",
)
@passphrase_option
def check(
    keys: tuple[str, ...],
    secret_files: tuple[str, ...],
    clients: tuple[str, ...],
    known_servers: tuple[str, ...],
    routes: tuple[str, ...],
    strings: tuple[str, ...],
    string_files: tuple[str, ...],
    passphrase_file: str | None,
) -> int:
    """Says what is in files, and what is wrong with them.

    Each option may be given several times. All are looked at, and no secret is shown.
    """
    looks: list[Look] = [
        *(partial(_key, path, passphrase_file) for path in keys),
        *(partial(_secret, path, passphrase_file) for path in secret_files),
        *(partial(_clients, path) for path in clients),
        *(partial(_servers, path) for path in known_servers),
        *(partial(_routes, path) for path in routes),
        *(partial(_string, "a connection string", server_in, text, passphrase_file) for text in strings),
        *(partial(_string, path, server_in_file, path, passphrase_file) for path in string_files),
    ]
    if not looks:
        raise click.UsageError(
            "name what to check: --key, --secret-file, --clients, --known-servers, --routes, --connect "
            "or --connect-file",
            click.get_current_context(),
        )
    bad = [look for look in looks if not _is_good(look)]
    return BadFile.exit_code if bad else 0


def _is_good(look: Look) -> bool:
    try:
        for line in look():
            click.echo(line)
    except BadFile as exc:
        complain(exc.message)
        return False
    return True


def _key(path: str, passphrase_file: str | None) -> Iterator[str]:
    yield f"{path}: a private key; its public key is {load_own_key(path, passphrase_file).public_key}"


def _secret(path: str, passphrase_file: str | None) -> Iterator[str]:
    yield f"{path}: a shared secret of {len(bytes(load_secret(path, passphrase_file)))} bytes"


def _clients(path: str) -> Iterator[str]:
    clients = load(AuthorizedPeersFile, path).clients
    nobody = "" if clients else "; nobody may connect"
    names = {client.name for client in clients}
    yield f"{path}: {_count(len(clients), 'key')} of {_count(len(names), 'client')}{nobody}"
    for client in clients:
        networks = f", from {', '.join(map(str, client.networks))}" if client.networks else ""
        yield f"  {client.public_key}  {client.name}{_until(client.until)}{networks}{_note(client.note)}"


def _servers(path: str) -> Iterator[str]:
    servers = load(lambda name: WatchedFile(name, parse_servers, "servers"), path).value.values()
    names = {server.name.casefold() for server in servers}
    yield f"{path}: {_count(len(servers), 'key')} of {_count(len(names), 'server')}"
    for server in servers:
        yield f"  {server.public_key}  {server.name}{_until(server.until)}{_note(server.note)}"


def _routes(path: str) -> Iterator[str]:
    table = load(RoutesFile, path).table
    nobody = "" if table else "; no client finds a server"
    yield f"{path}: {_count(len(table), 'key')} at {_count(sum(map(len, table.values())), 'backend')}{nobody}"
    for key, backends in table.items():
        for backend in backends:
            yield f"  {key}  {backend.address}{', told by PROXY v2' if backend.proxy else ''}{_note(backend.note)}"


def _string(
    what: str, read: Callable[[str, str | None], Address], text: str, passphrase_file: str | None
) -> Iterator[str]:
    address = read(text, passphrase_file)
    yield f"{what}: {address.string}"
    if address.config.key is not None:
        yield f"  its client's public key is {address.config.key.public_key}"
    if address.string is not None and address.string.transport is Transport.SECURE:
        yield f"  its handshake is {_handshake(address.string, address.config)}"


def _handshake(wanted: ConnectionString, config: ClientConfig) -> str:
    """What it will be on this machine."""
    if config.post_quantum == "off" and wanted.post_quantum != "off":
        return "classical: post-quantum needs the extra `pq`, which isn't installed"
    return _HANDSHAKES[config.post_quantum]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _until(moment: dt.datetime | None) -> str:
    if moment is None:
        return ""
    return f", {'over since' if is_over(moment, utc_now) else 'until'} {moment:%Y-%m-%d %H:%M} UTC"


def _note(note: str) -> str:
    return f", {note}" if note else ""
