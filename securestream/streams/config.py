"""What the two sides are configured with. Checked when it is made, so that a handshake can't meet a bad value."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, final, get_args, runtime_checkable

from ..protocol.handshake import ClientHandshake, SecretPolicy, ServerHandshake
from ..protocol.hybrid import ClientPostQuantum, PostQuantum, what_can_be
from ..protocol.keys import PrivateKey, PublicKey, SharedSecret
from ..protocol.messages import MAX_PAYLOAD
from ..protocol.padding import NoPadding, PaddingPolicy
from ..protocol.suites import DEFAULT_SUITES, Suite
from ..protocol.tls_keys import KeyHash, OwnKey, PeerKey, TlsPrivateKey
from .channel import Channel, channel_over
from .instrument import Instrument, Observers, observers

if TYPE_CHECKING:
    import trio


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Who is at the other end, proved.

    `public_key`   its long-term key: a `PublicKey`, or over TLS a `KeyHash`; `NOBODY` in the profile dev, where nothing
                   is proved
    `credentials`  what it showed beside its key, at most 32,768 bytes; proof of nothing before a verifier says so
    `address`      where it connects from, as text; "" if the transport doesn't tell
    `used_secret`  whether it has the shared secret, and this connection is made with it
    `transcript`   what its credentials sign: unique to this connection and side (`docs/protocol.md`, section 2.7)
    `name`         what this side calls it; "" if it has no name here
    `principal`    what `authorize` returned, or a client's `verify_server`
    """

    public_key: PeerKey
    credentials: bytes = field(default=b"", repr=False)
    address: str = ""
    used_secret: bool = False
    transcript: bytes = field(default=b"", repr=False)
    name: str = ""
    principal: object = None

    def accepted_as(self, principal: object) -> Peer:
        """This peer, with what the program's judgement returned; a principal that is text, or has a `name`, gives its
        name."""
        name = principal if isinstance(principal, str) else getattr(principal, "name", "")
        return replace(self, principal=principal, name=name if isinstance(name, str) else "")


Authorize = Callable[[Peer], Awaitable[object]]
"""Accepts by returning (what it returns becomes `stream.peer.principal`), refuses by raising `PermissionError`,
whose text the peer gets to read (`CredentialsRefused` is one). To return False is an error and refuses, too: it was
surely meant to."""

JudgeServer = Callable[[PublicKey], Awaitable[object]] | Callable[[KeyHash], Awaitable[object]]
"""Accepts a server's key, over TLS its hash, by returning; refuses by raising `PermissionError`, and by False, too."""


@runtime_checkable
class KnowsServer(Protocol):
    """A `JudgeServer` that knows the server's keys before it is asked, as `KnownServers` and `KnownServersFile` do."""

    def only_key(self) -> PeerKey | None:
        """The one key that will do, if there is one: the client can then say which server it wants."""
        ...

    async def __call__(self, key: PeerKey) -> object: ...


Secrets = Callable[[], Iterable[SharedSecret]]
"""Gives the shared secrets that a server takes at this moment. Not async, and to be quick: whoever says hello has it
asked, before having shown anything."""

Credentials = Callable[[bytes], bytes | Awaitable[bytes]]
"""Gets what is to be signed, gives what the peer is shown; async where somebody else has to sign."""


@final
class _Anyone:
    """`authorize=ANYONE`: every client is welcome, whoever it is."""

    async def __call__(self, peer: Peer) -> None:
        return None

    def __repr__(self) -> str:
        return "ANYONE"


ANYONE: Final = _Anyone()


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one server takes at once, and for how long.

    `pending_handshakes`      connections whose handshake is not done
    `connections`             all connections together
    `connections_per_source`  of one IPv4 address, or of one IPv6 network of 64 bits: whoever has one address there
                              has all of them. Without effect unless set, as many clients may share an address;
                              connections without an IP address, over Unix sockets say, are not counted
    `idle_timeout`            seconds that a connection may do nothing but wait for its client, while nothing of the
                              program's goes either way; then alert 16 "idle timeout". Noticed up to an eighth later
    `lifetime`                seconds after its handshake that a connection ends, whatever it does, with alert 14
                              "shutting down", so that its client connects again

    What comes beyond the first two takes the place of the pending client that has kept the server waiting for longest
    (0.1 s at least); where there is none, and beyond the third, it is answered with alert 10 "busy". No server takes
    more connections than three quarters of the process's descriptors are enough for (`ulimit -n`); a router needs two
    for each.

    Raises `ValueError`.
    """

    pending_handshakes: int = 4_096
    connections: int = 65_536
    connections_per_source: int = 65_536
    idle_timeout: float = math.inf
    lifetime: float = math.inf

    def __post_init__(self) -> None:
        if min(self.pending_handshakes, self.connections, self.connections_per_source) < 1:
            raise ValueError("limits are at least 1")
        if not self.idle_timeout > 0 or not self.lifetime > 0:
            raise ValueError("idle_timeout and lifetime are seconds, more than none")


@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """How to connect.

    `key`                this client's long-term key; None: a fresh one for each connection
    `server_key`         the server's key; `KnownServers` or `KnownServersFile`; or an async callable that is asked
                         about the key of whoever answers, accepts by returning and refuses by raising
                         `PermissionError`
    `middlebox_key`      the key of the router in front of the server, where there is one
    `secret`             the shared secret, for servers behind that gate; or a callable that gives it, asked at each
                         handshake
    `credentials`        shown to the server beside the key: bytes, at most 32,768, or a callable, async or not,
                         that gets what is to be signed
    `verify_server`      an async callable that is asked about the server's credentials, as `authorize` is about a
                         client's, before this client shows who it is. What it returns becomes
                         `stream.peer.principal`
    `suites`             in the order of preference
    `post_quantum`       whether the handshake is hybrid, X25519 with ML-KEM-768: "prefer", "require", "off", or
                         "fallback", which is "off" and tells a server that could do better (`docs/post-quantum.md`).
                         Default "prefer" where the extra `pq` is installed, else it becomes "off"
    `padding`            a padding policy
    `handshake_timeout`  seconds from the first byte to the server's verdict, default 6: one more than a
                         server's, so that its reason arrives. `math.inf` is allowed
    `close_timeout`      seconds that closing may take, default 1; 0 cuts the stream off
    `instruments`        told of what happens, see `Instrument`
    `wait_for_accept`    whether to wait for the server's verdict. Without, a round trip is saved and a refusal
                         shows on the first receive or send; write-then-close never proves acceptance

    Raises `ValueError` where none of `server_key`, `verify_server` and `secret` is given: anyone could stand in the
    middle. A secret alone authenticates the group that has it, not the server. And where post-quantum is required
    without the extra.
    """

    key: OwnKey | None = None
    server_key: PeerKey | KnowsServer | JudgeServer | None = None
    middlebox_key: PublicKey | None = None
    secret: SharedSecret | Callable[[], SharedSecret] | None = None
    credentials: bytes | Credentials = field(default=b"", repr=False)
    verify_server: Authorize | None = None
    suites: Sequence[Suite] = DEFAULT_SUITES
    post_quantum: ClientPostQuantum = "prefer"
    padding: PaddingPolicy = field(default_factory=NoPadding)
    handshake_timeout: float = 6.0
    close_timeout: float = 1.0
    wait_for_accept: bool = True
    instruments: Sequence[Instrument] = ()
    observer: Observers | None = field(init=False, repr=False, compare=False)

    _private_kind: ClassVar[type] = PrivateKey
    _public_kind: ClassVar[type] = PublicKey

    def __post_init__(self) -> None:
        if self.server_key is None and self.secret is None and self.verify_server is None:
            raise ValueError(
                "give server_key, verify_server, secret or several: with none, anyone could stand in the middle"
            )
        check_type("server_key", self.server_key, self._public_kind, optional=True, or_callable=True)
        check_type("key", self.key, self._private_kind, optional=True)
        check_type("middlebox_key", self.middlebox_key, PublicKey, optional=True)
        check_type("secret", self.secret, SharedSecret, optional=True, or_callable=True)
        if self.verify_server is ANYONE:
            raise ValueError("verify_server=ANYONE would take every server: leave it out, and give server_key")
        if self.verify_server is not None:
            check_async("verify_server", self.verify_server)
        if callable(self.server_key):
            check_async("server_key", self.server_key)
        object.__setattr__(self, "suites", tuple(self.suites))
        object.__setattr__(self, "post_quantum", what_can_be(self.post_quantum, get_args(ClientPostQuantum)))
        _check_common(self)

    def secret_now(self) -> SharedSecret | None:
        """The secret to show. Raises `TypeError` where the callable gives something else, and what it raises."""
        if self.secret is None or isinstance(self.secret, SharedSecret):
            return self.secret
        secret = self.secret()
        check_type("secret", secret, SharedSecret)
        return secret

    def _new_handshake(self) -> ClientHandshake:
        """The machine for one connection. Raises what `secret_now` does."""
        assert not isinstance(self.key, TlsPrivateKey)
        pinned = self.pinned_key
        return ClientHandshake(
            key=self.key or PrivateKey.generate(),
            server_key=pinned if isinstance(pinned, PublicKey) else None,
            middlebox_key=self.middlebox_key,
            secret=self.secret_now(),
            suites=self.suites,
            post_quantum=self.post_quantum,
        )

    def _new_channel(self, transport: trio.abc.Stream) -> Channel:
        return channel_over(transport)

    def _check_transport(self, transport: trio.abc.Stream) -> None:
        """Any will do."""

    @property
    def pinned_key(self) -> PeerKey | None:
        """The one server key that will do, if it is known."""
        if self.server_key is None or isinstance(self.server_key, PublicKey | KeyHash):
            return self.server_key
        return self.server_key.only_key() if isinstance(self.server_key, KnowsServer) else None


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """How to accept connections.

    `key`                this server's long-term key
    `authorize`          an async callable that is asked about every client (see `Authorize`), or `ANYONE`
    `secrets`            the shared secrets taken here: more than one while they are rotated; or a callable that gives
                         them, asked at each handshake (see `Secrets`)
    `require_secret`     refuse clients without one of them, before any costly step
    `require_route`      refuse clients that don't know this server's key. Not behind a router
    `credentials`        shown to clients beside the key, as a client's are; whoever says hello can read them
    `suites`, `padding`  as for clients
    `post_quantum`       "prefer" takes clients with and without a hybrid handshake, "require" hybrid ones alone, "off"
                         classical ones alone. Default as for clients
    `handshake_timeout`  seconds from accept to verdict, `authorize` included, default 5
    `close_timeout`      seconds that closing may take, default 1; 0 cuts the stream off
    `limits`             how many at once, and for how long
    `keep_alive`         seconds of sending nothing after which a server sends an empty record, so that nothing on the
                         way forgets the connection; default never. A client's is `send_cover_traffic`
    `recheck`            seconds after which `authorize` is asked again about the clients that are in, each time; one
                         that it refuses then is told so, with alert 7 or 8, and its connection ends. Default never,
                         and never with a verifier whose credentials age (`Verifier.ages`)
    `instruments`        told of what happens, see `Instrument`

    Raises `ValueError` and `TypeError`.
    """

    key: OwnKey
    authorize: Authorize
    secrets: Sequence[SharedSecret] | Secrets = ()
    require_secret: bool = False
    require_route: bool = False
    credentials: bytes | Credentials = field(default=b"", repr=False)
    suites: Sequence[Suite] = DEFAULT_SUITES
    post_quantum: PostQuantum = "prefer"
    padding: PaddingPolicy = field(default_factory=NoPadding)
    handshake_timeout: float = 5.0
    close_timeout: float = 1.0
    limits: Limits = field(default_factory=Limits)
    keep_alive: float = math.inf
    recheck: float = math.inf
    instruments: Sequence[Instrument] = ()
    observer: Observers | None = field(init=False, repr=False, compare=False)

    _private_kind: ClassVar[type] = PrivateKey

    def __post_init__(self) -> None:
        check_type("key", self.key, self._private_kind)
        check_async("authorize", self.authorize)
        object.__setattr__(self, "suites", tuple(self.suites))
        if not callable(self.secrets):
            object.__setattr__(self, "secrets", self.secrets_now())
        if self.require_secret and not self.secrets:
            raise ValueError("require_secret without secrets would refuse everybody")
        check_type("limits", self.limits, Limits)
        if not self.keep_alive > 0 or not self.recheck > 0:
            raise ValueError("keep_alive and recheck are seconds, more than none")
        if self.recheck < math.inf and getattr(self.authorize, "ages", False):
            raise ValueError("recheck would end every connection: what this authorize takes ages, as tokens do")
        object.__setattr__(self, "post_quantum", what_can_be(self.post_quantum, get_args(PostQuantum)))
        _check_common(self)

    def secrets_now(self) -> tuple[SharedSecret, ...]:
        """The secrets to take. Raises `TypeError` where there is something else among them, and what the callable
        raises."""
        secrets = tuple(self.secrets() if callable(self.secrets) else self.secrets)
        for secret in secrets:
            check_type("secrets", secret, SharedSecret)
        return secrets

    def _new_handshake(self) -> ServerHandshake:
        """The machine for one connection. Raises what `secrets_now` does."""
        assert isinstance(self.key, PrivateKey)
        return ServerHandshake(
            key=self.key,
            suites=self.suites,
            secrets=self.secrets_now(),
            secret_policy=self.secret_policy,
            require_route=self.require_route,
            post_quantum=self.post_quantum,
        )

    def _new_channel(self, transport: trio.abc.Stream) -> Channel:
        return channel_over(transport)

    def _check_transport(self, transport: trio.abc.Stream, address: str) -> None:
        """Any will do."""

    def _check_listeners(self, listeners: Sequence[trio.abc.Listener[trio.abc.Stream]]) -> None:
        """Any will do."""

    @property
    def secret_policy(self) -> SecretPolicy:
        """The gate: off without secrets, optional with them or with a callable, required on demand."""
        if not self.secrets:
            return SecretPolicy.OFF
        return SecretPolicy.REQUIRED if self.require_secret else SecretPolicy.OPTIONAL


def check_type(name: str, value: object, wanted: type, *, optional: bool = False, or_callable: bool = False) -> None:
    """Raises `TypeError`, which shows nothing of the value."""
    if isinstance(value, wanted) or (optional and value is None) or (or_callable and callable(value)):
        return
    raise TypeError(f"{name} takes a {wanted.__name__}, not a {type(value).__name__}")


def check_async(name: str, call: object) -> None:
    """Raises `TypeError` for what is no callable, and for a plain `def`, which is forgotten to be async more often than
    not: to be found now and not by the first peer. A lambda may give what an async function returns, and so may a
    function whose annotation says so."""
    if not callable(call):
        raise TypeError(f"{name} is an async callable, not a {type(call).__name__}")
    function = inspect.unwrap(call.func if isinstance(call, functools.partial) else call)
    if not inspect.isroutine(function):
        function = type(function).__call__
    is_plain = inspect.isfunction(function) or inspect.ismethod(function)
    if not is_plain or inspect.iscoroutinefunction(function) or function.__name__ == "<lambda>":
        return
    if not _AWAITABLE.search(str(function.__annotations__.get("return", ""))):
        raise TypeError(f"{name} is to be async: async def {function.__name__}")


_AWAITABLE = re.compile("Awaitable|Coroutine")


def check_credentials(credentials: object) -> None:
    """Raises `TypeError` and `ValueError` for what can't be shown to a peer."""
    check_type("credentials", credentials, bytes)
    if isinstance(credentials, bytes) and len(credentials) > MAX_PAYLOAD:
        raise ValueError(f"credentials have at most {MAX_PAYLOAD:,} bytes, not {len(credentials):,}")


def _check_common(config: ClientConfig | ServerConfig) -> None:
    suites = config.suites
    if not suites or len(set(suites)) != len(suites) or not all(isinstance(suite, Suite) for suite in suites):
        raise ValueError("suites are at least one Suite, each once")
    check_type("padding", config.padding, PaddingPolicy)
    if not callable(config.credentials):
        check_credentials(config.credentials)
    object.__setattr__(config, "instruments", tuple(config.instruments))
    object.__setattr__(config, "observer", observers(config.instruments))
    if not config.handshake_timeout > 0 or not config.close_timeout >= 0:
        raise ValueError("timeouts are seconds, more than none")
