"""ECDSA over P-256 with SHA-256 (FIPS 186-5): `compressed public key (33) | r (32) | s (32)`.

Integers are big-endian, as SEC 1 has them. Needs the extra `credentials`.
"""

from __future__ import annotations

from typing import final

from ...protocol.extra import OfTheExtra
from .verifier import SIGNATURE_SIZE, SignatureVerifier

with OfTheExtra("this kind of credentials", "credentials"):
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, utils

_KEY_SIZE = 33
_HALF = SIGNATURE_SIZE // 2
_ALGORITHM = ec.ECDSA(hashes.SHA256())


def key_bytes(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """A P-256 key in the form of `TrustedKey.public_key`: 33 bytes. Raises `ValueError` for a key of another curve."""
    if public_key.curve.name != ec.SECP256R1.name:
        raise ValueError(f"the key is of the curve {public_key.curve.name}, not P-256")
    return public_key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)


@final
class EcdsaCredentials:
    """Shows that this side owns a P-256 key: `credentials=EcdsaCredentials(private_key)`.

    `public_key` is what the other side lists. Raises `ValueError` for a key of another curve.
    """

    def __init__(self, private_key: ec.EllipticCurvePrivateKey) -> None:
        self.public_key: bytes = key_bytes(private_key.public_key())
        self._key = private_key

    def __call__(self, statement: bytes) -> bytes:
        """The key and its signature, 97 bytes."""
        r, s = utils.decode_dss_signature(self._key.sign(statement, _ALGORITHM))
        return self.public_key + r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")

    def __repr__(self) -> str:
        return f"<EcdsaCredentials of {self.public_key.hex()}>"


@final
class EcdsaVerifier(SignatureVerifier):
    """Takes signatures by listed P-256 keys, each as `key_bytes()` gives it."""

    key_size: int = _KEY_SIZE

    def check_key(self, key: bytes) -> None:
        if len(key) != _KEY_SIZE:
            raise ValueError(f"a P-256 public key has {_KEY_SIZE} bytes here, compressed, not {len(key)}")
        try:
            _load(key)
        except ValueError:
            raise ValueError("these bytes are no P-256 public key") from None

    def is_signed(self, key: bytes, statement: bytes, signature: bytes) -> bool:
        r, s = int.from_bytes(signature[:_HALF], "big"), int.from_bytes(signature[_HALF:], "big")
        try:
            _load(key).verify(utils.encode_dss_signature(r, s), statement, _ALGORITHM)
        except InvalidSignature:
            return False
        return True


def _load(key: bytes) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key)
