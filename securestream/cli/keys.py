"""`securestream keygen` and `securestream pubkey`."""

from __future__ import annotations

import os
import stat
import sys

import click

from ..protocol.keys import PrivateKey
from ..trust.keyfile import STANDARD_INPUT, key_file_text, read_key_file, write_key_file
from .common import Failure, complain, load, reason
from .stdio import STDOUT

_KEYGEN_EXAMPLES = """\b
Examples:
  $ securestream keygen -o server.key
  6HvG2FFNFIifEjaAfryurGtr+ucaNgHfSSfgQUi5MHM=
\b
  $ securestream keygen | ssh db.example 'umask 077; cat > server.key'
  Public key: aOa7jA2s0LKBIrYmqyEtFWXXXtVHMxNiXlxXDXmWx1s=
"""


@click.command(epilog=_KEYGEN_EXAMPLES)
@click.option("-o", "--output", metavar="FILE", help="A new file for the private key. One that exists is left alone.")
def keygen(output: str | None) -> None:
    """Makes a key pair.

    With -o the private key goes to a new file that only its owner can read, and the public key to standard output.
    Without, the text of such a file goes to standard output. Keep the file; give the public key to the other side.
    """
    key = PrivateKey.generate()
    if output is None:
        _print_key(key)
        return
    try:
        write_key_file(output, key)
    except FileExistsError:
        raise Failure(f"{output} exists and is left as it is: choose another name, or remove it first") from None
    except OSError as exc:
        raise Failure(reason(exc)) from None
    click.echo(key.public_key)


def _print_key(key: PrivateKey) -> None:
    if sys.stdout is not None and not sys.stdout.isatty():
        _warn_of_readers()
        click.echo(f"Public key: {key.public_key}", err=True)
    click.echo(key_file_text(key), nl=False)


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
@click.argument("file", default=STANDARD_INPUT, metavar="[FILE|-]")
def pubkey(file: str) -> None:
    """Prints the public key of a private key.

    FILE is what keygen has written; - or nothing is standard input.
    """
    click.echo(load(read_key_file, file).public_key)
