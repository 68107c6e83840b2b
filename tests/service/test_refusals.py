"""Who is turned away, what the log says of it, and what happens when there is no room."""

from __future__ import annotations

import errno
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.service import admission

from ..streams.support import PATIENCE, failure_of, matching_configs
from ..streams.transports import Tap, reset, tcp_pair
from .support import ask, serving, serving_tcp, shout

if TYPE_CHECKING:
    from trio.testing import MockClock

STRANGER = ss.PrivateKey.generate()
SECRET = ss.SharedSecret.generate()


def only_line(log: pytest.LogCaptureFixture) -> str:
    assert [record.name for record in log.records] == ["securestream"]
    return log.records[0].getMessage()


# --- the log -------------------------------------------------------------------------------------------------


async def test_the_log_says_who_was_refused_and_why_by_key_and_address(log: pytest.LogCaptureFixture) -> None:
    client, server = matching_configs()
    with trio.fail_after(PATIENCE):
        async with serving_tcp(shout, server) as port:
            stranger = replace(client, key=STRANGER)
            await failure_of(ss.open_secure_tcp_stream("127.0.0.1", port, stranger), ss.HandshakeRefused)
            while not log.records:
                await trio.lowlevel.checkpoint()
    line = only_line(log)
    assert line.startswith("refused 127.0.0.1:")
    assert str(STRANGER.public_key) in line
    assert "not authorised" in line
    assert log.records[0].levelno == logging.WARNING


@pytest.mark.parametrize(
    ("at_client", "at_server", "code"),
    [
        ({"secret": SECRET}, {}, "bad_secret"),
        ({"suites": [ss.Suite.AEGIS_256]}, {"suites": [ss.Suite.XCHACHA20_POLY1305]}, "no_common_suite"),
        ({"server_key": STRANGER.public_key}, {"require_route": True}, "unknown_server_key"),
        ({"server_key": STRANGER.public_key}, {}, "handshake_truncated"),
    ],
)
async def test_the_log_says_why_by_its_code(
    at_client: dict[str, object],
    at_server: dict[str, object],
    code: str,
    log: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    client, server = matching_configs()
    async with serving(shout, replace(server, **at_server)) as served:  # type: ignore[arg-type]
        with pytest.raises(ss.HandshakeError):
            await served.connect(replace(client, **at_client))  # type: ignore[arg-type]
        await trio.testing.wait_all_tasks_blocked()
    assert only_line(log).endswith(f"[{code}]")
    assert ("does the client expect another server key?" in only_line(log)) is (code == "handshake_truncated")


async def test_a_client_that_has_vanished_before_it_is_served_is_one_line_in_the_log(
    log: pytest.LogCaptureFixture,
) -> None:
    _, server = matching_configs()
    with trio.fail_after(PATIENCE):
        near, far = await tcp_pair()
        reset(near)
        await far.wait_send_all_might_not_block()
        await ss.secure_handler(shout, server)(far)
    assert only_line(log) == "a connection was reset before it was accepted"


@pytest.mark.parametrize("words", [b"GET /\x1b[2J\r\nHost", b"\xff" * 100, b""])
async def test_garbage_is_one_printable_line_in_the_log(
    words: bytes, log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    _, server = matching_configs()
    async with serving(shout, server) as served:
        transport = await served.listener.connect()
        if words:
            await transport.send_all(words)
        await transport.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert only_line(log).isprintable()


async def test_no_control_character_of_a_peer_gets_into_the_log(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def authorize(peer: ss.Peer) -> NoReturn:
        raise PermissionError(f"no such token: {peer.credentials.decode()}")

    client, server = matching_configs()
    async with serving(shout, replace(server, authorize=authorize)) as served:
        error = await failure_of(
            served.connect(replace(client, credentials=b"\x1b[2J\r\nforged line")), ss.HandshakeRefused
        )
        await trio.testing.wait_all_tasks_blocked()
    assert only_line(log).isprintable()
    assert "forged line" in only_line(log)
    assert str(error).isprintable()


@pytest.mark.parametrize(
    "failure", [ValueError("swordfish"), PermissionError(errno.EACCES, "Permission denied", "/etc/clients")]
)
async def test_an_authorize_that_fails_is_an_error_with_its_traceback_in_the_log(
    failure: Exception, log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def authorize(peer: ss.Peer) -> NoReturn:
        raise failure

    client, server = matching_configs()
    async with serving(shout, replace(server, authorize=authorize)) as served:
        error = await failure_of(served.connect(client), ss.HandshakeRefused)
        await trio.testing.wait_all_tasks_blocked()
        assert error.alert == ss.Alert(ss.AlertCode.INTERNAL_ERROR)
    assert [record.levelno for record in log.records] == [logging.ERROR]
    assert str(failure) in log.text
    assert "Traceback" in log.text


async def test_a_silent_client_is_one_line_in_the_log_after_the_deadline(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    _, server = matching_configs()
    async with serving(shout, server) as served:
        transport = await served.listener.connect()
        await trio.sleep(10)
        await transport.aclose()
    assert only_line(log).endswith("[handshake_timeout]")


class Broken(trio.abc.Stream):
    """A transport that breaks its own interface."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise ZeroDivisionError

    async def wait_send_all_might_not_block(self) -> None:
        raise ZeroDivisionError

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        raise ZeroDivisionError

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("connections", [10, 1])
async def test_a_transport_that_breaks_its_interface_touches_no_other_connection(
    connections: int, log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    async with serving(shout, limited(server, connections=connections)) as served:
        stream = await served.connect(client)
        await served.listener.deliver(Broken())
        assert await ask(stream) == b"HELLO"
        await trio.testing.wait_all_tasks_blocked()
    assert "ZeroDivisionError" in log.text


# --- no room -----------------------------------------------------------------------------------------------------


def limited(server: ss.ServerConfig, **limits: int) -> ss.ServerConfig:
    return replace(server, limits=ss.Limits(**limits))


async def test_beyond_the_cap_on_connections_a_client_is_told_alert_10(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    async with serving(shout, limited(server, connections=2)) as served:
        streams = [await served.connect(client) for _ in range(2)]
        for _ in range(3):
            error = await failure_of(served.connect(client), ss.HandshakeRefused)
            assert error.alert == ss.Alert(ss.AlertCode.BUSY)
        for stream in streams:
            assert await ask(stream) == b"HELLO"
        assert "busy" in log.text

        await streams[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert await ask(await served.connect(client)) == b"HELLO"


async def test_beyond_the_cap_on_pending_handshakes_a_client_is_told_alert_10(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    async with serving(shout, limited(server, pending_handshakes=2)) as served:
        silent = [await served.listener.connect() for _ in range(2)]
        await trio.testing.wait_all_tasks_blocked()
        error = await failure_of(served.connect(client), ss.HandshakeRefused)
        assert error.code == "busy"
        await silent[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        streams = [await served.connect(client) for _ in range(5)]  # handshakes that are done don't count
        assert [await ask(stream) for stream in streams] == [b"HELLO"] * 5


async def test_refused_clients_that_stay_keep_nobody_out(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    server = replace(server, close_timeout=60.0)
    async with serving(shout, limited(server, pending_handshakes=2, connections=2)) as served:
        stranger = replace(client, key=STRANGER, wait_for_accept=False)
        refused = [await served.connect(stranger) for _ in range(2)]
        await trio.sleep(0.2)
        assert log.text.count("not authorised") == 0  # the server still waits for them to go
        assert await ask(await served.connect(client)) == b"HELLO"
        await trio.testing.wait_all_tasks_blocked()
        assert log.text.count("not authorised") == 1
        for stream in refused:
            with trio.move_on_after(1):
                assert (await failure_of(stream.receive_some(), ss.HandshakeRefused)).code == "access_denied"


async def test_connections_in_their_handshake_count_as_connections(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    async with serving(shout, limited(server, connections=1)) as served:
        await served.listener.connect()
        await trio.testing.wait_all_tasks_blocked()
        assert (await failure_of(served.connect(client), ss.HandshakeRefused)).code == "busy"


async def test_failed_handshakes_and_handlers_give_their_room_back(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def fail_or_shout(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        if stream.peer.credentials:
            raise ZeroDivisionError
        await shout(stream)

    client, server = matching_configs()
    async with serving(fail_or_shout, limited(server, pending_handshakes=1, connections=1)) as served:
        for _ in range(3):
            await failure_of(served.connect(replace(client, key=STRANGER)), ss.HandshakeRefused)
            await trio.testing.wait_all_tasks_blocked()
            async with await served.connect(replace(client, credentials=b"fail")) as failing:
                await failure_of(failing.receive_some(), ss.PeerAlert)
            await trio.testing.wait_all_tasks_blocked()
        assert await ask(await served.connect(client)) == b"HELLO"


async def test_silent_clients_without_room_are_kept_no_longer_than_a_handshake(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    async with serving(shout, limited(server, connections=1)) as served:
        stream = await served.connect(client)
        silent = Tap(await served.listener.connect())
        start = trio.current_time()
        assert await silent.receive_some() == bytes([5, 0, 4, ss.AlertCode.BUSY, 0])
        assert await silent.receive_some() == b""
        assert trio.current_time() - start == pytest.approx(server.handshake_timeout)
        await silent.aclose()
        assert await ask(stream) == b"HELLO"


async def test_when_too_many_are_being_told_the_next_is_just_closed(
    monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(admission, "_MAX_REFUSALS", 1)
    client, server = matching_configs()
    async with serving(shout, limited(server, connections=1)) as served:
        stream = await served.connect(client)
        for _ in range(3):
            silent = await served.listener.connect()
            await trio.testing.wait_all_tasks_blocked()
            await failure_of(served.connect(client), ss.HandshakeTruncated)
            await silent.aclose()
            await trio.testing.wait_all_tasks_blocked()
            assert (await failure_of(served.connect(client), ss.HandshakeRefused)).code == "busy"
            await trio.testing.wait_all_tasks_blocked()
        assert await ask(stream) == b"HELLO"
