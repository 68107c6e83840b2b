"""`securestream tunnel`: any program over a secure stream. The group; each end is a command of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import click

from .lazy import LazyGroup

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXAMPLES = """\b
Examples:
  securestream tunnel server --key server.key --listen 0.0.0.0:9222 \\
      --clients clients --target 127.0.0.1:6379
  securestream tunnel client --listen 127.0.0.1:6379 \\
      --connect "Server=db.example:9222;Server Key=...;Client Key=client.key"
  redis-cli -h 127.0.0.1
\b
Exit status, of both ends:
  0      ended by SIGTERM
  1      it can't listen, or standard output is gone
  2      wrong usage, or a file that can't be used
  128+N  ended by another signal N, as 130 by Ctrl-C
"""


class _Tunnel(LazyGroup):
    modules: ClassVar[Mapping[str, str]] = {"client": "tunnel_client", "server": "tunnel_server"}


@click.group(cls=_Tunnel, epilog=_EXAMPLES)
def tunnel() -> None:
    """Carries the connections of any program over secure streams.

    The client's end listens for the program and connects to the server's end, which connects to the target once the
    client is authorised. An end of data is passed on as an end, and an error never is: the program gets a reset.
    docs/tunnel.md has Redis, PostgreSQL and systemd.
    """
