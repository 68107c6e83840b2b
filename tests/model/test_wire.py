"""The model's messages, h and keys, computed with real functions, are those that the code sends and derives."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from securestream.protocol.handshake import SecretPolicy
from securestream.protocol.keys import PrivateKey, SharedSecret
from securestream.protocol.messages import Kind
from securestream.protocol.mlkem import EncapsulationKey
from securestream.protocol.suites import Suite
from tests.model.attacker import PSK, static
from tests.model.concrete import Evaluation
from tests.model.handshake_model import (
    C_PARTY,
    CHOSEN,
    CLIENT,
    HEARD_CREDENTIALS,
    HEARD_E,
    HEARD_E1,
    HEARD_OFFER,
    HEARD_ROUTE,
    KEM_RANDOM,
    MIDDLEBOX,
    NO_FLAWS,
    OFFER,
    PAYLOAD,
    RE,
    S_PARTY,
    SERVER,
    SUITE,
    ClientRun,
    ServerRun,
)
from tests.model.noise_model import PATTERNS, Transcript, encapsulated, is_hybrid, kem_output, kem_public
from tests.protocol.support import KEM_EPHEMERAL, body, new_client, new_server, repeatable_kem

if TYPE_CHECKING:
    from securestream.protocol.hybrid import PostQuantum
    from tests.model.terms import Term

pytestmark = pytest.mark.shows("model")

CLIENT_KEY, SERVER_KEY, R_KEY, CLIENT_E, SERVER_E = (PrivateKey(bytes([number]) * 32) for number in range(1, 6))
SECRET = SharedSecret(bytes(range(64)))
PAYLOADS = (b"for anyone who says hello", b"token")
OFFERED = bytes([2, Suite.XCHACHA20_POLY1305.value, Suite.AEGIS_256.value])


@dataclass(frozen=True)
class Wire:
    """What the code sends, and what it derives at the end."""

    hello: bytes
    challenge: bytes
    response: bytes
    handshake_hash: bytes
    to_server: bytes
    to_client: bytes
    suite: bytes


def wire(pattern: str) -> Wire:
    secret = SECRET if "psk0" in pattern else None
    post_quantum: PostQuantum = "require" if is_hybrid(pattern) else "off"
    client = new_client(
        key=CLIENT_KEY,
        server_key=SERVER_KEY.public_key,
        middlebox_key=R_KEY.public_key,
        suites=(Suite.XCHACHA20_POLY1305, Suite.AEGIS_256),
        secret=secret,
        post_quantum=post_quantum,
        ephemeral=CLIENT_E,
    )
    policy = SecretPolicy.REQUIRED if secret else SecretPolicy.OFF
    secrets = [secret] if secret else []
    server = new_server(
        key=SERVER_KEY, secrets=secrets, secret_policy=policy, post_quantum=post_quantum, ephemeral=SERVER_E
    )
    hello = body(client.hello(), Kind.HELLO)
    server.hello(hello)
    challenge = body(server.challenge(PAYLOADS[0]), Kind.CHALLENGE)
    client.challenge(challenge)
    response = body(client.response(PAYLOADS[1]), Kind.RESPONSE)
    server.response(response)
    suite = bytes([client.session.suite.value])
    keys = client.split()
    return Wire(hello, challenge, response, client.session.handshake_hash, keys.send, keys.receive, suite)


def agree(real: Wire, header: bytes, t: Transcript, value: Evaluation) -> None:
    messages = [b"".join(value.bytes_of(part) for part in message) for message in t.messages]
    assert header + messages[0] == real.hello
    assert messages[1] == real.challenge
    assert messages[2] == real.response
    assert value.bytes_of(t.h[2]) == real.handshake_hash
    assert value.bytes_of(t.to_responder)[:32] == real.to_server
    assert value.bytes_of(t.to_initiator)[:32] == real.to_client


@pytest.fixture(autouse=True)
def repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    repeatable_kem(monkeypatch)


def of_the_kem(key: Term, random: Term) -> dict[Term, bytes]:
    """The client's key, and what one encapsulation to it has given."""
    ciphertext, shared = EncapsulationKey(KEM_EPHEMERAL.public_bytes).encapsulate()
    parts = kem_public(key), random
    seed = KEM_EPHEMERAL._key.private_bytes_raw()
    return {key: seed, encapsulated(*parts): ciphertext, kem_output(*parts): shared}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_model_of_the_client_is_what_the_code_does(pattern: str) -> None:
    real = wire(pattern)
    run = ClientRun(pattern, C_PARTY, SERVER, MIDDLEBOX, OFFER, SUITE, pattern, NO_FLAWS)
    value = Evaluation(
        {
            run.e: bytes(CLIENT_E),
            **of_the_kem(run.e1, KEM_RANDOM),
            static(C_PARTY): bytes(CLIENT_KEY),
            RE: bytes(SERVER_E),
            SERVER: bytes(SERVER_KEY),
            MIDDLEBOX: bytes(R_KEY),
            OFFER: OFFERED,
            SUITE: real.suite,
            PAYLOAD: PAYLOADS[0],
            run.credentials(): PAYLOADS[1],
            PSK: psk(),
        }
    )
    agree(real, value.bytes_of(run.header().wire()), run.transcript(SERVER), value)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_model_of_the_server_is_what_the_code_does(pattern: str) -> None:
    real = wire(pattern)
    run = ServerRun(pattern, S_PARTY, HEARD_OFFER, CHOSEN, NO_FLAWS)
    route_at = len("SSv1") + 1 + len(OFFERED)
    value = Evaluation(
        {
            HEARD_E: bytes(CLIENT_E),
            **of_the_kem(HEARD_E1, run.fresh("encapsulation")),
            CLIENT: bytes(CLIENT_KEY),
            run.fresh("e_server"): bytes(SERVER_E),
            static(S_PARTY): bytes(SERVER_KEY),
            HEARD_OFFER: OFFERED,
            HEARD_ROUTE: real.hello[route_at : route_at + 48],
            CHOSEN: real.suite,
            run.fresh("server_payload"): PAYLOADS[0],
            HEARD_CREDENTIALS: PAYLOADS[1],
            PSK: psk(),
        }
    )
    agree(real, value.bytes_of(run.header().wire()), run.transcript(CLIENT), value)


def psk() -> bytes:
    return hashlib.blake2b(bytes(SECRET), digest_size=32, person=b"securestream-psk").digest()
