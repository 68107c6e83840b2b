"""`securestream echo`: a server that sends back what it gets. And serving until a signal, which others use too."""

from __future__ import annotations

import logging
import signal
import sys
from typing import TYPE_CHECKING

import click
import trio

from ..protocol.codes import AlertCode
from ..service.server import serve_secure_listeners
from ..streams.config import ANYONE, ServerConfig
from ..streams.errors import StreamFailure
from ..trust.keyfile import read_key_file, read_secret_file
from ..trust.peers import AuthorizedPeers
from .common import Address, Failure, address, ending_signals, load, public_key, reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ..protocol.keys import PublicKey
    from ..streams.config import Authorize
    from ..streams.secure import SecureStream

    Stream = SecureStream[trio.SocketStream]
    Handler = Callable[[Stream], Awaitable[None]]

# How long the connections that are open at a signal may take to hear of it.
_GOODBYE_SECONDS = 3

_EXAMPLES = """\b
Examples:
  securestream echo --key server.key --listen 127.0.0.1:9222 \\
      --allow aOa7jA2s0LKBIrYmqyEtFWXXXtVHMxNiXlxXDXmWx1s=
  securestream echo --key server.key --listen '[::1]:0' --allow-anyone
\b
  umask 077; echo "ss-shared:$(openssl rand -base64 32)" > group.secret
  pass show server-key | securestream echo --key - --listen 0.0.0.0:9222 \\
      --allow-anyone --secret-file group.secret
"""


@click.command(epilog=_EXAMPLES)
@click.option("--key", required=True, metavar="FILE", help="The server's private key; - is standard input.")
@click.option("--listen", required=True, metavar="HOST:PORT", type=address, help="Port 0: the system chooses.")
@click.option(
    "--allow", metavar="PUBKEY", type=public_key, multiple=True, help="A client that may connect. Repeatable."
)
@click.option("--allow-anyone", is_flag=True, help="In place of --allow: whoever comes.")
@click.option("--secret-file", metavar="FILE", help="Clients have to know the shared secret in this file, too.")
def echo(key: str, listen: Address, allow: tuple[PublicKey, ...], allow_anyone: bool, secret_file: str | None) -> int:
    """Runs an echo server.

    Prints one line when it is ready: its address and its public key. Clients that are turned away are named on
    standard error. SIGTERM and Ctrl-C end it, and open connections are told; exit status 0 and 130.
    """
    authorize = _authorize(allow, allow_anyone=allow_anyone)
    secrets = [load(read_secret_file, secret_file)] if secret_file is not None else []
    config = ServerConfig(
        key=load(read_key_file, key), authorize=authorize, secrets=secrets, require_secret=bool(secrets)
    )
    log_to_stderr(logging.WARNING)
    return trio.run(_serve, listen, config)


def _authorize(allow: Sequence[PublicKey], *, allow_anyone: bool) -> Authorize:
    if bool(allow) == allow_anyone:
        raise click.UsageError(
            "--allow and --allow-anyone exclude each other"
            if allow
            else "say who may connect: --allow PUBKEY for each client, or --allow-anyone",
            click.get_current_context(),
        )
    return ANYONE if allow_anyone else AuthorizedPeers(allow)


def log_to_stderr(level: int) -> None:
    """The library's log, a line each."""
    logging.basicConfig(stream=sys.stderr, level=level, format="securestream: %(message)s")


async def _serve(where: Address, config: ServerConfig) -> int:
    async def until_signal(listening: list[Address]) -> int:
        places = ", ".join(map(str, listening))
        click.echo(f"Listening on {places} as {config.key.public_key}")
        return await arrived.__anext__()

    with trio.open_signal_receiver(*ending_signals()) as arrived:
        number = await serve_while(send_back, where, config, until_signal)
    return 0 if number == signal.SIGTERM else 128 + number


async def send_back(stream: Stream) -> None:
    """The handler: what comes goes back, and the end is answered with the end."""
    async for chunk in stream:
        await stream.send_all(chunk)


async def serve_while(
    handler: Handler, where: Address, config: ServerConfig, wait: Callable[[list[Address]], Awaitable[int]]
) -> int:
    """Serves until `wait(addresses)` returns; then takes no more connections, and tells those that are open.

    Returns what `wait` does. Raises `Failure` where it can't listen.
    """
    ending = trio.Event()

    async def handle(stream: Stream) -> None:
        async with trio.open_nursery() as connection:
            connection.start_soon(_fail_after, ending)
            await handler(stream)
            connection.cancel_scope.cancel()

    listeners = await _listen(where)
    async with trio.open_nursery() as handlers, trio.open_nursery() as accepting:
        accepting.start_soon(lambda: serve_secure_listeners(handle, listeners, config, handler_nursery=handlers))
        result = await wait([Address(*listener.socket.getsockname()[:2]) for listener in listeners])
        accepting.cancel_scope.cancel()
        ending.set()
        handlers.cancel_scope.deadline = trio.current_time() + _GOODBYE_SECONDS
    return result


async def _listen(where: Address) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(where.port, host=where.host)
    except UnicodeError:
        raise Failure(f"can't listen on {where}: not the name of a host") from None
    except OSError as exc:
        raise Failure(f"can't listen on {where}: {reason(exc)}") from None


async def _fail_after(ending: trio.Event) -> None:
    await ending.wait()
    raise StreamFailure(AlertCode.SHUTTING_DOWN, "this server is shutting down")
