"""The attacker who sends curve points that no honest program has, wherever a public key travels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypedDict

import pytest

import securestream as ss
from securestream.protocol import keys
from securestream.protocol.codes import AlertCode
from securestream.protocol.handshake import SecretPolicy, State
from securestream.protocol.messages import Kind

from ..protocol.support import (
    OTHER_KEY,
    SECRET,
    body,
    new_client,
    new_server,
    refusal,
)
from .attackers import with_e
from .support import Multiplications, at, claim, converse, honest_configs, meet, unchecked_key

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from securestream.protocol.suites import Suite

pytestmark = pytest.mark.shows("bad-points")

PRIME, TOP_BIT = 2**255 - 19, 2**255


def encoded(value: int) -> bytes:
    return value.to_bytes(32, "little")


GOOD = int.from_bytes(bytes(OTHER_KEY.public_key), "little")
NOT_CANONICAL = [
    *(encoded(value) for value in range(PRIME, TOP_BIT)),  # 0 to 18 once more
    *(bytes(point[:31] + bytes([point[31] | 0x80])) for point in sorted(keys.LOW_ORDER)),
    *(encoded(value + TOP_BIT) for value in (2, 9, GOOD, PRIME, PRIME + 1, TOP_BIT - 1)),
]
BAD_POINTS = [*sorted(keys.LOW_ORDER), *NOT_CANONICAL]
every_point = pytest.mark.parametrize("point", BAD_POINTS, ids=lambda point: f"{point[:2].hex()}_{point[30:].hex()}")


def is_refused_everywhere(point: bytes) -> None:
    refused_in_hello(point)
    refused_in_hello(point, secret=SECRET)
    refused_in_challenge(point)
    refused_as_servers_key(point)
    refused_as_clients_key(point)


def refused_in_hello(point: bytes, *, secret: ss.SharedSecret | None = None) -> None:
    """From a member of the group where there is a secret: what he sends is genuine but for the point."""
    hello = hello_with(point, secret)
    server = new_server(secrets=[SECRET], secret_policy=SecretPolicy.OPTIONAL)
    assert refusal(server.hello, hello) is AlertCode.PROTOCOL_ERROR
    assert server.state is State.FAILED


def hello_with(point: bytes, secret: ss.SharedSecret | None = None) -> bytes:
    """A hello around any ephemeral key; the route is of a client that knows no server."""
    client = new_client(server_key=None, secret=secret, ephemeral=claim(unchecked_key(point)))
    return body(client.hello(), Kind.HELLO)


def refused_in_challenge(point: bytes) -> None:
    client, server = new_client(), new_server()
    server.hello(body(client.hello(), Kind.HELLO))
    challenge = body(server.challenge(), Kind.CHALLENGE)
    assert refusal(client.challenge, point + challenge[32:]) is AlertCode.PROTOCOL_ERROR
    assert client.state is State.FAILED


def refused_as_servers_key(point: bytes) -> None:
    """Sealed in a challenge that is genuine otherwise, to a client that would take any server."""
    client, server = new_client(server_key=None), new_server(key=claim(unchecked_key(point)))
    server.hello(body(client.hello(), Kind.HELLO))
    assert refusal(client.challenge, body(server.challenge(), Kind.CHALLENGE)) is AlertCode.PROTOCOL_ERROR
    assert client.state is State.FAILED


def refused_as_clients_key(point: bytes) -> None:
    """Sealed in a response. Every private key makes the same of a point of low order, so `se` would be no proof."""
    meeting = meet(new_client(key=claim(unchecked_key(point))), new_server())
    assert Kind.RESPONSE in meeting.frames
    assert meeting.error is not None
    assert meeting.error.alert_code is AlertCode.BAD_RESPONSE
    assert meeting.client_key is None


@every_point
def test_a_bad_point_is_refused_wherever_a_key_travels(point: bytes) -> None:
    is_refused_everywhere(point)


@every_point
def test_a_bad_point_is_refused_wherever_a_key_is_configured(point: bytes) -> None:
    with pytest.raises(ValueError, match="not a public key"):
        ss.PublicKey(point)
    with pytest.raises(ValueError, match="not a public key"):
        ss.PublicKey.from_text(str(unchecked_key(point)))


@every_point
def test_a_bad_point_costs_a_server_no_multiplication(point: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    hello, server = hello_with(point), new_server(ephemeral=None)
    counted = Multiplications(monkeypatch)
    assert refusal(server.hello, hello) is AlertCode.PROTOCOL_ERROR
    assert counted.count == 0


@pytest.mark.parametrize("point", sorted(keys.LOW_ORDER), ids=lambda point: point[:4].hex())
def test_a_point_of_low_order_is_refused_even_if_no_list_named_it(
    point: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "LOW_ORDER", frozenset())
    is_refused_everywhere(point)


@pytest.mark.parametrize("point", [BAD_POINTS[0], BAD_POINTS[3], NOT_CANONICAL[0], NOT_CANONICAL[-1]], ids=repr)
@pytest.mark.parametrize("kind", [Kind.HELLO, Kind.CHALLENGE], ids=lambda kind: str(kind.name.lower()))
async def test_a_bad_point_put_in_on_the_way_ends_both_sides(
    kind: Kind, point: bytes, suite: Suite, autojump_clock: MockClock
) -> None:
    configs = honest_configs(suite)
    if kind is Kind.HELLO:
        talk = await converse(configs, to_server=at(0, with_e(point)))
    else:
        talk = await converse(configs, to_client=at(0, lambda unit: unit[:3] + point + unit[35:]))
    assert talk.failed
    assert len(talk.from_client) == 1


class Exchange(TypedDict):
    public: str
    shared: str


def test_every_point_of_wycheproof_that_no_honest_program_has_is_refused(vectors: Path) -> None:
    groups: list[dict[str, list[Exchange]]] = json.loads((vectors / "wycheproof_x25519.json").read_text())["testGroups"]
    points = {
        point
        for vector in groups[0]["tests"]
        if int.from_bytes(point := bytes.fromhex(vector["public"]), "little") >= PRIME
        or not any(bytes.fromhex(vector["shared"]))
    }
    assert len(points) >= 25
    for point in points:
        is_refused_everywhere(point)


@pytest.mark.parametrize("secret", [None, SECRET], ids=["XX", "XXpsk0"])
def test_a_good_point_made_the_same_way_is_taken(secret: ss.SharedSecret | None) -> None:
    server = new_server(secrets=[SECRET], secret_policy=SecretPolicy.OPTIONAL)
    server.hello(hello_with(bytes(OTHER_KEY.public_key), secret))
    assert server.state is State.HELLO_DONE
