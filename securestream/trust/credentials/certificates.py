"""X.509 certificates (RFC 5280): `signature | leaf | further certificates`, as parts, each certificate in DER.

The leaf's key signs: ECDSA P-256 or P-384 with SHA-256, Ed25519, or RSA of 2,048 to 4,096 bits as PSS with SHA-256.
Whether the chain leads to somebody who is trusted is for the program to say; the rest is judged here. Needs the
extra `credentials`.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, final

from ...protocol.credentials import MAX_PARTS, CredentialsRefused, decode_parts_untrusted, encode_parts
from ...protocol.extra import OfTheExtra
from .verifier import Now, Verifier

with OfTheExtra("this kind of credentials", "credentials"):
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding

    from ...protocol.key_kinds import SigningKey, check_verifying

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CERTIFICATES = MAX_PARTS - 1
MAX_CERTIFICATE_SIZE = 16_384

Chain = tuple[x509.Certificate, ...]
CheckChain = Callable[[Chain], Awaitable[object]]
"""Is given the certificates, the leaf first: valid now, the leaf's key proved, and nothing else known of them. Returns
who that is; refuses by raising `PermissionError`."""

_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
_ECDSA = ec.ECDSA(hashes.SHA256())


@final
class CertificateCredentials:
    """Shows a certificate and proves that its key is here: `credentials=CertificateCredentials(key, [leaf, ca])`.

    1 to 7 certificates of at most 16,384 bytes each, the leaf first. Raises `ValueError`, also where the key is not the
    leaf's or of a kind that isn't taken.
    """

    def __init__(self, private_key: SigningKey, chain: Sequence[x509.Certificate]) -> None:
        _check_chain_size(len(chain))
        if private_key.public_key() != chain[0].public_key():
            raise ValueError("the private key is not that of the first certificate")
        check_verifying(private_key.public_key())
        self._key = private_key
        self._chain = [certificate.public_bytes(serialization.Encoding.DER) for certificate in chain]
        if max(map(len, self._chain)) > MAX_CERTIFICATE_SIZE:
            raise ValueError(f"a certificate has at most {MAX_CERTIFICATE_SIZE:,} bytes here")

    def __call__(self, statement: bytes) -> bytes:
        """The signature and the certificates."""
        return encode_parts([_sign(self._key, statement), *self._chain])

    def __repr__(self) -> str:
        return f"<CertificateCredentials: {len(self._chain)} certificates>"


@final
class CertificateVerifier(Verifier):
    """Takes certificates whose key has signed: `authorize=CertificateVerifier(check_chain)`.

    Every certificate that is shown has to be valid now; `check_chain`, an async callable, says whether to trust them
    and whose they are (`CheckChain`). What it returns is the principal.
    """

    def __init__(self, check_chain: CheckChain, *, now: Now = time.time) -> None:
        self._check_chain = check_chain
        self._now = now

    async def verify(self, credentials: bytes, statement: bytes) -> object:
        """What `check_chain` returns. Raises `CredentialsRefused`, and what `check_chain` raises."""
        chain = self._proved(credentials, statement)
        try:
            principal = await self._check_chain(chain)
        except PermissionError as exc:
            if exc.errno is not None:  # the operating system's, not a verdict
                raise
            raise CredentialsRefused(str(exc)) from exc
        if principal is False:
            raise TypeError("check_chain returned False; it refuses by raising PermissionError")
        return principal

    def _proved(self, credentials: bytes, statement: bytes) -> Chain:
        """The chain, after its dates and the signature. Raises `CredentialsRefused` only."""
        try:
            signature, *encoded = decode_parts_untrusted(credentials)
            _check_chain_size(len(encoded))
            if max(map(len, encoded)) > MAX_CERTIFICATE_SIZE:
                raise CredentialsRefused("a certificate that is too long")
            chain = tuple(x509.load_der_x509_certificate(der) for der in encoded)
            for certificate in chain:
                self._check_dates(certificate)
            _verify(chain[0], signature, statement)
        except CredentialsRefused:
            raise
        except InvalidSignature:
            raise CredentialsRefused("a signature that does not hold for this connection") from None
        except Exception as exc:  # a stranger's bytes: whatever the library thinks of them, they are refused
            raise CredentialsRefused("no certificate that can be used here") from exc
        return chain

    def _check_dates(self, certificate: x509.Certificate) -> None:
        now = dt.datetime.fromtimestamp(self._now(), dt.UTC)
        if not certificate.not_valid_before_utc <= now:
            raise CredentialsRefused("a certificate that is not valid yet")
        if not now <= certificate.not_valid_after_utc:
            raise CredentialsRefused("a certificate that has expired")

    def __repr__(self) -> str:
        return "<CertificateVerifier>"


def _check_chain_size(size: int) -> None:
    if not 1 <= size <= MAX_CERTIFICATES:
        raise ValueError(f"1 to {MAX_CERTIFICATES} certificates are shown, not {size}")


def _sign(key: SigningKey, statement: bytes) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(statement)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(statement, _ECDSA)
    return key.sign(statement, _PSS, hashes.SHA256())


def _verify(leaf: x509.Certificate, signature: bytes, statement: bytes) -> None:
    """Raises `InvalidSignature`, and `ValueError` for a kind of key that isn't taken."""
    key = check_verifying(leaf.public_key())
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, statement)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, statement, _ECDSA)
    else:
        key.verify(signature, statement, _PSS, hashes.SHA256())
