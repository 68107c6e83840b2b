"""The server: a folder that its clients put files into and get files out of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import securestream as ss

from .messages import CHUNK_BYTES, Request, receive
from .transfer import keep_file, send_file

if TYPE_CHECKING:
    import trio

    from .folder import Folder


class FileServer:
    """`handle` is a handler for `ss.serve_secure_tcp`. Files that come have at most `largest` bytes."""

    def __init__(self, folder: Folder, largest: int) -> None:
        self._folder = folder
        self._largest = largest

    async def handle(self, stream: ss.SecureStream[trio.abc.Stream]) -> None:
        """One file. What it raises is what the client gets to know, as an alert."""
        channel = ss.MessageChannel(stream, max_size=CHUNK_BYTES)
        request = await receive(channel, Request)
        if request.action == "put":
            await keep_file(channel, self._folder, request.name, self._largest, no_progress)
        else:
            with self._folder.open(request.name) as file:
                await send_file(channel, file, no_progress)


def no_progress(done: int, size: int) -> None:
    """Nobody is looking."""
