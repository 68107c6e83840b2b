"""The faults of the program of 2021 that this protocol descends from, each shown not to be here.

`docs/protocol.md`, "Where it comes from, and what it mends".
"""

from __future__ import annotations

import struct

import pytest

from securestream.protocol.codes import AlertCode
from securestream.protocol.handshake import SecretPolicy, ServerHandshake
from securestream.protocol.messages import FrameReader, Kind
from securestream.protocol.records import End, RecordReader, RecordWriter
from securestream.protocol.suites import RecordType, Suite

from .support import (
    CLIENT_KEY,
    KEY,
    OTHER_KEY,
    SECRET,
    SERVER_EPHEMERAL,
    SERVER_KEY,
    body,
    flush,
    new_client,
    new_forged,
    new_pair,
    new_server,
    receive,
    refusal,
    shake_hands,
)

pytestmark = pytest.mark.usefixtures("backend")


def test_a_cut_between_two_records_does_not_look_like_an_end(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    first, _, _ = flush(writer, b"pay 100"), flush(writer, b"0 back"), writer.control(RecordType.CLOSE)
    assert receive(reader, first) == b"pay 100"
    reader.feed_eof()
    assert reader.end is End.TRUNCATED


def test_data_after_the_final_tag_is_not_accepted() -> None:
    forger, reader = new_forged(Suite.XCHACHA20_POLY1305)
    wire = forger.record(RecordType.CLOSE) + forger.record(RecordType.DATA, b"after the end")
    assert receive(reader, wire) == b""
    assert reader.end is End.CLOSED


@pytest.mark.parametrize("size", [0, 1, 2, 60_000])
def test_a_plain_length_that_can_not_be_ends_the_stream_and_does_not_crash(suite: Suite, size: int) -> None:
    forger, reader = new_forged(suite)
    assert receive(reader, forger.record(RecordType.DATA, b"content", size=size)) == b""
    assert reader.end is End.FAILED


def test_a_plain_length_larger_than_the_record_leaks_no_stale_plaintext(suite: Suite) -> None:
    forger, reader = new_forged(suite)
    old, bad = (
        forger.record(RecordType.DATA, b"old secret " * 1_000),
        forger.record(RecordType.DATA, b"new", size=3 + 1_000),
    )
    assert receive(reader, old) == b"old secret " * 1_000
    assert receive(reader, bad) == b""
    assert reader.end is End.FAILED


@pytest.mark.parametrize("length", [0, 1, 2, 60_000, 65_535])
def test_an_envelope_length_that_can_not_be_ends_the_stream_without_any_key(suite: Suite, length: int) -> None:
    reader = RecordReader(suite, KEY, expects_verdict=False)
    prefix = bytes(24) if suite is Suite.XCHACHA20_POLY1305 else b""
    assert receive(reader, prefix + struct.pack("<H", length)) == b""
    assert reader.end is End.FAILED
    frames = FrameReader()
    frames.feed(struct.pack("<HB", length, Kind.HELLO))
    assert refusal(frames.next_frame, {Kind.HELLO}) is AlertCode.PROTOCOL_ERROR


@pytest.mark.parametrize("size", [16_357, 16_358, 16_384, 1_000_000])
def test_a_write_of_any_size_works_and_so_does_the_next(suite: Suite, size: int) -> None:
    writer, reader = new_pair(suite)
    assert receive(reader, flush(writer, b"x" * size)) == b"x" * size
    assert receive(reader, flush(writer, b"next")) == b"next"


def test_coalesced_records_do_not_break_the_reader(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    assert receive(reader, b"".join(flush(writer, bytes([n])) for n in range(100))) == bytes(range(100))


def test_fragmented_records_do_not_break_the_reader(suite: Suite) -> None:
    wire = flush(RecordWriter(suite, KEY), b"x" * 500)
    reader = RecordReader(suite, KEY, expects_verdict=False)
    assert receive(reader, *(wire[at : at + 3] for at in range(0, len(wire), 3))) == b"x" * 500


def test_the_version_is_checked() -> None:
    hello = bytearray(body(new_client().hello(), Kind.HELLO))
    hello[3:4] = b"2"
    assert refusal(new_server().hello, bytes(hello)) is AlertCode.UNSUPPORTED_VERSION


# --- the server tells its long-term key to anyone ---------------------------------------------------


def answers(server: ServerHandshake, hello: bytes) -> bool:
    server.hello(body(hello, Kind.HELLO))
    return True


def test_the_server_does_not_show_its_key_on_the_wire() -> None:
    server = new_server()
    assert answers(server, new_client().hello())
    assert bytes(SERVER_KEY.public_key) not in server.challenge()


def test_a_server_that_requires_the_route_shows_its_key_to_nobody_who_does_not_know_it() -> None:
    server = new_server(require_route=True)
    prober = new_client(key=OTHER_KEY, server_key=None)
    assert refusal(server.hello, body(prober.hello(), Kind.HELLO)) is AlertCode.UNKNOWN_SERVER_KEY
    assert answers(new_server(require_route=True), new_client().hello())


def test_a_server_behind_the_secret_shows_its_key_to_nobody_who_does_not_have_it() -> None:
    server = new_server(secrets=[SECRET], secret_policy=SecretPolicy.REQUIRED)
    assert refusal(server.hello, body(new_client().hello(), Kind.HELLO)) is AlertCode.BAD_SECRET


# --- the handshake that fell in 40 of 40 runs -------------------------------------------------------


def test_a_proof_taken_out_of_a_genuine_challenge_is_no_proof_under_another_session_key() -> None:
    client, server = new_client(), new_server()
    hello = client.hello()
    assert answers(server, hello)
    genuine = body(server.challenge(), Kind.CHALLENGE)
    attacker = new_server(key=OTHER_KEY, ephemeral=OTHER_KEY)
    attacker.hello(body(new_client(server_key=None).hello(), Kind.HELLO))
    own = body(attacker.challenge(), Kind.CHALLENGE)
    assert genuine[:32] == bytes(SERVER_EPHEMERAL.public_key)
    # The attacker's session key with the server's sealed key and proof behind it, and every other mixture.
    for e, s, payload in [(own, genuine, genuine), (own, own, genuine), (own, genuine, own), (genuine, own, own)]:
        victim = new_client()
        victim.hello()
        assert refusal(victim.challenge, e[:32] + s[32:80] + payload[80:]) is AlertCode.PROTOCOL_ERROR


def test_a_peer_that_is_client_and_server_can_not_be_made_to_prove_for_another() -> None:
    """What one side proves as a client is no challenge, and what it proves as a server is no response."""
    client, server = new_client(key=SERVER_KEY), new_server()
    assert answers(server, client.hello())
    challenge = body(server.challenge(), Kind.CHALLENGE)
    client.challenge(challenge)
    response = body(client.response(), Kind.RESPONSE)
    victim = new_client()
    victim.hello()
    assert refusal(victim.challenge, bytes(SERVER_EPHEMERAL.public_key) + response) is AlertCode.PROTOCOL_ERROR
    assert refusal(server.response, challenge[32:]) is AlertCode.BAD_RESPONSE


def test_a_client_is_not_answered_by_its_own_reflection() -> None:
    client = new_client()
    hello = body(client.hello(), Kind.HELLO)
    assert refusal(client.challenge, hello) is AlertCode.PROTOCOL_ERROR
    frames = FrameReader()
    frames.feed(new_client().hello())
    assert refusal(frames.next_frame, {Kind.CHALLENGE, Kind.ALERT}) is AlertCode.PROTOCOL_ERROR


def test_a_stream_reflected_to_its_writer_is_not_read(suite: Suite) -> None:
    client, server = new_client(suites=[suite]), new_server()
    shake_hands(client, server)
    own = client.split()
    assert own.send != own.receive
    reader = RecordReader(suite, own.receive, expects_verdict=False)
    assert receive(reader, flush(RecordWriter(suite, own.send), b"text")) == b""
    assert reader.end is End.FAILED


def test_a_man_in_the_middle_is_seen_by_the_key_that_he_can_prove() -> None:
    client, attacker = new_client(), new_server(key=OTHER_KEY)
    attacker.hello(body(client.hello(), Kind.HELLO))
    shown = client.challenge(body(attacker.challenge(), Kind.CHALLENGE))
    assert shown == OTHER_KEY.public_key != SERVER_KEY.public_key
    assert CLIENT_KEY.public_key != shown
