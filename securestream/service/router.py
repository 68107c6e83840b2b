"""A router: sends each client to the server that it wants, and learns nothing else.

    client --- hello: route sealed to the router's key ---> router --- the same hello, and all that follows ---> server

It reads one frame, the hello, and opens the sealed route in it with its own key: 32 bytes, the public key of the server
that the client wants. It finds that server in its table, dials it, hands on the hello as it came, and copies bytes both
ways from there on. (`docs/protocol.md`, "The sealed route".)

It has no key that could read or pose as anybody. The handshake runs between client and server, and its transcript
begins with the hello. So a router that changes a bit of it, or answers by itself, is found out before the client says
who it is.

What it may say is an alert in clear, before anything else was said:

    the hello is garbage, or late                   11 or 3, 9
    a key that the table doesn't have               5 unknown server key
    a route that is not for this router             5, unless there is a default
    no server that answers                          15 backend unavailable
    no room                                         10 busy

Routers may stand behind one another, with one key for all of them (it opens routes and nothing else), or each with its
own and the next one as default. A circle of them is found by the hello: it comes back while it is still being carried.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NoReturn, TypeVar

import trio

from ..protocol.alerts import AlertCode, printable
from ..protocol.keys import PrivateKey
from ..streams.channel import channel_over
from ..streams.config import Limits, check_async, check_type
from ..streams.errors import HandshakeError, ServerBusy
from ..streams.frames import Frames
from ..streams.instrument import Instrument, Observers, observers
from .admission import Admission, log_refusal
from .backends import Backends
from .errand import Errand, Routed
from .keeper import keep_accepting, owned
from .relay import cut_on_error, relay
from .routes import Backend, FindBackends, Table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from ..streams.place import Place
    from .drain import Drain

T_Stream = TypeVar("T_Stream", bound=trio.abc.HalfCloseableStream)
T_Listener = TypeVar("T_Listener", bound=trio.abc.Listener[trio.abc.HalfCloseableStream])

logger: logging.Logger = logging.getLogger("securestream")

# Seconds between two looks whether a server or a client that has ended is still there for what the other one may say.
_LOOK_EVERY = 5.0


@dataclass(frozen=True, kw_only=True)
class RouterConfig:
    """How to route.

    `keys`               this router's own: clients are given a public one as `middlebox_key`. Several while one is
                         replaced
    `routes`             where servers are: a `RoutesFile`, a mapping from public keys to lists of `Backend`, or an
                         async callable that is given the key
    `default`            where clients go whose route is not for this router, because they don't know it or no server's
                         key. With none, they are refused
    `handshake_timeout`  seconds from accept to when the server has the hello, default 5
    `connect_timeout`    seconds of them that one server may take to answer, default 2
    `close_timeout`      seconds that refusing may take, default 1
    `retry`              seconds between two looks at a server that is down, default 1
    `instruments`        told of who comes, is refused, is routed and ends, see `Instrument`
    `limits`             how many at once. A router can't tell an idle connection from a silent one, nor end one in
                         order, so `idle_timeout` and `lifetime` are the servers'

    Raises `ValueError` and `TypeError`.
    """

    keys: Sequence[PrivateKey]
    routes: Table | FindBackends
    default: Sequence[Backend] = ()
    handshake_timeout: float = 5.0
    connect_timeout: float = 2.0
    close_timeout: float = 1.0
    retry: float = 1.0
    limits: Limits = field(default_factory=Limits)
    instruments: Sequence[Instrument] = ()
    observer: Observers | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("keys", "default", "instruments"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.keys or not all(isinstance(key, PrivateKey) for key in self.keys):
            raise TypeError("keys are at least one PrivateKey")
        if not all(isinstance(backend, Backend) for backend in self.default):
            raise TypeError('default takes Backends: [Backend("10.0.0.5:9222")]')
        if not isinstance(self.routes, Mapping):
            check_async("routes, where it is no mapping,", self.routes)
        if not min(self.handshake_timeout, self.connect_timeout, self.retry) > 0 or not self.close_timeout >= 0:
            raise ValueError("timeouts are seconds, more than none")
        if min(self.limits.idle_timeout, self.limits.lifetime) < math.inf:
            raise ValueError("idle_timeout and lifetime are for servers: a router can't end a stream in order")
        object.__setattr__(self, "observer", observers(self.instruments))


async def serve_router_tcp(
    port: int,
    config: RouterConfig,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    drain: Drain | None = None,
    proxy_from: Iterable[str] = (),
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listens on a TCP port and sends each client to its server. The arguments are those of `serve_secure_tcp`.

    Cancelled, it cuts all connections. `drain` ends it in order: nobody new is taken, those that are there have its
    grace to end by themselves, and are cut then; nobody takes a cut for an end.

    Raises `OSError` where it can't listen.
    """
    listeners = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    await serve_router_listeners(listeners, config, drain=drain, proxy_from=proxy_from, task_status=task_status)


async def serve_router_listeners(
    listeners: list[T_Listener],
    config: RouterConfig,
    *,
    drain: Drain | None = None,
    proxy_from: Iterable[str] = (),
    task_status: trio.TaskStatus[list[T_Listener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """As `serve_router_tcp`, on listeners of the caller's."""
    async with owned(listeners):
        await keep_accepting(
            _Lines(config, proxy_from), listeners, handler_nursery=None, drain=drain, task_status=task_status
        )


class _Lines(Admission[T_Stream]):
    """The connections of one router."""

    descriptors_each: ClassVar[int] = 2

    def __init__(self, config: RouterConfig, proxy_from: Iterable[str]) -> None:
        check_type("config", config, RouterConfig)
        super().__init__(config.limits, config.handshake_timeout, proxy_from, config.observer)
        self._config = config
        self._backends = Backends(config.connect_timeout, config.retry)
        self._live: dict[trio.CancelScope, None] = {}
        self._under_way: set[bytes] = set()

    @property
    def inside(self) -> int:
        return len(self._live)

    @property
    def seconds_to_close(self) -> float:
        return 2 * self._config.close_timeout

    def chores(self) -> Iterator[Callable[[], Awaitable[None]]]:
        yield self._backends.look_after

    def end_all(self, *, idle_only: bool) -> None:
        """Cuts them. A router can't see which of them are idle."""
        for scope in () if idle_only else self._live:
            scope.cancel()

    async def _tell_busy(self, transport: T_Stream, place: Place, why: str) -> None:
        await self._watched(place, self._refuse(transport, why))

    async def _refuse(self, transport: T_Stream, why: str) -> NoReturn:
        try:
            await Frames(channel_over(transport)).turn_away(
                AlertCode.BUSY, patience=self._config.handshake_timeout, close_timeout=self._config.close_timeout
            )
            raise ServerBusy(why)
        finally:
            await trio.aclose_forcefully(transport)

    # --- one connection

    async def _take_in(self, transport: T_Stream, place: Place) -> None:
        try:
            with contextlib.ExitStack() as used:
                with self._waiting(place):
                    errand = Errand(transport, place, self._config, self._backends, self._under_way)
                    backend, far = await self._watched(place, errand.run(used))
                await self._carry(transport, far, place, backend)
        except HandshakeError as exc:
            log_refusal(place.address, exc)
        except trio.BrokenResourceError as exc:
            logger.info("%s: %s", place.address, printable(str(exc)))
        except Exception:  # a transport that breaks its interface; the other connections go on
            logger.exception("lost %s", place.address)

    async def _watched(self, place: Place, errand: Awaitable[Routed]) -> Routed:
        if (observer := self._config.observer) is None:
            return await errand

        def done(routed: Routed, seconds: float) -> None:
            observer.client_routed(place.address, routed[0].address, seconds)

        return await observer.watch(place.address, errand, done)

    @contextlib.contextmanager
    def _end_told(self, place: Place, backend: Backend) -> Iterator[None]:
        reason = "cut"
        try:
            yield
            reason = "closed"
        except trio.BrokenResourceError:
            reason = "broken"
            raise
        finally:
            if self._config.observer is not None:
                self._config.observer.route_closed(place.address, backend.address, reason)

    async def _carry(self, near: T_Stream, far: trio.SocketStream, place: Place, backend: Backend) -> None:
        """All bytes, until both sides have ended, or one has broken. Raises `trio.BrokenResourceError`."""
        with trio.CancelScope() as scope, self._end_told(place, backend):
            self._live[scope] = None
            try:
                async with cut_on_error(near), cut_on_error(far):
                    await relay(near, far, look_every=_LOOK_EVERY)
            finally:
                del self._live[scope]
