"""A line of a key file, locked with a passphrase.

    ss-encrypted:argon2id:t=3:m=262144:<salt>:<box>

    key = Argon2id(passphrase, salt, t passes over m KiB), 32 bytes     RFC 9106; libsodium's crypto_pwhash
    box = secretbox(key, the line that is locked)                       libsodium: nonce, tag, then XSalsa20

`salt` (16 bytes) and `box` are base64. What is locked is a whole line, `ss-secret:...` or `ss-shared:...`, so that one
kind of secret can't be passed off as another. Whoever wrote the file chose `t` and `m`: they are held against bounds
before any memory is taken.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import nacl.exceptions
from nacl.pwhash import argon2id
from nacl.secret import SecretBox
from nacl.utils import random

from ..protocol.keys import from_base64

Passphrase = str | bytes | Callable[[], str | bytes]
"""A passphrase, or what asks for one; it is called only where a file is locked."""

PREFIX: Final = "ss-encrypted:"
MAX_PASSPHRASE = 4_096  # bytes
_MAX_PASSES = 10
_MAX_KIB = 512 * 1_024
_MIN_KIB = argon2id.MEMLIMIT_MIN // 1_024
_LINE = re.compile(r"argon2id:t=([0-9]{1,2}):m=([0-9]{1,6}):([A-Za-z0-9+/=]{24}):([A-Za-z0-9+/=]{40,16384})")


class WrongPassphrase(ValueError):
    """The passphrase doesn't open the line; or the line was changed, which looks the same."""


@dataclass(frozen=True)
class Cost:
    """What a guess costs: `passes` over `kib` KiB of memory. Raises `ValueError` for more than a reader would take."""

    passes: int
    kib: int

    def __post_init__(self) -> None:
        if not 1 <= self.passes <= _MAX_PASSES or not _MIN_KIB <= self.kib <= _MAX_KIB:
            raise ValueError(
                f"its passphrase would take {self.passes} passes over {self.kib:,} KiB; "
                f"at most {_MAX_PASSES} over {_MAX_KIB:,} are taken"
            )


USUAL_COST = Cost(argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE // 1_024)


def lock(line: str, passphrase: Passphrase, cost: Cost | None = None) -> str:
    """The line that holds `line`, locked. By default a guess takes 256 MiB and about a second.

    Raises `ValueError` for an empty passphrase or one of more than 4,096 bytes, `TypeError` for what is none.
    """
    cost = cost or USUAL_COST
    salt = random(argon2id.SALTBYTES)
    box = SecretBox(_derive(passphrase, salt, cost)).encrypt(line.encode())
    return f"{PREFIX}argon2id:t={cost.passes}:m={cost.kib}:{_text(salt)}:{_text(box)}"


def unlock(line: str, passphrase: Passphrase) -> str:
    """What is locked in `line`. Raises `WrongPassphrase`, and `ValueError` for a line that can't be read."""
    match = _LINE.fullmatch(line.removeprefix(PREFIX))
    salt, box = (from_base64(part) for part in match.groups()[2:]) if match else (None, None)
    if match is None or salt is None or box is None or len(salt) != argon2id.SALTBYTES:
        raise ValueError("not a locked secret: it is cut short, or of another version")
    cost = Cost(int(match[1]), int(match[2]))
    try:
        return SecretBox(_derive(passphrase, salt, cost)).decrypt(box).decode("ascii", "replace")
    except nacl.exceptions.CryptoError:
        raise WrongPassphrase("the passphrase is wrong, or the line was changed") from None


def passphrase_bytes(passphrase: Passphrase) -> bytes:
    """The passphrase, asked for where it is a callable. Raises `ValueError` and `TypeError` for what can't be one."""
    given = passphrase() if callable(passphrase) else passphrase
    if not isinstance(given, str | bytes):
        raise TypeError(f"a passphrase is text or bytes, not {type(given).__name__}")
    password = _encoded(given) if isinstance(given, str) else given
    if not 1 <= len(password) <= MAX_PASSPHRASE:
        raise ValueError(f"a passphrase has 1 to {MAX_PASSPHRASE:,} bytes, not {len(password):,}")
    return password


def _derive(passphrase: Passphrase, salt: bytes, cost: Cost) -> bytes:
    password = passphrase_bytes(passphrase)
    try:
        return argon2id.kdf(SecretBox.KEY_SIZE, password, salt, opslimit=cost.passes, memlimit=cost.kib * 1_024)
    except nacl.exceptions.RuntimeError:  # libsodium says no more than that it failed
        raise ValueError(f"there are no {cost.kib:,} KiB of memory to derive a key in") from None


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")  # a terminal's bytes, whatever they are
    except UnicodeEncodeError:
        raise ValueError("a passphrase is text that has a form in UTF-8") from None


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
