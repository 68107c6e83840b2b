"""Records in clear, for the profile dev and inside TLS: what `suites.py` is for those that are sealed.

Inside TLS there is nothing to add: what comes out of it is what its sender put in, in order. In the profile dev a
checksum stands where a cipher has its tag: BLAKE2b of the record's number (u64) and its plain bytes, 16 bytes. It
finds what breaks by accident, so a broken transport looks the same in both profiles. Against anybody who means it,
it is nothing: he computes it again. No negotiation leads here; see `dev.py`.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from . import sodium

CHECKSUM_SIZE = 16


class DevSuite(enum.IntEnum):
    """What stands in a session in place of a cipher. No number of the protocol: suites are 1 and up."""

    PLAINTEXT = 0


class TlsSuite(enum.IntEnum):
    """What stands in a session in place of a cipher where the records travel inside TLS. No number of the protocol."""

    TLS_1_3 = -1


class PlainSealer:
    """The writing half."""

    tag_size: ClassVar[int] = CHECKSUM_SIZE
    lead: ClassVar[int] = 0
    prefix = b""

    __slots__ = ("_number",)

    def __init__(self, key: bytes) -> None:
        self._number = 0

    def seal(self, buffer: sodium.backend.Buffer, at: int, length: int, record_type: int) -> None:
        end = at + length
        buffer.view[end : end + CHECKSUM_SIZE] = checksum(self._number, buffer.view[at:end])
        self._number += 1

    def wipe(self) -> None:
        pass  # there is no key


class PlainOpener:
    """The reading half."""

    tag_size: ClassVar[int] = CHECKSUM_SIZE
    prefix_size: ClassVar[int] = 0
    in_place: ClassVar[bool] = True

    __slots__ = ("_number",)

    def __init__(self, key: bytes) -> None:
        self._number = 0

    def start(self, prefix: bytes) -> None:
        pass

    def open(self, target: sodium.backend.Buffer, source: sodium.backend.Buffer, at: int, length: int) -> int:
        end = at + length - CHECKSUM_SIZE
        if not hmac.compare_digest(source.view[end : at + length], checksum(self._number, source.view[at:end])):
            return _FORGED
        self._number += 1
        return _ANY_TYPE

    def update_key(self) -> None:
        pass

    def wipe(self) -> None:
        pass


class BareSealer:
    """The writing half, inside TLS."""

    tag_size: ClassVar[int] = 0
    lead: ClassVar[int] = 0
    prefix = b""

    __slots__ = ()

    def __init__(self, key: bytes) -> None:
        pass  # TLS has its own

    def seal(self, buffer: sodium.backend.Buffer, at: int, length: int, record_type: int) -> None:
        pass

    def wipe(self) -> None:
        pass


class BareOpener:
    """The reading half, inside TLS."""

    tag_size: ClassVar[int] = 0
    prefix_size: ClassVar[int] = 0
    in_place: ClassVar[bool] = True

    __slots__ = ()

    def __init__(self, key: bytes) -> None:
        pass

    def start(self, prefix: bytes) -> None:
        pass

    def open(self, target: sodium.backend.Buffer, source: sodium.backend.Buffer, at: int, length: int) -> int:
        return _ANY_TYPE

    def update_key(self) -> None:
        pass

    def wipe(self) -> None:
        pass


def checksum(number: int, plain: bytes | memoryview) -> bytes:
    """Of the record with this number."""
    hashed = hashlib.blake2b(number.to_bytes(8, "little"), digest_size=CHECKSUM_SIZE)
    hashed.update(plain)
    return hashed.digest()


_FORGED, _ANY_TYPE = -1, -2  # as in suites.py, which imports this
