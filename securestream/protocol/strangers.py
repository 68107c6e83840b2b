"""What else comes to a port, by the first three bytes: so that who reads the refusal knows what to look at.

Nothing is decided here. What these bytes begin was refused before they were looked at.
"""

from __future__ import annotations

_HTTP = (b"GET", b"HEA", b"POS", b"PUT", b"DEL", b"OPT", b"CON", b"PRI", b"HTT")
_TLS = tuple(bytes([record, 3, minor]) for record in (0x15, 0x16) for minor in (1, 2, 3))  # an alert, a handshake
_PROXY = (b"PRO", b"\r\n\r")  # version 1, version 2

_WORDS = {
    **dict.fromkeys(_HTTP, "the other side speaks HTTP, not securestream"),
    **dict.fromkeys(_TLS, "the other side speaks TLS, and this side's keys are not for TLS"),
    **dict.fromkeys(_PROXY, "a header of the PROXY protocol: it is taken in version 2, and from listed proxies only"),
    b"SSH": "the other side speaks SSH, not securestream",
}


def stranger_untrusted(first: bytes) -> str | None:
    """In words, what begins with these three bytes; None for what is not known here."""
    return _WORDS.get(first)
