"""`securestream keygen` and `securestream pubkey`."""

from __future__ import annotations

import os
import stat
import sys

import click

from ..protocol.keys import PrivateKey
from ..protocol.tls_keys import OwnKey, TlsPrivateKey
from ..trust.keyfile import STANDARD_INPUT, key_file_text, write_key_file
from .common import FILE_NAME, Failure, complain, reason
from .secrets import load_own_key, new_passphrase, passphrase_option
from .stdio import STDOUT

_KEYGEN_EXAMPLES = """\b
Examples:
  $ securestream keygen -o server.key
  6HvG2FFNFIifEjaAfryurGtr+ucaNgHfSSfgQUi5MHM=
\b
  $ securestream keygen | ssh db.example 'umask 077; cat > server.key'
  Public key: aOa7jA2s0LKBIrYmqyEtFWXXXtVHMxNiXlxXDXmWx1s=
\b
  $ securestream keygen --passphrase -o server.key
\b
  $ securestream keygen --tls -o server.key
  sha256:BsPw+tszv3BZZETOuOa5/8nI+KtuAIyIHLvRvyhabMI=
"""


@click.command(epilog=_KEYGEN_EXAMPLES)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=FILE_NAME,
    help="A new file for the private key. One that exists is left alone.",
)
@click.option("--tls", is_flag=True, help="A key for connections over TLS (Ed25519).")
@click.option("--passphrase", is_flag=True, help="Lock the key with a passphrase, which is asked for twice.")
@click.option(
    "--passphrase-file",
    metavar="FILE",
    type=FILE_NAME,
    help="Lock the key with the first line of this file.",
)
def keygen(output: str | None, tls: bool, passphrase: bool, passphrase_file: str | None) -> None:
    """Makes a key pair.

    With -o the private key goes to a new file that only its owner can read, and the public key to standard output.
    Without, the text of such a file goes to standard output. Keep the file; give the public key to the other side.
    """
    locked_with = new_passphrase(passphrase_file) if passphrase or passphrase_file is not None else None
    key = TlsPrivateKey.generate() if tls else PrivateKey.generate()
    if output is None:
        _print_key(key, locked_with)
        return
    try:
        write_key_file(output, key, passphrase=locked_with)
    except FileExistsError:
        raise Failure(f"{output} exists and is left as it is: choose another name, or remove it first") from None
    except OSError as exc:
        raise Failure(reason(exc)) from None
    click.echo(key.public_key)


def _print_key(key: OwnKey, passphrase: str | bytes | None) -> None:
    if sys.stdout is not None and not sys.stdout.isatty():
        _warn_of_readers()
        click.echo(f"Public key: {key.public_key}", err=True)
    click.echo(key_file_text(key, passphrase=passphrase), nl=False)


def _warn_of_readers() -> None:
    status = os.fstat(STDOUT)
    if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        complain("warning: the private key goes to a file that others can read; -o FILE makes a safe one")


_PUBKEY_EXAMPLES = """\b
Examples:
  $ securestream pubkey server.key
  6HvG2FFNFIifEjaAfryurGtr+ucaNgHfSSfgQUi5MHM=
\b
  $ pass show server-key | securestream pubkey
  6HvG2FFNFIifEjaAfryurGtr+ucaNgHfSSfgQUi5MHM=
"""


@click.command(epilog=_PUBKEY_EXAMPLES)
@click.argument("file", default=STANDARD_INPUT, metavar="[FILE|-]", type=FILE_NAME)
@passphrase_option
def pubkey(file: str, passphrase_file: str | None) -> None:
    """Prints the public key of a private key, and of one for TLS its hash.

    FILE is what keygen has written, or for TLS a key in PEM; - or nothing is standard input.
    """
    click.echo(load_own_key(file, passphrase_file).public_key)
