"""A record reader against the network: genuine records edited, cut, swapped and doubled on their way, or bytes that
are no records at all. What it delivers is always the beginning of what was sealed."""

from __future__ import annotations

import struct

from securestream.protocol.records import End
from securestream.protocol.suites import RecordType, Suite

from ...protocol.support import BOTH_SUITES
from ..choices import Choices
from ..records import WatchedReader
from ..sealing import FixedForger

SHOWS = "fuzz-records"
PARSERS = ()

ALERT = b"\7\0bye"
IN_CLEAR = b"\5\0\4"


def one_input(data: bytes) -> None:
    choices = Choices(data)
    suite, way = choices.one_of(BOTH_SUITES), choices.byte()
    watched = WatchedReader(suite, expects_verdict=bool(way & 1), in_place=bool(way & 2))
    sealed, content = genuine(suite, choices, verdict=bool(way & 1), alert=bool(way & 8))
    wire = choices.rest() if way & 4 else choices.edited(sealed[0] + b"".join(moved(choices, sealed[1:])))
    watched.receive(choices.pieces(wire))
    watched.finish()
    judge(watched, wire, sealed, content)


def genuine(suite: Suite, choices: Choices, *, verdict: bool, alert: bool) -> tuple[list[bytes], bytes]:
    """A whole stream: its prefix and its records, and their content."""
    forger = FixedForger(suite)
    records = [forger.record(RecordType.ACCEPT)] if verdict else []
    contents = [bytes([65 + n]) * (choices.byte() % 40) for n in range(choices.byte() % 6)]
    for content in contents:
        records.append(forger.record(RecordType.DATA, content))
        if len(content) % 8 == 7:
            records.append(forger.record(RecordType.KEY_UPDATE))
    last = forger.record(RecordType.ALERT, ALERT) if alert else forger.record(RecordType.CLOSE)
    return [forger.prefix, *records, last], b"".join(contents)


def moved(choices: Choices, records: list[bytes]) -> list[bytes]:
    """The records with some of them swapped, doubled or lost."""
    moved = list(records)
    for _ in range(choices.byte() % 4):
        if not moved:
            break
        what, at, to = choices.byte() % 3, choices.byte() % len(moved), choices.byte() % len(moved)
        if what == 0:
            moved[at], moved[to] = moved[to], moved[at]
        elif what == 1:
            moved.insert(to, moved[at])
        else:
            del moved[at]
    return moved


def judge(watched: WatchedReader, wire: bytes, sealed: list[bytes], content: bytes) -> None:
    """`sealed`: the prefix and the records."""
    reader, intact = watched.reader, arrived(wire, sealed)
    assert reader.records == max(0, intact - 1)
    assert content.startswith(watched.received)
    ended = reader.end in (End.CLOSED, End.ALERTED) and reader.authenticated
    assert ended == (intact == len(sealed))
    assert not ended or watched.received == content
    if reader.end is End.ALERTED and not reader.authenticated:
        assert wire[:3] == IN_CLEAR
        assert len(wire) == 5
        assert reader.alert is not None
        assert struct.pack("<H", reader.alert.code) == wire[3:]


def arrived(wire: bytes, sealed: list[bytes]) -> int:
    """How many parts of the stream have come as they were sealed, before the first that has not."""
    count = 0
    for part in sealed:
        if not wire.startswith(part):
            break
        wire, count = wire[len(part) :], count + 1
    return count


def seeds() -> dict[str, bytes]:
    three = b"\3\5\7\x20"
    runs = {
        "genuine": three + b"\0\0\0",
        "single_bytes": three + b"\0\0\7",
        "swapped": three + b"\1\0\0\1\0\0",
        "doubled": three + b"\1\1\1\1\0\0",
        "dropped": three + b"\1\2\1\0\0\0",
        "flipped": three + b"\0\1\0\x30\0\1\0",
        "cut": three + b"\0\1\4\x30\0\0\0",
        "inserted": three + b"\0\1\2\x18\0\1\0",
        "appended": three + b"\0\1\2\xff\xff\1\0",
    }
    made: dict[str, bytes] = {}
    for number, suite in enumerate(Suite):
        for verdict in (0, 1):
            made |= {f"{name}_{suite}_{verdict}": bytes([number, verdict]) + run for name, run in runs.items()}
        made |= {f"alert_{suite}": bytes([number, 10]) + runs["genuine"]}
        made |= {f"in_clear_{suite}": bytes([number, 5, 0]) + IN_CLEAR + b"\x0a\0"}
        made |= {f"nothing_{suite}": bytes([number, 4, 0]), f"noise_{suite}": bytes([number, 4, 0, *range(2, 200)])}
    return made
