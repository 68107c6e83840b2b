"""The attacker who has recorded everything, and says it again: to the same peers, to others, in other places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.protocol.codes import AlertCode
from securestream.protocol.handshake import SecretPolicy
from securestream.protocol.messages import Kind, decode_hello_untrusted

from ..protocol.support import (
    CLIENT_KEY,
    OTHER_KEY,
    SECRET,
    SERVER_KEY,
    body,
    new_client,
    new_server,
    refusal,
)
from ..streams.support import failure_of
from .support import DEADLINE, Direction, at, converse, every_direction, honest_configs, meet, met, tampered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock

    from securestream.protocol.handshake import ServerHandshake
    from securestream.protocol.suites import Suite

pytestmark = pytest.mark.shows("replay")


# --- to a server ----------------------------------------------------------------------------------------


def servers() -> list[ServerHandshake]:
    """The same server again, behind a secret, and with another key."""
    return [
        new_server(ephemeral=None),
        new_server(ephemeral=None, secrets=[SECRET], secret_policy=SecretPolicy.OPTIONAL),
        new_server(ephemeral=None, key=OTHER_KEY),
    ]


@pytest.mark.parametrize("number", range(3))
def test_a_handshake_played_to_a_server_again_is_refused_at_the_response(number: int) -> None:
    recorded = meet(new_client(ephemeral=None), new_server(ephemeral=None))
    assert recorded.succeeded
    server = servers()[number]
    server.hello(body(recorded.frames[Kind.HELLO], Kind.HELLO))
    server.challenge()
    assert refusal(server.response, body(recorded.frames[Kind.RESPONSE], Kind.RESPONSE)) is AlertCode.BAD_RESPONSE


def test_a_response_is_refused_behind_another_hello_of_the_same_client() -> None:
    recorded = meet(new_client(ephemeral=None), new_server(ephemeral=None))
    fresh = meet(
        new_client(ephemeral=None),
        new_server(ephemeral=None),
        lambda kind, frame: recorded.frames[kind] if kind is Kind.RESPONSE else frame,
    )
    assert fresh.error is not None
    assert fresh.error.alert_code is AlertCode.BAD_RESPONSE
    assert not fresh.server_is_done


def test_a_replayed_hello_gives_a_new_challenge_that_the_replayer_can_not_read() -> None:
    """He has the frames and not the ephemeral key behind them, so he poses as its owner with any other."""
    recorded = new_client(ephemeral=None)
    hello = body(recorded.hello(), Kind.HELLO)
    seen: set[bytes] = set()
    for _ in range(5):
        server, replayer = new_server(ephemeral=None), new_client(ephemeral=OTHER_KEY)
        server.hello(hello)
        replayer.hello()
        challenge = body(server.challenge(b"payload"), Kind.CHALLENGE)
        seen |= {challenge[:32], challenge[32:80]}
        assert refusal(replayer.challenge, challenge) is AlertCode.PROTOCOL_ERROR
    assert len(seen) == 10


async def test_a_whole_connection_played_to_the_server_again_asks_nobody_and_delivers_nothing(
    suite: Suite, autojump_clock: MockClock
) -> None:
    client, server = honest_configs(suite)
    talk = await converse((client, server))
    asked: list[ss.Peer] = []

    async def authorize(peer: ss.Peer) -> None:
        asked.append(peer)

    again = ss.ServerConfig(key=server.key, authorize=authorize, suites=[suite])
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(b"".join(talk.from_client))
    await near.send_eof()
    with trio.fail_after(DEADLINE):
        await failure_of(ss.wrap_server(far, again), ss.BadResponse)
    assert asked == []


# --- to a client ----------------------------------------------------------------------------------------


async def test_a_servers_messages_played_to_the_same_client_again_are_refused(
    suite: Suite, autojump_clock: MockClock
) -> None:
    configs = honest_configs(suite)
    recorded = await converse(configs)
    again = await converse(configs, to_client=lambda number, _: recorded.from_server[number])
    assert again.failed
    assert type(again.client.error) is ss.HandshakeError
    assert len(again.from_client) == 1


async def test_only_the_servers_verdict_of_another_connection_is_refused(
    suite: Suite, autojump_clock: MockClock
) -> None:
    configs = honest_configs(suite)
    recorded = await converse(configs)
    again = await converse(configs, to_client=at(1, lambda _: recorded.from_server[1]))
    assert again.client.received == b""
    assert type(again.client.error) is ss.HandshakeError


def test_one_clients_challenge_is_refused_by_another() -> None:
    first, second, server = new_client(), new_client(key=OTHER_KEY, ephemeral=OTHER_KEY), new_server()
    second.hello()
    server.hello(body(first.hello(), Kind.HELLO))
    assert refusal(second.challenge, body(server.challenge(), Kind.CHALLENGE)) is AlertCode.PROTOCOL_ERROR


# --- records --------------------------------------------------------------------------------------------


@every_direction
@pytest.mark.parametrize("number", [2, 3])
async def test_a_record_of_another_connection_of_the_same_peers_is_refused(
    direction: Direction, number: int, suite: Suite, autojump_clock: MockClock
) -> None:
    configs = honest_configs(suite)
    old = (await converse(configs)).seen(direction)[number]
    error = (await tampered(configs, direction, at(number, lambda _: old))).victim(direction).error
    assert isinstance(error, ss.BadRecord)
    assert error.code == "bad_record"


def test_no_key_is_ever_the_same_in_two_connections_or_two_directions(suite: Suite) -> None:
    keys = {key for _ in range(10) for key in _keys_of_both(suite)}
    assert len(keys) == 20


def _keys_of_both(suite: Suite) -> Sequence[bytes]:
    keys = met(suite).client.split()
    return keys.send, keys.receive


# --- the route ------------------------------------------------------------------------------------------


def test_a_captured_route_under_the_attackers_own_session_key_does_not_open_anywhere() -> None:
    captured = decode_hello_untrusted(body(new_client(ephemeral=None).hello(), Kind.HELLO)).route
    own = body(new_client(key=OTHER_KEY, server_key=None, ephemeral=OTHER_KEY).hello(), Kind.HELLO)
    forged = own[:8] + captured + own[56:]
    server = new_server(require_route=True)
    assert refusal(server.hello, forged) is AlertCode.UNKNOWN_SERVER_KEY


def test_two_clients_that_want_the_same_server_send_unlike_routes() -> None:
    hellos = [decode_hello_untrusted(body(new_client(ephemeral=None).hello(), Kind.HELLO)) for _ in range(5)]
    assert len({hello.route for hello in hellos}) == 5
    assert all(bytes(SERVER_KEY.public_key) not in hello.encode() for hello in hellos)
    assert all(bytes(CLIENT_KEY.public_key) not in hello.encode() for hello in hellos)
