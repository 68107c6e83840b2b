"""Records from end to end: what goes in comes out, however the bytes travel, and an end is an end."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securestream.protocol.alerts import Alert, AlertCode
from securestream.protocol.errors import LocalProtocolError
from securestream.protocol.padding import FullRecords
from securestream.protocol.records import BATCH, READ_SIZE, RECORDS_AT_ONCE, End, RecordReader, RecordWriter
from securestream.protocol.suites import MAX_RECORD, RecordType, Suite

from .support import (
    CAPACITY,
    KEY,
    OVERHEAD,
    PREFIX,
    PROPERTY,
    Forger,
    Witness,
    cut,
    drain,
    flush,
    new_forged,
    new_pair,
    receive,
)

if TYPE_CHECKING:
    from types import ModuleType

pytestmark = pytest.mark.usefixtures("backend")

LENGTHS = [0, 1, 2, *range(16_346, 16_364), 2 * 16_347, 2 * 16_362, 65_536, 2**20]


def content_of(size: int) -> bytes:
    """Bytes that tell if a piece of them is missing, doubled or moved."""
    return random.Random(size).randbytes(size)


# --- what goes in comes out -------------------------------------------------------------------------


@pytest.mark.parametrize("size", LENGTHS)
def test_content_of_any_size_comes_back(suite: Suite, size: int) -> None:
    writer, reader = new_pair(suite)
    content = content_of(size)
    assert receive(reader, flush(writer, content)) == content
    assert reader.end is End.OPEN
    assert reader.content_bytes == writer.content_bytes == size


@pytest.mark.parametrize("size", LENGTHS)
def test_the_overhead_is_the_protocols_and_no_record_is_longer_than_16384_bytes(suite: Suite, size: int) -> None:
    writer, _ = new_pair(suite)
    wire = flush(writer, content_of(size))
    records = Witness(suite).open(wire)
    assert len(records) == -(-size // CAPACITY[suite]) == writer.records
    assert len(wire) == PREFIX[suite] + size + len(records) * OVERHEAD[suite]
    assert all(OVERHEAD[suite] < record.length <= MAX_RECORD == 16_384 for record in records)
    assert all(record.record_type == RecordType.DATA and record.padding == b"" for record in records)
    assert b"".join(record.content for record in records) == content_of(size)


def test_a_full_record_has_16384_bytes(suite: Suite) -> None:
    wire = flush(RecordWriter(suite, KEY), bytes(CAPACITY[suite]))
    assert len(wire) == PREFIX[suite] + 16_384


def test_the_prefix_goes_out_once(suite: Suite) -> None:
    writer, _ = new_pair(suite)
    sizes = [len(flush(writer, b"x")), len(flush(writer, b"x")), len(writer.control(RecordType.CLOSE))]
    assert sizes == [PREFIX[suite] + OVERHEAD[suite] + 1, OVERHEAD[suite] + 1, OVERHEAD[suite]]


def test_a_hundred_megabytes_pass_through_the_same_few_buffers(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    piece = content_of(2**20)
    for _ in range(100):
        for batch in writer.data(memoryview(piece)):
            reader.feed(bytes(batch))
            drain(reader)
    assert reader.content_bytes == writer.content_bytes == 100 * 2**20
    assert reader.end is End.OPEN


def test_a_stream_can_be_written_by_one_call_or_by_many(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    wire = (
        b"".join(flush(writer, bytes([n])) for n in range(200)) + flush(writer, b"") + writer.control(RecordType.CLOSE)
    )
    assert receive(reader, wire) == bytes(range(200))
    assert reader.end is End.CLOSED


def test_empty_data_is_legal_and_never_reaches_the_reader(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    wire = writer.control(RecordType.DATA) + flush(writer, b"text") + writer.control(RecordType.DATA, padding=300)
    assert receive(reader, wire) == b"text"
    assert reader.records == 3
    assert reader.end is End.OPEN
    assert reader.read() == b""


# --- batches ----------------------------------------------------------------------------------------


def test_a_batch_is_good_until_the_next_is_asked_for(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    content = content_of(3 * BATCH)
    batches = iter(writer.data(memoryview(content)))
    first = next(batches)
    copy = bytes(first)
    received = receive(reader, bytes(first))
    assert bytes(first) == copy  # reading has not touched it
    second = next(batches)
    common = min(len(first), len(second))
    assert bytes(first[:common]) == bytes(second[:common]) != copy[:common]  # the same memory
    assert received + receive(reader, bytes(second), *map(bytes, batches)) == content


def test_nothing_is_sealed_before_the_first_batch_is_asked_for(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    asked_for_later = writer.data(memoryview(b"second"))
    wire = flush(writer, b"first ")
    assert receive(reader, wire, *map(bytes, asked_for_later)) == b"first second"


def test_a_control_record_may_go_out_between_two_batches(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    content = content_of(3 * BATCH)
    received = b""
    for batch in writer.data(memoryview(content)):
        received += receive(reader, bytes(batch), writer.update_key(), writer.control(RecordType.DATA))
    assert received == content
    assert reader.key_updates == writer.key_updates >= 2


@pytest.mark.parametrize("last", [RecordType.CLOSE, RecordType.ALERT])
def test_a_flush_does_not_go_on_after_the_last_record(suite: Suite, last: RecordType) -> None:
    writer, _ = new_pair(suite)
    batches = iter(writer.data(memoryview(bytes(2 * BATCH))))
    next(batches)
    writer.control(last, Alert(1).encode() if last is RecordType.ALERT else b"")
    with pytest.raises(LocalProtocolError):
        next(batches)


def test_a_flush_does_not_go_on_under_a_wiped_key(suite: Suite) -> None:
    writer, _ = new_pair(suite)
    batches = iter(writer.data(memoryview(bytes(2 * BATCH))))
    next(batches)
    writer.wipe()
    with pytest.raises(LocalProtocolError):
        next(batches)


# --- however the bytes travel -----------------------------------------------------------------------


def conversation(suite: Suite) -> tuple[bytes, bytes]:
    """Wire bytes with records of many kinds and sizes, and their content."""
    writer = RecordWriter(suite, KEY)
    sizes = [1, 0, 700, 3, 16_400, 2]
    wire = b"".join(flush(writer, content_of(size)) + writer.control(RecordType.DATA) for size in sizes)
    wire += writer.update_key() + flush(writer, b"under the next key") + writer.control(RecordType.CLOSE)
    return wire, b"".join(content_of(size) for size in sizes) + b"under the next key"


@PROPERTY
@given(places=st.lists(st.integers(0, 18_000), max_size=40))
def test_a_stream_cut_anywhere_is_the_same_stream(suite: Suite, places: list[int]) -> None:
    wire, content = conversation(suite)
    reader = RecordReader(suite, KEY, expects_verdict=False)
    assert receive(reader, *cut(wire, places)) == content
    assert reader.end is End.CLOSED


def test_a_stream_in_single_bytes_is_the_same_stream(suite: Suite) -> None:
    wire, content = conversation(suite)
    reader = RecordReader(suite, KEY, expects_verdict=False)
    assert receive(reader, *(bytes([byte]) for byte in wire)) == content
    assert reader.end is End.CLOSED


@PROPERTY
@given(places=st.lists(st.integers(0, 18_000), max_size=10), reads=st.lists(st.booleans(), max_size=11))
def test_what_is_fed_before_all_has_been_read_is_kept(suite: Suite, places: list[int], reads: list[bool]) -> None:
    wire, content = conversation(suite)
    reader, received = RecordReader(suite, KEY, expects_verdict=False), b""
    for number, piece in enumerate(cut(wire, places)):
        reader.feed(bytearray(piece))
        if number < len(reads) and reads[number]:
            received += reader.read()
    reader.feed_eof()
    assert received + drain(reader) == content
    assert reader.end is End.CLOSED


@PROPERTY
@given(places=st.lists(st.integers(0, 18_000), max_size=20), by_feed=st.lists(st.booleans(), max_size=21))
def test_reading_into_the_readers_own_space_is_the_same_as_feeding(
    suite: Suite, places: list[int], by_feed: list[bool]
) -> None:
    wire, content = conversation(suite)
    reader, received = RecordReader(suite, KEY, expects_verdict=False), b""
    for number, piece in enumerate(cut(wire, places)):
        reader.space()  # a transport read that was cancelled: nothing came
        if number < len(by_feed) and by_feed[number]:
            reader.feed(piece)
        else:
            reader.space()[: len(piece)] = piece
            reader.filled(len(piece))
        received += drain(reader)
    assert received == content
    assert reader.end is End.CLOSED


def test_the_readers_space_has_the_room_that_was_asked_for(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    reader.feed(flush(writer, b"x" * 1_000)[:-1])
    assert reader.read() == b""
    assert len(reader.space()) >= READ_SIZE
    for least in (1, 100_000, 10 * BATCH):
        assert len(reader.space(least)) >= least


def test_a_reader_at_its_end_may_be_given_space_and_reads_nothing(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    receive(reader, writer.control(RecordType.CLOSE))
    reader.space()[:5] = b"later"
    reader.filled(5)
    assert reader.read() == b""
    assert not reader.has_more
    assert reader.end is End.CLOSED


def test_buffers_are_used_again_by_other_streams_and_never_by_two_at_once(suite: Suite) -> None:
    pairs = [new_pair(suite) for _ in range(12)]
    contents = [bytes([n]) * (3 * BATCH) for n in range(12)]
    flushes = [iter(writer.data(memoryview(content))) for (writer, _), content in zip(pairs, contents, strict=True)]
    received = [b""] * 12
    for _ in range(6):
        batches = [next(batch, memoryview(b"")) for batch in flushes]
        for n, ((_, reader), batch) in enumerate(zip(pairs, batches, strict=True)):
            if batch:
                reader.feed(bytes(batch[:-10]))
                received[n] += drain(reader)
        for n, ((_, reader), batch) in enumerate(zip(pairs, batches, strict=True)):
            if batch:
                reader.feed(bytes(batch[-10:]))
                received[n] += drain(reader)
    assert received == contents


@pytest.fixture
def buffers(backend: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all buffers that are made while the test runs."""
    sizes: list[int] = []
    genuine = backend.Buffer

    def counted(size: int) -> object:
        sizes.append(size)
        return genuine(size)

    monkeypatch.setattr(backend, "Buffer", counted)
    return sizes


def test_idle_streams_hold_no_buffers(suite: Suite, buffers: list[int]) -> None:
    idle: list[RecordReader] = []
    for _ in range(50):
        writer, reader = new_pair(suite)
        wire = flush(writer, b"text") + flush(writer, b"more")
        assert receive(reader, wire[:-1]) == b"text"
        idle.append(reader)
    assert len(buffers) < 10


def test_a_stream_that_is_not_asked_for_its_last_small_records_holds_no_big_buffer(
    suite: Suite, buffers: list[int]
) -> None:
    held = []
    for _ in range(20):
        writer, reader = new_pair(suite)
        reader.feed(b"".join(flush(writer, b"x") for _ in range(RECORDS_AT_ONCE + 1)) + bytes(BATCH)[: 2**15])
        assert len(reader.read()) == RECORDS_AT_ONCE
        held.append(reader)
    assert sum(size > 2**16 for size in buffers) < 10
    assert [reader.read() for reader in held] == [b"x"] * 20


def test_what_comes_before_the_first_whole_record_holds_no_buffer(suite: Suite, buffers: list[int]) -> None:
    held = []
    for _ in range(20):
        writer, reader = new_pair(suite)
        reader.feed(flush(writer, b"text")[:-1])
        held.append(reader)
    assert len(buffers) < 10


def test_a_long_conversation_takes_a_handful_of_buffers(suite: Suite, buffers: list[int]) -> None:
    writer, reader = new_pair(suite)
    for _ in range(20):
        wire = (
            flush(writer, bytes(2 * BATCH))
            + flush(writer, b"text")
            + writer.control(RecordType.DATA)
            + writer.update_key()
        )
        for piece in cut(wire, range(0, len(wire), BATCH)):
            reader.feed(piece)
            drain(reader)
    assert reader.content_bytes == 20 * (2 * BATCH + 4)
    assert len(buffers) < 10


def test_one_read_opens_a_bounded_number_of_records(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    records = 2 * RECORDS_AT_ONCE + 10
    reader.feed(b"".join(flush(writer, b"x") for _ in range(records)))
    assert [len(reader.read()) for _ in range(3)] == [RECORDS_AT_ONCE, RECORDS_AT_ONCE, 10]
    assert not reader.has_more
    assert reader.read() == b""


def test_feeding_or_ending_between_two_reads_loses_nothing(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    wire = b"".join(flush(writer, b"x") for _ in range(3 * RECORDS_AT_ONCE)) + writer.control(RecordType.CLOSE)
    reader.feed(wire[:100])
    content = reader.read()
    reader.feed(wire[100:-1])  # a record straddles the two
    content += reader.read()
    assert reader.has_more
    reader.feed(wire[-1:])
    reader.feed_eof()
    ends = [reader.end]
    assert content + drain(reader) == b"x" * 3 * RECORDS_AT_ONCE
    assert [*ends, reader.end] == [End.OPEN, End.CLOSED]


def test_more_records_than_are_opened_at_once_are_read_in_several_reads(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    content = content_of(RECORDS_AT_ONCE * 2**14 + 2**20)
    reader.feed(flush(writer, content))
    reads = 0
    received = b""
    while reader.has_more:
        received += reader.read()
        reads += 1
    assert received == content
    assert reads > 1


@pytest.mark.parametrize("at", [1, 10, 23, 24, 25, 26])
def test_a_prefix_that_straddles_two_reads_is_joined(suite: Suite, at: int) -> None:
    writer, reader = new_pair(suite)
    wire = flush(writer, b"text")
    reader.feed(wire[:at])
    assert reader.read() == b""
    reader.feed(wire[at:])
    assert reader.read() == b"text"  # at the first read, not at the second


# --- the end ----------------------------------------------------------------------------------------


def test_close_is_the_authenticated_end(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    assert receive(reader, flush(writer, b"text") + writer.control(RecordType.CLOSE)) == b"text"
    assert reader.end is End.CLOSED
    reader.feed_eof()
    assert reader.end is End.CLOSED


def test_an_alert_is_read_after_all_that_came_before_it(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    alert = Alert(AlertCode.SHUTTING_DOWN, "back in five minutes")
    assert receive(reader, flush(writer, b"text") + writer.control(RecordType.ALERT, alert.encode())) == b"text"
    assert reader.end is End.ALERTED
    assert reader.alert == alert
    assert reader.authenticated


@pytest.mark.parametrize("last", [RecordType.CLOSE, RecordType.ALERT])
def test_bytes_after_the_last_record_are_never_delivered_and_never_waited_for(suite: Suite, last: RecordType) -> None:
    forger, reader = new_forged(suite)
    wire = forger.record(last, b"\x01\x00" if last is RecordType.ALERT else b"")
    later = forger.record(RecordType.DATA, b"later") + forger.record(RecordType.ALERT, b"\x02\x00") + b"garbage"
    assert receive(reader, wire + later[:20]) == b""
    end, alert = reader.end, reader.alert
    assert receive(reader, later[20:], b"\0" * 5_000) == b""
    reader.feed_eof()
    assert (reader.end, reader.alert) == (end, alert)
    assert end is (End.ALERTED if last is RecordType.ALERT else End.CLOSED)
    assert not reader.has_more


@pytest.mark.parametrize("last", [RecordType.CLOSE, RecordType.ALERT])
def test_a_writer_writes_nothing_after_its_last_record(suite: Suite, last: RecordType) -> None:
    writer, _ = new_pair(suite)
    writer.control(last, Alert(1).encode() if last is RecordType.ALERT else b"")
    assert writer.ended
    for content in (b"", b"later"):
        with pytest.raises(LocalProtocolError):
            writer.data(memoryview(content))
    for record_type in RecordType:
        with pytest.raises(LocalProtocolError):
            writer.control(record_type)


def test_transport_eof_without_close_or_alert_is_a_truncated_stream(suite: Suite) -> None:
    writer, _ = new_pair(suite)
    wire = flush(writer, b"text") + flush(writer, b"more")
    for size in range(len(wire) + 1):
        reader = RecordReader(suite, KEY, expects_verdict=False)
        received = receive(reader, *([wire[:size]] if size else []))
        reader.feed_eof()
        assert reader.end is End.TRUNCATED
        assert b"textmore".startswith(received)


def test_eof_is_told_after_the_records_that_had_come_before_it(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    reader.feed(flush(writer, b"text") + flush(writer, b"more")[:-1])
    reader.feed_eof()
    ends = [reader.end]
    assert reader.read() == b"text"
    assert [*ends, reader.end] == [End.OPEN, End.TRUNCATED]


def test_eof_again_and_bytes_after_it_change_nothing(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    reader.feed_eof()
    reader.feed_eof()
    assert receive(reader, flush(writer, b"late")) == b""
    assert reader.end is End.TRUNCATED


def test_a_wiped_reader_opens_nothing_more(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    reader.feed(flush(writer, b"text"))
    reader.wipe()
    assert reader.end is End.TRUNCATED
    assert receive(reader, flush(writer, b"more")) == b""
    assert not reader.has_more


def test_wiping_a_reader_at_its_end_keeps_the_end(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    receive(reader, writer.control(RecordType.CLOSE))
    reader.wipe()
    assert reader.end is End.CLOSED


def test_a_wiped_writer_writes_nothing_more(suite: Suite) -> None:
    writer, _ = new_pair(suite)
    flush(writer, b"text")
    writer.wipe()
    with pytest.raises(LocalProtocolError):
        flush(writer, b"more")
    with pytest.raises(LocalProtocolError):
        writer.control(RecordType.CLOSE)


# --- both layers written twice ----------------------------------------------------------------------


def test_what_a_stranger_wrote_from_the_document_is_read(suite: Suite) -> None:
    forger = Forger(suite)
    wire = forger.prefix + forger.record(RecordType.ACCEPT, b"welcome") + forger.record(RecordType.DATA, b"one")
    wire += (
        forger.record(RecordType.KEY_UPDATE) + forger.record(RecordType.DATA, b"two") + forger.record(RecordType.CLOSE)
    )
    reader = RecordReader(suite, KEY, expects_verdict=True)
    assert receive(reader, wire) == b"onetwo"
    assert reader.accepted == b"welcome"
    assert reader.end is End.CLOSED


def test_what_the_writer_writes_a_stranger_can_read_from_the_document(suite: Suite) -> None:
    writer = RecordWriter(suite, KEY)
    wire = writer.verdict(RecordType.ACCEPT) + flush(writer, b"one") + writer.update_key() + flush(writer, b"two")
    wire += writer.control(RecordType.ALERT, Alert(7, "no").encode())
    seen = Witness(suite).open(wire)
    assert [record.record_type for record in seen] == [4, 0, 3, 0, 1]
    assert [record.content for record in seen] == [b"", b"one", b"", b"two", b"\x07\x00no"]
    if suite is Suite.XCHACHA20_POLY1305:
        assert [record.tag for record in seen] == [0, 0, 2, 0, 3]


def test_a_writer_and_a_reader_count_what_passed(suite: Suite) -> None:
    writer, reader = new_pair(suite, padding=FullRecords())
    receive(reader, flush(writer, b"12345"), writer.update_key(), writer.control(RecordType.CLOSE))
    assert (writer.records, writer.content_bytes, writer.key_updates) == (3, 5, 1)
    assert writer.padding_bytes == 3 * CAPACITY[suite] - 5
    assert (reader.records, reader.content_bytes, reader.key_updates) == (3, 5, 1)


@PROPERTY
@given(garbage=st.binary(max_size=600), places=st.lists(st.integers(0, 600)), verdict=st.booleans())
def test_any_bytes_end_the_stream_and_raise_nothing(
    suite: Suite, garbage: bytes, places: list[int], verdict: bool
) -> None:
    reader = RecordReader(suite, KEY, expects_verdict=verdict)
    assert receive(reader, *cut(garbage, places) if garbage else []) == b""
    reader.feed_eof()
    assert reader.end in (End.FAILED, End.TRUNCATED)
    assert (reader.failure is not None) == (reader.end is End.FAILED)
