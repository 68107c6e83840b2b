"""The attacker who broke the scheme of 2021, against that scheme, where he wins, and against ours.

Each attack is written twice with the same steps. The old proofs cover the other side's session key and nothing
of one's own, and both directions have one form; ours are Diffie-Hellmans over one transcript.
"""

from __future__ import annotations

from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from nacl.public import Box, PublicKey
from nacl.public import PrivateKey as NaClKey

import securestream as ss
from securestream.protocol.codes import AlertCode
from securestream.protocol.messages import FrameReader, Kind
from securestream.protocol.records import End

from ..protocol.support import (
    CLIENT_KEY,
    OTHER_KEY,
    SERVER_KEY,
    body,
    flush,
    new_client,
    new_server,
    receive,
    refusal,
)
from ..streams.support import in_background
from . import scheme_2021
from .attackers import E_END, E, with_e
from .support import DEADLINE, claim, converse, honest_configs, met

if TYPE_CHECKING:
    from trio.testing import MockClock

    from securestream.protocol.keys import PrivateKey
    from securestream.protocol.suites import Suite

pytestmark = pytest.mark.shows("attack-of-2021", "reflection")

RUNS = 40
SERVER_2021, CLIENT_2021, ATTACKER_2021 = (NaClKey(bytes(key)) for key in (SERVER_KEY, CLIENT_KEY, OTHER_KEY))


def test_the_model_of_2021_works_between_honest_sides() -> None:
    client = scheme_2021.Client(CLIENT_2021, bytes(SERVER_2021.public_key))
    server = scheme_2021.Server(SERVER_2021)
    response, keys = client.respond(server.challenge(client.hello()))
    assert server.finish(response) == (bytes(CLIENT_2021.public_key), keys)


def test_the_model_of_2021_refuses_another_server() -> None:
    client = scheme_2021.Client(CLIENT_2021, bytes(SERVER_2021.public_key))
    with pytest.raises(scheme_2021.Refused):
        client.respond(scheme_2021.Server(ATTACKER_2021).challenge(client.hello()))


# --- he takes the proof from a genuine challenge and swaps the session key ----------------------------


def key_told_to_anyone() -> bytes:
    """What the server of 2021 says to whoever asks."""
    session = NaClKey.generate()
    told = scheme_2021.Server(SERVER_2021).challenge(bytes(session.public_key))
    return scheme_2021.judge(told.answer, session, told.session_key)


def stand_in_2021(hello: bytes, proof: bytes) -> tuple[scheme_2021.Challenge, scheme_2021.Keys]:
    """A challenge with the attacker's session key around a proof of the server's."""
    session = NaClKey.generate()
    sealed = bytes(Box(session, PublicKey(hello)).encrypt(key_told_to_anyone()))
    forged = scheme_2021.Challenge(bytes(session.public_key), scheme_2021.Answer(sealed, proof))
    return forged, scheme_2021.keys_of(session, hello)


def test_the_proof_of_a_genuine_challenge_under_another_session_key_wins_in_2021_each_time() -> None:
    for _ in range(RUNS):
        client = scheme_2021.Client(CLIENT_2021, bytes(SERVER_2021.public_key))
        genuine = scheme_2021.Server(SERVER_2021).challenge(client.hello())
        forged, attackers_keys = stand_in_2021(client.hello(), genuine.answer.proof)
        _, keys = client.respond(forged)
        assert keys == attackers_keys


def splices(genuine: bytes, own: bytes) -> list[bytes]:
    """Every mixture of two challenges: session key, sealed long-term key, payload."""
    parts = [(challenge[:32], challenge[32:80], challenge[80:]) for challenge in (genuine, own)]
    chosen = [(e, s, p) for e in (0, 1) for s in (0, 1) for p in (0, 1) if len({e, s, p}) > 1]
    return [parts[e][0] + parts[s][1] + parts[p][2] for e, s, p in chosen]


def test_the_proof_of_a_genuine_challenge_under_another_session_key_never_wins_here() -> None:
    for _ in range(RUNS):
        client, server = new_client(ephemeral=None), new_server(ephemeral=None)
        hello = body(client.hello(), Kind.HELLO)
        server.hello(hello)
        genuine = body(server.challenge(), Kind.CHALLENGE)
        attacker = new_server(key=claim(SERVER_KEY.public_key), ephemeral=None)
        attacker.hello(hello)
        forged = attacker.challenge()
        assert refusal(client.challenge, genuine[:80] + body(forged, Kind.CHALLENGE)[80:]) is AlertCode.PROTOCOL_ERROR


@pytest.mark.parametrize("number", range(6))
def test_no_mixture_of_a_genuine_and_an_own_challenge_is_taken(number: int) -> None:
    client, server, attacker = new_client(), new_server(), new_server(key=claim(SERVER_KEY.public_key), ephemeral=None)
    hello = body(client.hello(), Kind.HELLO)
    for side in (server, attacker):
        side.hello(hello)
    mixtures = splices(body(server.challenge(), Kind.CHALLENGE), body(attacker.challenge(), Kind.CHALLENGE))
    assert refusal(client.challenge, mixtures[number]) is AlertCode.PROTOCOL_ERROR


async def test_a_session_key_swapped_on_the_way_ends_both_sides(suite: Suite, autojump_clock: MockClock) -> None:
    own = bytes(OTHER_KEY.public_key)

    def swap(number: int, unit: bytes) -> bytes:
        return unit[:3] + own + unit[35:] if number == 0 else unit

    talk = await converse(honest_configs(suite), to_client=swap)
    assert talk.failed
    assert type(talk.client.error) is ss.HandshakeError
    assert len(talk.from_client) == 1  # nothing after hello: the attacker never learns who called


# --- he lets a peer that is client and server with one key prove for him --------------------------------


def server_accepts_attacker_in_2021(server: scheme_2021.Server, oracle: scheme_2021.Server) -> bytes:
    """He gives the server's session key to the oracle as his own, and gets the proof that the server wants."""
    session = NaClKey.generate()
    challenge = server.challenge(bytes(session.public_key))
    proof = oracle.challenge(challenge.session_key).answer.proof
    sealed = bytes(Box(session, PublicKey(challenge.session_key)).encrypt(key_told_to_anyone()))
    client_key, keys = server.finish(scheme_2021.Answer(sealed, proof))
    assert keys == scheme_2021.client_keys_of(session, challenge.session_key)
    return client_key


def test_a_peer_that_is_client_and_server_proves_for_the_attacker_in_2021() -> None:
    victim, oracle = scheme_2021.Server(CLIENT_2021), scheme_2021.Server(SERVER_2021)
    assert server_accepts_attacker_in_2021(victim, oracle) == bytes(SERVER_2021.public_key)


def test_a_server_is_answered_with_its_own_reflection_in_2021() -> None:
    victim, itself = scheme_2021.Server(SERVER_2021), scheme_2021.Server(SERVER_2021)
    assert server_accepts_attacker_in_2021(victim, itself) == bytes(SERVER_2021.public_key)


@pytest.mark.parametrize("victims_key", [CLIENT_KEY, SERVER_KEY], ids=["another_peer", "itself"])
def test_no_peer_that_is_client_and_server_proves_for_the_attacker_here(victims_key: PrivateKey) -> None:
    for start, end in [(32, None), (32, 96), (33, None), (0, None), (0, 64)]:
        victim, oracle = new_server(key=victims_key, ephemeral=None), new_server(ephemeral=None)
        attacker = new_client(key=claim(SERVER_KEY.public_key), server_key=victims_key.public_key)
        victim.hello(hello := body(attacker.hello(), Kind.HELLO))
        challenge = body(victim.challenge(), Kind.CHALLENGE)
        oracle.hello(with_e(challenge[:32])(b"..." + hello)[3:])
        proof = body(oracle.challenge(), Kind.CHALLENGE)[start:end]
        assert refusal(victim.response, proof) is AlertCode.BAD_RESPONSE


# --- he answers a side with what it has said itself ------------------------------------------------------


def test_a_client_that_wants_a_server_with_its_own_key_is_not_answered_by_its_reflection() -> None:
    for start in (0, 32, len(body(new_client().hello(), Kind.HELLO)) - 32):
        client = new_client(key=SERVER_KEY)
        said = body(client.hello(), Kind.HELLO)
        assert refusal(client.challenge, (said[start:] + said)[:97]) is AlertCode.PROTOCOL_ERROR


def test_two_clients_with_one_key_are_not_answered_by_each_other() -> None:
    """Both want a server with their own key, and the attacker shows each one's frames to the other."""
    clients = [new_client(key=SERVER_KEY, ephemeral=None) for _ in range(2)]
    said = [body(client.hello(), Kind.HELLO) for client in clients]
    for client, others in zip(clients, reversed(said), strict=True):
        assert refusal(client.challenge, others[E - 3 : E_END - 3] + others) is AlertCode.PROTOCOL_ERROR


def test_a_hello_thrown_back_is_no_challenge_and_no_response() -> None:
    frames = FrameReader()
    frames.feed(new_client().hello())
    assert refusal(frames.next_frame, {Kind.CHALLENGE, Kind.ALERT}) is AlertCode.PROTOCOL_ERROR
    assert refusal(frames.next_frame, {Kind.RESPONSE}) is AlertCode.PROTOCOL_ERROR


@pytest.mark.parametrize("victim", ["client", "server"])
async def test_a_side_that_hears_only_its_own_echo_gives_up(
    victim: str, suite: Suite, autojump_clock: MockClock
) -> None:
    client, server = honest_configs(suite)
    config: ss.ClientConfig | ss.ServerConfig = client if victim == "client" else server
    near, mirror = trio.testing.memory_stream_pair()
    wrap = partial(ss.wrap_client, near, client) if victim == "client" else partial(ss.wrap_server, near, server)

    async def reflect() -> None:
        if config is server:
            await mirror.send_all(new_client().hello())
        while data := await mirror.receive_some():
            await mirror.send_all(data)
        await mirror.send_eof()

    with trio.fail_after(DEADLINE):
        async with in_background(reflect):
            with pytest.raises(ss.HandshakeError) as caught:
                await wrap()
    assert type(caught.value) is ss.HandshakeError


def test_records_thrown_back_to_their_writer_are_not_read(suite: Suite) -> None:
    for (writer, _), (_, reader) in permutations(met(suite).records()):
        reader._verdict_due = False
        assert receive(reader, flush(writer, b"text") * 2) == b""
        assert reader.end is End.FAILED
