"""JSON Web Tokens (RFC 7519), made for one connection and good for no other.

The claim `transcript` is the base64url SHA-256 of the statement, without padding; `iat` and `exp` are there, and the
token is not more than 30 seconds old, or ahead. The verifier knows the algorithm; what the token says of it is only
compared. Needs the extra `credentials`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, final

from ...protocol.credentials import CredentialsRefused
from ...protocol.extra import OfTheExtra
from .verifier import Now, Verifier

with OfTheExtra("this kind of credentials", "credentials"):
    import jwt
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from jwt.exceptions import InvalidKeyError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_AGE = 30.0
MAX_TOKEN_SIZE = 8_192
BINDING = "transcript"

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | bytes
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey | bytes

# RFC 7518 section 3.1 and RFC 8037 section 3.1; `none` is not among them. Each takes one kind of key, so that a
# public key can't be taken for a secret (RFC 8725 section 2.1).
_KEYS: dict[str, tuple[type, ...]] = {
    "EdDSA": (ed25519.Ed25519PublicKey, ed25519.Ed25519PrivateKey),
    "ES256": (ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey),
    "PS256": (rsa.RSAPublicKey, rsa.RSAPrivateKey),
    "RS256": (rsa.RSAPublicKey, rsa.RSAPrivateKey),
    "HS256": (bytes,),
}
_COMPACT = re.compile(rb"(?:[A-Za-z0-9_-]+\.){2}[A-Za-z0-9_-]+")  # RFC 7515 section 3.1; the library takes more
_HMAC_KEY_SIZE = 32
_RSA_KEY_BITS = range(2_048, 4_097)


def binding_of(statement: bytes) -> str:
    """The claim `transcript`: for whoever makes a token elsewhere."""
    return base64.urlsafe_b64encode(hashlib.sha256(statement).digest()).rstrip(b"=").decode()


@dataclass(frozen=True)
class TokenHolder:
    """Whom a token names: `stream.peer.principal`.

    `name`    its claim `sub`; also `stream.peer.name`
    `claims`  all of them, as they were signed
    """

    name: str
    claims: Mapping[str, object] = field(repr=False)


@final
class TokenCredentials:
    """Makes a token for each connection: `credentials=TokenCredentials(key, "EdDSA", subject="alice")`.

    `key`        a private key, or for HS256 a secret of 32 random bytes or more
    `algorithm`  EdDSA, ES256 (P-256), PS256 or RS256 (2,048 to 4,096 bits), HS256
    `subject`    the claim `sub`
    `lifetime`   seconds until `exp`, at most 30
    `claims`     further ones, `iss` and `aud` for two

    A program whose tokens are made elsewhere gives an async callable instead, which asks for one with the claim
    `transcript` of `binding_of(statement)`. Raises `ValueError` and `TypeError`.
    """

    def __init__(
        self,
        key: PrivateKey,
        algorithm: str,
        *,
        subject: str,
        lifetime: float = MAX_AGE,
        claims: Mapping[str, object] = MappingProxyType({}),
        now: Now = time.time,
    ) -> None:
        _check_key(algorithm, key)
        _check_subject(subject)
        if not 0 < lifetime <= MAX_AGE:
            raise ValueError(f"a token lives for {MAX_AGE:g} seconds at most")
        self._key, self._algorithm, self._now = key, algorithm, now
        self._subject, self._lifetime, self._claims = subject, lifetime, dict(claims)

    def __call__(self, statement: bytes) -> bytes:
        """The token, in its compact form."""
        now = self._now()
        own = {"sub": self._subject, "iat": now, "exp": now + self._lifetime, BINDING: binding_of(statement)}
        return jwt.encode({**self._claims, **own}, self._key, algorithm=self._algorithm).encode()

    def __repr__(self) -> str:
        return f"<TokenCredentials of {self._subject}, {self._algorithm}>"


@final
class TokenVerifier(Verifier):
    """Takes tokens by one issuer: `authorize=TokenVerifier(public_key, "EdDSA", audience="orders")`.

    `key`        the issuer's public key, or for HS256 the secret
    `algorithm`  the one that is taken: see `TokenCredentials`
    `issuer`     what `iss` has to be, where it is given
    `audience`   what has to be among `aud`; not given: there may be none

    A token has at most 8,192 bytes. The principal is a `TokenHolder`. Raises `ValueError` and `TypeError`.
    """

    ages: bool = True

    def __init__(
        self,
        key: PublicKey,
        algorithm: str,
        *,
        issuer: str | None = None,
        audience: str | None = None,
        now: Now = time.time,
    ) -> None:
        _check_key(algorithm, key)
        self._key, self._algorithm, self._now = key, algorithm, now
        self._issuer, self._audience = issuer, audience

    async def verify(self, credentials: bytes, statement: bytes) -> TokenHolder:
        """Whom the token names. Raises `CredentialsRefused`."""
        if not 0 < len(credentials) <= MAX_TOKEN_SIZE:
            raise CredentialsRefused(f"a token has 1 to {MAX_TOKEN_SIZE:,} bytes")
        if not _COMPACT.fullmatch(credentials):
            raise CredentialsRefused("no token in compact form")
        try:
            claims = self._decode(credentials)
            self._check_time(claims)
            if not hmac.compare_digest(str(claims[BINDING]).encode(), binding_of(statement).encode()):
                raise CredentialsRefused("a token for another connection")
            subject = _check_subject(claims["sub"])
        except CredentialsRefused:
            raise
        except Exception as exc:  # a stranger's bytes: whatever the library thinks of them, they are refused
            raise CredentialsRefused("no token that can be used here") from exc
        return TokenHolder(subject, MappingProxyType(claims))

    def _decode(self, token: bytes) -> dict[str, object]:
        """The claims that were signed. Time is left for `_check_time`, which knows the verifier's clock."""
        claims: dict[str, object] = jwt.decode(
            token,
            self._key,
            algorithms=[self._algorithm],
            issuer=self._issuer,
            audience=self._audience,
            options={
                "require": ["exp", "iat", "sub", BINDING],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
        return claims

    def _check_time(self, claims: Mapping[str, object]) -> None:
        now, issued, expires = self._now(), _seconds(claims["iat"]), _seconds(claims["exp"])
        if not abs(now - issued) <= MAX_AGE:
            raise CredentialsRefused(f"a token that is not from the last {MAX_AGE:g} seconds; are the clocks right?")
        if not now < expires:
            raise CredentialsRefused("a token that has expired")
        if "nbf" in claims and not _seconds(claims["nbf"]) <= now:
            raise CredentialsRefused("a token that is not valid yet")

    def __repr__(self) -> str:
        return f"<TokenVerifier, {self._algorithm}>"


def _seconds(value: object) -> float:
    """A NumericDate. JSON has integers of any length here, and NaN: neither is a time."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise ValueError("a time that is none")
    return float(value)


def _check_subject(subject: object) -> str:
    if not isinstance(subject, str) or not subject or not subject.isprintable():
        raise ValueError("a token's subject is printable text")
    return subject


def _check_key(algorithm: str, key: object) -> None:
    kinds = _KEYS.get(algorithm)
    if kinds is None:
        raise ValueError(f"the algorithm is one of {', '.join(_KEYS)}, not {algorithm!r}")
    if not isinstance(key, kinds):
        raise TypeError(f"{algorithm} takes no {type(key).__name__}")
    if isinstance(key, bytes):
        _check_hmac_key(algorithm, key)
    elif isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey) and key.key_size not in _RSA_KEY_BITS:
        raise ValueError("an RSA key has 2,048 to 4,096 bits here")
    elif isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey) and not isinstance(
        key.curve, ec.SECP256R1
    ):
        raise ValueError("ES256 takes a key of P-256")


def _check_hmac_key(algorithm: str, key: bytes) -> None:
    if len(key) < _HMAC_KEY_SIZE:
        raise ValueError(f"a secret for {algorithm} has {_HMAC_KEY_SIZE} random bytes at least")
    try:
        jwt.get_algorithm_by_name(algorithm).prepare_key(key)
    except InvalidKeyError:  # a public key in PEM or OpenSSH's form: everybody knows it
        raise ValueError(f"{algorithm} takes a secret, and this is a key for another algorithm") from None
