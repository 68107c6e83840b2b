"""The attacker without the group's secret: he costs a server behind the gate a hash, and never an X25519."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.protocol.codes import AlertCode
from securestream.protocol.handshake import SecretPolicy, ServerHandshake
from securestream.protocol.messages import Kind, encode_alert_frame

from ..protocol.support import (
    BOTH_SUITES,
    OTHER_KEY,
    OTHER_SECRET,
    SECRET,
    SERVER_KEY,
    body,
    flipped,
    new_client,
    outcome,
)
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
        "his own session key before a captured tag": genuine[:-48] + bytes(OTHER_KEY.public_key) + genuine[-16:],
        "another route before a captured tag": genuine[:11] + bytes(48) + genuine[59:],
        "another list of suites before a captured tag": genuine[:9] + b"\2\1" + genuine[11:],
        "the secret's public derivation for a tag": genuine[:-16] + SECRET.psk[:16],
        "the mode taken off": b"\x5b\0\1" + genuine[3:7] + b"\0" + genuine[8:-16],
    }


OUTSIDERS = hellos_of_outsiders()
every_outsider = pytest.mark.parametrize("name", OUTSIDERS)


@every_outsider
def test_an_outsider_is_turned_away_without_an_x25519(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Multiplications(monkeypatch)
    assert outcome(fresh_server().hello, body(OUTSIDERS[name], Kind.HELLO)) is AlertCode.BAD_SECRET
    assert counted.count == 0


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


def gated() -> ss.ServerConfig:
    """A server behind the gate, whose public key nobody has computed yet."""
    key = ss.PrivateKey(bytes(SERVER_KEY))
    return ss.ServerConfig(key=key, authorize=ss.ANYONE, secrets=[SECRET], require_secret=True)


@every_outsider
async def test_an_outsider_gets_one_alert_and_the_end_and_no_x25519(
    name: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    config, counted = gated(), Multiplications(monkeypatch)
    said = await said_by_server(OUTSIDERS[name], config, ss.BadSecret)
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
