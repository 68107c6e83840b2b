"""Where somebody may connect from: networks, as an operator writes them."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """`10.0.0.0/8`, `2001:db8::/32`, or one address. Raises `ValueError`."""
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError:
        raise ValueError("networks are written as 10.0.0.0/8 or 2001:db8::/32") from None


def is_in(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether `address`, as `Peer.address` has it, is in one of them. Unix sockets are in none."""
    if not networks:
        return False
    host = address.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False  # a Unix socket, or a transport that doesn't tell
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return any((mapped or ip) in network for network in networks)
