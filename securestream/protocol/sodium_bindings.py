"""libsodium through PyNaCl's public functions. See `sodium.py` for the interface.

Slower than `sodium_raw.py`, and used where that can't be imported: a later PyNaCl may move its
private module. The same tests run over both.
"""

from __future__ import annotations

from nacl import bindings
from nacl.exceptions import CryptoError
from nacl.exceptions import RuntimeError as SodiumError

_TAG_SIZE = 32


def _aes_in_hardware() -> bool:
    """libsodium has AES-256-GCM exactly where the processor has AES."""
    try:
        bindings.crypto_aead_aes256gcm_encrypt(b"", None, bytes(12), bytes(32))
    except CryptoError:
        return False
    return True


AES_IN_HARDWARE = _aes_in_hardware()


def x25519(private_key: bytes, public_key: bytes) -> bytes | None:
    """32 bytes, or None where they would be all zero."""
    try:
        return bindings.crypto_scalarmult(private_key, public_key)
    except (CryptoError, SodiumError):  # which of them depends on PyNaCl's version
        return None


def x25519_base(private_key: bytes) -> bytes:
    """The public key, 32 bytes."""
    return bindings.crypto_scalarmult_base(private_key)


def chachapoly_encrypt(key: bytes, nonce: bytes, ad: bytes, plaintext: bytes) -> bytes:
    """ChaCha20-Poly1305 (RFC 8439): ciphertext and tag. Key 32 bytes, nonce 12."""
    return bindings.crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, ad, nonce, key)


def chachapoly_decrypt(key: bytes, nonce: bytes, ad: bytes, ciphertext: bytes) -> bytes | None:
    """The plaintext, or None where it is not genuine. `ciphertext` has 16 bytes or more."""
    try:
        return bindings.crypto_aead_chacha20poly1305_ietf_decrypt(ciphertext, ad, nonce, key)
    except CryptoError:
        return None


class Buffer:
    """Memory to write into."""

    __slots__ = ("size", "view")

    def __init__(self, size: int) -> None:
        self.size: int = size
        self.view: memoryview = memoryview(bytearray(size))


class Aegis256:
    """AEGIS-256 with tags of 32 bytes and the nonce of `docs/protocol.md`: a number, then zeros."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = bytes(key)

    def encrypt(self, target: Buffer, to: int, source: Buffer, start: int, length: int, number: int) -> None:
        plain = bytes(source.view[start : start + length])
        target.view[to : to + length + _TAG_SIZE] = bindings.crypto_aead_aegis256_encrypt(
            plain, None, _nonce(number), self._key
        )

    def decrypt(self, target: Buffer, to: int, source: Buffer, start: int, length: int, number: int) -> bool:
        sealed = bytes(source.view[start : start + length])
        try:
            plain = bindings.crypto_aead_aegis256_decrypt(sealed, None, _nonce(number), self._key)
        except CryptoError:
            return False
        target.view[to : to + len(plain)] = plain
        return True

    def wipe(self) -> None:
        self._key = bytes(32)


def _nonce(number: int) -> bytes:
    return number.to_bytes(32, "little")


class SecretStreamPush:
    """The writing end of a secretstream; `header` goes before its first record."""

    __slots__ = ("_state", "header")

    def __init__(self, key: bytes) -> None:
        self._state = bindings.crypto_secretstream_xchacha20poly1305_state()
        self.header: bytes = bindings.crypto_secretstream_xchacha20poly1305_init_push(self._state, key)

    def encrypt(self, target: Buffer, to: int, source: Buffer, start: int, length: int, tag: int) -> None:
        plain = bytes(source.view[start : start + length])
        sealed = bindings.crypto_secretstream_xchacha20poly1305_push(self._state, plain, None, tag)
        target.view[to : to + len(sealed)] = sealed

    def wipe(self) -> None:
        self._state = bindings.crypto_secretstream_xchacha20poly1305_state()


class SecretStreamPull:
    """The reading end of a secretstream."""

    __slots__ = ("_state",)

    def __init__(self, key: bytes, header: bytes) -> None:
        self._state = bindings.crypto_secretstream_xchacha20poly1305_state()
        bindings.crypto_secretstream_xchacha20poly1305_init_pull(self._state, header, key)

    def decrypt(self, target: Buffer, to: int, source: Buffer, start: int, length: int) -> int:
        sealed = bytes(source.view[start : start + length])
        try:
            plain, tag = bindings.crypto_secretstream_xchacha20poly1305_pull(self._state, sealed, None)
        except CryptoError:
            return -1
        target.view[to : to + len(plain)] = plain
        return int(tag)

    def wipe(self) -> None:
        self._state = bindings.crypto_secretstream_xchacha20poly1305_state()
