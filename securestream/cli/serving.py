"""What the commands that serve secure streams have in common: their options, and what is made of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypedDict

import click

from ..protocol.tls_keys import KeyHash, TlsPrivateKey
from ..service.server import serve_secure_listeners
from ..streams.config import ANYONE, Limits, ServerConfig
from ..streams.tls import TlsServerConfig
from ..trust.peers import AuthorizedPeers, AuthorizedPeersFile
from .common import FILE_NAME, load, padding_option, post_quantum_option, proxy, public_key, seconds
from .logs import events_option
from .running import Running, listen_option, run_server, running_options
from .secrets import KEY_VARIABLE, load_own_key, load_secret, passphrase_option

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    import trio

    from ..protocol.hybrid import PostQuantum
    from ..protocol.padding import PaddingPolicy
    from ..protocol.tls_keys import OwnKey, PeerKey
    from ..service.drain import Drain
    from ..streams.config import Authorize
    from ..streams.secure import SecureStream
    from .places import Listener
    from .running import Accept

    Stream = SecureStream[trio.SocketStream]
    Handler = Callable[[Stream], Awaitable[None]]

# How long a client that is taken out of the list may stay.
_RECHECK_SECONDS = 1.0


# --- options ----------------------------------------------------------------------------------------


class Serving(Running):
    """The values of `serving_options`."""

    proxy_from: tuple[str, ...]
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
            help="The server's private key; - is standard input. With one for TLS it serves over TLS.",
        ),
        listen_option(),
        proxy_option(),
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
        *running_options(),
    ]
    for option in (padding_option, post_quantum_option, events_option, passphrase_option):
        option(command)
    return command


def proxy_option() -> click.Option:
    """`--proxy-from`."""
    return click.Option(
        ["--proxy-from"],
        metavar="NETWORK",
        type=proxy,
        multiple=True,
        help="A proxy or router in front, which says by the PROXY protocol who is there; unix for whoever comes over a"
        " Unix socket. Repeatable.",
    )


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
    _check_wires(key, given["allow"])
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


def _check_wires(key: OwnKey, allow: Iterable[PeerKey]) -> None:
    """A client's key of the other wire would let nobody in."""
    over_tls = isinstance(key, TlsPrivateKey)
    for client in allow:
        if isinstance(client, KeyHash) != over_tls:
            which = "not for TLS, and --key is" if over_tls else "for TLS, and --key is not"
            raise click.UsageError(f"--allow {client} is {which}", click.get_current_context())


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
    return run_server(accepting(handler, given["proxy_from"]), config, config.key.public_key, given)


def accepting(handler: Handler, proxy_from: Iterable[str] = ()) -> Accept[ServerConfig]:
    """What serves with this handler."""

    async def accept(
        listeners: list[Listener],
        config: ServerConfig,
        drain: Drain,
        task_status: trio.TaskStatus[list[Listener]],
    ) -> None:
        await serve_secure_listeners(
            handler, listeners, config, drain=drain, proxy_from=proxy_from, task_status=task_status
        )

    return accept
