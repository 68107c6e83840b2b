"""Files sent and fetched, and taken up again where a connection broke.

    python -m examples.files server --folder shared
    python -m examples.files client connection put report.pdf
    python -m examples.files client connection get report.pdf --into downloads

A transfer that failed goes on from where it stopped, by itself or when the command is given again. Nothing is replaced:
a file that is there already is compared, and another one of its name is an error.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from functools import partial
from io import FileIO
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars
from rich.text import Text

import securestream as ss

from .._command import checked, command_line, count, printable, run, serve
from .client import get, put, with_patience
from .folder import Folder
from .server import FileServer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from .transfer import Progress

LARGEST = 10 * 2**30  # bytes of a file, unless it is said otherwise


@contextmanager
def bar(label: str) -> Iterator[tuple[Progress, Console]]:
    """On a terminal, a bar; what is to be called with the progress, and where lines can be written above it."""
    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    label_column = TextColumn("{task.description}", markup=False)
    with Bars(label_column, *columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(label, total=None)
        yield lambda done, size: bars.update(task, completed=done, total=size), console


async def transfer(arguments: argparse.Namespace) -> None:
    """Raises `OSError` of the file, and what the last try raises."""
    connect, name = partial(ss.connect, arguments.address), os.path.basename(arguments.file)
    with bar(printable(name)) as (progress, console), ExitStack() as stack:
        if arguments.action == "put":
            file = stack.enter_context(FileIO(arguments.file))
            once = partial(put, connect, name, file, progress)
        else:
            once = partial(get, connect, arguments.file, arguments.into, arguments.largest, progress)
        await with_patience(once, arguments.tries, lambda text: console.print(Text(printable(text)), soft_wrap=True))


def main() -> None:
    parser, server, client = command_line("files", __doc__)
    server.add_argument("--folder", required=True, type=checked(Folder), help="what clients put into, and get from")
    client.add_argument("action", choices=["put", "get"])
    client.add_argument("file", metavar="NAME", help="to put: the path of a file here; to get: its name there")
    client.add_argument("--into", metavar="FOLDER", default=".", type=checked(Folder), help="where to get it to")
    client.add_argument(
        "--tries", metavar="N", default=5, type=checked(count), help="how often to connect (%(default)s)"
    )
    for side in (server, client):
        side.add_argument(
            "--largest", metavar="BYTES", default=LARGEST, type=checked(count), help="no larger file is taken in"
        )
    arguments = parser.parse_args()
    if arguments.side == "server":
        handler = FileServer(arguments.folder, arguments.largest).handle
        run(partial(serve, handler, arguments, limits=ss.Limits(connections=100)))
    run(partial(transfer, arguments))


if __name__ == "__main__":
    main()
