"""One connection of a server, from its handshake on: how long it may last, and how it is told to end.

A connection is ended from outside by cancelling its handler and then sending the alert, in the connection's own
task: so a client that doesn't take the alert holds up nobody, and the handler's `finally` blocks have run.
"""

from __future__ import annotations

import ipaddress
import math
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from ..protocol.codes import AlertCode
from ..streams.errors import StreamFailure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..streams.config import ServerConfig
    from ..streams.secure import SecureStream

T_Stream = TypeVar("T_Stream", bound=trio.abc.Stream)


class Connection(Generic[T_Stream]):
    """A client that is in, while its handler runs.

    No task beside the handler's: what a server wants to know it finds out by looking (`note_activity`) now and then.
    """

    __slots__ = ("_farewell", "_progress", "_quiet_since", "_records", "_scope", "_silent_since", "stream")

    def __init__(self, stream: SecureStream[T_Stream], lifetime: float) -> None:
        self.stream: SecureStream[T_Stream] = stream
        self._scope = trio.CancelScope(relative_deadline=lifetime)
        self._farewell = AlertCode.SHUTTING_DOWN, "this connection has lasted as long as one may"
        self._progress, self._records = (0, 0, 0), 0
        self._quiet_since = self._silent_since = trio.current_time()

    async def run(self, handler: Callable[[SecureStream[T_Stream]], Awaitable[object]]) -> None:
        """The handler. Raises what it raises, and `StreamFailure` where the connection was ended from outside."""
        with self._scope:
            await handler(self.stream)
            return
        raise StreamFailure(*self._farewell)

    def end(self, code: AlertCode, message: str) -> None:
        """Cancels the handler; the client gets this alert. The first call counts."""
        if not self._scope.cancel_called:
            self._farewell = code, message
            self._scope.cancel()

    @property
    def is_idle(self) -> bool:
        """Whether the handler waits for its client to begin something, and nothing has come."""
        return self.stream._is_idle()

    def note_activity(self, now: float) -> None:
        """Takes down what has gone on since the last look. A handler that does something itself, and doesn't wait
        for its client, is active."""
        progress, records = self.stream._progress(), self.stream._writer.records
        if progress != self._progress or not self.stream._waits():
            self._progress, self._quiet_since = progress, now
        if records != self._records:
            self._records, self._silent_since = records, now

    def enforce(self, config: ServerConfig, now: float) -> bool:
        """Ends the connection if it was idle for too long; else says whether a record is due to keep it alive."""
        if now - self._quiet_since >= config.limits.idle_timeout:
            self.end(AlertCode.IDLE_TIMEOUT, f"nothing came for {config.limits.idle_timeout:g} s")
            return False
        return now - self._silent_since >= config.keep_alive


def look_every(config: ServerConfig) -> float:
    """How often a server looks at its connections, in seconds; `math.inf` where it needn't."""
    return min(config.limits.idle_timeout, config.keep_alive) / _LOOKS


# How often within an idle timeout: the more, the more exactly it is kept.
_LOOKS = 8
assert math.inf / _LOOKS == math.inf


def source_of(address: str) -> str:
    """Whom a connection from `address`, as `Peer.address` has it, is counted for: an IPv4 address, the 64-bit network
    of an IPv6 address, or "" for what is neither."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return ""
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.IPv6Network((ip.packed[:8] + bytes(8), 64)))
