"""Connection strings made into connections: `ss.parse_address()` and `ss.connect()`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

import trio

from ..protocol.hybrid import PostQuantum, what_can_be
from ..streams.config import ClientConfig
from ..streams.errors import HandshakeTimeout
from ..streams.tls import TlsClientConfig
from ..trust.address import AddressError, ConnectionString, parse_connection_string
from ..trust.keyfile import KeyFileError, read_key_file, read_private, read_secret_file, read_tls_key_file
from .client import open_secure_tcp_stream

if TYPE_CHECKING:
    from ..protocol.tls_keys import KeyHash
    from ..streams.secure import SecureStream
    from ..trust.keyfile import StrPath
    from ..trust.passphrase import Passphrase

DEFAULT_TIMEOUT = 30.0


@dataclass(frozen=True)
class Address:
    """Where a server is, and how to connect to it.

    `host`, `port`, `config`   what `open_secure_tcp_stream` takes
    `timeout`                  seconds for connecting and the handshake together
    `fields`                   what the connection string holds for the application, `Database` for one
    `string`                   the connection string that it was made from; None for one that was made by hand
    """

    host: str
    port: int
    config: ClientConfig
    timeout: float = DEFAULT_TIMEOUT
    fields: dict[str, str] = field(default_factory=dict)
    string: ConnectionString | None = None

    def to_text(self, *, with_secrets: bool = False) -> str:
        """The connection string again, which `parse_address` takes. It names the files that were read, and leaves out
        a `Client Secret Key` unless it is asked for it.

        Raises `ValueError` for an address that was not made by `parse_address`: files can't be told from keys.
        """
        if self.string is None:
            raise ValueError("only what parse_address made can be written as a connection string again")
        return self.string.to_text(with_secrets=with_secrets)


def parse_address(text: str, *, passphrase: Passphrase | None = None) -> Address:
    """What a connection string says, with the files that it names read (see the guide, "Connection strings").

    `passphrase` opens them where they are locked (see `read_key_file`).

    Raises `AddressError` for a string that can't be used, `KeyFileError` for a file that can't be used (both are
    `ValueError`), `OSError` for a file that can't be read, and `ImportError` for TLS without the extra `tls`. None of
    them repeats a secret.
    """
    found = parse_connection_string(text)
    timeout = DEFAULT_TIMEOUT if found.timeout is None else found.timeout
    return Address(found.host, found.port, _config(found, timeout, passphrase), timeout, found.fields, found)


def read_address_file(path: StrPath, *, passphrase: Passphrase | None = None) -> Address:
    """As `parse_address`, of the connection string in a file. Lines that are empty or begin with `#` mean nothing.

    Raises what `parse_address` does, and `KeyFileError` for a file that is longer than 64 KiB, that holds no
    connection string or several, or that holds a `Client Secret Key` and others can read.
    """
    name, data = read_private(path, marks=())
    lines = [line.strip() for line in data.decode("utf-8-sig", "replace").split("\n")]
    strings = [line for line in lines if line and not line.startswith("#")]
    if len(strings) != 1:
        raise KeyFileError(f"{name}: one line with a connection string is to be in it, not {len(strings)}")
    try:
        found = parse_address(strings[0], passphrase=passphrase)
    except AddressError as exc:
        raise AddressError(f"{name}: {exc}") from None
    if found.string is not None and found.string.client_key is not None:
        read_private(path, marks=(b"=",))
    return found


def _config(found: ConnectionString, timeout: float, passphrase: Passphrase | None) -> ClientConfig:
    if found.server_key_hash is not None:
        return _tls_config(found, found.server_key_hash, timeout, passphrase)
    key_file, secret_file = found.client_key_file, found.shared_secret_file
    return ClientConfig(
        key=read_key_file(key_file, passphrase=passphrase) if key_file else found.client_key,
        server_key=found.server_key,
        middlebox_key=found.middlebox_key,
        secret=read_secret_file(secret_file, passphrase=passphrase) if secret_file else None,
        post_quantum=_post_quantum(found.post_quantum or "prefer"),
        handshake_timeout=timeout,
    )


def _post_quantum(wanted: PostQuantum) -> PostQuantum:
    try:
        return what_can_be(wanted, get_args(PostQuantum))
    except ValueError as exc:
        raise AddressError(f"Post Quantum: {exc}") from None


def _tls_config(
    found: ConnectionString, server_key: KeyHash, timeout: float, passphrase: Passphrase | None
) -> TlsClientConfig:
    file = found.client_key_file
    return TlsClientConfig(
        key=read_tls_key_file(file, passphrase=passphrase) if file else None,
        server_key=server_key,
        handshake_timeout=timeout,
    )


async def connect(address: str | Address) -> SecureStream[trio.SocketStream]:
    """Connects to where a connection string says, within its `Timeout` (default 30 s).

    Raises what `parse_address` does, `OSError` where nobody listens, and `HandshakeError`: `HandshakeTimeout` where
    connecting and the handshake together took too long.
    """
    if isinstance(address, str):
        address = parse_address(address)
    with trio.CancelScope(relative_deadline=address.timeout):
        return await open_secure_tcp_stream(address.host, address.port, address.config)
    raise HandshakeTimeout(f"connecting to {address.host} took more than {address.timeout:g} s")
