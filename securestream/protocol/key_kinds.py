"""The kinds of signing keys that are taken here, whether TLS shows them, a certificate, or a file.

Others are too weak, or cost too much to verify with. Needs `cryptography`, which the extras `tls` and `credentials`
bring; whoever imports this says which of them is missing.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

SigningKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
VerifyingKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

KINDS = "Ed25519, ECDSA P-256 or P-384, or RSA of 2,048 to 4,096 bits"


def check_verifying(key: object) -> VerifyingKey:
    """The key. Raises `ValueError` for one of none of the `KINDS`."""
    match key:
        case ed25519.Ed25519PublicKey():
            return key
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            return key
        case rsa.RSAPublicKey() if 2_048 <= key.key_size <= 4_096 and key.public_numbers().e < 2**32:
            return key
    raise ValueError(f"the key is none of {KINDS}")


def check_signing(key: object) -> SigningKey:
    """The key. Raises `ValueError` for one of none of the `KINDS`."""
    match key:
        case ed25519.Ed25519PrivateKey() | ec.EllipticCurvePrivateKey() | rsa.RSAPrivateKey():
            check_verifying(key.public_key())
            return key
    raise ValueError(f"the key is none of {KINDS}")
