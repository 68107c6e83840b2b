"""`securestream tunnel server`: authorised clients in, the target's connections out."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Unpack

import click

from ..protocol.alerts import AlertCode, printable
from ..service.proxy_protocol import ProxyHeader
from ..service.relay import cut_on_error, relay
from ..streams.errors import StreamFailure
from .common import why_unconnected
from .places import place_of_socket
from .serving import Serving, serve, serving_options
from .targets import Command, open_target, target

if TYPE_CHECKING:
    import trio

    from .serving import Stream
    from .targets import Target

logger: logging.Logger = logging.getLogger("securestream")

_EXAMPLES = """\b
Examples:
  securestream tunnel server --key server.key --listen 0.0.0.0:9222 \\
      --clients clients --target 127.0.0.1:6379
  securestream tunnel server --key server.key --listen 0.0.0.0:9222 \\
      --clients clients --target unix:/run/postgresql/.s.PGSQL.5432
  securestream tunnel server --key server.key --listen systemd \\
      --clients clients --target '/usr/bin/git-shell -c git-upload-pack'
\b
Exit status:
  0      ended by SIGTERM
  1      it can't listen, or standard output is gone
  2      wrong usage, or a file that can't be used
  128+N  ended by another signal N, as 130 by Ctrl-C
"""


@serving_options
@click.command(epilog=_EXAMPLES)
@click.option(
    "--target",
    "where",
    required=True,
    metavar="TARGET",
    type=target,
    help="HOST:PORT, unix:PATH, or a command, which is started for each connection.",
)
@click.option("--proxy-protocol", is_flag=True, help="Tell the target who is there, by the PROXY protocol, version 2.")
def server(where: Target, proxy_protocol: bool, **given: Unpack[Serving]) -> int:
    """The server's end of a tunnel.

    Prints one line when it is ready: its address and its public key. The target is connected to once a client is
    authorised; where it can't be, the client is told so by alert 15. A command finds who it serves in the variables
    SECURESTREAM_PEER_KEY, SECURESTREAM_PEER_NAME and SECURESTREAM_PEER_ADDRESS. SIGTERM and Ctrl-C end it as they do
    echo.
    """
    if proxy_protocol and isinstance(where, Command):
        raise click.UsageError(
            "--proxy-protocol is for sockets; a command finds the same in its environment", click.get_current_context()
        )
    return serve(partial(_forward, where=where, proxy_protocol=proxy_protocol), given)


async def _forward(stream: Stream, where: Target, *, proxy_protocol: bool) -> None:
    """The handler."""
    async with cut_on_error(await _reach(stream, where)) as far:
        if proxy_protocol:
            await far.send_all(_header(stream).encode())
        try:
            await relay(stream, far)
        except StreamFailure as exc:
            why = printable(str(exc.__cause__))
            logger.warning("%s: the connection with the target %s broke: %s", _who(stream), where, why)
            raise


async def _reach(stream: Stream, where: Target) -> trio.abc.HalfCloseableStream:
    try:
        return await open_target(where, stream.peer)
    except OSError as exc:
        why = printable(why_unconnected(exc))
        logger.warning("%s: the target %s can't be reached: %s", _who(stream), where, why)
        raise StreamFailure(AlertCode.BACKEND_UNAVAILABLE, "the target can't be reached") from exc


def _who(stream: Stream) -> str:
    return f"{stream.peer.address} {stream.peer.public_key}"


def _header(stream: Stream) -> ProxyHeader:
    source, destination = stream.peer.address, str(place_of_socket(stream.transport_stream.socket))
    if source.startswith("unix:") != destination.startswith("unix:"):  # so says a proxy in front; no header has both
        destination = ""
    return ProxyHeader(
        source=source,
        destination=destination,
        public_key=stream.peer.public_key,
        name=stream.peer.name,
    )
