"""Whole messages over a secure stream: each with its length in front.

    message = u32 length | content         little-endian, as on the rest of the wire

A stream of bytes has no seams; programs that ask and answer want some. The length is judged as soon as its four bytes
are there, before anything is stored, and room is taken only for what has come: a peer that announces a megabyte costs
nothing until it sends it. One message is one `send_all`, so the padding policy is asked about the whole of it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NoReturn

import trio

from .errors import BadMessage

if TYPE_CHECKING:
    from types import TracebackType

    from .secure import SecureStream

MAX_MESSAGE = 2**20
_LENGTH = struct.Struct("<I")


class MessageChannel(trio.abc.Channel[bytes]):
    """Messages of at most `max_size` bytes, either way, over `stream`: default 1,048,576.

    `async for message in channel` ends at the peer's authenticated end. Closing the channel closes the stream;
    `async with channel`, left by an exception, tells the peer as `async with stream` does. `stream` is there for
    `send_eof()`, `send_alert()` and `peer`; to receive from it, or to send on it, puts the channel out of step.

    Raises `ValueError` for a `max_size` that isn't from 1 to 4,294,967,295.
    """

    __slots__ = ("_arrived", "_size", "max_size", "stream")

    def __init__(self, stream: SecureStream[trio.abc.Stream], *, max_size: int = MAX_MESSAGE) -> None:
        if not 1 <= max_size < 2**32:
            raise ValueError("max_size is from 1 to 4,294,967,295 bytes")
        self.stream: SecureStream[trio.abc.Stream] = stream
        self.max_size: int = max_size
        self._size: int | None = None  # of the message that is coming, once that is known
        self._arrived = bytearray()  # of it, or of its length

    async def send(self, value: bytes | bytearray | memoryview) -> None:
        """Sends one message; an empty one is one, too.

        Raises `TypeError` for what is no bytes and `ValueError` for too many, before anything is sent, and what
        `SecureStream.send_all` does.
        """
        if not isinstance(value, bytes | bytearray | memoryview):
            raise TypeError(f"a message is bytes, not a {type(value).__name__}")
        content = bytes(value)
        if len(content) > self.max_size:
            raise ValueError(f"a message of {len(content):,} bytes, where {self.max_size:,} are allowed")
        await self.stream.send_all(_LENGTH.pack(len(content)) + content)

    async def receive(self) -> bytes:
        """The next message. A cancelled call loses nothing.

        Raises `trio.EndOfChannel` at the peer's authenticated end; `BadMessage` for a message that is too long, or
        cut short by that end; and what `SecureStream.receive_some` does. After `BadMessage` the stream is broken, and
        closing it tells the peer: alert 11 "protocol error".
        """
        if self._size is None:
            self._size = self._judge_length(await self._receive_exactly(_LENGTH.size))
        content = await self._receive_exactly(self._size)
        self._size = None
        return content

    def _judge_length(self, length: bytes) -> int:
        (size,) = _LENGTH.unpack(length)
        if size > self.max_size:
            self.stream._refuse(lambda: BadMessage(f"a message of {size:,} bytes, where {self.max_size:,} are allowed"))
        return int(size)

    async def _receive_exactly(self, size: int) -> bytes:
        while (missing := size - len(self._arrived)) > 0:
            if not (data := await self.stream.receive_some(missing)):
                self._end()
            self._arrived += data
        arrived, self._arrived = bytes(self._arrived), bytearray()
        return arrived

    def _end(self) -> NoReturn:
        if self._size is None and not self._arrived:
            raise trio.EndOfChannel
        self.stream._refuse(lambda: BadMessage("the peer ended its stream in the middle of a message"))

    async def aclose(self) -> None:
        """Closes the stream. Raises what `SecureStream.aclose` does."""
        await self.stream.aclose()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stream.__aexit__(exc_type, exc, traceback)
