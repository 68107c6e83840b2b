"""Secure streams for Trio: two programs that know each other's public keys, no certificates, no authority.

The layers, each wrapping the one below:

    application     handler(stream), or any library that takes a Trio stream
    service/        connecting and serving over TCP
    SecureStream    16 KB padded records, in-band alerts, authenticated end         streams/secure.py
      wrap          hello, challenge, response over any stream                      streams/wrap.py
        transport   TCP, or any trio.abc.Stream: TLS, a Unix socket, memory, another SecureStream
    protocol/       what the streams say: bytes in, bytes out, no I/O

Beside them: trust/ (who may talk to whom), testing (for the tests of users), cli/ (the `securestream` command).
Imports point down: protocol <- streams, trust <- service <- testing, cli.
"""

from __future__ import annotations

from .protocol.alerts import Alert, AlertCode
from .protocol.credentials import CredentialsRefused
from .protocol.dev import NOBODY
from .protocol.handshake import Profile, Session
from .protocol.keys import PrivateKey, PublicKey, SharedSecret
from .protocol.padding import (
    BlockPadding,
    BucketPadding,
    FullRecords,
    KeyedPadding,
    NoPadding,
    PaddingPolicy,
    Padme,
    PowerOfTwoPadding,
    RandomPadding,
    RecordPadding,
    TorCells,
)
from .protocol.padding_text import parse_padding
from .protocol.plaintext import DevSuite, TlsSuite
from .protocol.suites import Suite
from .protocol.tls_keys import KeyHash, PeerKey, TlsPrivateKey
from .service.address import Address, connect, parse_address, read_address_file
from .service.client import open_secure_tcp_stream
from .service.drain import Drain, drain_on
from .service.event_log import LogInstrument
from .service.pool import PoolStatistics, StreamPool
from .service.proxy_protocol import ProxyHeader, receive_proxy_header
from .service.relay import cut_on_error, relay
from .service.router import RouterConfig, serve_router_listeners, serve_router_tcp
from .service.routes import Backend, RoutesFile
from .service.server import secure_handler, serve_secure_listeners, serve_secure_tcp
from .service.shared_port import SharedPort
from .service.sockets import UnixListener, open_unix_listener, systemd_listeners
from .service.workers import Worker, WorkersFailed, run_workers
from .streams.buffered import BufferedWriter
from .streams.config import ANYONE, ClientConfig, Limits, Peer, ServerConfig
from .streams.dev import DevClientConfig, DevServerConfig, NotLoopback
from .streams.errors import (
    AccessDenied,
    AuthorizationFailed,
    BadCredentials,
    BadMessage,
    BadRecord,
    BadResponse,
    BadSecret,
    CredentialsFailed,
    HandshakeError,
    HandshakeRefused,
    HandshakeTimeout,
    HandshakeTruncated,
    InappropriateFallback,
    NoCommonSuite,
    PeerAlert,
    SecretsFailed,
    ServerBusy,
    ServerKeyMismatch,
    StreamError,
    StreamFailure,
    TransportBroken,
    TruncatedStream,
    UnknownServerKey,
    UnsupportedVersion,
)
from .streams.instrument import Instrument
from .streams.messages import MessageChannel
from .streams.secure import SecureStream, StreamStatistics
from .streams.shaping import ConstantRate, ConstantRateStatistics, send_cover_traffic
from .streams.tls import TlsClientConfig, TlsServerConfig
from .streams.wrap import wrap_client, wrap_server
from .trust.address import AddressError
from .trust.credentials.ed25519 import Ed25519Credentials, Ed25519Verifier
from .trust.credentials.several import SeveralCredentials, SeveralVerifier
from .trust.credentials.verifier import TrustedKey, Verifier
from .trust.keyfile import (
    KeyFileError,
    read_key_file,
    read_passphrase_file,
    read_secret_file,
    read_tls_key_file,
    write_key_file,
)
from .trust.lists import PeersFileError
from .trust.peers import AuthorizedClient, AuthorizedPeers, AuthorizedPeersFile
from .trust.servers import KnownServer, KnownServers, KnownServersFile

__version__ = "0.1.0"

__all__ = [
    "ANYONE",
    "NOBODY",
    "AccessDenied",
    "Address",
    "AddressError",
    "Alert",
    "AlertCode",
    "AuthorizationFailed",
    "AuthorizedClient",
    "AuthorizedPeers",
    "AuthorizedPeersFile",
    "Backend",
    "BadCredentials",
    "BadMessage",
    "BadRecord",
    "BadResponse",
    "BadSecret",
    "BlockPadding",
    "BucketPadding",
    "BufferedWriter",
    "ClientConfig",
    "ConstantRate",
    "ConstantRateStatistics",
    "CredentialsFailed",
    "CredentialsRefused",
    "DevClientConfig",
    "DevServerConfig",
    "DevSuite",
    "Drain",
    "Ed25519Credentials",
    "Ed25519Verifier",
    "FullRecords",
    "HandshakeError",
    "HandshakeRefused",
    "HandshakeTimeout",
    "HandshakeTruncated",
    "InappropriateFallback",
    "Instrument",
    "KeyFileError",
    "KeyHash",
    "KeyedPadding",
    "KnownServer",
    "KnownServers",
    "KnownServersFile",
    "Limits",
    "LogInstrument",
    "MessageChannel",
    "NoCommonSuite",
    "NoPadding",
    "NotLoopback",
    "PaddingPolicy",
    "Padme",
    "Peer",
    "PeerAlert",
    "PeerKey",
    "PeersFileError",
    "PoolStatistics",
    "PowerOfTwoPadding",
    "PrivateKey",
    "Profile",
    "ProxyHeader",
    "PublicKey",
    "RandomPadding",
    "RecordPadding",
    "RouterConfig",
    "RoutesFile",
    "SecretsFailed",
    "SecureStream",
    "ServerBusy",
    "ServerConfig",
    "ServerKeyMismatch",
    "Session",
    "SeveralCredentials",
    "SeveralVerifier",
    "SharedPort",
    "SharedSecret",
    "StreamError",
    "StreamFailure",
    "StreamPool",
    "StreamStatistics",
    "Suite",
    "TlsClientConfig",
    "TlsPrivateKey",
    "TlsServerConfig",
    "TlsSuite",
    "TorCells",
    "TransportBroken",
    "TruncatedStream",
    "TrustedKey",
    "UnixListener",
    "UnknownServerKey",
    "UnsupportedVersion",
    "Verifier",
    "Worker",
    "WorkersFailed",
    "connect",
    "cut_on_error",
    "drain_on",
    "open_secure_tcp_stream",
    "open_unix_listener",
    "parse_address",
    "parse_padding",
    "read_address_file",
    "read_key_file",
    "read_passphrase_file",
    "read_secret_file",
    "read_tls_key_file",
    "receive_proxy_header",
    "relay",
    "run_workers",
    "secure_handler",
    "send_cover_traffic",
    "serve_router_listeners",
    "serve_router_tcp",
    "serve_secure_listeners",
    "serve_secure_tcp",
    "systemd_listeners",
    "wrap_client",
    "wrap_server",
    "write_key_file",
]
