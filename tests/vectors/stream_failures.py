"""Streams of records with one fault each, and streams that end early, with what their reader makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from securestream.protocol.codes import AlertCode
from securestream.protocol.messages import encode_alert_frame
from securestream.protocol.suites import RecordType, Suite

from ..protocol.support import BOTH_SUITES, KEY, OVERHEAD, Forger, flipped
from .fixed import HEADER

if TYPE_CHECKING:
    from .streams import Writer

Make = Callable[[Forger], bytes]

BAD_RECORD, PROTOCOL_ERROR = int(AlertCode.BAD_RECORD), int(AlertCode.PROTOCOL_ERROR)
DATA, ALERT, CLOSE, KEY_UPDATE, ACCEPT = RecordType


@dataclass(frozen=True, kw_only=True)
class StreamFailure:
    """What one side reads, up to the transport's end: the content that is delivered, and then exactly one of these.

    `refused`         the code of the alert that the reader sends
    `truncated`       the transport has ended, the stream has not
    `closed`          the writer's end in order; what stands behind it is not looked at
    `alert`           the writer's, as a record
    `alert_in_clear`  the server's alert frame in place of its first record
    """

    name: str
    suite: int
    key: str
    writer: Writer
    stream: str
    content: str
    refused: int | None = None
    truncated: bool = False
    closed: bool = False
    alert: int | None = None
    alert_in_clear: int | None = None


@dataclass(frozen=True)
class Faults:
    """Makes the vectors of one suite."""

    suite: Suite

    def fault(
        self,
        name: str,
        make: Make,
        refused: int | None = None,
        *,
        truncated: bool = False,
        closed: bool = False,
        alert: int | None = None,
    ) -> StreamFailure:
        """From a client: the record "before", and then what `make` makes."""
        forger = Forger(self.suite, header=HEADER)
        stream = forger.prefix + forger.record(DATA, b"before") + make(forger)
        return StreamFailure(
            name=f"{self.suite.name}: {name}",
            suite=int(self.suite),
            key=KEY.hex(),
            writer="client",
            stream=stream.hex(),
            content=b"before".hex(),
            refused=refused,
            truncated=truncated,
            closed=closed,
            alert=alert,
        )

    def start(
        self,
        name: str,
        make: Make,
        refused: int | None = None,
        *,
        truncated: bool = False,
        alert_in_clear: int | None = None,
    ) -> StreamFailure:
        """From a server: nothing but what `make` makes, the suite's header too."""
        return StreamFailure(
            name=f"{self.suite.name}: {name}",
            suite=int(self.suite),
            key=KEY.hex(),
            writer="server",
            stream=make(Forger(self.suite, header=HEADER)).hex(),
            content="",
            refused=refused,
            truncated=truncated,
            alert_in_clear=alert_in_clear,
        )


def just(data: bytes) -> Make:
    """Bytes that no key has touched."""
    return lambda _: data


def stream_failures() -> list[StreamFailure]:
    return [
        failure
        for faults in map(Faults, BOTH_SUITES)
        for failure in [*lengths(faults), *forgeries(faults), *rules(faults), *verdicts(faults), *ends(faults)]
    ] + tags(Faults(Suite.XCHACHA20_POLY1305))


def lengths(faults: Faults) -> list[StreamFailure]:
    def told(length: int) -> Make:
        return lambda forger: length.to_bytes(2, "little") + forger.record(DATA, bytes(100))[2:]

    def sized(size: int) -> Make:
        return lambda forger: forger.record(DATA, b"content", size=size)

    least = OVERHEAD[faults.suite]
    return [
        faults.fault("a length of 0", told(0), BAD_RECORD),
        faults.fault("a length below the least", told(least - 1), BAD_RECORD),
        faults.fault("a length above 16,384", told(16_385), BAD_RECORD),
        faults.fault("a length of another record", told(least + 99), BAD_RECORD),
        faults.fault("a size of 0", sized(0), BAD_RECORD),
        faults.fault("a size of 2", sized(2), BAD_RECORD),
        faults.fault("a size one beyond the plain bytes", sized(11), BAD_RECORD),
        faults.fault("a size of 65,535", sized(65_535), BAD_RECORD),
    ]


def forgeries(faults: Faults) -> list[StreamFailure]:
    def bit_of_byte(at: int) -> Make:
        def make(forger: Forger) -> bytes:
            record = forger.record(DATA, b"content")
            return flipped(record, 8 * (at % len(record)))

        return make

    def swapped(forger: Forger) -> bytes:
        first, second = forger.record(DATA, b"first"), forger.record(DATA, b"other")
        return second + first

    def without_one(forger: Forger) -> bytes:
        forger.record(DATA, b"lost")
        return forger.record(DATA, b"behind it")

    def under_the_old_key(forger: Forger) -> bytes:
        forger.record(KEY_UPDATE)  # nobody is told
        return forger.record(DATA, b"under the next key")

    return [
        faults.fault("one bit of the first sealed byte", bit_of_byte(2), BAD_RECORD),
        faults.fault("one bit of the tag", bit_of_byte(-1), BAD_RECORD),
        faults.fault("a record once more", lambda forger: forger.record(DATA) * 2, BAD_RECORD),
        faults.fault("two records that are swapped", swapped, BAD_RECORD),
        faults.fault("a record is missing", without_one, BAD_RECORD),
        faults.fault("a key update is missing", under_the_old_key, BAD_RECORD),
    ]


def rules(faults: Faults) -> list[StreamFailure]:
    def record(record_type: int, content: bytes = b"") -> Make:
        return lambda forger: forger.record(record_type, content)

    return [
        faults.fault("a record of type 5", record(5), PROTOCOL_ERROR),
        faults.fault("a record of type 255", record(255, b"content"), PROTOCOL_ERROR),
        faults.fault("content in CLOSE", record(CLOSE, b"x"), PROTOCOL_ERROR),
        faults.fault("content in KEY_UPDATE", record(KEY_UPDATE, b"x"), PROTOCOL_ERROR),
        faults.fault("an ALERT of 1 byte", record(ALERT, b"\1"), PROTOCOL_ERROR),
        faults.fault("an ALERT of code 0", record(ALERT, b"\0\0text"), PROTOCOL_ERROR),
        faults.fault("an ALERT with bad UTF-8", record(ALERT, b"\1\0\xff"), PROTOCOL_ERROR),
        faults.fault("an ALERT with half a surrogate pair", record(ALERT, b"\1\0\xed\xa0\x80"), PROTOCOL_ERROR),
        faults.fault("ACCEPT of a client", record(ACCEPT), PROTOCOL_ERROR),
    ]


def verdicts(faults: Faults) -> list[StreamFailure]:
    def records(*types: RecordType) -> Make:
        return lambda forger: forger.prefix + b"".join(forger.record(record_type) for record_type in types)

    frame = encode_alert_frame(9)
    return [
        faults.start("the server begins with DATA", records(DATA), PROTOCOL_ERROR),
        faults.start("the server begins with CLOSE", records(CLOSE), PROTOCOL_ERROR),
        faults.start("the server begins with KEY_UPDATE", records(KEY_UPDATE), PROTOCOL_ERROR),
        faults.start("a second ACCEPT", records(ACCEPT, ACCEPT), PROTOCOL_ERROR),
        faults.start("nothing but an alert frame in clear", just(frame), alert_in_clear=9),
        faults.start("an alert frame in clear of code 0", just(b"\5\0\4\0\0"), truncated=True),
        faults.start("the beginning of an alert frame", just(b"\5\0\4\1"), truncated=True),
        faults.start("an alert frame behind ACCEPT", lambda forger: records(ACCEPT)(forger) + frame, BAD_RECORD),
        faults.start("nothing at all", just(b""), truncated=True),
    ]


def ends(faults: Faults) -> list[StreamFailure]:
    def then(record_type: RecordType, content: bytes = b"") -> Make:
        return lambda forger: forger.record(record_type, content) + forger.record(DATA, b"too late") + b"\xff" * 10

    return [
        faults.fault("the end without CLOSE", just(b""), truncated=True),
        faults.fault("the end in a length", just(b"\x40"), truncated=True),
        faults.fault("the end in a record", lambda forger: forger.record(DATA, b"content")[:-1], truncated=True),
        faults.fault("a record and garbage behind CLOSE", then(CLOSE), closed=True),
        faults.fault("a record and garbage behind ALERT", then(ALERT, b"\x69\x12why"), alert=0x1269),
    ]


def tags(faults: Faults) -> list[StreamFailure]:
    """Of suite 1 alone: what the type says and libsodium's tag doesn't."""

    def record(record_type: int, tag: int, content: bytes = b"") -> Make:
        return lambda forger: forger.record(record_type, content, tag=tag)

    return [
        faults.fault("DATA with the tag PUSH", record(DATA, 1), BAD_RECORD),
        faults.fault("DATA with the tag REKEY", record(DATA, 2), BAD_RECORD),
        faults.fault("DATA with the tag FINAL", record(DATA, 3), BAD_RECORD),
        faults.fault("CLOSE with the tag MESSAGE", record(CLOSE, 0), BAD_RECORD),
        faults.fault("ALERT with the tag MESSAGE", record(ALERT, 0, b"\1\0"), BAD_RECORD),
        faults.fault("KEY_UPDATE with the tag MESSAGE", record(KEY_UPDATE, 0), BAD_RECORD),
        faults.fault("an unknown type with the tag FINAL", record(9, 3), PROTOCOL_ERROR),
    ]
