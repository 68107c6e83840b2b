"""Padding: the policies, and records that are cut by the padded length alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securestream.protocol.alerts import Alert
from securestream.protocol.padding import (
    MAX_FLUSH_PADDING,
    FullRecords,
    NoPadding,
    PaddingPolicy,
    padded_length,
    record_padding,
)
from securestream.protocol.suites import RecordType, Suite

from .support import CAPACITY, OVERHEAD, PREFIX, PROPERTY, Witness, flush, new_pair, receive


class Buckets(PaddingPolicy):
    """Flushes padded to a multiple of 1,000 bytes."""

    def pad_flush(self, length: int) -> int:
        return -(-length // 1_000) * 1_000


class Sevens(PaddingPolicy):
    """Seven zeros to each record, where there is room; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []

    def pad_record(self, record_type: int, length: int, room: int) -> int:
        self.asked.append((record_type, length, room))
        return min(7, room)


class Fixed(PaddingPolicy):
    """Whatever it is told to return."""

    def __init__(self, *, flush: int | None = None, record: int = 0) -> None:
        self._flush, self._record = flush, record

    def pad_flush(self, length: int) -> int:
        return length if self._flush is None else self._flush

    def pad_record(self, record_type: int, length: int, room: int) -> int:
        return self._record


# --- the policies -----------------------------------------------------------------------------------


def test_the_base_policy_pads_nothing_but_is_asked() -> None:
    policy = PaddingPolicy()
    assert (policy.pad_flush(123), policy.pad_record(0, 5, 100), policy.is_none) == (123, 0, False)
    assert NoPadding().is_none


def test_full_records_fill_all_the_room_there_is() -> None:
    assert FullRecords().pad_record(RecordType.DATA, 5, 16_342) == 16_342
    assert not FullRecords().is_none


def test_a_flush_may_be_padded_by_16_mib() -> None:
    assert MAX_FLUSH_PADDING == 16 * 1024 * 1024


@pytest.mark.parametrize("padded", [9, -1, 10 + MAX_FLUSH_PADDING + 1])
def test_a_padded_length_out_of_bounds_is_a_value_error_that_names_the_policy(padded: int) -> None:
    with pytest.raises(ValueError, match=rf"Fixed.pad_flush\(10\) returned {padded}"):
        padded_length(Fixed(flush=padded), 10)


@pytest.mark.parametrize("padded", [10, 11, 10 + MAX_FLUSH_PADDING])
def test_a_padded_length_within_bounds_is_taken(padded: int) -> None:
    assert padded_length(Fixed(flush=padded), 10) == padded


@pytest.mark.parametrize("padding", [-1, 101])
def test_record_padding_out_of_bounds_is_a_value_error_that_names_the_policy(padding: int) -> None:
    with pytest.raises(ValueError, match=rf"Fixed.pad_record\(0, 5, 100\) returned {padding}"):
        record_padding(Fixed(record=padding), RecordType.DATA, 5, 100)


@pytest.mark.parametrize("padding", [0, 100])
def test_record_padding_within_bounds_is_taken(padding: int) -> None:
    assert record_padding(Fixed(record=padding), RecordType.DATA, 5, 100) == padding


# --- in records -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5, 16_347, 16_348, 100_000])
def test_full_records_make_every_record_16384_bytes(suite: Suite, size: int) -> None:
    writer, reader = new_pair(suite, padding=FullRecords())
    wire = flush(writer, b"x" * size) + writer.update_key() + writer.control(RecordType.ALERT, Alert(1).encode())
    assert {record.length for record in Witness(suite).open(wire)} == {16_384}
    assert receive(reader, wire) == b"x" * size


@PROPERTY
@given(size=st.integers(0, 60_000))
def test_the_wire_depends_on_the_padded_length_and_on_nothing_else(suite: Suite, size: int) -> None:
    writer, reader = new_pair(suite, padding=Buckets())
    wire = flush(writer, b"x" * size)
    assert receive(reader, *([wire] if wire else [])) == b"x" * size
    padded = Buckets().pad_flush(size)
    other, _ = new_pair(suite)
    assert [r.length for r in Witness(suite).open(wire)] == [
        r.length for r in Witness(suite).open(flush(other, bytes(padded)))
    ]


def test_padding_is_zeros_behind_the_content(suite: Suite) -> None:
    writer, _ = new_pair(suite, padding=Buckets())
    (first,) = Witness(suite).open(flush(writer, b"x" * 400))
    assert (first.content, first.padding) == (b"x" * 400, bytes(600))


def test_a_flush_may_be_padded_by_whole_records_without_content(suite: Suite) -> None:
    writer, reader = new_pair(suite, padding=Fixed(flush=50_000))
    wire = flush(writer, b"text")
    assert len(wire) == PREFIX[suite] + 50_000 + 4 * OVERHEAD[suite]
    assert receive(reader, wire) == b"text"
    assert [record.content for record in Witness(suite).open(wire)] == [b"text", b"", b"", b""]


def test_a_flush_of_nothing_may_be_padded(suite: Suite) -> None:
    writer, reader = new_pair(suite, padding=Fixed(flush=100))
    assert receive(reader, flush(writer, b"")) == b""
    assert (writer.records, writer.padding_bytes, reader.records) == (1, 100, 1)


def test_the_policy_is_asked_for_every_type_of_record(suite: Suite) -> None:
    policy = Sevens()
    writer, reader = new_pair(suite, padding=policy)
    wire = flush(writer, b"12345") + writer.update_key() + writer.control(RecordType.DATA, padding=50)
    wire += writer.control(RecordType.CLOSE)
    room = CAPACITY[suite]
    assert policy.asked == [(0, 5, room - 5), (3, 0, room), (0, 50, room - 50), (2, 0, room)]
    assert [len(record.padding) for record in Witness(suite).open(wire)] == [7, 7, 57, 7]
    assert receive(reader, wire) == b"12345"


def test_a_policy_may_be_changed_between_two_flushes(suite: Suite) -> None:
    writer, _ = new_pair(suite)
    flush(writer, b"text")
    writer.padding = FullRecords()
    assert len(flush(writer, b"text")) == 16_384


@pytest.mark.parametrize("bad", [Fixed(flush=3), Fixed(record=-1), Fixed(record=20_000)], ids=["flush", "less", "more"])
def test_a_policy_out_of_bounds_is_a_value_error_and_the_stream_stays_whole(suite: Suite, bad: PaddingPolicy) -> None:
    writer, reader = new_pair(suite)
    for _ in range(2):
        writer.padding = bad
        with pytest.raises(ValueError, match="out of bounds"):
            flush(writer, b"12345" * 10_000)
        if bad.pad_record(0, 0, 0):
            with pytest.raises(ValueError, match="out of bounds"):
                writer.control(RecordType.CLOSE)
        assert not writer.ended
        writer.padding = NoPadding()
        assert receive(reader, flush(writer, b"text")) == b"text"
    assert (writer.records, reader.records) == (2, 2)


def test_a_policy_out_of_bounds_is_told_before_the_first_batch(suite: Suite) -> None:
    writer, _ = new_pair(suite, padding=Fixed(record=-1))
    with pytest.raises(ValueError, match="out of bounds"):
        writer.data(memoryview(b"text"))
