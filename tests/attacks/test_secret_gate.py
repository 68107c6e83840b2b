"""The attacker without the group's secret: he costs a server behind the gate a hash, and never an X25519."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.protocol.codes import AlertCode
from securestream.protocol.handshake import ClientHandshake, SecretPolicy, ServerHandshake
from securestream.protocol.messages import Kind, encode_alert_frame, encode_frame
from securestream.protocol.mlkem import DecapsulationKey

from ..protocol.support import (
    BOTH_SUITES,
    DEFAULTS,
    KEM_EPHEMERAL,
    OTHER_KEY,
    OTHER_SECRET,
    SECRET,
    SERVER_KEY,
    body,
    flipped,
    new_client,
    outcome,
)
from .attackers import E_END, with_e, with_route
from .support import DEADLINE, Multiplications, said_by_server

if TYPE_CHECKING:
    from trio.testing import MockClock

pytestmark = pytest.mark.shows("secret-gate")


def fresh_server() -> ServerHandshake:
    """As `wrap_server` makes it: its public key isn't known yet, nor its ephemeral."""
    return ServerHandshake(
        key=ss.PrivateKey(bytes(SERVER_KEY)),
        suites=BOTH_SUITES,
        secrets=[SECRET, ss.SharedSecret(bytes(range(2, 34)))],
        secret_policy=SecretPolicy.REQUIRED,
        post_quantum=DEFAULTS.post_quantum,
    )


def hellos_of_outsiders() -> dict[str, bytes]:
    """What may be said by whoever has seen any number of good hellos, and has not the secret."""
    genuine = new_client(secret=SECRET).hello()
    other = new_client(secret=SECRET, ephemeral=OTHER_KEY).hello()
    return {
        "no secret": new_client().hello(),
        "another secret": new_client(secret=OTHER_SECRET).hello(),
        "a tag of zeros": genuine[:-16] + bytes(16),
        "the tag of another hello": genuine[:-16] + other[-16:],
        "his own session key before a captured tag": with_e(bytes(OTHER_KEY.public_key))(genuine),
        "another route before a captured tag": with_route(bytes(48))(genuine),
        "another list of suites before a captured tag": genuine[:9] + b"\2\1" + genuine[11:],
        "the secret's public derivation for a tag": genuine[:-16] + SECRET.psk[:16],
        "the mode taken off": encode_frame(Kind.HELLO, genuine[3:7] + b"\0" + genuine[8:E_END]),
    }


def hybrid_hellos_of_outsiders() -> dict[str, bytes]:
    """The same with the KEM's key, which a genuine hello has encrypted."""
    genuine = new_client(secret=SECRET, post_quantum="prefer").hello()
    his, zeros = KEM_EPHEMERAL.public_bytes, bytes(16)
    return {
        "his own KEM key under a tag of zeros": genuine[:E_END] + his + zeros + zeros,
        "his own KEM key before a captured tag": genuine[:E_END] + his + genuine[-32:],
        "bytes that are no KEM key": genuine[:E_END] + b"\xff" * 1_184 + zeros + zeros,
        "his own KEM key and no secret": encode_frame(Kind.HELLO, genuine[3:7] + b"\2" + genuine[8:E_END] + his),
    }


every_outsider = pytest.mark.parametrize("name", hellos_of_outsiders())


@every_outsider
def test_an_outsider_is_turned_away_without_an_x25519(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hello, counted = body(hellos_of_outsiders()[name], Kind.HELLO), Multiplications(monkeypatch)
    assert outcome(fresh_server().hello, hello) is AlertCode.BAD_SECRET
    assert counted.count == 0


@pytest.mark.parametrize("name", hybrid_hellos_of_outsiders())
def test_an_outsider_is_turned_away_without_any_work_of_the_kem(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DEFAULTS, "post_quantum", "prefer")
    hello, counted = body(hybrid_hellos_of_outsiders()[name], Kind.HELLO), Multiplications(monkeypatch)
    assert outcome(fresh_server().hello, hello) is AlertCode.BAD_SECRET
    assert (counted.count, counted.kem) == (0, 0)


def test_a_member_of_the_group_with_a_kem_key_that_is_none_is_no_outsider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DEFAULTS, "post_quantum", "prefer")
    e1 = DecapsulationKey.generate()
    e1.public_bytes = b"\xff" * 1_184
    client = ClientHandshake(
        key=OTHER_KEY, server_key=None, suites=BOTH_SUITES, secret=SECRET, post_quantum="prefer", kem_ephemeral=e1
    )
    assert outcome(fresh_server().hello, body(client.hello(), Kind.HELLO)) is AlertCode.PROTOCOL_ERROR


def test_no_flipped_bit_of_a_good_hello_gets_an_x25519_out_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = body(new_client(secret=SECRET).hello(), Kind.HELLO)
    counted = Multiplications(monkeypatch)
    for bit in range(8 * len(genuine)):
        assert isinstance(outcome(fresh_server().hello, flipped(genuine, bit)), AlertCode)
    assert counted.count == 0


def test_the_control_a_member_of_the_group_does_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = body(new_client(secret=SECRET).hello(), Kind.HELLO)
    counted = Multiplications(monkeypatch)
    fresh_server().hello(genuine)
    assert counted.count > 0
    assert counted.kem == (DEFAULTS.post_quantum == "prefer")


def gated() -> ss.ServerConfig:
    """A server behind the gate, whose public key nobody has computed yet."""
    key = ss.PrivateKey(bytes(SERVER_KEY))
    return ss.ServerConfig(
        key=key, authorize=ss.ANYONE, secrets=[SECRET], require_secret=True, post_quantum=DEFAULTS.post_quantum
    )


@every_outsider
async def test_an_outsider_gets_one_alert_and_the_end_and_no_x25519(
    name: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    hello, config, counted = hellos_of_outsiders()[name], gated(), Multiplications(monkeypatch)
    said = await said_by_server(hello, config, ss.BadSecret)
    assert said == encode_alert_frame(AlertCode.BAD_SECRET)
    assert counted.count == 0


@pytest.mark.parametrize("said", [b"", b"\0", bytes(90), b"GET / HTTP/1.1\r\n\r\n", b"\x6b\0\1" + bytes(104)], ids=len)
async def test_garbage_gets_no_x25519_either(
    said: bytes, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    config, counted = gated(), Multiplications(monkeypatch)
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(said)
    await near.send_eof()
    with trio.fail_after(DEADLINE), pytest.raises(ss.HandshakeError):
        await ss.wrap_server(far, config)
    assert counted.count == 0
