"""`securestream echo`: a server that sends back what it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import click

from .serving import Serving, serve, serving_options

if TYPE_CHECKING:
    from .serving import Stream

_EXAMPLES = """\b
Examples:
  securestream echo --key server.key --listen 127.0.0.1:9222 \\
      --allow aOa7jA2s0LKBIrYmqyEtFWXXXtVHMxNiXlxXDXmWx1s=
  securestream echo --key server.key --listen '[::1]:0' --clients clients
  securestream echo --key server.key --listen unix:/run/echo/socket \\
      --clients clients --idle-timeout 300 --metrics 127.0.0.1:9464
  securestream echo --key server.key --listen 0.0.0.0:9222 --clients clients \\
      --workers 4 --proxy-from 10.0.0.7
\b
  umask 077; echo "ss-shared:$(openssl rand -base64 32)" > group.secret
  pass show server-key | securestream echo --key - --listen 0.0.0.0:9222 \\
      --allow-anyone --secret-file group.secret --padding padme
"""


@serving_options
@click.command(epilog=_EXAMPLES)
def echo(**given: Unpack[Serving]) -> int:
    """Runs an echo server.

    Prints one line when it is ready: its address and its public key. Clients that are turned away are named on
    standard error. SIGTERM and Ctrl-C end it: nobody new comes in, open connections are told, and those at work
    get --grace seconds; a second one ends them at once. Exit status 0 and 130.
    """
    return serve(send_back, given)


async def send_back(stream: Stream) -> None:
    """The handler: what comes goes back, and the end is answered with the end."""
    async for chunk in stream:
        await stream.send_all(chunk)
