"""The hybrid handshake's choice: whether a side uses ML-KEM beside X25519, and whether this machine can.

Sizes are FIPS 203's, table 3. The algorithm itself is in `mlkem.py`, which needs the extra `pq`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

PostQuantum = Literal["prefer", "require", "off"]
"""A server's choice: to take clients with and without the hybrid mode, with it alone, or not to know of it."""

ClientPostQuantum = Literal["prefer", "require", "off", "fallback"]
"""A client's choice. "fallback" is classical, and says in the hello that a hybrid one was refused, so that a server
that takes those refuses this: somebody on the way has made the refusal up (as RFC 7507 has it for TLS)."""

ENCAPSULATION_KEY_SIZE = 1_184
CIPHERTEXT_SIZE = 1_088

T_Choice = TypeVar("T_Choice", ClientPostQuantum, PostQuantum)


@cache
def available() -> bool:
    """Whether there is ML-KEM-768 here: `cryptography` of the extra `pq`, over a library that has it."""
    try:
        from . import mlkem
    except ImportError:
        return False
    return mlkem.is_supported()


def what_can_be(wanted: T_Choice, choices: Sequence[T_Choice]) -> T_Choice:
    """`wanted` on this machine: without the extra, who prefers it does without it. Raises `ValueError` for what is
    not one of `choices`, and for what is required and can't be."""
    if wanted not in choices:
        raise ValueError(f"post_quantum is one of {', '.join(choices)}, not {wanted!r}")
    if wanted in ("off", "fallback") or available():
        return wanted
    if wanted == "require":
        raise ValueError("to require the post-quantum handshake needs the extra `pq`: pip install 'securestream[pq]'")
    return "off"
