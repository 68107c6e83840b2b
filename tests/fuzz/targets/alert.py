"""An ALERT record's content: a code and a text, and neither can steer a terminal."""

from __future__ import annotations

from securestream.protocol.alerts import MAX_MESSAGE_BYTES, Alert, AlertCode, decode_alert_untrusted

from ...protocol.support import outcome

SHOWS = "fuzz-parsers"
PARSERS = ("decode_alert_untrusted",)


def one_input(data: bytes) -> None:
    alert = outcome(decode_alert_untrusted, data)
    if isinstance(alert, Alert):
        assert data.startswith(alert.encode())
        assert alert.encode() == data or len(data) > 2 + MAX_MESSAGE_BYTES
        assert str(alert).isprintable()
        assert alert.name == alert.name.strip()
    else:
        assert alert is AlertCode.PROTOCOL_ERROR
        assert data[:2] in (b"", data[:1], b"\0\0") or not is_utf8(data[2:])


def is_utf8(text: bytes) -> bool:
    return text.decode("utf-8", "ignore").encode() == text


def seeds() -> dict[str, bytes]:
    texts = {"plain": b"back soon", "wide": "Grüße, 世界 🙂".encode(), "control": b"\x1b[2J\r\n\0", "cut": b"caf\xc3"}
    made = {name: b"\x07\x00" + text for name, text in texts.items()}
    made |= {"surrogate": b"\x07\x00\xed\xa0\x80", "code_0": b"\0\0text", "own_code": b"\x67\x12", "short": b"\x01"}
    return made | {"too_long": b"\x01\x00" + "é".encode() * 8_180, "empty": b""}
