"""Private keys and shared secrets on disk: text files that only their owner can read.

    # created: 2026-01-31T12:00:00Z
    # public key: 44 characters of base64
    ss-secret:44 characters of base64

Empty lines and lines that begin with `#` mean nothing. Exactly one line holds the secret. What is raised here
names the file and the line, and never says what is in it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shlex
import stat
import sys
from typing import IO, TYPE_CHECKING, TypeVar

from ..protocol.keys import PrivateKey, SharedSecret

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
StrPath = str | os.PathLike[str]

MAX_FILE_SIZE = 65_536
STANDARD_INPUT = "-"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class KeyFileError(ValueError):
    """A file that is there and can't be used: what is in it, its size, or who can read it."""


def key_file_text(key: PrivateKey) -> str:
    """What a key file says. It holds the secret."""
    created = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"# created: {created}\n# public key: {key.public_key}\n{key.to_text()}\n"


def write_key_file(path: StrPath, key: PrivateKey) -> None:
    """Writes `key` to a new file, readable by its owner only from the first moment.

    Raises `FileExistsError` where there is anything of that name, a symbolic link too, and other `OSError`.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(key_file_text(key))
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def read_key_file(path: StrPath) -> PrivateKey:
    """The private key in a file; `"-"` reads standard input.

    Raises `KeyFileError` (a `ValueError`) for a file that others can read, that is longer than 64 KiB, or that
    doesn't hold exactly one private key; `OSError` where it can't be read.
    """
    return _read_secret(path, PrivateKey.from_text, "private key", "ss-secret:")


def read_secret_file(path: StrPath) -> SharedSecret:
    """The shared secret in a file: a line `ss-shared:...`, the rest as in a key file.

    Raises what `read_key_file` does.
    """
    return _read_secret(path, SharedSecret.from_text, "shared secret", "ss-shared:")


def _read_secret(path: StrPath, parse: Callable[[str], T], what: str, prefix: str) -> T:
    name, data = _read_private(path)
    found: T | None = None
    # A stray byte is replaced and not decoded: in a comment it does no harm, in a secret it is an error below.
    for number, line in enumerate(data.decode("utf-8-sig", "replace").split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if found is not None:
            raise KeyFileError(f"{name}, line {number}: a second {what}; a file holds one")
        # Without its prefix it could be anything, a public key for one.
        if not line.startswith("ss-"):
            raise KeyFileError(f"{name}, line {number}: not a {what}, which starts with {prefix}")
        try:
            found = parse(line)
        except ValueError as exc:
            raise KeyFileError(f"{name}, line {number}: {exc}") from None
    if found is None:
        raise KeyFileError(f"{name}: no {what} in it: a line that starts with {prefix}")
    return found


def _read_private(path: StrPath) -> tuple[str, bytes]:
    """What to call the file, and its content."""
    if path == STANDARD_INPUT:
        if sys.stdin is None:  # closed by whoever started this program
            raise KeyFileError("standard input is closed")
        return "standard input", _read_bounded("standard input", sys.stdin.buffer)
    name = os.fspath(path)
    with open(path, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        if status.st_size > MAX_FILE_SIZE:
            raise KeyFileError(_too_long(name))
        data = _read_bounded(name, file)
        # Only of a file that does hold a secret: who named /etc/passwd by mistake must not be told to lock it up.
        if status.st_mode & _OTHERS and b"ss-s" in data:
            raise KeyFileError(f"{name} is open to others than its owner; to mend it: chmod 600 {shlex.quote(name)}")
        return name, data


def _read_bounded(name: str, file: IO[bytes]) -> bytes:
    """All of it, or an error once there is more than a key file has: a pipe or a device tells no size."""
    data = b""
    while chunk := file.read(MAX_FILE_SIZE + 1 - len(data)):
        data += chunk
        if len(data) > MAX_FILE_SIZE:
            raise KeyFileError(_too_long(name))
    return data


def _too_long(name: str) -> str:
    return f"{name} is longer than {MAX_FILE_SIZE:,} bytes: not a key file"
