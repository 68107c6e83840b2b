"""The record ciphers of libsodium, called without a copy. See `sodium.py` for the interface.

`nacl._sodium` is PyNaCl's private module: its bindings allocate and copy for each call, which costs
more than the encryption itself. Lengths are the caller's to check: libsodium writes where it is told.
"""

from __future__ import annotations

import nacl.bindings  # noqa: F401  calls sodium_init, which picks the code for this processor
from nacl._sodium import ffi, lib

AES_IN_HARDWARE = bool(lib.crypto_aead_aes256gcm_is_available())

_NULL = ffi.NULL
_aegis_encrypt = lib.crypto_aead_aegis256_encrypt
_aegis_decrypt = lib.crypto_aead_aegis256_decrypt
_push = lib.crypto_secretstream_xchacha20poly1305_push
_pull = lib.crypto_secretstream_xchacha20poly1305_pull


class Buffer:
    """Memory to write into: `view` for Python, `address` for libsodium."""

    __slots__ = ("address", "view")

    def __init__(self, size: int) -> None:
        data = bytearray(size)
        self.view = memoryview(data)
        self.address = ffi.from_buffer(data)


class Source:
    """Bytes to read from, as libsodium sees them."""

    __slots__ = ("address",)

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self.address = ffi.from_buffer(data)


class Aegis256:
    """AEGIS-256 with tags of 32 bytes and the nonce of `docs/protocol.md`: a number, then zeros."""

    __slots__ = ("_key", "_key_address", "_nonce", "_nonce_address")

    def __init__(self, key: bytes) -> None:
        self._key = bytearray(key)
        self._key_address = ffi.from_buffer(self._key)
        self._nonce = bytearray(32)
        self._nonce_address = ffi.from_buffer(self._nonce)

    def encrypt(self, target: Buffer, to: int, source: Buffer, start: int, length: int, number: int) -> None:
        self._nonce[:8] = number.to_bytes(8, "little")
        _aegis_encrypt(
            target.address + to,
            _NULL,
            source.address + start,
            length,
            _NULL,
            0,
            _NULL,
            self._nonce_address,
            self._key_address,
        )

    def decrypt(self, target: Buffer, to: int, source: Source, start: int, length: int, number: int) -> bool:
        self._nonce[:8] = number.to_bytes(8, "little")
        failed: int = _aegis_decrypt(
            target.address + to,
            _NULL,
            _NULL,
            source.address + start,
            length,
            _NULL,
            0,
            self._nonce_address,
            self._key_address,
        )
        return not failed

    def wipe(self) -> None:
        self._key[:] = bytes(32)


class _SecretStream:
    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = ffi.new("unsigned char[]", lib.crypto_secretstream_xchacha20poly1305_statebytes())

    def wipe(self) -> None:
        lib.sodium_memzero(self._state, len(self._state))


class SecretStreamPush(_SecretStream):
    """The writing end of a secretstream; `header` goes before its first record."""

    __slots__ = ("header",)

    def __init__(self, key: bytes) -> None:
        super().__init__()
        header = ffi.new("unsigned char[]", 24)
        lib.crypto_secretstream_xchacha20poly1305_init_push(self._state, header, key)
        self.header: bytes = ffi.buffer(header)[:]

    def encrypt(self, target: Buffer, to: int, source: Buffer, start: int, length: int, tag: int) -> None:
        _push(self._state, target.address + to, _NULL, source.address + start, length, _NULL, 0, tag)


class SecretStreamPull(_SecretStream):
    """The reading end of a secretstream."""

    __slots__ = ("_tag",)

    def __init__(self, key: bytes, header: bytes) -> None:
        super().__init__()
        self._tag = ffi.new("unsigned char *")
        lib.crypto_secretstream_xchacha20poly1305_init_pull(self._state, header, key)

    def decrypt(self, target: Buffer, to: int, source: Source, start: int, length: int) -> int:
        failed = _pull(self._state, target.address + to, _NULL, self._tag, source.address + start, length, _NULL, 0)
        return -1 if failed else self._tag[0]
