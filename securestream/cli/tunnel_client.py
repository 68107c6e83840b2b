"""`securestream tunnel client`: a program's connections in, secure streams out."""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING, Unpack

import click
import trio

from ..service.relay import cut_on_error, relay
from ..streams.channel import address_of
from ..streams.errors import StreamError, StreamFailure
from .common import Address, Failure, complain, ending_signals, explain
from .dialing import Dialing, dialing_options, open_stream, server_given, where_to
from .places import PLACE_HELP, listen, place, place_of
from .running import grace_option, with_options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..service.address import Address as ServerAddress
    from .places import Place

logger: logging.Logger = logging.getLogger("securestream")

_EXAMPLES = """\b
Examples:
  securestream tunnel client --listen 127.0.0.1:6379 \\
      --connect "Server=db.example:9222;Server Key=...;Client Key=client.key"
  securestream tunnel client --listen unix:/tmp/.s.PGSQL.5432 \\
      --connect-file db.connection --padding padme
  securestream tunnel client --listen 127.0.0.1:6379 --key client.key \\
      --connect db.example:9222 --known-servers servers
\b
Exit status:
  0      ended by SIGTERM
  1      it can't listen, or standard output is gone
  2      wrong usage, or a file that can't be used
  128+N  ended by another signal N, as 130 by Ctrl-C
"""


@with_options(grace_option())
@click.command(epilog=_EXAMPLES)
@click.option("--listen", "where", required=True, metavar="PLACE", type=place, help=PLACE_HELP)
@click.option(
    "--connect",
    metavar="[HOST:PORT|STRING]",
    type=where_to,
    help="Where to: a connection string, as the guide has it, or HOST:PORT with a server's key.",
)
@dialing_options
@click.option(
    "--max-connections",
    metavar="N",
    type=click.IntRange(min=1),
    default=1_000,
    show_default=True,
    help="Connections beyond are reset.",
)
def client(
    where: Place, connect: Address | str | None, max_connections: int, grace: float, **given: Unpack[Dialing]
) -> int:
    """The client's end of a tunnel.

    Prints one line when it is ready: its address, and where it leads. Each connection gets a secure stream of its own.
    One that can't be carried is reset, and a line on standard error says why. SIGTERM and Ctrl-C end it: no new
    connections come in, and those that are open get --grace seconds; a second one ends them at once.
    """
    return trio.run(_Client(server_given(connect, given), max_connections).serve, where, grace)


class _Client:
    """The connections of one client's end."""

    def __init__(self, server: ServerAddress, max_connections: int) -> None:
        self._server = server
        self._max_connections = max_connections
        self._open = 0
        self._signal = signal.SIGTERM.value

    async def serve(self, where: Place, grace: float) -> int:
        """Until a signal, and until the connections that are open then have ended; the exit status."""
        listeners = list(await listen(where))
        places = ", ".join(str(place_of(listener)) for listener in listeners)
        with trio.open_signal_receiver(*ending_signals()) as arrived:
            click.echo(f"Listening on {places} for {Address(self._server.host, self._server.port)}")
            async with trio.open_nursery() as serving:
                accepting = trio.CancelScope()
                serving.start_soon(self._obey, arrived, accepting, serving.cancel_scope, grace)
                async with trio.open_nursery() as connections:
                    with accepting:
                        await trio.serve_listeners(self._carry, listeners, handler_nursery=connections)
                serving.cancel_scope.cancel()
        return 0 if self._signal == signal.SIGTERM else 128 + self._signal

    async def _obey(
        self, arrived: AsyncIterator[int], accepting: trio.CancelScope, serving: trio.CancelScope, grace: float
    ) -> None:
        """The first signal ends accepting, and everything after the grace; the second one everything."""
        self._signal = await anext(arrived)
        accepting.cancel()
        serving.deadline = trio.current_time() + grace
        await anext(arrived)
        serving.cancel()

    async def _carry(self, local: trio.SocketStream) -> None:
        """One connection. Whatever becomes of it, the others go on."""
        who = address_of(local) or "a connection to the socket"
        self._open += 1
        try:
            async with cut_on_error(local):
                if self._open > self._max_connections:
                    raise Failure(f"no room beside {self._max_connections} connections")
                async with await open_stream(self._server) as stream:
                    await relay(stream, local)
        except StreamFailure as exc:
            complain(f"{who}: {exc.__cause__}")
        except StreamError as exc:
            complain(f"{who}: {explain(exc, has_key=self._server.config.key is not None)}")
        except (Failure, trio.BrokenResourceError) as exc:
            complain(f"{who}: {exc}")
        except Exception:
            logger.exception("%s: lost", who)
        finally:
            self._open -= 1
