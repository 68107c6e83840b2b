"""Each kind of credentials, by the same few names: how it is shown, who takes it, and who takes none of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

import securestream as ss
from securestream.protocol.credentials import client_statement, server_statement
from securestream.protocol.messages import PROLOGUE
from securestream.trust.credentials.certificates import CertificateCredentials, CertificateVerifier
from securestream.trust.credentials.ecdsa import EcdsaCredentials, EcdsaVerifier
from securestream.trust.credentials.tokens import TokenCredentials, TokenVerifier

if TYPE_CHECKING:
    from securestream.protocol.key_kinds import SigningKey
    from securestream.trust.credentials.certificates import Chain

START = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
UNTIL = START + dt.timedelta(days=1)

PEER_KEY = ss.PrivateKey(bytes([7]) * 32).public_key
EPHEMERAL = ss.PrivateKey(bytes([8]) * 32).public_key
STATEMENT = client_statement(PROLOGUE, bytes(64), PEER_KEY)
OTHER_STATEMENTS = {
    "another connection's": client_statement(PROLOGUE, b"\1" + bytes(63), PEER_KEY),
    "another key's": client_statement(PROLOGUE, bytes(64), EPHEMERAL),
    "the other side's": server_statement(PROLOGUE, bytes(64), EPHEMERAL, PEER_KEY, 1),
    "none": b"",
}


class Clock:
    """Seconds since 1970, as a test sets them."""

    def __init__(self) -> None:
        self.now = START.timestamp()

    def __call__(self) -> float:
        return self.now


@dataclass
class Kind:
    """`credentials` are taken by `verifier` until `expires`, and by `strangers` never."""

    credentials: Callable[[bytes], bytes | Awaitable[bytes]]
    verifier: ss.Verifier
    stranger: ss.Verifier
    clock: Clock
    name: str = "alice"
    expires: dt.datetime = UNTIL

    async def show(self, statement: bytes = STATEMENT) -> bytes:
        shown = self.credentials(statement)
        return await shown if isinstance(shown, Awaitable) else shown


# --- signatures by listed keys --------------------------------------------------------------------------


def ed25519_kind() -> Kind:
    clock, mine, other = Clock(), ss.Ed25519Credentials(bytes([1]) * 32), ss.Ed25519Credentials(bytes([2]) * 32)
    return Kind(
        mine,
        ss.Ed25519Verifier([ss.TrustedKey(mine.public_key, "alice", UNTIL)], now=clock),
        ss.Ed25519Verifier([ss.TrustedKey(other.public_key, "bob")], now=clock),
        clock,
    )


def ecdsa_kind() -> Kind:
    clock = Clock()
    mine, other = (EcdsaCredentials(ec.derive_private_key(n, ec.SECP256R1())) for n in (1_001, 1_002))
    return Kind(
        mine,
        EcdsaVerifier([ss.TrustedKey(mine.public_key, "alice", UNTIL)], now=clock),
        EcdsaVerifier([ss.TrustedKey(other.public_key, "bob")], now=clock),
        clock,
    )


# --- certificates ------------------------------------------------------------------------------------------


def self_signed(key: SigningKey, name: str = "alice", start: dt.datetime = START) -> x509.Certificate:
    """A certificate that vouches for itself, from a day before `start` to `UNTIL`."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1_000)
    builder = builder.not_valid_before(start - dt.timedelta(days=1)).not_valid_after(UNTIL)
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


@dataclass(frozen=True)
class Subject:
    """Whom a certificate names."""

    name: str


def listed(*certificates: x509.Certificate) -> Callable[[Chain], Awaitable[object]]:
    """A check of the chain that takes these certificates alone."""

    async def check(chain: Chain) -> Subject:
        if chain[0] not in certificates:
            raise PermissionError("a certificate that is not trusted here")
        (name,) = chain[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return Subject(str(name.value))

    return check


def certificate_kind(key: SigningKey) -> Kind:
    clock, certificate = Clock(), self_signed(key)
    return Kind(
        CertificateCredentials(key, [certificate]),
        CertificateVerifier(listed(certificate), now=clock),
        CertificateVerifier(listed(), now=clock),
        clock,
        expires=UNTIL + dt.timedelta(seconds=1),  # the last second counts
    )


RSA_KEY = rsa.generate_private_key(65_537, 2_048)
ED25519_KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([3]) * 32)
P256_KEY, OTHER_P256_KEY = (ec.derive_private_key(n, ec.SECP256R1()) for n in (2_001, 2_002))
P384_KEY = ec.derive_private_key(2_003, ec.SECP384R1())


# --- tokens ------------------------------------------------------------------------------------------------


def token_kind(key: SigningKey, other: SigningKey, algorithm: str) -> Kind:
    clock = Clock()
    return Kind(
        TokenCredentials(key, algorithm, subject="alice", lifetime=20, now=clock),
        TokenVerifier(key.public_key(), algorithm, now=clock),
        TokenVerifier(other.public_key(), algorithm, now=clock),
        clock,
        expires=START + dt.timedelta(seconds=20),
    )


def secret_token_kind() -> Kind:
    clock, secret = Clock(), bytes(range(32))
    return Kind(
        TokenCredentials(secret, "HS256", subject="alice", lifetime=20, now=clock),
        TokenVerifier(secret, "HS256", now=clock),
        TokenVerifier(bytes(range(1, 33)), "HS256", now=clock),
        clock,
        expires=START + dt.timedelta(seconds=20),
    )


# --- several -----------------------------------------------------------------------------------------------


def several_kind() -> Kind:
    first, second = ed25519_kind(), ecdsa_kind()
    second.clock = first.clock
    kind = Kind(
        ss.SeveralCredentials(first.credentials, second.credentials),
        ss.SeveralVerifier(first.verifier, second.verifier),
        ss.SeveralVerifier(first.verifier, second.stranger),
        first.clock,
    )
    kind.name = ""  # of two people who may not be the same
    return kind


KINDS: dict[str, Callable[[], Kind]] = {
    "ed25519": ed25519_kind,
    "ecdsa": ecdsa_kind,
    "certificate-p256": lambda: certificate_kind(P256_KEY),
    "certificate-p384": lambda: certificate_kind(P384_KEY),
    "certificate-ed25519": lambda: certificate_kind(ED25519_KEY),
    "certificate-rsa": lambda: certificate_kind(RSA_KEY),
    "token-EdDSA": lambda: token_kind(ED25519_KEY, ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
    "token-ES256": lambda: token_kind(P256_KEY, OTHER_P256_KEY, "ES256"),
    "token-PS256": lambda: token_kind(RSA_KEY, rsa.generate_private_key(65_537, 2_048), "PS256"),
    "token-RS256": lambda: token_kind(RSA_KEY, rsa.generate_private_key(65_537, 2_048), "RS256"),
    "token-HS256": secret_token_kind,
    "several": several_kind,
}
