"""Credentials on their way: what each side shows, who takes it, and what is heard of it where it doesn't hold."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.protocol.credentials import client_statement, server_statement
from securestream.protocol.messages import PROLOGUE

from ..protocol.support import CLIENT_EPHEMERAL, MIDDLEBOX_KEY, SERVER_EPHEMERAL
from ..streams.support import Configs, handshake_outcomes, matching_configs, secure_pair
from ..streams.transports import Tap, memory_pair
from .support import ask, serving, serving_tcp, shout

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from trio.testing import MockClock

pytestmark = pytest.mark.shows("credentials")

MINE, OTHER = ss.Ed25519Credentials(bytes([1]) * 32), ss.Ed25519Credentials(bytes([2]) * 32)
ALICE = ss.TrustedKey(MINE.public_key, "alice")
TAKES_ALICE = ss.Ed25519Verifier([ALICE])


def configs(**client: object) -> Configs:
    """A client that shows `MINE`, and a server that takes it and nothing else."""
    near, far = matching_configs()
    near = replace(near, **{"credentials": MINE, **client})  # type: ignore[arg-type]  # the test's own, by name
    return near, replace(far, authorize=TAKES_ALICE)


def showing(**server: object) -> Configs:
    """A server that shows `MINE`, and a client that takes it and nothing else."""
    near, far = matching_configs()
    far = replace(far, **{"credentials": MINE, **server})  # type: ignore[arg-type]  # the same
    return replace(near, verify_server=TAKES_ALICE), far


async def outcomes(both: Configs) -> tuple[ss.HandshakeError | None, ss.HandshakeError | None]:
    return await handshake_outcomes(await memory_pair(), *both)


# --- a client's --------------------------------------------------------------------------------------------


async def test_whom_the_credentials_name_is_the_principal(autojump_clock: MockClock) -> None:
    client, server = await secure_pair(memory_pair, configs())
    assert server.peer.principal == ALICE
    assert server.peer.name == "alice"
    assert client.peer.principal is None


async def test_over_tcp_the_handler_knows_who_has_signed() -> None:
    async def tell(stream: ss.SecureStream[trio.SocketStream]) -> None:
        await stream.send_all(stream.peer.name.encode())

    client, server = configs()
    async with (
        serving_tcp(tell, server) as port,
        await ss.open_secure_tcp_stream("127.0.0.1", port, client) as stream,
    ):
        assert await stream.receive_some() == b"alice"


@pytest.mark.parametrize("shown", [OTHER, b"", b"x", lambda statement: MINE(statement[::-1])])
async def test_credentials_that_do_not_hold_are_alert_8_with_the_reason(
    shown: object, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    at_client, at_server = await outcomes(configs(credentials=shown))
    assert isinstance(at_client, ss.HandshakeRefused)
    assert at_client.alert.code == ss.AlertCode.BAD_CREDENTIALS
    assert at_client.authenticated
    assert isinstance(at_server, ss.BadCredentials)
    assert at_server.code == at_client.code == "bad_credentials"
    assert at_client.alert.message in str(at_server)


async def test_a_server_goes_on_and_its_log_names_who_was_refused(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.WARNING)
    client, server = configs()
    async with serving(shout, server) as served:
        with pytest.raises(ss.HandshakeRefused, match="not trusted here"):
            await served.connect(replace(client, credentials=OTHER))
        async with await served.connect(client) as stream:
            assert await ask(stream) == b"HELLO"
    assert client.key is not None
    assert str(client.key.public_key) in caplog.text
    assert "a signature by a key that is not trusted here [bad_credentials]" in caplog.text
    assert "Traceback" not in caplog.text


async def test_what_is_beneath_a_refusal_is_in_the_server_s_log_and_not_told_to_the_client(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def authorize(peer: ss.Peer) -> None:
        raise ss.CredentialsRefused("no token that can be used here") from ValueError("another\nissuer")

    caplog.set_level(logging.WARNING)
    client, server = configs()
    async with serving(shout, replace(server, authorize=authorize)) as served:
        with pytest.raises(ss.HandshakeRefused) as caught:
            await served.connect(client)
        await trio.testing.wait_all_tasks_blocked()
    assert caught.value.alert.message == "no token that can be used here"
    assert r"no token that can be used here (ValueError: another\nissuer) [bad_credentials]" in caplog.text


async def test_credentials_of_another_connection_are_refused(autojump_clock: MockClock) -> None:
    both = configs()
    _, server = await secure_pair(memory_pair, both)
    replayed = replace(both[0], credentials=server.peer.credentials)
    assert isinstance((await outcomes((replayed, both[1])))[1], ss.BadCredentials)


async def test_credentials_are_of_no_use_beside_another_key(autojump_clock: MockClock) -> None:
    """Who has a client sign for him shows the same connection under a key of his own: there is no such connection."""
    both = configs()
    stolen: list[bytes] = []

    def sign_as_somebody_else(statement: bytes) -> bytes:
        stolen.append(MINE(statement[:-32] + bytes(MIDDLEBOX_KEY.public_key)))
        return stolen[-1]

    assert isinstance(
        (await outcomes((replace(both[0], credentials=sign_as_somebody_else), both[1])))[1], ss.BadCredentials
    )
    assert stolen


async def test_listed_keys_and_credentials_go_together(autojump_clock: MockClock) -> None:
    client, server = configs()
    assert client.key is not None

    def demanding(key: ss.PeerKey) -> ss.ServerConfig:
        peers = ss.AuthorizedPeers([key])

        async def authorize(peer: ss.Peer) -> object:
            await peers(peer)
            return await TAKES_ALICE(peer)

        return replace(server, authorize=authorize)

    _, stream = await secure_pair(memory_pair, (client, demanding(client.key.public_key)))
    assert stream.peer.principal == ALICE
    _, at_server = await outcomes((client, demanding(MIDDLEBOX_KEY.public_key)))
    assert isinstance(at_server, ss.AccessDenied)
    _, at_server = await outcomes((replace(client, credentials=b""), demanding(client.key.public_key)))
    assert isinstance(at_server, ss.BadCredentials)


async def test_who_signs_may_be_waited_for_within_the_deadline(autojump_clock: MockClock) -> None:
    async def slow(statement: bytes) -> bytes:
        await trio.sleep(2)
        return MINE(statement)

    _, stream = await secure_pair(memory_pair, configs(credentials=slow))
    assert stream.peer.principal == ALICE
    client, server = configs(credentials=slow)
    at_client, at_server = await outcomes((client, replace(server, handshake_timeout=1)))
    assert isinstance(at_server, ss.HandshakeTimeout)
    assert isinstance(at_client, ss.HandshakeRefused)


# --- a server's --------------------------------------------------------------------------------------------


async def test_a_client_knows_whom_its_server_s_credentials_name(autojump_clock: MockClock) -> None:
    client, _ = await secure_pair(memory_pair, showing())
    assert client.peer.principal == ALICE
    assert client.peer.name == "alice"
    assert client.peer.credentials[:32] == MINE.public_key


async def test_what_nobody_verifies_is_there_to_look_at_and_names_nobody(autojump_clock: MockClock) -> None:
    near, far = showing(credentials=b"text")
    client, _ = await secure_pair(memory_pair, (replace(near, verify_server=None), far))
    assert client.peer.credentials == b"text"
    assert client.peer.principal is None


async def test_a_server_without_good_credentials_never_learns_who_the_client_is(autojump_clock: MockClock) -> None:
    near, far = await memory_pair()
    tap = Tap(near)
    at_client, at_server = await handshake_outcomes((tap, far), *showing(credentials=OTHER))
    assert isinstance(at_client, ss.BadCredentials)
    assert "not trusted here" in str(at_client)
    assert isinstance(at_server, ss.HandshakeTruncated)
    assert len(tap.sends) == 1  # hello


async def test_credentials_can_stand_in_for_a_key_that_is_not_known(autojump_clock: MockClock) -> None:
    near, far = showing()
    for take in (near.verify_server, ss.Ed25519Verifier([ss.TrustedKey(OTHER.public_key, "bob")])):
        config = ss.ClientConfig(verify_server=take)
        at_client, _ = await outcomes((config, replace(far, authorize=ss.ANYONE)))
        assert isinstance(at_client, ss.BadCredentials) is (take is not near.verify_server)


def test_to_verify_nothing_is_no_verification() -> None:
    with pytest.raises(ValueError, match="would take every server"):
        ss.ClientConfig(verify_server=ss.ANYONE)
    with pytest.raises(TypeError, match="verify_server is an async callable"):
        ss.ClientConfig(verify_server=MINE.public_key)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(ValueError, match="anyone could stand in the middle"):
        ss.ClientConfig(credentials=MINE)


async def test_a_server_s_credentials_of_another_connection_are_refused(autojump_clock: MockClock) -> None:
    both = showing()
    client, _ = await secure_pair(memory_pair, both)
    at_client, _ = await outcomes((both[0], replace(both[1], credentials=client.peer.credentials)))
    assert isinstance(at_client, ss.BadCredentials)


async def test_what_a_server_shows_is_no_client_s_and_the_other_way_round(autojump_clock: MockClock) -> None:
    """Both sides hold the same key, and each passes the other's statement to be signed: neither is taken."""
    near, far = showing()
    statements: list[bytes] = []

    def remember(statement: bytes) -> bytes:
        statements.append(statement)
        return MINE(statement)

    await secure_pair(memory_pair, (replace(near, credentials=remember), replace(far, credentials=remember)))
    server_s, client_s = statements
    assert (server_s[:33], client_s[:33]) == (
        b"securestream/1 server credentials",
        b"securestream/1 client credentials",
    )
    with pytest.raises(ss.CredentialsRefused):
        await TAKES_ALICE.verify(MINE(server_s), client_s)
    with pytest.raises(ss.CredentialsRefused):
        await TAKES_ALICE.verify(MINE(client_s), server_s)


@pytest.mark.parametrize("answer", [PermissionError("not on a Sunday"), False])
async def test_other_refusals_of_a_server_are_of_its_key(answer: object, autojump_clock: MockClock) -> None:
    async def judge(peer: ss.Peer) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    near, far = showing()
    at_client, _ = await outcomes((replace(near, verify_server=judge), far))
    assert isinstance(at_client, ss.ServerKeyMismatch)
    assert at_client.received == far.key.public_key


def broken(statement: bytes) -> bytes:
    raise OSError("the key is not plugged in")


def text(statement: bytes) -> str:
    return "text"


def too_much(statement: bytes) -> bytes:
    return bytes(32_769)


@pytest.mark.parametrize("credentials", [broken, text, too_much])
async def test_a_server_that_can_make_no_credentials_says_so_and_logs_why(
    credentials: object, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    near, far = showing(credentials=credentials)
    at_client, at_server = await outcomes((near, far))
    assert isinstance(at_client, ss.HandshakeRefused)
    assert at_client.alert == ss.Alert(ss.AlertCode.INTERNAL_ERROR)
    assert isinstance(at_server, ss.CredentialsFailed)
    assert at_server.code == "internal_error"
    async with serving(shout, far) as served:
        with pytest.raises(ss.HandshakeRefused):
            await served.connect(near)
        await trio.testing.wait_all_tasks_blocked()
    assert "credentials could not be made" in caplog.text
    assert "Traceback" in caplog.text


def test_credentials_that_are_too_long_are_refused_when_they_are_given() -> None:
    for side in (configs, showing):
        side(credentials=bytes(32_768))
        with pytest.raises(ValueError, match="at most 32,768 bytes"):
            side(credentials=bytes(32_769))


async def test_a_client_s_own_callable_fails_in_its_own_call(autojump_clock: MockClock) -> None:
    near, far = await memory_pair()
    client, server = configs(credentials=broken)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_ends_truncated, ss.wrap_server(far, server))
        with pytest.raises(OSError, match="not plugged in"):
            await ss.wrap_client(near, client)


async def _ends_truncated(wrapping: Awaitable[object]) -> None:
    with pytest.raises(ss.HandshakeTruncated):
        await wrapping


# --- both --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [None, ss.SharedSecret(bytes(range(32)))], ids=["XX", "XXpsk0"])
async def test_both_sides_agree_on_what_each_signs(secret: ss.SharedSecret | None, autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    signed: list[bytes] = []

    def sign(statement: bytes) -> bytes:
        signed.append(statement)
        return b"signed"

    client = replace(client, credentials=sign, secret=secret)
    server = replace(server, credentials=sign, secrets=[secret] if secret else [])
    near, far = await secure_pair(memory_pair, (client, server))
    assert signed == [near.peer.transcript, far.peer.transcript]
    assert near.peer.credentials == far.peer.credentials == b"signed"


def test_the_statements_are_as_the_protocol_has_them() -> None:
    h, key, e = bytes(range(64)), CLIENT_EPHEMERAL.public_key, SERVER_EPHEMERAL.public_key
    assert client_statement(PROLOGUE, h, key) == b"securestream/1 client credentials\0" + h + bytes(key)
    wanted = b"securestream/1 server credentials\0" + h + bytes(e) + bytes(key) + b"\2"
    assert server_statement(PROLOGUE, h, e, key, 2) == wanted
