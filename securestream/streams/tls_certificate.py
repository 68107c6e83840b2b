"""The certificate that TLS wants around a key. Needs the extra `tls`."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519

if TYPE_CHECKING:
    from ..protocol.key_kinds import SigningKey


def self_signed(key: SigningKey) -> x509.Certificate:
    """A certificate that says nothing but the key (RFC 5280). Its dates are the widest there are (section 4.1.2.5)."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "securestream")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(dt.datetime(1950, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC))
    )
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
