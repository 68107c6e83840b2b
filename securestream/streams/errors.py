"""The public exceptions.

All that a stream raises because of the peer or the network is a `trio.BrokenResourceError`, so that code
written for any Trio stream works unchanged. `.code` is a stable string for programs; the text is for people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..protocol.alerts import Alert, AlertCode, printable
from ..protocol.codes import code_name

if TYPE_CHECKING:
    from ..protocol.errors import RemoteProtocolError
    from ..protocol.tls_keys import PeerKey


class StreamError(trio.BrokenResourceError):
    """Base of all below. `code` is a stable string, the same in every version."""

    code: str = "broken"
    # The stream that raised it, so that a server can tell a handler's own stream from others it uses.
    stream: object = None


class PeerAlert(StreamError):
    """The peer ended the stream with an alert.

    `alert`          its code and message; the message is what the peer wrote, so show `str(alert)`
    `authenticated`  whether it came through the encrypted stream; before there are keys anybody on the
                     way could have written it
    """

    def __init__(self, alert: Alert, *, authenticated: bool = True) -> None:
        is_silent = alert.code == AlertCode.INTERNAL_ERROR and not alert.message
        hint = "; it failed, and its own log says why" if is_silent else ""
        super().__init__(f"the peer ended the stream: {alert}{hint}")
        self.alert: Alert = alert
        self.authenticated = authenticated
        self.code: str = alert.name


class TruncatedStream(StreamError):
    """The transport ended, and the peer had not: an attacker, a crash, or a lost connection."""

    code = "truncated_stream"

    def __init__(self, message: str = "the connection ended in the middle of the stream") -> None:
        super().__init__(message)


class BadRecord(StreamError):
    """A record that does not authenticate or does not parse. `code`: `bad_record` or `protocol_error`."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class BadMessage(StreamError):
    """What came is no message: longer than is allowed here, or cut short by the peer's own end."""

    code = "bad_message"


class TransportBroken(StreamError):
    """The transport refuses to send, and the peer has left no reason."""

    code = "transport_broken"


class HandshakeError(StreamError):
    """Base of all that end a handshake."""

    code = "protocol_error"


class HandshakeTimeout(HandshakeError):
    """The handshake was not done within its deadline."""

    code = "handshake_timeout"


class HandshakeTruncated(HandshakeError, TruncatedStream):
    """The connection ended in the middle of the handshake. `in_silence`: and before anything had come."""

    code = "handshake_truncated"

    def __init__(self, message: str = "the connection ended in the handshake", *, in_silence: bool = False) -> None:
        super().__init__(message)
        self.in_silence = in_silence


class ServerKeyMismatch(HandshakeError):
    """Whoever answered is not the server that was wanted. `expected` (None where the program or a list refused it, and
    there was no one key), `received`."""

    code = "server_key_mismatch"

    def __init__(self, expected: PeerKey | None, received: PeerKey, reason: str = "") -> None:
        if expected is None or reason:
            text = f"the server's key {received} was refused: {reason or 'it is not known here'}"
        else:
            text = (
                f"the server has the key {received}, and {expected} was expected. If its owner changed it, "
                "put the new key into this client's configuration; if not, somebody else is answering"
            )
        super().__init__(text)
        self.expected = expected
        self.received = received


class HandshakeRefused(HandshakeError, PeerAlert):
    """The server refused this client, and said why: `.alert`, `.authenticated`."""

    def __init__(self, alert: Alert, *, authenticated: bool = True) -> None:
        StreamError.__init__(self, _refusal_text(alert, authenticated=authenticated))
        self.alert: Alert = alert
        self.authenticated = authenticated
        self.code: str = alert.name


_ADVICE = {
    AlertCode.BAD_RESPONSE: "it could not verify this client's proof; something on the way changes the bytes",
    AlertCode.UNSUPPORTED_VERSION: "it speaks another version of the protocol, so update the older side; or it is of "
    "another profile (dev, secure); or one side wants a post-quantum handshake and the other takes none: compare "
    "the post-quantum setting of both, and whether both have the extra `pq`",
    AlertCode.NO_COMMON_SUITE: "none of the offered suites is allowed there; compare suites= on both sides",
    AlertCode.UNKNOWN_SERVER_KEY: "the server key given here is not the key of the server at this address; or a router "
    "is there that has no route to it, or whose key is not the middlebox key given here",
    AlertCode.BAD_SECRET: "the shared secret is wrong, missing, or not wanted there; compare it on both sides",
    AlertCode.ACCESS_DENIED: "this client's public key is not allowed there; its operator can add it",
    AlertCode.BAD_CREDENTIALS: "it did not take this client's credentials",
    AlertCode.HANDSHAKE_TIMEOUT: "this client was too slow",
    AlertCode.BUSY: "it has no room for another connection; try again later",
    AlertCode.PROTOCOL_ERROR: "it did not understand this client; is it a securestream server?",
    AlertCode.INTERNAL_ERROR: "it failed; its log says why",
    AlertCode.SHUTTING_DOWN: "it is shutting down; try again later",
    AlertCode.INAPPROPRIATE_FALLBACK: "it has a post-quantum handshake, and somebody on the way said that it has none; "
    "try again",
    AlertCode.BACKEND_UNAVAILABLE: "what it forwards to can't be reached",
}


def _refusal_text(alert: Alert, *, authenticated: bool) -> str:
    try:
        advice = _ADVICE.get(AlertCode(alert.code), "")
    except ValueError:
        advice = ""
    text = f"the server refused this client: {printable(alert.message) or advice or alert}"
    doubt = "" if authenticated else "; said in clear, before the server had proved its key"
    return f"{text} [{alert.name}{doubt}]"


# --- what this side found wrong in a handshake: one class a cause ------------------------------------


class UnsupportedVersion(HandshakeError):
    """The client speaks another version of the protocol, or a mode that is not known here."""

    code: str = code_name(AlertCode.UNSUPPORTED_VERSION)


class InappropriateFallback(HandshakeError):
    """The client does without the hybrid handshake because it was refused, and this server had not refused it: somebody
    on the way had, or another server under the same address."""

    code: str = code_name(AlertCode.INAPPROPRIATE_FALLBACK)


class NoCommonSuite(HandshakeError):
    """The client offers none of the suites allowed here."""

    code: str = code_name(AlertCode.NO_COMMON_SUITE)


class UnknownServerKey(HandshakeError):
    """The client wants another server than this."""

    code: str = code_name(AlertCode.UNKNOWN_SERVER_KEY)


class BadSecret(HandshakeError):
    """The client's shared secret is wrong, missing, or not wanted here."""

    code: str = code_name(AlertCode.BAD_SECRET)


class BadResponse(HandshakeError):
    """The client could not prove that it owns its key."""

    code: str = code_name(AlertCode.BAD_RESPONSE)


class AccessDenied(HandshakeError):
    """`authorize` refused the client. `public_key` is the client's."""

    code: str = code_name(AlertCode.ACCESS_DENIED)

    def __init__(self, message: str, public_key: PeerKey) -> None:
        super().__init__(message)
        self.public_key = public_key


class BadCredentials(HandshakeError):
    """What the peer showed beside its key does not hold: a verifier refused it. `public_key` is the peer's.

    Both sides raise it: `wrap_server` for a client's credentials, `wrap_client` for a server's.
    """

    code: str = code_name(AlertCode.BAD_CREDENTIALS)

    def __init__(self, message: str, public_key: PeerKey) -> None:
        super().__init__(message)
        self.public_key = public_key


class CredentialsFailed(HandshakeError):
    """The server could make no credentials of its own: its `credentials` callable failed. The cause is in
    `__cause__`; the client is told "internal error"."""

    code: str = code_name(AlertCode.INTERNAL_ERROR)


class ServerBusy(HandshakeError):
    """This server had no room for the client."""

    code: str = code_name(AlertCode.BUSY)


class AuthorizationFailed(HandshakeError):
    """`authorize` itself failed: neither yes nor no. The cause is in `__cause__`. `public_key` is the client's."""

    code: str = code_name(AlertCode.INTERNAL_ERROR)

    def __init__(self, message: str, public_key: PeerKey) -> None:
        super().__init__(message)
        self.public_key = public_key


class SecretsFailed(HandshakeError):
    """`secrets` itself failed, or gave what is no secret, so that nobody was let in. The cause is in `__cause__`."""

    code: str = code_name(AlertCode.INTERNAL_ERROR)


_CLASSES: dict[AlertCode, type[HandshakeError]] = {
    AlertCode.UNSUPPORTED_VERSION: UnsupportedVersion,
    AlertCode.INAPPROPRIATE_FALLBACK: InappropriateFallback,
    AlertCode.NO_COMMON_SUITE: NoCommonSuite,
    AlertCode.UNKNOWN_SERVER_KEY: UnknownServerKey,
    AlertCode.BAD_SECRET: BadSecret,
    AlertCode.BAD_RESPONSE: BadResponse,
}


def handshake_error(exc: RemoteProtocolError) -> HandshakeError:
    """The public exception for what the peer did wrong in the handshake."""
    return _CLASSES.get(exc.alert_code, HandshakeError)(str(exc))


class AlertWasSent(trio.ClosedResourceError):
    """What a call gets when this side has ended `stream` with an alert, in another task perhaps.

    Not a public name: for a program it is the `trio.ClosedResourceError` of any stream that it has closed. A server
    tells by it that a handler whose own watchdog ended the stream has not failed.
    """

    def __init__(self, alert: Alert, stream: object) -> None:
        super().__init__(f"this side ended the stream with {alert}")
        self.stream = stream


class StreamFailure(Exception):
    """Raised by a handler to say what its peer may know: it becomes an alert with this code and text.

    Any other exception that leaves a handler becomes `AlertCode.INTERNAL_ERROR`, without text.
    Raises `ValueError` and `TypeError` for what can't be an alert of the application (see `send_alert`).
    """

    def __init__(self, code: int = AlertCode.APPLICATION_ERROR, message: str = "") -> None:
        self.alert: Alert = Alert.of_application(code, message)
        super().__init__(str(self.alert))
