"""Credentials: what a peer shows beside its key, inside response or challenge (`docs/protocol.md`, section 2.7).

    client's statement = "securestream/1 client credentials" | 00 | h2 | client's public key (32)
    server's statement = "securestream/1 server credentials" | 00 | h1 | e_server | server's public key (32) | suite u8
    parts              = count u8 | (length u16 | part) * count

A credential signs its side's statement. h1 and h2 are in no other connection, the first words are the role, and the
key is the one that the handshake proves: so a signature is worth nothing elsewhere, for the other side, or beside
another key. How several parts travel in one payload is here too. What a part means, the program's verifier knows.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .codes import AlertCode
from .errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .keys import PublicKey
    from .tls_keys import PeerKey

MAX_PARTS = 8

_LENGTH = struct.Struct("<H")
_MAX_PART = 0xFFFF


class CredentialsRefused(PermissionError):
    """Raised by a verifier: what the peer has shown does not hold.

    A client gets the text to read, inside alert 8 "bad credentials"; so it tells what is wrong and repeats nothing
    of what was shown.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)


def client_statement(protocol: bytes, h2: bytes, client_key: PeerKey) -> bytes:
    """What a client's credentials sign. `protocol` is `b"securestream/1"`, but for TLS and the profile dev."""
    return protocol + b" client credentials\0" + h2 + bytes(client_key)


def server_statement(protocol: bytes, h1: bytes, e: PublicKey, server_key: PeerKey, suite: int) -> bytes:
    """What a server's credentials sign."""
    return protocol + b" server credentials\0" + h1 + bytes(e) + bytes(server_key) + bytes([suite])


# --- several in one payload -------------------------------------------------------------------------


def encode_parts(parts: Sequence[bytes]) -> bytes:
    """1 to 8 parts as one. Raises `ValueError` for more, for none, and for one longer than 65,535 bytes."""
    if not 1 <= len(parts) <= MAX_PARTS:
        raise ValueError(f"credentials have 1 to {MAX_PARTS} parts, not {len(parts)}")
    if any(len(part) > _MAX_PART for part in parts):
        raise ValueError(f"a part of credentials has at most {_MAX_PART:,} bytes")
    return bytes([len(parts)]) + b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def decode_parts_untrusted(data: bytes) -> list[bytes]:
    """The parts, which fill `data` exactly. Raises `RemoteProtocolError` only."""
    count = data[0] if data else 0
    if not 1 <= count <= MAX_PARTS:
        raise _bad(f"credentials of {count} parts")
    parts, at = [], 1
    for _ in range(count):
        if len(data) < at + _LENGTH.size:
            raise _bad("credentials that end too early")
        (size,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + size
        if len(data) < at:
            raise _bad("credentials that end too early")
        parts.append(data[at - size : at])
    if at != len(data):
        raise _bad("credentials with something behind their parts")
    return parts


def _bad(message: str) -> RemoteProtocolError:
    return RemoteProtocolError(message, AlertCode.BAD_CREDENTIALS)
