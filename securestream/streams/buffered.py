"""Small writes gathered into full records: the seed's way, out at about 16 KB or at `flush()`.

`send_all` puts each call into a record of its own; a program that writes in small pieces pays a record and a
system call for each. Through a `BufferedWriter` it pays for one in sixteen thousand bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from .turns import Turns

if TYPE_CHECKING:
    from types import TracebackType

    import trio

    from .secure import SecureStream
    from .shaping import ConstantRate


class BufferedWriter:
    """Gathers what is written to `stream` until a record of it is full, or `flush()`.

    `async with BufferedWriter(stream) as writer:` flushes when it is left in order. Left by an exception it
    doesn't: what the peer has is a part, and the stream's own end will say so.
    """

    __slots__ = ("_buffer", "_capacity", "_stream", "_turns")

    def __init__(self, stream: SecureStream[trio.abc.Stream] | ConstantRate) -> None:
        self._stream = stream
        self._capacity = stream.record_capacity
        self._buffer = bytearray()
        self._turns = Turns("writing to this BufferedWriter")

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Takes `data`, and sends what fills whole records. A checkpoint only when it sends.

        Raises what `SecureStream.send_all` does; what was gathered is lost then.
        """
        self._turns.begin()
        try:
            self._buffer += data
            if len(self._buffer) >= self._capacity:
                await self._send(len(self._buffer) - len(self._buffer) % self._capacity)
        finally:
            self._turns.end()

    async def flush(self) -> None:
        """Sends what is left. Raises what `SecureStream.send_all` does."""
        self._turns.begin()
        try:
            await self._send(len(self._buffer))
        finally:
            self._turns.end()

    async def _send(self, size: int) -> None:
        data = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        await self._stream.send_all(data)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is None:
            await self.flush()
