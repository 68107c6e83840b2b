"""What the targets over records share: a reader that is watched, and what it has to make of sealed records.

`Expectation` is the reader's half of `docs/protocol.md`, "Records", written once more over what was sealed: no
bytes, no buffers, no keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from securestream.protocol.codes import AlertCode
from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.records import End, RecordReader
from securestream.protocol.suites import AnySuite, RecordType, Suite

from ..protocol.support import KEY, OVERHEAD, drain

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST = 16_384
BAD_RECORD, PROTOCOL_ERROR = AlertCode.BAD_RECORD, AlertCode.PROTOCOL_ERROR
TAGS = {RecordType.DATA: 0, RecordType.ALERT: 3, RecordType.CLOSE: 3, RecordType.KEY_UPDATE: 2, RecordType.ACCEPT: 0}


class WatchedReader:
    """A reader, fed in one of the two ways, and held to its word after its end."""

    def __init__(self, suite: AnySuite, key: bytes = KEY, *, expects_verdict: bool, in_place: bool) -> None:
        self.reader = RecordReader(suite, key, expects_verdict=expects_verdict)
        self.received = b""
        self._in_place = in_place

    def receive(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            had_ended = self.reader.end is not End.OPEN
            self._feed(piece)
            content = drain(self.reader)
            assert not (had_ended and content)
            self.received += content
        self._look()

    def _feed(self, piece: bytes) -> None:
        if self._in_place and self.reader.end is End.OPEN:
            self.reader.space(len(piece))[: len(piece)] = piece
            self.reader.filled(len(piece))
        else:
            self.reader.feed(piece)

    def finish(self) -> None:
        """The transport's end, and what comes after it all the same."""
        self.reader.feed_eof()
        self.received += drain(self.reader)
        assert self.reader.end is not End.OPEN
        self._look()
        ended = self.reader.end, self.reader.alert, self.reader.failure, self.reader.records
        self.reader.feed(bytes(60))
        assert drain(self.reader) == b""
        self.reader.feed_eof()
        assert not self.reader.has_more
        assert ended == (self.reader.end, self.reader.alert, self.reader.failure, self.reader.records)

    def _look(self) -> None:
        reader = self.reader
        assert isinstance(reader.failure, RemoteProtocolError) == (reader.end is End.FAILED)
        assert (reader.alert is not None) == (reader.end is End.ALERTED)
        assert reader.content_bytes == len(self.received)


class Expectation:
    """What a reader has to make of records that authenticate."""

    def __init__(self, suite: AnySuite, *, expects_verdict: bool) -> None:
        self._suite, self._verdict_due = suite, expects_verdict
        self.content = b""
        self.end = End.OPEN
        self.refusal: AlertCode | None = None
        self.accepted: bytes | None = None
        self.alert: bytes | None = None
        self.key_updates = 0

    def take(self, size: int, record_type: int, body: bytes, tag: int) -> None:
        """One record: its size field, its type, all that stands behind, its tag."""
        if self.end is not End.OPEN:
            return
        self.refusal = self._refusal(size, record_type, body, tag)
        if self.refusal is not None:
            self.end = End.FAILED
        else:
            self._apply(RecordType(record_type), body[: size - 3])

    def _refusal(self, size: int, record_type: int, body: bytes, tag: int) -> AlertCode | None:
        if OVERHEAD[self._suite] + len(body) > MOST or not 3 <= size <= 3 + len(body):
            return BAD_RECORD
        if record_type not in TAGS:
            return PROTOCOL_ERROR
        kind, content = RecordType(record_type), body[: size - 3]
        if self._suite is Suite.XCHACHA20_POLY1305 and tag != TAGS[kind]:
            return BAD_RECORD
        if self._verdict_due:
            out_of_place = kind not in (RecordType.ACCEPT, RecordType.ALERT)
        else:
            out_of_place = kind is RecordType.ACCEPT
        empty = kind in (RecordType.CLOSE, RecordType.KEY_UPDATE)
        wrong = out_of_place or (empty and content) or (kind is RecordType.ALERT and not is_alert(content))
        return PROTOCOL_ERROR if wrong else None

    def _apply(self, kind: RecordType, content: bytes) -> None:
        match kind:
            case RecordType.DATA:
                self.content += content
            case RecordType.ALERT:
                self.alert, self.end = content, End.ALERTED
            case RecordType.CLOSE:
                self.end = End.CLOSED
            case RecordType.KEY_UPDATE:
                self.key_updates += 1
            case RecordType.ACCEPT:
                self.accepted, self._verdict_due = content, False


def is_alert(content: bytes) -> bool:
    return (
        len(content) >= 2 and content[:2] != b"\0\0" and content[2:].decode("utf-8", "ignore").encode() == content[2:]
    )
