"""What the two sides say to each other: one question, and then its answers.

    question = {id, call}            call = query | ingest | append
    answers  = rows* (done | refused)

Each is one message of a `MessageChannel`, at most 1 MiB unless configured otherwise, so its size is judged before any
of it is stored. Inside is MessagePack, by msgspec: what comes is checked against the types below while it is decoded
(kinds, ranges, lengths, unknown fields), so that the server never holds a question that is half right.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

import securestream as ss

if TYPE_CHECKING:
    from collections.abc import Generator

# Alert codes of this protocol's own, from 4,096 up.
DATABASE_FAILED = 5_001
CALL_TOOK_TOO_LONG = 5_002

Symbol = Annotated[str, Meta(min_length=1, max_length=32)]
RequestId = Annotated[bytes, Meta(min_length=1, max_length=4_096)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Tick(Struct, frozen=True, forbid_unknown_fields=True):
    """One trade: a symbol, a price in cents, and how many."""

    symbol: Symbol
    price: Count
    size: Count


class Query(Struct, frozen=True, forbid_unknown_fields=True, tag="query"):
    """All ticks of a symbol. Answered by rows, and then by their number."""

    symbol: Symbol


class Ingest(Struct, frozen=True, forbid_unknown_fields=True, tag="ingest"):
    """One more tick. Answered by how many of its symbol there are."""

    tick: Tick


class Append(Struct, frozen=True, forbid_unknown_fields=True, tag="append"):
    """A segment of a replicated log, to follow the first `position` ones. Answered by how many there are."""

    position: Count
    segment: bytes


Call = Query | Ingest | Append


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    """A call under an id of the client's choice: the same id again is the same question again."""

    id: RequestId
    call: Call


class Rows(Struct, frozen=True, forbid_unknown_fields=True, tag="rows"):
    """A part of an answer."""

    ticks: list[Tick]


class Done(Struct, frozen=True, forbid_unknown_fields=True, tag="done"):
    """The end of an answer."""

    count: Count


class Refused(Struct, frozen=True, forbid_unknown_fields=True, tag="refused"):
    """No answer, and why. The connection is as good as before."""

    reason: str


Answer = Rows | Done | Refused


class BadContent(ss.StreamFailure):
    """A message that isn't what it should be; its sender is told what is wrong with it."""

    def __init__(self, why: str) -> None:
        super().__init__(ss.AlertCode.PROTOCOL_ERROR, why)


def encode(message: Question | Call | Answer) -> bytes:
    return msgspec.msgpack.encode(message)


def decode_question_untrusted(content: bytes) -> Question:
    """Raises `BadContent`, and nothing else."""
    with _refusing("no question"):
        return _questions.decode(content)


def decode_answer_untrusted(content: bytes) -> Answer:
    """Raises `BadContent`, and nothing else."""
    with _refusing("no answer"):
        return _answers.decode(content)


_questions = msgspec.msgpack.Decoder(Question)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


@contextmanager
def _refusing(what: str) -> Generator[None, None, None]:
    """One error for all that a decoder raises: for kinds and ranges, for text that is no UTF-8, for too deep a nest."""
    try:
        yield
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise BadContent(f"{what}: {exc}"[:_MAX_REASON]) from exc


_MAX_REASON = 200  # characters; the rest of a reason may be the sender's own text, however long
