"""Contents of every size, and what of them is seen on the wire."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.protocol import records
from securestream.testing import secure_stream_pair

from ..protocol.support import CAPACITY, OVERHEAD, PREFIX
from .support import (
    PATIENCE,
    TOO_MUCH,
    Configs,
    failure_of,
    matching_configs,
    receive_all,
    receive_until_error,
    record_lengths,
    secure_pair,
    suite_of,
    tapped_pair,
)
from .transports import Tap, memory_pair, socket_pair, tcp_pair

if TYPE_CHECKING:
    from trio.testing import MockClock

    from securestream.protocol.suites import AnySuite

AROUND_ONE_RECORD = range(16_346, 16_364)
SIZES = [0, 1, *AROUND_ONE_RECORD, 2 * 16_362, 262_144, 1_000_000]


def wire_of(tap: Tap, start: int, suite: AnySuite) -> bytes:
    """What has gone out since `start`, less the prefix of suite 1 where it is the first."""
    return tap.sent[start:][PREFIX[suite] :]


async def test_every_size_arrives_as_it_was_sent(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, configs)
    data = bytes(range(256)) * 4_000
    for size in SIZES:
        await near.send_all(data[:size])
        received = bytearray()
        while len(received) < size:
            received += await far.receive_some()
        assert received == data[:size]


@pytest.mark.wire
async def test_no_record_is_longer_than_16_384_bytes_and_the_overhead_is_the_protocol_s(
    suite: AnySuite, autojump_clock: MockClock
) -> None:
    for size in SIZES:
        near, _, tap = await tapped_pair(matching_configs(suite))
        start = len(tap.sent)
        await near.send_all(bytes(size))
        full, rest = divmod(size, CAPACITY[suite])
        expected = [16_384] * full + [rest + OVERHEAD[suite]] * bool(rest)
        assert record_lengths(wire_of(tap, start, suite)) == expected


@pytest.mark.wire
async def test_each_send_all_has_records_of_its_own(configs: Configs, autojump_clock: MockClock) -> None:
    near, _, tap = await tapped_pair(configs)
    suite = suite_of(configs[0])
    start = len(tap.sent)
    for size in (1, 2, 3):
        await near.send_all(bytes(size))
    assert record_lengths(wire_of(tap, start, suite)) == [OVERHEAD[suite] + size for size in (1, 2, 3)]


async def test_sending_nothing_sends_nothing(configs: Configs, autojump_clock: MockClock) -> None:
    near, _, tap = await tapped_pair(configs)
    sent = tap.sent
    await near.send_all(b"")
    assert tap.sent == sent


@pytest.mark.wire
async def test_the_end_and_a_key_update_are_records_without_content(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, _, tap = await tapped_pair(configs)
    suite = suite_of(configs[0])
    start = len(tap.sent)
    await near.update_key()
    await near.send_eof()
    assert record_lengths(wire_of(tap, start, suite)) == [OVERHEAD[suite]] * 2


async def test_record_capacity_is_what_fills_a_record(configs: Configs, autojump_clock: MockClock) -> None:
    near, _ = await secure_pair(memory_pair, configs)
    assert near.record_capacity == CAPACITY[suite_of(configs[0])]


@pytest.mark.wire
async def test_with_full_records_every_record_is_16_384_bytes(suite: AnySuite, autojump_clock: MockClock) -> None:
    near, far, tap = await tapped_pair(matching_configs(suite))
    near.padding = ss.FullRecords()
    assert isinstance(near.padding, ss.FullRecords)
    start = len(tap.sent)
    for size in (1, 16_362, 40_000):
        await near.send_all(bytes(size))
    await near.update_key()
    await near.send_eof()
    assert set(record_lengths(wire_of(tap, start, suite))) == {16_384}
    assert len(await receive_all(far)) == 1 + 16_362 + 40_000


async def test_the_padding_of_a_configuration_is_that_of_its_stream(
    configs: Configs, autojump_clock: MockClock
) -> None:
    client, server = configs
    near_policy, far_policy = ss.FullRecords(), ss.FullRecords()
    near, far = await secure_pair(
        memory_pair, (replace(client, padding=near_policy), replace(server, padding=far_policy))
    )
    assert near.padding is near_policy
    assert far.padding is far_policy


@pytest.mark.wire
async def test_each_direction_has_a_policy_of_its_own_that_may_change_at_any_time(
    configs: Configs, autojump_clock: MockClock
) -> None:
    client, server = configs
    near, far = await memory_pair()
    taps = Tap(near), Tap(far)
    changed = replace(client, padding=ss.BlockPadding(1_000)), replace(server, padding=ss.FullRecords())
    ends = await secure_stream_pair(taps, changed)
    overhead = OVERHEAD[suite_of(client)]

    async def sizes_of_one_byte() -> list[int]:
        for end in ends:
            await end.send_all(b"x")
        return [record_lengths(tap.sends[-1])[-1] for tap in taps]

    await ends[0].update_key()  # with the prefix of the cipher
    assert await sizes_of_one_byte() == [1_000 + overhead, 16_384]
    ends[0].padding, ends[1].padding = ss.NoPadding(), ss.TorCells()
    assert await sizes_of_one_byte() == [1 + overhead, 514 + overhead]
    ends[0].padding = ss.Padme()
    assert await sizes_of_one_byte() == [1 + overhead, 514 + overhead]


@pytest.mark.parametrize("policy", [ss.FullRecords(), ss.BlockPadding(4_000), ss.BlockPadding(100)], ids=repr)
@pytest.mark.wire
async def test_the_verdict_is_padded_by_the_policy_of_who_gives_it(
    policy: ss.PaddingPolicy, configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await memory_pair()
    tap = Tap(far)
    await secure_stream_pair((near, tap), (configs[0], replace(configs[1], padding=policy)))
    suite = suite_of(configs[0])
    content = 512 - OVERHEAD[suite]  # as it is without a policy
    padded = policy.pad_flush(content)
    expected = padded + policy.pad_record(4, padded, CAPACITY[suite] - padded) + OVERHEAD[suite]
    assert record_lengths(tap.sends[-1][PREFIX[suite] :]) == [expected]


@pytest.mark.parametrize("size", [1, 100, 7_000])
async def test_receive_some_gives_no_more_than_it_was_asked_for(
    size: int, configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(memory_pair, configs)
    data = bytes(range(256)) * 80
    await near.send_all(data)
    await near.send_eof()
    received = []
    while chunk := await far.receive_some(size):
        received.append(chunk)
    assert {len(chunk) for chunk in received[:-1]} == {size}
    assert b"".join(received) == data


@pytest.mark.parametrize(("wrong", "kind"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("1", TypeError)])
async def test_a_wrong_max_bytes_is_an_error_that_changes_nothing(
    wrong: object, kind: type[Exception], autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(memory_pair, matching_configs())
    await near.send_all(b"data")
    with pytest.raises(kind):
        await far.receive_some(wrong)  # type: ignore[arg-type]
    assert await far.receive_some() == b"data"


async def test_100_mb_go_through_tcp(suite: AnySuite) -> None:
    piece, pieces = bytes(range(256)) * 4_096, 100
    with trio.fail_after(PATIENCE):
        near, far = await secure_pair(tcp_pair, matching_configs(suite))

        async def send() -> None:
            for _ in range(pieces):
                await near.send_all(piece)
            await near.aclose()

        expected, received = hashlib.blake2b(piece * pieces), hashlib.blake2b()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            async for chunk in far:
                received.update(chunk)
            await far.aclose()
    assert received.digest() == expected.digest()


# --- key updates -----------------------------------------------------------------------------------------------


@pytest.fixture
def update_after(monkeypatch: pytest.MonkeyPatch) -> int:
    """Keys that are changed after so many bytes, in place of a GiB."""
    monkeypatch.setattr(records, "UPDATE_AFTER_BYTES", 100_000)
    return 100_000


async def test_the_key_is_changed_by_itself_after_a_gib(
    update_after: int, configs: Configs, autojump_clock: MockClock
) -> None:
    assert (records.UPDATE_AFTER_RECORDS, update_after) == (2**32, 100_000)
    near, far = await secure_pair(memory_pair, configs)
    data = bytes(range(256)) * 4_000
    for start in range(0, len(data), 300_000):
        await near.send_all(data[start : start + 300_000])
    await near.send_eof()
    assert await receive_all(far) == data
    updates = near.statistics().key_updates_sent
    assert 9 <= updates <= 10
    assert far.statistics().key_updates_received == updates


async def test_the_key_is_changed_by_itself_after_so_many_records(
    monkeypatch: pytest.MonkeyPatch, configs: Configs, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(records, "UPDATE_AFTER_RECORDS", 10)
    near, far = await secure_pair(memory_pair, configs)
    for number in range(100):
        await near.send_all(bytes([number]))
    await near.send_eof()
    assert await receive_all(far) == bytes(range(100))
    assert near.statistics().key_updates_sent == 11


def test_a_gib_and_2_to_the_32_records_are_the_limits() -> None:
    assert records.UPDATE_AFTER_BYTES == 2**30
    assert records.UPDATE_AFTER_RECORDS == 2**32


async def test_the_key_is_changed_on_demand_in_either_direction(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, configs)
    for number in range(5):
        for sender, receiver in ((near, far), (far, near)):
            await sender.update_key()
            await sender.send_all(bytes([number]))
            assert await receiver.receive_some() == bytes([number])
    assert near.statistics().key_updates_sent == near.statistics().key_updates_received == 5


async def test_a_key_update_that_is_lost_is_noticed(configs: Configs, autojump_clock: MockClock) -> None:
    class Losing(Tap):
        lost = False

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            if not self.lost:
                await super().send_all(data)

    inner = await memory_pair()
    near, far = await secure_stream_pair((Losing(inner[0]), Losing(inner[1])), configs)
    await near.send_all(b"before")
    near.transport_stream.lost = True
    await near.update_key()
    near.transport_stream.lost = False
    await near.send_all(b"after")
    assert await far.receive_some() == b"before"
    await failure_of(far.receive_some(), ss.BadRecord)


# --- statistics -------------------------------------------------------------------------------------------------


def numbers(stream: ss.SecureStream[Tap], direction: str) -> dict[str, int]:
    """One direction of a stream's statistics, by what is counted."""
    everything = vars(stream.statistics())
    return {name.removesuffix(direction): n for name, n in everything.items() if name.endswith(direction)}


async def test_statistics_count_the_application_s_bytes_records_and_updates(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, far, _ = await tapped_pair(configs)
    near.padding = ss.FullRecords()
    for size in (0, 1, 1_000, 20_000):
        await near.send_all(bytes(size))
    await near.update_key()
    await near.send_eof()
    await receive_all(far)
    capacity = near.record_capacity
    sent, received = numbers(near, "_sent"), numbers(far, "_received")
    assert sent["bytes"] == received["bytes"] == 21_001
    assert sent["records"] == received["records"] == 6
    assert sent["key_updates"] == received["key_updates"] == 1
    assert sent["padding"] == 6 * capacity - 21_001


async def test_what_one_side_sends_the_other_receives_and_the_wire_s_bytes_include_the_handshake(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, far, tap = await tapped_pair(configs)
    for sender, receiver in ((near, far), (far, near)):
        await sender.send_all(bytes(50_000))
        await sender.send_eof()
        await receive_all(receiver)
        sent, received = numbers(sender, "_sent"), numbers(receiver, "_received")
        assert {name: n for name, n in sent.items() if name != "padding"} == received
    assert numbers(near, "_sent")["wire_bytes"] == len(tap.sent)


async def test_over_sockets_what_was_sent_of_a_cut_send_is_counted(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await secure_pair(socket_pair, configs)
    with trio.move_on_after(1):
        await near.send_all(bytes(TOO_MUCH))
    await trio.aclose_forcefully(near)
    await receive_until_error(far)
    assert near.statistics().wire_bytes_sent == far.statistics().wire_bytes_received
