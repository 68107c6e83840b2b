"""The attacker who has the key and sends as much of nothing as he can: the work for each byte stays bounded, and so
does the work between two checkpoints, so that other connections go on.

Nothing here is measured in time: work is counted in records opened, progress in turns of the scheduler.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.protocol.codes import AlertCode
from securestream.protocol.messages import encode_alert_frame
from securestream.protocol.records import READ_SIZE, RECORDS_AT_ONCE, RecordReader
from securestream.protocol.suites import RecordType
from securestream.streams.secure import LINGER_BYTES
from securestream.testing import secure_memory_stream_pair

from ..protocol.support import OVERHEAD, Forger, new_client
from ..streams.support import Tap, failure_of, in_background, memory_pair
from .support import DEADLINE, forged_stream, honest_configs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from trio.testing import MockClock

    from securestream.protocol.suites import Suite

pytestmark = pytest.mark.shows("floods")

RECORDS = 40 * RECORDS_AT_ONCE

FLOODS: dict[str, Callable[[Forger], bytes]] = {
    "empty_records": lambda f: f.record(RecordType.DATA),
    "key_updates": lambda f: f.record(RecordType.KEY_UPDATE),
    "records_of_one_byte": lambda f: f.record(RecordType.DATA, b"x"),
    "empty_records_and_key_updates": lambda f: f.record(RecordType.DATA) + f.record(RecordType.KEY_UPDATE),
}
every_flood = pytest.mark.parametrize("name", FLOODS)


def flood(forger: Forger, name: str) -> bytes:
    """`RECORDS` records, and the end."""
    record = FLOODS[name]
    step = 2 if name.endswith("and_key_updates") else 1
    wire = forger.prefix + b"".join(record(forger) for _ in range(0, RECORDS, step))
    return wire + forger.record(RecordType.CLOSE)


class Work:
    """Counts the records that any reader opens, and the most of them between two turns of the scheduler."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = self.most_at_once = self._since_turn = 0
        read = RecordReader.read

        def counted(reader: RecordReader) -> bytes:
            before = reader.records
            content = read(reader)
            self._since_turn += reader.records - before
            self.opened += reader.records - before
            self.most_at_once = max(self.most_at_once, self._since_turn)
            return content

        monkeypatch.setattr(RecordReader, "read", counted)

    def turn(self) -> None:
        self._since_turn = 0


class Turns(trio.abc.Instrument):
    """Tells when any task gives up its turn."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._work.turn()


@contextmanager
def counted_turns(work: Work) -> Iterator[None]:
    instrument = Turns(work)
    trio.lowlevel.add_instrument(instrument)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(instrument)


class Neighbour:
    """Another connection of the same program, which goes to and fro all the time."""

    def __init__(self) -> None:
        self.round_trips = 0

    async def talk(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        client, server = await secure_memory_stream_pair()
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._echo, server)
            while True:
                await client.send_all(b"ping")
                await client.receive_some()
                self.round_trips += 1

    async def _echo(self, server: ss.SecureStream[trio.abc.Stream]) -> None:
        while data := await server.receive_some():
            await server.send_all(data)


@asynccontextmanager
async def neighbour() -> AsyncIterator[Neighbour]:
    """A neighbour that talks while the block runs."""
    other = Neighbour()
    async with trio.open_nursery() as nursery:
        await nursery.start(other.talk)
        yield other
        nursery.cancel_scope.cancel()


@every_flood
async def test_a_flood_is_opened_a_bounded_number_of_records_at_a_time_and_each_of_them_once(
    name: str, suite: Suite, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    stream, forger, puppet = await forged_stream(suite, await memory_pair())
    wire = flood(forger, name)
    work = Work(monkeypatch)
    await puppet.say(wire)
    received = 0
    with counted_turns(work):
        while chunk := await stream.receive_some():
            received += len(chunk)
    assert received == (RECORDS if name == "records_of_one_byte" else 0)
    assert work.opened == RECORDS + 1
    assert work.opened * OVERHEAD[suite] <= len(wire)
    assert work.most_at_once <= RECORDS_AT_ONCE
    await stream.aclose()


@every_flood
async def test_a_flood_does_not_stall_another_connection(name: str, suite: Suite, autojump_clock: MockClock) -> None:
    stream, forger, puppet = await forged_stream(suite, await memory_pair())
    await puppet.say(flood(forger, name))
    async with neighbour() as other:
        while await stream.receive_some():
            pass
        assert other.round_trips >= RECORDS // RECORDS_AT_ONCE // 8
        assert stream.statistics().records_received == RECORDS + 1
    await stream.aclose()


@every_flood
async def test_a_flood_keeps_no_more_bytes_than_one_read_of_the_transport(
    name: str, suite: Suite, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    stream, forger, puppet = await forged_stream(suite, await memory_pair())
    wire = flood(forger, name)
    kept: list[int] = []
    feed = RecordReader.feed

    def counted(reader: RecordReader, data: bytes | bytearray) -> None:
        feed(reader, data)
        kept.append(reader._filled - reader._at)

    monkeypatch.setattr(RecordReader, "feed", counted)
    await puppet.say(wire)
    while await stream.receive_some():
        pass
    assert max(kept) <= READ_SIZE + OVERHEAD[suite] + 1
    await stream.aclose()


async def test_a_flood_that_nobody_receives_costs_nothing(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    stream, forger, puppet = await forged_stream(suite, await memory_pair())
    work = Work(monkeypatch)
    await puppet.say(flood(forger, "empty_records"))
    await stream.send_all(b"text")
    await trio.testing.wait_all_tasks_blocked()
    assert work.opened == 0
    await trio.aclose_forcefully(stream)


@every_flood
async def test_a_flood_while_this_side_closes_is_listened_to_for_a_bounded_while(
    name: str, suite: Suite, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    stream, forger, puppet = await forged_stream(suite, await memory_pair())
    work = Work(monkeypatch)
    await puppet.say(forger.prefix, b"".join(FLOODS[name](forger) for _ in range(RECORDS)))
    with trio.fail_after(DEADLINE):
        with counted_turns(work):
            await stream.aclose()
    assert work.opened * OVERHEAD[suite] <= LINGER_BYTES + READ_SIZE
    assert work.most_at_once <= RECORDS_AT_ONCE


async def test_a_stranger_who_is_refused_and_goes_on_talking_is_listened_to_for_a_bounded_while(
    autojump_clock: MockClock,
) -> None:
    near, far = trio.testing.memory_stream_pair()
    tap = Tap(far)
    await near.send_all(b"\xff" * (8 * LINGER_BYTES))
    with trio.fail_after(DEADLINE):
        await failure_of(ss.wrap_server(tap, honest_configs()[1]), ss.HandshakeError)
    assert tap.receives <= LINGER_BYTES // 16_384 + 2
    assert await near.receive_some() == encode_alert_frame(AlertCode.PROTOCOL_ERROR)


@pytest.mark.parametrize("kept", [90, 91], ids=["a_hello_that_is_never_whole", "a_hello_and_no_response"])
async def test_a_client_that_drips_a_byte_a_second_holds_a_server_no_longer_than_its_deadline(
    kept: int, autojump_clock: MockClock
) -> None:
    near, far = trio.testing.memory_stream_pair()
    hello = new_client().hello()

    async def drip() -> None:
        await near.send_all(hello[: kept - 5])
        for byte in hello[kept - 5 : kept] + bytes(100):
            await trio.sleep(1)
            await near.send_all(bytes([byte]))

    start = trio.current_time()
    async with in_background(partial(failure_of, drip(), trio.BrokenResourceError)):
        with trio.fail_after(DEADLINE):
            await failure_of(ss.wrap_server(far, honest_configs()[1]), ss.HandshakeTimeout)
    assert trio.current_time() - start <= 5 + 1 + 1


async def test_a_forged_record_ends_the_stream_however_many_follow(suite: Suite, autojump_clock: MockClock) -> None:
    stream, forger, puppet = await forged_stream(suite, await memory_pair())
    garbage = (OVERHEAD[suite]).to_bytes(2, "little") + bytes(OVERHEAD[suite] - 2)
    await puppet.say(forger.prefix, garbage * RECORDS)
    await failure_of(stream.receive_some(), ss.BadRecord)
    assert stream.statistics().records_received == 0
    await puppet.transport.send_eof()
    await stream.aclose()


async def test_a_flood_after_a_failed_send_is_searched_for_a_reason_within_bounds(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    near, far = await memory_pair()
    stream, forger, puppet = await forged_stream(suite, (near, far))
    work = Work(monkeypatch)
    await puppet.say(forger.prefix, b"".join(FLOODS["empty_records"](forger) for _ in range(RECORDS)))
    await puppet.say(forger.record(RecordType.ALERT, b"\7\0no"))
    assert isinstance(far, trio.StapledStream)
    await far.receive_stream.aclose()
    with trio.fail_after(DEADLINE):
        with counted_turns(work), pytest.raises(ss.PeerAlert):
            await stream.send_all(b"text")
    assert work.most_at_once <= RECORDS_AT_ONCE
    await stream.aclose()
