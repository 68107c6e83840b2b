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
from .hybrid import CIPHERTEXT_SIZE, ENCAPSULATION_KEY_SIZE
from .keys import KEY_SIZE, check_public_key
from .noise import TAG_SIZE
from .strangers import stranger_untrusted

if TYPE_CHECKING:
    from collections.abc import Collection

MAGIC = b"SSv1"
DEV_MAGIC = b"SSvd"  # of the profile dev, which speaks in clear: never taken here (`dev.py`)
PROLOGUE = b"securestream/1"
MODE_PSK0 = 0x01
MODE_HFS = 0x02
# Stands in a list of suites and is none: this hello is classical because a hybrid one was refused.
FALLBACK = 86
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


_KEM_IN_CHALLENGE = CIPHERTEXT_SIZE + TAG_SIZE
Lengths = dict[Kind, tuple[range, ...]]


def _from_to(least: int, most: int) -> range:
    return range(least, most + 1)


# A hello is classical or hybrid.
LENGTHS: Lengths = {
    Kind.HELLO: (_from_to(90, 360), _from_to(1_274, 1_400)),
    Kind.CHALLENGE: (_from_to(100, 100 + _KEM_IN_CHALLENGE + MAX_PAYLOAD),),
    Kind.RESPONSE: (_from_to(67, 67 + MAX_PAYLOAD),),
    Kind.ALERT: (_from_to(5, 5),),
}


def lengths_in_mode(*, hybrid: bool) -> Lengths:
    """What a frame's length may be for a client, who knows the mode before the challenge comes."""
    least = 100 + (_KEM_IN_CHALLENGE if hybrid else 0)
    return {**LENGTHS, Kind.CHALLENGE: (_from_to(least, least + MAX_PAYLOAD),)}


# --- frames -----------------------------------------------------------------------------------------


def encode_frame(kind: Kind, body: bytes) -> bytes:
    """One frame, its length in front."""
    return _FRAME.pack(FRAME_HEADER_SIZE + len(body), kind) + body


class FrameReader:
    """Cuts frames out of what the transport gives, however it is split or joined."""

    __slots__ = ("_data", "_lengths")

    def __init__(self, lengths: Lengths = LENGTHS) -> None:
        self._data = bytearray()
        self._lengths = lengths

    def feed(self, data: bytes | bytearray) -> None:
        self._data += data

    def next_frame(self, expected: Collection[Kind]) -> tuple[Kind, bytes] | None:
        """The next frame's kind and body, or None while it is incomplete.

        Raises `RemoteProtocolError` as soon as the first bytes can't begin a frame of an `expected` kind.
        """
        if len(self._data) < FRAME_HEADER_SIZE:
            return None
        length, number = _FRAME.unpack_from(self._data)
        kind = self._judge(length, number, expected)
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

    def _judge(self, length: int, number: int, expected: Collection[Kind]) -> Kind:
        if number not in expected:
            is_known = number in LENGTHS
            out_of_place = f"a handshake frame of kind {number} where it does not belong"
            raise self._refused(out_of_place if is_known else "the other side does not speak securestream")
        kind = Kind(number)
        if not any(length in lengths for lengths in self._lengths[kind]):
            raise self._refused(f"a {kind.name.lower()} of {length} bytes")
        return kind

    def _refused(self, what: str) -> RemoteProtocolError:
        first = bytes(self._data[:FRAME_HEADER_SIZE])
        return RemoteProtocolError(stranger_untrusted(first) or what)


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
    hybrid: bool = False

    @property
    def header(self) -> bytes:
        """What stands before Noise's message, and in Noise's prologue."""
        mode = (MODE_PSK0 if self.uses_secret else 0) | (MODE_HFS if self.hybrid else 0)
        return MAGIC + bytes([mode, len(self.suites), *self.suites]) + self.route

    @property
    def e(self) -> bytes:
        """The client's ephemeral public key, 32 bytes."""
        return self.noise1[:KEY_SIZE]

    def encode(self) -> bytes:
        """The whole frame."""
        return encode_frame(Kind.HELLO, self.header + self.noise1)


def decode_hello_untrusted(body: bytes, modes: int = MODE_PSK0 | MODE_HFS) -> Hello:
    """The body of a hello frame. Raises `RemoteProtocolError` only.

    The order is the protocol's: magic, mode bits (`modes` are those that are known here), length, suite list, canonical
    e. The KEM's key may be encrypted, and is Noise's to judge.
    """
    _check_magic(body[:4])
    if len(body) < 6:
        raise RemoteProtocolError("a hello that ends in its header")
    mode, count = body[4], body[5]
    if unknown := mode & ~modes:
        what = "a post-quantum handshake" if unknown == MODE_HFS else f"mode {mode:#04x}"
        raise RemoteProtocolError(f"{what}, which is not known here", AlertCode.UNSUPPORTED_VERSION)
    uses_secret, hybrid = bool(mode & MODE_PSK0), bool(mode & MODE_HFS)
    noise1_size = _noise1_size(uses_secret=uses_secret, hybrid=hybrid)
    if len(body) != 6 + count + ROUTE_SIZE + noise1_size:
        raise RemoteProtocolError("a hello whose length is not what its mode and suite count say")
    suites = tuple(body[6 : 6 + count])
    if not suites or len(set(suites)) != count:
        raise RemoteProtocolError("a hello whose suite list is empty or has duplicates")
    hello = Hello(uses_secret, suites, body[6 + count : 6 + count + ROUTE_SIZE], body[-noise1_size:], hybrid)
    try:
        check_public_key(hello.e)
    except ValueError as exc:
        raise RemoteProtocolError(str(exc)) from exc
    return hello


def _noise1_size(*, uses_secret: bool, hybrid: bool) -> int:
    """e and the payload, and e1 between them; what comes after psk is encrypted but for e."""
    tag = TAG_SIZE if uses_secret else 0
    return KEY_SIZE + tag + (ENCAPSULATION_KEY_SIZE + tag if hybrid else 0)


def _check_magic(magic: bytes) -> None:
    if magic == MAGIC:
        return
    if magic == DEV_MAGIC:
        raise RemoteProtocolError(
            "a client of the profile dev; this server is of the profile secure", AlertCode.UNSUPPORTED_VERSION
        )
    if magic[:3] == MAGIC[:3] and len(magic) == len(MAGIC):
        raise RemoteProtocolError(
            f"version {chr(magic[3])!a} of the protocol, and here is '1': update the older side",
            AlertCode.UNSUPPORTED_VERSION,
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
