"""The alert in clear: two bytes, not both zero."""

from __future__ import annotations

from securestream.protocol.codes import AlertCode
from securestream.protocol.messages import decode_alert_body_untrusted, encode_alert_frame

from ...protocol.support import outcome

SHOWS = "fuzz-parsers"
PARSERS = ("decode_alert_body_untrusted",)


def one_input(data: bytes) -> None:
    code = outcome(decode_alert_body_untrusted, data)
    if len(data) == 2 and data != b"\0\0":
        assert code == int.from_bytes(data, "little")
        assert encode_alert_frame(code)[3:] == data
    else:
        assert code is AlertCode.PROTOCOL_ERROR


def seeds() -> dict[str, bytes]:
    return {"busy": b"\x0a\x00", "zero": b"\0\0", "own": b"\xff\xff", "short": b"\x01", "long": b"\x01\x00\x00"}
