"""The same streams over TLS 1.3: configurations that are taken wherever the others are (`docs/tls.md`).

TLS's handshake stands in for Noise's, and its records carry this package's. Who somebody is, is the SHA-256 of a
public key. Needs the extra `tls`, when a configuration is made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from ..protocol.suites import DEFAULT_SUITES, Suite
from ..protocol.tls import TlsClientHandshake, TlsServerHandshake
from ..protocol.tls_keys import KeyHash, TlsPrivateKey
from .channel import Channel, channel_over
from .config import ClientConfig, JudgeServer, KnowsServer, ServerConfig
from .tls_channel import TlsChannel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import trio

    from ..protocol.openssl import TlsEndpoint


@dataclass(frozen=True, kw_only=True)
class TlsClientConfig(ClientConfig):
    """How to connect over TLS.

    `key`         this client's `TlsPrivateKey`; None: a fresh one for each connection
    `server_key`  the server's `KeyHash`; `KnownServers` or `KnownServersFile`; or an async callable that is asked about
                  the `KeyHash` of whoever answers, before this client shows its own
    the others    as in `ClientConfig`; there are no shared secrets, routers, suites and server's credentials

    Raises `ImportError` without the extra `tls`, and what `ClientConfig` raises.
    """

    key: TlsPrivateKey | None = None
    server_key: KeyHash | KnowsServer | JudgeServer
    middlebox_key: None = field(init=False, default=None)
    secret: None = field(init=False, default=None)
    verify_server: None = field(init=False, default=None)
    post_quantum: Literal["off"] = field(init=False, repr=False, default="off")  # OpenSSL's business
    suites: Sequence[Suite] = field(init=False, repr=False, default=DEFAULT_SUITES)  # never used
    _endpoint: TlsEndpoint = field(init=False, repr=False, compare=False)

    _private_kind: ClassVar[type] = TlsPrivateKey
    _public_kind: ClassVar[type] = KeyHash

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "_endpoint", _endpoint(self.key or TlsPrivateKey.generate(), is_client=True))

    def _new_channel(self, transport: trio.abc.Stream) -> Channel:
        endpoint = self._endpoint if self.key else _endpoint(TlsPrivateKey.generate(), is_client=True)
        return TlsChannel(channel_over(transport), endpoint.connection())

    def _new_handshake(self) -> TlsClientHandshake:
        return TlsClientHandshake()


@dataclass(frozen=True, kw_only=True)
class TlsServerConfig(ServerConfig):
    """How to accept connections over TLS.

    `key`        this server's `TlsPrivateKey`
    `authorize`  as in `ServerConfig`: `peer.public_key` is a `KeyHash`, of a key that the client has proved
    the others   as in `ServerConfig`; there are no shared secrets, routes, suites and credentials of the server's

    Raises `ImportError` without the extra `tls`, and what `ServerConfig` raises.
    """

    key: TlsPrivateKey
    secrets: tuple[()] = field(init=False, default=())
    require_secret: bool = field(init=False, default=False)
    require_route: bool = field(init=False, default=False)
    credentials: bytes = field(init=False, repr=False, default=b"")
    post_quantum: Literal["off"] = field(init=False, repr=False, default="off")  # OpenSSL's business
    suites: Sequence[Suite] = field(init=False, repr=False, default=DEFAULT_SUITES)  # never used
    _endpoint: TlsEndpoint = field(init=False, repr=False, compare=False)

    _private_kind: ClassVar[type] = TlsPrivateKey

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "_endpoint", _endpoint(self.key, is_client=False))

    def _new_channel(self, transport: trio.abc.Stream) -> Channel:
        return TlsChannel(channel_over(transport), self._endpoint.connection())

    def _new_handshake(self) -> TlsServerHandshake:
        return TlsServerHandshake()


def _endpoint(key: TlsPrivateKey, *, is_client: bool) -> TlsEndpoint:
    """With a certificate that is made anew. Raises `ImportError`."""
    from ..protocol.openssl import TlsEndpoint, private_key_of  # the extra, for those who use it
    from .tls_certificate import self_signed

    return TlsEndpoint(key, self_signed(private_key_of(key)), is_client=is_client)
