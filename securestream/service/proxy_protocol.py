"""The PROXY protocol, version 2: who is behind a connection that a proxy has made, said in front of its bytes.

HAProxy's `doc/proxy-protocol.txt`, section 2.2; what is left out of it here: datagrams, and TLVs of others.

    header  = signature (12) | version and command u8 | family and transport u8 | length u16 | addresses | TLV *
    TLV     = type u8 | length u16 | value               integers are big-endian, `length` counts what follows it

Two TLVs of this project's own, from the range for applications: 0xE0, a client's public key in its text form, and 0xE1,
the name that the proxy has for it, in UTF-8.

Whoever may connect can write such a header. Take it from proxies only, on a listener of their own.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from ..protocol.alerts import printable
from ..protocol.errors import RemoteProtocolError
from ..protocol.tls_keys import PeerKey, parse_peer_key
from ..streams.errors import HandshakeTruncated, handshake_error

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PROXY_HEADER = 4_096  # bytes in all; the protocol would have 65,551, and asks senders to stay below one packet
MAX_NAME = 255  # bytes of UTF-8

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_HEAD = struct.Struct(">12sBBH")
_TLV = struct.Struct(">BH")
_LOCAL, _PROXY = 0x20, 0x21  # version 2, and the command
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
_CRC32C, _PUBLIC_KEY, _NAME = 0x03, 0xE0, 0xE1
# By family: unspecified, IPv4, IPv6, Unix.
_ADDRESSES = tuple(struct.Struct(form) for form in ("", ">4s4sHH", ">16s16sHH", "108s108s"))


@dataclass(frozen=True)
class ProxyHeader:
    """Who is behind a connection, as a proxy says it.

    `source`       where the client connects from, as `Peer.address` has it: `192.0.2.1:4711`, `[2001:db8::1]:4711`,
                   `unix:/path`; "" where the proxy doesn't say, as for its own checks
    `destination`  where it has connected to, of the same kind
    `public_key`   the client's, if the proxy knows it
    `name`         what the proxy calls it; at most 255 bytes of printable UTF-8

    Raises `ValueError` for what can't be said.
    """

    source: str = ""
    destination: str = ""
    public_key: PeerKey | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name.isprintable() or len(self.name.encode("utf-8", "replace")) > MAX_NAME:
            raise ValueError(f"a name in a PROXY header is printable and has at most {MAX_NAME} bytes")

    def encode(self) -> bytes:
        """The header. Where source or destination is unknown, neither is said; an IPv4 address beside one of IPv6 is
        said as IPv6. Raises `ValueError`."""
        family, addresses = _encode_addresses(self.source, self.destination)
        tlvs = b"" if self.public_key is None else _encode_tlv(_PUBLIC_KEY, str(self.public_key))
        tlvs += _encode_tlv(_NAME, self.name) if self.name else b""
        return _HEAD.pack(_SIGNATURE, _PROXY, family, len(addresses) + len(tlvs)) + addresses + tlvs


async def receive_proxy_header(stream: trio.abc.ReceiveStream) -> ProxyHeader:
    """Receives one header and not a byte more. Put a deadline around it.

    Raises `HandshakeError` for what is no such header, or longer than 4,096 bytes; `HandshakeTruncated` where the
    connection ends before.
    """
    try:
        head = await _receive_exactly(stream, b"", _HEAD.size)
        return decode_proxy_header_untrusted(await _receive_exactly(stream, head, header_size_untrusted(head)))
    except RemoteProtocolError as exc:
        raise handshake_error(exc) from exc


async def _receive_exactly(stream: trio.abc.ReceiveStream, data: bytes, size: int) -> bytes:
    while len(data) < size:
        try:
            received = await stream.receive_some(size - len(data))
        except trio.BrokenResourceError as exc:
            raise HandshakeTruncated("the connection broke in the PROXY header", in_silence=not data) from exc
        if not received:
            raise HandshakeTruncated("the connection was closed in the PROXY header", in_silence=not data)
        data += received
        _check_signature(data[: len(_SIGNATURE)])
    return data


# --- encoding ---------------------------------------------------------------------------------------


def _encode_addresses(source: str, destination: str) -> tuple[int, bytes]:
    if not source or not destination:
        return _UNSPECIFIED, b""
    (kind, near, near_port), (other_kind, far, far_port) = _packed(source), _packed(destination)
    if {kind, other_kind} == {_TCP4, _TCP6}:  # as for a proxy that takes IPv6 and passes IPv4 on
        kind = other_kind = _TCP6
        near, far = _as_ipv6(near), _as_ipv6(far)
    if kind != other_kind:
        raise ValueError(f"a PROXY header has two addresses of one kind, not {source} and {destination}")
    ports = () if kind == _UNIX else (near_port, far_port)
    return kind, _ADDRESSES[kind >> 4].pack(near, far, *ports)


def _packed(address: str) -> tuple[int, bytes, int]:
    """Family and transport, address, port."""
    if address.startswith("unix:"):
        path = os.fsencode(address.removeprefix("unix:"))
        if len(path) > _ADDRESSES[3].size // 2:
            raise ValueError("a path in a PROXY header has at most 108 bytes")
        return _UNIX, path, 0
    host, _, port = address.rpartition(":")
    ip = ipaddress.ip_address(host.strip("[]"))
    return (_TCP4 if ip.version == 4 else _TCP6), ip.packed, int(port)


def _as_ipv6(packed: bytes) -> bytes:
    """RFC 4291, section 2.5.5.2."""
    return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed


def _encode_tlv(kind: int, text: str) -> bytes:
    value = text.encode()
    return _TLV.pack(kind, len(value)) + value


# --- decoding ---------------------------------------------------------------------------------------


def header_size_untrusted(head: bytes) -> int:
    """How long a header is that begins with these 16 bytes. Raises `RemoteProtocolError` only."""
    if len(head) != _HEAD.size:
        raise RemoteProtocolError("a PROXY header begins with 16 bytes")
    command, length = head[12], int.from_bytes(head[14:], "big")
    _check_signature(head[:12])
    if command not in (_LOCAL, _PROXY):
        raise RemoteProtocolError("a PROXY header of another version, or with an unknown command")
    if _HEAD.size + length > MAX_PROXY_HEADER:
        raise RemoteProtocolError(f"a PROXY header of more than {MAX_PROXY_HEADER:,} bytes")
    return _HEAD.size + length


def _check_signature(start: bytes) -> None:
    if not _SIGNATURE.startswith(start):
        raise RemoteProtocolError("no PROXY header, version 2; does whoever connects send one?")


def decode_proxy_header_untrusted(data: bytes) -> ProxyHeader:
    """A whole header, and nothing behind it. Raises `RemoteProtocolError` only."""
    if header_size_untrusted(data[: _HEAD.size]) != len(data):
        raise RemoteProtocolError("a PROXY header of another length than it says")
    command, family = data[12:14]
    if command == _LOCAL:  # its own connection, about which it has nothing to say: section 2.2
        return ProxyHeader()
    if family >> 4 >= len(_ADDRESSES) or family & 0x0F > 2:
        raise RemoteProtocolError("a PROXY header with an unknown family or transport")
    start = _HEAD.size + _ADDRESSES[family >> 4].size
    if start > len(data):
        raise RemoteProtocolError("a PROXY header that is too short for its addresses")
    source, destination = _decode_addresses(family, data[_HEAD.size : start])
    return _with_tlvs(data, start, source, destination)


def _decode_addresses(family: int, data: bytes) -> tuple[str, str]:
    """Of streams; those of datagrams, and of what is unspecified, are none of ours."""
    if family == _UNIX:
        source, destination = _ADDRESSES[3].unpack(data)
        return _path(source), _path(destination)
    if family not in (_TCP4, _TCP6):
        return "", ""
    near, far, near_port, far_port = _ADDRESSES[family >> 4].unpack(data)
    return _host_and_port(near, near_port), _host_and_port(far, far_port)


def _host_and_port(packed: bytes, port: int) -> str:
    ip = ipaddress.ip_address(packed)
    return f"{ip}:{port}" if ip.version == 4 else f"[{ip}]:{port}"


def _path(field: bytes) -> str:
    path = field.partition(b"\0")[0]
    return f"unix:{printable(os.fsdecode(path))}" if path else ""


def _with_tlvs(data: bytes, start: int, source: str, destination: str) -> ProxyHeader:
    found: dict[int, bytes] = {}
    for kind, at, value in _tlvs(data, start):
        if kind in found:
            raise RemoteProtocolError("a PROXY header that says one thing twice")
        if kind == _CRC32C:
            _check_crc(data, at, value)
        if kind in (_CRC32C, _PUBLIC_KEY, _NAME):
            found[kind] = value
    try:
        key = parse_peer_key(found[_PUBLIC_KEY].decode("ascii")) if _PUBLIC_KEY in found else None
        return ProxyHeader(source, destination, key, found.get(_NAME, b"").decode())
    except ValueError as exc:
        raise RemoteProtocolError(f"a PROXY header with a bad key or name: {exc}") from exc


def _tlvs(data: bytes, at: int) -> Iterator[tuple[int, int, bytes]]:
    """Type, place of the value, value."""
    while at < len(data):
        if len(data) - at < _TLV.size:
            raise RemoteProtocolError("a PROXY header that ends in the middle of a TLV")
        kind, length = _TLV.unpack_from(data, at)
        at += _TLV.size
        if len(data) - at < length:
            raise RemoteProtocolError("a PROXY header that ends in the middle of a TLV")
        yield kind, at, data[at : at + length]
        at += length


def _check_crc(data: bytes, at: int, value: bytes) -> None:
    """Section 2.2.3: over the whole header, with zeros in its own place."""
    if len(value) != 4 or crc32c(data[:at] + bytes(4) + data[at + 4 :]) != int.from_bytes(value, "big"):
        raise RemoteProtocolError("a PROXY header with a wrong checksum")


def crc32c(data: bytes) -> int:
    """RFC 9260, appendix A: the Castagnoli polynomial, reflected."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@functools.cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)
