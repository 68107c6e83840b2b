"""Echo: what is sent comes back.

    python -m examples.echo server
    python -m examples.echo client connection

The smallest whole program of this kind, to start from: two files of keys, a list of clients, both directions at once,
an end that is meant, and a server that ends in order. The client sends its standard input and prints what comes.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import trio

import securestream as ss

from ._command import command_line, read_input, run, serve, write_output

if TYPE_CHECKING:
    from ._command import Stream

IDLE_SECONDS = 300  # the server's patience with a client that does nothing
REST_SECONDS = 30  # the client's with the rest of its answer, once it has sent everything


async def echo(stream: Stream) -> None:
    """The handler. A client that sends and takes nothing back is held up by TCP: no more than a chunk is kept here."""
    async for chunk in stream:
        await stream.send_all(chunk)


async def talk(address: ss.Address) -> None:
    """Both directions at once: the server answers before all is sent. Raises `trio.TooSlowError`, and stream errors."""
    async with await ss.connect(address) as stream:
        with trio.fail_after(math.inf) as patience:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_input, stream, patience)
                async for chunk in stream:
                    await write_output(chunk)
                nursery.cancel_scope.cancel()  # the server has ended; what is typed now has nobody to go to


async def send_input(stream: Stream, patience: trio.CancelScope) -> None:
    """To its end, which is sent as an end: the answer may still go on, but no more for ever."""
    while data := await read_input():
        await stream.send_all(data)
    await stream.send_eof()
    patience.deadline = trio.current_time() + REST_SECONDS


def main() -> None:
    parser, _server, _client = command_line("echo", __doc__)
    arguments = parser.parse_args()
    if arguments.side == "server":
        run(partial(serve, echo, arguments, limits=ss.Limits(connections=1_000, idle_timeout=IDLE_SECONDS)))
    run(partial(talk, arguments.address))


if __name__ == "__main__":
    main()
