"""MessageChannel: messages arrive whole however they are cut, and what is none is refused before it is stored."""

from __future__ import annotations

import tracemalloc
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import securestream as ss
from securestream.protocol.records import End

from ..service.support import serving
from .support import (
    PATIENCE,
    Configs,
    client_and_puppet,
    in_background,
    matching_configs,
    memory_pair,
    receive_until_error,
    secure_pair,
)
from .test_cancellation import at_each_checkpoint, is_cut

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from .transports import Transports

CONFIGS = matching_configs(close_timeout=0.1)


def framed(*messages: bytes) -> bytes:
    return b"".join(len(message).to_bytes(4, "little") + message for message in messages)


# --- to and fro -----------------------------------------------------------------------------------------


async def test_messages_arrive_whole_and_in_order_and_the_end_is_an_end(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    messages = [b"", b"x", bytes(100_000), b"", b"y" * 2**20]

    async def send() -> None:
        async with near:
            for message in messages:
                await near.send(message)

    with trio.fail_after(PATIENCE):
        near, far = (ss.MessageChannel(end) for end in await secure_pair(make_transports, configs))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert [message async for message in far] == messages
            await far.aclose()


async def test_one_message_is_one_flush_for_the_padding_policy(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, CONFIGS)
    near.padding = ss.BlockPadding(1_000)
    await ss.MessageChannel(near).send(bytes(1_500))
    assert await ss.MessageChannel(far).receive() == bytes(1_500)
    assert near.statistics().bytes_sent == 1_504
    assert near.statistics().padding_sent == 2_000 - 1_504


async def test_a_message_that_is_too_long_is_not_sent_and_breaks_nothing(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, CONFIGS)
    with pytest.raises(ValueError, match="11 bytes, where 10 are allowed"):
        await ss.MessageChannel(near, max_size=10).send(bytes(11))
    assert near.statistics().records_sent == 0
    await ss.MessageChannel(near, max_size=10).send(bytes(10))
    assert await ss.MessageChannel(far, max_size=10).receive() == bytes(10)


async def test_text_is_no_message_and_breaks_nothing(autojump_clock: MockClock) -> None:
    near, far = (ss.MessageChannel(end) for end in await secure_pair(memory_pair, CONFIGS))
    with pytest.raises(TypeError, match="a message is bytes, not a str"):
        await near.send("question")  # type: ignore[arg-type]  # the mistake
    await near.send(memoryview(b"question"))
    assert await far.receive() == b"question"


@pytest.mark.parametrize("max_size", [-1, 0, 2**32])
async def test_a_limit_that_makes_no_sense_is_refused(max_size: int) -> None:
    near, _ = await secure_pair(memory_pair, CONFIGS)
    with pytest.raises(ValueError):
        ss.MessageChannel(near, max_size=max_size)


async def test_it_never_takes_what_belongs_to_the_next_message(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, CONFIGS)
    await far.send_all(framed(b"one") + b"and something else")
    assert await ss.MessageChannel(near).receive() == b"one"
    assert await near.receive_some() == b"and something else"


# --- hostile bytes ----------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    messages=st.lists(st.binary(max_size=60), max_size=6),
    rest=st.binary(max_size=8),
    cuts=st.lists(st.integers(0, 400), max_size=8),
    max_size=st.integers(1, 80),
)
def test_whatever_comes_is_messages_and_then_an_end_or_one_error(
    messages: list[bytes], rest: bytes, cuts: list[int], max_size: int
) -> None:
    wire = framed(*messages) + rest
    assert trio.run(receive_pieces, wire, cuts, max_size) == messages_in(wire, max_size)


def messages_in(wire: bytes, max_size: int) -> tuple[list[bytes], bool]:
    """The messages in `wire`, and whether it ends behind one: the same rules, said once more."""
    messages: list[bytes] = []
    while len(wire) >= 4:
        size = int.from_bytes(wire[:4], "little")
        if size > max_size or len(wire) < 4 + size:
            return messages, False
        messages.append(wire[4 : 4 + size])
        wire = wire[4 + size :]
    return messages, not wire


async def receive_pieces(wire: bytes, cuts: list[int], max_size: int) -> tuple[list[bytes], bool]:
    """What a channel makes of `wire`, sent in records that are cut there."""
    near, far = await secure_pair(memory_pair, CONFIGS)
    places = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    for start, end in pairwise(places):
        await far.send_all(wire[start:end])
    await far.send_eof()
    channel, messages = ss.MessageChannel(near, max_size=max_size), list[bytes]()
    try:
        while True:
            messages.append(await channel.receive())
    except trio.EndOfChannel:
        return messages, True
    except ss.BadMessage:
        return messages, False
    finally:
        await trio.aclose_forcefully(near)
        await trio.aclose_forcefully(far)


TOO_LONG = (101).to_bytes(4, "little")


@pytest.mark.parametrize("wire", [TOO_LONG, b"\xff" * 4, TOO_LONG + bytes(101)])
async def test_a_message_that_is_too_long_ends_the_stream_for_both(wire: bytes, autojump_clock: MockClock) -> None:
    near, puppet = await client_and_puppet(await memory_pair(), CONFIGS)
    channel = ss.MessageChannel(near, max_size=100)
    await puppet.say(puppet.data(framed(b"the last one") + wire + framed(b"never seen")))
    assert await channel.receive() == b"the last one"
    for call in (channel.receive, channel.receive, near.receive_some, partial(channel.send, b"x")):
        with pytest.raises(ss.BadMessage, match="where 100 are allowed"):
            await call()
    await channel.aclose()
    assert await puppet.hear() == (b"", End.ALERTED)
    assert puppet.reader.alert is not None
    assert puppet.reader.alert.code == ss.AlertCode.PROTOCOL_ERROR
    assert "where 100 are allowed" in puppet.reader.alert.message


@pytest.mark.parametrize("wire", [b"\x05", b"\x05\0\0", framed(b"12345")[:4], framed(b"12345")[:-1]])
async def test_an_end_in_the_middle_of_a_message_is_no_end(wire: bytes, autojump_clock: MockClock) -> None:
    near, puppet = await client_and_puppet(await memory_pair(), CONFIGS)
    channel = ss.MessageChannel(near)
    await puppet.say(puppet.data(wire), puppet.close())
    for _ in range(2):
        with pytest.raises(ss.BadMessage, match="in the middle of a message"):
            await channel.receive()
    await channel.aclose()
    assert await puppet.hear() == (b"", End.ALERTED)


async def test_a_cut_connection_and_an_alert_stay_what_they_are(autojump_clock: MockClock) -> None:
    near, puppet = await client_and_puppet(await memory_pair(), CONFIGS)
    await puppet.say(puppet.data(framed(b"12345")[:-1]))
    await puppet.transport.aclose()
    with pytest.raises(ss.TruncatedStream):
        await ss.MessageChannel(near).receive()
    near, puppet = await client_and_puppet(await memory_pair(), CONFIGS)
    await puppet.say(puppet.data(framed(b"12345")[:-1]), puppet.alert(5_001, "no more"))
    with pytest.raises(ss.PeerAlert, match="no more"):
        await ss.MessageChannel(near).receive()


async def test_an_announced_gigabyte_takes_no_memory_until_it_comes(autojump_clock: MockClock) -> None:
    near, puppet = await client_and_puppet(await memory_pair(), CONFIGS)
    channel = ss.MessageChannel(near, max_size=2**30)
    await puppet.say(puppet.data((2**30).to_bytes(4, "little") + b"x"))
    tracemalloc.start()
    try:
        async with in_background(channel.receive) as scope:
            assert tracemalloc.get_traced_memory()[1] < 2**20
            scope.cancel()
    finally:
        tracemalloc.stop()


async def test_a_handler_that_gets_no_message_tells_its_client_and_nobody_else(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a backend sends no message, it isn't the client's fault."""
    backend, puppet = await client_and_puppet(await memory_pair(), CONFIGS)
    await puppet.say(puppet.data(b"\xff" * 4))

    async def handler(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        async for command in ss.MessageChannel(stream, max_size=10):
            if command == b"ask":
                await ss.MessageChannel(backend).receive()

    async with serving(handler, CONFIGS[1]) as server:
        client = await server.connect(CONFIGS[0])
        await client.send_all(b"\xff" * 4)
        alert = (await receive_until_error(client))[1]
        assert isinstance(alert, ss.PeerAlert)
        assert alert.alert.code == ss.AlertCode.PROTOCOL_ERROR
        assert not [record for record in caplog.records if record.exc_info]
        client = await server.connect(CONFIGS[0])
        await ss.MessageChannel(client).send(b"ask")
        alert = (await receive_until_error(client))[1]
        assert isinstance(alert, ss.PeerAlert)
        assert alert.alert == ss.Alert(ss.AlertCode.INTERNAL_ERROR)
        assert [record for record in caplog.records if record.exc_info]


# --- cancelling and leaving -----------------------------------------------------------------------------


async def test_a_receive_that_is_cancelled_at_any_checkpoint_loses_nothing(autojump_clock: MockClock) -> None:
    messages = [b"", b"one", bytes(40_000), b"two"]

    async def trial(steps: int) -> bool:
        near, far = await secure_pair(memory_pair, CONFIGS)
        wire, channel, received = framed(*messages), ss.MessageChannel(near), list[bytes]()

        async def receive() -> None:
            async for message in channel:
                received.append(message)

        async with in_background(partial(is_cut, receive, steps)):
            for start in range(0, len(wire), 7_000):
                await far.send_all(wire[start : start + 7_000])
                await trio.testing.wait_all_tasks_blocked()
            await far.send_eof()
        cut = len(received) < len(messages)
        await receive()
        assert received == messages
        return cut

    await at_each_checkpoint(trial)


async def test_left_by_an_exception_the_peer_hears_of_it(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, CONFIGS)
    with pytest.raises(ss.StreamFailure):
        async with ss.MessageChannel(near) as channel:
            await channel.send(b"so far")
            raise ss.StreamFailure(5_001, "and no farther")
    channel = ss.MessageChannel(far)
    assert await channel.receive() == b"so far"
    with pytest.raises(ss.PeerAlert, match="and no farther"):
        await channel.receive()


async def test_a_second_receiver_is_told_of_his_mistake(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, CONFIGS)
    channel, received = ss.MessageChannel(near), list[bytes]()

    async def receive() -> None:
        received.append(await channel.receive())

    async with in_background(receive):
        await far.send_all(framed(b"12345")[:6])
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await channel.receive()
        await far.send_all(framed(b"12345")[6:])
    assert received == [b"12345"]
