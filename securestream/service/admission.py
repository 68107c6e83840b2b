"""Who may come in: how many connections at once, from where, and whose place a newcomer takes.

What happens to those that are let in is the business of who inherits: a server (`server.py`) or a router (`router.py`).
`keeper.py` accepts for both.

A connection from a listed proxy begins with a header of the PROXY protocol, always, and is then its client's: in
limits, in the log, for `authorize`. One from anywhere else has none, and what looks like one there is garbage. So
nobody but a listed proxy can say who somebody is.
"""

from __future__ import annotations

import abc
import contextlib
import logging
from collections import Counter
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import trio

from ..protocol.alerts import AlertCode, printable
from ..protocol.codes import code_name
from ..streams.channel import has_left
from ..streams.errors import HandshakeError, HandshakeTruncated
from ..streams.place import Place, Refused
from ..trust.networks import is_in, parse_networks
from .connection import source_of
from .descriptors import most_connections, most_refusals
from .proxy_protocol import receive_proxy_header

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from ..streams.config import Limits
    from ..streams.instrument import Instrument

T_Stream = TypeVar("T_Stream", bound=trio.abc.Stream)

logger: logging.Logger = logging.getLogger("securestream")

# Clients that are being told "busy" are few and short-lived; beyond so many a connection is just closed.
_MAX_REFUSALS = 256
# Seconds that a client has to answer before it may lose its place to another. Much less, and a server with more to do
# than it can would drop those whose turn is next.
_LEAST_PATIENCE = 0.1


class Admission(abc.ABC, Generic[T_Stream]):
    """The connections of one server, from accept to close. To inherit.

    `limits`             how many, in all and of one source; fewer where there are no descriptors for so many
    `handshake_timeout`  seconds that a client has to be in
    `proxy_from`         the proxies: networks, and the word `unix` for whoever comes over a Unix socket
    `observer`           is told of those that are closed without a word
    """

    def __init__(
        self, limits: Limits, handshake_timeout: float, proxy_from: Iterable[str], observer: Instrument | None
    ) -> None:
        self._limits = limits
        self._most = min(limits.connections, most_connections(self.descriptors_each))
        self._most_refusals = min(_MAX_REFUSALS, most_refusals())
        self._observer = observer
        self._handshake_timeout = handshake_timeout
        self._proxies = _Proxies(proxy_from)
        self._pending: dict[Place, None] = {}  # the oldest first
        self._sources: Counter[str] = Counter()
        self._refusals = 0

    # --- to be provided

    descriptors_each: ClassVar[int] = 1
    """What one that is in takes of the system."""

    @property
    @abc.abstractmethod
    def inside(self) -> int:
        """How many are in: those whose handshake is done."""

    @abc.abstractmethod
    async def _take_in(self, transport: T_Stream, place: Place) -> None:
        """One connection for which there is room, to its close. Uses `_waiting` until it is in."""

    @abc.abstractmethod
    async def _tell_busy(self, transport: T_Stream, place: Place, why: str) -> None:
        """Refuses one, and closes it. May raise `HandshakeError`."""

    @abc.abstractmethod
    def end_all(self, *, idle_only: bool) -> None:
        """Ends those that are in, or those of them that do nothing."""

    @property
    @abc.abstractmethod
    def seconds_to_close(self) -> float:
        """How long a connection that was told to end may take over it."""

    def chores(self) -> Iterable[Callable[[], Awaitable[None]]]:
        """What goes on beside the connections, for as long as any is accepted or open. Each runs for ever."""
        return ()

    # --- coming in

    async def run(self, transport: T_Stream) -> None:
        """One connection, from accept to close."""
        place = Place(transport, self._handshake_timeout)
        if not place.address and has_left(transport):  # so HAProxy ends its checks, which must not pass for a client's
            logger.info("a connection was reset before it was accepted")
            await trio.aclose_forcefully(transport)
        elif not self._proxies.has(place.address):
            await self._admit(transport, place)
        elif not self._has_room():
            await self._turn_away(transport, place, "no room for another connection")
        elif await self._hear_proxy(transport, place):
            await self._admit(transport, place)

    async def _admit(self, transport: T_Stream, place: Place) -> None:
        source = source_of(place.address)
        if source and self._sources[source] >= self._limits.connections_per_source:
            await self._turn_away(transport, place, f"no room for another connection from {source}")
        elif not self._has_room():
            await self._turn_away(transport, place, "no room for another connection")
        else:
            with self._counted(source):
                await self._take_in(transport, place)

    async def _hear_proxy(self, transport: T_Stream, place: Place) -> bool:
        """What the proxy says of the client; whether it did. It knows what went wrong, so it is told nothing."""
        try:
            with self._waiting(place), place.held():
                header = await receive_proxy_header(transport)
            place.address, place.destination = header.source or place.address, header.destination
            return True
        except (HandshakeError, Refused) as exc:
            log_refusal(place.address, exc.error if isinstance(exc, Refused) else exc)
        except Exception:  # a transport that breaks its interface
            logger.exception("lost %s in the PROXY header", place.address)
        except BaseException:
            await trio.aclose_forcefully(transport)
            raise
        await trio.aclose_forcefully(transport)
        return False

    @contextlib.contextmanager
    def _waiting(self, place: Place) -> Iterator[None]:
        """While it may lose its place to another."""
        self._pending[place] = None
        try:
            yield
        finally:
            self._pending.pop(place, None)

    @contextlib.contextmanager
    def _counted(self, source: str) -> Iterator[None]:
        self._sources[source] += 1
        try:
            yield
        finally:
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]

    @property
    def are_gone(self) -> bool:
        """Whether none is left, those in the handshake included."""
        return not self._sources

    # --- room

    def _has_room(self) -> bool:
        pending = len(self._pending)
        is_full = pending >= self._limits.pending_handshakes or pending + self.inside >= self._most
        return not is_full or self._make_room()

    def _make_room(self) -> bool:
        """Takes the place of the client that has kept the server waiting for longest, if it had long enough.

        So slow clients, however many, keep nobody out: they would have to come back as fast as honest ones answer.
        Those that wait for `authorize`, or for a backend, have done their part and are let be.
        """
        for place in self._pending:
            if place.waits:
                if trio.current_time() - place.since < _LEAST_PATIENCE:
                    return False
                del self._pending[place]
                place.take_away()
                return True
        return False

    async def _turn_away(self, transport: T_Stream, place: Place, why: str) -> None:
        address, pending = place.address, len(self._pending)
        count = pending + self.inside
        logger.warning("busy: refused %s: %s (%d open, %d in handshake)", address, why, count, pending)
        if self._refusals >= self._most_refusals:
            if self._observer is not None:
                self._observer.handshake_started(address)
                self._observer.handshake_failed(address, code_name(AlertCode.BUSY), 0.0)
            await trio.aclose_forcefully(transport)
            return
        self._refusals += 1
        try:
            await self._tell_busy(transport, place, why)
        except HandshakeError:
            pass
        except Exception:
            logger.exception("lost %s, which was to be told", address)
        finally:
            self._refusals -= 1


def log_refusal(address: str, exc: HandshakeError) -> None:
    """A line for who is not let in; whoever closes without having said anything, as health checks do, is no trouble."""
    level = logging.INFO if isinstance(exc, HandshakeTruncated) and exc.in_silence else logging.WARNING
    logger.log(level, "refused %s: %s [%s]", address, printable(str(exc)), exc.code)


class _Proxies:
    """Who may say who somebody is."""

    def __init__(self, proxy_from: Iterable[str]) -> None:
        if isinstance(proxy_from, str):
            raise TypeError("proxy_from takes several networks: ['10.0.0.0/8']")
        given = set(proxy_from)
        self._unix = "unix" in given
        self._networks = parse_networks(given - {"unix"})

    def has(self, address: str) -> bool:
        return self._unix if address.startswith("unix:") else is_in(address, self._networks)
