"""Keys of TLS: who somebody is there, and the private key behind it.

TLS takes keys of many kinds, so a public key is known by its SHA-256: of the SubjectPublicKeyInfo in DER (RFC 5280
section 4.1), as in RFC 7469 section 2.4 and as `openssl pkey -pubout -outform DER | openssl dgst -sha256` computes it.
Its text has a prefix, for base64 of 32 bytes may as well be an X25519 key. A private key made here is Ed25519
(RFC 8032): a seed of 32 bytes, whose text is `ss-ed25519:` and base64. Keys of other kinds come as PEM, and need the
extra `tls`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import final

from nacl.bindings import crypto_sign_seed_keypair

from .keys import ED25519_PREFIX, HASH_PREFIX, KEY_SIZE, SECRET_PREFIX, PrivateKey, PublicKey, Secret, decode_base64

# RFC 8410 sections 4 and 7: what stands before the 32 bytes of an Ed25519 key, in DER.
_SPKI_OF_ED25519 = bytes.fromhex("302a300506032b6570032100")
_PKCS8_OF_ED25519 = bytes.fromhex("302e020100300506032b657004220420")


@final
class KeyHash:
    """A TLS peer's public key, known by its SHA-256: who somebody is over TLS.

    `KeyHash(raw)` takes 32 bytes, `KeyHash.of_spki(der)` a SubjectPublicKeyInfo, `KeyHash.from_text(text)` what
    `str(key)` gives, `sha256:` and base64, or the base64 alone. Those raise `ValueError`.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        raw = bytes(raw)
        if len(raw) != KEY_SIZE:
            raise ValueError(f"the hash of a key has {KEY_SIZE} bytes, not {len(raw)}")
        self._raw = raw

    @classmethod
    def of_spki(cls, der: bytes) -> KeyHash:
        """Of a public key in DER."""
        return cls(hashlib.sha256(der).digest())

    @classmethod
    def from_text(cls, text: str) -> KeyHash:
        """From `sha256:` and 44 characters of base64, or those alone. Raises `ValueError`, without repeating what may
        be a secret."""
        if text.strip().startswith("ss-"):
            raise ValueError("this is a secret where the hash of a public key belongs; don't hand it out")
        return cls(decode_base64(text.strip().removeprefix(HASH_PREFIX), "the SHA-256 of a public key"))

    @property
    def base64(self) -> str:
        """The hash alone, as a connection string has it."""
        return base64.b64encode(self._raw).decode()

    def __bytes__(self) -> bytes:
        return self._raw

    def __str__(self) -> str:
        return HASH_PREFIX + self.base64

    def __repr__(self) -> str:
        return f"KeyHash.from_text({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeyHash):
            return NotImplemented
        return hmac.compare_digest(self._raw, other._raw)

    def __hash__(self) -> int:
        return hash((KeyHash, self._raw))


@final
class TlsPrivateKey(Secret):
    """A private key for TLS. `TlsPrivateKey.generate()` makes one of Ed25519.

    `TlsPrivateKey(seed)` takes an Ed25519 seed of 32 bytes, `from_text()` what `to_text()` gives; `from_pem()` reads
    Ed25519, ECDSA and RSA. `bytes(key)` is PKCS #8 in DER. All raise `ValueError`. `repr()` and `str()` show the hash
    of the public key only.
    """

    __slots__ = ("_public_key", "_seed")

    def __init__(self, seed: bytes) -> None:
        seed = bytes(seed)
        if len(seed) != KEY_SIZE:
            raise ValueError(f"an Ed25519 seed has {KEY_SIZE} bytes, not {len(seed)}")
        if seed == bytes(KEY_SIZE):
            raise ValueError("a private key of nothing but zeros is no key")
        self._seed: bytes | None = seed
        self._raw = _PKCS8_OF_ED25519 + seed
        self._public_key = KeyHash.of_spki(_SPKI_OF_ED25519 + crypto_sign_seed_keypair(seed)[0])

    @classmethod
    def generate(cls) -> TlsPrivateKey:
        """A fresh Ed25519 key from the operating system's random numbers."""
        return cls(secrets.token_bytes(KEY_SIZE))

    @classmethod
    def from_text(cls, text: str) -> TlsPrivateKey:
        """From `to_text()`'s form. Raises `ValueError`."""
        text = text.strip()
        if text.startswith(SECRET_PREFIX):
            raise ValueError("this is a private key for Noise, where one for TLS belongs: keygen --tls makes one")
        if not text.startswith(ED25519_PREFIX):
            raise ValueError(f"not a private key for TLS, which starts with {ED25519_PREFIX}")
        return cls(decode_base64(text.removeprefix(ED25519_PREFIX), "a private key for TLS"))

    @classmethod
    def from_pem(cls, data: bytes, *, passphrase: bytes | None = None) -> TlsPrivateKey:
        """From PEM: Ed25519, ECDSA P-256 or P-384, RSA of 2,048 to 4,096 bits. Raises `ValueError`, and `ImportError`
        without the extra `tls`."""
        from .openssl import read_pem

        pkcs8, spki = read_pem(data, passphrase)
        if pkcs8.startswith(_PKCS8_OF_ED25519):
            return cls(pkcs8.removeprefix(_PKCS8_OF_ED25519))
        key = cls.__new__(cls)
        key._seed, key._raw, key._public_key = None, pkcs8, KeyHash.of_spki(spki)
        return key

    def to_text(self) -> str:
        """The secret as text. Raises `ValueError` for a key of another kind, which stays in its PEM file."""
        if self._seed is None:
            raise ValueError("only Ed25519 keys have this form; keep others as PEM")
        return ED25519_PREFIX + base64.b64encode(self._seed).decode()

    @property
    def public_key(self) -> KeyHash:
        """The hash of the key, to give to others."""
        return self._public_key

    def __repr__(self) -> str:
        return f"<TlsPrivateKey of {self._public_key}>"


PeerKey = PublicKey | KeyHash
"""Who somebody is: by an X25519 key, or over TLS by the hash of a key."""

OwnKey = PrivateKey | TlsPrivateKey


def parse_own_key(text: str) -> OwnKey:
    """A private key of either kind, as `to_text()` gives it. Raises `ValueError`."""
    if text.strip().startswith(ED25519_PREFIX):
        return TlsPrivateKey.from_text(text)
    return PrivateKey.from_text(text)


def parse_peer_key(text: str) -> PeerKey:
    """A key of either kind, as `str(key)` gives it. Raises `ValueError`."""
    if text.strip().startswith(HASH_PREFIX):
        return KeyHash.from_text(text)
    return PublicKey.from_text(text)
