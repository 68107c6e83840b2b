"""What the commands that serve have in common: their options, their log, and serving until a signal."""

from __future__ import annotations

import logging
import math
import signal
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypedDict

import click
import trio

from ..protocol.tls_keys import TlsPrivateKey
from ..service.drain import drain_on
from ..service.server import serve_secure_listeners
from ..service.workers import MAX_WORKERS
from ..streams.config import ANYONE, Limits, ServerConfig
from ..streams.tls import TlsServerConfig
from ..trust.peers import AuthorizedPeers, AuthorizedPeersFile
from .common import (
    FILE_NAME,
    Address,
    Failure,
    address,
    ending_signals,
    load,
    padding_option,
    post_quantum_option,
    proxy,
    public_key,
    reason,
    seconds,
)
from .logs import event_instruments, events_option, log_to_stderr
from .places import PLACE_HELP, listen, place, place_of
from .secrets import KEY_VARIABLE, load_own_key, load_secret, passphrase_option
from .workers import serve_in_workers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ..protocol.hybrid import PostQuantum
    from ..protocol.padding import PaddingPolicy
    from ..protocol.tls_keys import PeerKey
    from ..service.drain import Drain
    from ..streams.config import Authorize
    from ..streams.instrument import Instrument
    from ..streams.secure import SecureStream
    from .places import Place
    from .workers import Ready

    Stream = SecureStream[trio.SocketStream]
    Handler = Callable[[Stream], Awaitable[None]]

# How long a client that is taken out of the list may stay.
_RECHECK_SECONDS = 1.0


# --- options ----------------------------------------------------------------------------------------


class Serving(TypedDict):
    """The values of `serving_options`."""

    listen: Place
    workers: int | None
    proxy_from: tuple[str, ...]
    grace: float
    metrics: Address | None
    key: str
    allow: tuple[PeerKey, ...]
    clients: str | None
    allow_anyone: bool
    secret_files: tuple[str, ...]
    secret_optional: bool
    passphrase_file: str | None
    padding: PaddingPolicy
    post_quantum: PostQuantum | None
    max_connections: int
    max_per_source: int
    idle_timeout: float
    lifetime: float
    keep_alive: float
    events: bool


def grace_option(command: click.Command) -> click.Command:
    """Gives a command `--grace`."""
    return click.option(
        "--grace",
        metavar="SECONDS",
        type=click.FloatRange(min=0),
        default=3,
        show_default=True,
        help="What connections at work get to finish it, at the end.",
    )(command)


def serving_options(command: click.Command) -> click.Command:
    """Gives a command the options of `Serving`, before its own."""
    command.params[:0] = [
        click.Option(
            ["--key"],
            required=True,
            metavar="FILE",
            type=FILE_NAME,
            envvar=KEY_VARIABLE,
            show_envvar=True,
            help="The server's private key; - is standard input.",
        ),
        click.Option(["--listen"], required=True, metavar="PLACE", type=place, help=PLACE_HELP),
        click.Option(
            ["--workers"],
            metavar="N",
            type=click.IntRange(1, MAX_WORKERS),
            help="Serve in so many processes, and replace those that die. Limits are for each of them; --metrics is one"
            " port for each, from the one given on.",
        ),
        click.Option(
            ["--proxy-from"],
            metavar="NETWORK",
            type=proxy,
            multiple=True,
            help="A proxy in front, which says by the PROXY protocol who is there; unix for whoever comes over a Unix"
            " socket. Repeatable.",
        ),
        click.Option(
            ["--allow"], metavar="PUBKEY", type=public_key, multiple=True, help="A client that may connect. Repeatable."
        ),
        click.Option(
            ["--clients"],
            metavar="FILE",
            type=FILE_NAME,
            help="A list of them. Who is taken out of it is cut off.",
        ),
        click.Option(["--allow-anyone"], is_flag=True, help="In place of both: whoever comes."),
        click.Option(
            ["--secret-file", "secret_files"],
            metavar="FILE",
            type=FILE_NAME,
            multiple=True,
            help="Clients have to know the shared secret in this file. Repeatable: one of them.",
        ),
        click.Option(
            ["--secret-optional"], is_flag=True, help="Take clients without it, too, until all of them have it."
        ),
        *count_options(),
        *_time_options(),
        click.Option(
            ["--metrics"], metavar="HOST:PORT", type=address, help="Show figures for Prometheus, on loopback."
        ),
    ]
    for option in (padding_option, post_quantum_option, events_option, passphrase_option):
        option(command)
    return grace_option(command)


def count_options() -> list[click.Option]:
    """`--max-connections` and `--max-per-source`."""
    count, usual = click.IntRange(min=1), Limits()
    return [
        click.Option(
            ["--max-connections"],
            metavar="N",
            type=count,
            default=usual.connections,
            show_default=True,
            help="Whoever comes beyond is told that the server is busy.",
        ),
        click.Option(
            ["--max-per-source"],
            metavar="N",
            type=count,
            default=usual.connections_per_source,
            help="Of them, from one IPv4 address or IPv6 network of 64 bits.  [default: all]",
        ),
    ]


def _time_options() -> list[click.Option]:
    return [
        click.Option(
            ["--idle-timeout"],
            metavar="SECONDS",
            type=seconds,
            default=math.inf,
            help="End connections that do nothing.",
        ),
        click.Option(["--lifetime"], metavar="SECONDS", type=seconds, default=math.inf, help="End connections so old."),
        click.Option(
            ["--keep-alive"],
            metavar="SECONDS",
            type=seconds,
            default=math.inf,
            help="Send an empty record where nothing was sent for so long.",
        ),
    ]


def server_config(given: Serving) -> ServerConfig:
    """Raises `BadFile`, and `click.UsageError` unless it is said in one way who may connect, and with which secret."""
    authorize = _authorize(given)
    if given["secret_optional"] and not given["secret_files"]:
        raise click.UsageError("--secret-optional goes with --secret-file FILE", click.get_current_context())
    passphrase_file = given["passphrase_file"]
    secrets = [load_secret(path, passphrase_file) for path in given["secret_files"]]
    key = load_own_key(given["key"], passphrase_file)
    if isinstance(key, TlsPrivateKey):
        return _over_tls(key, authorize, given)
    return ServerConfig(
        key=key,
        authorize=authorize,
        secrets=secrets,
        require_secret=bool(secrets) and not given["secret_optional"],
        post_quantum=given["post_quantum"] or "prefer",
        **_common(given),
    )


def _over_tls(key: TlsPrivateKey, authorize: Authorize, given: Serving) -> TlsServerConfig:
    for option, value in (("--secret-file", given["secret_files"]), ("--post-quantum", given["post_quantum"])):
        if value:
            raise click.UsageError(f"{option} is not for TLS, which the key is for", click.get_current_context())
    return load(lambda _: TlsServerConfig(key=key, authorize=authorize, **_common(given)), given["key"])


class _Common(TypedDict):
    """What a server is configured with on either wire."""

    padding: PaddingPolicy
    limits: Limits
    keep_alive: float
    recheck: float
    instruments: list[Instrument]


def _common(given: Serving) -> _Common:
    return _Common(
        padding=given["padding"],
        limits=Limits(
            connections=given["max_connections"],
            connections_per_source=given["max_per_source"],
            idle_timeout=given["idle_timeout"],
            lifetime=given["lifetime"],
        ),
        keep_alive=given["keep_alive"],
        recheck=math.inf if given["clients"] is None else _RECHECK_SECONDS,
        instruments=[*event_instruments(given["events"])],
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


def serve(handler: Handler, given: Serving) -> int:
    """Serves as the command line says, until a signal; the exit status. Raises `click.ClickException`."""
    config = server_config(given)
    log_to_stderr(logging.WARNING)
    say = partial(say_where, config.key.public_key)

    def serve_here(given: Serving, ready: Ready) -> int:
        return trio.run(_serve_until_signal, handler, config, given, ready)

    if given["workers"] is None:
        return serve_here(given, say)
    return status_after(serve_in_workers(serve_here, given, given["workers"], say))


def say_where(public_key: PeerKey, listening: Sequence[Place]) -> None:
    """The one line on standard output."""
    click.echo(f"Listening on {', '.join(map(str, listening))} as {public_key}")


def status_after(ended_by: int | None) -> int:
    """The exit status of what was drained at a signal: 0, or 128 and the number of one other than SIGTERM."""
    return 0 if ended_by in (None, signal.SIGTERM) else 128 + ended_by


async def _serve_until_signal(handler: Handler, config: ServerConfig, given: Serving, ready: Ready) -> int:
    """Drains at SIGTERM and Ctrl-C; the exit status."""
    with drain_on(*ending_signals(), grace=given["grace"]) as drain:
        async with trio.open_nursery() as nursery:
            if given["metrics"] is not None:
                config = await _show_metrics(given["metrics"], config, nursery)
            await serve_until_drained(handler, given["listen"], config, drain, ready, proxy_from=given["proxy_from"])
            nursery.cancel_scope.cancel()
    return status_after(drain.signal)


async def _show_metrics(where: Address, config: ServerConfig, nursery: trio.Nursery) -> ServerConfig:
    """Shows them in that nursery; gives the configuration that fills them. Raises `Failure` where it can't."""
    try:
        from ..service.metrics import Metrics, serve_metrics
    except ImportError as exc:
        raise Failure(str(exc)) from None
    metrics = Metrics()
    try:
        listeners = await nursery.start(partial(serve_metrics, metrics, where.port, host=where.host))
    except (OSError, ValueError) as exc:
        raise Failure(f"can't show metrics on {where}: {reason(exc) if isinstance(exc, OSError) else exc}") from None
    places = ", ".join(f"http://{place_of(listener)}/metrics" for listener in listeners)
    click.echo(f"securestream: metrics on {places}", err=True)
    return replace(config, instruments=[*config.instruments, metrics])


async def serve_until_drained(
    handler: Handler,
    where: Place,
    config: ServerConfig,
    drain: Drain,
    ready: Ready,
    *,
    proxy_from: tuple[str, ...] = (),
) -> None:
    """Serves until `drain` was started and is done. `ready` is told where. Raises `Failure` where it can't listen."""
    listeners = list(await listen(where))
    async with trio.open_nursery() as nursery:
        serve = partial(serve_secure_listeners, drain=drain, proxy_from=proxy_from)
        await nursery.start(serve, handler, listeners, config)
        ready([place_of(listener) for listener in listeners])
