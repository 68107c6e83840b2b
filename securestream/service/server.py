"""Serving: one task a connection, each with its handshake, its handler, and an end that its peer understands.

The accept loop is Trio's and never waits for a client. What escapes a handler becomes an alert on its own
stream and a line in the log (logger `securestream`), and touches no other connection.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import trio

from ..protocol.alerts import AlertCode, printable
from ..streams.config import ServerConfig, check_type
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
from ..streams.wrap import refuse_client, shake_hands
from .admission import Admission, log_refusal
from .connection import Connection, look_every
from .keeper import keep_accepting, owned
from .recheck import keep_asking

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..streams.place import Place
    from .drain import Drain

T_Stream = TypeVar("T_Stream", bound=trio.abc.Stream)
T_Listener = TypeVar("T_Listener", bound=trio.abc.Listener[trio.abc.Stream])
Handler = Callable[[SecureStream[T_Stream]], Awaitable[object]]

logger: logging.Logger = logging.getLogger("securestream")

# How many connections are looked at before others have their turn.
_LOOKS_AT_ONCE = 1_000


async def serve_secure_tcp(
    handler: Handler[trio.SocketStream],
    port: int,
    config: ServerConfig,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    handler_nursery: trio.Nursery | None = None,
    drain: Drain | None = None,
    proxy_from: Iterable[str] = (),
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

    `proxy_from` names proxies that stand in front of this server: networks, `["10.0.0.0/8", "::1"]`, and `"unix"` for
    whoever connects to a Unix socket. A connection from there has to begin with a header of the PROXY protocol, version
    2, and is counted, logged and authorised as its client's: `peer.address`. From anywhere else nobody can say so.

    Returns only after draining. Raises `OSError` where it can't listen, `ValueError` for what is no network, and
    `TypeError` for what is no `ServerConfig`.
    """
    listeners = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    await serve_secure_listeners(
        handler,
        listeners,
        config,
        handler_nursery=handler_nursery,
        drain=drain,
        proxy_from=proxy_from,
        task_status=task_status,
    )


async def serve_secure_listeners(
    handler: Handler[T_Stream],
    listeners: list[T_Listener],
    config: ServerConfig,
    *,
    handler_nursery: trio.Nursery | None = None,
    drain: Drain | None = None,
    proxy_from: Iterable[str] = (),
    task_status: trio.TaskStatus[list[T_Listener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """As `serve_secure_tcp`, on listeners of the caller's: Unix sockets, systemd's, SO_REUSEPORT.

    Raises `ValueError` for a listener beyond this machine, in the profile dev.
    """
    key_log()  # which warns, if there is one, before anybody comes in
    async with owned(listeners):
        connections = _Connections(handler, config, proxy_from, raise_errors=handler_nursery is not None)
        config._check_listeners(listeners)
        await keep_accepting(
            connections, listeners, handler_nursery=handler_nursery, drain=drain, task_status=task_status
        )


def secure_handler(
    handler: Handler[T_Stream], config: ServerConfig, *, proxy_from: Iterable[str] = ()
) -> Callable[[T_Stream], Awaitable[None]]:
    """A handler for `trio.serve_tcp` and its kin, around a handler of secure streams. `proxy_from` as there.

    Limits count the connections of this one handler. Raises `ValueError` for an idle timeout, a keep-alive and
    `recheck`, which need a server of this package: there is no place here from which to look after connections.
    """
    connections = _Connections(handler, config, proxy_from, raise_errors=False)
    if min(look_every(config), config.recheck) < math.inf:
        raise ValueError("idle_timeout, keep_alive and recheck need serve_secure_tcp() or serve_secure_listeners()")
    return connections.run


class _Connections(Admission[T_Stream]):
    """The connections of one server, and what becomes of each."""

    def __init__(
        self, handler: Handler[T_Stream], config: ServerConfig, proxy_from: Iterable[str], *, raise_errors: bool
    ) -> None:
        check_type("config", config, ServerConfig)
        super().__init__(config.limits, config.handshake_timeout, proxy_from, config.observer)
        self._handler = handler
        self._config = config
        self._raise_errors = raise_errors
        self._live: dict[Connection[T_Stream], None] = {}

    async def _take_in(self, transport: T_Stream, place: Place) -> None:
        stream = await self._shake_hands(transport, place)
        if stream is None:
            return
        connection = Connection(stream, self._config.limits.lifetime)
        self._live[connection] = None
        try:
            await self._handle(connection)
        finally:
            del self._live[connection]

    # --- looking after those that are in

    @property
    def inside(self) -> int:
        return len(self._live)

    @property
    def seconds_to_close(self) -> float:
        return 2 * self._config.close_timeout  # each has its alert and its close to send, and no more

    def chores(self) -> Iterator[Callable[[], Awaitable[None]]]:
        if look_every(self._config) < math.inf:
            yield self.look_after
        if self._config.recheck < math.inf:
            yield self.keep_asking

    async def look_after(self) -> None:
        """Ends connections that are idle for too long, and sends what keeps others alive. For ever."""
        async with trio.open_nursery() as senders:
            while True:
                await trio.sleep(look_every(self._config))
                for number, connection in enumerate(tuple(self._live), 1):
                    connection.note_activity(now := trio.current_time())
                    if connection.enforce(self._config, now):
                        senders.start_soon(connection.stream._send_cover)
                    if number % _LOOKS_AT_ONCE == 0:
                        await trio.lowlevel.checkpoint()

    async def keep_asking(self) -> None:
        """Ends connections that `authorize` doesn't want any more. For ever."""
        await keep_asking(self._config, lambda: self._live)

    def end_all(self, *, idle_only: bool) -> None:
        """Tells those that are in, or those of them that do nothing, that the server shuts down."""
        for connection in self._live:
            if connection.is_idle or not idle_only:
                connection.end(AlertCode.SHUTTING_DOWN, "this server is shutting down")

    # --- the handshake

    async def _tell_busy(self, transport: T_Stream, place: Place, why: str) -> None:
        await refuse_client(transport, self._config, place, why)

    async def _shake_hands(self, transport: T_Stream, place: Place) -> SecureStream[T_Stream] | None:
        address = place.address
        try:
            with self._waiting(place):
                return await shake_hands(transport, self._config, place)
        except AuthorizationFailed as exc:
            logger.error("refused %s, %s, for authorize failed", address, exc.public_key, exc_info=exc.__cause__)
        except SecretsFailed as exc:
            logger.error("refused %s, for secrets failed", address, exc_info=exc.__cause__)
        except CredentialsFailed as exc:
            logger.error("refused %s: %s", address, exc, exc_info=exc.__cause__)
        except (AccessDenied, BadCredentials) as exc:
            logger.warning("refused %s, %s: %s [%s]", address, exc.public_key, _why(exc.__cause__), exc.code)
        except HandshakeError as exc:
            log_refusal(address, exc)
        except Exception:  # a transport that breaks its interface; the other connections go on
            logger.exception("lost %s in the handshake", address)
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


def _why(refusal: BaseException | None) -> str:
    """What the client is told, and what it isn't: what made the verifier refuse."""
    cause = refusal.__cause__ if refusal is not None else None
    beneath = "" if cause is None else f" ({type(cause).__name__}: {cause!s:.200})"
    return printable(f"{refusal}{beneath}")


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
