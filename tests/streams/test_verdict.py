"""Who may connect is decided by `authorize`, and the client hears the verdict through the encrypted stream."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import pytest
import trio

import securestream as ss

from ..protocol.support import PREFIX
from .support import (
    Configs,
    handshake_outcomes,
    matching_configs,
    secure_pair,
    suite_of,
)
from .transports import Tap, memory_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock


def raising(error: BaseException) -> Callable[[ss.Peer], Awaitable[object]]:
    async def authorize(peer: ss.Peer) -> NoReturn:
        raise error

    return authorize


def answering(answer: object) -> Callable[[ss.Peer], Awaitable[object]]:
    async def authorize(peer: ss.Peer) -> object:
        await trio.lowlevel.checkpoint()
        return answer

    return authorize


async def verdict(
    authorize: Callable[[ss.Peer], Awaitable[object]], configs: Configs | None = None
) -> tuple[ss.HandshakeRefused, ss.HandshakeError]:
    """What a refusal is on the client's side and on the server's."""
    client, server = configs or matching_configs()
    at_client, at_server = await handshake_outcomes(await memory_pair(), client, replace(server, authorize=authorize))
    assert isinstance(at_client, ss.HandshakeRefused)
    assert at_client.authenticated
    assert at_server is not None
    return at_client, at_server


async def test_what_authorize_returns_is_the_principal(configs: Configs, autojump_clock: MockClock) -> None:
    principal = object()
    client, server = configs
    _, stream = await secure_pair(memory_pair, (client, replace(server, authorize=answering(principal))))
    assert stream.peer.principal is principal


@pytest.mark.parametrize("answer", [None, True, 0, "", [], "someone"])
async def test_returning_anything_but_false_accepts(answer: object, autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    _, stream = await secure_pair(memory_pair, (client, replace(server, authorize=answering(answer))))
    assert stream.peer.principal is answer


async def test_returning_false_is_an_error_and_refuses(autojump_clock: MockClock) -> None:
    at_client, at_server = await verdict(answering(False))
    assert at_client.alert == ss.Alert(ss.AlertCode.INTERNAL_ERROR)
    assert isinstance(at_server, ss.AuthorizationFailed)
    assert "PermissionError" in str(at_server.__cause__)


async def test_a_permission_error_s_text_goes_to_the_client_in_alert_7(
    configs: Configs, autojump_clock: MockClock
) -> None:
    at_client, at_server = await verdict(raising(PermissionError("not on a Sunday")), configs)
    assert at_client.alert == ss.Alert(ss.AlertCode.ACCESS_DENIED, "not on a Sunday")
    assert "not on a Sunday" in str(at_client)
    assert isinstance(at_server, ss.AccessDenied)
    assert at_server.public_key == (configs[0].key.public_key if configs[0].key else ss.NOBODY)


async def test_a_permission_error_without_text_is_alert_7_with_advice(autojump_clock: MockClock) -> None:
    at_client, _ = await verdict(raising(PermissionError()))
    assert at_client.alert == ss.Alert(ss.AlertCode.ACCESS_DENIED)
    assert "operator can add it" in str(at_client)


async def test_a_text_too_long_for_an_alert_is_cut_off(configs: Configs, autojump_clock: MockClock) -> None:
    at_client, _ = await verdict(raising(PermissionError("ä" * 20_000)), configs)
    assert at_client.alert.message == "ä" * (16_345 // 2)


async def test_a_text_that_utf_8_cannot_hold_is_replaced(autojump_clock: MockClock) -> None:
    at_client, _ = await verdict(raising(PermissionError("not \ud800 allowed")))
    assert at_client.alert.message == "not ? allowed"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("the password is swordfish"),
        KeyError("x"),
        trio.TooSlowError(),
        ss.StreamFailure(5_001, "a text for handlers"),
        ExceptionGroup("of one", [PermissionError("no verdict")]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_any_other_exception_is_alert_13_without_text(
    error: Exception, configs: Configs, autojump_clock: MockClock
) -> None:
    at_client, at_server = await verdict(raising(error), configs)
    assert at_client.alert == ss.Alert(ss.AlertCode.INTERNAL_ERROR)
    assert isinstance(at_server, ss.AuthorizationFailed)
    assert at_server.__cause__ is error


async def test_a_permission_error_of_the_operating_system_leaks_no_text(autojump_clock: MockClock) -> None:
    error = PermissionError(errno.EACCES, "Permission denied", "/etc/securestream/clients")
    at_client, at_server = await verdict(raising(error))
    assert at_client.alert == ss.Alert(ss.AlertCode.INTERNAL_ERROR)
    assert isinstance(at_server, ss.AuthorizationFailed)
    assert at_server.__cause__ is error


async def test_an_authorize_that_turns_out_not_to_be_async_refuses(autojump_clock: MockClock) -> None:
    at_client, at_server = await verdict(lambda _: None)  # type: ignore[arg-type, return-value]  # the mistake
    assert at_client.alert.code == ss.AlertCode.INTERNAL_ERROR
    assert isinstance(at_server, ss.AuthorizationFailed)
    assert str(at_server.__cause__) == "authorize is to be async, and returned a NoneType"


async def test_an_authorize_whose_tasks_fail_while_the_deadline_cancels_them_was_too_slow(
    autojump_clock: MockClock,
) -> None:
    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("swordfish")

    async def authorize(peer: ss.Peer) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            nursery.start_soon(trio.sleep_forever)

    at_client, at_server = await verdict(authorize, matching_configs_with_server_timeout(3))
    assert at_client.alert == ss.Alert(ss.AlertCode.HANDSHAKE_TIMEOUT)
    assert isinstance(at_server, ss.HandshakeTimeout)


async def test_a_base_exception_of_authorize_is_raised_on(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    with pytest.raises(BaseExceptionGroup) as caught:
        await handshake_outcomes(await memory_pair(), client, replace(server, authorize=raising(SystemExit())))
    assert caught.group_contains(SystemExit)


async def test_authorize_runs_inside_the_handshake_s_deadline(autojump_clock: MockClock) -> None:
    async def authorize(peer: ss.Peer) -> None:
        await trio.sleep(4)

    start = trio.current_time()
    at_client, at_server = await verdict(authorize, matching_configs_with_server_timeout(3))
    assert at_client.alert == ss.Alert(ss.AlertCode.HANDSHAKE_TIMEOUT)
    assert isinstance(at_server, ss.HandshakeTimeout)
    assert trio.current_time() - start == pytest.approx(3)


def matching_configs_with_server_timeout(seconds: float) -> Configs:
    client, server = matching_configs()
    return client, replace(server, handshake_timeout=seconds)


async def test_a_slow_authorize_within_the_deadline_is_waited_for(autojump_clock: MockClock) -> None:
    async def authorize(peer: ss.Peer) -> str:
        await trio.sleep(2.9)
        return "slow"

    client, server = matching_configs_with_server_timeout(3)
    _, stream = await secure_pair(memory_pair, (client, replace(server, authorize=authorize)))
    assert stream.peer.principal == "slow"


async def test_authorize_gets_key_credentials_address_and_whether_the_secret_was_used(
    autojump_clock: MockClock,
) -> None:
    asked: list[ss.Peer] = []

    async def authorize(peer: ss.Peer) -> None:
        asked.append(peer)

    client, server = matching_configs()
    secret = ss.SharedSecret.generate()
    server = replace(server, authorize=authorize, secrets=[secret])
    for client_secret, credentials in ((None, b""), (secret, b"a token")):
        configs = (replace(client, secret=client_secret, credentials=credentials), server)
        near, _ = await secure_pair(memory_pair, configs)
        assert near.peer.used_secret is (client_secret is not None)
        peer = asked[-1]
        assert client.key is not None
        assert peer.public_key == client.key.public_key
        assert peer.credentials == credentials
        assert peer.used_secret is (client_secret is not None)
        assert peer.address == ""  # memory streams have none; tests/service has those that do


async def test_the_peer_of_the_stream_is_the_one_that_authorize_saw(autojump_clock: MockClock) -> None:
    asked: list[ss.Peer] = []

    async def authorize(peer: ss.Peer) -> str:
        asked.append(peer)
        return "alice"

    client, server = matching_configs()
    _, stream = await secure_pair(memory_pair, (client, replace(server, authorize=authorize)))
    assert stream.peer == replace(asked[0], principal="alice", name="alice")


async def test_a_principal_with_a_name_names_the_peer(autojump_clock: MockClock) -> None:
    class User:
        name = "alice"

    client, server = matching_configs()
    _, stream = await secure_pair(memory_pair, (client, replace(server, authorize=answering(User()))))
    assert stream.peer.name == "alice"


@pytest.mark.parametrize("name", [7, None])
async def test_a_name_that_is_no_text_names_nobody(name: object, autojump_clock: MockClock) -> None:
    class User:
        pass

    user = User()
    user.name = name  # type: ignore[attr-defined]
    client, server = matching_configs()
    _, stream = await secure_pair(memory_pair, (client, replace(server, authorize=answering(user))))
    assert stream.peer.name == ""


async def test_credentials_may_sign_the_transcript(autojump_clock: MockClock) -> None:
    signed: list[bytes] = []

    def credentials(to_sign: bytes) -> bytes:
        signed.append(to_sign)
        return b"signature"

    client, server = matching_configs()
    transcripts = []
    for _ in range(2):
        _, stream = await secure_pair(memory_pair, (replace(client, credentials=credentials), server))
        assert stream.peer.credentials == b"signature"
        transcripts.append(stream.peer.transcript)
    assert transcripts == signed
    assert transcripts[0] != transcripts[1]
    assert transcripts[0].startswith(b"securestream/1 client credentials\0")
    assert client.key is not None
    assert transcripts[0].endswith(bytes(client.key.public_key))


@pytest.mark.wire
async def test_accept_and_refusal_have_the_same_size_on_the_wire(configs: Configs, autojump_clock: MockClock) -> None:
    client, server = configs
    sizes = set()
    for authorize in (answering(None), raising(PermissionError("no")), raising(ValueError())):
        near, far = await memory_pair()
        tap = Tap(far)
        await handshake_outcomes((near, tap), client, replace(server, authorize=authorize))
        sizes.add(len(tap.sends[1]))
    assert sizes == {512 + PREFIX[suite_of(client)]}
