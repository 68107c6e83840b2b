"""What is TLS's own: its keys, what each side shows and when, its failures and its end. The rest of what a stream does
is tested over it as over the other wire (`conftest.py`)."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.openssl import TlsEndpoint, private_key_of
from securestream.streams.tls_certificate import self_signed
from securestream.testing import secure_stream_pair

from .support import (
    TOO_MUCH,
    Configs,
    Tap,
    failure_of,
    handshake_outcomes,
    in_background,
    matching_configs,
    matching_tls_configs,
    receive_all,
    receive_until_error,
    secure_pair,
)
from .tls_support import KINDS, hash_of, pem
from .transports import lockstep_pair, memory_pair, socket_pair, tcp_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from .transports import Transports

SEED = bytes(range(1, 33))


@pytest.fixture
def configs() -> Configs:
    """A client and a server that know each other."""
    return matching_tls_configs()


# --- keys -------------------------------------------------------------------------------------------


def test_an_ed25519_key_has_one_hash_whether_it_comes_as_a_seed_or_as_pem() -> None:
    key = KINDS["Ed25519"]
    from_pem = ss.TlsPrivateKey.from_pem(pem(key))
    assert from_pem == ss.TlsPrivateKey(bytes(range(32)))
    assert from_pem.public_key == hash_of(key)
    assert ss.TlsPrivateKey.from_text(from_pem.to_text()) == from_pem


@pytest.mark.shows("tls-keys")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_of_each_kind_serves_and_connects(kind: str, autojump_clock: MockClock) -> None:
    key = ss.TlsPrivateKey.from_pem(pem(KINDS[kind], b"words"), passphrase=b"words")
    assert key.public_key == hash_of(KINDS[kind])
    client = ss.TlsClientConfig(key=key, server_key=key.public_key)
    server = ss.TlsServerConfig(key=key, authorize=ss.AuthorizedPeers({key.public_key: kind}))
    near, far = await secure_pair(memory_pair, (client, server))
    assert near.peer.public_key == far.peer.public_key == key.public_key
    assert far.peer.principal == kind


def test_a_hash_is_written_with_its_prefix_and_read_with_or_without() -> None:
    key = ss.KeyHash(bytes(range(32)))
    assert str(key) == "sha256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert ss.KeyHash.from_text(str(key)) == ss.KeyHash.from_text(key.base64) == key
    assert bytes(key) == bytes(range(32))
    assert eval(repr(key), {"KeyHash": ss.KeyHash}) == key
    assert hash(key) == hash(ss.KeyHash(bytes(range(32))))
    assert key != ss.KeyHash(bytes(32))


def test_the_hash_of_a_key_and_a_key_of_the_same_bytes_are_different_peers() -> None:
    raw = bytes(ss.PrivateKey(SEED).public_key)
    assert ss.KeyHash(raw) != ss.PublicKey(raw)
    assert len({ss.KeyHash(raw), ss.PublicKey(raw)}) == 2


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: ss.KeyHash(bytes(31)), "32 bytes, not 31"),
        (lambda: ss.KeyHash.from_text("sha256:AA=="), "44 characters"),
        (lambda: ss.KeyHash.from_text(ss.TlsPrivateKey(SEED).to_text()), "this is a secret"),
        (lambda: ss.TlsPrivateKey(bytes(33)), "32 bytes, not 33"),
        (lambda: ss.TlsPrivateKey(bytes(32)), "nothing but zeros"),
        (
            lambda: ss.TlsPrivateKey.from_text(ss.PrivateKey(SEED).to_text()),
            "a private key for Noise, where one for TLS",
        ),
        (lambda: ss.TlsPrivateKey.from_text("x"), "starts with ss-ed25519:"),
        (lambda: ss.PrivateKey.from_text(ss.TlsPrivateKey(SEED).to_text()), "a private key for TLS"),
        (lambda: ss.PublicKey.from_text(ss.TlsPrivateKey(SEED).to_text()), "don't hand it out"),
        (lambda: ss.PublicKey.from_text(str(ss.KeyHash(SEED))), "the hash of a key for TLS"),
        (lambda: ss.TlsPrivateKey.from_pem(b"-----BEGIN nothing"), "not a private key in PEM"),
        (lambda: ss.TlsPrivateKey.from_pem(pem(KINDS["RSA"], b"x")), "locked with a passphrase"),
        (lambda: ss.TlsPrivateKey.from_pem(pem(KINDS["RSA"], b"x"), passphrase=b"y"), "a wrong passphrase"),
        (lambda: ss.TlsPrivateKey.from_pem(pem(KINDS["RSA"])).to_text(), "only Ed25519"),
    ],
)
def test_what_is_no_key_is_refused_without_repeating_it(make: Callable[[], object], why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        make()
    assert "AQID" not in str(caught.value)


def test_a_private_key_shows_the_hash_of_its_public_key_only() -> None:
    key = ss.TlsPrivateKey(SEED)
    assert repr(key) == str(key) == f"<TlsPrivateKey of {key.public_key}>"


def test_a_configuration_takes_keys_of_its_own_wire_only() -> None:
    noise, tls = ss.PrivateKey.generate(), ss.TlsPrivateKey.generate()
    with pytest.raises(TypeError, match="takes a PrivateKey, not a TlsPrivateKey"):
        ss.ServerConfig(key=tls, authorize=ss.ANYONE)
    with pytest.raises(TypeError, match="takes a PublicKey, not a KeyHash"):
        ss.ClientConfig(server_key=tls.public_key)
    with pytest.raises(TypeError, match="takes a TlsPrivateKey, not a PrivateKey"):
        ss.TlsServerConfig(key=noise, authorize=ss.ANYONE)  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(TypeError, match="takes a KeyHash, not a PublicKey"):
        ss.TlsClientConfig(server_key=noise.public_key)  # type: ignore[arg-type]  # what the test is about


def test_without_the_extra_it_says_what_to_install_and_the_rest_works() -> None:
    program = (
        "import sys; sys.modules['OpenSSL'] = None\n"
        "import securestream as ss\n"
        "key = ss.TlsPrivateKey.generate()\n"
        "try: ss.TlsServerConfig(key=key, authorize=ss.ANYONE)\n"
        "except ImportError as exc: print(exc)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "TLS needs the extra `tls`: pip install 'securestream[tls]'\n"


# --- who is who ---------------------------------------------------------------------------------------


@pytest.mark.shows("tls-keys")
@pytest.mark.parametrize("make", [memory_pair, lockstep_pair, socket_pair, tcp_pair])
async def test_both_sides_have_the_channel_binding_and_each_the_other_s_key(
    make: Callable[[], Awaitable[Transports]], configs: Configs
) -> None:
    near, far = await secure_pair(make, configs)
    assert near.session == far.session
    assert len(near.session.handshake_hash) == 64
    assert near.session.suite is ss.TlsSuite.TLS_1_3
    assert near.session.profile is ss.Profile.SECURE
    assert (near.peer.public_key, far.peer.public_key) == (configs[1].key.public_key, configs[0].key.public_key)  # type: ignore[union-attr]  # it has one
    other, _ = await secure_pair(make, configs)
    assert other.session.handshake_hash != near.session.handshake_hash


async def test_a_client_without_a_key_has_a_fresh_one_each_time(configs: Configs, autojump_clock: MockClock) -> None:
    seen: set[ss.PeerKey] = set()

    async def authorize(peer: ss.Peer) -> None:
        seen.add(peer.public_key)

    for _ in range(2):
        ends = replace(configs[0], key=None), replace(configs[1], authorize=authorize)
        assert await handshake_outcomes(await memory_pair(), *ends) == (None, None)
    assert len(seen) == 2


@pytest.mark.shows("tls-keys")
async def test_a_client_shows_nothing_of_itself_to_a_server_that_it_does_not_want(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await memory_pair()
    tap, other = Tap(near), ss.TlsPrivateKey.generate()
    at_client, at_server = await handshake_outcomes(
        (tap, far), *(replace(configs[0], server_key=other.public_key), configs[1])
    )
    assert isinstance(at_client, ss.ServerKeyMismatch)
    assert isinstance(at_server, ss.HandshakeTruncated)
    assert len(tap.sends) == 1  # its ClientHello


@pytest.mark.shows("tls-keys")
@pytest.mark.parametrize("first_use", [False, True])
async def test_known_servers_and_callables_judge_hashes(
    first_use: bool, configs: Configs, autojump_clock: MockClock
) -> None:
    client, server = configs
    judged: list[ss.KeyHash] = []

    async def judge(key: ss.KeyHash) -> None:
        judged.append(key)
        if first_use:
            raise PermissionError("never seen before")

    other = ss.TlsPrivateKey.generate().public_key
    known = replace(client, server_key=ss.KnownServers([other, server.key.public_key]))
    assert await handshake_outcomes(await memory_pair(), known, server) == (None, None)
    at_client, _ = await handshake_outcomes(await memory_pair(), replace(client, server_key=judge), server)
    assert judged == [server.key.public_key]
    assert isinstance(at_client, ss.ServerKeyMismatch) is first_use


@pytest.mark.shows("tls-keys")
async def test_credentials_sign_this_connection_and_this_key(configs: Configs, autojump_clock: MockClock) -> None:
    signer = ss.Ed25519Credentials(SEED)
    seen: list[ss.Peer] = []

    async def authorize(peer: ss.Peer) -> object:
        seen.append(peer)
        return await ss.Ed25519Verifier([ss.TrustedKey(signer.public_key, "alice")])(peer)

    client, server = replace(configs[0], credentials=signer), replace(configs[1], authorize=authorize)
    assert await handshake_outcomes(await memory_pair(), client, server) == (None, None)
    replayed = replace(client, credentials=seen[0].credentials)
    _, at_server = await handshake_outcomes(await memory_pair(), replayed, server)
    assert isinstance(at_server, ss.BadCredentials)
    assert seen[0].transcript.startswith(b"securestream/tls client credentials\0")


# --- what goes wrong ------------------------------------------------------------------------------------


@pytest.mark.shows("tls-hostile")
async def test_a_refusal_comes_through_tls_with_its_text(configs: Configs, autojump_clock: MockClock) -> None:
    async def authorize(peer: ss.Peer) -> None:
        raise PermissionError("not on Sundays")

    refusing = replace(configs[1], authorize=authorize)
    at_client, at_server = await handshake_outcomes(await memory_pair(), configs[0], refusing)
    assert isinstance(at_client, ss.HandshakeRefused)
    assert at_client.authenticated
    assert at_client.alert == ss.Alert(ss.AlertCode.ACCESS_DENIED, "not on Sundays")
    assert isinstance(at_server, ss.AccessDenied)


@pytest.mark.shows("tls-downgrade")
@pytest.mark.parametrize("tls_is", ["client", "server"])
async def test_a_peer_on_the_other_wire_is_refused_by_both(tls_is: str, autojump_clock: MockClock) -> None:
    noise, tls = matching_configs(), matching_tls_configs()
    ends = (tls[0], noise[1]) if tls_is == "client" else (noise[0], tls[1])
    for error in await handshake_outcomes(await memory_pair(), *ends):
        assert isinstance(error, ss.HandshakeError)


@pytest.mark.shows("tls-hostile")
@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"\x16\x03\x01\xff\xff" + bytes(20_000)])
async def test_garbage_is_a_handshake_error_and_no_crash(
    garbage: bytes, configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await memory_pair()
    async with in_background(partial(failure_of, ss.wrap_server(far, configs[1]), ss.HandshakeError)):
        await near.send_all(garbage)
        assert (await near.receive_some()).startswith(b"\x15\x03")  # TLS's own alert, in clear
    near, far = await memory_pair()
    await far.send_all(garbage)
    await failure_of(ss.wrap_client(near, configs[0]), ss.HandshakeError)


@pytest.mark.shows("tls-hostile")
async def test_silence_ends_at_the_deadline(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await memory_pair()
    await failure_of(ss.wrap_server(far, configs[1]), ss.HandshakeTimeout)
    assert trio.current_time() <= 10
    near, far = await memory_pair()
    await failure_of(ss.wrap_client(near, configs[0]), ss.HandshakeTimeout)


@pytest.mark.shows("tls-end")
async def test_a_connection_cut_anywhere_in_the_handshake_is_a_truncated_handshake(
    configs: Configs, autojump_clock: MockClock
) -> None:
    for client_sends, server_sends in ((0, 9), (1, 0), (1, 9), (2, 1)):
        near, far = await memory_pair()
        ends = await handshake_outcomes((Cutter(near, client_sends), Cutter(far, server_sends)), *configs)
        for error in ends:
            assert error is None or isinstance(error, ss.HandshakeTruncated)
        assert isinstance(ends[0], ss.HandshakeTruncated)


class Cutter(Tap):
    """Ends after so many sends."""

    def __init__(self, inner: trio.abc.HalfCloseableStream, sends: int) -> None:
        super().__init__(inner)
        self._left = sends

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._left -= 1
        if self._left >= 0:
            await super().send_all(data)
        else:
            await self.inner.send_eof()


@pytest.mark.shows("tls-hostile")
async def test_a_bit_flipped_in_a_tls_record_is_a_bad_record(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await memory_pair()
    flipper = Flipper(near)
    client, server = await secure_stream_pair((flipper, far), configs)
    await client.send_all(b"whole")
    flipper.flips = True
    await client.send_all(b"forged")
    received, error = await receive_until_error(server)
    assert received == b"whole"
    assert isinstance(error, ss.BadRecord)
    async with in_background(server.aclose):
        _, told = await receive_until_error(client)
        await client.aclose()
    assert isinstance(told, ss.TruncatedStream), repr(told)
    assert "TLS" in str(told.__cause__)


class Flipper(Tap):
    """Changes the last bit of what is sent, when it is told to."""

    flips = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        data = bytearray(data)
        data[-1] ^= self.flips
        await super().send_all(data)


@pytest.mark.shows("tls-end")
async def test_an_alert_follows_a_send_that_was_cut_short_over_sockets(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_stream_pair(await socket_pair(), configs)
    with trio.move_on_after(1) as scope:
        await near.send_all(bytes(TOO_MUCH))
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_alert, 5_001, "enough")
        _, error = await receive_until_error(far)
    assert isinstance(error, ss.PeerAlert)
    assert error.alert == ss.Alert(5_001, "enough")


@pytest.mark.shows("tls-end")
async def test_tls_s_own_end_is_no_end_of_the_stream(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, configs)
    await near.send_all(b"half")
    await near._channel.send_last(b"")  # close_notify, and no CLOSE
    received, error = await receive_until_error(far)
    assert received == b"half"
    assert isinstance(error, ss.TruncatedStream)


@pytest.mark.shows("tls-end")
async def test_the_end_of_a_direction_leaves_the_other_open(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await secure_pair(socket_pair, configs)
    await near.send_all(b"question")
    await near.send_eof()
    assert await receive_all(far) == b"question"
    await far.send_all(b"answer")
    await far.send_eof()
    assert await receive_all(near) == b"answer"


async def test_a_busy_server_answers_before_any_cryptography(configs: Configs) -> None:
    server = replace(configs[1], limits=ss.Limits(connections_per_source=1))
    async with trio.open_nursery() as nursery:
        serve = partial(ss.serve_secure_tcp, receive_all, 0, server, host="127.0.0.1")
        listeners = await nursery.start(serve)
        port = listeners[0].socket.getsockname()[1]
        async with await ss.open_secure_tcp_stream("127.0.0.1", port, configs[0]):
            with pytest.raises(ss.HandshakeError, match="alert internal error"):
                await ss.open_secure_tcp_stream("127.0.0.1", port, configs[0])
        nursery.cancel_scope.cancel()


# --- the machine ------------------------------------------------------------------------------------------


@pytest.mark.shows("tls-hostile")
def test_random_bytes_in_place_of_any_message_are_the_peer_s_fault_and_nothing_else() -> None:
    key = ss.TlsPrivateKey(SEED)
    certificate = self_signed(private_key_of(key))
    for seed in range(200):
        noise = hashlib.shake_128(seed.to_bytes(2, "big")).digest(seed)
        for is_client in (True, False):
            machine = TlsEndpoint(key, certificate, is_client=is_client).connection()
            machine.feed(noise)
            with contextlib.suppress(RemoteProtocolError):
                assert machine.handshake() is None
