"""The attacker on the way of the records, who drops, doubles, swaps, cuts and changes them; and the peer who has
the key and not the rules."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.protocol.records import End, RecordReader, RecordWriter
from securestream.protocol.suites import RecordType

from ..protocol.support import (
    BOTH_SUITES,
    KEY,
    PREFIX,
    Forger,
    flipped,
    flush,
    new_pair,
    receive,
)
from ..streams.support import memory_pair, receive_until_error
from .support import (
    CLIENT_SAYS,
    DEADLINE,
    SERVER_SAYS,
    Direction,
    Rewrite,
    at,
    converse,
    every_direction,
    forged_stream,
    honest_configs,
    tampered,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

    from securestream.protocol.suites import Suite

    from ..conftest import Tries

pytestmark = pytest.mark.shows("hostile-records")

TEXTS = len(CLIENT_SAYS)
SAID = {Direction.TO_SERVER: CLIENT_SAYS, Direction.TO_CLIENT: SERVER_SAYS}
Arrange = Callable[[list[bytes]], list[bytes]]


def arranged(arrange: Arrange) -> Rewrite:
    """Holds a direction's records back until its CLOSE has come, then plays them as he likes."""
    held: list[bytes] = []

    def rewrite(number: int, unit: bytes) -> bytes:
        if number < 2:
            return unit
        held.append(unit)
        return b"".join(arrange(held)) if len(held) == TEXTS + 1 else b""

    return rewrite


def resized(record: bytes, size: int) -> bytes:
    """A record of another length that says so, too."""
    body = record[2:].ljust(size - 2, b"\0")[: size - 2]
    return struct.pack("<H", size) + body


# How many texts arrive before it shows, and what the attacker does with text, text, text, text, CLOSE.
ARRANGEMENTS: dict[str, tuple[int, Arrange]] = {
    "drops_a_record": (1, lambda r: [r[0], *r[2:]]),
    "drops_the_last_text": (3, lambda r: [*r[:3], r[4]]),
    "drops_the_end": (4, lambda r: r[:4]),
    "drops_all_but_the_first": (1, lambda r: r[:1]),
    "drops_all": (0, lambda _: []),
    "drops_the_texts_and_leaves_the_end": (1, lambda r: [r[0], r[4]]),
    "doubles_a_record": (2, lambda r: [*r[:2], *r[1:]]),
    "doubles_a_record_later": (4, lambda r: [*r[:4], r[1], r[4]]),
    "swaps_two_records": (1, lambda r: [r[0], r[2], r[1], *r[3:]]),
    "swaps_the_last_text_and_the_end": (3, lambda r: [*r[:3], r[4], r[3]]),
    "turns_the_order_round": (1, lambda r: [r[0], *reversed(r[1:])]),
    "cuts_after_a_record": (2, lambda r: r[:2]),
    "cuts_in_the_length_field": (2, lambda r: [*r[:2], r[2][:1]]),
    "cuts_after_the_length_field": (2, lambda r: [*r[:2], r[2][:2]]),
    "cuts_inside_a_record": (2, lambda r: [*r[:2], r[2][:50]]),
    "cuts_before_the_last_byte": (2, lambda r: [*r[:2], r[2][:-1]]),
    "cuts_inside_the_end": (4, lambda r: [*r[:4], r[4][:-1]]),
    "takes_out_a_byte": (1, lambda r: [r[0], r[1][:10] + r[1][11:], *r[2:]]),
    "puts_in_a_byte_between_two_records": (2, lambda r: [r[0], r[1] + b"\0", *r[2:]]),
    "shortens_a_record": (1, lambda r: [r[0], resized(r[1], len(r[1]) - 1), *r[2:]]),
    "lengthens_a_record": (1, lambda r: [r[0], resized(r[1], len(r[1]) + 1), *r[2:]]),
    "joins_two_records": (1, lambda r: [r[0], resized(r[1] + r[2][2:], len(r[1]) + len(r[2]) - 2), *r[3:]]),
    "makes_up_a_record": (1, lambda r: [r[0], resized(b"", 100), *r[1:]]),
    "makes_up_an_alert_in_clear": (1, lambda r: [r[0], b"\5\0\4\7\0"]),
    "flips_a_bit_of_a_text": (1, lambda r: [r[0], flipped(r[1], 8 * 6), *r[2:]]),
    "flips_a_bit_of_the_end": (4, lambda r: [*r[:4], flipped(r[4], 8 * len(r[4]) - 1)]),
}


@pytest.mark.parametrize("name", ARRANGEMENTS)
@every_direction
async def test_records_that_do_not_arrive_as_they_were_sent_end_the_stream_where_it_shows(
    name: str, direction: Direction, suite: Suite, autojump_clock: MockClock
) -> None:
    whole, arrange = ARRANGEMENTS[name]
    victim = (await tampered(honest_configs(suite), direction, arranged(arrange))).victim(direction)
    assert victim.received == b"".join(SAID[direction][:whole])
    assert isinstance(victim.error, ss.BadRecord | ss.TruncatedStream)
    assert not victim.ended


LENGTHS = (0, 1, 2, 3, 21, 22, 36, 37, 16_383, 16_384, 16_385, 0x7FFF, 0x8000, 0xFFFF)


@pytest.mark.parametrize("length", LENGTHS)
@every_direction
async def test_a_records_length_that_lies_ends_the_stream(
    length: int, direction: Direction, suite: Suite, autojump_clock: MockClock
) -> None:
    lie = arranged(lambda r: [r[0], struct.pack("<H", length) + r[1][2:], *r[2:]])
    victim = (await tampered(honest_configs(suite), direction, lie)).victim(direction)
    assert victim.received == SAID[direction][0]
    assert isinstance(victim.error, ss.BadRecord | ss.TruncatedStream)


def with_more(records: list[bytes], *, after: bytes, again: int) -> list[bytes]:
    return [*records, *records[:again], after]


@pytest.mark.parametrize("after", [b"\0", bytes(100), b"\xff" * 40_000], ids=len)
@every_direction
async def test_bytes_put_in_after_the_end_are_not_looked_at(
    after: bytes, direction: Direction, suite: Suite, autojump_clock: MockClock
) -> None:
    for again in (0, 1, 5):
        put_in = arranged(partial(with_more, after=after, again=again))
        assert (await tampered(honest_configs(suite), direction, put_in)).victim(direction).ended


# --- each bit, on the records alone --------------------------------------------------------------------


def sealed(suite: Suite, record_type: RecordType) -> bytes:
    writer = RecordWriter(suite, KEY)
    if record_type is RecordType.DATA:
        return flush(writer, b"pay")
    return writer.control(record_type, ss.Alert(1, "no").encode() if record_type is RecordType.ALERT else b"")


@pytest.mark.parametrize("record_type", RecordType, ids=lambda kind: str(kind.name))
def test_no_bit_of_a_record_or_its_prefix_can_be_flipped(suite: Suite, record_type: RecordType, tries: Tries) -> None:
    wire = sealed(suite, record_type)
    tries.tried(8 * len(wire))
    for bit in range(8 * len(wire)):
        reader = RecordReader(suite, KEY, expects_verdict=record_type is RecordType.ACCEPT)
        assert receive(reader, flipped(wire, bit)) == b""
        reader.feed_eof()
        assert reader.end in (End.FAILED, End.TRUNCATED)
        assert (reader.accepted, reader.alert, reader.key_updates) == (None, None, 0)


@pytest.mark.parametrize("record_type", RecordType, ids=lambda kind: str(kind.name))
def test_no_cut_of_a_record_or_its_prefix_looks_like_an_end(
    suite: Suite, record_type: RecordType, tries: Tries
) -> None:
    wire = sealed(suite, record_type)
    tries.tried(len(wire))
    for size in range(len(wire)):
        reader = RecordReader(suite, KEY, expects_verdict=record_type is RecordType.ACCEPT)
        assert receive(reader, wire[:size]) == b""
        reader.feed_eof()
        assert reader.end is End.TRUNCATED


@pytest.mark.parametrize("record_type", [RecordType.CLOSE, RecordType.ALERT], ids=lambda kind: str(kind.name))
def test_nothing_is_opened_after_the_end(suite: Suite, record_type: RecordType) -> None:
    forger, reader = Forger(suite), RecordReader(suite, KEY, expects_verdict=False)
    content = ss.Alert(1).encode() if record_type is RecordType.ALERT else b""
    wire = forger.prefix + forger.record(record_type, content)
    assert receive(reader, wire + forger.record(0, b"after the end"), forger.record(0, b"and later")) == b""
    assert reader.records == 1


def test_a_record_of_one_suite_is_refused_by_the_other() -> None:
    for written, read in (BOTH_SUITES, BOTH_SUITES[::-1]):
        writer, _ = new_pair(written)
        reader = RecordReader(read, KEY, expects_verdict=False)
        assert receive(reader, bytes(PREFIX[read]) + flush(writer, b"text" * 20)[PREFIX[written] :]) == b""
        assert reader.end is End.FAILED


# --- key updates and the verdict ------------------------------------------------------------------------

# text, KEY_UPDATE, text: what the attacker makes of it behind the first.
UPDATES: dict[str, Arrange] = {
    "drops_the_update": lambda r: [r[2]],
    "doubles_the_update": lambda r: [r[1], r[1], r[2]],
    "puts_the_update_off": lambda r: [r[2], r[1]],
    "sends_a_text_of_the_old_key_again": lambda r: [r[1], r[0], r[2]],
}


@pytest.mark.parametrize("name", UPDATES)
def test_an_update_of_the_key_can_not_be_left_out_or_repeated(name: str, suite: Suite) -> None:
    forger, reader = Forger(suite), RecordReader(suite, KEY, expects_verdict=False)
    records = [forger.record(RecordType.DATA, b"old"), forger.record(RecordType.KEY_UPDATE), forger.record(0, b"new")]
    assert receive(reader, forger.prefix, records[0], *UPDATES[name](records)) == b"old"
    assert reader.end is End.FAILED


VERDICTS: dict[str, Callable[[bytes], bytes | None]] = {
    "drops_it": lambda _: b"",
    "cuts_it_off": lambda unit: unit[:-1],
    "cuts_before_it": lambda _: None,
    "cuts_in_it": lambda unit: unit[:100],
    "flips_a_bit_of_it": lambda unit: flipped(unit, 8 * 300),
    "makes_up_a_refusal_of_code_0": lambda _: b"\5\0\4\0\0",
}


@pytest.mark.parametrize("name", VERDICTS)
async def test_a_verdict_that_does_not_arrive_as_it_was_sent_is_a_failed_handshake(
    name: str, suite: Suite, autojump_clock: MockClock
) -> None:
    talk = await converse(honest_configs(suite), to_client=at(1, VERDICTS[name]))
    assert isinstance(talk.client.error, ss.HandshakeError)
    assert talk.client.received == b""


# --- the peer who has the key ---------------------------------------------------------------------------

DATA, ALERT, CLOSE, KEY_UPDATE, ACCEPT = RecordType
Forge = Callable[[Forger], bytes]


def sized(size: int) -> Forge:
    return lambda f: f.record(DATA, b"text", size=size)


def typed(number: int) -> Forge:
    return lambda f: f.record(number, b"text")


BAD_RECORD: dict[str, Forge] = {
    **{f"a_size_of_{size}": sized(size) for size in (0, 1, 2, 8, 65_535)},
    "a_size_larger_than_the_record_in_an_alert": lambda f: f.record(ALERT, b"\1\0", size=100),
}
TAGS = [(DATA, 1), (DATA, 2), (DATA, 3), (ALERT, 0), (CLOSE, 0), (CLOSE, 1), (CLOSE, 2), (KEY_UPDATE, 0), (ACCEPT, 3)]
PROTOCOL_ERROR: dict[str, Forge] = {
    **{f"the_unknown_type_{n}": typed(n) for n in (5, 6, 127, 128, 255)},
    "a_close_with_content": lambda f: f.record(CLOSE, b"x"),
    "a_key_update_with_content": lambda f: f.record(KEY_UPDATE, b"x"),
    "an_alert_without_a_code": lambda f: f.record(ALERT),
    "half_a_code": lambda f: f.record(ALERT, b"\1"),
    "code_0": lambda f: f.record(ALERT, b"\0\0text"),
    "invalid_utf_8": lambda f: f.record(ALERT, b"\1\0\xff\xfe"),
    "utf_8_that_ends_in_a_character": lambda f: f.record(ALERT, b"\1\0caf\xc3"),
    "a_surrogate": lambda f: f.record(ALERT, b"\1\0\xed\xa0\x80"),
    "an_overlong_character": lambda f: f.record(ALERT, b"\1\0\xc0\xaf"),
    "an_accept_out_of_place": lambda f: f.record(ACCEPT),
}


async def ends_the_stream(suite: Suite, forge: Forge, code: str) -> None:
    """What came before is delivered, what comes after isn't, and the peer is told."""
    stream, forger, puppet = await forged_stream(suite, await memory_pair())
    with trio.fail_after(DEADLINE):
        await puppet.say(forger.prefix, forger.record(DATA, b"before"), forge(forger), forger.record(DATA, b"after"))
        received, error = await receive_until_error(stream)
        assert received == b"before"
        assert isinstance(error, ss.BadRecord)
        assert error.code == code
        await puppet.transport.send_eof()
        await stream.aclose()
        assert await puppet.hear() == (b"", End.ALERTED)
    assert puppet.reader.alert is not None
    assert puppet.reader.alert.name == code


@pytest.mark.parametrize("name", BAD_RECORD)
async def test_a_size_that_lies_is_a_bad_record(name: str, suite: Suite, autojump_clock: MockClock) -> None:
    await ends_the_stream(suite, BAD_RECORD[name], "bad_record")


@pytest.mark.parametrize(("record_type", "tag"), TAGS, ids=lambda value: str(int(value)))
async def test_a_tag_that_disagrees_with_the_type_is_a_bad_record(
    record_type: RecordType, tag: int, autojump_clock: MockClock
) -> None:
    content = b"\1\0" if record_type is ALERT else b""
    await ends_the_stream(BOTH_SUITES[0], lambda f: f.record(record_type, content, tag=tag), "bad_record")


@pytest.mark.parametrize("name", PROTOCOL_ERROR)
async def test_a_record_against_the_rules_is_a_protocol_error(
    name: str, suite: Suite, autojump_clock: MockClock
) -> None:
    await ends_the_stream(suite, PROTOCOL_ERROR[name], "protocol_error")


@pytest.mark.parametrize("code", [17, 100, 4_095, 4_096, 65_535])
async def test_an_unknown_code_of_an_alert_is_shown_as_it_is(
    code: int, suite: Suite, autojump_clock: MockClock
) -> None:
    stream, forger, puppet = await forged_stream(suite, await memory_pair())
    await puppet.say(forger.prefix, forger.record(ALERT, struct.pack("<H", code) + b"\x1b[2Jforged line\n"))
    _, error = await receive_until_error(stream)
    assert isinstance(error, ss.PeerAlert)
    assert error.alert.code == code
    assert "\x1b" not in str(error)
    assert "\n" not in str(error)
    await stream.aclose()


async def test_the_control_nothing_changed_is_delivered_whole(suite: Suite, autojump_clock: MockClock) -> None:
    passed = arranged(lambda r: r)
    talk = await converse(honest_configs(suite), to_server=passed, to_client=arranged(lambda r: r))
    assert talk.client.ended
    assert talk.server.ended
