"""`securestream route`: a router in front of servers."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import click
import trio

from ..service.drain import drain_on
from ..service.router import RouterConfig, serve_router_listeners
from ..service.routes import Backend, RoutesFile
from ..streams.config import Limits
from .common import FILE_NAME, ending_signals, load, proxy
from .logs import log_to_stderr
from .places import PLACE_HELP, place, place_of
from .places import listen as open_listeners
from .secrets import key_option, load_key, passphrase_option
from .serving import count_options, grace_option, say_where, status_after

if TYPE_CHECKING:
    from .places import Place

_EXAMPLES = """\b
Examples:
  securestream keygen -o router.key
  securestream route --key router.key --listen 0.0.0.0:9222 --routes routes
  securestream route --key router.key --listen 0.0.0.0:9222 --routes routes \\
      --default 10.0.0.9:9222 --proxy-from 10.0.0.7
\b
A line of the file of routes, with the server told who the client is:
  6HvG2FFNFIifEjaAfryurGtr+ucaNgHfSSfgQUi5MHM=  10.0.0.5:9222  proxy=v2
\b
Exit status:
  0      ended by SIGTERM
  1      it can't listen, or standard output is gone
  2      wrong usage, or a file that can't be used
  128+N  ended by another signal N, as 130 by Ctrl-C
"""


def _backend(text: str) -> Backend:
    try:
        return Backend(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None


def _with_counts(command: click.Command) -> click.Command:
    command.params += count_options()
    return command


@grace_option
@_with_counts
@click.command(epilog=_EXAMPLES)
@key_option("The router's private key; - is standard input.", required=True)
@click.option("--listen", required=True, metavar="PLACE", type=place, help=PLACE_HELP)
@click.option(
    "--routes",
    "routes_file",
    required=True,
    metavar="FILE",
    type=FILE_NAME,
    help="Which server is where. Read again when it changes.",
)
@click.option(
    "--default",
    metavar="BACKEND",
    type=_backend,
    multiple=True,
    help="HOST:PORT or unix:PATH for clients that don't know this router. Repeatable. Without, they are refused.",
)
@click.option(
    "--proxy-from",
    metavar="NETWORK",
    type=proxy,
    multiple=True,
    help="Proxies and routers in front, which say who the client is. Repeatable; unix is whoever uses the socket.",
)
@passphrase_option
def route(
    key: str,
    listen: Place,
    routes_file: str,
    default: tuple[Backend, ...],
    proxy_from: tuple[str, ...],
    grace: float,
    passphrase_file: str | None,
    max_connections: int,
    max_per_source: int,
) -> int:
    """Sends each client to the server that it wants, and can read nothing of what they say.

    Clients are given the router's public key as Middlebox Key. Prints one line when it is ready: its address and that
    key. Whoever is turned away is named on standard error. SIGTERM and Ctrl-C end it: nobody new comes in, and
    connections that are open after --grace seconds are cut; a second signal cuts them at once. docs/router.md has more.
    """
    config = RouterConfig(
        keys=[load_key(key, passphrase_file)],
        routes=load(RoutesFile, routes_file),
        default=default,
        limits=Limits(connections=max_connections, connections_per_source=max_per_source),
    )
    log_to_stderr(logging.WARNING)
    return trio.run(partial(_route, config, listen, proxy_from, grace))


async def _route(config: RouterConfig, where: Place, proxy_from: tuple[str, ...], grace: float) -> int:
    with drain_on(*ending_signals(), grace=grace) as drain:
        listeners = list(await open_listeners(where))
        serve = partial(serve_router_listeners, listeners, config, drain=drain, proxy_from=proxy_from)
        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            say_where(config.keys[0].public_key, [place_of(listener) for listener in listeners])
    return status_after(drain.signal)
