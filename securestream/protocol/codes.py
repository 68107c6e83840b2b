"""The alert codes of the wire (`docs/protocol.md`, "Alert codes")."""

from __future__ import annotations

import enum


class AlertCode(enum.IntEnum):
    """Why a stream ended early. 4,096 and up belong to the application."""

    APPLICATION_ERROR = 1
    BAD_RESPONSE = 2
    UNSUPPORTED_VERSION = 3
    NO_COMMON_SUITE = 4
    UNKNOWN_SERVER_KEY = 5
    BAD_SECRET = 6
    ACCESS_DENIED = 7
    BAD_CREDENTIALS = 8
    HANDSHAKE_TIMEOUT = 9
    BUSY = 10
    PROTOCOL_ERROR = 11
    BAD_RECORD = 12
    INTERNAL_ERROR = 13
    SHUTTING_DOWN = 14
    BACKEND_UNAVAILABLE = 15
    IDLE_TIMEOUT = 16
    INAPPROPRIATE_FALLBACK = 17


# `docs/protocol.md`, "Alert codes": from here up they are the application's own.
FIRST_OF_APPLICATION = 4_096


def is_named(code: int) -> bool:
    """Whether the protocol has a name for this code."""
    return code in _NAMES


def code_name(code: int) -> str:
    """A stable name for any code: `"access_denied"`, or `"alert_4711"` for one without a name."""
    return _NAMES.get(code, f"alert_{code}")


_NAMES: dict[int, str] = {int(code): code.name.lower() for code in AlertCode}
