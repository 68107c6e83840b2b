"""Ed25519 (RFC 8032) by libsodium: `public key (32) | signature (64)`."""

from __future__ import annotations

from typing import final

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from .verifier import SignatureVerifier

_KEY_SIZE = 32


@final
class Ed25519Credentials:
    """Shows that this side owns an Ed25519 key: `credentials=Ed25519Credentials(seed)`.

    `seed` is the private key, 32 bytes, as RFC 8032 has it. `public_key` is what the other side lists. Raises
    `ValueError`.
    """

    def __init__(self, seed: bytes) -> None:
        if len(seed) != _KEY_SIZE:
            raise ValueError(f"an Ed25519 private key has {_KEY_SIZE} bytes, not {len(seed)}")
        self._key = SigningKey(bytes(seed))
        self.public_key: bytes = bytes(self._key.verify_key)

    def __call__(self, statement: bytes) -> bytes:
        """The key and its signature, 96 bytes."""
        return self.public_key + self._key.sign(statement).signature

    def __repr__(self) -> str:
        return f"<Ed25519Credentials of {self.public_key.hex()}>"


@final
class Ed25519Verifier(SignatureVerifier):
    """Takes signatures by listed Ed25519 keys of 32 bytes: `authorize=Ed25519Verifier([TrustedKey(key, "alice")])`."""

    key_size: int = _KEY_SIZE

    def check_key(self, key: bytes) -> None:
        if len(key) != _KEY_SIZE:
            raise ValueError(f"an Ed25519 public key has {_KEY_SIZE} bytes, not {len(key)}")

    def is_signed(self, key: bytes, statement: bytes, signature: bytes) -> bool:
        try:
            VerifyKey(key).verify(statement, signature)
        except BadSignatureError:
            return False
        return True
