"""TLS between a secure stream and the channel of its transport.

It is a channel and not a stream of its own, so that what is known of a transport stays known: how much of a send has
gone out (`unsent`, in what TLS makes of it), what lies in the socket, where the peer is. A secure stream over TLS is
therefore a stream over TCP like any other, and an alert can follow a send that was cut short.

TLS has an end of its own, close_notify (RFC 8446 section 6.1). Here it means nothing, and goes along with the last
record: without CLOSE or an alert before it the peer sees a truncated stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..protocol.errors import RemoteProtocolError
from ..protocol.records import READ_SIZE
from ..protocol.tls import TlsAlert

if TYPE_CHECKING:
    from ..protocol.openssl import TlsConnection
    from .channel import Reader, TransportChannel

# RFC 8446 section 6.2: the fatal alert internal_error as a record in clear, for who is refused before TLS has begun.
_REFUSAL = bytes.fromhex("15 0303 0002 02 50")


class TlsChannel:
    """Over the channel of a transport."""

    __slots__ = ("_at_end", "_below", "tls")

    def __init__(self, below: TransportChannel, tls: TlsConnection) -> None:
        self._below = below
        self._at_end = False
        self.tls: TlsConnection = tls

    @property
    def stream(self) -> trio.abc.Stream:
        return self._below.stream

    @property
    def bytes_sent(self) -> int:
        return self._below.bytes_sent

    @property
    def bytes_received(self) -> int:
        return self._below.bytes_received

    @property
    def unsent(self) -> bytes | None:
        """What is left of an earlier send, as TLS has made it."""
        return self._below.unsent

    # --- sending

    async def put(self, data: bytes | memoryview) -> None:
        """Sends, with what TLS has to say first. A checkpoint only where it has to wait."""
        await self._below.put(self._encrypt(data))

    async def send(self, data: bytes | memoryview) -> None:
        """Sends, with a checkpoint always."""
        await self._below.send(self._encrypt(data))

    async def send_last(self, data: bytes | memoryview) -> None:
        """Sends what an earlier send has left, this, and close_notify. Before TLS stands only TLS itself can say no."""
        wire = self._encrypt(data) + self.tls.close()
        if not self.tls.has_begun:
            wire = _REFUSAL
        await self._below.send_last(wire)

    def _encrypt(self, data: bytes | memoryview) -> bytes:
        try:
            return self.tls.encrypt(data)
        except RemoteProtocolError as exc:
            raise trio.BrokenResourceError(str(exc)) from exc

    async def send_eof(self) -> None:
        """Half-closes the transport where it can."""
        await self._below.send_eof()

    async def wait_writable(self) -> None:
        await self._below.wait_writable()

    # --- receiving

    async def feed_tls(self) -> bool:
        """Gives TLS what comes; False where the transport has ended."""
        await self._below.receive_into(_Incoming(self))
        return not self._at_end

    async def receive(self, max_bytes: int) -> bytes | bytearray:
        """What comes; before TLS stands, and for who refuses it, as it is."""
        if not self.tls.is_done:
            return await self._below.receive(max_bytes)
        try:
            while not (data := self.tls.decrypt(max_bytes)) and not self._is_over():
                await self.feed_tls()
        except RemoteProtocolError as exc:
            raise trio.BrokenResourceError(str(exc)) from exc
        return data

    async def receive_into(self, reader: Reader) -> int:
        """Feeds the reader with what comes, or with the end; gives the number of bytes."""
        if self.tls.has_more:
            await trio.lowlevel.checkpoint()
        while (size := self._decrypt_into(reader)) is None:
            await self.feed_tls()
        return size

    def receive_now(self, reader: Reader) -> bool:
        """As `receive_into`, without waiting; whether anything, or the end, had come."""
        if not self.tls.has_more and not self._below.receive_now(_Incoming(self)):
            return False
        try:
            self._decrypt_into(reader)
        except trio.BrokenResourceError:
            reader.feed_eof()
        return True

    def _decrypt_into(self, reader: Reader) -> int | None:
        """How much the reader was given; None where TLS needs more. Raises `trio.BrokenResourceError`."""
        try:
            data = self.tls.decrypt(READ_SIZE)
        except TlsAlert as exc:
            raise trio.BrokenResourceError(str(exc)) from exc
        except RemoteProtocolError as exc:
            reader.fail(exc)
            return 0
        if data:
            reader.feed(data)
        elif self._is_over():
            reader.feed_eof()
        else:
            return None
        return len(data)

    def _is_over(self) -> bool:
        return self.tls.has_ended or self._at_end

    # --- looking, and waking

    def has_input(self) -> bool:
        """Whether there surely is something to receive."""
        return self.tls.has_more or self._below.has_input()

    def can_send_now(self) -> bool:
        return self._below.can_send_now()

    def would_block(self) -> bool:
        return self._below.would_block()

    def interrupt_receive(self) -> None:
        self._below.interrupt_receive()

    def interrupt_send(self) -> None:
        self._below.interrupt_send()

    def interrupt_send_between_writes(self) -> None:
        self._below.interrupt_send_between_writes()


class _Incoming:
    """TLS as the reader of the channel below."""

    __slots__ = ("_buffer", "_channel")

    def __init__(self, channel: TlsChannel) -> None:
        self._channel = channel
        self._buffer = memoryview(b"")

    def space(self) -> memoryview:
        """Room for what the transport gives next: made when it is there, so that who waits holds none."""
        self._buffer = memoryview(bytearray(READ_SIZE))
        return self._buffer

    def filled(self, size: int) -> None:
        self._channel.tls.feed(self._buffer[:size])

    def feed(self, data: bytes | bytearray) -> None:
        self._channel.tls.feed(data)

    def feed_eof(self) -> None:
        self._channel._at_end = True

    def fail(self, failure: RemoteProtocolError) -> None:
        """No transport's channel does that."""
        raise AssertionError(failure)
