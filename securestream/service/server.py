"""Serving: one task a connection, each with its handshake, its handler, and an end that its peer understands.

The accept loop is Trio's and never waits for a client. What escapes a handler becomes an alert on its own
stream and a line in the log (logger `securestream`), and touches no other connection.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from ..protocol.alerts import AlertCode, printable
from ..protocol.codes import code_name
from ..streams.channel import address_of
from ..streams.errors import (
    AccessDenied,
    AuthorizationFailed,
    BadCredentials,
    CredentialsFailed,
    HandshakeError,
    SecretsFailed,
    StreamFailure,
)
from ..streams.keylog import key_log
from ..streams.secure import SecureStream, alert_for, is_end_of, leaves
from ..streams.wrap import Place, refuse_client, shake_hands
from .connection import Connection, look_every, source_of
from .recheck import keep_asking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..streams.config import ServerConfig
    from .drain import Drain

T_Stream = TypeVar("T_Stream", bound=trio.abc.Stream)
T_Listener = TypeVar("T_Listener", bound=trio.abc.Listener[trio.abc.Stream])
Handler = Callable[[SecureStream[T_Stream]], Awaitable[object]]

logger: logging.Logger = logging.getLogger("securestream")

# Clients that are being told "busy" are few and short-lived; beyond so many a connection is just closed.
_MAX_REFUSALS = 256
# Seconds that a client has to answer before it may lose its place to another. Much less, and a server with more to do
# than it can would drop those whose turn is next.
_LEAST_PATIENCE = 0.1
# How many connections are looked at before others have their turn.
_LOOKS_AT_ONCE = 1_000
# Seconds between two looks at whether a connection has become idle, while the server drains.
_DRAIN_LOOKS = 0.1


async def serve_secure_tcp(
    handler: Handler[trio.SocketStream],
    port: int,
    config: ServerConfig,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    handler_nursery: trio.Nursery | None = None,
    drain: Drain | None = None,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listens on a TCP port and runs `handler(stream)` for each client that passes the handshake.

    `port` 0 lets the system choose; `task_status.started()` is given the listeners. `host` None: all interfaces.

    A handler that returns has its stream closed in order. A `StreamFailure` that escapes it is the alert that
    its client gets; any other exception is alert 13 "internal error" without text, and a traceback in the log.
    With `handler_nursery` given, handlers run there and their errors are raised there, after the alert.

    Cancelled, it cuts all connections. `drain` ends it in order, when it is started or this call is cancelled:
    nobody new is taken in; a connection whose handler waits for its client, and nothing has come, ends with alert 14
    "shutting down", at once or as soon as it is so; what is left after `drain.grace` seconds ends with the same alert,
    wherever its handler is. The call is shielded for that time, and returns when the last connection has ended.
    (Or without a `drain`, Trio's way: cancel serving, and put a deadline on `handler_nursery`. Nobody is told then.)

    Returns only after draining. Raises `OSError` where it can't listen.
    """
    listeners = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    await serve_secure_listeners(
        handler, listeners, config, handler_nursery=handler_nursery, drain=drain, task_status=task_status
    )


async def serve_secure_listeners(
    handler: Handler[T_Stream],
    listeners: list[T_Listener],
    config: ServerConfig,
    *,
    handler_nursery: trio.Nursery | None = None,
    drain: Drain | None = None,
    task_status: trio.TaskStatus[list[T_Listener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """As `serve_secure_tcp`, on listeners of the caller's: Unix sockets, systemd's, SO_REUSEPORT.

    Raises `ValueError` for a listener beyond this machine, in the profile dev.
    """
    key_log()  # which warns, if there is one, before anybody comes in
    connections = _Connections(handler, config, raise_errors=handler_nursery is not None)
    async with contextlib.AsyncExitStack() as owned:
        for listener in listeners:  # cancelled before the first of them was served, it closes them all the same
            owned.push_async_callback(trio.aclose_forcefully, listener)
        config._check_listeners(listeners)
        serving = await owned.enter_async_context(trio.open_nursery())
        keeper = _Keeper(connections, drain)
        handlers = await serving.start(keeper.run)
        try:
            with trio.CancelScope() as accepting:
                serving.start_soon(keeper.end_accepting, accepting)
                await trio.serve_listeners(
                    connections.run, listeners, handler_nursery=handler_nursery or handlers, task_status=task_status
                )
        finally:
            keeper.accepting_is_over.set()


def secure_handler(handler: Handler[T_Stream], config: ServerConfig) -> Callable[[T_Stream], Awaitable[None]]:
    """A handler for `trio.serve_tcp` and its kin, around a handler of secure streams.

    Limits count the connections of this one handler. Raises `ValueError` for an idle timeout, a keep-alive and
    `recheck`, which need a server of this package: there is no place here from which to look after connections.
    """
    if min(look_every(config), config.recheck) < math.inf:
        raise ValueError("idle_timeout, keep_alive and recheck need serve_secure_tcp() or serve_secure_listeners()")
    return _Connections(handler, config, raise_errors=False).run


class _Connections(Generic[T_Stream]):
    """The connections of one server: how many there are, and what becomes of each."""

    def __init__(self, handler: Handler[T_Stream], config: ServerConfig, *, raise_errors: bool) -> None:
        self._handler = handler
        self.config = config
        self._raise_errors = raise_errors
        self._pending: dict[Place, None] = {}  # the oldest first
        self._live: dict[Connection[T_Stream], None] = {}
        self._sources: Counter[str] = Counter()
        self._refusals = 0

    async def run(self, transport: T_Stream) -> None:
        """One connection, from accept to close."""
        place = Place(transport, self.config.handshake_timeout)
        source = source_of(place.address)
        if source and self._sources[source] >= self.config.limits.connections_per_source:
            await self._turn_away(transport, f"no room for another connection from {source}")
        elif self._is_full() and not self._make_room():
            await self._turn_away(transport, "no room for another connection")
        else:
            with self._counted(source):
                await self._take_in(transport, place)

    async def _take_in(self, transport: T_Stream, place: Place) -> None:
        stream = await self._shake_hands(transport, place)
        if stream is None:
            return
        connection = Connection(stream, self.config.limits.lifetime)
        self._live[connection] = None
        try:
            await self._handle(connection)
        finally:
            del self._live[connection]

    @contextlib.contextmanager
    def _counted(self, source: str) -> Iterator[None]:
        self._sources[source] += 1
        try:
            yield
        finally:
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]

    # --- looking after those that are in

    @property
    def are_gone(self) -> bool:
        """Whether none is left, those in the handshake included."""
        return not self._sources

    async def look_after(self) -> None:
        """Ends connections that are idle for too long, and sends what keeps others alive. For ever."""
        async with trio.open_nursery() as senders:
            while True:
                await trio.sleep(look_every(self.config))
                for number, connection in enumerate(tuple(self._live), 1):
                    connection.note_activity(now := trio.current_time())
                    if connection.enforce(self.config, now):
                        senders.start_soon(connection.stream._send_cover)
                    if number % _LOOKS_AT_ONCE == 0:
                        await trio.lowlevel.checkpoint()

    async def keep_asking(self) -> None:
        """Ends connections that `authorize` doesn't want any more. For ever."""
        await keep_asking(self.config, lambda: self._live)

    def end_all(self, *, idle_only: bool) -> None:
        """Tells those that are in, or those of them that do nothing, that the server shuts down."""
        for connection in self._live:
            if connection.is_idle or not idle_only:
                connection.end(AlertCode.SHUTTING_DOWN, "this server is shutting down")

    # --- who may come in

    def _is_full(self) -> bool:
        limits, pending = self.config.limits, len(self._pending)
        return pending >= limits.pending_handshakes or pending + len(self._live) >= limits.connections

    def _make_room(self) -> bool:
        """Takes the place of the client that has kept the server waiting for longest, if it had long enough.

        So slow clients, however many, keep nobody out: they would have to come back as fast as honest ones answer.
        Those that wait for `authorize` have done their part and are let be.
        """
        for place in self._pending:
            if place.waits:
                if trio.current_time() - place.since < _LEAST_PATIENCE:
                    return False
                del self._pending[place]
                place.take_away()
                return True
        return False

    async def _turn_away(self, transport: T_Stream, why: str) -> None:
        address, pending = address_of(transport), len(self._pending)
        count = pending + len(self._live)
        logger.warning("busy: refused %s: %s (%d open, %d in handshake)", address, why, count, pending)
        if self._refusals >= _MAX_REFUSALS:
            if self.config.observer is not None:
                self.config.observer.handshake_started(address)
                self.config.observer.handshake_failed(address, code_name(AlertCode.BUSY), 0.0)
            await trio.aclose_forcefully(transport)
            return
        self._refusals += 1
        try:
            await refuse_client(transport, self.config, AlertCode.BUSY, why)
        except HandshakeError:
            pass
        except Exception:
            logger.exception("lost %s, which was to be told", address)
        finally:
            self._refusals -= 1

    async def _shake_hands(self, transport: T_Stream, place: Place) -> SecureStream[T_Stream] | None:
        address = place.address
        self._pending[place] = None
        try:
            return await shake_hands(transport, self.config, place)
        except AuthorizationFailed as exc:
            logger.error("refused %s, %s, for authorize failed", address, exc.public_key, exc_info=exc.__cause__)
        except SecretsFailed as exc:
            logger.error("refused %s, for secrets failed", address, exc_info=exc.__cause__)
        except CredentialsFailed as exc:
            logger.error("refused %s: %s", address, exc, exc_info=exc.__cause__)
        except (AccessDenied, BadCredentials) as exc:
            logger.warning("refused %s, %s: %s [%s]", address, exc.public_key, printable(str(exc.__cause__)), exc.code)
        except HandshakeError as exc:
            logger.warning("refused %s: %s [%s]", address, printable(str(exc)), exc.code)
        except Exception:  # a transport that breaks its interface; the other connections go on
            logger.exception("lost %s in the handshake", address)
        finally:
            self._pending.pop(place, None)
        return None

    # --- one handler

    async def _handle(self, connection: Connection[T_Stream]) -> None:
        """Runs the handler and turns what escapes it into an alert."""
        stream = connection.stream
        logged: BaseException | None = None
        try:
            async with stream:
                try:
                    await connection.run(self._handler)
                except BaseException as exc:
                    _log_failure(exc, stream)  # here and now: sending the alert may be cancelled
                    logged = exc
                    raise
        except BaseException as exc:
            if exc is not logged:
                _log_failure(exc, stream)
            rest = self._to_raise(exc, stream)
            if rest is exc:
                raise
            if rest is not None:
                raise rest from None

    def _to_raise(self, exc: BaseException, stream: SecureStream[T_Stream]) -> BaseException | None:
        """Cancellation and the interpreter's end always, unexpected errors where somebody waits for them."""
        errors, rest = _split_errors(exc)
        if errors is None or (self._raise_errors and _is_unexpected(errors, stream)):
            return exc
        return rest


class _Keeper(Generic[T_Stream]):
    """Where a server's handlers live, and what becomes of them when no more connections are accepted.

    With a `Drain` they live on for its grace when the server is cancelled; without one they end with it.
    """

    def __init__(self, connections: _Connections[T_Stream], drain: Drain | None) -> None:
        self._connections = connections
        self._drain = drain
        self.accepting_is_over = trio.Event()

    async def run(self, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """Gives the handlers' nursery, and returns when all of them are done."""
        with trio.CancelScope(shield=self._drain is not None):
            async with trio.open_nursery() as handlers, trio.open_nursery() as looking:
                if look_every(self._connections.config) < math.inf:
                    looking.start_soon(self._connections.look_after)
                if self._connections.config.recheck < math.inf:
                    looking.start_soon(self._connections.keep_asking)
                if self._drain is not None:
                    looking.start_soon(self._drain._obey_signals)
                task_status.started(handlers)
                await self.accepting_is_over.wait()
                if self._drain is not None:
                    await self._empty(self._drain)
                    # Then each has its alert and its close to send, and no more.
                    handlers.cancel_scope.deadline = trio.current_time() + 2 * self._connections.config.close_timeout
                looking.cancel_scope.cancel()

    async def end_accepting(self, accepting: trio.CancelScope) -> None:
        """Until the drain starts, if there is one."""
        if self._drain is not None:
            await self._drain.wait()
            accepting.cancel()

    async def _empty(self, drain: Drain) -> None:
        """Until the connections have ended, by themselves or else by the drain's deadline."""
        drain.start()
        while not self._connections.are_gone and trio.current_time() < drain.deadline:
            self._connections.end_all(idle_only=True)
            await trio.sleep_until(min(trio.current_time() + _DRAIN_LOOKS, drain.deadline))
        self._connections.end_all(idle_only=False)


def _log_failure(exc: BaseException, stream: SecureStream[T_Stream]) -> None:
    errors, _ = _split_errors(exc)
    if errors is None:
        return
    who = f"{stream.peer.address} {stream.peer.public_key}"
    if _is_unexpected(errors, stream):
        logger.error("%s: the handler failed; its peer is told %s", who, alert_for(errors, stream), exc_info=errors)
    else:
        logger.info("%s: %s", who, "; ".join(printable(str(leaf)) for leaf in leaves(errors)))


def _split_errors(exc: BaseException) -> tuple[Exception | None, BaseException | None]:
    """The ordinary errors in `exc`, and what is above them: Cancelled, KeyboardInterrupt, SystemExit."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.split(Exception)
    return (exc, None) if isinstance(exc, Exception) else (None, exc)


def _is_unexpected(errors: Exception, stream: object) -> bool:
    """Whether there is more in it than the stream's own end, or what the handler meant for its peer."""
    failures = sum(isinstance(leaf, StreamFailure) for leaf in leaves(errors))
    own = sum(is_end_of(leaf, stream) for leaf in leaves(errors))
    return failures > 1 or failures + own < len(leaves(errors))
