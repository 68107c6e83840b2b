"""`securestream route`: a router in front of servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import click

from ..service.router import RouterConfig, serve_router_listeners
from ..service.routes import Backend, RoutesFile
from ..streams.config import Limits
from .common import FILE_NAME, load
from .logs import events_option
from .running import Running, listen_option, run_server, running_options, with_options
from .secrets import key_option, load_key, passphrase_option
from .serving import count_options, proxy_option

if TYPE_CHECKING:
    import trio

    from ..service.drain import Drain
    from .places import Listener

_EXAMPLES = """\b
Examples:
  securestream keygen -o router.key
  securestream route --key router.key --listen 0.0.0.0:9222 --routes routes
  securestream route --key router.key --listen 0.0.0.0:9222 --routes routes \\
      --default 10.0.0.9:9222 --proxy-from 10.0.0.7
  securestream route --key router.key --listen 0.0.0.0:9222 --routes routes \\
      --workers 4 --metrics 127.0.0.1:9464
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


class _Routing(Running):
    """The values of the options of `route`."""

    key: str
    routes_file: str
    default: tuple[Backend, ...]
    proxy_from: tuple[str, ...]
    passphrase_file: str | None
    max_connections: int
    max_per_source: int


@with_options(listen_option(), proxy_option(), *count_options(), *running_options())
@click.command(epilog=_EXAMPLES)
@key_option("The router's private key; - is standard input.", required=True)
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
@passphrase_option
@events_option
def route(**given: Unpack[_Routing]) -> int:
    """Sends each client to the server that it wants, and can read nothing of what they say.

    Clients are given the router's public key as Middlebox Key. Prints one line when it is ready: its address and that
    key. Whoever is turned away is named on standard error. SIGTERM and Ctrl-C end it: nobody new comes in, and
    connections that are open after --grace seconds are cut; a second signal cuts them at once. docs/router.md has more.
    """
    key = load_key(given["key"], given["passphrase_file"])
    config = RouterConfig(
        keys=[key],
        routes=load(RoutesFile, given["routes_file"]),
        default=given["default"],
        limits=Limits(connections=given["max_connections"], connections_per_source=given["max_per_source"]),
    )

    async def accept(
        listeners: list[Listener],
        config: RouterConfig,
        drain: Drain,
        task_status: trio.TaskStatus[list[Listener]],
    ) -> None:
        proxies = given["proxy_from"]
        await serve_router_listeners(listeners, config, drain=drain, proxy_from=proxies, task_status=task_status)

    return run_server(accept, config, key.public_key, given)
