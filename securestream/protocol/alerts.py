"""Alerts: a code and a text that end a stream in its middle (`docs/protocol.md`, "Records").

alert = code u16 | UTF-8 message
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .codes import FIRST_OF_APPLICATION, AlertCode, code_name, is_named
from .errors import RemoteProtocolError

__all__ = ["MAX_MESSAGE_BYTES", "Alert", "AlertCode", "decode_alert_untrusted"]

# What fits a record of either suite: the smaller capacity, 16,347 bytes, less the code.
MAX_MESSAGE_BYTES = 16_345
_CODE = struct.Struct("<H")


@dataclass(frozen=True)
class Alert:
    """An alert, sent or received.

    `code`     1 to 65,535: an `AlertCode`, or a code of the application's own from 4,096 up.
    `message`  for the peer to read; at most 16,345 bytes of UTF-8. What a peer wrote is as hostile
               as any other input: `str(alert)` shows it with control characters escaped.

    Raises `ValueError` for a code or message that cannot be sent.
    """

    code: int
    message: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.code <= 0xFFFF:
            raise ValueError(f"an alert's code is between 1 and 65,535, not {self.code}")
        if len(_utf8(self.message)) > MAX_MESSAGE_BYTES:
            raise ValueError(f"an alert's message has at most {MAX_MESSAGE_BYTES} bytes of UTF-8")

    @classmethod
    def clipped(cls, code: int, message: str) -> Alert:
        """An alert from any text: what can't be encoded is replaced, what doesn't fit is cut off."""
        raw = message.encode("utf-8", "replace")[:MAX_MESSAGE_BYTES]
        return cls(code, raw.decode("utf-8", "ignore"))

    @classmethod
    def of_application(cls, code: int, message: str) -> Alert:
        """An alert that a program asks for: a code with a name, or one of its own from 4,096 up.

        Raises `TypeError` and `ValueError`.
        """
        if not isinstance(code, int) or not isinstance(message, str):
            raise TypeError("an alert has a number for a code and text for a message")
        if not is_named(code) and code < FIRST_OF_APPLICATION:
            raise ValueError(f"an alert of the application's own has a code from 4,096 up, not {code}")
        return cls(code, message)

    @property
    def name(self) -> str:
        """The code in words, stable: `"access_denied"`, `"alert_4711"`."""
        return code_name(self.code)

    def encode(self) -> bytes:
        """The content of an ALERT record."""
        return _CODE.pack(self.code) + _utf8(self.message)

    def __str__(self) -> str:
        named = f" ({self.name})" if is_named(self.code) else ""
        text = printable(self.message)
        return f"alert {int(self.code)}{named}" + (f": {text}" if text else "")


def printable(text: str) -> str:
    """`text` with all that could steer a terminal or forge a line of a log escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _utf8(message: str) -> bytes:
    try:
        return message.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise ValueError("an alert's message must be encodable as UTF-8") from exc


def decode_alert_untrusted(content: bytes) -> Alert:
    """The content of an ALERT record. Raises `RemoteProtocolError` only."""
    if len(content) < _CODE.size:
        raise RemoteProtocolError("an ALERT record without a code")
    (code,) = _CODE.unpack_from(content)
    try:
        # Clipped: a record of suite 1 has room for 15 bytes more than can be sent with either suite.
        return Alert.clipped(_known(code), content[_CODE.size :].decode("utf-8", "strict"))
    except ValueError as exc:  # code 0, or a UnicodeDecodeError
        raise RemoteProtocolError("an ALERT record of code 0 or with bad UTF-8") from exc


def _known(code: int) -> int:
    try:
        return AlertCode(code)
    except ValueError:
        return code
