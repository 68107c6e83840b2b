"""Handshake frames over a channel: received whole, and answered with an alert where that is all there is to say."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from ..protocol.errors import RemoteProtocolError
from ..protocol.messages import LENGTHS, FrameReader, Kind, Lengths, encode_alert_frame
from .errors import HandshakeTruncated
from .secure import LINGER_BYTES
from .tls_channel import TlsChannel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from ..protocol.tls import TlsFacts
    from .channel import Channel

T = TypeVar("T")

# What a handshake asks the transport for at once. What comes beyond the frame is kept for the records.
_RECEIVE_SIZE = 16_384


class Frames:
    """Whole frames, in and out, and the last word to a client that is refused."""

    def __init__(self, channel: Channel, lengths: Lengths = LENGTHS) -> None:
        self._channel = channel
        self._reader = FrameReader(lengths)
        self._is_cut = False  # sending one was cancelled, perhaps in its middle

    async def send(self, frame: bytes) -> None:
        """A failed send is no news yet: what the peer has said may still be there to read."""
        try:
            await self._channel.put(frame)
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            self._is_cut = True
            raise

    async def receive(self, expected: Collection[Kind]) -> tuple[Kind, bytes]:
        while (frame := self._reader.next_frame(expected)) is None:
            self._reader.feed(await self._receive_some())
        return frame

    async def _receive_some(self) -> bytes | bytearray:
        return await self._something(partial(self._channel.receive, _RECEIVE_SIZE))

    async def _something(self, receive: Callable[[], Awaitable[T]]) -> T:
        """What `receive` gives, if it isn't the end. Raises `HandshakeTruncated`."""
        silent = self._channel.bytes_received == 0
        try:
            received = await receive()
        except trio.BrokenResourceError as exc:
            raise HandshakeTruncated("the connection broke in the middle of the handshake", in_silence=silent) from exc
        if not received:
            raise HandshakeTruncated("the connection was closed in the middle of the handshake", in_silence=silent)
        return received

    async def shake_hands_of_tls(self) -> TlsFacts:
        """TLS's handshake, below the frames. What a client has yet to say then goes with its first frame.

        Raises `RemoteProtocolError` and `HandshakeTruncated`.
        """
        channel = self._channel
        assert isinstance(channel, TlsChannel)
        while (facts := channel.tls.handshake()) is None:
            await self.send(b"")
            await self._something(channel.feed_tls)
        return facts

    def take_rest(self) -> bytes:
        return self._reader.take_rest()

    async def turn_away(self, code: int, *, patience: float, close_timeout: float) -> None:
        """Reads a hello, so that the answer isn't lost in a reset, and refuses whatever it says."""
        with trio.CancelScope(relative_deadline=patience), contextlib.suppress(RemoteProtocolError):
            await self.receive({Kind.HELLO})
        with trio.CancelScope(relative_deadline=close_timeout):
            await self.refuse(code, linger=True)

    async def refuse(self, code: int, *, linger: bool) -> None:
        """An alert in clear, then the end."""
        await self.end_with(encode_alert_frame(code), linger=linger)

    async def end_with(self, last: bytes, *, linger: bool) -> None:
        """Sends what is last in this direction; with `linger`, so that the peer surely gets it. Needs a deadline."""
        if self._is_cut and self._channel.unsent is None:
            return  # nothing can follow what was cut short
        with contextlib.suppress(trio.BrokenResourceError):
            await self._channel.send_last(last)
            if linger:
                await self._channel.send_eof()
                await _discard_input(self._channel)


async def _discard_input(channel: Channel) -> None:
    """Until the transport's end, or 1 MiB. Closing a TCP connection with unread input makes the kernel send a
    reset, which takes back what the peer has not read yet."""
    left = LINGER_BYTES
    while left > 0 and (data := await channel.receive(_RECEIVE_SIZE)):
        left -= len(data)
