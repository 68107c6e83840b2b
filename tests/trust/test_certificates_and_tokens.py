"""What holds for certificates, tokens and P-256 alone."""

from __future__ import annotations

import base64
import datetime as dt
import json
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

import securestream as ss
from securestream.protocol.credentials import decode_parts_untrusted, encode_parts
from securestream.trust.credentials import certificates, ecdsa, tokens
from securestream.trust.credentials.certificates import CertificateCredentials, CertificateVerifier
from securestream.trust.credentials.ecdsa import EcdsaCredentials, EcdsaVerifier
from securestream.trust.credentials.tokens import TokenCredentials, TokenHolder, TokenVerifier, binding_of

from ..protocol.support import loaded_again
from .credential_kinds import (
    ED25519_KEY,
    OTHER_P256_KEY,
    P256_KEY,
    P384_KEY,
    RSA_KEY,
    START,
    STATEMENT,
    Clock,
    listed,
    self_signed,
)
from .test_credentials import refusal

if TYPE_CHECKING:
    from types import ModuleType

    from securestream.trust.credentials.certificates import Chain

pytestmark = pytest.mark.shows("credentials")

# --- certificates ------------------------------------------------------------------------------------------

LEAF, OTHER = self_signed(P256_KEY), self_signed(OTHER_P256_KEY, "ca")


async def everybody(chain: Chain) -> object:
    return [certificate.serial_number for certificate in chain]


def verifier_of_certificates() -> CertificateVerifier:
    return CertificateVerifier(everybody, now=Clock())


async def test_the_whole_chain_is_checked_the_leaf_first() -> None:
    shown = CertificateCredentials(P256_KEY, [LEAF, OTHER])(STATEMENT)
    seen: list[Chain] = []

    async def check(chain: Chain) -> str:
        seen.append(chain)
        return "somebody"

    assert await CertificateVerifier(check, now=Clock()).verify(shown, STATEMENT) == "somebody"
    assert seen == [(LEAF, OTHER)]


async def test_another_certificate_cannot_be_put_in_front_of_a_signature() -> None:
    signature, leaf = decode_parts_untrusted(CertificateCredentials(P256_KEY, [LEAF])(STATEMENT))
    other = OTHER.public_bytes(serialization.Encoding.DER)
    assert "does not hold" in await refusal(verifier_of_certificates(), encode_parts([signature, other, leaf]))


async def test_the_chain_is_not_asked_about_before_the_signature_holds() -> None:
    async def check(chain: Chain) -> None:
        pytest.fail("was asked")

    signature, leaf = decode_parts_untrusted(CertificateCredentials(P256_KEY, [LEAF])(STATEMENT))
    await refusal(CertificateVerifier(check, now=Clock()), encode_parts([signature[::-1], leaf]))


@pytest.mark.parametrize(
    ("days", "text"), [(-3, "not valid yet"), (3, "has expired")], ids=["not valid yet", "expired"]
)
async def test_every_certificate_that_is_shown_has_to_be_valid_now(days: int, text: str) -> None:
    early = self_signed(OTHER_P256_KEY, start=START - dt.timedelta(days=30))
    clock = Clock()
    clock.now += days * 86_400
    for chain in ([LEAF], [LEAF, early]):
        shown = CertificateCredentials(P256_KEY, chain)(STATEMENT)
        assert text in await refusal(CertificateVerifier(everybody, now=clock), shown)


async def test_keys_that_are_too_weak_or_of_another_kind_are_refused() -> None:
    for key in (rsa.generate_private_key(65_537, 1_024), ec.generate_private_key(ec.SECP521R1())):
        certificate = self_signed(key)
        with pytest.raises(ValueError, match="none of Ed25519, ECDSA P-256 or P-384, or RSA"):
            CertificateCredentials(key, [certificate])
        der = certificate.public_bytes(serialization.Encoding.DER)
        await refusal(verifier_of_certificates(), encode_parts([b"signature", der]))


async def test_too_many_certificates_and_too_long_ones_are_refused() -> None:
    signature, leaf = decode_parts_untrusted(CertificateCredentials(P256_KEY, [LEAF] * 7)(STATEMENT))[:2]
    await refusal(verifier_of_certificates(), encode_parts([signature]))
    await refusal(verifier_of_certificates(), encode_parts([signature, leaf, bytes(16_385)]))
    with pytest.raises(ValueError, match="1 to 7 certificates"):
        CertificateCredentials(P256_KEY, [LEAF] * 8)
    with pytest.raises(ValueError, match="1 to 7 certificates"):
        CertificateCredentials(P256_KEY, [])


def test_a_key_that_is_not_the_certificate_s_is_refused_when_it_is_given() -> None:
    with pytest.raises(ValueError, match="not that of the first certificate"):
        CertificateCredentials(OTHER_P256_KEY, [LEAF])


async def test_a_check_that_answers_false_takes_nobody() -> None:
    async def check(chain: Chain) -> bool:
        return False

    shown = CertificateCredentials(P256_KEY, [LEAF])(STATEMENT)
    with pytest.raises(TypeError, match="refuses by raising PermissionError"):
        await CertificateVerifier(check, now=Clock()).verify(shown, STATEMENT)


async def test_what_the_check_says_is_what_the_peer_is_told_but_not_what_the_system_says() -> None:
    shown = CertificateCredentials(P256_KEY, [LEAF])(STATEMENT)
    assert await refusal(CertificateVerifier(listed(), now=Clock()), shown) == "a certificate that is not trusted here"

    async def broken(chain: Chain) -> None:
        raise PermissionError(13, "Permission denied", "/etc/ca.pem")

    with pytest.raises(PermissionError) as caught:
        await CertificateVerifier(broken, now=Clock()).verify(shown, STATEMENT)
    assert not isinstance(caught.value, ss.CredentialsRefused)


# --- P-256 -------------------------------------------------------------------------------------------------


def test_keys_of_other_curves_and_bytes_that_are_no_point_are_refused_when_they_are_listed() -> None:
    with pytest.raises(ValueError, match="secp384r1, not P-256"):
        EcdsaCredentials(P384_KEY)
    with pytest.raises(ValueError, match="33 bytes here"):
        EcdsaVerifier([ss.TrustedKey(bytes(32), "alice")])
    with pytest.raises(ValueError, match="no P-256 public key"):
        EcdsaVerifier([ss.TrustedKey(b"\2" + b"\xff" * 32, "alice")])


@pytest.mark.parametrize("signature", [bytes(64), b"\xff" * 64, bytes(31) + b"\1" + bytes(32)])
async def test_signatures_out_of_bounds_are_refused(signature: bytes) -> None:
    mine = EcdsaCredentials(P256_KEY)
    verifier = EcdsaVerifier([ss.TrustedKey(mine.public_key, "alice")])
    assert "does not hold" in await refusal(verifier, mine.public_key + signature)


# --- tokens ------------------------------------------------------------------------------------------------

NOW = START.timestamp()
SECRET = bytes(range(32))
PEM = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
GOOD: dict[str, object] = {"sub": "alice", "iat": NOW, "exp": NOW + 20, "transcript": binding_of(STATEMENT)}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(claims: object, header: dict[str, object] | None = None) -> bytes:
    """A token under SECRET with any header and claims, well signed."""
    body = f"{b64(json.dumps(header or {'alg': 'HS256'}).encode())}.{b64(json.dumps(claims).encode())}".encode()
    return body + b"." + b64(jwt.get_algorithm_by_name("HS256").sign(body, SECRET)).encode()


def verifier_of_tokens(**options: str) -> TokenVerifier:
    return TokenVerifier(SECRET, "HS256", now=Clock(), **options)


async def test_the_holder_has_name_and_claims() -> None:
    holder = await verifier_of_tokens().verify(token({**GOOD, "role": "reader"}), STATEMENT)
    assert holder == TokenHolder("alice", MappingProxyType({**GOOD, "role": "reader"}))
    assert "reader" not in repr(holder)


@pytest.mark.parametrize("ahead", [-30, 30])
async def test_a_token_of_the_last_thirty_seconds_is_taken_also_where_clocks_differ(ahead: int) -> None:
    claims = {**GOOD, "iat": NOW + ahead, "exp": NOW + 60}
    assert (await verifier_of_tokens().verify(token(claims), STATEMENT)).name == "alice"


BAD_CLAIMS: dict[str, dict[str, object]] = {
    "too old": {"iat": NOW - 30.001},
    "too far ahead": {"iat": NOW + 30.001},
    "expired": {"exp": NOW},
    "not valid yet": {"nbf": NOW + 1},
    "a time that is no number": {"exp": "tomorrow"},
    "a time as a boolean": {"iat": True},
    "a time that is not one": {"iat": float("nan")},
    "an endless time": {"exp": float("inf")},
    "a time before 1970": {"iat": -NOW},
    "a time of three hundred digits": {"exp": 10**300},
    "no time": {"iat": None},
    "no end": {"exp": None},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that steers a terminal": {"sub": "\x1b[2J"},
    "a subject that is a number": {"sub": 7},
    "another connection": {"transcript": binding_of(b"another")},
    "a binding in another form": {"transcript": binding_of(STATEMENT) + "="},
    "a binding beyond ASCII": {"transcript": "\ud800"},
    "a binding that is a list": {"transcript": [binding_of(STATEMENT)]},
    "no binding": {"transcript": None},
}


@pytest.mark.parametrize("bad", BAD_CLAIMS)
async def test_a_token_whose_claims_are_wrong_is_refused(bad: str) -> None:
    claims = {name: value for name, value in {**GOOD, **BAD_CLAIMS[bad]}.items() if value is not None}
    await refusal(verifier_of_tokens(), token(claims))


@pytest.mark.parametrize("claims", [[], "text", 7, None, [GOOD]])
async def test_claims_that_are_no_object_are_refused(claims: object) -> None:
    await refusal(verifier_of_tokens(), token(claims))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": ""},
        {"alg": None},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {"alg": ["HS256"]},
        {"typ": "JWT"},
        {"alg": "HS256", "crit": ["exp"]},
        {"alg": "HS256", "b64": False, "crit": ["b64"]},
    ],
    ids=str,
)
async def test_the_algorithm_is_the_verifier_s_whatever_the_token_says(header: dict[str, object]) -> None:
    await refusal(verifier_of_tokens(), token(GOOD, header))


async def test_a_token_without_a_signature_is_refused() -> None:
    for verifier in (verifier_of_tokens(), TokenVerifier(RSA_KEY.public_key(), "RS256", now=Clock())):
        await refusal(verifier, jwt.encode(GOOD, "", algorithm="none").encode())
        await refusal(verifier, token(GOOD).rpartition(b".")[0] + b".")


async def test_a_public_key_is_never_taken_for_a_secret() -> None:
    header = json.dumps({"alg": "HS256"}).encode()
    body = f"{b64(header)}.{b64(json.dumps(GOOD).encode())}".encode()
    algorithm = jwt.get_algorithm_by_name("HS256")
    forged = body + b"." + b64(algorithm.sign(body, PEM)).encode()
    await refusal(TokenVerifier(RSA_KEY.public_key(), "RS256", now=Clock()), forged)
    with pytest.raises(ValueError, match="this is a key for another algorithm"):
        TokenVerifier(PEM, "HS256")


async def test_issuer_and_audience_are_checked_where_they_are_given() -> None:
    shown = token({**GOOD, "iss": "login", "aud": ["orders", "stock"]})
    await verifier_of_tokens(issuer="login", audience="orders").verify(shown, STATEMENT)
    for options in ({"issuer": "other", "audience": "orders"}, {"audience": "others"}, {}):
        await refusal(verifier_of_tokens(**options), shown)
    for options in ({"issuer": "login"}, {"audience": "orders"}):
        await refusal(verifier_of_tokens(**options), token(GOOD))


@pytest.mark.parametrize("deep", [b"[" * 6_000, b'{"a":' * 1_200], ids=["lists", "objects"])
async def test_a_header_that_is_nested_without_end_is_refused(deep: bytes) -> None:
    shown = f"{b64(deep)}.e30.AAAA".encode()[:8_192]
    await refusal(verifier_of_tokens(), shown)


async def test_a_token_that_is_too_long_is_not_read() -> None:
    shown = token({**GOOD, "more": "x" * 8_192})
    assert "1 to 8,192 bytes" in await refusal(verifier_of_tokens(), shown)


def test_keys_that_do_not_go_with_the_algorithm_are_refused_when_they_are_given() -> None:
    with pytest.raises(ValueError, match="one of EdDSA"):
        TokenVerifier(SECRET, "none")
    with pytest.raises(TypeError, match="EdDSA takes no bytes"):
        TokenVerifier(SECRET, "EdDSA")
    with pytest.raises(TypeError, match="HS256 takes no"):
        TokenVerifier(RSA_KEY.public_key(), "HS256")
    with pytest.raises(TypeError, match="RS256 takes no"):
        TokenVerifier(ED25519_KEY.public_key(), "RS256")
    with pytest.raises(ValueError, match="32 random bytes at least"):
        TokenVerifier(SECRET[:31], "HS256")
    with pytest.raises(ValueError, match="2,048 to 4,096"):
        TokenVerifier(rsa.generate_private_key(65_537, 1_024).public_key(), "PS256")
    with pytest.raises(ValueError, match="P-256"):
        TokenCredentials(P384_KEY, "ES256", subject="alice")


@pytest.mark.parametrize("lifetime", [0, -1, 30.1, float("nan"), float("inf")])
def test_a_token_is_made_for_thirty_seconds_at_most(lifetime: float) -> None:
    with pytest.raises(ValueError, match="30 seconds at most"):
        TokenCredentials(SECRET, "HS256", subject="alice", lifetime=lifetime)


async def test_a_program_s_claims_do_not_replace_what_binds_the_token() -> None:
    mine = TokenCredentials(SECRET, "HS256", subject="alice", claims={"transcript": "x", "exp": 0}, now=Clock())
    assert (await verifier_of_tokens().verify(mine(STATEMENT), STATEMENT)).name == "alice"
    assert SECRET.hex() not in repr(mine)


# --- without the extra -------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [certificates, ecdsa, tokens], ids=lambda module: module.__name__)
def test_where_the_extra_is_missing_the_import_says_so(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for missing in ("cryptography", "cryptography.exceptions", "cryptography.x509", "jwt"):
        monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"pip install 'securestream\[credentials\]'"):
        loaded_again(module)
