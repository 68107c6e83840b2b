"""libsodium, called without a copy. See `sodium.py` for the interface.

`nacl._sodium` is PyNaCl's private module: its bindings allocate and copy for each call, which costs
more than the encryption itself. Places outside a buffer are refused here; whether the lengths make sense is
the caller's to check.
"""

from __future__ import annotations

import nacl.bindings  # noqa: F401  calls sodium_init, which picks the code for this processor
from nacl._sodium import ffi, lib

AES_IN_HARDWARE = bool(lib.crypto_aead_aes256gcm_is_available())

# libsodium writes wherever it is told: a mistake in the arithmetic above must not become one in memory.
_OUTSIDE = "outside the buffer"

_NULL = ffi.NULL
_aegis_encrypt = lib.crypto_aead_aegis256_encrypt
_aegis_decrypt = lib.crypto_aead_aegis256_decrypt
_chacha_encrypt = lib.crypto_aead_chacha20poly1305_ietf_encrypt
_chacha_decrypt = lib.crypto_aead_chacha20poly1305_ietf_decrypt
_push = lib.crypto_secretstream_xchacha20poly1305_push
_pull = lib.crypto_secretstream_xchacha20poly1305_pull


def x25519(private_key: bytes, public_key: bytes) -> bytes | None:
    """32 bytes, or None where they would be all zero."""
    output = ffi.new("unsigned char[]", 32)
    return None if lib.crypto_scalarmult(output, private_key, public_key) else bytes(ffi.buffer(output))


def x25519_base(private_key: bytes) -> bytes:
    """The public key, 32 bytes."""
    output = ffi.new("unsigned char[]", 32)
    lib.crypto_scalarmult_base(output, private_key)
    return bytes(ffi.buffer(output))


def chachapoly_encrypt(key: bytes, nonce: bytes, ad: bytes, plaintext: bytes) -> bytes:
    """ChaCha20-Poly1305 (RFC 8439): ciphertext and tag. Key 32 bytes, nonce 12."""
    output = ffi.new("unsigned char[]", len(plaintext) + 16)
    _chacha_encrypt(output, _NULL, plaintext, len(plaintext), ad, len(ad), _NULL, nonce, key)
    return bytes(ffi.buffer(output))


def chachapoly_decrypt(key: bytes, nonce: bytes, ad: bytes, ciphertext: bytes) -> bytes | None:
    """The plaintext, or None where it is not genuine. `ciphertext` has 16 bytes or more."""
    size = len(ciphertext) - 16
    output = ffi.new("unsigned char[]", size + 1)  # never of no size
    failed = _chacha_decrypt(output, _NULL, _NULL, ciphertext, len(ciphertext), ad, len(ad), nonce, key)
    return None if failed else bytes(ffi.buffer(output, size))


class Buffer:
    """Memory to write into: `view` for Python, `_address` for libsodium."""

    __slots__ = ("_address", "size", "view")

    def __init__(self, size: int) -> None:
        self.size: int = size
        data = bytearray(size)
        self.view: memoryview = memoryview(data)
        self._address = ffi.from_buffer(data)


class Aegis256:
    """AEGIS-256 with tags of 32 bytes and the nonce of `docs/protocol.md`: a number, then zeros."""

    __slots__ = ("_key", "_key_address")

    def __init__(self, key: bytes) -> None:
        self._key = bytearray(key)
        self._key_address = ffi.from_buffer(self._key)

    def encrypt(self, target: Buffer, to: int, source: Buffer, start: int, length: int, number: int) -> None:
        if not (0 <= to <= target.size - length - 32 and 0 <= start <= source.size - length and length >= 0):
            raise IndexError(_OUTSIDE)
        _aegis_encrypt(
            target._address + to,
            _NULL,
            source._address + start,
            length,
            _NULL,
            0,
            _NULL,
            number.to_bytes(32, "little"),
            self._key_address,
        )

    def decrypt(self, target: Buffer, to: int, source: Buffer, start: int, length: int, number: int) -> bool:
        if not (0 <= to <= target.size - length + 32 and 0 <= start <= source.size - length and length >= 32):
            raise IndexError(_OUTSIDE)
        failed: int = _aegis_decrypt(
            target._address + to,
            _NULL,
            _NULL,
            source._address + start,
            length,
            _NULL,
            0,
            number.to_bytes(32, "little"),
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
        if not (0 <= to <= target.size - length - 17 and 0 <= start <= source.size - length and length >= 0):
            raise IndexError(_OUTSIDE)
        _push(self._state, target._address + to, _NULL, source._address + start, length, _NULL, 0, tag)


class SecretStreamPull(_SecretStream):
    """The reading end of a secretstream."""

    __slots__ = ("_tag",)

    def __init__(self, key: bytes, header: bytes) -> None:
        super().__init__()
        self._tag = ffi.new("unsigned char *")
        lib.crypto_secretstream_xchacha20poly1305_init_pull(self._state, header, key)

    def decrypt(self, target: Buffer, to: int, source: Buffer, start: int, length: int) -> int:
        if not (0 <= to <= target.size - length + 17 and 0 <= start <= source.size - length and length >= 17):
            raise IndexError(_OUTSIDE)
        failed = _pull(self._state, target._address + to, _NULL, self._tag, source._address + start, length, _NULL, 0)
        return -1 if failed else self._tag[0]
