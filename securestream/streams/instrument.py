"""Hooks for who wants to see what happens: counters, logs, tests. Without one nothing is called and nothing counted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar, final

import trio

from .errors import StreamError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ..protocol.alerts import Alert
    from .secure import SecureStream, StreamStatistics

    AnyStream = SecureStream[trio.abc.Stream]

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("securestream")


class Instrument:
    """Told of handshakes, alerts and ends. A subclass overrides what it wants to know; each hook here does nothing.

    Hooks are called where it happens, in the program's own tasks, so they are quick and never wait. One that raises
    is logged, and its instrument not called any more; the stream goes on.

    `address` is where the peer is, as text, as `Peer.address` has it. `seconds` are on Trio's clock. `reason` is a
    stable string, of those that `StreamError.code` has, or one of those named below.

    A router has no streams. It tells of clients that come and are refused as of handshakes, and calls the last two.
    """

    def handshake_started(self, address: str) -> None:
        """A client is connected, or a server; one of the next two follows."""

    def handshake_done(self, stream: AnyStream, seconds: float) -> None:
        """`stream.peer` is in."""

    def handshake_failed(self, address: str, reason: str, seconds: float) -> None:
        """`reason` may also be "cancelled", by this side, or "error", where this side broke."""

    def alert_sent(self, stream: AnyStream, alert: Alert) -> None:
        """This side has ended the stream with an alert, or with the answer to what its peer did wrong."""

    def alert_received(self, stream: AnyStream, alert: Alert) -> None:
        """The peer has, and this side has read it."""

    def stream_closed(self, stream: AnyStream, reason: str, statistics: StreamStatistics) -> None:
        """The last that is said of a stream. `reason`: the name of the alert that ended it, or what broke it, or
        "closed" where both ends were in order, "half_closed" where this side's was, and "cut" where none was."""

    def client_routed(self, address: str, backend: str, seconds: float) -> None:
        """A router has handed a client's hello to the server at `backend`, so many seconds after it came."""

    def route_closed(self, address: str, backend: str, reason: str) -> None:
        """That connection has ended. `reason`: "closed" where both ends were passed on, "broken" where one side broke,
        "cut" where the router ended it."""


@final
class Observers(Instrument):
    """The instruments of one configuration, as one."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self._instruments = list(instruments)

    def handshake_started(self, address: str) -> None:
        self._tell(lambda each: each.handshake_started(address))

    def handshake_done(self, stream: AnyStream, seconds: float) -> None:
        self._tell(lambda each: each.handshake_done(stream, seconds))

    def handshake_failed(self, address: str, reason: str, seconds: float) -> None:
        self._tell(lambda each: each.handshake_failed(address, reason, seconds))

    def alert_sent(self, stream: AnyStream, alert: Alert) -> None:
        self._tell(lambda each: each.alert_sent(stream, alert))

    def alert_received(self, stream: AnyStream, alert: Alert) -> None:
        self._tell(lambda each: each.alert_received(stream, alert))

    def stream_closed(self, stream: AnyStream, reason: str, statistics: StreamStatistics) -> None:
        self._tell(lambda each: each.stream_closed(stream, reason, statistics))

    def client_routed(self, address: str, backend: str, seconds: float) -> None:
        self._tell(lambda each: each.client_routed(address, backend, seconds))

    def route_closed(self, address: str, backend: str, reason: str) -> None:
        self._tell(lambda each: each.route_closed(address, backend, reason))

    def _tell(self, call: Callable[[Instrument], None]) -> None:
        for each in tuple(self._instruments):
            try:
                call(each)
            except Exception:
                self._instruments.remove(each)
                logger.exception("%r failed and is not called any more", each)

    async def watch(self, address: str, coming_in: Awaitable[T], done: Callable[[T, float], None]) -> T:
        """`coming_in`, with its beginning and its end told. `done` is given what came of it, and the seconds."""
        start = trio.current_time()
        self.handshake_started(address)
        try:
            came = await coming_in
        except BaseException as exc:
            self.handshake_failed(address, _reason_of(exc), trio.current_time() - start)
            raise
        done(came, trio.current_time() - start)
        return came


def observers(instruments: Sequence[Instrument]) -> Observers | None:
    """One for all of them; None where there are none. Raises `TypeError`."""
    for each in instruments:
        if not isinstance(each, Instrument):
            raise TypeError(f"instruments are of the class Instrument, not {type(each).__name__}")
    return Observers(instruments) if instruments else None


def _reason_of(exc: BaseException) -> str:
    if isinstance(exc, StreamError):
        return exc.code
    return "error" if isinstance(exc, Exception) else "cancelled"
