"""Reading captured traffic with a key log (`streams/keylog.py`, `docs/debugging.md`): bytes in, records out.

A capture is what went over the transport in each direction, whole and from the beginning. A key log has a line for
each connection, found by the client's ephemeral key, which its hello has in clear.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .errors import RemoteProtocolError
from .messages import FrameReader, Kind, decode_hello_untrusted
from .records import End, RecordReader
from .suites import LENGTH_SIZE, RecordType, Suite, opener

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LINE = re.compile(r"SECURESTREAM1 ([0-9a-f]{64}) ([12]) ([0-9a-f]{64}) ([0-9a-f]{64})")


@dataclass(frozen=True)
class LoggedKeys:
    """One line of a key log. The keys don't show."""

    suite: Suite
    client_to_server: bytes = field(repr=False)
    server_to_client: bytes = field(repr=False)


@dataclass(frozen=True)
class SeenRecord:
    """One record of a capture.

    `kind`         data, accept, key_update, close or alert
    `wire_length`  bytes on the wire, its length field included
    `content`      what data it carries, or an alert's text
    """

    kind: str
    wire_length: int
    content: bytes = field(repr=False)


def parse_key_log(lines: Iterable[str]) -> dict[bytes, LoggedKeys]:
    """The lines of a key log, by the client's ephemeral key. Others, say one that a crash has cut, are passed over."""
    found = {}
    for line in lines:
        match = _LINE.fullmatch(line.rstrip("\r\n"))
        if match is not None:
            hello_key, suite, to_server, to_client = match.groups()
            keys = LoggedKeys(Suite(int(suite)), bytes.fromhex(to_server), bytes.fromhex(to_client))
            found[bytes.fromhex(hello_key)] = keys
    return found


def hello_key_of(client_bytes: bytes) -> bytes:
    """The ephemeral key in the hello that a client's direction begins with. Raises `RemoteProtocolError`."""
    _, body = _frame(_reader(client_bytes), Kind.HELLO)
    return decode_hello_untrusted(body).e


def client_records(client_bytes: bytes, keys: LoggedKeys) -> Iterator[SeenRecord]:
    """What the client sent. Raises `RemoteProtocolError` where the capture is not what the keys are for."""
    frames = _reader(client_bytes)
    _frame(frames, Kind.HELLO)
    _frame(frames, Kind.RESPONSE)
    return _records(frames.take_rest(), keys.suite, keys.client_to_server, from_server=False)


def server_records(server_bytes: bytes, keys: LoggedKeys) -> Iterator[SeenRecord]:
    """What the server sent. Raises as `client_records` does."""
    frames = _reader(server_bytes)
    _frame(frames, Kind.CHALLENGE)
    return _records(frames.take_rest(), keys.suite, keys.server_to_client, from_server=True)


def _reader(data: bytes) -> FrameReader:
    reader = FrameReader()
    reader.feed(data)
    return reader


def _frame(reader: FrameReader, kind: Kind) -> tuple[Kind, bytes]:
    frame = reader.next_frame({kind})
    if frame is None:
        raise RemoteProtocolError(f"the capture ends before the {kind.name.lower()} does")
    return frame


def _records(data: bytes, suite: Suite, key: bytes, *, from_server: bool) -> Iterator[SeenRecord]:
    """Fed record by record, so that each shows. A capture that ends in the middle of one ends before it."""
    reader = RecordReader(suite, key, expects_verdict=from_server)
    prefix = opener(suite, key).prefix_size
    at = min(prefix, len(data))
    reader.feed(data[:at])
    while reader.end is End.OPEN and at + LENGTH_SIZE <= len(data):
        length = max(int.from_bytes(data[at : at + LENGTH_SIZE], "little"), LENGTH_SIZE)
        if at + length > len(data):
            return
        updates, verdict_due = reader.key_updates, reader.verdict_due
        reader.feed(data[at : at + length])
        content = reader.read()
        if reader.failure is not None:
            raise reader.failure
        at += length
        kind = _kind(reader, updated=reader.key_updates > updates, accepted=verdict_due and not reader.verdict_due)
        yield SeenRecord(kind, length, _text_of_alert(reader) if reader.alert is not None else content)


def _kind(reader: RecordReader, *, updated: bool, accepted: bool) -> str:
    if reader.end is End.ALERTED:
        return RecordType.ALERT.name.lower()
    if reader.end is End.CLOSED:
        return RecordType.CLOSE.name.lower()
    if updated:
        return RecordType.KEY_UPDATE.name.lower()
    return RecordType.ACCEPT.name.lower() if accepted else RecordType.DATA.name.lower()


def _text_of_alert(reader: RecordReader) -> bytes:
    return str(reader.alert).encode("utf-8", "replace")
