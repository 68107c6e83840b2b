"""What `securestream.testing` gives to the tests of users."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream import testing

from .support import in_background, receive_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from .support import Configs

    Pair = tuple[ss.SecureStream[trio.abc.Stream], ss.SecureStream[trio.abc.Stream]]
    MakePair = Callable[[Configs | None], Awaitable[Pair]]


@pytest.fixture(params=[testing.secure_memory_stream_pair, testing.secure_lockstep_stream_pair])
def make_pair(request: pytest.FixtureRequest) -> MakePair:
    make: MakePair = request.param
    return make


async def test_a_pair_talks_both_ways_and_ends(make_pair: MakePair, autojump_clock: MockClock) -> None:
    client, server = await make_pair(None)
    for sender, receiver in ((client, server), (server, client)):
        async with in_background(partial(sender.send_all, b"hello")):
            assert await receiver.receive_some() == b"hello"
    async with in_background(client.aclose):
        assert await receive_all(server) == b""
        await server.aclose()


async def test_the_ends_of_a_pair_know_each_other(make_pair: MakePair, autojump_clock: MockClock) -> None:
    configs = testing.configs_that_match()
    client, server = await make_pair(configs)
    assert configs[0].key is not None
    assert server.peer.public_key == configs[0].key.public_key
    assert client.peer == ss.Peer(
        public_key=configs[1].key.public_key,
        credentials=b"",
        address="",
        used_secret=False,
        transcript=client.peer.transcript,
        name="",
        principal=None,
    )
    assert client.session == server.session
    assert len(client.session.handshake_hash) == 64


async def test_two_pairs_have_nothing_in_common(autojump_clock: MockClock) -> None:
    pairs = [await testing.secure_memory_stream_pair() for _ in range(2)]
    assert pairs[0][0].peer.public_key != pairs[1][0].peer.public_key
    assert pairs[0][0].session.handshake_hash != pairs[1][0].session.handshake_hash


async def test_memory_streams_never_block_a_sender(autojump_clock: MockClock) -> None:
    client, server = await testing.secure_memory_stream_pair()
    with trio.fail_after(1):
        await client.send_all(bytes(5_000_000))
    assert await server.receive_some(1) == b"\0"


async def test_lockstep_streams_block_a_sender_until_somebody_receives(autojump_clock: MockClock) -> None:
    client, server = await testing.secure_lockstep_stream_pair()
    with trio.move_on_after(1) as scope:
        await client.send_all(b"x")
    assert scope.cancelled_caught
    assert await server.receive_some() == b"x"


async def test_the_hooks_of_memory_streams_are_reached_through_transport_stream(autojump_clock: MockClock) -> None:
    client, _ = await testing.secure_memory_stream_pair()
    called = 0

    async def hook() -> None:
        nonlocal called
        called += 1

    client.transport_stream.send_stream.wait_send_all_might_not_block_hook = hook
    await client.wait_send_all_might_not_block()
    assert called == 1


async def test_configurations_of_one_s_own_are_used(make_pair: MakePair, autojump_clock: MockClock) -> None:
    client_config, server_config = testing.configs_that_match()

    async def authorize(peer: ss.Peer) -> str:
        return "me"

    suites = (ss.Suite.XCHACHA20_POLY1305,)
    _, server = await make_pair((client_config, replace(server_config, authorize=authorize, suites=suites)))
    assert server.peer.principal == "me"
    assert server.session.suite is ss.Suite.XCHACHA20_POLY1305


async def test_a_handshake_that_fails_raises_a_group_of_what_each_side_raises(autojump_clock: MockClock) -> None:
    (client, _), (_, server) = testing.configs_that_match(), testing.configs_that_match()
    with pytest.raises(ExceptionGroup) as caught:
        await testing.secure_memory_stream_pair((client, server))
    assert caught.group_contains(ss.ServerKeyMismatch)


async def test_a_stream_says_who_is_at_its_other_end(autojump_clock: MockClock) -> None:
    client, _ = await testing.secure_memory_stream_pair()
    assert repr(client) == f"<SecureStream with {client.peer.public_key}, {client.session.suite.name}>"


async def test_a_pair_goes_over_any_two_transports(autojump_clock: MockClock) -> None:
    inner = await testing.secure_memory_stream_pair()
    client, server = await testing.secure_stream_pair(inner)
    await client.send_all(b"inside")
    assert await server.receive_some() == b"inside"
    assert client.transport_stream is inner[0]


async def test_what_the_module_offers_is_what_it_says() -> None:
    assert all(callable(getattr(testing, name)) for name in testing.__all__)
