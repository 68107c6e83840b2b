"""The handshake over any stream, with its deadline: the only way to a SecureStream.

`protocol/handshake.py` says what is sent; here is when, and what happens when it goes wrong. Both sides own
the transport from the first line on and close it whenever they don't return a stream.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, NoReturn, TypeVar, cast

import trio

from ..protocol.alerts import Alert, AlertCode
from ..protocol.credentials import CredentialsRefused
from ..protocol.errors import RemoteProtocolError
from ..protocol.handshake import ClientHandshake, ServerHandshake
from ..protocol.keys import PublicKey
from ..protocol.messages import Kind, decode_alert_body_untrusted
from ..protocol.plaintext import TlsSuite
from ..protocol.records import RecordReader, RecordWriter
from ..protocol.suites import RecordType, Suite
from ..protocol.tls import TlsClientHandshake, TlsServerHandshake
from ..protocol.tls_keys import KeyHash, PeerKey
from .channel import address_of
from .config import ClientConfig, Peer, ServerConfig, check_credentials, check_type
from .errors import (
    AccessDenied,
    AuthorizationFailed,
    BadCredentials,
    CredentialsFailed,
    HandshakeRefused,
    HandshakeTimeout,
    HandshakeTruncated,
    SecretsFailed,
    ServerBusy,
    ServerKeyMismatch,
    handshake_error,
)
from .frames import Frames
from .keylog import key_log
from .place import Place, Refused
from .sealing import seal_at_any_rate
from .secure import Parts, SecureStream
from .tls_channel import TlsChannel

if TYPE_CHECKING:
    from collections.abc import Callable

T_Stream = TypeVar("T_Stream", bound=trio.abc.Stream)


async def wrap_client(transport: T_Stream, config: ClientConfig) -> SecureStream[T_Stream]:
    """Runs the client's handshake over `transport`, and owns it from here on.

    Raises `HandshakeError`: `ServerKeyMismatch` when somebody else answers, `HandshakeRefused` when the server
    refuses (`.alert` says why), `HandshakeTimeout` after `config.handshake_timeout` seconds,
    `HandshakeTruncated` when the connection ends, `BadCredentials` when `config.verify_server` refuses what the
    server shows. `TypeError` for what is no `ClientConfig`; then the transport is still the caller's.
    """
    check_type("config", config, ClientConfig)
    wrapping, observer = _wrap_client(transport, config), config.observer
    return await (observer.watch(address_of(transport), wrapping, observer.handshake_done) if observer else wrapping)


async def _wrap_client(transport: T_Stream, config: ClientConfig) -> SecureStream[T_Stream]:
    try:
        with trio.CancelScope(relative_deadline=config.handshake_timeout):
            return await _client_handshake(transport, config)
        raise HandshakeTimeout(f"the server took more than {config.handshake_timeout:g} s for the handshake")
    except BaseException:
        await trio.aclose_forcefully(transport)
        raise


async def wrap_server(transport: T_Stream, config: ServerConfig) -> SecureStream[T_Stream]:
    """Runs the server's handshake over `transport`, and owns it from here on.

    A client that is refused is told why. Raises `HandshakeError`, one subclass a cause: `AccessDenied`,
    `BadCredentials`, `BadSecret`, `UnknownServerKey`, `UnsupportedVersion`, `NoCommonSuite`, `BadResponse`,
    `HandshakeTimeout`, `HandshakeTruncated`, `AuthorizationFailed` when `config.authorize` itself fails,
    `CredentialsFailed` and `SecretsFailed` when `config.credentials` and `config.secrets` do.
    `TypeError` for what is no `ServerConfig`; then the transport is still the caller's.
    """
    check_type("config", config, ServerConfig)
    return await shake_hands(transport, config, Place(transport, config.handshake_timeout))


async def shake_hands(transport: T_Stream, config: ServerConfig, place: Place) -> SecureStream[T_Stream]:
    """`wrap_server`, for a server that may take the place away: raises `ServerBusy` then."""
    shaking, observer = _shake_hands(transport, config, place), config.observer
    return await (observer.watch(place.address, shaking, observer.handshake_done) if observer else shaking)


async def _shake_hands(transport: T_Stream, config: ServerConfig, place: Place) -> SecureStream[T_Stream]:
    try:
        config._check_transport(transport, place.address)
        side = _ServerSide(transport, config, place)
        peer, writer, reader = await side.run()
        session, timeout = side.handshake.session, config.close_timeout
        return SecureStream(Parts(transport, side.channel, peer, session, writer, reader, timeout, config.observer))
    except BaseException:
        await trio.aclose_forcefully(transport)
        raise


# --- both sides -----------------------------------------------------------------------------------


def _open_records(handshake: ClientHandshake | ServerHandshake, rest: bytes) -> tuple[RecordWriter, RecordReader]:
    """The record layer that the finished handshake leads to, begun with what came after its last frame."""
    keys, suite, is_client = handshake.split(), handshake.session.suite, isinstance(handshake, ClientHandshake)
    if (log := key_log()) is not None and isinstance(suite, Suite):  # the profile dev has no keys
        log.write(handshake.hello_key, suite, *((keys.send, keys.receive) if is_client else (keys.receive, keys.send)))
    reader = RecordReader(suite, keys.receive, expects_verdict=is_client)
    if rest:
        reader.feed(rest)
    return RecordWriter(suite, keys.send), reader


# --- the client -------------------------------------------------------------------------------------


async def _client_handshake(transport: T_Stream, config: ClientConfig) -> SecureStream[T_Stream]:
    config._check_transport(transport)
    channel = config._new_channel(transport)
    handshake = config._new_handshake()
    frames = Frames(channel, handshake.lengths)
    server_key = await _meet_server(frames, handshake)
    await _judge(config, server_key)
    peer = await _verify_server(
        config,
        Peer(
            public_key=server_key,
            credentials=handshake.server_payload,
            address=address_of(transport),
            used_secret=config.secret is not None,  # without it the challenge would not have opened
            transcript=handshake.server_statement,
        ),
    )
    await frames.send(handshake.response(await _credentials(config, handshake.client_statement)))

    writer, reader = _open_records(handshake, frames.take_rest())
    writer.padding = config.padding
    session, timeout = handshake.session, config.close_timeout
    stream = SecureStream(Parts(transport, channel, peer, session, writer, reader, timeout, config.observer))
    if config.wait_for_accept:
        await stream._wait_for_verdict()
    return stream


async def _meet_server(frames: Frames, handshake: ClientHandshake) -> PeerKey:
    """Gives the key that the server has proved. The client hasn't shown anything yet."""
    try:
        if isinstance(handshake, TlsClientHandshake):
            return handshake.meet(await frames.shake_hands_of_tls())
        await frames.send(handshake.hello())
        kind, body = await frames.receive({Kind.CHALLENGE, Kind.ALERT})
        if kind is Kind.ALERT:
            raise HandshakeRefused(Alert(decode_alert_body_untrusted(body)), authenticated=False)
        return handshake.challenge(body)
    except RemoteProtocolError as exc:
        raise handshake_error(exc) from exc


async def _judge(config: ClientConfig, server_key: PeerKey) -> None:
    """Before the client shows who it is. Raises `ServerKeyMismatch`."""
    wanted = config.server_key
    if wanted is None or wanted == server_key:
        return
    if isinstance(wanted, PublicKey | KeyHash):
        raise ServerKeyMismatch(wanted, server_key)
    judge = cast("Callable[[PeerKey], Awaitable[object]]", wanted)  # it is asked about the kind that its wire has
    try:
        answer = await judge(server_key)
    except PermissionError as exc:
        raise ServerKeyMismatch(config.pinned_key, server_key, str(exc)) from exc
    if answer is False:
        raise ServerKeyMismatch(None, server_key)


async def _verify_server(config: ClientConfig, peer: Peer) -> Peer:
    """What the server shows beside its key. Raises `BadCredentials`, and `ServerKeyMismatch` for other refusals."""
    if config.verify_server is None:
        return peer
    try:
        principal = await config.verify_server(peer)
    except CredentialsRefused as exc:
        raise BadCredentials(f"the server's credentials were refused: {exc}", peer.public_key) from exc
    except PermissionError as exc:
        raise ServerKeyMismatch(None, peer.public_key, str(exc)) from exc
    if principal is False:
        raise ServerKeyMismatch(None, peer.public_key)
    return peer.accepted_as(principal)


async def _credentials(config: ClientConfig | ServerConfig, statement: bytes) -> bytes:
    """What the peer is shown. Raises what a callable raises, `TypeError` and `ValueError` for what can't be shown."""
    if isinstance(config.credentials, bytes):
        return config.credentials
    made = config.credentials(statement)
    credentials = await made if isinstance(made, Awaitable) else made
    check_credentials(credentials)
    return credentials


# --- the server -------------------------------------------------------------------------------------


class _ServerSide:
    """One server's handshake: its steps, and what the client is told when one fails."""

    def __init__(self, transport: trio.abc.Stream, config: ServerConfig, place: Place) -> None:
        self._place = place
        self._config = config
        self.channel = config._new_channel(transport)
        self._frames = Frames(self.channel)
        self.handshake: ServerHandshake  # from the hello on
        self._writer: RecordWriter | None = None  # of what the client is told, once it can be told in private

    async def run(self) -> tuple[Peer, RecordWriter, RecordReader]:
        """All steps, or an error of which the client has been told."""
        try:
            return await self._run_in_time()
        except Refused as refused:
            with self._place.given_up(self._config.close_timeout):
                await self._tell(refused.alert, linger=refused.linger)
            raise refused.error from refused.__cause__

    async def _run_in_time(self) -> tuple[Peer, RecordWriter, RecordReader]:
        try:
            with self._place.held():
                return await self._steps()
        except RemoteProtocolError as exc:
            raise Refused(Alert(exc.alert_code), handshake_error(exc)) from exc

    async def _steps(self) -> tuple[Peer, RecordWriter, RecordReader]:
        handshake = await self._meet_client()
        client_key = handshake.response(await self._receive_response())
        self._place.waits = False

        writer, reader = _open_records(handshake, self._frames.take_rest())
        self._writer = writer
        writer.padding = self._config.padding
        peer = await self._authorize(
            Peer(
                public_key=client_key,
                credentials=handshake.credentials,
                address=self._place.address,
                used_secret=handshake.used_secret,
                transcript=handshake.client_statement,
            )
        )
        await trio.lowlevel.checkpoint_if_cancelled()  # before it is sealed: too late, it is alert 9 in its place
        await self._frames.send(seal_at_any_rate(writer, lambda: writer.verdict(RecordType.ACCEPT)))
        return peer, writer, reader

    async def _meet_client(self) -> ServerHandshake:
        """Up to where the client shows who it is."""
        if isinstance(self.channel, TlsChannel):
            return await self._meet_over_tls(self.channel)
        _, body = await self._frames.receive({Kind.HELLO})
        handshake = self.handshake = self._new_handshake()
        handshake.hello(body)
        await self._frames.send(handshake.challenge(await self._own_credentials()))
        return handshake

    async def _meet_over_tls(self, channel: TlsChannel) -> TlsServerHandshake:
        try:
            facts = await self._frames.shake_hands_of_tls()
        finally:
            if channel.tls.is_done:  # also where the client's key is of no kind that is taken
                self._writer = RecordWriter(TlsSuite.TLS_1_3, b"")
        handshake = self.handshake = self._new_handshake()
        assert isinstance(handshake, TlsServerHandshake)
        handshake.meet(facts)
        return handshake

    async def _receive_response(self) -> bytes:
        """A client that doesn't want this server's key leaves here, and shows nothing of itself, not even that."""
        try:
            _, body = await self._frames.receive({Kind.RESPONSE})
        except HandshakeTruncated as exc:
            raise HandshakeTruncated(f"{exc}; does the client expect another server key?") from exc.__cause__
        return body

    def _new_handshake(self) -> ServerHandshake:
        try:
            return self._config._new_handshake()
        except Exception as exc:
            raise Refused(
                Alert(AlertCode.INTERNAL_ERROR), SecretsFailed(f"secrets failed: {type(exc).__name__}")
            ) from exc

    async def _own_credentials(self) -> bytes:
        try:
            return await _credentials(self._config, self.handshake.server_statement)
        except Exception as exc:
            failed = CredentialsFailed(f"this server's credentials could not be made: {type(exc).__name__}")
            raise Refused(Alert(AlertCode.INTERNAL_ERROR), failed) from exc

    async def _authorize(self, peer: Peer) -> Peer:
        try:
            return await ask_about(peer, self._config)
        except (AccessDenied, AuthorizationFailed, BadCredentials) as error:
            raise Refused(verdict_of(error), error) from error.__cause__

    async def _tell(self, alert: Alert, *, linger: bool) -> None:
        """Before the response in clear and without a text, after it and inside TLS as the first record."""
        if (writer := self._writer) is None:
            await self._frames.refuse(alert.code, linger=linger)
        elif not writer.records:  # else the verdict was on its way already
            record = seal_at_any_rate(writer, lambda: writer.verdict(RecordType.ALERT, alert.encode()))
            await self._frames.end_with(record, linger=linger)


async def ask_about(peer: Peer, config: ServerConfig) -> Peer:
    """The client as `authorize` accepts it.

    Raises `AccessDenied`, `BadCredentials` and `AuthorizationFailed`, each with its cause.
    """
    try:
        answer = config.authorize(peer)
        if not isinstance(answer, Awaitable):
            raise TypeError(f"authorize is to be async, and returned a {type(answer).__name__}")
        principal = await answer
        if principal is False:
            raise TypeError("authorize returned False; it refuses by raising PermissionError")
        return peer.accepted_as(principal)
    except CredentialsRefused as exc:
        raise BadCredentials(f"the credentials of {peer.public_key} were refused: {exc}", peer.public_key) from exc
    except Exception as exc:
        if isinstance(exc, PermissionError) and exc.errno is None:  # with one it is the system's, and names files
            raise AccessDenied(f"the client {peer.public_key} is not authorised: {exc}", peer.public_key) from exc
        raise AuthorizationFailed(f"authorize failed: {type(exc).__name__}", peer.public_key) from exc
    except BaseExceptionGroup as group:
        _, rest = group.split(Exception)  # a task of its own failed while it was cancelled
        raise (rest or group) from None


def verdict_of(error: AccessDenied | AuthorizationFailed | BadCredentials) -> Alert:
    """What the client is told: the text that `authorize` meant for it, and nothing where it failed."""
    match error:
        case AccessDenied():
            return Alert.clipped(AlertCode.ACCESS_DENIED, str(error.__cause__))
        case BadCredentials():
            return Alert.clipped(AlertCode.BAD_CREDENTIALS, str(error.__cause__))
    return Alert(AlertCode.INTERNAL_ERROR)


async def refuse_client(transport: trio.abc.Stream, config: ServerConfig, place: Place, reason: str) -> None:
    """Tells a client that there is no room for it, and closes. Raises `ServerBusy`, `HandshakeTruncated`, always."""
    refusing, observer = _refuse_client(transport, config, reason), config.observer
    await (observer.watch(place.address, refusing, observer.handshake_done) if observer else refusing)


async def _refuse_client(transport: trio.abc.Stream, config: ServerConfig, reason: str) -> NoReturn:
    try:
        frames = Frames(config._new_channel(transport))
        await frames.turn_away(AlertCode.BUSY, patience=config.handshake_timeout, close_timeout=config.close_timeout)
        raise ServerBusy(reason)
    finally:
        await trio.aclose_forcefully(transport)
