"""Certificates that a TLS peer may show, as far as OpenSSL reads them: their key, or a refusal. The rest is nobody's
business. (Credentials have certificates, too: the target `credentials`.)"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from OpenSSL import crypto

from securestream.protocol.codes import AlertCode
from securestream.protocol.openssl import key_in_certificate_untrusted
from securestream.protocol.tls_keys import KeyHash

from ...protocol.support import outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

SHOWS = "fuzz-parsers"
PARSERS = ("key_in_certificate_untrusted",)

AUTHORITY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)


def one_input(data: bytes) -> None:
    try:
        certificate = crypto.load_certificate(crypto.FILETYPE_ASN1, data)
    except crypto.Error:
        return  # it ends in OpenSSL
    found = outcome(key_in_certificate_untrusted, certificate)
    assert found == (hash_of_wanted(certificate.get_pubkey) or AlertCode.PROTOCOL_ERROR)


def hash_of_wanted(find: Callable[[], crypto.PKey]) -> KeyHash | None:
    """As `docs/tls.md` says."""
    try:
        key = find().to_cryptography_key()
    except (crypto.Error, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    match key:
        case rsa.RSAPublicKey() if key.key_size in range(2_048, 4_097) and key.public_numbers().e < 2**32:
            pass
        case ec.EllipticCurvePublicKey() if key.curve.name in ("secp256r1", "secp384r1"):
            pass
        case ed25519.Ed25519PublicKey():
            pass
        case _:
            return None
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return KeyHash.of_spki(spki)


def seeds() -> dict[str, bytes]:
    def on(curve: ec.EllipticCurve) -> ec.EllipticCurvePublicKey:
        return ec.derive_private_key(7, curve).public_key()

    def of_rsa(bits: int, e: int = 65_537) -> rsa.RSAPublicKey:
        return rsa.RSAPublicNumbers(e, 2 ** (bits - 1) + 1).public_key()

    keys: dict[str, CertificatePublicKeyTypes] = {
        "ed25519": AUTHORITY.public_key(),
        "ed448": ed448.Ed448PrivateKey.from_private_bytes(bytes([1]) * 57).public_key(),
        **{curve.name: on(curve) for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1())},
        **{f"rsa_{bits}": of_rsa(bits) for bits in (1_024, 2_048, 4_104)},
        "rsa_slow": of_rsa(2_048, 2**64 + 1),
    }
    made = {name: certificate(key) for name, key in keys.items()}
    plain, version = made["ed25519"], bytes.fromhex("a003020102")
    made |= {"version_10": plain.replace(version, version[:-1] + b"\x09"), "cut": plain[:-1], "empty": b""}
    return made | {"serial_0": plain.replace(version + b"\2\1\1", version + b"\2\1\0")}


def certificate(key: CertificatePublicKeyTypes) -> bytes:
    """In DER, the same at every run: Ed25519 has no randomness."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a")])
    builder = x509.CertificateBuilder(name, name, key, 1)
    first, last = dt.datetime(2001, 1, 1, tzinfo=dt.UTC), dt.datetime(2002, 1, 1, tzinfo=dt.UTC)
    made = builder.not_valid_before(first).not_valid_after(last).sign(AUTHORITY, None)
    return made.public_bytes(serialization.Encoding.DER)
