"""What else comes to a port, by the first three bytes: so that who reads the refusal knows what to look at.

Nothing is decided here. What these bytes begin was refused before they were looked at.
"""

from __future__ import annotations

_HTTP = (b"GET", b"HEA", b"POS", b"PUT", b"DEL", b"OPT", b"CON", b"PRI", b"HTT")
_TLS = tuple(bytes([record, 3, minor]) for record in (0x15, 0x16) for minor in (1, 2, 3))  # an alert, a handshake
_NAMES = {**dict.fromkeys(_HTTP, "HTTP"), **dict.fromkeys(_TLS, "TLS"), b"SSH": "SSH"}
_PROXY = (b"PRO", b"\r\n\r")  # version 1, version 2


def stranger_untrusted(first: bytes) -> str | None:
    """In words, what begins with these three bytes; None for what is not known here."""
    if first in _PROXY:
        return "a header of the PROXY protocol: it is taken in version 2, and from listed proxies only"
    name = _NAMES.get(first)
    return name and f"the other side speaks {name}, not securestream"
