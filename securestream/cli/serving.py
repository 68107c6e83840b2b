"""What the commands that serve have in common: their options, their log, and serving until a signal."""

from __future__ import annotations

import logging
import signal
import sys
from typing import TYPE_CHECKING, TypedDict

import click
import trio

from ..protocol.codes import AlertCode
from ..service.server import serve_secure_listeners
from ..streams.config import ANYONE, ServerConfig
from ..streams.errors import StreamFailure
from ..trust.peers import AuthorizedPeers, AuthorizedPeersFile
from .common import PADDING_HELP, Address, Failure, address, ending_signals, load, padding, public_key, reason
from .secrets import KEY_VARIABLE, load_key, load_secret, passphrase_option

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..protocol.keys import PublicKey
    from ..protocol.padding import PaddingPolicy
    from ..streams.config import Authorize
    from ..streams.secure import SecureStream

    Stream = SecureStream[trio.SocketStream]
    Handler = Callable[[Stream], Awaitable[None]]

# How long the connections that are open at a signal may take to hear of it.
_GOODBYE_SECONDS = 3


# --- options ----------------------------------------------------------------------------------------


class Serving(TypedDict):
    """The values of `serving_options`, apart from where to listen."""

    key: str
    allow: tuple[PublicKey, ...]
    clients: str | None
    allow_anyone: bool
    secret_file: str | None
    passphrase_file: str | None
    padding: PaddingPolicy


def serving_options(command: click.Command) -> click.Command:
    """Gives a command `--listen`, and the options of `Serving`, before its own."""
    command.params[:0] = [
        click.Option(
            ["--key"],
            required=True,
            metavar="FILE",
            envvar=KEY_VARIABLE,
            show_envvar=True,
            help="The server's private key; - is standard input.",
        ),
        click.Option(
            ["--listen"], required=True, metavar="HOST:PORT", type=address, help="Port 0: the system chooses."
        ),
        click.Option(
            ["--allow"], metavar="PUBKEY", type=public_key, multiple=True, help="A client that may connect. Repeatable."
        ),
        click.Option(["--clients"], metavar="FILE", help="A list of them, read again when it changes."),
        click.Option(["--allow-anyone"], is_flag=True, help="In place of both: whoever comes."),
        click.Option(["--secret-file"], metavar="FILE", help="Clients have to know the shared secret in this file."),
        click.Option(["--padding"], metavar="NAME", type=padding, default="none", help=PADDING_HELP),
    ]
    return passphrase_option(command)


def server_config(given: Serving) -> ServerConfig:
    """Raises `BadFile`, and `click.UsageError` unless it is said in one way who may connect."""
    authorize = _authorize(given)
    secret_file, passphrase_file = given["secret_file"], given["passphrase_file"]
    secrets = [load_secret(secret_file, passphrase_file)] if secret_file is not None else []
    return ServerConfig(
        key=load_key(given["key"], passphrase_file),
        authorize=authorize,
        secrets=secrets,
        require_secret=bool(secrets),
        padding=given["padding"],
    )


def _authorize(given: Serving) -> Authorize:
    allow, clients, allow_anyone = given["allow"], given["clients"], given["allow_anyone"]
    ways = [bool(allow), clients is not None, allow_anyone]
    if sum(ways) != 1:
        raise click.UsageError(
            "--allow, --clients and --allow-anyone exclude each other"
            if any(ways)
            else "say who may connect: --allow PUBKEY for each client, --clients FILE, or --allow-anyone",
            click.get_current_context(),
        )
    if clients is not None:
        return load(AuthorizedPeersFile, clients)
    return AuthorizedPeers(allow) if allow else ANYONE


# --- serving ----------------------------------------------------------------------------------------


def log_to_stderr(level: int) -> None:
    """The library's log, a line each."""
    logging.basicConfig(stream=sys.stderr, level=level, format="securestream: %(message)s")


async def serve_until_signal(handler: Handler, where: Address, config: ServerConfig) -> int:
    """Serves, says where and with which key on one line, and ends with SIGTERM and Ctrl-C; the exit status."""

    async def until_signal(listening: list[Address]) -> int:
        places = ", ".join(map(str, listening))
        click.echo(f"Listening on {places} as {config.key.public_key}")
        return await arrived.__anext__()

    with trio.open_signal_receiver(*ending_signals()) as arrived:
        number = await serve_while(handler, where, config, until_signal)
    return 0 if number == signal.SIGTERM else 128 + number


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
