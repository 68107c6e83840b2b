"""Keys and their text forms.

A public key is 44 characters of base64, as in the seed's connection string. A secret's text has a
prefix, `ss-secret:` or `ss-shared:`, so that it can't be taken for a public key and is easy for a
secret scanner to find. Nothing here puts a secret into `repr`, `str` or an exception.

X25519 is RFC 7748. Public keys are refused where the RFC lets a library be lenient: encodings that
are not canonical (bit 255 set, or a value of p = 2^255 - 19 or more) and the points of low order,
for which every private key gives the same, known output.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import NoReturn, final

from . import sodium
from .errors import RemoteProtocolError

KEY_SIZE = 32
_MAX_SECRET_SIZE = 4_096
SECRET_PREFIX = "ss-secret:"
_SHARED_PREFIX = "ss-shared:"
ED25519_PREFIX = "ss-ed25519:"  # of a private key for TLS, `tls_keys.py`
HASH_PREFIX = "sha256:"
_PRIME = 2**255 - 19

# RFC 7748 section 6.1 and https://cr.yp.to/ecdh.html#validate: u = 0, 1, -1, and the two of order 8.
# Their other encodings are not canonical and refused for that.
LOW_ORDER = frozenset(
    value.to_bytes(KEY_SIZE, "little")
    for value in (
        0,
        1,
        _PRIME - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    )
)


def check_public_key(raw: bytes) -> None:
    """Raises `ValueError` unless `raw` is the canonical encoding of a key that can be used."""
    if len(raw) != KEY_SIZE:
        raise ValueError(f"a public key has {KEY_SIZE} bytes, not {len(raw)}")
    if raw[31] >= 0x7F and int.from_bytes(raw, "little") >= _PRIME:
        raise ValueError("not a public key: its encoding is not canonical")
    if raw in LOW_ORDER:
        raise ValueError("not a public key: a point of low order, which no honest program has")


def decode_public_key_untrusted(raw: bytes) -> PublicKey:
    """A public key off the wire. Raises `RemoteProtocolError` only."""
    try:
        return PublicKey(raw)
    except ValueError as exc:
        raise RemoteProtocolError(str(exc)) from exc


@final
class PublicKey:
    """An X25519 public key: who somebody is.

    `PublicKey(raw)` takes 32 bytes, `PublicKey.from_text(text)` what `str(key)` gives.
    Both raise `ValueError`.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        raw = bytes(raw)
        check_public_key(raw)
        self._raw = raw

    @classmethod
    def from_text(cls, text: str) -> PublicKey:
        """From 44 characters of base64. Raises `ValueError`, without repeating what may be a secret."""
        if text.strip().startswith((SECRET_PREFIX, _SHARED_PREFIX, ED25519_PREFIX)):
            raise ValueError("this is a secret where a public key belongs; don't hand it out")
        if text.strip().startswith(HASH_PREFIX):
            raise ValueError("this is the hash of a key for TLS where a public key belongs")
        return cls(decode_base64(text, "a public key"))

    def __bytes__(self) -> bytes:
        return self._raw

    def __str__(self) -> str:
        return base64.b64encode(self._raw).decode()

    def __repr__(self) -> str:
        return f"PublicKey.from_text({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PublicKey):
            return NotImplemented
        return hmac.compare_digest(self._raw, other._raw)

    def __hash__(self) -> int:
        return hash(self._raw)


class Secret:
    """What private keys and shared secrets have in common: they don't show, pickle or compare in variable time."""

    __slots__ = ("_raw",)
    _raw: bytes

    def __bytes__(self) -> bytes:
        return self._raw

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self) or not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._raw, other._raw)

    def __hash__(self) -> int:
        return hash((type(self), self._raw))

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is not pickled or copied: use to_text() and from_text()")


@final
class PrivateKey(Secret):
    """An X25519 private key. `PrivateKey.generate()` makes one.

    `PrivateKey(raw)` takes 32 bytes; `to_text()` gives `ss-secret:` and base64, and `from_text()`
    takes that or plain base64. All raise `ValueError`. `repr()` and `str()` show the public key only.
    """

    __slots__ = ("_public_key",)

    def __init__(self, raw: bytes) -> None:
        raw = bytes(raw)
        if len(raw) != KEY_SIZE:
            raise ValueError(f"a private key has {KEY_SIZE} bytes, not {len(raw)}")
        if raw == bytes(KEY_SIZE):
            raise ValueError("a private key of nothing but zeros is no key")
        self._raw = raw
        self._public_key: PublicKey | None = None

    @classmethod
    def generate(cls) -> PrivateKey:
        """A fresh key from the operating system's random numbers."""
        return cls(secrets.token_bytes(KEY_SIZE))

    @classmethod
    def from_text(cls, text: str) -> PrivateKey:
        """From `to_text()`'s form, or 44 characters of plain base64. Raises `ValueError`."""
        if text.strip().startswith(_SHARED_PREFIX):
            raise ValueError("this is a shared secret where a private key belongs")
        if text.strip().startswith(ED25519_PREFIX):
            raise ValueError("this is a private key for TLS, where one for Noise belongs")
        return cls(decode_base64(text.strip().removeprefix(SECRET_PREFIX), "a private key"))

    def to_text(self) -> str:
        """The secret as text, to be kept in a file that only its owner can read."""
        return SECRET_PREFIX + base64.b64encode(self._raw).decode()

    @property
    def public_key(self) -> PublicKey:
        """The key to give to others."""
        if self._public_key is None:
            self._public_key = PublicKey(sodium.backend.x25519_base(self._raw))
        return self._public_key

    def exchange(self, public_key: bytes) -> bytes:
        """X25519 (RFC 7748 section 5): 32 bytes that the owner of the other key gets too.

        Raises `RemoteProtocolError` where the output would be all zero (RFC 7748 section 6.1), `ValueError` for a
        key of another size.
        """
        if len(public_key) != KEY_SIZE:
            raise ValueError(f"a public key has {KEY_SIZE} bytes, not {len(public_key)}")
        shared = sodium.backend.x25519(self._raw, public_key)
        if shared is None:
            raise RemoteProtocolError("a Diffie-Hellman with a point of low order")
        return shared

    def __repr__(self) -> str:
        return f"<PrivateKey of {self.public_key}>"


@final
class SharedSecret(Secret):
    """A secret that a group of programs shares: a second lock beside the keys.

    It must be random, 128 bits of entropy at least: the first message lets a listener guess offline,
    so a password won't do. `SharedSecret.generate()` makes one; `SharedSecret(raw)` takes 32 to 4,096
    bytes. Raises `ValueError` when it is shorter, longer or all zero.
    """

    __slots__ = ("_psk",)

    def __init__(self, raw: bytes) -> None:
        raw = bytes(raw)
        if not KEY_SIZE <= len(raw) <= _MAX_SECRET_SIZE:
            raise ValueError(f"a shared secret has {KEY_SIZE} to {_MAX_SECRET_SIZE:,} bytes, not {len(raw)}")
        if not any(raw):
            raise ValueError("a shared secret of nothing but zeros is no secret")
        self._raw = raw
        # docs/protocol.md, "Handshake": psk = BLAKE2b-256(secret, person "securestream-psk")
        self._psk = hashlib.blake2b(raw, digest_size=32, person=b"securestream-psk").digest()

    @classmethod
    def generate(cls) -> SharedSecret:
        """A fresh secret of 32 bytes from the operating system's random numbers."""
        return cls(secrets.token_bytes(KEY_SIZE))

    @classmethod
    def from_text(cls, text: str) -> SharedSecret:
        """From `to_text()`'s form, or plain base64. Raises `ValueError`."""
        if text.strip().startswith(SECRET_PREFIX):
            raise ValueError("this is a private key where a shared secret belongs")
        raw = from_base64(text.strip().removeprefix(_SHARED_PREFIX))
        if raw is None:
            raise ValueError("not a shared secret: not base64")
        return cls(raw)

    def to_text(self) -> str:
        """The secret as text, `ss-shared:` and base64."""
        return _SHARED_PREFIX + base64.b64encode(self._raw).decode()

    @property
    def psk(self) -> bytes:
        """Noise's pre-shared key, 32 bytes, derived from the secret."""
        return self._psk

    def __repr__(self) -> str:
        return f"<SharedSecret of {len(self._raw)} bytes>"


def decode_base64(text: str, what: str) -> bytes:
    """44 characters of base64, exactly as `b64encode` writes them. Raises `ValueError` with no part of `text`."""
    text = text.strip()
    raw = from_base64(text)
    if raw is None:
        raise ValueError(f"not {what}: it is 44 characters of base64")
    if len(raw) != KEY_SIZE or base64.b64encode(raw).decode() != text:
        raise ValueError(f"not {what}: it is 44 characters of base64, this is {len(text)}")
    return raw


def from_base64(text: str) -> bytes | None:
    """None where it isn't. Python's own errors repeat the text, and would go along in an exception's context."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, or text beyond ASCII
        return None
