"""Records: the bytes of a stream in sealed pieces of at most 16 KiB (`docs/protocol.md`, "Records").

    record = length u16 | ciphertext        length counts the whole record
    plain  = size u16 | type u8 | content | zero padding        size = 3 + content

Theory of operation
-------------------

This is where the time of a bulk transfer goes, so both directions work on many records at once and in few
buffers. There is one path, whatever the size.

*Writing.* `RecordWriter.data()` lays content out in one buffer with gaps for lengths and tags, seals each
record where it lies, and yields the buffer's bytes when it is full (a batch, 256 KiB); the next batch reuses
it. A yielded batch is therefore good until the next one is asked for, and nothing is ever sealed twice.

*Reading.* `feed()` takes what one transport read gave and keeps it as it is. `read()` opens record after
record into one buffer, each so that its content begins where the content before it ended: a record's three
header bytes then fall on the last three bytes of that content, which are put aside and put back. So the
content of all records comes out as one piece. Only a record that straddles two transport reads is joined.

Work is bounded per byte received: one `read()` opens at most `RECORDS_AT_ONCE` records, then the caller lets
others run.
"""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING

from . import sodium
from .alerts import Alert, decode_alert_untrusted
from .codes import AlertCode
from .errors import LocalProtocolError, RemoteProtocolError
from .messages import Kind, decode_alert_body_untrusted, encode_alert_frame
from .padding import NoPadding, PaddingPolicy, padded_length, record_padding
from .suites import (
    FORGED,
    LENGTH_SIZE,
    MAX_RECORD,
    PLAIN_HEADER_SIZE,
    RecordType,
    Suite,
    opener,
    sealer,
    tag_and_type_agree,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Constants of the protocol.
VERDICT_RECORD = 512
UPDATE_AFTER_BYTES = 2**30
UPDATE_AFTER_RECORDS = 2**32

# Constants of this implementation.
BATCH = 16 * MAX_RECORD
RECORDS_AT_ONCE = 256
READ_SIZE = BATCH

_LENGTH = struct.Struct("<H")
_PLAIN_HEADER = struct.Struct("<HB")
_ZEROS = bytes(MAX_RECORD)

# Big buffers that no stream holds at the moment. A stream has one while a call is sending or opening, so
# an idle one costs nothing, and memory that is warm is used again.
_spare: list[sodium.backend.Buffer] = []
_SPARE_SIZE = BATCH + 2 * MAX_RECORD


def _take_buffer(size: int) -> sodium.backend.Buffer:
    if size <= 2 * MAX_RECORD + 64:
        return sodium.backend.Buffer(size)
    return _spare.pop() if _spare else sodium.backend.Buffer(_SPARE_SIZE)


def _give_buffer(buffer: sodium.backend.Buffer) -> None:
    if len(buffer.view) == _SPARE_SIZE and len(_spare) < 4:
        _spare.append(buffer)


# --- writing ----------------------------------------------------------------------------------------


class RecordWriter:
    """Seals one direction.

    Content in, wire bytes out. `records`, `content_bytes`, `padding_bytes`, `key_updates` count what was
    sealed. `padding` may be changed between two calls.
    """

    __slots__ = (
        "_prefix",
        "_records_left",
        "_sealer",
        "_until_update",
        "_update_wanted",
        "capacity",
        "content_bytes",
        "ended",
        "key_updates",
        "overhead",
        "padding",
        "padding_bytes",
        "records",
    )

    def __init__(self, suite: Suite, key: bytes, padding: PaddingPolicy | None = None) -> None:
        self._sealer = sealer(suite, key)
        self._prefix = self._sealer.prefix
        self.overhead = LENGTH_SIZE + PLAIN_HEADER_SIZE + self._sealer.tag_size
        self.capacity = MAX_RECORD - self.overhead
        self.padding = padding or NoPadding()
        self._until_update = UPDATE_AFTER_BYTES
        self._records_left = UPDATE_AFTER_RECORDS
        self._update_wanted = False
        self.ended = False
        self.records = self.content_bytes = self.padding_bytes = self.key_updates = 0

    def data(self, content: memoryview) -> Iterator[memoryview]:
        """One flush: `content` as DATA records, in batches of wire bytes.

        Each batch is good until the next is asked for. Nothing is sealed before the first is asked for.
        Raises `ValueError` before anything is sealed when the padding policy misbehaves.
        """
        self._require_open()
        plan, size = self._plan(len(content))
        return self._seal_batches(plan, min(size, BATCH), content)

    def control(self, record_type: RecordType, content: bytes = b"", padding: int = 0) -> bytes:
        """One record of any type. CLOSE and ALERT are the last of the direction.

        `padding` is what the protocol wants at least; the policy is asked for more. A key update that is due
        goes in front. Raises `ValueError` for too much content, and when the padding policy misbehaves:
        nothing is sealed then.
        """
        self._require_open()
        if len(content) > self.capacity:
            raise ValueError(f"a record has at most {self.capacity:,} bytes of content, not {len(content):,}")
        length = len(content) + padding
        padding += record_padding(self.padding, record_type, length, self.capacity - length)
        update = self.update_key() if self._update_is_due() and record_type != RecordType.KEY_UPDATE else b""
        size = len(self._prefix) + self.overhead + len(content) + padding
        buffer = _take_buffer(size + self._sealer.lead)
        end = self._put(buffer, self._put_prefix(buffer), record_type, memoryview(content), padding)
        wire = bytes(buffer.view[:end])
        _give_buffer(buffer)
        self.ended = record_type in (RecordType.CLOSE, RecordType.ALERT)
        return update + wire

    def verdict(self, record_type: RecordType, content: bytes = b"") -> bytes:
        """The server's first record: 512 bytes on the wire, longer ones a full record, so that its size
        does not tell which it is."""
        fits = self.overhead + len(content) <= VERDICT_RECORD
        total = VERDICT_RECORD if fits else MAX_RECORD
        return self.control(record_type, content, total - self.overhead - len(content))

    def update_key(self) -> bytes:
        """A KEY_UPDATE record: what is sealed later is sealed under the next key."""
        return self.control(RecordType.KEY_UPDATE)

    def wipe(self) -> None:
        """Forgets the key; nothing can be sealed any more."""
        self.ended = True
        self._sealer.wipe()

    def _require_open(self) -> None:
        if self.ended:
            raise LocalProtocolError("a record after the last one of its direction")

    def _plan(self, length: int) -> tuple[Iterable[tuple[int, int]], int]:
        """The records of a flush as (content, padding), and room enough for them on the wire."""
        if self.padding.is_none:
            full, rest = divmod(length, self.capacity)
            plan: Iterable[tuple[int, int]] = _unpadded(full, rest, self.capacity)
            size = length + (full + 1) * self.overhead
        else:
            padded = self._padded(length)
            plan, size = padded, sum(map(sum, padded)) + len(padded) * self.overhead
        return plan, size + len(self._prefix)

    def _padded(self, length: int) -> list[tuple[int, int]]:
        total = padded_length(self.padding, length)
        plan = []
        for start in range(0, total, self.capacity):
            laid = min(self.capacity, total - start)
            content = max(0, min(laid, length - start))
            more = record_padding(self.padding, RecordType.DATA, laid, self.capacity - laid)
            plan.append((content, laid - content + more))
        return plan

    def _seal_batches(self, plan: Iterable[tuple[int, int]], size: int, content: memoryview) -> Iterator[memoryview]:
        buffer = _take_buffer(size + self._sealer.lead)
        try:
            yield from self._seal_into(buffer, plan, content)
        finally:
            _give_buffer(buffer)

    def _seal_into(
        self, buffer: sodium.backend.Buffer, plan: Iterable[tuple[int, int]], content: memoryview
    ) -> Iterator[memoryview]:
        limit = len(buffer.view) - self._sealer.lead
        at = self._put_prefix(buffer)
        start = 0
        for size, padding in plan:
            if at + self.overhead + size + padding > limit:
                yield buffer.view[:at]
                at = 0
            if self._update_is_due():
                if at:
                    yield buffer.view[:at]
                update = self.update_key()
                yield memoryview(update)
                at = 0
            at = self._put(buffer, at, RecordType.DATA, content[start : start + size], padding)
            start += size
        yield buffer.view[:at]

    def _update_is_due(self) -> bool:
        return self._until_update <= 0 or self._records_left <= 1

    def _put_prefix(self, buffer: sodium.backend.Buffer) -> int:
        size = len(self._prefix)
        if size:
            buffer.view[:size] = self._prefix
            self._prefix = b""
        return size

    def _put(self, buffer: sodium.backend.Buffer, at: int, record_type: int, content: memoryview, padding: int) -> int:
        """Lays one record at `at` and seals it; gives where the next one goes."""
        self._require_open()  # a flush goes on batch by batch, and the direction may have ended since the last
        view, size = buffer.view, len(content)
        plain = PLAIN_HEADER_SIZE + size + padding
        sealed = at + LENGTH_SIZE
        start = sealed + self._sealer.lead
        _PLAIN_HEADER.pack_into(view, start, PLAIN_HEADER_SIZE + size, record_type)
        start += PLAIN_HEADER_SIZE
        view[start : start + size] = content
        if padding:
            view[start + size : start + size + padding] = _ZEROS[:padding]
        self._sealer.seal(buffer, sealed, plain, record_type)
        end = sealed + plain + self._sealer.tag_size
        _LENGTH.pack_into(view, at, end - at)
        self._count(record_type, size, padding)
        return end

    def _count(self, record_type: int, size: int, padding: int) -> None:
        self.records += 1
        self.content_bytes += size
        self.padding_bytes += padding
        if record_type == RecordType.KEY_UPDATE:
            self.key_updates += 1
            self._until_update = UPDATE_AFTER_BYTES
            self._records_left = UPDATE_AFTER_RECORDS
        else:
            self._until_update -= PLAIN_HEADER_SIZE + size + padding
            self._records_left -= 1


def _unpadded(full: int, rest: int, capacity: int) -> Iterator[tuple[int, int]]:
    for _ in range(full):
        yield capacity, 0
    if rest:
        yield rest, 0


# --- reading ----------------------------------------------------------------------------------------


class End(enum.Enum):
    """How a direction stands, as its reader sees it."""

    OPEN = enum.auto()
    CLOSED = enum.auto()  # a CLOSE record: the authenticated end
    ALERTED = enum.auto()  # an alert: `reader.alert`
    FAILED = enum.auto()  # the peer broke the protocol: `reader.failure`
    TRUNCATED = enum.auto()  # the transport ended, and none of the above had come


class RecordReader:
    """Opens one direction.

    Wire bytes in, content out. What ends the stream shows in `end` once all content before it has been
    read. `expects_verdict`: this is a client, whose server begins with ACCEPT or ALERT; `accepted` holds
    ACCEPT's content once it is there. `authenticated` is False for an alert that came in clear.
    """

    __slots__ = (
        "_at",
        "_data",
        "_eof",
        "_least",
        "_next",
        "_opener",
        "_source",
        "_started",
        "_verdict_due",
        "accepted",
        "alert",
        "authenticated",
        "content_bytes",
        "end",
        "failure",
        "key_updates",
        "records",
    )

    def __init__(self, suite: Suite, key: bytes, *, expects_verdict: bool) -> None:
        self._opener = opener(suite, key)
        self._least = LENGTH_SIZE + PLAIN_HEADER_SIZE + self._opener.tag_size
        self._verdict_due = expects_verdict
        self._started = self._opener.prefix_size == 0
        self._eof = False
        self._data: bytes | bytearray = b""
        self._at = 0
        self._source: sodium.backend.Source | None = None
        self._next: tuple[bytes | bytearray, int] | None = None
        self.end = End.OPEN
        self.alert: Alert | None = None
        self.authenticated = True
        self.failure: RemoteProtocolError | None = None
        self.accepted: bytes | None = None
        self.records = self.content_bytes = self.key_updates = 0

    def feed(self, data: bytes | bytearray) -> None:
        """What one transport read gave. Call it when `read()` has nothing more to give: earlier costs a copy."""
        if self.end is not End.OPEN:
            return
        if self.has_more:
            self._load(self._data[self._at :] + self._take_next() + data, 0)
            return
        tail = self._data[self._at :]
        if not tail:
            self._load(data, 0)
            return
        missing = self._straddling_size(tail + data[:LENGTH_SIZE]) - len(tail)
        self._load(tail + data[:missing], 0)
        if missing < len(data):
            self._next = (data, missing)

    def feed_eof(self) -> None:
        """The transport has ended. What was fed before can still be read."""
        self._eof = True
        self._end_at_eof()

    def _end_at_eof(self) -> None:
        if not self._eof or self.end is not End.OPEN or self._has_record():
            return
        rest = bytes(self._data[self._at :])
        if self._is_untouched() and _is_alert_frame(rest):
            self.alert = Alert(decode_alert_body_untrusted(rest[3:]))
            self.authenticated = False
            self._finish(End.ALERTED)
        else:
            self._finish(End.TRUNCATED)

    def read(self) -> bytes:
        """The content of the records that are there, at most `RECORDS_AT_ONCE` of them, in one piece.

        b"" means that none had content, and nothing else: look at `end`, and at `has_more`.
        """
        buffer = _take_buffer(len(self._data) - self._at + self._rest_size() + PLAIN_HEADER_SIZE)
        end = PLAIN_HEADER_SIZE
        for _ in range(RECORDS_AT_ONCE):
            if self.end is not End.OPEN or not self._has_record():
                break
            if not self._fits(len(buffer.view) - end):
                break
            end = self._open_record(buffer, end)
        content = bytes(buffer.view[PLAIN_HEADER_SIZE:end])
        _give_buffer(buffer)
        self.content_bytes += len(content)
        self._end_at_eof()
        return content

    @property
    def verdict_due(self) -> bool:
        """Whether the server's ACCEPT is still to come."""
        return self._verdict_due

    @property
    def has_more(self) -> bool:
        """Whether `read()` would open a record without another `feed()`."""
        return self.end is End.OPEN and self._has_record()

    def wipe(self) -> None:
        """Forgets the key and what has not been read."""
        if self.end is End.OPEN:
            self._finish(End.TRUNCATED)
        self._opener.wipe()

    # --- what lies in the buffers

    def _load(self, data: bytes | bytearray, at: int) -> None:
        self._data, self._at = data, at
        self._source = sodium.backend.Source(data) if data else None

    def _rest_size(self) -> int:
        return len(self._next[0]) - self._next[1] if self._next else 0

    def _take_next(self) -> bytes | bytearray:
        data, at = self._next or (b"", 0)
        self._next = None
        return data[at:]

    def _straddling_size(self, start: bytes | bytearray) -> int:
        """How long the record (or the stream's prefix) is that begins so; what can't be is left to `read()`."""
        if not self._started:
            return self._opener.prefix_size
        return max(int.from_bytes(start[:LENGTH_SIZE], "little"), self._least)

    def _fits(self, room: int) -> bool:
        """Whether the next record can be opened into `room` bytes; one of a wrong length is only refused."""
        length = self._length()
        return room >= MAX_RECORD or length <= room or not self._least <= length <= MAX_RECORD

    def _length(self) -> int:
        return self._data[self._at] | self._data[self._at + 1] << 8

    def _has_record(self) -> bool:
        """Whether a whole record, or one whose length is wrong, is next."""
        available = len(self._data) - self._at
        if not self._started:
            available = self._start(available)
        if self._next is not None and not available:
            self._load(*self._next)
            self._next = None
            available = len(self._data) - self._at
        if available < LENGTH_SIZE:
            return False
        length = self._length()
        if self._least <= length <= MAX_RECORD:
            return available >= length
        return not self._may_be_alert_frame(available)

    def _start(self, available: int) -> int:
        size = self._opener.prefix_size
        if available < size:
            return 0
        self._opener.start(bytes(self._data[self._at : self._at + size]))
        self._at += size
        self._started = True
        return available - size

    def _may_be_alert_frame(self, available: int) -> bool:
        """A refusal in clear: five bytes in place of the server's first record, and then the end."""
        start = bytes(self._data[self._at : self._at + 3])
        return self._is_untouched() and available <= 5 and _ALERT_FRAME_START.startswith(start)

    def _is_untouched(self) -> bool:
        """Whether the verdict is due and nothing of the records has come, not even the prefix."""
        return self._verdict_due and self._started is (self._opener.prefix_size == 0)

    # --- one record

    def _open_record(self, buffer: sodium.backend.Buffer, end: int) -> int:
        """Opens the next record so that its content begins at `end`; gives where its content ends."""
        length = self._length()
        if not self._least <= length <= MAX_RECORD:
            return self._fail(end, f"a record of {length} bytes")
        assert self._source is not None
        view, to = buffer.view, end - PLAIN_HEADER_SIZE
        aside = bytes(view[to:end])
        tag = self._opener.open(buffer, to, self._source, self._at + LENGTH_SIZE, length - LENGTH_SIZE)
        size, record_type = _PLAIN_HEADER.unpack_from(view, to)
        view[to:end] = aside
        if tag == FORGED:
            return self._fail(end, "a record that does not authenticate")
        if not PLAIN_HEADER_SIZE <= size <= length - self._least + PLAIN_HEADER_SIZE:
            return self._fail(end, f"a record of {length} bytes with a size of {size}")
        self._at += length
        self.records += 1
        content_end: int = end + size - PLAIN_HEADER_SIZE
        if record_type == RecordType.DATA and tag_and_type_agree(tag, record_type) and not self._verdict_due:
            return content_end
        self._take_control(record_type, tag, bytes(view[end:content_end]))
        return end

    def _take_control(self, record_type: int, tag: int, content: bytes) -> None:
        try:
            self._judge_control(record_type, tag, content)
        except RemoteProtocolError as exc:
            self.failure = exc
            self._finish(End.FAILED)

    def _judge_control(self, record_type: int, tag: int, content: bytes) -> None:
        if record_type not in _KNOWN_TYPES:
            raise RemoteProtocolError(f"a record of unknown type {record_type}")
        if not tag_and_type_agree(tag, record_type):
            raise RemoteProtocolError("a record whose tag and type disagree", AlertCode.BAD_RECORD)
        if record_type == RecordType.ALERT:
            self.alert = decode_alert_untrusted(content)
            self._finish(End.ALERTED)
        elif record_type == RecordType.ACCEPT:
            self._accept(content)
        elif self._verdict_due:
            raise RemoteProtocolError("the server's first record is neither ACCEPT nor ALERT")
        elif content:
            raise RemoteProtocolError(f"a {RecordType(record_type).name} record with content")
        elif record_type == RecordType.CLOSE:
            self._finish(End.CLOSED)
        else:
            self._opener.update_key()
            self.key_updates += 1

    def _accept(self, content: bytes) -> None:
        if not self._verdict_due:
            raise RemoteProtocolError("an ACCEPT out of place")
        self._verdict_due = False
        self.accepted = content

    def _fail(self, end: int, message: str) -> int:
        self.failure = RemoteProtocolError(message, AlertCode.BAD_RECORD)
        self._finish(End.FAILED)
        return end

    def _finish(self, end: End) -> None:
        """Nothing that came after is ever looked at."""
        self.end = end
        self._data, self._at, self._source, self._next = b"", 0, None, None


_KNOWN_TYPES = frozenset(RecordType)
_ALERT_FRAME_START = encode_alert_frame(1)[:3]


def _is_alert_frame(data: bytes) -> bool:
    return len(data) == 5 and data.startswith(_ALERT_FRAME_START) and data[3:] != b"\0\0"


assert _ALERT_FRAME_START[2] == Kind.ALERT
