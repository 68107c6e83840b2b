"""Every way in which a handshake fails: both sides end at once, each with its own error, a code and advice."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.protocol.messages import Kind
from securestream.streams.place import Place
from securestream.streams.wrap import refuse_client

from .support import (
    Configs,
    FrameStream,
    failure_of,
    handshake_outcomes,
    in_background,
    matching_configs,
)
from .transports import Transports, WithoutHalfClose, memory_pair, tcp_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

STRANGER, SERVER = ss.PrivateKey.generate(), ss.PrivateKey.generate()
SECRET, OTHER_SECRET = ss.SharedSecret.generate(), ss.SharedSecret.generate()


@dataclass(frozen=True)
class Failure:
    """How the two sides are configured, and what each of them gets: class, code, and words of the message."""

    client: dict[str, object] = field(default_factory=dict)
    server: dict[str, object] = field(default_factory=dict)
    at_client: tuple[type[ss.HandshakeError], str, str] = (ss.HandshakeError, "", "")
    at_server: tuple[type[ss.HandshakeError], str, str] = (ss.HandshakeError, "", "")


def refused(code: str, words: str) -> tuple[type[ss.HandshakeError], str, str]:
    return ss.HandshakeRefused, code, words


TRUNCATED = (ss.HandshakeTruncated, "handshake_truncated", "the connection was closed in the middle of the handshake")
ONE, OTHER = [ss.Suite.XCHACHA20_POLY1305], [ss.Suite.AEGIS_256]

FAILURES = {
    "a wrong server key": Failure(
        client={"server_key": STRANGER.public_key},
        at_client=(ss.ServerKeyMismatch, "server_key_mismatch", "put the new key into this client's configuration"),
        at_server=TRUNCATED,
    ),
    "a wrong server key where the route is required": Failure(
        client={"server_key": STRANGER.public_key},
        server={"require_route": True},
        at_client=refused("unknown_server_key", "not the key of the server at this address"),
        at_server=(ss.UnknownServerKey, "unknown_server_key", "a route that is not for this server"),
    ),
    "a route that this server reads and that names another": Failure(
        client={"server_key": STRANGER.public_key, "middlebox_key": SERVER.public_key},
        server={"key": SERVER},
        at_client=refused("unknown_server_key", "not the key of the server at this address"),
        at_server=(ss.UnknownServerKey, "unknown_server_key", "a route that names another server"),
    ),
    "a wrong server key behind a middlebox": Failure(
        client={"server_key": STRANGER.public_key, "middlebox_key": ss.PrivateKey.generate().public_key},
        at_client=(ss.ServerKeyMismatch, "server_key_mismatch", "put the new key into this client's configuration"),
        at_server=TRUNCATED,
    ),
    "a route that is required and is for a middlebox": Failure(
        client={"middlebox_key": ss.PrivateKey.generate().public_key},
        server={"require_route": True},
        at_client=refused("unknown_server_key", "not the key of the server at this address"),
        at_server=(ss.UnknownServerKey, "unknown_server_key", "a route that is not for this server"),
    ),
    "a route that is required of a client that knows no key": Failure(
        client={"server_key": None, "secret": SECRET},
        server={"require_route": True, "secrets": [SECRET]},
        at_client=refused("unknown_server_key", "not the key of the server at this address"),
        at_server=(ss.UnknownServerKey, "unknown_server_key", "a route that is not for this server"),
    ),
    "a wrong secret": Failure(
        client={"secret": OTHER_SECRET},
        server={"secrets": [SECRET]},
        at_client=refused("bad_secret", "compare it on both sides"),
        at_server=(ss.BadSecret, "bad_secret", "a wrong secret"),
    ),
    "a missing secret": Failure(
        server={"secrets": [SECRET], "require_secret": True},
        at_client=refused("bad_secret", "compare it on both sides"),
        at_server=(ss.BadSecret, "bad_secret", "no secret where this server demands one"),
    ),
    "a secret that nobody wants": Failure(
        client={"secret": SECRET},
        at_client=refused("bad_secret", "compare it on both sides"),
        at_server=(ss.BadSecret, "bad_secret", "a secret where this server takes none"),
    ),
    "a client that isn't authorised": Failure(
        client={"key": STRANGER},
        at_client=refused("access_denied", f"the public key {STRANGER.public_key} is not authorised here"),
        at_server=(ss.AccessDenied, "access_denied", str(STRANGER.public_key)),
    ),
    "no common suite": Failure(
        client={"suites": ONE},
        server={"suites": OTHER},
        at_client=refused("no_common_suite", "compare suites= on both sides"),
        at_server=(ss.NoCommonSuite, "no_common_suite", "no suite in common"),
    ),
}


async def fails_as(failure: Failure, transports: Transports) -> None:
    client, server = matching_configs()
    start = trio.current_time()
    ends = await handshake_outcomes(
        transports,
        replace(client, **failure.client),  # type: ignore[arg-type]
        replace(server, **failure.server),  # type: ignore[arg-type]
    )
    assert trio.current_time() == start, "it took until a deadline"
    for error, (kind, code, words) in zip(ends, (failure.at_client, failure.at_server), strict=True):
        assert type(error) is kind
        assert error.code == code
        assert words in str(error)
    for transport in transports:
        with pytest.raises(trio.ClosedResourceError):
            await transport.send_all(b"x")


@pytest.mark.parametrize("name", FAILURES)
async def test_each_failure_ends_both_sides_at_once_with_an_error_of_their_own(
    name: str, make_transports: Callable[[], Awaitable[Transports]], autojump_clock: MockClock
) -> None:
    await fails_as(FAILURES[name], await make_transports())


@pytest.mark.parametrize("name", FAILURES)
async def test_each_failure_is_told_over_transports_without_half_close(name: str, autojump_clock: MockClock) -> None:
    near, far = await memory_pair()
    await fails_as(FAILURES[name], (WithoutHalfClose(near), WithoutHalfClose(far)))


@pytest.mark.parametrize("name", FAILURES)
async def test_each_failure_is_told_over_real_tcp(name: str) -> None:
    client, server = matching_configs()
    failure = FAILURES[name]
    with trio.fail_after(60):
        ends = await handshake_outcomes(
            await tcp_pair(),
            replace(client, **failure.client),  # type: ignore[arg-type]
            replace(server, **failure.server),  # type: ignore[arg-type]
        )
    assert [type(error) for error in ends] == [failure.at_client[0], failure.at_server[0]]


async def test_a_refusal_in_clear_is_said_to_be_in_clear(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    error, _ = await handshake_outcomes(
        await memory_pair(), replace(client, secret=SECRET), replace(server, secrets=[OTHER_SECRET])
    )
    assert isinstance(error, ss.HandshakeRefused)
    assert not error.authenticated
    assert str(error).endswith("[bad_secret; said in clear, before the server had proved its key]")


async def test_a_refusal_after_the_handshake_is_authenticated(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    error, _ = await handshake_outcomes(await memory_pair(), replace(client, key=STRANGER), server)
    assert isinstance(error, ss.HandshakeRefused)
    assert error.authenticated
    assert str(error).endswith("[access_denied]")


async def test_a_key_mismatch_names_both_keys(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    error, _ = await handshake_outcomes(await memory_pair(), replace(client, server_key=STRANGER.public_key), server)
    assert isinstance(error, ss.ServerKeyMismatch)
    assert (error.expected, error.received) == (STRANGER.public_key, server.key.public_key)
    assert str(error.expected) in str(error)
    assert str(error.received) in str(error)


async def test_a_client_never_shows_itself_to_a_server_with_another_key(autojump_clock: MockClock) -> None:
    asked: list[ss.Peer] = []

    async def authorize(peer: ss.Peer) -> None:
        asked.append(peer)

    client, server = matching_configs()
    stranger = replace(client, server_key=STRANGER.public_key)
    await handshake_outcomes(await memory_pair(), stranger, replace(server, authorize=authorize))
    assert not asked


# --- judging the server's key ---------------------------------------------------------------------------


async def judged_by(
    judge: Callable[[ss.PublicKey], Awaitable[object]],
) -> tuple[ss.HandshakeError | None, ss.HandshakeError | None]:
    client, server = matching_configs()
    return await handshake_outcomes(await memory_pair(), replace(client, server_key=judge), server)


async def test_a_callable_accepts_a_server_s_key_by_returning(autojump_clock: MockClock) -> None:
    judged: list[ss.PublicKey] = []

    async def judge(key: ss.PublicKey) -> None:
        judged.append(key)

    assert await judged_by(judge) == (None, None)
    assert len(judged) == 1


async def test_a_callable_refuses_a_server_s_key_by_permission_error(autojump_clock: MockClock) -> None:
    refusal = PermissionError("this is not the key of last week")

    async def judge(key: ss.PublicKey) -> None:
        raise refusal

    at_client, at_server = await judged_by(judge)
    assert isinstance(at_client, ss.ServerKeyMismatch)
    assert "this is not the key of last week" in str(at_client)
    assert at_client.expected is None
    assert at_client.__cause__ is refusal
    assert isinstance(at_server, ss.HandshakeTruncated)


async def test_a_callable_that_returns_false_refuses_a_server_s_key(autojump_clock: MockClock) -> None:
    async def judge(key: ss.PublicKey) -> bool:
        return False

    at_client, _ = await judged_by(judge)
    assert isinstance(at_client, ss.ServerKeyMismatch)
    assert "it is not known here" in str(at_client)


async def test_any_other_error_of_the_callable_is_raised_as_it_is_and_closes(autojump_clock: MockClock) -> None:
    async def judge(key: ss.PublicKey) -> None:
        raise ZeroDivisionError

    client, server = matching_configs()
    near, far = await memory_pair()
    async with in_background(partial(failure_of, ss.wrap_server(far, server), ss.HandshakeTruncated)):
        with pytest.raises(ZeroDivisionError):
            await ss.wrap_client(near, replace(client, server_key=judge))


async def test_a_client_that_knows_only_the_secret_takes_any_server_that_has_it(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    assert await handshake_outcomes(
        await memory_pair(), replace(client, server_key=None, secret=SECRET), replace(server, secrets=[SECRET])
    ) == (None, None)


async def test_while_secrets_are_rotated_the_old_and_the_new_one_are_taken_and_none_too(
    autojump_clock: MockClock,
) -> None:
    client, server = matching_configs()
    rotating = replace(server, secrets=[OTHER_SECRET, SECRET])
    for secret in (SECRET, OTHER_SECRET, None):
        ends = await handshake_outcomes(await memory_pair(), replace(client, secret=secret), rotating)
        assert ends == (None, None)


async def test_a_client_without_a_key_of_its_own_has_a_fresh_one_each_time(autojump_clock: MockClock) -> None:
    seen: set[ss.PeerKey] = set()

    async def authorize(peer: ss.Peer) -> None:
        seen.add(peer.public_key)

    client, server = matching_configs()
    for _ in range(2):
        await handshake_outcomes(await memory_pair(), replace(client, key=None), replace(server, authorize=authorize))
    assert len(seen) == 2


@pytest.mark.parametrize("result", [b"x" * 32_769, "text"], ids=["too long", "text"])
async def test_credentials_that_cannot_be_sent_are_the_client_s_own_error(
    result: object, autojump_clock: MockClock
) -> None:
    def credentials(to_sign: bytes) -> bytes:
        return result  # type: ignore[return-value]

    client, server = matching_configs()
    near, far = await memory_pair()
    async with in_background(partial(failure_of, ss.wrap_server(far, server), ss.HandshakeTruncated)):
        with pytest.raises((ValueError, TypeError)):
            await ss.wrap_client(near, replace(client, credentials=credentials))


# --- a client of another version ------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "value"), [(6, ord("2")), (7, 4), (7, 0x80)], ids=["version", "mode 4", "mode 128"])
async def test_another_version_or_mode_is_alert_3(at: int, value: int, autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    hello = bytearray(client._new_handshake().hello())
    hello[at] = value
    near, far = await memory_pair()
    async with in_background(partial(failure_of, ss.wrap_server(far, server), ss.UnsupportedVersion)):
        await near.send_all(hello)
        assert await FrameStream(near).receive(Kind.ALERT) == bytes([ss.AlertCode.UNSUPPORTED_VERSION, 0])
        await near.aclose()


@pytest.mark.wire
async def test_a_client_that_is_told_of_another_version_says_what_to_do(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await memory_pair()
    await far.send_all(bytes([5, 0, 4, ss.AlertCode.UNSUPPORTED_VERSION, 0]))
    error = await failure_of(ss.wrap_client(near, configs[0]), ss.HandshakeRefused)
    assert "update the older side" in str(error)
    assert error.code == "unsupported_version"


# --- busy -------------------------------------------------------------------------------------------------


async def test_a_server_without_room_says_so(
    make_transports: Callable[[], Awaitable[Transports]], autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    near, far = await make_transports()
    refusing = refuse_client(far, server, Place(far, server.handshake_timeout), "no room")
    async with in_background(partial(failure_of, refusing, ss.ServerBusy)):
        error = await failure_of(ss.wrap_client(near, client), ss.HandshakeRefused)
    assert error.code == "busy"
    assert "try again later" in str(error)


async def test_a_silent_client_is_turned_away_after_the_handshake_s_deadline(autojump_clock: MockClock) -> None:
    _, server = matching_configs()
    near, far = await memory_pair()
    start = trio.current_time()
    refusing = refuse_client(far, server, Place(far, server.handshake_timeout), "")
    async with in_background(partial(failure_of, refusing, ss.ServerBusy)):
        assert await FrameStream(near).receive(Kind.ALERT) == bytes([ss.AlertCode.BUSY, 0])
        await near.aclose()
    assert trio.current_time() - start == pytest.approx(server.handshake_timeout)


# --- every exception ------------------------------------------------------------------------------------------

KEY = STRANGER.public_key
EXAMPLES: dict[ss.StreamError, str] = {
    ss.StreamError(): "broken",
    ss.PeerAlert(ss.Alert(1)): "application_error",
    ss.PeerAlert(ss.Alert(4_711)): "alert_4711",
    ss.TruncatedStream(): "truncated_stream",
    ss.BadRecord("", "bad_record"): "bad_record",
    ss.BadMessage(): "bad_message",
    ss.TransportBroken(): "transport_broken",
    ss.HandshakeError(): "protocol_error",
    ss.HandshakeTimeout(): "handshake_timeout",
    ss.HandshakeTruncated(): "handshake_truncated",
    ss.ServerKeyMismatch(KEY, KEY): "server_key_mismatch",
    ss.HandshakeRefused(ss.Alert(7)): "access_denied",
    ss.UnsupportedVersion(): "unsupported_version",
    ss.InappropriateFallback(): "inappropriate_fallback",
    ss.NoCommonSuite(): "no_common_suite",
    ss.UnknownServerKey(): "unknown_server_key",
    ss.BadSecret(): "bad_secret",
    ss.BadResponse(): "bad_response",
    ss.AccessDenied("", KEY): "access_denied",
    ss.BadCredentials("", KEY): "bad_credentials",
    ss.CredentialsFailed(): "internal_error",
    ss.NotLoopback(): "not_loopback",
    ss.ServerBusy(): "busy",
    ss.AuthorizationFailed("", KEY): "internal_error",
    ss.SecretsFailed(): "internal_error",
    ss.BadCredentials("", KEY): "bad_credentials",
    ss.CredentialsFailed(): "internal_error",
}
IN_THE_HANDSHAKE = {
    "HandshakeError", "HandshakeTimeout", "HandshakeTruncated", "ServerKeyMismatch", "HandshakeRefused",
    "UnsupportedVersion", "NoCommonSuite", "UnknownServerKey", "BadSecret", "BadResponse", "AccessDenied",
    "ServerBusy", "AuthorizationFailed", "SecretsFailed", "BadCredentials", "CredentialsFailed", "NotLoopback",
    "InappropriateFallback",
}  # fmt: skip


def public_errors() -> list[type[ss.StreamError]]:
    values = (getattr(ss, name) for name in ss.__all__)
    return [value for value in values if inspect.isclass(value) and issubclass(value, ss.StreamError)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_exception_has_its_stable_code(example: ss.StreamError) -> None:
    assert example.code == EXAMPLES[example]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ss.PeerAlert(ss.Alert(5_001, "why")), "the peer ended the stream: alert 5001: why"),
        (
            ss.PeerAlert(ss.Alert(13)),
            "the peer ended the stream: alert 13 (internal_error); it failed, and its own log says why",
        ),
        (ss.PeerAlert(ss.Alert(13, "full")), "the peer ended the stream: alert 13 (internal_error): full"),
        (ss.TruncatedStream(), "the connection ended in the middle of the stream"),
        (ss.BadRecord("a record of 1 bytes", "bad_record"), "a record of 1 bytes"),
        (ss.AccessDenied("not today", KEY), "not today"),
        (ss.StreamFailure(5_001, "why"), "alert 5001: why"),
        (ss.HandshakeRefused(ss.Alert(7, "no")), "the server refused this client: no [access_denied]"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_exception_with_something_of_its_own_to_say_says_it(error: Exception, text: str) -> None:
    assert str(error) == text


def test_what_came_through_the_encrypted_stream_is_authenticated_unless_it_is_said_not_to_be() -> None:
    assert ss.PeerAlert(ss.Alert(1)).authenticated
    assert not ss.PeerAlert(ss.Alert(1), authenticated=False).authenticated
    assert ss.HandshakeRefused(ss.Alert(1)).authenticated


def test_every_exception_stands_in_the_table() -> None:
    assert {type(example) for example in EXAMPLES} == set(public_errors())


def test_every_exception_is_a_broken_resource_for_code_written_for_any_stream() -> None:
    assert all(issubclass(error, trio.BrokenResourceError) for error in public_errors())


def test_the_exceptions_of_a_handshake_are_handshake_errors() -> None:
    assert {error.__name__ for error in public_errors() if issubclass(error, ss.HandshakeError)} == IN_THE_HANDSHAKE


def test_a_refusal_is_a_peer_alert_and_a_truncated_handshake_a_truncated_stream() -> None:
    assert issubclass(ss.HandshakeRefused, ss.PeerAlert)
    assert issubclass(ss.HandshakeTruncated, ss.TruncatedStream)


@pytest.mark.parametrize("code", ss.AlertCode, ids=lambda code: str(code.name))
def test_a_refusal_of_every_code_says_more_than_its_name(code: ss.AlertCode) -> None:
    text = str(ss.HandshakeRefused(ss.Alert(code)))
    assert text.startswith("the server refused this client: ")
    assert text.endswith(f"[{code.name.lower()}]")


def test_a_refusal_of_an_unknown_code_shows_it() -> None:
    assert "4711" in str(ss.HandshakeRefused(ss.Alert(4_711)))


def test_the_text_of_a_refusal_is_shown_escaped() -> None:
    assert str(ss.HandshakeRefused(ss.Alert(7, "no\r\n\x1b[2J"))).isprintable()


def test_stream_failure_is_checked_like_an_alert() -> None:
    assert ss.StreamFailure().alert == ss.Alert(ss.AlertCode.APPLICATION_ERROR)
    assert "5001" in str(ss.StreamFailure(5_001, "why"))
    assert "why" in str(ss.StreamFailure(5_001, "why"))
    with pytest.raises(ValueError):
        ss.StreamFailure(0)
    with pytest.raises(ValueError):
        ss.StreamFailure(1, "x" * 20_000)


async def test_the_other_sides_configuration_is_refused_before_anything_is_sent() -> None:
    client, server = matching_configs()
    near, far = await memory_pair()
    with pytest.raises(TypeError, match="config takes a ClientConfig, not a"):
        await ss.wrap_client(near, server)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(TypeError, match="config takes a ServerConfig, not a"):
        await ss.wrap_server(far, client)  # type: ignore[arg-type]  # what is refused
    await near.send_all(b"x")
    assert await far.receive_some() == b"x"  # the caller still has them
