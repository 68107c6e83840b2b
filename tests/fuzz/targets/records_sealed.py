"""A record reader against a peer that has the key and no rules: types, sizes, tags, contents and padding of the
fuzzer's choice, all well sealed. What the reader makes of them is known beforehand, to the byte."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from securestream.protocol.records import End
from securestream.protocol.suites import Suite

from ...protocol.support import BOTH_SUITES
from ..choices import Choices
from ..records import TAGS, Expectation, WatchedReader
from ..sealing import FixedForger

if TYPE_CHECKING:
    from securestream.protocol.records import RecordReader

SHOWS = "fuzz-records"
PARSERS = ()

MOST_RECORDS = 30
BODIES = 5


def one_input(data: bytes) -> None:
    choices = Choices(data)
    suite, way = choices.one_of(BOTH_SUITES), choices.byte()
    watched = WatchedReader(suite, expects_verdict=bool(way & 1), in_place=bool(way & 2))
    expected = Expectation(suite, expects_verdict=bool(way & 1))
    forger = FixedForger(suite)
    wire = forger.prefix
    for _ in range(MOST_RECORDS):
        if not choices.left:
            break
        wire += one_record(choices, forger, expected)
        if way & 4:
            watched.receive(choices.pieces(wire))
            wire = b""
            compare(watched, expected)
    watched.receive(choices.pieces(wire))
    compare(watched, expected)
    watched.finish()
    assert watched.reader.end is (End.TRUNCATED if expected.end is End.OPEN else expected.end)


def one_record(choices: Choices, forger: FixedForger, expected: Expectation) -> bytes:
    """Seals what the fuzzer says, and says what has to come of it."""
    flags, record_type = choices.byte(), choices.byte() % 8
    body = some_body(choices, flags % BODIES)
    content_size = len(body) if flags & 16 else min(len(body), choices.number())
    size = choices.number() if flags & 32 else 3 + content_size
    honest_tag = TAGS.get(record_type, 0)  # type: ignore[call-overload]
    tag = choices.byte() if flags & 64 else honest_tag
    expected.take(size, record_type, body, tag)
    return forger.seal(struct.pack("<HB", size, record_type) + body, honest_tag, tag)


def some_body(choices: Choices, kind: int) -> bytes:
    """Content and padding."""
    match kind:
        case 0:
            return b""
        case 1:
            return choices.take(choices.byte())
        case 2:
            return choices.take(2) + "é".encode() * (choices.number() % 8_190)
        case _:
            return choices.content()


def compare(watched: WatchedReader, expected: Expectation) -> None:
    reader: RecordReader = watched.reader
    assert watched.received == expected.content
    assert reader.end is expected.end
    assert (reader.failure.alert_code if reader.failure else None) == expected.refusal
    assert reader.accepted == expected.accepted
    assert reader.key_updates == expected.key_updates
    assert (reader.alert is None) == (expected.alert is None)
    assert reader.alert is None or expected.alert is None or expected.alert.startswith(reader.alert.encode())
    assert reader.authenticated


def seeds() -> dict[str, bytes]:
    data, close, update = b"\x11\0\4text", b"\x10\2", b"\x10\3"
    alert, accept, empty = b"\x11\1\x06\7\0text", b"\x11\4\2ok", b"\x10\0"
    full, padded = b"\x13\0\xea\x3fabcd", b"\x03\0\0\2abcd\x10\0"
    wrong = {"size": b"\x31\0\4text\xff\0", "small": b"\x30\0\2\0", "type": b"\x10\7", "tag": b"\x50\0\3"}
    runs = {"end": data + update + padded + full + empty + data + close + data, "alert": data + alert}
    runs |= {f"wrong_{name}": data + record for name, record in wrong.items()}
    runs |= {"close_with_content": b"\x11\2\1x", "bad_alert": b"\x12\1\0\0\1\0", "long_alert": b"\x12\1\7\0\xf4\x1f"}
    runs |= {"too_long": b"\x13\0\x00\x40abcd", "update_with_content": b"\x11\3\1x"}
    made: dict[str, bytes] = {}
    for number, suite in enumerate(Suite):
        made |= {f"{name}_{suite}": bytes([number, 0]) + run for name, run in runs.items()}
        made |= {f"accept_{suite}": bytes([number, 1]) + accept + data + accept}
        made |= {f"steps_{suite}": bytes([number, 7]) + accept + b"\7" + data + b"\2\1\0\x09\0" + close}
    return made
