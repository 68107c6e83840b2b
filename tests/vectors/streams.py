"""Streams of records, one direction each: every type, with and without padding, over key updates, to every end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from securestream.protocol.records import RecordWriter
from securestream.protocol.suites import RecordType, Suite

from ..protocol.support import BOTH_SUITES, CAPACITY, KEY
from .fixed import fixed, nothing_random

if TYPE_CHECKING:
    from collections.abc import Sequence

Writer = Literal["client", "server"]

ALERT = (5001).to_bytes(2, "little") + "no more, señor".encode()
DENIED = (7).to_bytes(2, "little") + b"this key is not on the list"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record: its type, what is in it, how many bytes of padding, and the whole of it on the wire. In a server's
    ACCEPT and in its ALERT in place of it, the padding is the verdict's."""

    type: int
    content: str
    padding: int
    record: str


@dataclass(frozen=True, kw_only=True)
class StreamVector:
    """All that one side writes. `header` stands before the first record; it is random but for this."""

    name: str
    suite: int
    key: str
    writer: Writer
    header: str
    records: list[Record]


@dataclass(frozen=True)
class Plan:
    """A record to be written. `padding` is so many bytes; None: the record is full."""

    type: RecordType
    content: bytes = b""
    padding: int | None = 0


def stream_vector(name: str, suite: Suite, writer: Writer, plans: Sequence[Plan]) -> StreamVector:
    with nothing_random():
        records = RecordWriter(suite, KEY)
    header, written = records._sealer.prefix, []
    for number, plan in enumerate(plans):
        full = CAPACITY[suite] - len(plan.content)
        padding = full if plan.padding is None else plan.padding
        verdict = writer == "server" and number == 0
        wire = (
            records.verdict(plan.type, plan.content) if verdict else records.control(plan.type, plan.content, padding)
        )
        record = wire[len(header) if number == 0 else 0 :]
        padding = len(record) - records.overhead - len(plan.content)
        written.append(Record(type=int(plan.type), content=plan.content.hex(), padding=padding, record=record.hex()))
    return StreamVector(
        name=f"{suite.name}: {name}",
        suite=int(suite),
        key=KEY.hex(),
        writer=writer,
        header=header.hex(),
        records=written,
    )


def streams_of(suite: Suite) -> list[StreamVector]:
    data, update = RecordType.DATA, Plan(RecordType.KEY_UPDATE)
    everything = [
        Plan(data, b"hello"),
        Plan(data, b"padded", 100),
        Plan(data, b"", 700),
        update,
        Plan(data, b"under the second key"),
        Plan(RecordType.KEY_UPDATE, b"", 300),
        update,
        Plan(data, b"under the fourth key"),
        Plan(RecordType.CLOSE, b"", 50),
    ]
    largest = [
        Plan(data, fixed("as much as a record holds", CAPACITY[suite])),
        Plan(data, b"little in a full record", None),
        Plan(RecordType.CLOSE),
    ]
    return [
        stream_vector("data, empty data, key updates, padding, CLOSE", suite, "client", everything),
        stream_vector("full records", suite, "client", largest),
        stream_vector("nothing but CLOSE", suite, "client", [Plan(RecordType.CLOSE)]),
        stream_vector(
            "ACCEPT, data, an alert", suite, "server",
            [Plan(RecordType.ACCEPT), Plan(data, b"some"), update, Plan(RecordType.ALERT, ALERT, 40)],
        ),
        stream_vector(
            "ACCEPT with an answer, CLOSE", suite, "server",
            [Plan(RecordType.ACCEPT, b"an answer"), Plan(RecordType.CLOSE)],
        ),
        stream_vector(
            "ACCEPT with a long answer", suite, "server", [Plan(RecordType.ACCEPT, fixed("a long answer", 1_000))]
        ),
        stream_vector("a refusal", suite, "server", [Plan(RecordType.ALERT, DENIED)]),
    ]  # fmt: skip


def stream_vectors() -> list[StreamVector]:
    return [vector for suite in BOTH_SUITES for vector in streams_of(suite)]
