"""The rules under "Records" of the protocol, each broken by a peer that has the key."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securestream.protocol.alerts import Alert, AlertCode
from securestream.protocol.padding import FullRecords
from securestream.protocol.records import End, RecordReader, RecordWriter
from securestream.protocol.suites import RecordType, Suite

from .support import (
    CAPACITY,
    KEY,
    OVERHEAD,
    PREFIX,
    PROPERTY,
    Forger,
    Witness,
    cut,
    flipped,
    flush,
    new_forged,
    new_pair,
    receive,
)

BAD_RECORD, PROTOCOL_ERROR = AlertCode.BAD_RECORD, AlertCode.PROTOCOL_ERROR
SECRETSTREAM = Suite.XCHACHA20_POLY1305

pytestmark = pytest.mark.usefixtures("backend")


def fails_with(reader: RecordReader, *pieces: bytes) -> AlertCode:
    """The alert for what a reader refuses in these pieces, which have no content."""
    assert receive(reader, *pieces) == b""
    assert reader.end is End.FAILED
    assert reader.failure is not None
    return reader.failure.alert_code


# --- lengths ----------------------------------------------------------------------------------------


def test_a_length_out_of_bounds_is_a_bad_record_as_soon_as_it_is_read(suite: Suite) -> None:
    least = OVERHEAD[suite]
    for length in (0, 1, 2, 3, 5, least - 1, 16_385, 60_000, 65_535):
        _, reader = new_forged(suite)
        assert fails_with(reader, struct.pack("<H", length)) is BAD_RECORD
        _, reader = new_forged(suite)
        assert (
            fails_with(reader, struct.pack("<H", length)[:1], struct.pack("<H", length)[1:] + bytes(70_000))
            is BAD_RECORD
        )


def test_the_least_and_the_greatest_length_are_waited_for(suite: Suite) -> None:
    for length in (OVERHEAD[suite], 16_384):
        _, reader = new_forged(suite)
        assert receive(reader, struct.pack("<H", length) + bytes(length - 3)) == b""
        assert reader.end is End.OPEN
        assert fails_with(reader, b"\0") is BAD_RECORD  # whole now, and not genuine


# --- sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2, 3 + 10 + 1, 3 + 10 + 32, 16_384, 60_000, 65_535])
def test_a_size_that_lies_is_a_bad_record(suite: Suite, size: int) -> None:
    for record_type in RecordType:
        forger, reader = new_forged(suite)
        assert fails_with(reader, forger.record(record_type, b"ten bytes!", size=size)) is BAD_RECORD


def test_a_size_may_be_anything_from_3_to_the_whole_record(suite: Suite) -> None:
    for size in range(3, 14):
        forger, reader = new_forged(suite)
        assert receive(reader, forger.record(RecordType.DATA, b"ten bytes!", size=size)) == b"ten bytes!"[: size - 3]
        assert reader.end is End.OPEN


def test_padding_is_not_looked_at(suite: Suite) -> None:
    forger, reader = new_forged(suite)
    assert receive(reader, forger.seal(b"\x05\x00\x00hi" + bytes(range(256)))) == b"hi"


# --- authentication ---------------------------------------------------------------------------------


def test_a_record_with_any_bit_changed_is_never_delivered(suite: Suite) -> None:
    writer, _ = new_pair(suite)
    first, second = flush(writer, b"first"), flush(writer, b"second")
    for bit in range(8 * len(second)):
        reader = RecordReader(suite, KEY, expects_verdict=False)
        assert receive(reader, first + flipped(second, bit)) == b"first"
        reader.feed_eof()
        in_length = bit < 16
        assert reader.end is End.FAILED or (in_length and reader.end is End.TRUNCATED)
        assert reader.failure is None or reader.failure.alert_code is BAD_RECORD


def test_a_changed_prefix_makes_every_record_forged() -> None:
    wire = flush(RecordWriter(SECRETSTREAM, KEY), b"text")
    for bit in range(8 * 24):
        assert fails_with(RecordReader(SECRETSTREAM, KEY, expects_verdict=False), flipped(wire, bit)) is BAD_RECORD


def test_another_key_opens_nothing(suite: Suite) -> None:
    wire = flush(RecordWriter(suite, KEY), b"text")
    assert fails_with(RecordReader(suite, bytes(32), expects_verdict=False), wire) is BAD_RECORD


def test_records_dropped_doubled_or_swapped_are_refused_where_it_shows(suite: Suite) -> None:
    writer, _ = new_pair(suite)
    prefix, *records = [flush(writer, b"")] + [flush(writer, bytes([n])) for n in range(4)]
    for order in [
        *itertools.permutations(range(4)),
        *itertools.permutations(range(4), 3),
        (0, 0, 1),
        (0, 1, 2, 2),
        (1,),
    ]:
        reader = RecordReader(suite, KEY, expects_verdict=False)
        genuine = next((n for n, at in enumerate(order) if n != at), len(order))
        assert receive(reader, *([prefix] if prefix else []), *(records[n] for n in order)) == bytes(range(genuine))
        assert reader.end is (End.OPEN if genuine == len(order) else End.FAILED)


def test_a_record_of_the_other_direction_is_refused(suite: Suite) -> None:
    """Each direction has its own key, so a reflected stream is a forged one."""
    reflected = flush(RecordWriter(suite, bytes(reversed(KEY))), b"text")
    assert fails_with(RecordReader(suite, KEY, expects_verdict=False), reflected) is BAD_RECORD


def test_what_came_before_a_bad_record_is_delivered_first_and_nothing_after_it(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    good, bad, later = flush(writer, b"good"), flush(writer, b"bad"), flush(writer, b"later")
    reader.feed(good + flipped(bad, 100) + later)
    assert reader.read() == b"good"
    assert reader.end is End.FAILED
    assert receive(reader, bad, later) == b""
    reader.feed_eof()
    assert reader.end is End.FAILED


@PROPERTY
@given(places=st.lists(st.integers(0, 600), max_size=20), bad=st.integers(0, 9), bit=st.integers(16, 200))
def test_the_records_before_a_forged_one_are_delivered_wherever_the_bytes_are_cut(
    suite: Suite, places: list[int], bad: int, bit: int
) -> None:
    writer, reader = new_pair(suite)
    prefix, *records = [flush(writer, b"")] + [flush(writer, bytes([n]) * 5) for n in range(10)]
    records[bad] = flipped(records[bad], bit)
    received = receive(reader, *cut(prefix + b"".join(records), places))
    assert received == b"".join(bytes([n]) * 5 for n in range(bad))
    assert reader.end is End.FAILED


# --- tags and types ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record_type", "tag"),
    [pair for pair in itertools.product(RecordType, range(5)) if pair not in [(0, 0), (1, 3), (2, 3), (3, 2), (4, 0)]],
)
def test_a_secretstream_tag_that_disagrees_with_the_type_is_a_bad_record(record_type: RecordType, tag: int) -> None:
    forger, reader = new_forged(SECRETSTREAM)
    content = b"\x01\x00" if record_type is RecordType.ALERT else b""
    assert fails_with(reader, forger.record(record_type, content, tag=tag)) is BAD_RECORD


@pytest.mark.parametrize("number", [5, 6, 127, 128, 255])
def test_an_unknown_type_is_a_protocol_error(suite: Suite, number: int) -> None:
    for content in (b"", b"content"):
        forger, reader = new_forged(suite)
        assert fails_with(reader, forger.record(number, content)) is PROTOCOL_ERROR


@pytest.mark.parametrize("tag", range(5))
def test_an_unknown_type_is_judged_before_its_tag(tag: int) -> None:
    forger, reader = new_forged(SECRETSTREAM)
    assert fails_with(reader, forger.record(9, tag=tag)) is PROTOCOL_ERROR


@pytest.mark.parametrize("record_type", [RecordType.CLOSE, RecordType.KEY_UPDATE])
def test_content_in_close_or_key_update_is_a_protocol_error(suite: Suite, record_type: RecordType) -> None:
    forger, reader = new_forged(suite)
    assert fails_with(reader, forger.record(record_type, b"x")) is PROTOCOL_ERROR


@pytest.mark.parametrize("record_type", [RecordType.CLOSE, RecordType.KEY_UPDATE])
def test_padding_in_close_or_key_update_is_none_of_its_content(suite: Suite, record_type: RecordType) -> None:
    forger, reader = new_forged(suite)
    assert receive(reader, forger.record(record_type, b"padding", size=3)) == b""
    assert reader.end is (End.CLOSED if record_type is RecordType.CLOSE else End.OPEN)


@pytest.mark.parametrize("content", [b"", b"\x01", b"\x00\x00", b"\x00\x00text", b"\x01\x00\xff", b"\x01\x00caf\xc3"])
def test_an_alert_record_too_short_of_code_0_or_with_bad_utf8_is_a_protocol_error(suite: Suite, content: bytes) -> None:
    forger, reader = new_forged(suite)
    assert fails_with(reader, forger.record(RecordType.ALERT, content)) is PROTOCOL_ERROR
    assert reader.alert is None


def test_the_longest_alert_that_a_record_holds_is_an_alert(suite: Suite) -> None:
    forger, reader = new_forged(suite)
    assert receive(reader, forger.record(RecordType.ALERT, b"\x01\x00" + b"x" * (CAPACITY[suite] - 2))) == b""
    assert reader.alert == Alert(1, "x" * 16_345)


# --- the verdict ------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [b"", b"welcome"])
def test_the_servers_first_record_may_be_accept_with_its_answer(suite: Suite, answer: bytes) -> None:
    writer, reader = new_pair(suite, expects_verdict=True)
    assert reader.verdict_due
    assert receive(reader, writer.verdict(RecordType.ACCEPT, answer) + flush(writer, b"text")) == b"text"
    assert reader.accepted == answer
    assert not reader.verdict_due


def test_the_servers_first_record_may_be_an_alert(suite: Suite) -> None:
    writer, reader = new_pair(suite, expects_verdict=True)
    alert = Alert(AlertCode.ACCESS_DENIED, "not today")
    assert receive(reader, writer.verdict(RecordType.ALERT, alert.encode())) == b""
    assert (reader.end, reader.alert, reader.accepted) == (End.ALERTED, alert, None)
    assert reader.authenticated


@pytest.mark.parametrize("record_type", [RecordType.DATA, RecordType.CLOSE, RecordType.KEY_UPDATE])
def test_anything_else_before_the_verdict_is_a_protocol_error(suite: Suite, record_type: RecordType) -> None:
    for content in (b"", b"content"):
        forger, reader = new_forged(suite, expects_verdict=True)
        assert fails_with(reader, forger.record(record_type, content)) is PROTOCOL_ERROR
        assert reader.accepted is None


def test_a_second_accept_is_a_protocol_error(suite: Suite) -> None:
    forger, reader = new_forged(suite, expects_verdict=True)
    wire = forger.record(RecordType.ACCEPT) + forger.record(RecordType.ACCEPT, b"again")
    assert fails_with(reader, wire) is PROTOCOL_ERROR
    assert reader.accepted == b""


def test_an_accept_from_a_client_is_a_protocol_error(suite: Suite) -> None:
    forger, reader = new_forged(suite)
    assert fails_with(reader, forger.record(RecordType.ACCEPT)) is PROTOCOL_ERROR
    assert reader.accepted is None


def test_an_accept_after_data_is_a_protocol_error(suite: Suite) -> None:
    forger, reader = new_forged(suite)
    assert receive(reader, forger.record(RecordType.DATA, b"text")) == b"text"
    assert fails_with(reader, forger.record(RecordType.ACCEPT)) is PROTOCOL_ERROR


def test_every_verdict_that_fits_is_512_bytes_and_every_other_a_full_record(suite: Suite) -> None:
    fits = 512 - OVERHEAD[suite]
    for size, length in [
        (0, 512),
        (1, 512),
        (fits, 512),
        (fits + 1, 16_384),
        (16_347, 16_384),
        (CAPACITY[suite], 16_384),
    ]:
        sizes: set[int] = set()
        for record_type in (RecordType.ACCEPT, RecordType.ALERT):
            wire = RecordWriter(suite, KEY).verdict(record_type, b"\x01\x00"[:size] + b"x" * (size - 2))
            (record,) = Witness(suite).open(wire)
            assert record.record_type == record_type
            assert not record.padding.strip(b"\0")
            sizes |= {record.length, len(wire) - PREFIX[suite]}
        assert sizes == {length}


def test_a_verdict_is_padded_further_by_the_policy(suite: Suite) -> None:
    wire = RecordWriter(suite, KEY, FullRecords()).verdict(RecordType.ACCEPT)
    assert len(wire) == PREFIX[suite] + 16_384


def test_content_that_no_record_holds_is_refused_and_the_writer_goes_on(suite: Suite) -> None:
    writer, reader = new_pair(suite, expects_verdict=True)
    for size in (CAPACITY[suite] + 1, 16_384, 20_000):
        with pytest.raises(ValueError, match="at most"):
            writer.verdict(RecordType.ACCEPT, bytes(size))
        with pytest.raises(ValueError, match="at most"):
            writer.control(RecordType.ACCEPT, bytes(size))
    receive(reader, writer.verdict(RecordType.ACCEPT, b"shorter"))
    assert reader.accepted == b"shorter"


# --- the alert in clear, in place of the verdict ----------------------------------------------------

IN_CLEAR = b"\x05\x00\x04\x0a\x00"


@pytest.mark.parametrize("places", [[], [1], [2], [3], [4], [1, 2, 3, 4]])
def test_an_alert_frame_and_then_the_end_is_an_unauthenticated_alert(suite: Suite, places: list[int]) -> None:
    reader = RecordReader(suite, KEY, expects_verdict=True)
    assert receive(reader, *cut(IN_CLEAR, places)) == b""
    ends = [reader.end]
    reader.feed_eof()
    assert [*ends, reader.end] == [End.OPEN, End.ALERTED]  # before the end it could still be something else
    assert reader.alert == Alert(AlertCode.BUSY)
    assert not reader.authenticated


def test_a_sixth_byte_makes_an_alert_frame_a_bad_record_at_once() -> None:
    """Of suite 2: suite 1's header may begin with any bytes."""
    for places in ([], [5]):
        reader = RecordReader(Suite.AEGIS_256, KEY, expects_verdict=True)
        assert fails_with(reader, *cut(IN_CLEAR + b"\0", places)) is BAD_RECORD


def test_an_alert_frame_is_seen_though_nothing_was_read_before_the_end(suite: Suite) -> None:
    reader = RecordReader(suite, KEY, expects_verdict=True)
    reader.feed(IN_CLEAR)
    reader.feed_eof()
    assert reader.alert == Alert(AlertCode.BUSY)
    assert reader.end is End.ALERTED


@pytest.mark.parametrize(
    "other",
    [
        IN_CLEAR[:4],
        IN_CLEAR + b"\0",
        IN_CLEAR * 2,
        b"\x05\x00\x04\x00\x00",
        b"\x05\x00\x03\x0a\x00",
        b"\x06\x00\x04\x0a\x00",
        b"",
    ],
)
def test_anything_else_in_clear_is_no_alert(suite: Suite, other: bytes) -> None:
    reader = RecordReader(suite, KEY, expects_verdict=True)
    assert receive(reader, *([other] if other else [])) == b""
    reader.feed_eof()
    assert reader.end in (End.FAILED, End.TRUNCATED)
    assert reader.alert is None


def test_an_alert_frame_is_one_only_while_the_verdict_is_due(suite: Suite) -> None:
    for expects_verdict in (True, False):
        writer, reader = new_pair(suite, expects_verdict=expects_verdict)
        first = writer.verdict(RecordType.ACCEPT) if expects_verdict else flush(writer, b"")
        receive(reader, *([first] if first else []))
        assert fails_with(reader, IN_CLEAR) is BAD_RECORD


def test_an_alert_frame_after_the_prefix_is_a_bad_record() -> None:
    _, reader = new_forged(SECRETSTREAM, expects_verdict=True)
    assert fails_with(reader, IN_CLEAR) is BAD_RECORD


def test_a_prefix_that_begins_like_an_alert_frame_is_waited_for() -> None:
    reader = RecordReader(SECRETSTREAM, KEY, expects_verdict=True)
    assert receive(reader, IN_CLEAR, bytes(18)) == b""
    ends = [reader.end]
    reader.feed_eof()
    assert [*ends, reader.end] == [End.OPEN, End.TRUNCATED]


def test_only_a_client_takes_an_alert_frame(suite: Suite) -> None:
    reader = RecordReader(suite, KEY, expects_verdict=False)
    receive(reader, IN_CLEAR)
    reader.feed_eof()
    assert reader.end in (End.FAILED, End.TRUNCATED)
    assert reader.alert is None


def test_a_forged_record_in_place_of_the_verdict_is_a_bad_record(suite: Suite) -> None:
    writer, reader = new_pair(suite, expects_verdict=True)
    wire = writer.verdict(RecordType.ACCEPT)
    assert fails_with(reader, flipped(wire, 8 * len(wire) - 1)) is BAD_RECORD
    assert reader.accepted is None


def test_a_stranger_can_not_tell_the_verdicts_apart(suite: Suite) -> None:
    wires = [
        RecordWriter(suite, KEY).verdict(RecordType.ACCEPT),
        RecordWriter(suite, KEY).verdict(RecordType.ALERT, Alert(7, "no such user").encode()),
    ]
    assert len({len(wire) for wire in wires}) == 1
    assert all(wire[PREFIX[suite] :][:2] == struct.pack("<H", 512) for wire in wires)


def test_the_forger_is_honest_when_nothing_is_forged(suite: Suite) -> None:
    forger, reader = new_forged(suite)
    assert receive(reader, forger.record(RecordType.DATA, b"text")) == b"text"
    assert Forger(suite).prefix == b"" or suite is SECRETSTREAM
