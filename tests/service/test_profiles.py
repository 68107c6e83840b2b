"""Neither profile takes the other, the profile dev stays on its machine, says so each time, and proves nothing.

That both mean the same is shown in `tests/streams`, whose tests run over either.
"""

from __future__ import annotations

import logging
import socket
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.protocol.dev import DevServerHandshake
from securestream.protocol.messages import DEV_MAGIC, MAGIC, Kind
from securestream.streams.dev import _is_loopback

from ..streams.support import FrameStream, failure_of, handshake_outcomes, matching_configs, secure_pair
from ..streams.transports import Tap, memory_pair, tcp_pair
from .support import MemoryListener, ask, serving, serving_tcp, shout

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

pytestmark = pytest.mark.shows("profiles")

DEV_CLIENT, DEV_SERVER = ss.DevClientConfig(), ss.DevServerConfig()
FORCED_CLIENT, FORCED_SERVER = replace(DEV_CLIENT, beyond_loopback=True), replace(DEV_SERVER, beyond_loopback=True)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


# --- one program, two profiles -----------------------------------------------------------------------------


async def test_the_same_handler_serves_both_profiles_over_tcp() -> None:
    for client, server in (matching_configs(), (DEV_CLIENT, DEV_SERVER)):
        async with (
            serving_tcp(shout, server) as port,
            await ss.open_secure_tcp_stream("127.0.0.1", port, client) as stream,
        ):
            assert await ask(stream) == b"HELLO"
            assert stream.session.profile is (ss.Profile.DEV if client is DEV_CLIENT else ss.Profile.SECURE)


async def test_dev_is_in_clear_and_secure_is_not(autojump_clock: MockClock) -> None:
    for client, server in (matching_configs(), (FORCED_CLIENT, FORCED_SERVER)):
        near, far = await memory_pair()
        tap = Tap(near)
        stream, _ = await secure_pair(partial(_pair, tap, far), (replace(client, credentials=b"alice"), server))
        await stream.send_all(b"swordfish")
        assert (b"swordfish" in tap.sent) is (b"alice" in tap.sent) is (client is FORCED_CLIENT)


async def _pair(near: trio.abc.Stream, far: trio.abc.Stream) -> tuple[trio.abc.Stream, trio.abc.Stream]:
    return near, far


# --- neither takes the other -------------------------------------------------------------------------------


async def test_neither_side_talks_to_a_peer_of_the_other_profile_and_both_say_so(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    for wrong, told in (((client, FORCED_SERVER), "secure"), ((FORCED_CLIENT, server), "dev")):
        at_client, at_server = await handshake_outcomes(await memory_pair(), *wrong)
        assert isinstance(at_client, ss.HandshakeRefused)
        assert at_client.code == "unsupported_version"
        assert "another profile (dev, secure)" in str(at_client)
        assert isinstance(at_server, ss.UnsupportedVersion)
        assert f"a client of the profile {told}" in str(at_server)


async def test_who_answers_a_secure_client_in_clear_is_no_server_to_it(autojump_clock: MockClock) -> None:
    """He answers as a server of the profile dev would, to a hello of his own."""
    client, _ = matching_configs()
    near, far = await memory_pair()
    answering = DevServerHandshake()
    answering.hello(DEV_MAGIC + ss.DevClientConfig()._new_handshake().hello()[7:])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(failure_of, ss.wrap_client(near, client), ss.HandshakeError)
        hello = await FrameStream(far).receive(Kind.HELLO)
        assert hello[:4] == MAGIC
        await far.send_all(answering.challenge())
        assert await far.receive_some() == b""


def test_nothing_but_its_own_configurations_leads_to_dev() -> None:
    key = ss.PrivateKey.generate()
    for suites in ([ss.DevSuite.PLAINTEXT], [*ss.Suite, ss.DevSuite.PLAINTEXT], [0]):
        with pytest.raises(ValueError, match="at least one Suite"):
            ss.ClientConfig(server_key=key.public_key, suites=suites)  # type: ignore[arg-type]  # the mistake
        with pytest.raises(ValueError, match="at least one Suite"):
            ss.ServerConfig(key=key, authorize=ss.ANYONE, suites=suites)  # type: ignore[arg-type]  # the mistake
    address = ss.parse_address(f"Server=localhost:1;Server Key={key.public_key};Profile=dev")
    assert not isinstance(address.config, ss.DevClientConfig)
    assert 0 not in list(ss.Suite)


@pytest.mark.parametrize(
    "name", ["key", "secret", "secrets", "server_key", "suites", "require_secret", "middlebox_key"]
)
def test_dev_takes_nothing_that_would_look_like_protection(name: str) -> None:
    for config in (ss.DevClientConfig, ss.DevServerConfig):
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            config(**{name: None})  # type: ignore[arg-type]  # the mistake


# --- it stays here -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [None, "0.0.0.0", "::"])
async def test_dev_refuses_to_listen_beyond_loopback_and_leaves_nothing_open(host: str | None) -> None:
    listeners = await trio.open_tcp_listeners(0, host=host)
    with pytest.raises(ValueError, match="listens on this machine only") as caught:
        await ss.serve_secure_listeners(shout, listeners, DEV_SERVER)
    assert "beyond_loopback=True" in str(caught.value)
    assert [listener.socket.fileno() for listener in listeners] == [-1] * len(listeners)
    with pytest.raises(ValueError, match="listens on this machine only"):
        await ss.serve_secure_tcp(shout, 0, DEV_SERVER, host=host)


async def test_dev_listens_beyond_loopback_where_it_is_forced_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(ss.serve_secure_tcp, shout, 0, FORCED_SERVER, host="0.0.0.0"))
        nursery.cancel_scope.cancel()
    assert [text for text in warnings_in(caplog) if "listening on ('0.0.0.0'" in text]


async def test_a_listener_that_does_not_say_where_it_is_is_refused_unless_it_is_forced(
    autojump_clock: MockClock,
) -> None:
    with pytest.raises(ValueError, match="this machine only, not on <"):
        await ss.serve_secure_listeners(shout, [MemoryListener()], DEV_SERVER)
    async with serving(shout, FORCED_SERVER) as served, await served.connect(FORCED_CLIENT) as stream:
        assert await ask(stream) == b"HELLO"


async def test_dev_runs_over_a_unix_socket(tmp_path: Path) -> None:
    listener = await ss.open_unix_listener(tmp_path / "socket")
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(ss.serve_secure_listeners, shout, [listener], DEV_SERVER))
        transport = await trio.open_unix_socket(str(tmp_path / "socket"))
        async with await ss.wrap_client(transport, DEV_CLIENT) as stream:
            assert await ask(stream) == b"HELLO"
        nursery.cancel_scope.cancel()


async def test_over_a_transport_that_may_lead_elsewhere_nothing_is_sent(autojump_clock: MockClock) -> None:
    near, far = await memory_pair()
    tap = Tap(near)
    for wrapping in (ss.wrap_client(tap, DEV_CLIENT), ss.wrap_server(Tap(far), DEV_SERVER)):
        error = await failure_of(wrapping, ss.NotLoopback)
        assert "stays on this machine" in str(error)
    assert tap.sent == b""


async def test_dev_inside_another_stream_is_judged_by_the_socket_below() -> None:
    near, far = await tcp_pair()
    outer = await secure_pair(partial(_pair, near, far), matching_configs())
    inner = await secure_pair(partial(_pair, *outer), (DEV_CLIENT, DEV_SERVER))
    await inner[0].send_all(b"hello")
    assert await inner[1].receive_some() == b"hello"
    for stream in inner:
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize(
    ("family", "address", "is_loopback"),
    [
        (socket.AF_INET, "127.0.0.1", True),
        (socket.AF_INET, "127.8.8.8", True),
        (socket.AF_INET, "0.0.0.0", False),
        (socket.AF_INET6, "::1", True),
        (socket.AF_INET6, "::ffff:127.0.0.1", True),
        (socket.AF_INET6, "::", False),
    ],
)
async def test_what_is_loopback(family: int, address: str, is_loopback: bool) -> None:
    with trio.socket.socket(family, socket.SOCK_DGRAM) as bound:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        await bound.bind((address, 0))
        assert _is_loopback(bound) is is_loopback
        assert _is_loopback(bound, peer=True) is False  # it has none


# --- it is loud --------------------------------------------------------------------------------------------


async def test_each_connection_and_each_listener_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    async with serving_tcp(shout, DEV_SERVER) as port:
        for _ in range(2):
            async with await ss.open_secure_tcp_stream("127.0.0.1", port, DEV_CLIENT) as stream:
                await ask(stream)
    texts = warnings_in(caplog)
    assert len([text for text in texts if "listening on ('127.0.0.1'" in text and "in clear" in text]) == 1
    assert len([text for text in texts if "nobody's key is proved" in text and "the connection with" in text]) == 4


async def test_secure_warns_of_nothing(caplog: pytest.LogCaptureFixture, autojump_clock: MockClock) -> None:
    await secure_pair(memory_pair, matching_configs())
    assert warnings_in(caplog) == []


# --- it proves nothing -------------------------------------------------------------------------------------


async def test_in_dev_nobody_has_a_key_and_authorize_is_told_so(autojump_clock: MockClock) -> None:
    asked: list[ss.Peer] = []

    async def authorize(peer: ss.Peer) -> str:
        asked.append(peer)
        return peer.credentials.decode()

    client, server = await secure_pair(
        memory_pair, (replace(FORCED_CLIENT, credentials=b"alice"), replace(FORCED_SERVER, authorize=authorize))
    )
    assert asked[0].public_key == client.peer.public_key == ss.NOBODY
    assert server.peer.principal == "alice"
    assert client.session == server.session
    assert len(client.session.handshake_hash) == 64


@pytest.mark.parametrize("listed", [[], [ss.PrivateKey.generate().public_key]])
async def test_a_list_of_keys_takes_nobody_in_dev(listed: list[ss.PublicKey], autojump_clock: MockClock) -> None:
    server = replace(FORCED_SERVER, authorize=ss.AuthorizedPeers(listed))
    at_client, at_server = await handshake_outcomes(await memory_pair(), FORCED_CLIENT, server)
    assert isinstance(at_client, ss.HandshakeRefused)
    assert isinstance(at_server, ss.AccessDenied)


async def test_credentials_work_in_dev_and_what_is_signed_there_holds_nowhere_else(autojump_clock: MockClock) -> None:
    mine = ss.Ed25519Credentials(bytes([1]) * 32)
    verifier = ss.Ed25519Verifier([ss.TrustedKey(mine.public_key, "alice")])
    client = replace(FORCED_CLIENT, credentials=mine, verify_server=verifier)
    server = replace(FORCED_SERVER, credentials=mine, authorize=verifier)
    near, far = await secure_pair(memory_pair, (client, server))
    assert near.peer.name == far.peer.name == "alice"
    for peer, side in ((near.peer, b"server"), (far.peer, b"client")):
        assert peer.transcript.startswith(b"securestream/dev " + side + b" credentials\0")
    at_client, _ = await handshake_outcomes(
        await memory_pair(), replace(client, credentials=far.peer.credentials), server
    )
    assert at_client is not None
    assert at_client.code == "bad_credentials"


async def test_the_channel_binding_is_another_for_each_connection(autojump_clock: MockClock) -> None:
    hashes = [(await secure_pair(memory_pair, (FORCED_CLIENT, FORCED_SERVER)))[0].session.handshake_hash for _ in "ab"]
    assert hashes[0] != hashes[1]
