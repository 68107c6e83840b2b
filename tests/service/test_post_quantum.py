"""The hybrid handshake as a user meets it: who gets it, who goes without, and that nobody can bring that about."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, get_args

import pytest
import trio

import securestream as ss
from securestream.protocol import hybrid
from securestream.protocol.hybrid import ClientPostQuantum, PostQuantum
from securestream.protocol.messages import Kind, encode_alert_frame
from securestream.testing import secure_stream_pair

from ..streams.support import handshake_outcomes
from ..streams.transports import memory_pair, tcp_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trio.testing import MockClock

    from ..streams.transports import Transports

SERVER = ss.PrivateKey.generate()


def client_config(choice: ClientPostQuantum = "prefer") -> ss.ClientConfig:
    return ss.ClientConfig(server_key=SERVER.public_key, post_quantum=choice)


def server_config(choice: PostQuantum = "prefer") -> ss.ServerConfig:
    return ss.ServerConfig(key=SERVER, authorize=ss.ANYONE, post_quantum=choice)


@asynccontextmanager
async def serving(choice: PostQuantum) -> AsyncIterator[int]:
    """A server on loopback that says of each connection whether it is hybrid."""

    async def tell(stream: ss.SecureStream[trio.SocketStream]) -> None:
        await stream.send_all(str(stream.session.post_quantum).encode())

    async with trio.open_nursery() as nursery:
        serve = partial(ss.serve_secure_tcp, tell, 0, server_config(choice), host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


# --- what the two sides choose --------------------------------------------------------------------------

# By the client's choice, what comes of a server that prefers, requires, or has none: hybrid or not, or the alert.
OUTCOMES: dict[ClientPostQuantum, tuple[bool | str, bool | str, bool | str]] = {
    "prefer": (True, True, False),
    "require": (True, True, "unsupported_version"),
    "off": (False, "unsupported_version", False),
    "fallback": ("inappropriate_fallback", "inappropriate_fallback", False),
}


@pytest.mark.parametrize("theirs", get_args(PostQuantum))
@pytest.mark.parametrize("ours", get_args(ClientPostQuantum))
async def test_every_choice_of_a_client_meets_every_choice_of_a_server(
    ours: ClientPostQuantum, theirs: PostQuantum
) -> None:
    expected = OUTCOMES[ours][get_args(PostQuantum).index(theirs)]
    async with serving(theirs) as port:
        if isinstance(expected, str):
            with pytest.raises(ss.HandshakeRefused) as caught:
                await ss.open_secure_tcp_stream("127.0.0.1", port, client_config(ours))
            assert caught.value.code == expected
            return
        async with await ss.open_secure_tcp_stream("127.0.0.1", port, client_config(ours)) as stream:
            assert stream.session.post_quantum is expected
            assert await stream.receive_some() == str(expected).encode()


@pytest.mark.parametrize("make_transports", [memory_pair, tcp_pair], ids=["memory", "tcp"])
async def test_both_sides_of_a_hybrid_handshake_have_the_same_hash(
    make_transports: Callable[[], Awaitable[Transports]], autojump_clock: MockClock
) -> None:
    configs = client_config("require"), server_config("require")
    client, server = await secure_stream_pair(await make_transports(), configs)
    assert client.session == server.session
    assert client.session.post_quantum
    assert len(client.session.handshake_hash) == 64
    for stream in (client, server):
        await trio.aclose_forcefully(stream)


async def test_over_other_streams_a_refusal_is_not_followed_by_another_attempt(autojump_clock: MockClock) -> None:
    near, far = await memory_pair()
    client, server = await handshake_outcomes((near, far), client_config("prefer"), server_config("off"))
    assert isinstance(client, ss.HandshakeRefused)
    assert "compare the post-quantum setting of both" in str(client)
    assert isinstance(server, ss.UnsupportedVersion)


# --- the second attempt ---------------------------------------------------------------------------------


async def test_the_log_tells_of_a_connection_that_is_not_what_was_preferred(caplog: pytest.LogCaptureFixture) -> None:
    async with serving("off") as port:
        with caplog.at_level(logging.WARNING, "securestream"):
            async with await ss.open_secure_tcp_stream("127.0.0.1", port, client_config()) as stream:
                assert not stream.session.post_quantum
    told = [record.args for record in caplog.records if "no post-quantum handshake" in record.msg]
    assert told == [(f"127.0.0.1:{port}",)]


class Liar:
    """In the middle of every connection to a server: answers the first hellos himself, and passes the others on."""

    def __init__(self, port: int, answer: bytes, most: int) -> None:
        self._port, self._answer, self._left = port, answer, most
        self.hellos: list[bytes] = []

    async def handle(self, client: trio.SocketStream) -> None:
        hello = bytes(await client.receive_some())
        self.hellos.append(hello)
        if self._left:
            self._left -= 1
            await client.send_all(self._answer)
            await client.aclose()
            return
        server = await trio.open_tcp_stream("127.0.0.1", self._port)
        await server.send_all(hello)
        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(_pass_on, server, client)
            await _pass_on(client, server)
            nursery.cancel_scope.cancel()


async def _pass_on(source: trio.SocketStream, target: trio.SocketStream) -> None:
    try:
        async for data in source:
            await target.send_all(data)
        await target.send_eof()
    except trio.BrokenResourceError:
        pass


@asynccontextmanager
async def lied_to(answer: bytes, *, most: int = 1) -> AsyncIterator[tuple[int, Liar]]:
    async with serving("prefer") as port, trio.open_nursery() as nursery:
        liar = Liar(port, answer, most)
        (listener,) = await nursery.start(partial(trio.serve_tcp, liar.handle, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1], liar
        nursery.cancel_scope.cancel()


UNSUPPORTED = encode_alert_frame(ss.AlertCode.UNSUPPORTED_VERSION)


async def test_a_refusal_that_the_attacker_made_up_does_not_get_him_a_classical_connection() -> None:
    async with lied_to(UNSUPPORTED) as (port, liar):
        with pytest.raises(ss.HandshakeRefused) as caught:
            await ss.open_secure_tcp_stream("127.0.0.1", port, client_config("prefer"))
    assert caught.value.alert.code == ss.AlertCode.INAPPROPRIATE_FALLBACK
    assert len(liar.hellos) == 2


async def test_a_client_tries_a_second_time_and_no_third() -> None:
    async with lied_to(UNSUPPORTED, most=9) as (port, liar):
        with pytest.raises(ss.HandshakeRefused):
            await ss.open_secure_tcp_stream("127.0.0.1", port, client_config("prefer"))
    assert len(liar.hellos) == 2


@pytest.mark.parametrize("code", [*(set(ss.AlertCode) - {ss.AlertCode.UNSUPPORTED_VERSION}), 4_096])
async def test_no_other_refusal_leads_to_a_second_attempt(code: int) -> None:
    async with lied_to(encode_alert_frame(code)) as (port, liar):
        with pytest.raises(ss.HandshakeRefused):
            await ss.open_secure_tcp_stream("127.0.0.1", port, client_config("prefer"))
    assert len(liar.hellos) == 1


async def test_a_connection_that_is_cut_after_hello_is_not_tried_again() -> None:
    async with lied_to(b"") as (port, liar):
        with pytest.raises(ss.HandshakeTruncated):
            await ss.open_secure_tcp_stream("127.0.0.1", port, client_config("prefer"))
    assert [hello[2] for hello in liar.hellos] == [Kind.HELLO]


async def test_a_client_that_requires_it_does_not_try_with_less() -> None:
    async with lied_to(UNSUPPORTED) as (port, liar):
        with pytest.raises(ss.HandshakeRefused) as caught:
            await ss.open_secure_tcp_stream("127.0.0.1", port, client_config("require"))
    assert caught.value.code == "unsupported_version"
    assert len(liar.hellos) == 1


# --- what can be chosen ---------------------------------------------------------------------------------


@pytest.fixture
def without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hybrid, "available", lambda: False)


def test_it_is_preferred_where_it_can_be_had() -> None:
    assert ss.ClientConfig(server_key=SERVER.public_key).post_quantum == "prefer"
    assert ss.ServerConfig(key=SERVER, authorize=ss.ANYONE).post_quantum == "prefer"


@pytest.mark.usefixtures("without_the_extra")
def test_without_the_extra_what_is_preferred_is_off() -> None:
    assert client_config("prefer").post_quantum == "off"
    assert server_config("prefer").post_quantum == "off"
    assert client_config("fallback").post_quantum == "fallback"


@pytest.mark.usefixtures("without_the_extra")
@pytest.mark.parametrize("make", [client_config, server_config])
def test_without_the_extra_to_require_it_is_an_error_that_names_the_extra(make: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match=r"pip install 'securestream\[pq\]'"):
        make("require")


@pytest.mark.parametrize(
    ("make", "choice"),
    [(client_config, "always"), (server_config, "fallback"), (server_config, True), (client_config, None)],
)
def test_another_choice_is_refused(make: Callable[[object], object], choice: object) -> None:
    with pytest.raises(ValueError, match="post_quantum is one of prefer, require, off"):
        make(choice)


def test_the_profile_dev_has_none() -> None:
    assert ss.DevClientConfig().post_quantum == ss.DevServerConfig().post_quantum == "off"


def test_the_extra_is_there_for_the_tests() -> None:
    assert hybrid.available()
