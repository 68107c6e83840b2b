"""`securestream connect`: standard input to a server, the server to standard output."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click
import trio
from click.core import ParameterSource

from ..protocol.tls_keys import KeyHash
from ..service.address import Address as ServerAddress
from ..streams.config import ClientConfig
from ..streams.errors import HandshakeError, PeerAlert, StreamError
from ..trust.keyfile import STANDARD_INPUT
from .common import (
    FILE_NAME,
    PADDING_HELP,
    Address,
    AlertReceived,
    Failure,
    address,
    complete_padding,
    explain,
    main_cause,
    padding,
    public_key,
    run,
)
from .dialing import connect_file_option, open_stream, server_given
from .known import known_servers_options, trusted_server
from .secrets import key_option, load_key, load_secret, passphrase_option
from .stdio import STDIN, STDOUT, read_some, write_all

if TYPE_CHECKING:
    from ..protocol.padding import PaddingPolicy
    from ..protocol.tls_keys import PeerKey
    from ..streams.secure import SecureStream

    Stream = SecureStream[trio.SocketStream]

_RECORDS_AT_ONCE = 8
# Once the server is gone: what has not come from standard input by then is not waited for.
_GRACE_SECONDS = 0.5

_EXAMPLES = """\b
Examples:
  securestream connect 127.0.0.1:9222 --key client.key \\
      --server-key 6HvG2FFNFIifEjaAfryurGtr+ucaNgHfSSfgQUi5MHM=
  securestream connect '[::1]:9222' --server-key "$(cat server.pub)" \\
      --key client.key < question > answer
  securestream connect db.example:9222 --key client.key \\
      --known-servers servers --trust-first-use
  securestream connect \\
      'Server=db.example:9222;Server Key=...;Client Key=client.key'
\b
Exit status:
  0      the input was sent, and the server ended its answer in order
  1      no connection, a failed handshake, or a stream cut short
  2      wrong usage, or a key file that can't be used
  3      the server ended the stream with an alert; it is on standard error
  128+N  ended by signal N, as 130 by Ctrl-C
"""


def _where(text: str) -> Address | str:
    """HOST:PORT, or a connection string. For click: raises `click.BadParameter`."""
    return text if "=" in text else address(text)


@click.command(epilog=_EXAMPLES)
@click.argument("where", metavar="[HOST:PORT|STRING]", type=_where, required=False)
@click.option("--server-key", metavar="PUBKEY", type=public_key, help="The server's public key.")
@known_servers_options
@key_option("This client's private key. Without: a fresh one, for once.")
@click.option(
    "--secret-file",
    metavar="FILE",
    type=FILE_NAME,
    help="The shared secret, for servers that demand one.",
)
@connect_file_option
@passphrase_option
@click.option(
    "--padding", metavar="NAME", type=padding, shell_complete=complete_padding, default="none", help=PADDING_HELP
)
def connect(
    where: Address | str | None,
    server_key: PeerKey | None,
    known_servers: str | None,
    trust_first_use: bool,
    key: str | None,
    secret_file: str | None,
    connect_file: str | None,
    passphrase_file: str | None,
    padding: PaddingPolicy,
) -> int:
    """Connects a terminal or a pipe to a server.

    Where to is HOST:PORT, with --server-key or --known-servers, or a connection string, or a file that holds one.
    Standard input is sent, and what comes goes to standard output. The end of standard input ends that direction
    only; the answer may still go on. Secrets are read from files: a command line can be seen by every user of the
    machine.
    """
    if STANDARD_INPUT in (key, secret_file, passphrase_file, connect_file):
        raise _wrong_usage("standard input is what is sent: put the secret into a file")
    if not isinstance(where, Address):
        _check_nothing_twice()
        return _run(server_given(where, connect_file, passphrase_file, padding))
    server = trusted_server(where, server_key, known_servers, trust_first_use)
    own = load_key(key, passphrase_file) if key is not None else None
    if isinstance(server, KeyHash):
        raise _wrong_usage("for TLS give a connection string: Server=HOST:PORT;Server Key Hash=...;Client Key=FILE")
    config = ClientConfig(
        server_key=server,
        key=own,
        secret=load_secret(secret_file, passphrase_file) if secret_file is not None else None,
        padding=padding,
    )
    return _run(ServerAddress(where.host, where.port, config))


def _run(server: ServerAddress) -> int:
    return run(lambda: _converse(server))


def _check_nothing_twice() -> None:
    """Raises `click.UsageError` for options that say what a connection string does."""
    context = click.get_current_context()
    for name in ("server_key", "known_servers", "trust_first_use", "key", "secret_file"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise _wrong_usage(f"--{name.replace('_', '-')} goes with HOST:PORT; a connection string says it itself")


def _wrong_usage(message: str) -> click.UsageError:
    return click.UsageError(message, click.get_current_context())


async def _converse(server: ServerAddress) -> None:
    try:
        async with await open_stream(server) as stream:
            await _Exchange(stream).run()
    except Exception as exc:
        raise _worded(main_cause(exc), server.config) from exc


def _worded(exc: BaseException, config: ClientConfig) -> BaseException:
    """What a person is told, and with which exit status."""
    if isinstance(exc, StreamError):
        message = explain(exc, has_key=config.key is not None)
        alerted = isinstance(exc, PeerAlert) and not isinstance(exc, HandshakeError)
        return AlertReceived(message) if alerted else Failure(message)
    return exc


class _Exchange:
    """Both directions at once, until both have ended, or until the peer takes no more."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._all_sent = True  # what was read from standard input
        self._peer_is_gone = False
        self._until_input_ends = trio.CancelScope()

    async def run(self) -> None:
        """Raises what receiving raises, `OSError` of standard input and output, and `Failure` where the peer
        ended in order before the input did."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_input)
            async for chunk in self._stream:
                await write_all(STDOUT, chunk)
            with self._until_input_ends:
                await self._until_peer_is_gone()
                if self._all_sent:
                    await trio.sleep(_GRACE_SECONDS)
            all_sent = self._all_sent  # what is on its way now has nobody to arrive at
            nursery.cancel_scope.cancel()
        if not all_sent:
            raise Failure("the server closed the connection before it had all of the input")

    async def _send_input(self) -> None:
        size = _RECORDS_AT_ONCE * self._stream.record_capacity
        try:
            while data := await read_some(STDIN, size):
                self._all_sent = False
                if self._peer_is_gone:
                    break
                await self._stream.send_all(data)
                self._all_sent = True
            else:
                await self._stream.send_eof()
        except trio.BrokenResourceError:
            pass  # why will be seen by receiving, after what came before
        self._until_input_ends.cancel()

    async def _until_peer_is_gone(self) -> None:
        """The peer has ended its direction and may still be reading this one. Once it closes the connection it
        isn't, and nobody needs to wait for a person at an idle terminal."""
        with contextlib.suppress(trio.BrokenResourceError):
            while await self._stream.transport_stream.receive_some(4_096):
                pass
        self._peer_is_gone = True
