"""Frames out of a stream of bytes: the same ones however the stream is cut, and a refusal is for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from securestream.protocol.codes import AlertCode
from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.messages import LENGTHS, FrameReader, Kind, encode_alert_frame, encode_frame
from securestream.protocol.strangers import stranger_untrusted

from ...protocol.support import new_client, outcome
from ..choices import Choices

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWS = "fuzz-parsers"
PARSERS = ("stranger_untrusted",)

Seen = tuple[list[tuple[Kind, bytes]], bool, bytes]


def one_input(data: bytes) -> None:
    choices = Choices(data)
    mask = choices.byte()
    expected = {kind for kind in Kind if mask >> kind & 1}
    pieces = choices.pieces(wire := choices.rest())
    seen = frames_in(pieces or [wire], expected)
    assert seen == frames_in([wire], expected)
    frames, refused, rest = seen
    assert b"".join(encode_frame(*frame) for frame in frames) + rest == wire
    assert all(kind in expected for kind, _ in frames)
    assert all(any(len(body) + 3 in lengths for lengths in LENGTHS[kind]) for kind, body in frames)
    assert (stranger_untrusted(wire[:3]) or "-").isprintable()
    assert refused or len(rest) < 3 or len(rest) < int.from_bytes(rest[:2], "little")


def frames_in(pieces: Sequence[bytes], expected: set[Kind]) -> Seen:
    """The frames, whether one was refused, and what is left."""
    reader, frames, refused = FrameReader(), list[tuple[Kind, bytes]](), False
    for piece in pieces:
        reader.feed(piece)
        try:
            while (frame := reader.next_frame(expected)) is not None:
                frames.append(frame)
        except RemoteProtocolError:
            refused = True
        if refused:
            assert outcome(reader.next_frame, expected) is AlertCode.PROTOCOL_ERROR
    return frames, refused, reader.take_rest()


def seeds() -> dict[str, bytes]:
    hello, alert = new_client().hello(), encode_alert_frame(10)
    wires = {"hello": hello, "alert": alert, "joined": hello + alert, "cut": hello[:50], "least": hello[:3]}
    made = {name: b"\xff\2\1\0\5\0" + wire for name, wire in wires.items()}
    most = encode_frame(Kind.HELLO, bytes(357))
    made |= {name: b"\xff\0" + first for name, first in {"http": b"GET /", "tls": b"\x16\3\1\2\0"}.items()}
    return made | {
        "other_kind": b"\x04\0" + hello,
        "longest": b"\2\0" + most,
        "single_bytes": b"\xff\7" + hello + alert,
    }
