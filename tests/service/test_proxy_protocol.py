"""The PROXY protocol, version 2: what is said is what is understood, and nothing else is."""

from __future__ import annotations

import ipaddress

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import securestream as ss
from securestream.protocol.errors import RemoteProtocolError
from securestream.service.proxy_protocol import (
    MAX_NAME,
    MAX_PROXY_HEADER,
    ProxyHeader,
    crc32c,
    decode_proxy_header_untrusted,
    receive_proxy_header,
)

from ..protocol.support import PROPERTY
from ..streams.transports import reset, tcp_pair

KEY = ss.PrivateKey(bytes([1]) * 32).public_key
SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
START = SIGNATURE + b"\x21\x11"
TCP4 = bytes([192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x67, 0x24, 0x06])

ports = st.integers(0, 65_535)
names = st.text(st.characters(codec="utf-8"), max_size=60).filter(str.isprintable)
keys = st.none() | st.binary(min_size=31, max_size=31).map(lambda raw: ss.PrivateKey(b"\1" + raw).public_key)
v4 = st.tuples(st.ip_addresses(v=4), ports).map(lambda pair: "{}:{}".format(*pair))
v6 = st.tuples(st.ip_addresses(v=6), ports).map(lambda pair: "[{}]:{}".format(*pair))
pairs = st.one_of(st.just(("", "")), st.tuples(v4, v4), st.tuples(v6, v6))
headers = st.builds(lambda pair, key, name: ProxyHeader(pair[0], pair[1], key, name), pairs, keys, names)


# --- what is said -----------------------------------------------------------------------------------


def test_the_bytes_are_those_of_the_specification() -> None:
    assert ProxyHeader("192.0.2.1:4711", "198.51.100.2:9222").encode() == START + b"\x00\x0c" + TCP4
    header = ProxyHeader("192.0.2.1:4711", "198.51.100.2:9222", KEY, "a").encode()
    assert header[14:] == b"\x00\x3f" + TCP4 + b"\xe0\x00\x2c" + str(KEY).encode() + b"\xe1\x00\x01a"
    unix = ProxyHeader("unix:/run/a", "unix:/run/b").encode()
    assert unix == SIGNATURE + b"\x21\x31\x00\xd8" + b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0")


@PROPERTY
@given(headers)
def test_what_is_said_is_understood(header: ProxyHeader) -> None:
    assert decode_proxy_header_untrusted(header.encode()) == header


def test_where_one_address_is_unknown_neither_is_said() -> None:
    assert decode_proxy_header_untrusted(ProxyHeader("", "127.0.0.1:1", KEY).encode()) == ProxyHeader(public_key=KEY)


def test_addresses_of_both_kinds_are_said_as_ipv6() -> None:
    header = decode_proxy_header_untrusted(ProxyHeader("[2001:db8::1]:5", "192.0.2.1:6").encode())
    assert (header.source, header.destination) == ("[2001:db8::1]:5", "[::ffff:c000:201]:6")  # 192.0.2.1
    back = decode_proxy_header_untrusted(ProxyHeader("192.0.2.1:6", "[2001:db8::1]:5").encode())
    assert (back.source, back.destination) == (header.destination, header.source)


def test_a_scope_of_an_address_stays_at_home() -> None:
    header = ProxyHeader("[fe80::1%eth0]:5", "[fe80::2]:6")
    assert decode_proxy_header_untrusted(header.encode()).source == "[fe80::1]:5"


@pytest.mark.parametrize(
    ("source", "destination", "name"),
    [
        ("host:1", "127.0.0.1:2", ""),
        ("127.0.0.1", "127.0.0.1:2", ""),
        ("unix:/a", "127.0.0.1:2", ""),
        ("unix:" + "a" * 109, "unix:/b", ""),
        ("", "", "two\nlines"),
        ("", "", "\ud800"),
        ("", "", "x" * (MAX_NAME + 1)),
    ],
)
def test_what_can_not_be_said_is_a_value_error(source: str, destination: str, name: str) -> None:
    with pytest.raises(ValueError):
        ProxyHeader(source, destination, None, name).encode()


# --- what is understood -----------------------------------------------------------------------------


def sized(rest: bytes, start: bytes = START) -> bytes:
    return start + len(rest).to_bytes(2, "big") + rest


@pytest.mark.parametrize(
    "data",
    [
        sized(b"whatever it says", SIGNATURE + b"\x20\x11"),
        sized(b"", SIGNATURE + b"\x20\xff"),
        sized(b"", SIGNATURE + b"\x21\x00"),
        sized(TCP4, SIGNATURE + b"\x21\x12"),
        sized(TCP4, SIGNATURE + b"\x21\x10"),
        sized(bytes(216), SIGNATURE + b"\x21\x31"),
    ],
    ids=["local", "local of any family", "unspecified", "datagrams", "no transport", "unnamed Unix sockets"],
)
def test_who_does_not_say_is_nobody_in_particular(data: bytes) -> None:
    assert decode_proxy_header_untrusted(data) == ProxyHeader()


def test_tlvs_of_others_are_passed_over() -> None:
    others = b"\x04\x00\x02\0\0" + b"\x01\x00\x02h2" + b"\x20\x00\x05\x01\0\0\0\0" + b"\x05\x00\x00"
    header = decode_proxy_header_untrusted(sized(TCP4 + others + b"\xe1\x00\x05alice"))
    assert header == ProxyHeader("192.0.2.1:4711", "198.51.100.2:9222", None, "alice")


def test_a_checksum_is_looked_at() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    blank = sized(TCP4 + b"\x03\x00\x04" + bytes(4))
    good = blank[:-4] + crc32c(blank).to_bytes(4, "big")
    assert decode_proxy_header_untrusted(good).source == "192.0.2.1:4711"
    for bit in range(16 * 8, len(good) * 8):
        changed = bytearray(good)
        changed[bit // 8] ^= 1 << bit % 8
        if changed[-7:-4] == b"\x03\x00\x04":  # still a checksum
            with pytest.raises(RemoteProtocolError):
                decode_proxy_header_untrusted(bytes(changed))


BAD = {
    "version 1": b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 9222\r\n",
    "another signature": b"\n" + sized(TCP4)[1:],
    "version 1 in binary": sized(TCP4, SIGNATURE + b"\x11\x11"),
    "unknown command": sized(TCP4, SIGNATURE + b"\x22\x11"),
    "unknown family": sized(TCP4, SIGNATURE + b"\x21\x41"),
    "unknown transport": sized(TCP4, SIGNATURE + b"\x21\x13"),
    "too short for IPv4": sized(TCP4[:-1]),
    "too short for IPv6": sized(TCP4, SIGNATURE + b"\x21\x21"),
    "too long": sized(TCP4 + b"\x04" + (MAX_PROXY_HEADER - 30).to_bytes(2, "big") + bytes(MAX_PROXY_HEADER - 30)),
    "cut": sized(TCP4)[:-1],
    "something behind it": sized(TCP4) + b"x",
    "half a TLV": sized(TCP4 + b"\xe1\x00"),
    "a TLV beyond the end": sized(TCP4 + b"\xe1\x00\x02a"),
    "a name twice": sized(TCP4 + b"\xe1\x00\x01a" * 2),
    "two checksums, each right with the other": sized(
        TCP4 + bytes.fromhex("030004 38fc0e3a 030004 f066a588")  # 585 of them would be a quarter of a second's work
    ),
    "a key twice": sized(TCP4 + (b"\xe0\x00\x2c" + str(KEY).encode()) * 2),
    "a raw key": sized(TCP4 + b"\xe0\x00\x20" + bytes(KEY)),
    "a key of low order": sized(TCP4 + b"\xe0\x00\x2c" + b"A" * 43 + b"="),
    "a key that is no ASCII": sized(TCP4 + b"\xe0\x00\x01\xff"),
    "a name that is no UTF-8": sized(TCP4 + b"\xe1\x00\x01\xff"),
    "a name with a line's end": sized(TCP4 + b"\xe1\x00\x01\n"),
    "a long name": sized(TCP4 + b"\xe1\x01\x00" + b"a" * 256),
    "half a checksum": sized(TCP4 + b"\x03\x00\x02ab"),
    "a wrong checksum": sized(TCP4 + b"\x03\x00\x04abcd"),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_proxy_header_untrusted(data)


@PROPERTY
@given(st.binary(max_size=80), st.binary(max_size=4), st.booleans())
def test_any_bytes_are_taken_or_refused(rest: bytes, head: bytes, whole: bool) -> None:
    data = sized(rest, SIGNATURE + head[:2].ljust(2, b"\x21")) if whole else SIGNATURE[: len(rest)] + head + rest
    try:
        header = decode_proxy_header_untrusted(data)
    except RemoteProtocolError:
        return
    for text in (header.source, header.destination):
        if text and not text.startswith("unix:"):
            ipaddress.ip_address(text.rpartition(":")[0].strip("[]"))


# --- over a stream ----------------------------------------------------------------------------------


async def test_a_header_is_received_to_its_last_byte_and_no_further() -> None:
    header = ProxyHeader("192.0.2.1:4711", "198.51.100.2:9222", KEY, "alice")
    near, far = trio.testing.memory_stream_pair()
    for byte in header.encode():
        await near.send_all(bytes([byte]))
    await near.send_all(b"and then")
    assert await receive_proxy_header(far) == header
    assert await far.receive_some() == b"and then"


async def test_over_tcp_too() -> None:
    near, far = await tcp_pair()
    async with near, far:
        await near.send_all(ProxyHeader("[::1]:1", "[::1]:2").encode() + b"GET")
        assert (await receive_proxy_header(far)).source == "[::1]:1"
        assert await far.receive_some() == b"GET"


async def test_what_is_no_header_is_refused_at_its_first_wrong_byte() -> None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(b"\x16")  # as of a TLS client, which then waits
    with pytest.raises(ss.HandshakeError, match="no PROXY header"):
        await receive_proxy_header(far)


async def test_a_length_beyond_the_bound_is_refused_before_anything_of_it_is_read() -> None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(START + b"\xff\xff")
    with pytest.raises(ss.HandshakeError, match="more than 4,096 bytes"):
        await receive_proxy_header(far)


@pytest.mark.parametrize("size", range(28))
async def test_a_connection_that_ends_before_is_truncated(size: int) -> None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(sized(TCP4)[:size])
    await near.send_eof()
    with pytest.raises(ss.HandshakeTruncated):
        await receive_proxy_header(far)


async def test_a_connection_that_breaks_is_truncated_too() -> None:
    near, far = await tcp_pair()
    reset(near)
    async with far:
        with pytest.raises(ss.HandshakeTruncated):
            await receive_proxy_header(far)
