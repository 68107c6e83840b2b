"""The handshake's frames: their bounds, hello's grammar and the order of its checks, alerts, the sealed route."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_aead_chacha20poly1305_ietf_encrypt

from securestream.protocol.codes import AlertCode
from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.keys import LOW_ORDER
from securestream.protocol.messages import (
    LENGTHS,
    FrameReader,
    Hello,
    Kind,
    decode_alert_body_untrusted,
    decode_hello_untrusted,
    encode_alert_frame,
    encode_frame,
    lengths_in_mode,
    open_route_untrusted,
    seal_route,
)

from .support import (
    CLIENT_EPHEMERAL,
    MIDDLEBOX_KEY,
    OTHER_KEY,
    PROPERTY,
    SERVER_KEY,
    cut,
    flipped,
    outcome,
    refusal,
)

E_PUBLIC, R = bytes(CLIENT_EPHEMERAL.public_key), bytes(MIDDLEBOX_KEY.public_key)
SHARED = CLIENT_EPHEMERAL.exchange(R)
BOUNDS = [
    (Kind.HELLO, 90, 360),
    (Kind.HELLO, 1_274, 1_400),
    (Kind.CHALLENGE, 100, 33_972),
    (Kind.RESPONSE, 67, 32_835),
    (Kind.ALERT, 5, 5),
]
EVERY_KIND = set(Kind)

# --- frames -----------------------------------------------------------------------------------------


def judge(length: int, kind: int, rest: bytes = b"", expected: set[Kind] = EVERY_KIND) -> tuple[Kind, bytes] | None:
    """What a reader says to a frame's first three bytes, and more."""
    reader = FrameReader()
    reader.feed(struct.pack("<HB", length, kind) + rest)
    return reader.next_frame(expected)


@pytest.mark.parametrize(("kind", "least", "most"), BOUNDS)
def test_a_length_out_of_bounds_is_refused_as_soon_as_three_bytes_are_there(kind: Kind, least: int, most: int) -> None:
    for length in (0, 1, 2, 3, least - 1, most + 1, 65_535):
        assert refusal(judge, length, kind) is AlertCode.PROTOCOL_ERROR


@pytest.mark.parametrize(("kind", "least", "most"), BOUNDS)
def test_a_length_at_its_bounds_is_waited_for_and_read(kind: Kind, least: int, most: int) -> None:
    for length in (least, most):
        content = bytes(range(1, 200)) * 200
        assert judge(length, kind) is None
        assert judge(length, kind, content[: length - 4]) is None
        assert judge(length, kind, content[: length - 3]) == (kind, content[: length - 3])


@pytest.mark.parametrize("number", [0, 5, 6, 255])
def test_an_unknown_kind_is_refused_as_soon_as_three_bytes_are_there(number: int) -> None:
    assert refusal(judge, 100, number) is AlertCode.PROTOCOL_ERROR


@pytest.mark.parametrize("kind", Kind)
def test_a_kind_that_does_not_belong_here_is_refused(kind: Kind) -> None:
    assert refusal(judge, LENGTHS[kind][0].start, kind, expected=EVERY_KIND - {kind}) is AlertCode.PROTOCOL_ERROR


@pytest.mark.parametrize("beginning", [b"", b"\x05", b"\x05\x00"])
def test_fewer_than_three_bytes_are_not_judged(beginning: bytes) -> None:
    reader = FrameReader()
    reader.feed(beginning)
    assert reader.next_frame({Kind.HELLO}) is None
    assert reader.take_rest() == beginning


@PROPERTY
@given(st.lists(st.integers(0, 600), max_size=30), st.binary(max_size=20))
def test_frames_are_read_however_they_are_split_and_nothing_after_them_is_touched(
    places: list[int], rest: bytes
) -> None:
    bodies = {Kind.HELLO: b"h" * 100, Kind.CHALLENGE: b"c" * 97, Kind.RESPONSE: b"r" * 300}
    wire = b"".join(encode_frame(kind, body) for kind, body in bodies.items()) + rest
    reader, awaited, found = FrameReader(), list(bodies), {}
    for piece in cut(wire, places):
        reader.feed(piece)
        while awaited and (frame := reader.next_frame({awaited[0]})) is not None:
            found[awaited.pop(0)] = frame[1]
    assert found == bodies
    assert reader.take_rest() == rest
    assert reader.take_rest() == b""


def test_a_frame_is_read_one_byte_at_a_time() -> None:
    reader, wire = FrameReader(), encode_frame(Kind.RESPONSE, b"r" * 64)
    for number, byte in enumerate(wire, start=1):
        reader.feed(bytearray([byte]))
        frame = reader.next_frame({Kind.RESPONSE})
        assert (frame is None) == (number < len(wire))


# --- the alert in clear -----------------------------------------------------------------------------


def test_an_alert_frame_is_five_bytes_and_carries_no_text() -> None:
    assert encode_alert_frame(AlertCode.BUSY) == b"\x05\x00\x04\x0a\x00"
    assert encode_alert_frame(0x1267) == b"\x05\x00\x04\x67\x12"


def test_the_code_of_an_alert_frame_is_read() -> None:
    assert decode_alert_body_untrusted(b"\x67\x12") == 0x1267


@pytest.mark.parametrize("body", [b"", b"\x01", b"\x00\x00", b"\x01\x00\x00", b"\x01\x00text"])
def test_an_alert_frame_of_code_0_or_another_length_is_refused(body: bytes) -> None:
    assert refusal(decode_alert_body_untrusted, body) is AlertCode.PROTOCOL_ERROR


# --- hello ------------------------------------------------------------------------------------------


def hello_body(
    *,
    magic: bytes = b"SSv1",
    mode: int = 0,
    suites: tuple[int, ...] = (1, 2),
    count: int | None = None,
    route: bytes = b"\x33" * 48,
    e: bytes = E_PUBLIC,
    tag: bytes | None = None,
) -> bytes:
    """The body of a hello with any field wrong."""
    if tag is None:
        tag = b"\x44" * 16 if mode & 1 else b""
    if mode & 2:
        tag = b"\x55" * 1_184 + 2 * tag  # what is in it, Noise will judge
    return magic + bytes([mode, len(suites) if count is None else count, *suites]) + route + e + tag


def refused_hello(body: bytes, why: str) -> AlertCode:
    with pytest.raises(RemoteProtocolError, match=why) as caught:
        decode_hello_untrusted(body)
    return caught.value.alert_code


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_a_hello_is_laid_out_as_the_protocol_says(mode: int) -> None:
    body = hello_body(mode=mode, suites=(2, 9, 1))
    hello = decode_hello_untrusted(body)
    assert (hello.uses_secret, hello.hybrid) == (bool(mode & 1), bool(mode & 2))
    assert hello.suites == (2, 9, 1)
    assert hello.route == b"\x33" * 48
    assert hello.e == E_PUBLIC
    assert hello.noise1 == body[6 + 3 + 48 :]
    assert hello.header == body[: 6 + 3 + 48]
    assert hello.encode() == struct.pack("<HB", 3 + len(body), 1) + body


def test_the_least_and_the_most_hello_have_90_and_360_bytes() -> None:
    least = decode_hello_untrusted(hello_body(suites=(1,)))
    most = decode_hello_untrusted(hello_body(mode=1, suites=tuple(range(255))))
    assert (len(least.encode()), len(most.encode())) == (90, 360)


@pytest.mark.parametrize(("mode", "count"), [(2, 127), (3, 95)])
def test_a_hybrid_hello_has_at_most_1400_bytes_and_so_many_suites(mode: int, count: int) -> None:
    least = hello_body(mode=mode, suites=(1,))
    most = hello_body(mode=mode, suites=tuple(range(count)))
    assert 3 + len(least) == (1_306 if mode & 1 else 1_274)
    assert 3 + len(most) == 1_400
    for body in (least, most):
        assert decode_hello_untrusted(body).encode()[3:] == body


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_client_knows_what_length_its_challenge_may_have(hybrid: bool) -> None:
    (bounds,) = lengths_in_mode(hybrid=hybrid)[Kind.CHALLENGE]
    assert (bounds[0], bounds[-1]) == ((1_204, 33_972) if hybrid else (100, 32_868))


@pytest.mark.parametrize("magic", [b"SSv0", b"SSv2", b"SSv\xff"])
def test_another_version_is_alert_3(magic: bytes) -> None:
    assert refused_hello(hello_body(magic=magic), "version") is AlertCode.UNSUPPORTED_VERSION


@pytest.mark.parametrize("magic", [b"SSw1", b"ssv1", b"GET ", bytes(4)])
def test_another_magic_is_alert_11(magic: bytes) -> None:
    assert refused_hello(hello_body(magic=magic), "not a hello") is AlertCode.PROTOCOL_ERROR


@pytest.mark.parametrize("bit", range(2, 8))
def test_every_mode_bit_but_psk0_and_hfs_is_alert_3(bit: int) -> None:
    for mode in (1 << bit, 1 << bit | 1, 1 << bit | 2):
        assert refused_hello(hello_body(mode=mode), "mode") is AlertCode.UNSUPPORTED_VERSION


@pytest.mark.parametrize(
    "body",
    [
        hello_body() + b"\0",
        hello_body()[:-1],
        hello_body(count=1),
        hello_body(count=3),
        hello_body(count=255),
        hello_body(tag=bytes(16)),
        hello_body(mode=1, tag=b""),
        hello_body(mode=1, tag=bytes(15)),
        hello_body(mode=1, tag=bytes(17)),
    ],
)
def test_a_length_that_is_not_what_mode_and_count_say_is_alert_11(body: bytes) -> None:
    assert refused_hello(body, "length") is AlertCode.PROTOCOL_ERROR


@pytest.mark.parametrize("suites", [(), (1, 1), (9, 1, 9), (1, 2, 3, 2)])
def test_a_suite_list_that_is_empty_or_has_duplicates_is_alert_11(suites: tuple[int, ...]) -> None:
    assert refused_hello(hello_body(suites=suites), "suite list") is AlertCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "e", [*sorted(LOW_ORDER), b"\xff" * 32, (2**255 - 19).to_bytes(32, "little"), flipped(E_PUBLIC, 255)]
)
def test_an_ephemeral_key_that_is_not_one_is_alert_11(e: bytes) -> None:
    assert refused_hello(hello_body(e=e), "not a public key") is AlertCode.PROTOCOL_ERROR


def test_the_checks_of_hello_come_in_the_protocols_order() -> None:
    """Each line has one fault fewer than the line before it: the first fault of a line is the one that is told."""
    refused_hello(hello_body(magic=b"SSx1", mode=2, suites=(1, 1), e=bytes(32)) + b"\0", "not a hello")
    refused_hello(hello_body(mode=2, suites=(1, 1), e=bytes(32)) + b"\0", "mode")
    refused_hello(hello_body(suites=(1, 1), e=bytes(32)) + b"\0", "length")
    refused_hello(hello_body(suites=(1, 1), e=bytes(32)), "suite list")
    refused_hello(hello_body(e=bytes(32)), "not a public key")


@pytest.mark.parametrize("mode", [0, 1])
def test_every_truncation_of_a_hello_is_refused(mode: int) -> None:
    body = hello_body(mode=mode)
    for size in range(len(body)):
        assert refusal(decode_hello_untrusted, body[:size]) is AlertCode.PROTOCOL_ERROR


@pytest.mark.parametrize("mode", [0, 1])
def test_every_bit_flip_of_a_hello_is_another_hello_or_refused(mode: int) -> None:
    body = hello_body(mode=mode)
    for bit in range(8 * len(body)):
        changed = flipped(body, bit)
        hello = outcome(decode_hello_untrusted, changed)
        assert hello in (AlertCode.PROTOCOL_ERROR, AlertCode.UNSUPPORTED_VERSION) or (
            isinstance(hello, Hello) and hello.encode()[3:] == changed
        )


@PROPERTY
@given(st.binary(max_size=400) | st.binary(max_size=360).map(lambda tail: b"SSv1" + tail))
def test_any_bytes_are_a_hello_or_a_remote_protocol_error(body: bytes) -> None:
    hello = outcome(decode_hello_untrusted, body)
    assert isinstance(hello, AlertCode) or hello.encode()[3:] == body


@PROPERTY
@given(
    st.booleans(),
    st.lists(st.integers(0, 255), min_size=1, unique=True).map(tuple),
    st.binary(min_size=48, max_size=48),
    st.binary(min_size=16, max_size=16),
)
def test_every_good_hello_comes_back(uses_secret: bool, suites: tuple[int, ...], route: bytes, tag: bytes) -> None:
    hello = Hello(uses_secret, suites, route, E_PUBLIC + (tag if uses_secret else b""))
    assert decode_hello_untrusted(hello.encode()[3:]) == hello


# --- the sealed route -------------------------------------------------------------------------------


def test_a_route_is_sealed_as_the_protocol_says() -> None:
    key = hashlib.blake2b(b"securestream/1 route" + E_PUBLIC + R, key=SHARED, digest_size=32).digest()
    expected = crypto_aead_chacha20poly1305_ietf_encrypt(bytes(SERVER_KEY.public_key), None, bytes(12), key)
    assert seal_route(bytes(SERVER_KEY.public_key), SHARED, E_PUBLIC, R) == expected
    assert len(expected) == 48


def test_a_route_opens_for_the_middlebox_and_for_no_other_key() -> None:
    route = seal_route(bytes(SERVER_KEY.public_key), SHARED, E_PUBLIC, R)
    shared = MIDDLEBOX_KEY.exchange(E_PUBLIC)
    assert open_route_untrusted(route, shared, E_PUBLIC, R) == bytes(SERVER_KEY.public_key)
    other = bytes(OTHER_KEY.public_key)
    assert open_route_untrusted(route, OTHER_KEY.exchange(E_PUBLIC), E_PUBLIC, other) is None
    assert open_route_untrusted(route, shared, other, R) is None
    assert open_route_untrusted(route, shared, E_PUBLIC, other) is None


def test_a_changed_route_does_not_open() -> None:
    route = seal_route(bytes(SERVER_KEY.public_key), SHARED, E_PUBLIC, R)
    for changed in [
        b"",
        route[:15],
        route[:-1],
        route + b"\0",
        *(flipped(route, bit) for bit in range(8 * len(route))),
    ]:
        assert open_route_untrusted(changed, SHARED, E_PUBLIC, R) is None


@PROPERTY
@given(st.binary(min_size=48, max_size=48))
def test_any_48_bytes_are_no_route_and_no_error(route: bytes) -> None:
    assert open_route_untrusted(route, SHARED, E_PUBLIC, R) is None
