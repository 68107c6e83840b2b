"""A key that is removed ends the connections that it has, where the server is told to ask again."""

from __future__ import annotations

import datetime as dt
import math
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.trust.credentials.tokens import TokenVerifier

from ..streams.support import PATIENCE, matching_configs, receive_until_error
from ..trust.support import File
from .support import ask, serving, serving_tcp, shout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trio.testing import MockClock


class Clients(File):
    """A file of authorised clients."""

    def list(self, *keys: ss.PrivateKey | ss.TlsPrivateKey | None, options: str = "") -> None:
        self.write("".join(f"{key.public_key} somebody {options}\n" for key in keys if key is not None))


@pytest.fixture
def clients(tmp_path: Path) -> Clients:
    return Clients(tmp_path / "clients")


class Verdict:
    """An `authorize` whose answer changes."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.asked = 0
        self.slow = False

    async def __call__(self, peer: ss.Peer) -> str:
        self.asked += 1
        if self.slow:
            await trio.sleep_forever()
        if self.error is not None:
            raise self.error
        return "somebody"


@asynccontextmanager
async def connected(verdict: Verdict, recheck: float) -> AsyncIterator[ss.SecureStream[trio.abc.HalfCloseableStream]]:
    client, server = matching_configs()
    async with (
        serving(shout, replace(server, authorize=verdict, recheck=recheck)) as served,
        await served.connect(client) as stream,
    ):
        assert await ask(stream) == b"HELLO"
        yield stream


async def test_a_removed_key_s_connections_end_with_the_reason_and_the_others_go_on(
    clients: Clients, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    other = replace(client, key=ss.PrivateKey.generate())
    clients.list(client.key, other.key)
    server = replace(server, authorize=ss.AuthorizedPeersFile(clients.path), recheck=1)
    async with serving(shout, server) as served:
        ends = [await served.connect(config) for config in (client, client, other)]
        await trio.sleep(5)
        assert [await ask(end) for end in ends] == [b"HELLO"] * 3
        clients.list(other.key)
        for end in ends[:2]:
            _, error = await receive_until_error(end)
            assert isinstance(error, ss.PeerAlert)
            assert (error.alert.code, error.authenticated) == (ss.AlertCode.ACCESS_DENIED, True)
            assert "is not authorised here" in error.alert.message
        assert await ask(ends[2]) == b"HELLO"


async def test_over_tcp_too(clients: Clients) -> None:
    client, server = matching_configs()
    clients.list(client.key)
    server = replace(server, authorize=ss.AuthorizedPeersFile(clients.path), recheck=0.02)
    with trio.fail_after(PATIENCE):
        async with (
            serving_tcp(shout, server) as port,
            await ss.open_secure_tcp_stream("127.0.0.1", port, client) as stream,
        ):
            assert await ask(stream) == b"HELLO"
            clients.list()
            _, error = await receive_until_error(stream)
            assert error.code == "access_denied"


async def test_a_key_that_has_lasted_its_time_ends_its_connections(clients: Clients, autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    clients.list(client.key, options="until=2027-06-30T12:00:00Z")
    start = dt.datetime(2027, 6, 30, 11, 59, tzinfo=dt.UTC)
    authorize = ss.AuthorizedPeersFile(
        clients.path, now=lambda: start + dt.timedelta(seconds=trio.current_time() - began)
    )
    began = trio.current_time()
    async with serving(shout, replace(server, authorize=authorize, recheck=1)) as served:
        stream = await served.connect(client)
        _, error = await receive_until_error(stream)
    assert error.code == "access_denied"
    assert 60 <= trio.current_time() - began <= 62


async def test_without_it_nobody_is_asked_again(autojump_clock: MockClock) -> None:
    verdict = Verdict()
    async with connected(verdict, math.inf) as stream:
        verdict.error = PermissionError("not any more")
        await trio.sleep(1_000)
        assert await ask(stream) == b"HELLO"
    assert verdict.asked == 1


async def test_the_client_reads_what_authorize_says_and_the_log_names_him(
    autojump_clock: MockClock, log: pytest.LogCaptureFixture
) -> None:
    verdict = Verdict()
    async with connected(verdict, 1) as stream:
        verdict.error = PermissionError("your month\nis over " + "x" * 20_000)
        _, error = await receive_until_error(stream)
        assert isinstance(error, ss.PeerAlert)
        assert error.alert.message.startswith("your month\nis over xxx")
    assert "ended " in log.text
    assert r"your month\nis over" in log.text


@pytest.mark.parametrize(
    "error",
    [OSError("database down"), PermissionError(13, "Permission denied", "/etc/clients"), ValueError()],
    ids=["os", "file", "bug"],
)
async def test_an_authorize_that_fails_leaves_the_connections_alone_and_the_log_tells(
    error: Exception, autojump_clock: MockClock, log: pytest.LogCaptureFixture
) -> None:
    verdict = Verdict()
    async with connected(verdict, 1) as stream:
        verdict.error = error
        await trio.sleep(3.5)
        assert verdict.asked == 4
        assert await ask(stream) == b"HELLO"
        verdict.error = PermissionError("no")
        assert (await receive_until_error(stream))[1].code == "access_denied"
    assert log.text.count("stays, for authorize failed") == 3


async def test_an_authorize_that_hangs_is_given_the_time_of_a_handshake(
    autojump_clock: MockClock, log: pytest.LogCaptureFixture
) -> None:
    verdict = Verdict()
    async with connected(verdict, 1) as stream:
        verdict.slow = True
        await trio.sleep(13)
        assert await ask(stream) == b"HELLO"
        assert verdict.asked == 1 + 3
        verdict.slow, verdict.error = False, PermissionError("no")
        assert (await receive_until_error(stream))[1].code == "access_denied"
    assert log.text.count("stays, for authorize failed") == 3


async def test_a_handler_that_is_busy_ends_too_and_cleans_up(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    verdict, cleaned = Verdict(), []

    async def busy(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cleaned.append(stream.peer.principal)

    async with serving(busy, replace(server, authorize=verdict, recheck=1)) as served:
        stream = await served.connect(client)
        verdict.error = PermissionError("no")
        assert (await receive_until_error(stream))[1].code == "access_denied"
    assert cleaned == ["somebody"]


@pytest.mark.parametrize("recheck", [0, -1, math.nan])
def test_what_is_no_time_is_refused(recheck: float) -> None:
    with pytest.raises(ValueError, match="recheck are seconds, more than none"):
        replace(matching_configs()[1], recheck=recheck)


def test_a_handler_alone_can_not_ask_again() -> None:
    with pytest.raises(ValueError, match="recheck need"):
        ss.secure_handler(shout, replace(matching_configs()[1], recheck=1))


@pytest.mark.parametrize("several", [False, True], ids=["alone", "one of several"])
def test_what_ages_by_itself_is_not_asked_for_again(several: bool) -> None:
    verifier: ss.Verifier = TokenVerifier(bytes(range(32)), "HS256")
    if several:
        verifier = ss.SeveralVerifier(ss.Ed25519Verifier([]), verifier)
    key = ss.PrivateKey.generate()
    assert ss.ServerConfig(key=key, authorize=verifier).recheck == math.inf
    with pytest.raises(ValueError, match="recheck would end every connection"):
        ss.ServerConfig(key=key, authorize=verifier, recheck=60)
    assert ss.ServerConfig(key=key, authorize=ss.Ed25519Verifier([]), recheck=60).recheck == 60
