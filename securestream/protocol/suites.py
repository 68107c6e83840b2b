"""The record ciphers: how one record's plain bytes are sealed, and opened (`docs/protocol.md`, "Records").

    suite 1  libsodium secretstream XChaCha20-Poly1305, no associated data, a 24-byte header before the first record
    suite 2  AEGIS-256, no associated data, nonce = record number u64 then zeros, tag of 32 bytes

A cipher knows nothing of lengths, types' meaning or padding; `records.py` does. The plain bytes lie in the
buffer that the sealed ones go to, `lead` bytes further on: 0 where the cipher may work in place, a whole
record where it may not.
"""

from __future__ import annotations

import enum
import hashlib
from typing import ClassVar, Protocol

from . import sodium
from .errors import LocalProtocolError
from .plaintext import BareOpener, BareSealer, DevSuite, PlainOpener, PlainSealer, TlsSuite

MAX_RECORD = 16_384
LENGTH_SIZE = 2
PLAIN_HEADER_SIZE = 3


class Suite(enum.IntEnum):
    """How records are encrypted. Both sides list what they take, in their order of preference."""

    XCHACHA20_POLY1305 = 1
    AEGIS_256 = 2


class RecordType(enum.IntEnum):
    """What a record is for."""

    DATA = 0
    ALERT = 1
    CLOSE = 2
    KEY_UPDATE = 3
    ACCEPT = 4


_KEY_UPDATE = int(RecordType.KEY_UPDATE)  # an enum's attribute costs a look-up

DEFAULT_SUITES: tuple[Suite, ...] = (
    (Suite.AEGIS_256, Suite.XCHACHA20_POLY1305)
    if sodium.backend.AES_IN_HARDWARE
    else (Suite.XCHACHA20_POLY1305, Suite.AEGIS_256)
)


def choose_suite(client: tuple[int, ...], server: tuple[int, ...]) -> Suite | None:
    """The common suite with the smallest sum of ranks, on a tie the smaller number; None if there is none."""
    common = [number for number in server if number in client]
    if not common:
        return None
    return Suite(min(common, key=lambda number: (client.index(number) + server.index(number), number)))


class Sealer(Protocol):
    """The writing half of a suite."""

    tag_size: ClassVar[int]  # what sealing adds to the plain bytes
    lead: ClassVar[int]  # how far behind the sealed bytes' place the plain ones are laid
    prefix: bytes  # goes out before the first record

    def seal(self, buffer: sodium.backend.Buffer, at: int, length: int, record_type: int) -> None:
        """Seals the `length` plain bytes at `at + lead` to `at`."""

    def wipe(self) -> None:
        """Forgets the key."""


class Opener(Protocol):
    """The reading half of a suite."""

    tag_size: ClassVar[int]
    prefix_size: ClassVar[int]
    in_place: ClassVar[bool]  # whether `target` may be `source`

    def start(self, prefix: bytes) -> None:
        """Takes what came before the first record."""

    def open(self, target: sodium.backend.Buffer, source: sodium.backend.Buffer, at: int, length: int) -> int:
        """Opens the `length` sealed bytes at `at` of `source` to the same place of `target`. Gives libsodium's tag,
        `ANY_TYPE` where there are no tags, `FORGED` where it is not genuine."""

    def update_key(self) -> None:
        """After a KEY_UPDATE has been read."""

    def wipe(self) -> None:
        """Forgets the key."""


FORGED = -1
ANY_TYPE = -2


class KeyExhausted(LocalProtocolError):
    """A key has sealed as many records as it may. The writer's own key updates come long before."""


# --- suite 2 ----------------------------------------------------------------------------------------


class AegisSealer:
    """AEGIS-256, writing."""

    tag_size: ClassVar[int] = 32
    lead: ClassVar[int] = 0
    prefix = b""

    __slots__ = ("_cipher", "_key", "_number")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher = sodium.backend.Aegis256(key)
        self._number = 0

    def seal(self, buffer: sodium.backend.Buffer, at: int, length: int, record_type: int) -> None:
        number = self._number
        if number >= _MAX_NUMBER:
            raise KeyExhausted("2^64 records under one AEGIS-256 key")
        self._cipher.encrypt(buffer, at, buffer, at, length, number)
        self._number = number + 1
        if record_type == _KEY_UPDATE:
            self._key, self._cipher = _next_aegis(self._key, self._cipher)
            self._number = 0

    def wipe(self) -> None:
        self._key = b""
        self._cipher.wipe()


class AegisOpener:
    """AEGIS-256, reading."""

    tag_size: ClassVar[int] = 32
    prefix_size: ClassVar[int] = 0
    in_place: ClassVar[bool] = True

    __slots__ = ("_cipher", "_key", "_number")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher = sodium.backend.Aegis256(key)
        self._number = 0

    def start(self, prefix: bytes) -> None:
        pass

    def open(self, target: sodium.backend.Buffer, source: sodium.backend.Buffer, at: int, length: int) -> int:
        if self._number >= _MAX_NUMBER or not self._cipher.decrypt(target, at, source, at, length, self._number):
            return FORGED
        self._number += 1
        return ANY_TYPE

    def update_key(self) -> None:
        self._key, self._cipher = _next_aegis(self._key, self._cipher)
        self._number = 0

    def wipe(self) -> None:
        self._key = b""
        self._cipher.wipe()


_MAX_NUMBER = 2**64 - 1


def _next_aegis(key: bytes, cipher: sodium.backend.Aegis256) -> tuple[bytes, sodium.backend.Aegis256]:
    # next key = BLAKE2b-256(key = key, "securestream/1 rekey"), record number 0 again
    following = hashlib.blake2b(b"securestream/1 rekey", key=key, digest_size=32).digest()
    cipher.wipe()
    return following, sodium.backend.Aegis256(following)


# --- suite 1 ----------------------------------------------------------------------------------------

# libsodium's own tags. FINAL on CLOSE and ALERT, REKEY (which changes the key by itself) on KEY_UPDATE.
_MESSAGE, _REKEY, _FINAL = 0, 2, 3
_TAG_OF_TYPE = (_MESSAGE, _FINAL, _FINAL, _REKEY, _MESSAGE)  # by RecordType


class SecretStreamSealer:
    """secretstream, writing."""

    tag_size: ClassVar[int] = 17
    lead: ClassVar[int] = MAX_RECORD

    __slots__ = ("_cipher", "prefix")

    def __init__(self, key: bytes) -> None:
        self._cipher = sodium.backend.SecretStreamPush(key)
        self.prefix: bytes = self._cipher.header

    def seal(self, buffer: sodium.backend.Buffer, at: int, length: int, record_type: int) -> None:
        self._cipher.encrypt(buffer, at, buffer, at + MAX_RECORD, length, _TAG_OF_TYPE[record_type])

    def wipe(self) -> None:
        self._cipher.wipe()


class SecretStreamOpener:
    """secretstream, reading."""

    tag_size: ClassVar[int] = 17
    prefix_size: ClassVar[int] = 24
    in_place: ClassVar[bool] = False

    __slots__ = ("_cipher", "_key")

    def __init__(self, key: bytes) -> None:
        self._key = key

    def start(self, prefix: bytes) -> None:
        self._cipher = sodium.backend.SecretStreamPull(self._key, prefix)
        self._key = b""

    def open(self, target: sodium.backend.Buffer, source: sodium.backend.Buffer, at: int, length: int) -> int:
        return self._cipher.decrypt(target, at, source, at, length)

    def update_key(self) -> None:
        pass  # the REKEY tag has done it

    def wipe(self) -> None:
        self._key = b""
        if hasattr(self, "_cipher"):
            self._cipher.wipe()


AnySuite = Suite | DevSuite | TlsSuite
"""How the records of a session travel."""

_SEALERS: dict[AnySuite, type[AegisSealer | SecretStreamSealer | PlainSealer | BareSealer]] = {
    DevSuite.PLAINTEXT: PlainSealer,
    TlsSuite.TLS_1_3: BareSealer,
    Suite.XCHACHA20_POLY1305: SecretStreamSealer,
    Suite.AEGIS_256: AegisSealer,
}
_OPENERS: dict[AnySuite, type[AegisOpener | SecretStreamOpener | PlainOpener | BareOpener]] = {
    DevSuite.PLAINTEXT: PlainOpener,
    TlsSuite.TLS_1_3: BareOpener,
    Suite.XCHACHA20_POLY1305: SecretStreamOpener,
    Suite.AEGIS_256: AegisOpener,
}


def sealer(suite: AnySuite, key: bytes) -> Sealer:
    """The writing half of `suite` under a 32-byte key."""
    return _SEALERS[suite](key)


def opener(suite: AnySuite, key: bytes) -> Opener:
    """The reading half of `suite` under a 32-byte key."""
    return _OPENERS[suite](key)


def tag_and_type_agree(tag: int, record_type: int) -> bool:
    """Whether libsodium's tag is the one that the record's type demands; AEGIS-256 has no tags."""
    return tag == ANY_TYPE or _TAG_OF_TYPE[record_type] == tag
