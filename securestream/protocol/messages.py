"""The handshake's frames as bytes: Hello, Challenge, Response, and the alert in clear.

    frame     = length u16 | kind u8 | body              length counts the whole frame
    hello     = header | noise1
    header    = magic "SSv1" (4) | mode u8 | count u8 | suite u8 * count | route (48)
    challenge = noise2( suite u8 | server payload )
    response  = noise3( client credentials )
    alert     = code u16

Source: `docs/protocol.md`, "Handshake". Lengths and kinds are judged as soon as three bytes are there, and
nothing after the frame is looked at.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import sodium
from .codes import AlertCode
from .errors import RemoteProtocolError
from .keys import KEY_SIZE, check_public_key
from .noise import TAG_SIZE

if TYPE_CHECKING:
    from collections.abc import Collection

MAGIC = b"SSv1"
DEV_MAGIC = b"SSvd"  # of the profile dev, which speaks in clear: never taken here (`dev.py`)
PROLOGUE = b"securestream/1"
MODE_PSK0 = 0x01
ROUTE_SIZE = KEY_SIZE + TAG_SIZE
MAX_PAYLOAD = 32_768

_FRAME = struct.Struct("<HB")
_CODE = struct.Struct("<H")
FRAME_HEADER_SIZE = _FRAME.size
_ROUTE_NONCE = bytes(12)


class Kind(enum.IntEnum):
    """What a frame is."""

    HELLO = 1
    CHALLENGE = 2
    RESPONSE = 3
    ALERT = 4


LENGTHS: dict[Kind, tuple[int, int]] = {
    Kind.HELLO: (90, 360),
    Kind.CHALLENGE: (100, 100 + MAX_PAYLOAD),
    Kind.RESPONSE: (67, 67 + MAX_PAYLOAD),
    Kind.ALERT: (5, 5),
}


# --- frames -----------------------------------------------------------------------------------------


def encode_frame(kind: Kind, body: bytes) -> bytes:
    """One frame, its length in front."""
    return _FRAME.pack(FRAME_HEADER_SIZE + len(body), kind) + body


class FrameReader:
    """Cuts frames out of what the transport gives, however it is split or joined."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes | bytearray) -> None:
        self._data += data

    def next_frame(self, expected: Collection[Kind]) -> tuple[Kind, bytes] | None:
        """The next frame's kind and body, or None while it is incomplete.

        Raises `RemoteProtocolError` as soon as the first bytes can't begin a frame of an `expected` kind.
        """
        if len(self._data) < FRAME_HEADER_SIZE:
            return None
        length, number = _FRAME.unpack_from(self._data)
        kind = _judge_frame(length, number, expected)
        if len(self._data) < length:
            return None
        body = bytes(self._data[FRAME_HEADER_SIZE:length])
        del self._data[:length]
        return kind, body

    def take_rest(self) -> bytes:
        """What came after the last frame: the records' beginning."""
        rest = bytes(self._data)
        self._data.clear()
        return rest


def _judge_frame(length: int, number: int, expected: Collection[Kind]) -> Kind:
    if number not in expected:
        raise RemoteProtocolError(f"a handshake frame of kind {number} where it does not belong")
    kind = Kind(number)
    least, most = LENGTHS[kind]
    if not least <= length <= most:
        raise RemoteProtocolError(f"a {kind.name.lower()} of {length} bytes")
    return kind


# --- the alert in clear -----------------------------------------------------------------------------


def encode_alert_frame(code: int) -> bytes:
    """A refusal before there are keys. Anybody could have written it, so it carries no text."""
    return encode_frame(Kind.ALERT, _CODE.pack(code))


def decode_alert_body_untrusted(body: bytes) -> int:
    """The code; an alert frame of code 0 says nothing and is refused. Raises `RemoteProtocolError` only."""
    if len(body) != _CODE.size:
        raise RemoteProtocolError("an alert frame of the wrong length")
    (code,) = _CODE.unpack(body)
    if code == 0:
        raise RemoteProtocolError("an alert frame of code 0")
    return int(code)


# --- hello ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello:
    """The client's first message: what it can do, whom it wants (sealed), and Noise's message 1."""

    uses_secret: bool
    suites: tuple[int, ...]
    route: bytes
    noise1: bytes

    @property
    def header(self) -> bytes:
        """What stands before Noise's message, and in Noise's prologue."""
        mode = MODE_PSK0 if self.uses_secret else 0
        return MAGIC + bytes([mode, len(self.suites), *self.suites]) + self.route

    @property
    def e(self) -> bytes:
        """The client's ephemeral public key, 32 bytes."""
        return self.noise1[:KEY_SIZE]

    def encode(self) -> bytes:
        """The whole frame."""
        return encode_frame(Kind.HELLO, self.header + self.noise1)


def decode_hello_untrusted(body: bytes) -> Hello:
    """The body of a hello frame. Raises `RemoteProtocolError` only.

    The order is the protocol's: magic, mode bits, length, suite list, canonical e.
    """
    _check_magic(body[:4])
    if len(body) < 6:
        raise RemoteProtocolError("a hello that ends in its header")
    mode, count = body[4], body[5]
    if mode & ~MODE_PSK0:
        raise RemoteProtocolError(f"mode {mode:#04x} is not known here", AlertCode.UNSUPPORTED_VERSION)
    uses_secret = bool(mode & MODE_PSK0)
    noise1_size = KEY_SIZE + (TAG_SIZE if uses_secret else 0)
    if len(body) != 6 + count + ROUTE_SIZE + noise1_size:
        raise RemoteProtocolError("a hello whose length is not what its mode and suite count say")
    suites = tuple(body[6 : 6 + count])
    if not suites or len(set(suites)) != count:
        raise RemoteProtocolError("a hello whose suite list is empty or has duplicates")
    hello = Hello(uses_secret, suites, body[6 + count : 6 + count + ROUTE_SIZE], body[-noise1_size:])
    try:
        check_public_key(hello.e)
    except ValueError as exc:
        raise RemoteProtocolError(str(exc)) from exc
    return hello


def _check_magic(magic: bytes) -> None:
    if magic == MAGIC:
        return
    if magic == DEV_MAGIC:
        raise RemoteProtocolError(
            "a client of the profile dev; this server is of the profile secure", AlertCode.UNSUPPORTED_VERSION
        )
    if magic[:3] == MAGIC[:3] and len(magic) == len(MAGIC):
        raise RemoteProtocolError(
            f"version {magic[3:]!r} of the protocol, this is {MAGIC[3:]!r}", AlertCode.UNSUPPORTED_VERSION
        )
    raise RemoteProtocolError("not a hello of this protocol")


# --- the sealed route -------------------------------------------------------------------------------


def seal_route(server_key: bytes, shared: bytes, e: bytes, r: bytes) -> bytes:
    """The expected server's key, for the owner of `r` alone. `shared` is X25519(e_client, R)."""
    return sodium.backend.chachapoly_encrypt(_route_key(shared, e, r), _ROUTE_NONCE, b"", server_key)


def open_route_untrusted(route: bytes, shared: bytes, e: bytes, r: bytes) -> bytes | None:
    """The 32 bytes inside, or None: not for this key, or random bytes of a client that knows no server."""
    if len(route) != ROUTE_SIZE:
        return None
    return sodium.backend.chachapoly_decrypt(_route_key(shared, e, r), _ROUTE_NONCE, b"", route)


def _route_key(shared: bytes, e: bytes, r: bytes) -> bytes:
    # BLAKE2b-256(key = X25519(e_client, R), "securestream/1 route" | e_client.public | R)
    return hashlib.blake2b(PROLOGUE + b" route" + e + r, key=shared, digest_size=32).digest()
