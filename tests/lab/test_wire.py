"""What the listener sees, and what the pure function says that he sees: the same."""

from __future__ import annotations

import pytest
import trio

import securestream as ss
from securestream.lab.wire import (
    RecordedPair,
    RecordingStream,
    flush_records,
    record_sizes,
    recorded_pair,
    run_in_virtual_time,
)
from securestream.testing import secure_stream_pair

POLICIES = [
    ss.NoPadding(),
    ss.FullRecords(),
    ss.BlockPadding(468),
    ss.PowerOfTwoPadding(),
    ss.Padme(),
    ss.TorCells(),
    ss.RecordPadding(lambda _type, length, room: min(room, -length % 100)),
]
SIZES = [1, 129, 509, 16_340, 16_347, 16_348, 16_362, 16_363, 100_000]


async def receive_exactly(stream: ss.SecureStream[trio.abc.Stream], count: int) -> None:
    while count:
        count -= len(await stream.receive_some(count))


@pytest.mark.parametrize("suite", ss.Suite)
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
async def test_the_real_stream_sends_the_records_that_the_pure_function_names(
    policy: ss.PaddingPolicy, suite: ss.Suite
) -> None:
    async with recorded_pair(client_padding=policy, suite=suite) as pair:
        for size in SIZES:
            before = len(pair.wire.sizes(outgoing=True))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive_exactly, pair.server, size)
                await pair.client.send_all(bytes(size))
            assert tuple(pair.wire.sizes(outgoing=True)[before:]) == flush_records(policy, size, suite)


@pytest.mark.parametrize("suite", ss.Suite)
async def test_the_first_record_from_the_server_is_the_verdict(suite: ss.Suite) -> None:
    async with recorded_pair(suite=suite) as pair:
        assert pair.wire.sizes(outgoing=False) == [512]
        await pair.server.send_all(b"x")
        await pair.client.receive_some()
        overhead = {ss.Suite.XCHACHA20_POLY1305: 22, ss.Suite.AEGIS_256: 37}[suite]
        assert pair.wire.sizes(outgoing=False) == [512, overhead + 1]
        assert pair.wire.sizes(outgoing=True) == []


def test_nothing_sent_is_nothing_seen() -> None:
    assert flush_records(ss.FullRecords(), 0) == ()


def test_what_was_padded_already_is_cut_as_it_is() -> None:
    assert record_sizes(ss.NoPadding(), 2 * 16_362 + 1) == (16_384, 16_384, 23)


def test_a_policy_out_of_bounds_is_an_error_here_as_on_the_stream() -> None:
    class Shrinks(ss.PaddingPolicy):
        def pad_flush(self, length: int) -> int:
            return length - 1

    with pytest.raises(ValueError, match="out of bounds"):
        flush_records(Shrinks(), 5)


async def test_records_are_seen_across_a_real_socket_too() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    near = await trio.testing.open_stream_to_socket_listener(listeners[0])
    far = await listeners[0].accept()
    await listeners[0].aclose()
    server = ss.ServerConfig(key=ss.PrivateKey.generate(), authorize=ss.ANYONE)
    client = ss.ClientConfig(server_key=server.key.public_key, suites=[ss.Suite.AEGIS_256], padding=ss.Padme())
    wire = RecordingStream(near, ss.Suite.AEGIS_256)
    transports: tuple[trio.abc.Stream, trio.abc.Stream] = (wire, far)
    near_end, far_end = await secure_stream_pair(transports, (client, server))
    await near_end.send_all(bytes(129))
    await receive_exactly(far_end, 129)
    assert wire.sizes(outgoing=True) == [144 + 37]
    await trio.aclose_forcefully(near_end)
    await trio.aclose_forcefully(far_end)


def test_hours_pass_in_no_time_and_are_seen_on_the_records() -> None:
    async def conversation() -> RecordedPair:
        async with recorded_pair() as pair:
            for _ in range(3):
                await trio.sleep(3_600)
                await pair.client.send_all(b"x")
            return pair

    first, second, third = run_in_virtual_time(conversation).wire.records[1:]
    assert second.time - first.time == third.time - second.time == 3_600
