"""The profile dev: the same streams in clear, for a person who wants to look at what goes over the wire.

These configurations are taken wherever the others are, and nothing else leads here: no field, connection string or
peer. What they make never leaves this machine unless that is asked for by name, and each says so in the log
(`securestream`). `docs/profiles.md` has what an operator must know.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import trio

from ..protocol.dev import NOBODY, DevClientHandshake, DevServerHandshake
from ..protocol.keys import PrivateKey, PublicKey
from ..protocol.suites import DEFAULT_SUITES, Suite
from .channel import address_of
from .config import ANYONE, Authorize, ClientConfig, ServerConfig
from .errors import HandshakeError

if TYPE_CHECKING:
    from collections.abc import Sequence

logger: logging.Logger = logging.getLogger("securestream")


class NotLoopback(HandshakeError):
    """A connection of the profile dev that may leave this machine: nothing was sent on it."""

    code: str = "not_loopback"


@dataclass(frozen=True, kw_only=True)
class DevClientConfig(ClientConfig):
    """How to connect in clear, to a server of the profile dev on this machine.

    `beyond_loopback`  let it leave the machine all the same, and use transports of which nobody can tell whether
                       they do
    the others         as in `ClientConfig`; there are no keys, secrets and suites
    """

    key: PrivateKey | None = field(init=False, default=None)
    server_key: PublicKey = field(init=False, default=NOBODY)
    middlebox_key: None = field(init=False, default=None)
    secret: None = field(init=False, default=None)
    suites: Sequence[Suite] = field(init=False, repr=False, default=DEFAULT_SUITES)  # never used
    post_quantum: Literal["off"] = field(init=False, repr=False, default="off")
    beyond_loopback: bool = False

    def _new_handshake(self) -> DevClientHandshake:
        return DevClientHandshake()

    def _check_transport(self, transport: trio.abc.Stream) -> None:
        _check_transport(transport, address_of(transport), beyond_loopback=self.beyond_loopback)


@dataclass(frozen=True, kw_only=True)
class DevServerConfig(ServerConfig):
    """How to accept connections in clear, from this machine.

    `authorize`        as in `ServerConfig`, and everybody by default. No client has proved a key: `peer.public_key`
                       is `NOBODY`, which no list has. `peer.credentials` is what it shows
    `beyond_loopback`  let others come in all the same, and use transports of which nobody can tell where they end
    the others         as in `ServerConfig`; there are no keys, secrets and suites
    """

    key: PrivateKey = field(init=False, repr=False, default_factory=PrivateKey.generate)  # never used
    authorize: Authorize = ANYONE
    secrets: tuple[()] = field(init=False, default=())
    require_secret: bool = field(init=False, default=False)
    require_route: bool = field(init=False, default=False)
    suites: Sequence[Suite] = field(init=False, repr=False, default=DEFAULT_SUITES)  # never used
    post_quantum: Literal["off"] = field(init=False, repr=False, default="off")
    beyond_loopback: bool = False

    def _new_handshake(self) -> DevServerHandshake:
        return DevServerHandshake()

    def _check_transport(self, transport: trio.abc.Stream, address: str) -> None:
        _check_transport(transport, address, beyond_loopback=self.beyond_loopback)

    def _check_listeners(self, listeners: Sequence[trio.abc.Listener[trio.abc.Stream]]) -> None:
        for listener in listeners:
            listening = getattr(listener, "socket", None)
            where = listening.getsockname() if isinstance(listening, trio.socket.SocketType) else repr(listener)
            if not self.beyond_loopback and not _is_loopback(listening):
                raise ValueError(
                    f"profile dev: everything is in clear, so it listens on this machine only, not on {where}: "
                    'host="127.0.0.1", or beyond_loopback=True if you mean it'
                )
            logger.warning("profile dev: listening on %s in clear; nobody's key is proved there", where)


def _check_transport(transport: trio.abc.Stream, address: str, *, beyond_loopback: bool) -> None:
    """`address` is the transport's, or of whom a proxy in front of it speaks."""
    is_local = _is_on_this_machine(transport) and (address == address_of(transport) or _says_loopback(address))
    address = address or "somebody whose address is not known"
    if not beyond_loopback and not is_local:
        raise NotLoopback(
            f"profile dev: everything is in clear, so it stays on this machine, and {address} may not be on it"
        )
    logger.warning("profile dev: the connection with %s is in clear, and nobody's key is proved", address)


def _is_on_this_machine(transport: trio.abc.Stream) -> bool:
    """Whether it surely ends on this machine. A tunnel's near end looks as if it did."""
    while not isinstance(transport, trio.SocketStream):
        inner = getattr(transport, "transport_stream", None)
        if not isinstance(inner, trio.abc.Stream):
            return False
        transport = inner
    return _is_loopback(transport.socket, peer=True)


def _is_loopback(end: object, *, peer: bool = False) -> bool:
    if not isinstance(end, trio.socket.SocketType):
        return False
    if end.family == getattr(socket, "AF_UNIX", None):
        return True
    try:
        name = end.getpeername() if peer else end.getsockname()
        return _is_loopback_ip(str(name[0]))
    except (OSError, IndexError, TypeError):
        return False


def _says_loopback(address: str) -> bool:
    """Whether an address, as `Peer.address` has it, is one of this machine."""
    return address.startswith("unix:") or _is_loopback_ip(address.rpartition(":")[0].strip("[]"))


def _is_loopback_ip(text: str) -> bool:
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback
