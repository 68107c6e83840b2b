"""Records: the bytes of a stream in sealed pieces of at most 16 KiB (`docs/protocol.md`, "Records").

    record = length u16 | ciphertext        length counts the whole record
    plain  = size u16 | type u8 | content | zero padding        size = 3 + content

Theory of operation
-------------------

This is where the time of a bulk transfer goes, so both directions work on many records at once and in few
buffers. There is one path, whatever the size.

*Writing.* `RecordWriter.data()` lays content out in one buffer with gaps for lengths and tags, seals each
record where it lies, and yields the buffer's bytes when it is full (a batch, some 256 KiB); the next batch reuses
it. A yielded batch is therefore good until the next one is asked for, and nothing is ever sealed twice.

*Reading.* The transport's bytes go into one buffer (`space()`, `filled()`; `feed()` copies them there). `read()` opens
record after record there, in place if the cipher allows it, and joins their contents: the one copy that is made.
What is less than a record is put aside, and in front of what comes next.

Work is bounded per byte received: one `read()` opens at most `RECORDS_AT_ONCE` records, then the caller lets
others run.
"""

from __future__ import annotations

import enum
import secrets
import struct
from typing import TYPE_CHECKING

from . import sodium
from .alerts import Alert, decode_alert_untrusted
from .codes import AlertCode
from .errors import LocalProtocolError, RemoteProtocolError
from .messages import Kind, decode_alert_body_untrusted, encode_alert_frame
from .padding import NoPadding, PaddingPolicy, checked_size, control_padding, padded_length, record_padding
from .suites import (
    FORGED,
    LENGTH_SIZE,
    MAX_RECORD,
    PLAIN_HEADER_SIZE,
    RecordType,
    opener,
    sealer,
    tag_and_type_agree,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .suites import AnySuite

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
_length_at = _LENGTH.unpack_from
_ZEROS = bytes(MAX_RECORD)
_DATA, _KEY_UPDATE = int(RecordType.DATA), int(RecordType.KEY_UPDATE)  # an enum's attribute costs a look-up
_DATA_TAG = 0
_NOTHING = memoryview(b"")

Planned = tuple[int, int, int]
"""A record to be: where its content begins and ends in what is sent, and its padding."""

# Buffers that no stream holds at the moment: small ones for a record, big ones for a batch. A stream has one
# while it sends, or while bytes wait to be opened, so an idle one costs nothing, and memory that is warm is used again.
_SMALL, _BIG = 2 * MAX_RECORD + 64, BATCH + 2 * MAX_RECORD
_spare: dict[int, list[sodium.backend.Buffer]] = {_SMALL: [], _BIG: []}
_MOST_SPARE = 8


def _take_buffer(size: int) -> sodium.backend.Buffer:
    """A buffer of `size` bytes or more."""
    kept = _SMALL if size <= _SMALL else _BIG
    if size > kept:
        return sodium.backend.Buffer(size)
    try:
        return _spare[kept].pop()
    except IndexError:  # asked and taken in one step: Trio may run in several threads
        return sodium.backend.Buffer(kept)


def _give_buffer(buffer: sodium.backend.Buffer) -> None:
    spare = _spare.get(buffer.size)
    if spare is not None and len(spare) < _MOST_SPARE:
        spare.append(buffer)


# --- writing ----------------------------------------------------------------------------------------


def padded_records(policy: PaddingPolicy, length: int, capacity: int) -> list[int]:
    """The records of a flush that was padded to `length` bytes: what each holds, content and padding, at most
    `capacity`. Raises `ValueError` when the policy misbehaves."""
    full, rest = divmod(length, capacity)
    sizes = [capacity] * full
    if rest:
        sizes.append(rest + record_padding(policy, RecordType.DATA, rest, capacity - rest))
    return sizes


class RecordWriter:
    """Seals one direction.

    Content in, wire bytes out. `records`, `content_bytes`, `padding_bytes`, `key_updates` count what was
    sealed. `padding` may be changed between two calls.
    """

    __slots__ = (
        "_around",
        "_lead",
        "_padding",
        "_pads",
        "_prefix",
        "_seal",
        "_sealer",
        "_update_at_bytes",
        "_update_at_records",
        "capacity",
        "ended",
        "key_updates",
        "overhead",
        "padding_bytes",
        "plain_bytes",
        "records",
    )

    def __init__(self, suite: AnySuite, key: bytes, padding: PaddingPolicy | None = None) -> None:
        self._sealer = sealer(suite, key)
        self._seal, self._lead = self._sealer.seal, self._sealer.lead
        self._around = LENGTH_SIZE + self._sealer.tag_size
        self._prefix = self._sealer.prefix
        self.overhead: int = LENGTH_SIZE + PLAIN_HEADER_SIZE + self._sealer.tag_size
        self.capacity: int = MAX_RECORD - self.overhead
        self.padding = padding or NoPadding()
        self.ended: bool = False
        self.records: int = 0
        self.plain_bytes: int = 0
        self.padding_bytes: int = 0
        self.key_updates: int = 0
        self._schedule_update()

    @property
    def padding(self) -> PaddingPolicy:
        """The policy of what is sealed from now on."""
        return self._padding

    @padding.setter
    def padding(self, policy: PaddingPolicy) -> None:
        if not isinstance(policy, PaddingPolicy):
            raise TypeError(f"padding takes a PaddingPolicy, not a {type(policy).__name__}")
        self._padding = policy
        self._pads = not policy.is_none

    def data(self, content: memoryview) -> Iterator[memoryview]:
        """One flush: `content` as DATA records, in batches of wire bytes.

        Each batch is good until the next is asked for. Nothing is sealed before the first is asked for.
        Raises `ValueError` before anything is sealed when the padding policy misbehaves.
        """
        self._require_open()
        return self._flush(self._plan(content), content)

    def cover(self, size: int) -> Iterator[memoryview]:
        """One flush without content that looks as one of `size` bytes: what it is cut into, and under which lengths,
        is decided as for data. `size` is 1 byte to 16 MiB. Otherwise as `data`."""
        self._require_open()
        stand_in = memoryview(secrets.token_bytes(checked_size(size)))
        return self._flush([(0, 0, end - start + padding) for start, end, padding in self._plan(stand_in)], _NOTHING)

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
        if self._pads:
            padding += control_padding(self._padding, record_type, length, self.capacity - length)
        update = self.update_key() if self._until_update() <= 0 and record_type != RecordType.KEY_UPDATE else b""
        size = len(self._prefix) + self.overhead + len(content) + padding
        buffer = _take_buffer(size + self._sealer.lead)
        end = self._put(
            buffer, self._put_prefix(buffer), record_type, memoryview(content), [(0, len(content), padding)]
        )
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

    def _flush(self, plan: list[Planned], content: memoryview) -> Iterator[memoryview]:
        return self._seal_batches(plan, content, self._padding_of_updates(len(plan)) if self._pads else 0)

    def _plan(self, content: memoryview) -> list[Planned]:
        """The records of a flush."""
        if self._pads:
            return self._padded(content)
        length, capacity = len(content), self.capacity
        if length <= capacity:
            return [(0, length, 0)] if length else []
        return [(start, min(start + capacity, length), 0) for start in range(0, length, capacity)]

    def _padded(self, content: memoryview) -> list[Planned]:
        plan, start = [], 0
        for size in padded_records(self._padding, padded_length(self._padding, content), self.capacity):
            end = min(start + size, len(content))
            plan.append((start, end, size - (end - start)))
            start = end
        return plan

    def _padding_of_updates(self, records: int) -> int:
        """What pads the key updates that so many records may need: asked before anything is sealed."""
        bytes_after, records_after = self.plain_bytes + records * MAX_RECORD, self.records + records
        if bytes_after < self._update_at_bytes and records_after < self._update_at_records:
            return 0
        return control_padding(self._padding, RecordType.KEY_UPDATE, 0, self.capacity)

    def _seal_batches(self, plan: list[Planned], content: memoryview, update_padding: int) -> Iterator[memoryview]:
        buffer = _take_buffer(min(len(plan) * MAX_RECORD + len(self._prefix) + self._lead, _BIG))
        try:
            at, done = self._put_prefix(buffer), 0
            while done < len(plan):
                if self.ended:  # a flush goes on batch by batch, and its direction may have ended meanwhile
                    self._require_open()
                if (until_update := self._until_update()) <= 0:
                    at = self._put(buffer, at, _KEY_UPDATE, _NOTHING, [(0, 0, update_padding)])
                    until_update = max(1, self._until_update())
                room = (buffer.size - self._lead - at) // MAX_RECORD
                begun, done = done, done + min(room, until_update)
                at = self._put(buffer, at, _DATA, content, plan[begun:done])
                yield buffer.view[:at]
                at = 0
            if at:  # a prefix, and no records
                yield buffer.view[:at]
        except Exception:
            self.ended = True  # what was sealed before is lost, and nothing can follow a gap
            raise
        finally:
            _give_buffer(buffer)

    def _until_update(self) -> int:
        """How many full records may be sealed before a key update is due; none, or less, where it is."""
        bytes_left = self._update_at_bytes - self.plain_bytes
        most_plain = self.capacity + PLAIN_HEADER_SIZE
        return min(-(-bytes_left // most_plain), self._update_at_records - self.records)

    def _put_prefix(self, buffer: sodium.backend.Buffer) -> int:
        size = len(self._prefix)
        if size:
            buffer.view[:size] = self._prefix
            self._prefix = b""
        return size

    def _put(
        self,
        buffer: sodium.backend.Buffer,
        at: int,
        record_type: int,
        content: memoryview,
        plan: Sequence[Planned],
    ) -> int:
        """Lays the records of `plan` from `at` on and seals them; gives where the next one goes."""
        view, seal, lead, around = buffer.view, self._seal, LENGTH_SIZE + self._lead, self._around
        laid = padded = 0
        for start, end, padding in plan:
            used = PLAIN_HEADER_SIZE + end - start
            plain, place = used + padding, at + lead
            _PLAIN_HEADER.pack_into(view, place, used, record_type)
            view[place + PLAIN_HEADER_SIZE : place + used] = content[start:end]
            if padding:
                view[place + used : place + plain] = _ZEROS[:padding]
                padded += padding
            seal(buffer, at + LENGTH_SIZE, plain, record_type)
            _LENGTH.pack_into(view, at, plain + around)
            at, laid = at + plain + around, laid + plain
        self.records += len(plan)
        self.plain_bytes += laid
        self.padding_bytes += padded
        if record_type == _KEY_UPDATE:
            self.key_updates += 1
            self._schedule_update()
        return at

    def _schedule_update(self) -> None:
        """The next key update, counted from here. It is itself the last record under its key."""
        self._update_at_bytes = self.plain_bytes + UPDATE_AFTER_BYTES
        self._update_at_records = self.records + UPDATE_AFTER_RECORDS - 1

    @property
    def content_bytes(self) -> int:
        """The application's bytes, and those of alerts and the like."""
        return self.plain_bytes - self.padding_bytes - self.records * PLAIN_HEADER_SIZE


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
        "_buffer",
        "_eof",
        "_filled",
        "_least",
        "_open",
        "_opener",
        "_started",
        "_tail",
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

    def __init__(self, suite: AnySuite, key: bytes, *, expects_verdict: bool) -> None:
        self._opener = opener(suite, key)
        self._open = self._opener.open
        self._least = LENGTH_SIZE + PLAIN_HEADER_SIZE + self._opener.tag_size
        self._verdict_due = expects_verdict
        self._started = self._opener.prefix_size == 0
        self._eof = False
        self._buffer: sodium.backend.Buffer | None = None  # wire bytes from _at to _filled, while there are records
        self._at = self._filled = 0
        self._tail = b""  # and what is less than one, between two reads of the transport
        self.end: End = End.OPEN
        self.alert: Alert | None = None
        self.authenticated: bool = True
        self.failure: RemoteProtocolError | None = None
        self.accepted: bytes | None = None
        self.records: int = 0
        self.content_bytes: int = 0
        self.key_updates: int = 0

    # --- what lies in the buffer

    def space(self, least: int = READ_SIZE) -> memoryview:
        """Room for what the transport gives next, `least` bytes or more; `filled()` says how much it was."""
        if self._buffer is not None:
            self._keep_tail()
        held = len(self._tail)
        self._buffer = buffer = _take_buffer(held + least)
        self._at, self._filled = 0, held
        if not held:
            return buffer.view
        buffer.view[:held] = self._tail
        self._tail = b""
        return buffer.view[held:]

    def filled(self, size: int) -> None:
        """The transport has put `size` bytes into `space()`."""
        self._filled += size

    def feed(self, data: bytes | bytearray) -> None:
        """What one transport read gave, where it can't be read into `space()`."""
        if self.end is End.OPEN and data:
            self.space(len(data))[: len(data)] = data
            self.filled(len(data))
            if not self.has_more:
                self._keep_tail()

    def _keep_tail(self) -> None:
        """Lets go of the buffer and keeps what may be the beginning of a record, which is little."""
        if self._buffer is None:
            return
        if self._at < self._filled and self.end is End.OPEN:
            self._tail = self._buffer.view[self._at : self._filled].tobytes()
        self._drop_buffer()

    def _move_small_rest(self) -> None:
        """Holds no big buffer for a few small records that wait to be asked for."""
        buffer, rest = self._buffer, self._filled - self._at
        if buffer is None or rest > _SMALL or buffer.size <= _SMALL:
            return
        small = _take_buffer(rest)
        small.view[:rest] = buffer.view[self._at : self._filled]
        self._drop_buffer()
        self._buffer, self._filled = small, rest

    def _drop_buffer(self) -> None:
        if self._buffer is not None:
            _give_buffer(self._buffer)
        self._buffer = None
        self._at = self._filled = 0

    def feed_eof(self) -> None:
        """The transport has ended. What was fed before can still be read."""
        self._eof = True
        self._end_at_eof()

    def _end_at_eof(self) -> None:
        if self.end is not End.OPEN or self.has_more:
            return
        self._keep_tail()
        if self._is_untouched() and _is_alert_frame(self._tail):
            self.alert = Alert(decode_alert_body_untrusted(self._tail[3:]))
            self.authenticated = False
            self._finish(End.ALERTED)
        else:
            self._finish(End.TRUNCATED)

    def read(self) -> bytes:
        """The content of the records that are there, at most `RECORDS_AT_ONCE` of them, in one piece.

        b"" means that none had content, and nothing else: look at `end`, and at `has_more`.
        """
        buffer = self._buffer
        if buffer is None:
            return b""
        target = buffer if self._opener.in_place else _take_buffer(buffer.size)
        contents: list[memoryview] = []
        more = self._open_records(buffer, target, contents)
        content = contents[0].tobytes() if len(contents) == 1 else b"".join(contents)
        self.content_bytes += len(content)
        if target is not buffer:
            _give_buffer(target)
        if more:
            self._move_small_rest()
        else:
            self._keep_tail()
        if self._eof:
            self._end_at_eof()
        return content

    @property
    def verdict_due(self) -> bool:
        """Whether the server's ACCEPT is still to come."""
        return self._verdict_due

    @property
    def has_more(self) -> bool:
        """Whether `read()` would open a record without another `feed()`."""
        return self._next_length() != 0

    @property
    def is_between_records(self) -> bool:
        """Whether all that was fed has been read, the server's verdict too where one is due."""
        return self._at == self._filled and not self._tail and not self._verdict_due

    def wipe(self) -> None:
        """Forgets the key and what has not been read."""
        if self.end is End.OPEN:
            self._finish(End.TRUNCATED)
        self._drop_buffer()
        self._tail = b""
        self._opener.wipe()

    def _next_length(self) -> int:
        """The length of the record that is next, if all of it is there; 0 if not; `_WRONG` where it is wrong."""
        if self.end is not End.OPEN:
            return 0
        at, buffer = self._at, self._buffer
        available = self._filled - at
        if not self._started:
            available = self._start(available)
            at = self._at
        if available < LENGTH_SIZE or buffer is None:
            return 0
        length: int = _length_at(buffer.view, at)[0]
        if self._least <= length <= MAX_RECORD:
            return length if available >= length else 0
        return 0 if self._may_be_alert_frame(available) else _WRONG

    def _start(self, available: int) -> int:
        size = self._opener.prefix_size
        if available < size or self._buffer is None:
            return 0
        self._opener.start(bytes(self._buffer.view[self._at : self._at + size]))
        self._at += size
        self._started = True
        return available - size

    def _may_be_alert_frame(self, available: int) -> bool:
        """A refusal in clear: five bytes in place of the server's first record, and then the end."""
        if not self._is_untouched() or available > 5 or self._buffer is None:
            return False
        return _ALERT_FRAME_START.startswith(self._buffer.view[self._at : self._at + min(available, 3)].tobytes())

    def _is_untouched(self) -> bool:
        """Whether the verdict is due and nothing of the records has come, not even the prefix."""
        return self._verdict_due and self._started is (self._opener.prefix_size == 0)

    # --- records

    def _open_records(
        self, buffer: sodium.backend.Buffer, target: sodium.backend.Buffer, contents: list[memoryview]
    ) -> bool:
        """Opens what is there into `target`, each record at its own place, and adds what is data to `contents`.
        Gives whether there is more than may be opened at once."""
        view, open_, most_around = target.view, self._open, self._least - PLAIN_HEADER_SIZE
        for _ in range(RECORDS_AT_ONCE):
            if (length := self._next_length()) <= 0:
                break
            start = self._at + LENGTH_SIZE
            tag = open_(target, buffer, start, length - LENGTH_SIZE)
            size, record_type = _PLAIN_HEADER.unpack_from(view, start)
            if tag == FORGED or not PLAIN_HEADER_SIZE <= size <= length - most_around:
                self._refuse(length, tag, size)
                return False
            self._at += length
            self.records += 1
            content = view[start + PLAIN_HEADER_SIZE : start + size]
            if record_type != _DATA or tag > _DATA_TAG or self._verdict_due:
                self._take_control(record_type, tag, content.tobytes())
            elif content:
                contents.append(content)
        else:
            length = self._next_length()
        if length == _WRONG:
            self._fail(f"a record of {_length_at(buffer.view, self._at)[0]} bytes")
        return length > 0

    def _refuse(self, length: int, tag: int, size: int) -> None:
        if tag == FORGED:
            self._fail("a record that does not authenticate")
        else:
            self._fail(f"a record of {length} bytes with a size of {size}")

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

    def fail(self, failure: RemoteProtocolError) -> None:
        """What lies below has found the peer's bytes wrong. What was fed before is to be read first."""
        if self.end is End.OPEN:
            self.failure = failure
            self._finish(End.FAILED)

    def _fail(self, message: str) -> None:
        self.failure = RemoteProtocolError(message, AlertCode.BAD_RECORD)
        self._finish(End.FAILED)

    def _finish(self, end: End) -> None:
        """Nothing that came after is ever looked at."""
        self.end = end


_WRONG = -1
_KNOWN_TYPES = frozenset(RecordType)
_ALERT_FRAME_START = encode_alert_frame(1)[:3]


def _is_alert_frame(data: bytes) -> bool:
    return len(data) == 5 and data.startswith(_ALERT_FRAME_START) and data[3:] != b"\0\0"


assert _ALERT_FRAME_START[2] == Kind.ALERT
