"""Several credentials in one payload: parts that fill it exactly."""

from __future__ import annotations

from securestream.protocol.codes import AlertCode
from securestream.protocol.credentials import MAX_PARTS, decode_parts_untrusted, encode_parts

from ...protocol.support import outcome

SHOWS = "fuzz-parsers"
PARSERS = ("decode_parts_untrusted",)


def one_input(data: bytes) -> None:
    parts = outcome(decode_parts_untrusted, data)
    if isinstance(parts, list):
        assert encode_parts(parts) == data
    else:
        assert parts is AlertCode.BAD_CREDENTIALS


def seeds() -> dict[str, bytes]:
    two = encode_parts([b"signature", b"token"])
    return {
        "two": two,
        "most": encode_parts([b""] * MAX_PARTS),
        "more": b"\x09" + bytes(18),
        "cut": two[:-1],
        "longer": two + b"\0",
        "long": b"\x01\xff\xff",
        "none": b"\0",
        "empty": b"",
    }
