"""What the two sides say to each other: one file over one stream.

    client          request               to put a file, or to get one
    who sends       size                  of the whole file
    who keeps       have                  so many bytes are here already, and this is their SHA-256
    who sends       from                  there, if its own file begins with the same bytes; else from 0
    who sends       chunk*                as many bytes as are missing
    who sends       sent                  the SHA-256 of the whole file
    who keeps       kept                  it is whole, on the disk, and under its name

Each is one message of a `MessageChannel`: chunks are bytes of the file, the others JSON that is checked against the
types below while it is decoded. What can't go on ends the stream with an alert, from either side at any time.
"""

from __future__ import annotations

import enum
from typing import Annotated, Literal, TypeVar

import msgspec
import trio
from msgspec import Meta, Struct

import securestream as ss

CHUNK_BYTES = 2**18  # no message is longer
MAX_NAME_BYTES = 200
QUIET_SECONDS = 60  # for the other side to send, or to take, one message

T = TypeVar("T")
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Request(Struct, frozen=True, forbid_unknown_fields=True, tag="request"):
    """What the client wants to do: put a file there, or get one from there."""

    action: Literal["put", "get"]
    name: str


class Size(Struct, frozen=True, forbid_unknown_fields=True, tag="size"):
    size: Count


class Have(Struct, frozen=True, forbid_unknown_fields=True, tag="have"):
    size: Count
    digest: Digest


class From(Struct, frozen=True, forbid_unknown_fields=True, tag="from"):
    offset: Count


class Sent(Struct, frozen=True, forbid_unknown_fields=True, tag="sent"):
    digest: Digest


class Kept(Struct, frozen=True, forbid_unknown_fields=True, tag="kept"):
    pass


Message = Request | Size | Have | From | Sent | Kept


class Why(enum.IntEnum):
    """The alerts of this protocol. They are about the file, so that it helps nothing to connect again."""

    BAD_NAME = 5_001
    NO_SUCH_FILE = 5_002
    FILE_EXISTS = 5_003
    FILE_BUSY = 5_004
    TOO_LARGE = 5_005
    CANT_KEEP = 5_006
    CANT_READ = 5_007
    DIGEST_DIFFERS = 5_008


class TransferFailed(ss.StreamFailure):
    """A transfer that can't go on; the other side is told why."""

    def __init__(self, code: Why | ss.AlertCode, message: str) -> None:
        super().__init__(code, message)


async def send(channel: ss.MessageChannel, message: Message | bytes) -> None:
    """Raises `TransferFailed` where the other side doesn't take it in time, and what streams raise."""
    content = message if isinstance(message, bytes) else msgspec.json.encode(message)
    with trio.move_on_after(QUIET_SECONDS) as scope:
        await channel.send(content)
    if scope.cancelled_caught:
        raise _too_quiet()


async def receive(channel: ss.MessageChannel, kind: type[T]) -> T:
    """The next message, which is to be of that kind. Raises what `receive_chunk` does."""
    content = await receive_chunk(channel)
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise broken_off(f"this is no {kind.__name__.lower()}: {exc}"[:200]) from exc


async def receive_chunk(channel: ss.MessageChannel) -> bytes:
    """The next message. Raises `TransferFailed` where none comes in time or ever, and what streams raise."""
    try:
        with trio.move_on_after(QUIET_SECONDS):
            return await channel.receive()
    except trio.EndOfChannel:
        raise broken_off("the other side has ended before the file did") from None
    raise _too_quiet()


def broken_off(why: str) -> TransferFailed:
    """For what no honest peer does."""
    return TransferFailed(ss.AlertCode.PROTOCOL_ERROR, why)


def _too_quiet() -> TransferFailed:
    return TransferFailed(ss.AlertCode.IDLE_TIMEOUT, f"nothing has moved for {QUIET_SECONDS} s")
