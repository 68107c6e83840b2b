"""Client and server back to back, and everything between them that can be wrong."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base

from securestream.protocol import keys, messages, sodium
from securestream.protocol.codes import AlertCode
from securestream.protocol.errors import LocalProtocolError
from securestream.protocol.handshake import (
    TRANSITIONS,
    BaseHandshake,
    ClientHandshake,
    SecretPolicy,
    ServerHandshake,
    Session,
    State,
    Step,
)
from securestream.protocol.keys import PrivateKey, PublicKey, SharedSecret
from securestream.protocol.messages import Kind, decode_hello_untrusted, encode_alert_frame, open_route_untrusted
from securestream.protocol.suites import Suite

from .support import (
    BOTH_SUITES,
    CLIENT_EPHEMERAL,
    CLIENT_KEY,
    MIDDLEBOX_KEY,
    OTHER_KEY,
    OTHER_SECRET,
    PROPERTY,
    SECRET,
    SERVER_EPHEMERAL,
    SERVER_KEY,
    body,
    flipped,
    new_client,
    new_server,
    outcome,
    refusal,
    shake_hands,
)

if TYPE_CHECKING:
    from collections.abc import Callable

REQUIRED, OPTIONAL, OFF = SecretPolicy.REQUIRED, SecretPolicy.OPTIONAL, SecretPolicy.OFF
XCHACHA, AEGIS = BOTH_SUITES


@dataclass(frozen=True)
class Mode:
    """A way for the two to meet."""

    name: str
    secret: SharedSecret | None = None
    middlebox_key: PublicKey | None = None
    server_key: PublicKey | None = SERVER_KEY.public_key

    def both(self) -> tuple[ClientHandshake, ServerHandshake]:
        client = new_client(secret=self.secret, middlebox_key=self.middlebox_key, server_key=self.server_key)
        return client, new_server(secrets=[SECRET], secret_policy=OPTIONAL)

    def hello(self) -> tuple[ClientHandshake, ServerHandshake]:
        """Both, once hello has gone over."""
        client, server = self.both()
        server.hello(body(client.hello(), Kind.HELLO))
        return client, server


XX = Mode("XX")
WITH_SECRET = Mode("XXpsk0", secret=SECRET)
MODES = [
    XX,
    WITH_SECRET,
    Mode("middlebox", middlebox_key=MIDDLEBOX_KEY.public_key),
    Mode("secret_and_middlebox", secret=SECRET, middlebox_key=MIDDLEBOX_KEY.public_key),
    Mode("unknown_server_key", server_key=None),
]
every_mode = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)


def hello_of(client: ClientHandshake) -> bytes:
    return body(client.hello(), Kind.HELLO)


# --- agreement --------------------------------------------------------------------------------------


@every_mode
def test_both_sides_agree_on_everything(mode: Mode) -> None:
    client, server = mode.both()
    known = shake_hands(client, server, credentials=b"credentials", payload=b"payload")
    assert known == (SERVER_KEY.public_key, CLIENT_KEY.public_key)
    assert client.session == server.session
    assert len(client.session.handshake_hash) == 64
    assert (server.credentials, client.server_payload) == (b"credentials", b"payload")
    assert server.used_secret is (mode.secret is not None)
    mine, theirs = client.split(), server.split()
    assert (mine.send, mine.receive) == (theirs.receive, theirs.send)
    assert len({mine.send, mine.receive, client.handshake_hash[:32]}) == 3
    assert len(mine.send) == len(mine.receive) == 32


@every_mode
def test_the_handshake_hash_is_the_same_on_both_sides_after_each_message(mode: Mode) -> None:
    client, server = mode.both()
    seen: list[tuple[bytes, bytes]] = []
    server.hello(hello_of(client))
    seen.append((client.handshake_hash, server.handshake_hash))
    client.challenge(body(server.challenge(), Kind.CHALLENGE))
    seen.append((client.handshake_hash, server.handshake_hash))
    server.response(body(client.response(), Kind.RESPONSE))
    seen.append((client.handshake_hash, server.handshake_hash))
    assert all(a == b for a, b in seen)
    assert len(set(seen)) == 3


def test_both_sides_tell_their_own_public_key_once_noise_has_begun() -> None:
    client, server = XX.hello()
    assert (client.public_key, server.public_key) == (CLIENT_KEY.public_key, SERVER_KEY.public_key)
    assert (client.server_payload, server.credentials) == (b"", b"")  # nothing yet


def test_there_is_no_handshake_hash_before_the_first_message_or_after_a_failure() -> None:
    client, server = XX.both()
    with pytest.raises(LocalProtocolError):
        _ = client.handshake_hash
    with pytest.raises(LocalProtocolError):
        _ = server.handshake_hash
    refusal(server.hello, b"")
    with pytest.raises(LocalProtocolError):
        _ = server.handshake_hash


def test_fixed_ephemeral_keys_make_a_handshake_repeatable() -> None:
    sessions: list[Session] = []
    for _ in range(2):
        client, server = WITH_SECRET.both()
        shake_hands(client, server)
        sessions.append(client.session)
    assert sessions[0] == sessions[1]


def test_fresh_ephemeral_keys_make_every_session_another() -> None:
    hashes: set[bytes] = set()
    for _ in range(3):
        client, server = new_client(ephemeral=None), new_server(ephemeral=None)
        shake_hands(client, server)
        hashes |= {client.handshake_hash, client.split().send, client.split().receive}
    assert len(hashes) == 9


def test_one_fresh_side_is_enough_to_make_a_session_fresh() -> None:
    """What a replayed hello yields is another session, whose keys the replayer can't know."""
    hello, sent = hello_of(new_client()), set()
    for _ in range(3):
        server = new_server(ephemeral=None)
        server.hello(hello)
        sent.add(server.challenge())
    assert len(sent) == 3


@pytest.mark.parametrize("size", [0, 1, 32_767, 32_768])
def test_credentials_and_server_payload_may_have_32768_bytes(size: int) -> None:
    client, server = XX.both()
    shake_hands(client, server, credentials=b"c" * size, payload=b"p" * size)
    assert (server.credentials, client.server_payload) == (b"c" * size, b"p" * size)


def test_a_payload_beyond_32768_bytes_is_this_programs_own_fault_and_changes_nothing() -> None:
    client, server = XX.hello()
    with pytest.raises(LocalProtocolError, match="32,768"):
        server.challenge(bytes(32_769))
    client.challenge(body(server.challenge(), Kind.CHALLENGE))
    with pytest.raises(LocalProtocolError, match="32,768"):
        client.response(bytes(32_769))
    server.response(body(client.response(), Kind.RESPONSE))
    assert client.session == server.session


# --- what is on the wire ----------------------------------------------------------------------------


@every_mode
def test_no_long_term_key_crosses_the_wire_in_clear(mode: Mode) -> None:
    client, server = mode.both()
    hello = client.hello()
    server.hello(body(hello, Kind.HELLO))
    challenge = server.challenge(b"payload")
    client.challenge(body(challenge, Kind.CHALLENGE))
    wire = hello + challenge + client.response(b"credentials")
    for key in (CLIENT_KEY, SERVER_KEY, MIDDLEBOX_KEY):
        assert bytes(key.public_key) not in wire
    assert b"credentials" not in wire
    assert b"payload" not in wire


def test_every_size_on_the_wire_is_the_protocols() -> None:
    for mode, suites, size in [(XX, (AEGIS,), 90), (XX, BOTH_SUITES, 91), (WITH_SECRET, BOTH_SUITES, 107)]:
        assert len(new_client(secret=mode.secret, suites=suites).hello()) == size
    client, server = XX.hello()
    challenge = server.challenge(b"12345")
    client.challenge(body(challenge, Kind.CHALLENGE))
    assert (len(challenge), len(client.response(b"123"))) == (105, 70)


def test_all_of_hellos_header_is_in_the_transcript() -> None:
    """A header changed on the way makes the challenge unreadable: nothing can be negotiated down."""
    genuine = hello_of(new_client())
    reordered = bytearray(genuine)
    reordered[6:8] = reordered[7:5:-1]
    for tampered in (bytes(reordered), flipped(genuine, 8 * 20), genuine[:8] + bytes(48) + genuine[56:]):
        client, server = new_client(), new_server()
        client.hello()
        server.hello(tampered)
        assert refusal(client.challenge, body(server.challenge(), Kind.CHALLENGE)) is AlertCode.PROTOCOL_ERROR


# --- the route --------------------------------------------------------------------------------------


def route_of(client: ClientHandshake) -> tuple[bytes, bytes]:
    """The route of a client's hello, and its ephemeral key."""
    hello = decode_hello_untrusted(hello_of(client))
    return hello.route, hello.e


def named_in(client: ClientHandshake, owner: PrivateKey) -> bytes | None:
    """The server key that the owner of a key finds in a client's hello."""
    route, e = route_of(client)
    return open_route_untrusted(route, owner.exchange(e), e, bytes(owner.public_key))


def test_the_middlebox_reads_whom_the_client_wants_and_nobody_else_does() -> None:
    def client() -> ClientHandshake:
        return new_client(middlebox_key=MIDDLEBOX_KEY.public_key)

    assert named_in(client(), MIDDLEBOX_KEY) == bytes(SERVER_KEY.public_key)
    assert named_in(client(), SERVER_KEY) is None
    assert named_in(client(), OTHER_KEY) is None


def test_without_a_middlebox_the_server_itself_reads_the_route() -> None:
    assert named_in(new_client(), SERVER_KEY) == bytes(SERVER_KEY.public_key)


@pytest.mark.parametrize("middlebox_key", [None, MIDDLEBOX_KEY.public_key])
def test_a_client_that_knows_no_server_sends_random_bytes_as_its_route(middlebox_key: PublicKey | None) -> None:
    routes = [route_of(new_client(server_key=None, middlebox_key=middlebox_key))[0] for _ in range(3)]
    assert len(set(routes)) == 3
    assert {len(route) for route in routes} == {48}
    assert named_in(new_client(server_key=None, middlebox_key=middlebox_key), MIDDLEBOX_KEY) is None


def test_a_route_that_names_another_server_is_alert_5() -> None:
    client = new_client(server_key=OTHER_KEY.public_key, middlebox_key=SERVER_KEY.public_key)
    assert refusal(new_server().hello, hello_of(client)) is AlertCode.UNKNOWN_SERVER_KEY


def test_a_route_that_does_not_open_is_no_error() -> None:
    for client in (new_client(server_key=None), new_client(server_key=OTHER_KEY.public_key)):
        new_server().hello(hello_of(client))


def test_require_route_refuses_every_client_that_does_not_name_this_server_with_alert_5() -> None:
    strangers = [
        new_client(server_key=None),
        new_client(server_key=OTHER_KEY.public_key),
        new_client(middlebox_key=MIDDLEBOX_KEY.public_key),
        new_client(server_key=OTHER_KEY.public_key, middlebox_key=SERVER_KEY.public_key),
    ]
    for client in strangers:
        server = new_server(require_route=True)
        assert refusal(server.hello, hello_of(client)) is AlertCode.UNKNOWN_SERVER_KEY
        assert server.state is State.FAILED
    shake_hands(new_client(), new_server(require_route=True))


# --- refusals of hello ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "value", "alert"),
    [
        (0, ord("X"), AlertCode.PROTOCOL_ERROR),
        (3, ord("2"), AlertCode.UNSUPPORTED_VERSION),
        (4, 0x02, AlertCode.UNSUPPORTED_VERSION),
        (4, 0x80, AlertCode.UNSUPPORTED_VERSION),
        (7, 1, AlertCode.PROTOCOL_ERROR),
        (-1, 0xFF, AlertCode.PROTOCOL_ERROR),
    ],
)
def test_a_hello_that_is_none_ends_the_handshake_with_its_alert(place: int, value: int, alert: AlertCode) -> None:
    hello, server = bytearray(hello_of(new_client())), new_server()
    hello[place] = value
    assert refusal(server.hello, bytes(hello)) is alert
    assert server.state is State.FAILED


@pytest.mark.parametrize(("client", "server"), [((XCHACHA,), (AEGIS,)), ((AEGIS,), (XCHACHA,))])
def test_no_common_suite_is_alert_4(client: tuple[Suite, ...], server: tuple[Suite, ...]) -> None:
    refused = new_server(suites=server)
    assert refusal(refused.hello, hello_of(new_client(suites=client))) is AlertCode.NO_COMMON_SUITE
    assert refused.state is State.FAILED


def test_unknown_suite_numbers_are_ignored() -> None:
    hello = hello_of(new_client(suites=[AEGIS]))
    server = new_server()
    server.hello(hello[:5] + bytes([3, 200, AEGIS, 99]) + hello[7:])
    server.challenge()
    with pytest.raises(LocalProtocolError):
        _ = server.session


@pytest.mark.parametrize(("client", "server"), list(itertools.product([(1,), (2,), (1, 2), (2, 1)], repeat=2)))
def test_both_sides_take_the_suite_that_the_rule_says(client: tuple[int, ...], server: tuple[int, ...]) -> None:
    common = set(client) & set(server)
    if not common:
        return
    ends = new_client(suites=[Suite(n) for n in client]), new_server(suites=[Suite(n) for n in server])
    shake_hands(*ends)
    expected = min(common, key=lambda n: (client.index(n) + server.index(n), n))
    assert {end.session.suite for end in ends} == {Suite(expected)}


# --- the shared secret ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "shown", "alert"),
    [
        (OFF, None, None),
        (OFF, SECRET, AlertCode.BAD_SECRET),
        (OFF, OTHER_SECRET, AlertCode.BAD_SECRET),
        (OPTIONAL, None, None),
        (OPTIONAL, SECRET, None),
        (OPTIONAL, OTHER_SECRET, AlertCode.BAD_SECRET),
        (REQUIRED, None, AlertCode.BAD_SECRET),
        (REQUIRED, SECRET, None),
        (REQUIRED, OTHER_SECRET, AlertCode.BAD_SECRET),
    ],
)
def test_the_gate_lets_in_whom_its_policy_says_and_tells_all_others_alert_6(
    policy: SecretPolicy, shown: SharedSecret | None, alert: AlertCode | None
) -> None:
    client, server = new_client(secret=shown), new_server(secrets=[SECRET], secret_policy=policy)
    assert outcome(server.hello, hello_of(client)) is alert
    assert server.used_secret is (alert is None and shown is not None)
    assert server.state is (State.HELLO_DONE if alert is None else State.FAILED)


@pytest.mark.parametrize("policy", [OPTIONAL, REQUIRED])
def test_a_gate_without_a_secret_lets_no_secret_in(policy: SecretPolicy) -> None:
    server = new_server(secrets=[], secret_policy=policy)
    assert refusal(server.hello, hello_of(new_client(secret=SECRET))) is AlertCode.BAD_SECRET


@pytest.mark.parametrize("shown", [SECRET, OTHER_SECRET])
def test_old_and_new_secret_are_good_side_by_side(shown: SharedSecret) -> None:
    for secrets in ([SECRET, OTHER_SECRET], [OTHER_SECRET, SECRET]):
        client, server = new_client(secret=shown), new_server(secrets=secrets, secret_policy=REQUIRED)
        shake_hands(client, server)
        assert client.session == server.session
    third = new_client(secret=SharedSecret(b"\x09" * 32))
    server = new_server(secrets=[SECRET, OTHER_SECRET], secret_policy=REQUIRED)
    assert refusal(server.hello, hello_of(third)) is AlertCode.BAD_SECRET


def test_a_changed_secret_tag_or_header_is_alert_6() -> None:
    hello = hello_of(new_client(secret=SECRET))
    for at in [*range(8, 56), *range(len(hello) - 16, len(hello))]:
        server = new_server(secrets=[SECRET], secret_policy=REQUIRED)
        assert refusal(server.hello, flipped(hello, 8 * at)) is AlertCode.BAD_SECRET


def test_the_secret_goes_into_the_session_and_not_only_into_the_gate() -> None:
    hashes: set[bytes] = set()
    for secret in (SECRET, OTHER_SECRET):
        client = new_client(secret=secret)
        shake_hands(client, new_server(secrets=[secret], secret_policy=REQUIRED))
        hashes |= {client.handshake_hash, client.split().send}
    assert len(hashes) == 4


def test_taking_the_secret_out_of_a_hello_gets_it_refused_and_not_downgraded() -> None:
    hello = bytearray(hello_of(new_client(secret=SECRET)))
    hello[4] = 0
    server = new_server(secrets=[SECRET], secret_policy=REQUIRED)
    assert refusal(server.hello, bytes(hello[:-16])) is AlertCode.BAD_SECRET
    # Where the secret is optional the server goes on, but the client notices.
    client, server = new_client(secret=SECRET), new_server(secrets=[SECRET], secret_policy=OPTIONAL)
    client.hello()
    server.hello(bytes(hello[:-16]))
    assert refusal(client.challenge, body(server.challenge(), Kind.CHALLENGE)) is AlertCode.PROTOCOL_ERROR


# --- the order of the server's checks, and what they cost -------------------------------------------


def test_the_server_checks_hello_in_the_protocols_order() -> None:
    def told(hello: bytes, suites: tuple[Suite, ...] = (AEGIS,)) -> AlertCode:
        server = new_server(secrets=[SECRET], secret_policy=REQUIRED, suites=suites, require_route=True)
        return refusal(server.hello, hello)

    # From the top each line mends what the line before it was refused for, and leaves all later faults in.
    bare = hello_of(new_client(server_key=None, suites=[XCHACHA]))
    assert told(bare[:-1] + b"\xff") is AlertCode.PROTOCOL_ERROR  # canonical e, before the policy
    assert told(bare) is AlertCode.BAD_SECRET  # policy
    wrong = hello_of(new_client(server_key=None, suites=[XCHACHA], secret=OTHER_SECRET))
    assert told(wrong) is AlertCode.BAD_SECRET  # tag, before the suite
    assert told(hello_of(new_client(server_key=None, suites=[XCHACHA], secret=SECRET))) is AlertCode.NO_COMMON_SUITE
    assert told(hello_of(new_client(server_key=None, suites=[AEGIS], secret=SECRET))) is AlertCode.UNKNOWN_SERVER_KEY


class Multiplications:
    """Counts X25519, as `keys` calls it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.shared: list[tuple[bytes, bytes]] = []
        self.base = 0

        def x25519(n: bytes, p: bytes) -> bytes | None:
            self.shared.append((n, p))
            return crypto_scalarmult(n, p)

        def x25519_base(n: bytes) -> bytes:
            self.base += 1
            return crypto_scalarmult_base(n)

        patch.setattr(sodium.backend, "x25519", x25519)
        patch.setattr(sodium.backend, "x25519_base", x25519_base)


@pytest.fixture
def x25519(monkeypatch: pytest.MonkeyPatch) -> Multiplications:
    _ = [key.public_key for key in (CLIENT_KEY, SERVER_KEY, CLIENT_EPHEMERAL, SERVER_EPHEMERAL)]  # known before
    return Multiplications(monkeypatch)


def test_a_peer_without_the_secret_costs_the_server_no_x25519(x25519: Multiplications) -> None:
    hellos = [hello_of(new_client()), hello_of(new_client(secret=OTHER_SECRET))]
    x25519.shared.clear()
    x25519.base = 0
    for hello in [*hellos, b"", bytes(104)]:
        server = new_server(secrets=[SECRET] * 3, secret_policy=REQUIRED, ephemeral=None)
        refusal(server.hello, hello)
    assert x25519.shared == []
    assert x25519.base == 0


@pytest.mark.parametrize(
    ("mode", "most_for_client"),
    [(XX, 3), (WITH_SECRET, 3), (MODES[2], 4), (MODES[4], 3)],
    ids=["XX", "XXpsk0", "middlebox", "unknown_server_key"],
)
def test_each_diffie_hellman_is_computed_once(mode: Mode, most_for_client: int, x25519: Multiplications) -> None:
    client, server = mode.both()
    shake_hands(client, server)
    assert len(set(x25519.shared)) == len(x25519.shared)
    by_server = [n for n, _ in x25519.shared if n in (bytes(SERVER_KEY), bytes(SERVER_EPHEMERAL))]
    assert len(by_server) == 3
    assert len(x25519.shared) == 3 + most_for_client
    assert x25519.base == 0


def test_a_point_of_low_order_is_refused_even_if_the_list_of_them_had_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    hello = hello_of(new_client())
    monkeypatch.setattr(keys, "LOW_ORDER", frozenset())
    server = new_server()
    assert refusal(server.hello, hello[:-32] + bytes([1]) + bytes(31)) is AlertCode.PROTOCOL_ERROR
    assert server.state is State.FAILED


@pytest.mark.parametrize("point", sorted(keys.LOW_ORDER), ids=lambda point: point[:4].hex())
def test_a_low_order_point_in_hello_ends_it_before_any_x25519(point: bytes, x25519: Multiplications) -> None:
    hello, server = hello_of(new_client()), new_server()
    x25519.shared.clear()
    assert refusal(server.hello, hello[:-32] + point) is AlertCode.PROTOCOL_ERROR
    assert x25519.shared == []


# --- tampering --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [XX, WITH_SECRET], ids=lambda mode: mode.name)
def test_a_challenge_with_any_byte_changed_is_refused_by_the_client(mode: Mode) -> None:
    _, server = mode.hello()
    challenge = body(server.challenge(b"payload"), Kind.CHALLENGE)
    for at in range(len(challenge)):
        client, _ = mode.hello()
        forged = flipped(challenge, 8 * at + at % 8)
        assert refusal(client.challenge, forged) is AlertCode.PROTOCOL_ERROR
        assert client.state is State.FAILED


@pytest.mark.parametrize("mode", [XX, WITH_SECRET], ids=lambda mode: mode.name)
def test_a_response_with_any_byte_changed_is_alert_2(mode: Mode) -> None:
    client, server = mode.hello()
    client.challenge(body(server.challenge(), Kind.CHALLENGE))
    response = body(client.response(b"credentials"), Kind.RESPONSE)
    for at in range(len(response)):
        _, server = mode.hello()
        server.challenge()
        forged = flipped(response, 8 * at + at % 8)
        assert refusal(server.response, forged) is AlertCode.BAD_RESPONSE
        assert server.state is State.FAILED
        assert server.credentials == b""


@pytest.mark.parametrize("mode", [XX, WITH_SECRET], ids=lambda mode: mode.name)
def test_a_hello_with_any_byte_changed_never_leads_to_a_session(mode: Mode) -> None:
    hello = hello_of(mode.both()[0])
    for at in range(len(hello)):
        client, server = mode.both()
        client.hello()
        forged = flipped(hello, 8 * at + at % 8)
        if outcome(server.hello, forged) is None:
            challenge = body(server.challenge(), Kind.CHALLENGE)
            assert refusal(client.challenge, challenge) is AlertCode.PROTOCOL_ERROR
        assert client.state is not State.FINISHED


@PROPERTY
@given(st.binary(max_size=150), st.sampled_from([XX, WITH_SECRET]))
def test_any_bytes_are_refused_at_every_step(data: bytes, mode: Mode) -> None:
    client, server = mode.hello()
    assert refusal(client.challenge, data) is AlertCode.PROTOCOL_ERROR
    server.challenge()
    assert refusal(server.response, data) is AlertCode.BAD_RESPONSE
    another_version = len(data) > 3 and data.startswith(b"SSv") and data[3:4] != b"1"
    expected = AlertCode.UNSUPPORTED_VERSION if another_version else AlertCode.PROTOCOL_ERROR
    assert refusal(new_server().hello, data) is expected


@pytest.mark.parametrize("payload", [b"", bytes([XCHACHA]), bytes([0]), bytes([255]) + b"payload"])
def test_a_client_refuses_a_suite_that_it_did_not_offer(payload: bytes) -> None:
    client, server = new_client(suites=[AEGIS]), new_server()
    server.hello(hello_of(client))
    genuine_but_wrong = server._noise.write_message(payload)
    assert refusal(client.challenge, genuine_but_wrong) is AlertCode.PROTOCOL_ERROR
    assert client.state is State.FAILED


def test_a_challenge_for_another_client_is_refused() -> None:
    client, other = new_client(), new_client(ephemeral=PrivateKey(b"\x0b" * 32))
    server = new_server()
    client.hello()
    server.hello(hello_of(other))
    assert refusal(client.challenge, body(server.challenge(), Kind.CHALLENGE)) is AlertCode.PROTOCOL_ERROR


def test_a_response_is_good_for_one_server_session_only() -> None:
    client, server = XX.hello()
    client.challenge(body(server.challenge(), Kind.CHALLENGE))
    response = body(client.response(), Kind.RESPONSE)
    for replay in (new_server(ephemeral=None), new_server(key=OTHER_KEY)):
        replay.hello(hello_of(new_client(server_key=None)))
        replay.challenge()
        assert refusal(replay.response, response) is AlertCode.BAD_RESPONSE
    server.response(response)


def test_the_client_learns_an_impostors_key_before_it_shows_its_own() -> None:
    client, impostor = new_client(), new_server(key=OTHER_KEY)
    impostor.hello(hello_of(client))
    shown = client.challenge(body(impostor.challenge(), Kind.CHALLENGE))
    assert shown == OTHER_KEY.public_key  # for the caller to judge, who then sends nothing more
    assert client.state is State.CHALLENGE_DONE


def test_an_alert_frame_is_never_taken_from_a_client() -> None:
    reader = messages.FrameReader()
    reader.feed(encode_alert_frame(AlertCode.BUSY))
    assert refusal(reader.next_frame, {Kind.HELLO}) is AlertCode.PROTOCOL_ERROR
    assert refusal(reader.next_frame, {Kind.RESPONSE}) is AlertCode.PROTOCOL_ERROR


# --- the table --------------------------------------------------------------------------------------

Machine = ClientHandshake | ServerHandshake
SIDES = ["client", "server"]


def machine_in(side: str, state: State) -> Machine:
    """A machine that has come as far as `state`."""
    client, server = XX.both()
    machine: Machine = client if side == "client" else server
    if state is State.START:
        return machine
    server.hello(hello_of(client))
    if state is State.FAILED:
        refusal(client.challenge, b"")
        server.challenge()
        refusal(server.response, b"")
    elif state is not State.HELLO_DONE:
        client.challenge(body(server.challenge(), Kind.CHALLENGE))
        if state is State.FINISHED:
            server.response(body(client.response(), Kind.RESPONSE))
    assert machine.state is state
    return machine


def take(machine: Machine, step: Step) -> object:
    """Takes a step, with bytes that would be wrong if they were looked at."""
    steps: dict[Step, Callable[[], object]]
    if isinstance(machine, ClientHandshake):
        steps = {Step.HELLO: machine.hello, Step.CHALLENGE: partial(machine.challenge, b"")}
        return steps.get(step, machine.response)()
    steps = {Step.HELLO: partial(machine.hello, b""), Step.CHALLENGE: machine.challenge}
    return steps.get(step, partial(machine.response, b""))()


STEPS = (Step.HELLO, Step.CHALLENGE, Step.RESPONSE)
OUT_OF_ORDER = [pair for pair in itertools.product(State, STEPS) if pair not in TRANSITIONS]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("state", "step"), OUT_OF_ORDER, ids=lambda value: str(value.name))
def test_a_step_out_of_order_is_this_programs_own_fault_and_changes_nothing(
    side: str, state: State, step: Step
) -> None:
    machine = machine_in(side, state)
    with pytest.raises(LocalProtocolError, match=f"{step.name} in state {state.name}"):
        take(machine, step)
    assert machine.state is state


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "state", [state for state in State if state is not State.FINISHED], ids=lambda state: str(state.name)
)
def test_there_is_no_session_and_no_key_before_the_handshake_is_finished(side: str, state: State) -> None:
    machine = machine_in(side, state)
    with pytest.raises(LocalProtocolError, match="not finished"):
        machine.split()
    with pytest.raises(LocalProtocolError, match="not finished"):
        _ = machine.session


def test_the_table_leads_from_the_start_to_both_ends_and_out_of_neither() -> None:
    reached = {State.START}
    for _ in State:
        reached |= {following for (state, _), following in TRANSITIONS.items() if state in reached}
    assert reached == set(State)
    assert not [state for state, _ in TRANSITIONS if state in (State.FINISHED, State.FAILED)]


def test_no_state_is_entered_but_by_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    slot = vars(BaseHandshake)["_state"]
    seen: set[tuple[State, State]] = set()

    def enter(machine: Machine, state: State) -> None:
        if hasattr(machine, "_suites"):  # else this is its first
            seen.add((slot.__get__(machine), state))
        slot.__set__(machine, state)

    monkeypatch.setattr(BaseHandshake, "_state", property(slot.__get__, enter))
    for mode in MODES:
        shake_hands(*mode.both())
        refusal(new_server().hello, b"")
        refusal(new_server(suites=[]).hello, hello_of(mode.both()[0]))
        client, server = mode.hello()
        server.challenge()
        refusal(client.challenge, b"")
        refusal(server.response, b"")
    assert seen == {(state, following) for (state, _), following in TRANSITIONS.items()}


def test_a_machine_shows_nothing_secret() -> None:
    client, server = WITH_SECRET.both()
    shake_hands(client, server)
    shown = repr((client, server, client.split(), client.session))
    for secret in (bytes(CLIENT_KEY), bytes(SERVER_KEY), bytes(SECRET), SECRET.psk, client.split().send):
        assert repr(secret) not in shown
        assert secret.hex() not in shown
