"""Credentials of every kind that PyNaCl and the extra know: a stranger's bytes are refused with one error, always."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from securestream.protocol.credentials import CredentialsRefused, encode_parts

from ...trust.credential_kinds import KINDS, STATEMENT

if TYPE_CHECKING:
    from securestream.trust.credentials.verifier import Verifier

SHOWS = "fuzz-parsers"
PARSERS = ()

NAMES = ("ed25519", "ecdsa", "certificate-ed25519", "token-HS256", "several")
VERIFIERS = [KINDS[name]().verifier for name in NAMES]


def one_input(data: bytes) -> None:
    """The first byte chooses the kind. No seed is signed for this statement, so all of them are refused."""
    told = refusal(VERIFIERS[(data or b"\0")[0] % len(VERIFIERS)], data[1:])
    assert told
    assert told.isprintable()


def refusal(verifier: Verifier, shown: bytes) -> str:
    """What the peer is told; "" where the bytes were taken. No verifier waits for anything before it has refused."""
    coroutine = verifier.verify(shown, b"another statement")
    try:
        coroutine.send(None)
    except CredentialsRefused as exc:
        return str(exc)
    finally:
        coroutine.close()
    return ""


def seeds() -> dict[str, bytes]:
    """Those whose signatures are the same each time they are made."""
    listed, certificate, token = (
        trio.run(KINDS[name]().show, STATEMENT) for name in ("ed25519", "certificate-ed25519", "token-HS256")
    )
    ecdsa = trio.run(KINDS["ecdsa"]().show, STATEMENT)[:33] + bytes(range(64))
    made = [listed, ecdsa, certificate, token, encode_parts([listed, ecdsa])]
    named = {
        name.replace("-", "_"): bytes([n]) + shown for n, (name, shown) in enumerate(zip(NAMES, made, strict=True))
    }
    return named | {"alg_none": b"\x03eyJhbGciOiJub25lIn0.e30.AAAA", "empty": b""}
