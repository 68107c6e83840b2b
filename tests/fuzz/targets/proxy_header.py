"""A PROXY header: read, or refused; what was read and has an address can be said again."""

from __future__ import annotations

from securestream.protocol.codes import AlertCode
from securestream.protocol.keys import PrivateKey
from securestream.service.proxy_protocol import (
    MAX_PROXY_HEADER,
    ProxyHeader,
    decode_proxy_header_untrusted,
    header_size_untrusted,
)

from ...protocol.support import outcome

SHOWS = "fuzz-parsers"
PARSERS = ("decode_proxy_header_untrusted", "header_size_untrusted")

KEY = PrivateKey(bytes([1]) * 32).public_key


def one_input(data: bytes) -> None:
    size = outcome(header_size_untrusted, data[:16])
    header = outcome(decode_proxy_header_untrusted, data)
    if not isinstance(header, ProxyHeader):
        assert header is AlertCode.PROTOCOL_ERROR
        return
    assert size == len(data) <= MAX_PROXY_HEADER
    assert (header.source + header.destination + header.name).isprintable()
    if not header.source.startswith("unix:"):
        known = bool(header.source and header.destination)
        again = decode_proxy_header_untrusted(header.encode())
        assert again == (header if known else ProxyHeader("", "", header.public_key, header.name))


def seeds() -> dict[str, bytes]:
    headers = {
        "tcp4": ProxyHeader("192.0.2.1:4711", "198.51.100.2:9222", KEY, "alice"),
        "tcp6": ProxyHeader("[2001:db8::1]:1", "[2001:db8::2]:65535"),
        "unix": ProxyHeader("unix:/run/a", "unix:/run/b"),
        "unknown": ProxyHeader(name="Grüße"),
    }
    made = {name: header.encode() for name, header in headers.items()}
    start = made["unknown"][:12]
    made |= {"local": start + b"\x20\x00\x00\x03abc", "datagrams": start + b"\x21\x12\x00\x0c" + bytes(12)}
    made |= {"twice": start + b"\x21\x00\x00\x08\xe1\x00\x01a\xe1\x00\x01a", "cut": made["tcp4"][:-1]}
    checksum = start + b"\x21\x11\x00\x13" + bytes(12) + b"\x03\x00\x04"
    made |= {"checksum": checksum + (0xA0B28795).to_bytes(4, "big"), "version_1": b"PROXY TCP4 192.0.2.1"}
    return made | {"noop": start + b"\x21\x00\x00\x05\x04\x00\x02\0\0", "empty": b""}
