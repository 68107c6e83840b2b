"""The attacker who has a key that he shouldn't have, and the one who has none and wants to learn whose they are."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.protocol.codes import AlertCode
from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.handshake import SecretPolicy
from securestream.protocol.keys import PrivateKey
from securestream.protocol.messages import Kind, encode_alert_frame, encode_frame

from ..protocol.support import (
    CLIENT_EPHEMERAL,
    CLIENT_KEY,
    DEFAULTS,
    KEY,
    MIDDLEBOX_KEY,
    OTHER_KEY,
    SECRET,
    SERVER_EPHEMERAL,
    SERVER_KEY,
    body,
    flipped,
    new_client,
    new_server,
)
from ..streams.support import FrameStream, failure_of, in_background
from .attackers import (
    eavesdropper_with_stolen_keys,
    impostor_client_with_a_public_key,
    impostor_server_with_a_public_key,
    impostor_who_wants_the_clients_name,
    thief_of_the_clients_key,
    with_e,
    with_route,
)
from .support import DEADLINE, claim, meet, said_by_server

if TYPE_CHECKING:
    from trio.testing import MockClock

    from securestream.protocol.suites import Suite

pytestmark = pytest.mark.shows("stolen-keys", "identities")


# --- with a public key only --------------------------------------------------------------------------------


def test_who_knows_only_the_servers_public_key_is_not_taken_for_the_server() -> None:
    assert not impostor_server_with_a_public_key()


def test_who_knows_only_the_clients_public_key_is_not_taken_for_the_client() -> None:
    assert not impostor_client_with_a_public_key()


def test_who_has_only_the_groups_secret_is_taken_for_nobody_whose_key_is_known() -> None:
    behind_gate = partial(new_server, secrets=[SECRET], secret_policy=SecretPolicy.REQUIRED)
    assert meet(new_client(secret=SECRET), behind_gate()).succeeded
    as_server = meet(new_client(secret=SECRET), behind_gate(key=claim(SERVER_KEY.public_key)))
    as_client = meet(new_client(key=claim(CLIENT_KEY.public_key), secret=SECRET), behind_gate())
    for meeting, code in [(as_server, AlertCode.PROTOCOL_ERROR), (as_client, AlertCode.BAD_RESPONSE)]:
        assert meeting.error is not None
        assert meeting.error.alert_code is code


# --- with the client's private key -----------------------------------------------------------------------


def test_a_stolen_client_key_does_not_make_its_thief_the_server_to_that_client() -> None:
    """Key compromise impersonation: he has each Diffie-Hellman of the client's long-term key and of his own keys."""
    e_client = bytes(CLIENT_EPHEMERAL.public_key)
    for ours in (CLIENT_KEY, OTHER_KEY):
        for theirs in (bytes(SERVER_KEY.public_key), bytes(CLIENT_KEY.public_key), e_client):
            assert not thief_of_the_clients_key(ours.exchange(theirs))
    assert thief_of_the_clients_key(SERVER_KEY.exchange(e_client))  # what only the server and this client have


def test_a_stolen_server_key_does_not_make_its_thief_a_client_of_that_server() -> None:
    meeting = meet(new_client(key=claim(CLIENT_KEY.public_key), ephemeral=SERVER_KEY), new_server(ephemeral=None))
    assert meeting.error is not None
    assert not meeting.server_is_done


# --- with keys that were stolen later ----------------------------------------------------------------------


@pytest.mark.parametrize("stolen", [(SERVER_KEY,), (CLIENT_KEY,), (SERVER_KEY, CLIENT_KEY)], ids=len)
def test_keys_stolen_later_do_not_open_what_was_recorded(stolen: tuple[PrivateKey, ...], suite: Suite) -> None:
    assert not eavesdropper_with_stolen_keys(stolen, suite)


def test_a_secret_and_keys_stolen_later_do_not_open_what_was_recorded(suite: Suite) -> None:
    assert not eavesdropper_with_stolen_keys((SERVER_KEY, CLIENT_KEY), suite, secret=SECRET)


def test_a_quantum_computer_reads_what_was_recorded_of_a_classical_connection_and_not_of_a_hybrid_one(
    hybrid: bool, suite: Suite
) -> None:
    """Every private key of X25519 is known later: with the server's ephemeral he has every Diffie-Hellman."""
    stolen = (SERVER_KEY, CLIENT_KEY, SERVER_EPHEMERAL)
    assert eavesdropper_with_stolen_keys(stolen, suite, ephemeral=SERVER_EPHEMERAL) is not hybrid
    with_secret = eavesdropper_with_stolen_keys(stolen, suite, secret=SECRET, ephemeral=SERVER_EPHEMERAL)
    assert with_secret is not hybrid


# --- an impostor learns nothing of the client ------------------------------------------------------------


def test_a_clients_hello_does_not_depend_on_its_key() -> None:
    assert new_client(key=CLIENT_KEY).hello() == new_client(key=OTHER_KEY).hello()
    assert new_client(key=CLIENT_KEY, secret=SECRET).hello() == new_client(key=OTHER_KEY, secret=SECRET).hello()


async def test_an_impostor_gets_one_hello_and_the_end_whoever_the_client_is(
    suite: Suite, autojump_clock: MockClock
) -> None:
    sizes: set[int] = set()
    for key in (CLIENT_KEY, OTHER_KEY, PrivateKey(KEY)):
        config = ss.ClientConfig(
            key=key,
            server_key=SERVER_KEY.public_key,
            suites=[suite],
            credentials=bytes(100 * key.public_key._raw[0]),
            post_quantum=DEFAULTS.post_quantum,
        )
        near, far = trio.testing.memory_stream_pair()
        frames, impostor = FrameStream(far), new_server(key=MIDDLEBOX_KEY, ephemeral=None)
        with trio.fail_after(DEADLINE):
            async with in_background(partial(failure_of, ss.wrap_client(near, config), ss.ServerKeyMismatch)):
                hello = await frames.receive(Kind.HELLO)
                impostor.hello(hello)
                await far.send_all(impostor.challenge())
                assert await far.receive_some() == b""
        sizes.add(len(hello))
    assert len(sizes) == 1


async def test_an_impostor_does_not_learn_the_clients_key(autojump_clock: MockClock) -> None:
    assert not await impostor_who_wants_the_clients_name()


# --- a stranger learns nothing of the server ---------------------------------------------------------------


def probes() -> list[bytes]:
    """Hellos of whoever does not know the server's key, and of one who has seen a client that does."""
    genuine = new_client(ephemeral=None).hello()
    made = [
        new_client(server_key=None).hello(),
        new_client(server_key=OTHER_KEY.public_key).hello(),
        new_client(middlebox_key=MIDDLEBOX_KEY.public_key).hello(),
        new_client(server_key=OTHER_KEY.public_key, middlebox_key=SERVER_KEY.public_key).hello(),
        with_route(bytes(48))(genuine),
        with_e(bytes(OTHER_KEY.public_key))(genuine),
    ]
    return made + [flipped(genuine, 8 * at) for at in (11, 40, 58)]


async def answer_to(hello: bytes, key: PrivateKey) -> bytes:
    """All that a server which demands the route says to a hello."""
    config = ss.ServerConfig(key=key, authorize=ss.ANYONE, require_route=True, post_quantum=DEFAULTS.post_quantum)
    return await said_by_server(hello, config, ss.UnknownServerKey)


async def test_a_stranger_gets_the_same_answer_whatever_he_does_and_whoever_the_server_is(
    autojump_clock: MockClock,
) -> None:
    answers = {await answer_to(hello, key) for hello in probes() for key in (SERVER_KEY, PrivateKey(KEY))}
    assert answers == {encode_alert_frame(AlertCode.UNKNOWN_SERVER_KEY)}


def test_a_stranger_can_not_tell_a_client_that_knows_its_server_from_one_that_does_not(hybrid: bool) -> None:
    """Without the server's private key the route opens for nobody, so both look like 48 random bytes."""
    for server_key in (None, SERVER_KEY.public_key):
        hello = body(new_client(server_key=server_key).hello(), Kind.HELLO)
        assert len(encode_frame(Kind.HELLO, hello)) == (1_275 if hybrid else 91)
        new_server(key=OTHER_KEY).hello(hello)  # no error: it might be random


def test_a_replayed_hello_shows_its_replayer_no_key_even_where_the_route_opens() -> None:
    """Documented: he sees that the key is in use. What he gets is sealed to a session key that he hasn't."""
    hello, server = body(new_client(ephemeral=None).hello(), Kind.HELLO), new_server(require_route=True)
    server.hello(hello)
    challenge = body(server.challenge(), Kind.CHALLENGE)
    assert bytes(SERVER_KEY.public_key) not in challenge
    for own in (OTHER_KEY, MIDDLEBOX_KEY):
        replayer = new_client(key=own, ephemeral=own)
        replayer.hello()
        with pytest.raises(RemoteProtocolError):
            replayer.challenge(challenge)
