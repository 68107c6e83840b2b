"""Serving: one task a connection, each with its handshake, its handler, and an end that its peer understands.

The accept loop is Trio's and never waits for a client. What escapes a handler becomes an alert on its own
stream and a line in the log (logger `securestream`), and touches no other connection.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

import trio

from ..protocol.alerts import AlertCode, printable
from ..streams.channel import address_of
from ..streams.errors import AccessDenied, AuthorizationFailed, HandshakeError, StreamFailure
from ..streams.secure import SecureStream, alert_for, is_end_of, leaves
from ..streams.wrap import Place, refuse_client, shake_hands

if TYPE_CHECKING:
    from ..streams.config import ServerConfig

T_Stream = TypeVar("T_Stream", bound=trio.abc.Stream)
T_Listener = TypeVar("T_Listener", bound=trio.abc.Listener[trio.abc.Stream])
Handler = Callable[[SecureStream[T_Stream]], Awaitable[object]]

logger: logging.Logger = logging.getLogger("securestream")

# Clients that are being told "busy" are few and short-lived; beyond so many a connection is just closed.
_MAX_REFUSALS = 256
# Seconds that a client has to answer before it may lose its place to another. Much less, and a server with more to do
# than it can would drop those whose turn is next.
_LEAST_PATIENCE = 0.1


async def serve_secure_tcp(
    handler: Handler[trio.SocketStream],
    port: int,
    config: ServerConfig,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Listens on a TCP port and runs `handler(stream)` for each client that passes the handshake.

    `port` 0 lets the system choose; `task_status.started()` is given the listeners. `host` None: all interfaces.

    A handler that returns has its stream closed in order. A `StreamFailure` that escapes it is the alert that
    its client gets; any other exception is alert 13 "internal error" without text, and a traceback in the log.
    With `handler_nursery` given, handlers run there and their errors are raised there, after the alert; to
    drain, cancel serving and put a deadline on that nursery.

    Never returns. Raises `OSError` where it can't listen.
    """
    listeners = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    await serve_secure_listeners(handler, listeners, config, handler_nursery=handler_nursery, task_status=task_status)


async def serve_secure_listeners(
    handler: Handler[T_Stream],
    listeners: list[T_Listener],
    config: ServerConfig,
    *,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[list[T_Listener]] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """As `serve_secure_tcp`, on listeners of the caller's: Unix sockets, systemd's, SO_REUSEPORT."""
    connections = _Connections(handler, config, raise_errors=handler_nursery is not None)
    await trio.serve_listeners(connections.run, listeners, handler_nursery=handler_nursery, task_status=task_status)


def secure_handler(handler: Handler[T_Stream], config: ServerConfig) -> Callable[[T_Stream], Awaitable[None]]:
    """A handler for `trio.serve_tcp` and its kin, around a handler of secure streams.

    Limits count the connections of this one handler.
    """
    return _Connections(handler, config, raise_errors=False).run


class _Connections(Generic[T_Stream]):
    """The connections of one server: how many there are, and what becomes of each."""

    def __init__(self, handler: Handler[T_Stream], config: ServerConfig, *, raise_errors: bool) -> None:
        self._handler = handler
        self._config = config
        self._raise_errors = raise_errors
        self._pending: dict[Place, None] = {}  # the oldest first
        self._established = 0
        self._refusals = 0

    async def run(self, transport: T_Stream) -> None:
        """One connection, from accept to close."""
        if self._is_full() and not self._make_room():
            await self._turn_away(transport)
            return
        stream = await self._shake_hands(transport)
        if stream is None:
            return
        self._established += 1
        try:
            await self._handle(stream)
        finally:
            self._established -= 1

    def _is_full(self) -> bool:
        limits, pending = self._config.limits, len(self._pending)
        return pending >= limits.pending_handshakes or pending + self._established >= limits.connections

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

    async def _turn_away(self, transport: T_Stream) -> None:
        address, pending = address_of(transport), len(self._pending)
        logger.warning("busy: refused %s (%d open, %d in handshake)", address, pending + self._established, pending)
        if self._refusals >= _MAX_REFUSALS:
            await trio.aclose_forcefully(transport)
            return
        self._refusals += 1
        try:
            await refuse_client(transport, self._config, AlertCode.BUSY, "no room for another connection")
        except HandshakeError:
            pass
        except Exception:
            logger.exception("lost %s, which was to be told", address)
        finally:
            self._refusals -= 1

    async def _shake_hands(self, transport: T_Stream) -> SecureStream[T_Stream] | None:
        place = Place(transport, self._config.handshake_timeout)
        address = place.address
        self._pending[place] = None
        try:
            return await shake_hands(transport, self._config, place)
        except AuthorizationFailed as exc:
            logger.error("refused %s, %s, for authorize failed", address, exc.public_key, exc_info=exc.__cause__)
        except AccessDenied as exc:
            logger.warning("refused %s, %s: %s [%s]", address, exc.public_key, printable(str(exc.__cause__)), exc.code)
        except HandshakeError as exc:
            logger.warning("refused %s: %s [%s]", address, printable(str(exc)), exc.code)
        except Exception:  # a transport that breaks its interface; the other connections go on
            logger.exception("lost %s in the handshake", address)
        finally:
            self._pending.pop(place, None)
        return None

    async def _handle(self, stream: SecureStream[T_Stream]) -> None:
        """Runs the handler and turns what escapes it into an alert."""
        logged: BaseException | None = None
        try:
            async with stream:
                try:
                    await self._handler(stream)
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
