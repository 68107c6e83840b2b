"""Hostile bytes at each step of the handshake: one family of errors, at once, and the peer is told where it can be."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.protocol.messages import Kind, encode_alert_frame, encode_frame
from securestream.protocol.records import End
from securestream.protocol.suites import RecordType

from .support import (
    Configs,
    FrameStream,
    Puppet,
    failure_of,
    in_background,
    matching_configs,
    puppet_server,
)
from .transports import memory_pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

    from securestream.protocol.handshake import ClientHandshake

NOISE = random.Random(0).randbytes(40_000)
E = 3 + 6 + 2 + 48  # where the ephemeral key lies in a hello with two suites


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


# --- to the server -------------------------------------------------------------------------------------

HELLOS: dict[str, Callable[[bytes], bytes]] = {
    "noise": lambda _: NOISE,
    "an HTTP request": lambda _: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a TLS hello": lambda _: b"\x16\x03\x01\x02\x00\x01\x00" + NOISE[:500],
    "a frame of kind 0": lambda _: encode_frame(Kind.HELLO, b"x" * 100).replace(b"\1", b"\0", 1),
    "a challenge": lambda _: encode_frame(Kind.CHALLENGE, b"x" * 100),
    "an alert": lambda _: encode_alert_frame(5),
    "a length of 0": lambda _: b"\0\0\1",
    "a length of 65,535": lambda _: b"\xff\xff\1",
    "a wrong magic": lambda hello: flipped(hello, 3),
    "no suites": lambda hello: hello[:8] + b"\0" + hello[9:],
    "a suite twice": lambda hello: hello[:9] + hello[9:10] * 2 + hello[11:],
    "zeros for a key": lambda hello: hello[:E] + bytes(32) + hello[E + 32 :],
    "a key that is not canonical": lambda hello: hello[:E] + b"\xff" * 32 + hello[E + 32 :],
}


def client_handshake(client: ss.ClientConfig) -> ClientHandshake:
    return client._new_handshake()


@pytest.mark.parametrize("name", HELLOS)
async def test_garbage_in_place_of_a_hello_is_a_handshake_error_and_alert_11(
    name: str, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    near, far = await memory_pair()
    start = trio.current_time()
    async with in_background(partial(failure_of, ss.wrap_server(far, server), ss.HandshakeError)):
        await near.send_all(HELLOS[name](client_handshake(client).hello()))
        assert await FrameStream(near).receive(Kind.ALERT) == bytes([ss.AlertCode.PROTOCOL_ERROR, 0])
        assert await near.receive_some() == b""
        await near.aclose()
    assert trio.current_time() == start


RESPONSES: dict[str, tuple[Callable[[bytes], bytes], type[ss.HandshakeError], ss.AlertCode]] = {
    "noise": (lambda _: b"\xff\xff\xff" + NOISE, ss.HandshakeError, ss.AlertCode.PROTOCOL_ERROR),
    "a second hello": (
        lambda _: encode_frame(Kind.HELLO, b"x" * 100),
        ss.HandshakeError,
        ss.AlertCode.PROTOCOL_ERROR,
    ),
    "a length of 66": (
        lambda _: encode_frame(Kind.RESPONSE, b"x" * 63),
        ss.HandshakeError,
        ss.AlertCode.PROTOCOL_ERROR,
    ),
    "zeros": (lambda r: r[:3] + bytes(len(r) - 3), ss.BadResponse, ss.AlertCode.BAD_RESPONSE),
    "a flipped bit in the key": (lambda r: flipped(r, 10), ss.BadResponse, ss.AlertCode.BAD_RESPONSE),
    "a flipped bit in the tag": (lambda r: flipped(r, len(r) - 1), ss.BadResponse, ss.AlertCode.BAD_RESPONSE),
    "noise of the right shape": (
        lambda _: encode_frame(Kind.RESPONSE, NOISE[:30_000]),
        ss.BadResponse,
        ss.AlertCode.BAD_RESPONSE,
    ),
}


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.wire
async def test_garbage_in_place_of_a_response_is_a_handshake_error_and_an_alert_in_clear(
    name: str, configs: Configs, autojump_clock: MockClock
) -> None:
    client, server = configs
    make, kind, code = RESPONSES[name]
    near, far = await memory_pair()
    handshake, frames = client_handshake(client), FrameStream(near)
    start = trio.current_time()
    async with in_background(partial(failure_of, ss.wrap_server(far, server), kind)):
        await near.send_all(handshake.hello())
        handshake.challenge(await frames.receive(Kind.CHALLENGE))
        await near.send_all(make(handshake.response()))
        assert await frames.receive(Kind.ALERT) == bytes([code, 0])
        await near.aclose()
    assert trio.current_time() == start


@pytest.mark.parametrize("kept", [0, 1, 2, 3, 50, -1])
async def test_a_client_that_ends_in_its_hello_is_a_truncated_handshake(kept: int, autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    near, far = await memory_pair()
    await near.send_all(client_handshake(client).hello()[:kept])
    await near.send_eof()
    await failure_of(ss.wrap_server(far, server), ss.HandshakeTruncated)


@pytest.mark.wire
async def test_a_client_that_vanishes_before_the_verdict_shows_on_the_first_receive(
    configs: Configs, autojump_clock: MockClock
) -> None:
    client, server = configs
    near, far = await memory_pair()

    async def authorize(peer: ss.Peer) -> None:
        await near.aclose()

    handshake, frames = client_handshake(client), FrameStream(near)
    streams: list[ss.SecureStream[trio.abc.Stream]] = []

    async def serve() -> None:
        streams.append(await ss.wrap_server(far, replace(server, authorize=authorize)))

    async with in_background(serve):
        await near.send_all(handshake.hello())
        handshake.challenge(await frames.receive(Kind.CHALLENGE))
        await near.send_all(handshake.response())
    await failure_of(streams[0].receive_some(), ss.TruncatedStream)


# --- to the client ---------------------------------------------------------------------------------------

CHALLENGES: dict[str, Callable[[bytes], bytes]] = {
    "noise": lambda _: NOISE,
    "an HTTP answer": lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a response": lambda _: encode_frame(Kind.RESPONSE, b"x" * 100),
    "a length of 99": lambda _: encode_frame(Kind.CHALLENGE, b"x" * 96),
    "an alert of code 0": lambda _: b"\5\0\4\0\0",
    "an alert of 6 bytes": lambda _: b"\6\0\4\1\0\0",
    "zeros": lambda challenge: challenge[:3] + bytes(len(challenge) - 3),
    "a flipped bit in the ephemeral key": lambda challenge: flipped(challenge, 5),
    "a flipped bit in the server's key": lambda challenge: flipped(challenge, 40),
    "a flipped bit in the tag": lambda challenge: flipped(challenge, len(challenge) - 1),
}


@pytest.mark.parametrize("name", CHALLENGES)
@pytest.mark.wire
async def test_garbage_in_place_of_a_challenge_is_a_handshake_error_and_the_client_only_closes(
    name: str, configs: Configs, autojump_clock: MockClock
) -> None:
    client, server = configs
    near, far = await memory_pair()
    handshake, frames = server._new_handshake(), FrameStream(far)
    start = trio.current_time()
    async with in_background(partial(failure_of, ss.wrap_client(near, client), ss.HandshakeError)):
        handshake.hello(await frames.receive(Kind.HELLO))
        await far.send_all(CHALLENGES[name](handshake.challenge()))
        assert await far.receive_some() == b""
    assert trio.current_time() == start


VERDICTS: dict[str, tuple[Callable[[Puppet[trio.abc.HalfCloseableStream]], bytes], type[ss.HandshakeError]]] = {
    "noise": (lambda _: NOISE, ss.HandshakeError),
    "zeros": (lambda _: bytes(600), ss.HandshakeError),
    "data": (lambda puppet: puppet.data(b"data"), ss.HandshakeError),
    "the end": (lambda puppet: puppet.close(), ss.HandshakeError),
    "a key update": (lambda puppet: puppet.seal(RecordType.KEY_UPDATE), ss.HandshakeError),
    "a forged verdict": (lambda puppet: flipped(puppet.seal(RecordType.ACCEPT), 20), ss.HandshakeError),
    "nothing": (lambda _: b"", ss.HandshakeTruncated),
    "half a verdict": (lambda puppet: puppet.seal(RecordType.ACCEPT)[:-1], ss.HandshakeTruncated),
    "an alert in clear": (lambda _: encode_alert_frame(2), ss.HandshakeRefused),
    "an alert in clear of code 0": (lambda _: b"\5\0\4\0\0", ss.HandshakeTruncated),
    "an alert in clear cut short": (lambda _: b"\5\0\4\2", ss.HandshakeTruncated),
    "an alert in clear and more": (lambda _: encode_alert_frame(2) + bytes(60), ss.HandshakeError),
    "an alert": (lambda puppet: puppet.alert(7, "no"), ss.HandshakeRefused),
}


@pytest.mark.parametrize("name", VERDICTS)
@pytest.mark.wire
async def test_garbage_in_place_of_a_verdict_is_a_handshake_error_and_the_client_only_closes(
    name: str, configs: Configs, autojump_clock: MockClock
) -> None:
    client, server = configs
    make, kind = VERDICTS[name]
    near, far = await memory_pair()
    start = trio.current_time()
    async with in_background(partial(failure_of, ss.wrap_client(near, client), kind)):
        puppet = await puppet_server(far, server, accept=False)
        if last_words := make(puppet):
            await puppet.say(last_words)
        await far.send_eof()
        assert await puppet.hear() == (b"", End.TRUNCATED)
    assert trio.current_time() == start


async def test_a_server_that_sends_for_ever_in_place_of_a_frame_is_refused_at_its_first_bytes(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await memory_pair()

    async def flood() -> None:
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await far.send_all(NOISE)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        await failure_of(ss.wrap_client(near, configs[0]), ss.HandshakeError)


async def test_a_client_that_sends_for_ever_is_listened_to_no_longer_than_1_mib(
    autojump_clock: MockClock,
) -> None:
    _, server = matching_configs()
    near, far = await memory_pair()
    start = trio.current_time()

    async def flood() -> None:
        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
            while True:
                await near.send_all(NOISE)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        await failure_of(ss.wrap_server(far, server), ss.HandshakeError)
    assert trio.current_time() == start
