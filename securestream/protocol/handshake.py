"""The handshake as two machines without I/O, and the table of what may follow what.

A machine takes the body of a frame and gives the bytes of the next. What needs a decision of the program
(is this the right server? is this client welcome?) lies between two steps, so that the caller can wait for it:

    client   hello() ->  challenge(body)  [judge server_key]   ->  response(credentials)  -> session
    server   hello(body) -> challenge()  ->  response(body)    [authorize client_key]     -> session

A step out of order raises `LocalProtocolError`. Bytes that are wrong raise `RemoteProtocolError` with the
alert that the peer is to get, and the machine is finished.
"""

from __future__ import annotations

import enum
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from .codes import AlertCode
from .credentials import client_statement, server_statement
from .errors import LocalProtocolError, RemoteProtocolError
from .keys import PrivateKey, PublicKey, SharedSecret
from .messages import (
    FALLBACK,
    MAX_PAYLOAD,
    MODE_HFS,
    MODE_PSK0,
    PROLOGUE,
    ROUTE_SIZE,
    Hello,
    Kind,
    Lengths,
    decode_hello_untrusted,
    encode_frame,
    lengths_in_mode,
    open_route_untrusted,
    seal_route,
)
from .noise import XX, XX_HFS, XX_HFS_PSK0, XX_PSK0, HandshakeState, NotAuthentic, Pattern, SharedKeys
from .plaintext import DevSuite
from .suites import AnySuite, Suite, choose_suite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .hybrid import ClientPostQuantum, PostQuantum
    from .mlkem import DecapsulationKey
    from .tls_keys import PeerKey

# --- the tables -------------------------------------------------------------------------------------


class State(enum.IntEnum):  # a number is looked up in the table without calling Python
    """How far a handshake has come, on either side."""

    START = enum.auto()
    HELLO_DONE = enum.auto()
    CHALLENGE_DONE = enum.auto()
    FINISHED = enum.auto()
    FAILED = enum.auto()


class Step(enum.IntEnum):
    """What happens: a message written by one side and read by the other, or a failure."""

    HELLO = enum.auto()
    CHALLENGE = enum.auto()
    RESPONSE = enum.auto()
    FAIL = enum.auto()


TRANSITIONS: dict[tuple[State, Step], State] = {
    (State.START, Step.HELLO): State.HELLO_DONE,
    (State.HELLO_DONE, Step.CHALLENGE): State.CHALLENGE_DONE,
    (State.CHALLENGE_DONE, Step.RESPONSE): State.FINISHED,
    (State.START, Step.FAIL): State.FAILED,
    (State.HELLO_DONE, Step.FAIL): State.FAILED,
    (State.CHALLENGE_DONE, Step.FAIL): State.FAILED,
}


# By what a hello says: whether it uses a secret, and whether it is hybrid.
PATTERNS: dict[tuple[bool, bool], Pattern] = {
    (False, False): XX,
    (True, False): XX_PSK0,
    (False, True): XX_HFS,
    (True, True): XX_HFS_PSK0,
}


class SecretPolicy(enum.Enum):
    """The shared-secret gate of a server: a client's secret is refused, looked at, or demanded."""

    OFF = enum.auto()
    OPTIONAL = enum.auto()
    REQUIRED = enum.auto()


# --- what comes out ---------------------------------------------------------------------------------


class Profile(enum.Enum):
    """How a connection is protected: `secure`, or not at all and for development only."""

    DEV = "dev"
    SECURE = "secure"


@dataclass(frozen=True)
class Session:
    """What both sides agree on.

    `suite`             the record cipher; `TlsSuite.TLS_1_3` inside TLS, `DevSuite.PLAINTEXT` where there is none
    `handshake_hash`    the channel binding: 64 bytes, the same on both sides and for no other connection;
                        not a secret (Noise section 11.2)
    `post_quantum`      whether ML-KEM-768 is in the keys beside X25519: who records the connection has to break both
                        to read it
    """

    suite: AnySuite
    handshake_hash: bytes
    post_quantum: bool = False

    @property
    def profile(self) -> Profile:
        """Which profile the connection is of. A library that must not run in clear asks here."""
        return Profile.DEV if isinstance(self.suite, DevSuite) else Profile.SECURE


@dataclass(frozen=True)
class SessionKeys:
    """Noise's Split(): one key a direction, 32 bytes each. They don't show."""

    send: bytes = field(repr=False)
    receive: bytes = field(repr=False)


class Messages(Protocol):
    """What a machine uses of Noise's `HandshakeState`, and of what stands in for it in the profile dev."""

    e: PrivateKey | None

    @property
    def re(self) -> PublicKey | None: ...
    @property
    def rs(self) -> PeerKey | None: ...
    @property
    def public_key(self) -> PeerKey: ...
    def get_handshake_hash(self) -> bytes: ...
    def write_message(self, payload: bytes = b"", /) -> bytes: ...
    def read_message(self, message: bytes, /) -> bytes: ...
    def split(self) -> tuple[HasKey, HasKey]: ...


class HasKey(Protocol):
    """A cipher, as far as the records need it."""

    def key_bytes(self) -> bytes: ...


class BaseHandshake:
    """What both sides share: the state, and Noise underneath."""

    __slots__ = (
        *("_client_statement", "_hybrid", "_noise", "_server_statement", "_shared_keys", "_state", "_suite", "_suites"),
    )

    protocol: ClassVar[bytes] = PROLOGUE  # what the sides' credentials begin with

    _noise: Messages
    _suite: AnySuite

    def __init__(self, suites: Sequence[AnySuite]) -> None:
        self._state = State.START
        self._suites = tuple(suites)
        self._shared_keys = SharedKeys()
        self._hybrid = False
        self._client_statement = self._server_statement = b""

    @property
    def state(self) -> State:
        return self._state

    @property
    def public_key(self) -> PeerKey:
        """This side's own."""
        return self._noise.public_key

    @property
    def handshake_hash(self) -> bytes:
        """h1, h2 or h3: Noise's h after the last message, 64 bytes. Raises `LocalProtocolError` where there is none."""
        if self._state in (State.START, State.FAILED):
            raise LocalProtocolError(f"no handshake hash in state {self._state.name}")
        return self._noise.get_handshake_hash()

    @property
    def server_statement(self) -> bytes:
        """What the server's credentials sign: known once it has read hello, and to the client with challenge."""
        return self._server_statement

    @property
    def client_statement(self) -> bytes:
        """What the client's credentials sign: known once it has read challenge, and to the server with response."""
        return self._client_statement

    @property
    def session(self) -> Session:
        """Raises `LocalProtocolError` before the handshake is finished."""
        self._require_finished()
        return Session(self._suite, self.handshake_hash, self._hybrid)

    def _split(self) -> tuple[bytes, bytes]:
        self._require_finished()
        first, second = self._noise.split()
        return first.key_bytes(), second.key_bytes()

    def _require_finished(self) -> None:
        if self._state is not State.FINISHED:
            raise LocalProtocolError("the handshake is not finished")

    def _require_turn(self, step: Step) -> None:
        if (self._state, step) not in TRANSITIONS:
            raise LocalProtocolError(f"{step.name} in state {self._state.name}")

    def _enter(self, step: Step) -> None:
        following = TRANSITIONS.get((self._state, step))
        if following is None:
            raise LocalProtocolError(f"{step.name} in state {self._state.name}")
        self._state = following

    def _read_noise(self, message: bytes, alert_code: AlertCode, what: str) -> bytes:
        try:
            return self._noise.read_message(message)
        except RemoteProtocolError as exc:
            raise self._failure(f"{what}: {exc}", alert_code) from exc

    def _failure(self, message: str, alert_code: AlertCode) -> RemoteProtocolError:
        self._enter(Step.FAIL)
        return RemoteProtocolError(message, alert_code)

    def _remote_key(self) -> PeerKey:
        assert self._noise.rs is not None  # both messages that get here have an "s"
        return self._noise.rs

    @staticmethod
    def _check_payload(payload: bytes) -> None:
        if len(payload) > MAX_PAYLOAD:
            raise LocalProtocolError(f"a handshake payload has at most {MAX_PAYLOAD:,} bytes, not {len(payload):,}")


# --- the client -------------------------------------------------------------------------------------


class ClientHandshake(BaseHandshake):
    """The initiator.

    `key`             this client's long-term key
    `server_key`      the server it wants; None if it doesn't know (then the route is random bytes)
    `middlebox_key`   who is to read the route, where that isn't the server itself
    `secret`          the shared secret, for servers behind that gate
    `post_quantum`    whether the handshake is hybrid; "fallback": it is not, because the server refused that
    `ephemeral`, `kem_ephemeral`  for tests only: fixed ones make the hello repeatable and the session worthless
    """

    __slots__ = ("_header", "server_payload")

    def __init__(
        self,
        *,
        key: PrivateKey,
        server_key: PublicKey | None,
        suites: Sequence[Suite],
        middlebox_key: PublicKey | None = None,
        secret: SharedSecret | None = None,
        post_quantum: ClientPostQuantum = "off",
        ephemeral: PrivateKey | None = None,
        kem_ephemeral: DecapsulationKey | None = None,
    ) -> None:
        super().__init__(suites)
        self._hybrid = post_quantum in ("prefer", "require")
        e = ephemeral or PrivateKey.generate()
        route = self._seal_route(e, server_key, middlebox_key)
        offer = (*self._suites, FALLBACK) if post_quantum == "fallback" else self._suites
        self._header = Hello(secret is not None, offer, route, b"", self._hybrid).header
        self._noise = HandshakeState(
            PATTERNS[secret is not None, self._hybrid],
            initiator=True,
            prologue=PROLOGUE + self._header,
            s=key,
            e=e,
            e1=kem_ephemeral,
            psks=() if secret is None else (secret.psk,),
            shared_keys=self._shared_keys,
        )
        self.server_payload: bytes = b""

    def _seal_route(self, e: PrivateKey, server_key: PublicKey | None, middlebox_key: PublicKey | None) -> bytes:
        if server_key is None:
            return secrets.token_bytes(ROUTE_SIZE)
        r = bytes(middlebox_key or server_key)
        return seal_route(bytes(server_key), self._shared_keys.dh(e, r), bytes(e.public_key), r)

    @property
    def lengths(self) -> Lengths:
        """What lengths the server's frames may have."""
        return lengths_in_mode(hybrid=self._hybrid)

    def hello(self) -> bytes:
        """The first frame."""
        self._enter(Step.HELLO)
        return encode_frame(Kind.HELLO, self._header + self._noise.write_message())

    def challenge(self, body: bytes) -> PeerKey:
        """Takes the challenge; gives the key that the server has proved to own.

        The caller judges that key before it calls `response()`, which tells the server who the client is.
        """
        self._require_turn(Step.CHALLENGE)
        h1 = self._noise.get_handshake_hash()
        payload = self._read_noise(body, AlertCode.PROTOCOL_ERROR, "the challenge is not genuine")
        chosen = [suite for suite in self._suites if payload[:1] == bytes([suite])]
        if not chosen:
            raise self._failure("the server chose a suite that was not offered", AlertCode.PROTOCOL_ERROR)
        (self._suite,) = chosen
        self.server_payload = payload[1:]
        server_key, e = self._remote_key(), self._noise.re
        assert e is not None  # the challenge begins with it
        self._server_statement = server_statement(self.protocol, h1, e, server_key, self._suite)
        self._client_statement = client_statement(self.protocol, self._noise.get_handshake_hash(), self.public_key)
        self._enter(Step.CHALLENGE)
        return server_key

    def response(self, credentials: bytes = b"") -> bytes:
        """The last frame, which shows the client's key and credentials to the server alone."""
        self._check_payload(credentials)
        self._enter(Step.RESPONSE)
        return encode_frame(Kind.RESPONSE, self._noise.write_message(credentials))

    @property
    def hello_key(self) -> bytes:
        """The ephemeral public key in the hello: 32 bytes in clear, of this connection alone."""
        assert self._noise.e is not None
        return bytes(self._noise.e.public_key)

    def split(self) -> SessionKeys:
        """The keys of the records. Raises `LocalProtocolError` before the handshake is finished."""
        client_to_server, server_to_client = self._split()
        return SessionKeys(send=client_to_server, receive=server_to_client)


# --- the server -------------------------------------------------------------------------------------


class ServerHandshake(BaseHandshake):
    """The responder.

    `key`             this server's long-term key
    `secrets`         the shared secrets it takes, each as good as another: more than one while they are rotated
    `secret_policy`   the gate
    `require_route`   refuse clients that don't name this server's key
    `post_quantum`    whether it takes hybrid handshakes, or nothing else
    `ephemeral`       for tests only
    """

    __slots__ = (
        *("_ephemeral", "_key", "_post_quantum", "_require_route", "_secret_policy", "_secrets"),
        *("credentials", "used_secret"),
    )

    def __init__(
        self,
        *,
        key: PrivateKey,
        suites: Sequence[Suite],
        secrets: Sequence[SharedSecret] = (),
        secret_policy: SecretPolicy = SecretPolicy.OFF,
        require_route: bool = False,
        post_quantum: PostQuantum = "off",
        ephemeral: PrivateKey | None = None,
    ) -> None:
        super().__init__(suites)
        self._post_quantum = post_quantum
        self._key = key
        self._secrets = tuple(secrets)
        self._secret_policy = secret_policy
        self._require_route = require_route
        self._ephemeral = ephemeral
        self.used_secret: bool = False
        self.credentials: bytes = b""

    def hello(self, body: bytes) -> None:
        """Takes the hello. The order of the checks is the protocol's: what is cheap first, and no
        Diffie-Hellman for a peer that has not shown the secret."""
        self._require_turn(Step.HELLO)
        try:
            hello = decode_hello_untrusted(body, MODE_PSK0 if self._post_quantum == "off" else MODE_PSK0 | MODE_HFS)
        except RemoteProtocolError:
            self._enter(Step.FAIL)
            raise
        self._check_post_quantum(hello)
        self._check_secret_policy(hello.uses_secret)
        self._noise = self._read_noise1(hello)
        suite = choose_suite(hello.suites, self._suites)
        if suite is None:
            raise self._failure("no suite in common", AlertCode.NO_COMMON_SUITE)
        self._suite = suite
        self._check_route(hello)
        self.used_secret, self._hybrid = hello.uses_secret, hello.hybrid
        self._make_server_statement()
        self._enter(Step.HELLO)

    def _make_server_statement(self) -> None:
        """Makes the ephemeral key that challenge will send: it is signed with the rest."""
        e = self._noise.e = self._noise.e or PrivateKey.generate()
        h1 = self._noise.get_handshake_hash()
        self._server_statement = server_statement(self.protocol, h1, e.public_key, self.public_key, self._suite)

    def _check_post_quantum(self, hello: Hello) -> None:
        if hello.hybrid or self._post_quantum == "off":
            return
        if FALLBACK in hello.suites:
            what = "a client that was told, by somebody else, that this server takes no hybrid handshake"
            raise self._failure(what, AlertCode.INAPPROPRIATE_FALLBACK)
        if self._post_quantum == "require":
            what = "a classical handshake where this server demands a hybrid one"
            raise self._failure(what, AlertCode.UNSUPPORTED_VERSION)

    def _check_secret_policy(self, uses_secret: bool) -> None:
        if uses_secret and self._secret_policy is SecretPolicy.OFF:
            raise self._failure("a secret where this server takes none", AlertCode.BAD_SECRET)
        if not uses_secret and self._secret_policy is SecretPolicy.REQUIRED:
            raise self._failure("no secret where this server demands one", AlertCode.BAD_SECRET)

    def _read_noise1(self, hello: Hello) -> HandshakeState:
        for psks in [(secret.psk,) for secret in self._secrets] if hello.uses_secret else [()]:
            noise = HandshakeState(
                PATTERNS[hello.uses_secret, hello.hybrid],
                initiator=False,
                prologue=PROLOGUE + hello.header,
                s=self._key,
                e=self._ephemeral,
                psks=psks,
                shared_keys=self._shared_keys,
            )
            try:
                noise.read_message(hello.noise1)
            except NotAuthentic:
                continue
            except RemoteProtocolError as exc:
                raise self._failure(str(exc), AlertCode.PROTOCOL_ERROR) from exc
            return noise
        raise self._failure("a wrong secret", AlertCode.BAD_SECRET)

    def _check_route(self, hello: Hello) -> None:
        own = bytes(self._key.public_key)
        try:
            shared = self._shared_keys.dh(self._key, hello.e)
        except RemoteProtocolError as exc:
            raise self._failure(str(exc), AlertCode.PROTOCOL_ERROR) from exc
        named = open_route_untrusted(hello.route, shared, hello.e, own)
        if named is None and self._require_route:
            raise self._failure("a route that is not for this server", AlertCode.UNKNOWN_SERVER_KEY)
        if named is not None and named != own:
            raise self._failure("a route that names another server", AlertCode.UNKNOWN_SERVER_KEY)

    def challenge(self, payload: bytes = b"") -> bytes:
        """The second frame. `payload` can be read by anyone who sent a good hello."""
        self._check_payload(payload)
        self._enter(Step.CHALLENGE)
        return encode_frame(Kind.CHALLENGE, self._noise.write_message(bytes([self._suite]) + payload))

    def response(self, body: bytes) -> PeerKey:
        """Takes the response; gives the key that the client has proved to own, for the caller to judge."""
        self._require_turn(Step.RESPONSE)
        h2 = self._noise.get_handshake_hash()
        self.credentials = self._read_noise(body, AlertCode.BAD_RESPONSE, "the response is not genuine")
        client_key = self._remote_key()
        self._client_statement = client_statement(self.protocol, h2, client_key)
        self._enter(Step.RESPONSE)
        return client_key

    @property
    def hello_key(self) -> bytes:
        """The ephemeral public key in the client's hello: 32 bytes in clear, of this connection alone."""
        assert self._noise.re is not None
        return bytes(self._noise.re)

    def split(self) -> SessionKeys:
        """The keys of the records. Raises `LocalProtocolError` before the handshake is finished."""
        client_to_server, server_to_client = self._split()
        return SessionKeys(send=server_to_client, receive=client_to_server)
