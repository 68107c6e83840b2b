"""One client of a router: its hello read, its server found and dialled, or the client told why not."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING

import trio

from ..protocol.alerts import Alert, AlertCode
from ..protocol.codes import code_name
from ..protocol.errors import RemoteProtocolError
from ..protocol.keys import PublicKey
from ..protocol.messages import Kind, decode_hello_untrusted, encode_frame, open_route_untrusted
from ..streams.channel import channel_over, own_address_of
from ..streams.errors import HandshakeError, UnknownServerKey, handshake_error
from ..streams.frames import Frames
from ..streams.place import Refused
from .proxy_protocol import ProxyHeader
from .routes import Backend

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..protocol.keys import PrivateKey
    from ..protocol.messages import Hello
    from ..streams.place import Place
    from .backends import Backends
    from .router import RouterConfig

Routed = tuple[Backend, trio.SocketStream]
"""The server that a client was brought to, and the connection with it."""

logger: logging.Logger = logging.getLogger("securestream")

# A machine that has vanished is found after so many seconds of silence, and so many questions so far apart (tcp(7)).
_KEEP_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


class BackendUnavailable(HandshakeError):
    """The client can't be brought to the server that it wants."""

    code: str = code_name(AlertCode.BACKEND_UNAVAILABLE)


class LookupFailed(HandshakeError):
    """`RouterConfig.routes` itself failed. The cause is in `__cause__`."""

    code: str = code_name(AlertCode.INTERNAL_ERROR)


class Errand:
    """For one client. Raises `HandshakeError` where it was refused, and told, and its connection closed.

    `under_way`  the hellos of all errands of the router, by their ephemeral keys, from when each was read
    """

    def __init__(
        self,
        near: trio.abc.HalfCloseableStream,
        place: Place,
        config: RouterConfig,
        backends: Backends,
        under_way: set[bytes],
    ) -> None:
        self._near = near
        self._place = place
        self._config = config
        self._backends = backends
        self._under_way = under_way
        self._frames = Frames(channel_over(near))

    async def run(self, used: contextlib.ExitStack) -> Routed:
        """The server, which has the hello by now. It counts as used until `used` is left."""
        try:
            return await self._bring_or_tell(used)
        except BaseException:
            await trio.aclose_forcefully(self._near)
            raise

    async def _bring_or_tell(self, used: contextlib.ExitStack) -> Routed:
        try:
            return await self._bring(used)
        except Refused as refused:
            with self._place.given_up(self._config.close_timeout):
                await self._frames.refuse(refused.alert.code, linger=refused.linger)
            raise refused.error from refused.__cause__

    async def _bring(self, used: contextlib.ExitStack) -> Routed:
        """Raises `Refused`, and `HandshakeTruncated` where the client has gone."""
        try:
            with self._place.held():
                _, body = await self._frames.receive({Kind.HELLO})
            hello = decode_hello_untrusted(body)
            self._place.waits = False
            used.enter_context(self._only_one(hello))
            wanted = wanted_server(hello, self._config.keys)
            said = encode_frame(Kind.HELLO, body) + self._frames.take_rest()
        except RemoteProtocolError as exc:
            raise Refused(Alert(exc.alert_code), handshake_error(exc)) from exc
        with trio.CancelScope(deadline=self._place.since + self._config.handshake_timeout):
            return await self._dial(await self._choices(wanted), said, used)
        raise _unavailable("no server has answered in time")

    @contextlib.contextmanager
    def _only_one(self, hello: Hello) -> Iterator[None]:
        """A client makes a key for each hello, so one that is here already has gone in a circle, or is a replay."""
        if hello.e in self._under_way:
            raise _unavailable("its hello is being carried already: do routers lead to one another in a circle?")
        self._under_way.add(hello.e)
        try:
            yield
        finally:
            self._under_way.discard(hello.e)

    # --- where to

    async def _choices(self, wanted: PublicKey | None) -> Sequence[Backend]:
        if wanted is None:
            choices = self._config.default
            why = "a route that is not for this router"
        else:
            choices = await self._look_up(wanted)
            why = f"no route to the server {wanted}"
        if not choices:
            raise Refused(Alert(AlertCode.UNKNOWN_SERVER_KEY), UnknownServerKey(why))
        return choices

    async def _look_up(self, wanted: PublicKey) -> Sequence[Backend]:
        routes = self._config.routes
        if isinstance(routes, Mapping):
            return routes.get(wanted, ())
        try:
            return tuple(await routes(wanted))
        except Exception as exc:
            failed = LookupFailed(f"looking up the server {wanted} failed: {type(exc).__name__}: {exc}")
            raise Refused(Alert(AlertCode.INTERNAL_ERROR), failed) from exc

    async def _dial(self, choices: Sequence[Backend], said: bytes, used: contextlib.ExitStack) -> Routed:
        try:
            backend, far = await self._backends.dial(choices, used)
        except OSError as exc:
            raise _unavailable(str(exc)) from exc
        try:
            await far.send_all((self._header() if backend.proxy else b"") + said)
            _find_the_vanished(self._near, far)  # while the server is at work on what it got
        except trio.BrokenResourceError as exc:
            await trio.aclose_forcefully(far)
            raise _unavailable(f"{backend.address} hung up at once") from exc
        except BaseException:
            await trio.aclose_forcefully(far)
            raise
        return backend, far

    def _header(self) -> bytes:
        """Who the client is, as far as a router knows, and the PROXY protocol can say: not, where a proxy in front of
        it has the client on a Unix socket, for one."""
        destination = self._place.destination or own_address_of(self._near)
        try:
            return ProxyHeader(self._place.address, destination).encode()
        except ValueError:
            return ProxyHeader().encode()


def wanted_server(hello: Hello, keys: Sequence[PrivateKey]) -> PublicKey | None:
    """Whom the client wants, or None where its route is for none of these keys. Raises `RemoteProtocolError`."""
    for key in keys:
        found = open_route_untrusted(hello.route, key.exchange(hello.e), hello.e, bytes(key.public_key))
        if found is not None:
            try:
                return PublicKey(found)
            except ValueError as exc:
                raise RemoteProtocolError(f"a route to nobody: {exc}", AlertCode.UNKNOWN_SERVER_KEY) from exc
    return None


def _unavailable(why: str) -> Refused:
    return Refused(Alert(AlertCode.BACKEND_UNAVAILABLE), BackendUnavailable(why))


def _find_the_vanished(*streams: trio.abc.Stream) -> None:
    """Has the system look whether the other end is still there, where nothing is said for long."""
    for stream in streams:
        if isinstance(stream, trio.SocketStream) and stream.socket.family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):  # of a connection that is gone: the first byte will tell
                _keep_alive(stream)


def _keep_alive(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if (option := getattr(socket, name, None)) is not None:
            stream.setsockopt(socket.IPPROTO_TCP, option, value)
