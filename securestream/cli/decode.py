"""`securestream decode`: captured traffic, read with the key log of one side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..protocol.alerts import printable
from ..protocol.capture import client_records, hello_key_of, parse_key_log, server_records
from ..protocol.errors import RemoteProtocolError
from .common import FILE_NAME, BadFile, Failure, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..protocol.capture import LoggedKeys, SeenRecord

    Records = Callable[[bytes, LoggedKeys], Iterator[SeenRecord]]

# A file is read whole. What is longer is better cut to the connection that matters.
_MOST = 2**28

_EXAMPLES = """\b
Examples:
  SECURESTREAM_KEYLOG=keys.log securestream echo --key server.key \\
      --listen 127.0.0.1:9222 --allow-anyone
  tcpflow -r traffic.pcap
  securestream decode --keylog keys.log \\
      127.000.000.001.40112-127.000.000.001.09222 \\
      127.000.000.001.09222-127.000.000.001.40112 --contents
"""


@click.command(epilog=_EXAMPLES)
@click.argument("client", metavar="CLIENT", type=FILE_NAME)
@click.argument("server", metavar="SERVER", type=FILE_NAME)
@click.option(
    "--keylog",
    required=True,
    metavar="FILE",
    type=FILE_NAME,
    help="What SECURESTREAM_KEYLOG named on one side.",
)
@click.option("--contents", is_flag=True, help="What was sent, too, with escapes.")
def decode(client: str, server: str, keylog: str, contents: bool) -> None:
    """Reads captured traffic of one connection, with a key log.

    CLIENT and SERVER are files with what each side sent, as tcpflow writes them, or Wireshark ("Follow stream", "Raw").
    Prints a line for each record: who sent it, its kind, its bytes on the wire and of content.
    """
    client_bytes, server_bytes = load(_read, client), load(_read, server)
    logged = parse_key_log(load(_read, keylog).decode("ascii", "replace").splitlines())
    try:
        keys = logged.get(hello_key_of(client_bytes))
    except RemoteProtocolError as exc:
        raise BadFile(f"{client} does not begin with a hello: {exc}; are the two files the other way round?") from None
    if keys is None:
        raise Failure(f"{keylog} has no keys for this connection; was the log on when it was made?")
    _show("client", client_records, client_bytes, keys, contents=contents)
    _show("server", server_records, server_bytes, keys, contents=contents)


def _show(side: str, records: Records, data: bytes, keys: LoggedKeys, *, contents: bool) -> None:
    try:
        for record in records(data, keys):
            shown = f"{side} {record.kind:10} {record.wire_length:6} {len(record.content):6}"
            if contents or record.kind == "alert":
                shown += f"  {printable(record.content.decode('utf-8', 'backslashreplace'))}"
            click.echo(shown.rstrip())
    except RemoteProtocolError as exc:
        raise Failure(f"the {side}'s capture can't be read from here on: {exc}") from None


def _read(path: str) -> bytes:
    """Raises `OSError`, `BadFile`."""
    with open(path, "rb") as file:
        data = file.read(_MOST + 1)  # a pipe or a device tells no size
    if len(data) > _MOST:
        raise BadFile(f"{path} is longer than {_MOST:,} bytes; cut it to one connection")
    return data
