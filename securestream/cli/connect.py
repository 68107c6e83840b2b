"""`securestream connect`: standard input to a server, the server to standard output."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Unpack

import click
import trio

from ..streams.errors import HandshakeError, PeerAlert, StreamError
from ..trust.keyfile import STANDARD_INPUT
from .common import Address, AlertReceived, Failure, explain, main_cause, run
from .dialing import Dialing, dialing_options, open_stream, server_given, where_to, wrong_usage
from .stdio import STDIN, STDOUT, read_some, write_all

if TYPE_CHECKING:
    from ..service.address import Address as ServerAddress
    from ..streams.config import ClientConfig
    from .dialing import Stream

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
  securestream connect db.example:9222 --key tls.key --server-key sha256:...
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


@click.command(epilog=_EXAMPLES)
@click.argument("where", metavar="[HOST:PORT|STRING]", type=where_to, required=False)
@dialing_options
def connect(where: Address | str | None, **given: Unpack[Dialing]) -> int:
    """Connects a terminal or a pipe to a server.

    Where to is HOST:PORT, with --server-key or --known-servers, or a connection string, or a file that holds one.
    With keys for TLS, which keygen --tls makes, it goes over TLS.
    Standard input is sent, and what comes goes to standard output. The end of standard input ends that direction
    only; the answer may still go on. Secrets are read from files: a command line can be seen by every user of the
    machine.
    """
    if STANDARD_INPUT in (given["key"], given["secret_file"], given["passphrase_file"], given["connect_file"]):
        raise wrong_usage("standard input is what is sent: put the secret into a file")
    server = server_given(where, given)
    return run(lambda: _converse(server))


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
