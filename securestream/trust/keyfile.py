"""Private keys and shared secrets on disk: text files that only their owner can read.

    # created: 2026-01-31T12:00:00Z
    # public key: 44 characters of base64
    ss-secret:44 characters of base64

Empty lines and lines that begin with `#` mean nothing. Exactly one line holds the secret; locked with a passphrase it
is `ss-encrypted:...` (`passphrase.py`), and for TLS `ss-ed25519:...`. Keys for TLS may be PEM, too. What is raised here
names the file and the line, and never says what is in it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shlex
import stat
import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Generic, TypeVar

from ..protocol.keys import ED25519_PREFIX, PrivateKey, SharedSecret
from ..protocol.tls_keys import OwnKey, TlsPrivateKey, parse_own_key
from . import passphrase as locks

if TYPE_CHECKING:
    from collections.abc import Callable

    from .passphrase import Passphrase

T = TypeVar("T")
StrPath = str | os.PathLike[str]

MAX_FILE_SIZE = 65_536
STANDARD_INPUT = "-"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MARKS = (b"ss-s", b"ss-ed25519:", b" PRIVATE KEY-----", locks.PREFIX.encode())


class KeyFileError(ValueError):
    """A file that is there and can't be used: what is in it, its size, or who can read it."""


def key_file_text(key: OwnKey, *, passphrase: Passphrase | None = None) -> str:
    """What a key file says. It holds the secret, locked where there is a passphrase. Raises `ValueError` for a key of
    TLS that isn't Ed25519."""
    created = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    secret = key.to_text() if passphrase is None else locks.lock(key.to_text(), passphrase)
    return f"# created: {created}\n# public key: {key.public_key}\n{secret}\n"


def write_key_file(path: StrPath, key: OwnKey, *, passphrase: Passphrase | None = None) -> None:
    """Writes `key` to a new file, readable by its owner only from the first moment.

    With a passphrase (text, bytes, or a callable that gives it) the key is locked by Argon2id and secretbox; locking
    and opening take about a second and 256 MiB.

    Raises `FileExistsError` where there is anything of that name, a symbolic link too, and other `OSError`;
    `ValueError` for a passphrase that is empty or longer than 4,096 bytes, and for a key of TLS that isn't Ed25519.
    """
    text = key_file_text(key, passphrase=passphrase)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def read_key_file(path: StrPath, *, passphrase: Passphrase | None = None) -> PrivateKey:
    """The private key in a file; `"-"` reads standard input.

    `passphrase` opens a file that is locked: text, bytes, or a callable that is asked only where it is needed.

    Raises `KeyFileError` (a `ValueError`) for a file that others can read, that is longer than 64 KiB, that
    doesn't hold exactly one private key, or is locked and the passphrase is missing or wrong; `OSError` where it
    can't be read.
    """
    return _read_secret(path, PRIVATE_KEY, passphrase)


def read_tls_key_file(path: StrPath, *, passphrase: Passphrase | None = None) -> TlsPrivateKey:
    """The private key for TLS in a file: a line `ss-ed25519:...`, the rest as in a key file; or PEM, with an Ed25519,
    ECDSA or RSA key (see `TlsPrivateKey.from_pem`).

    Raises what `read_key_file` does, and `ImportError` for PEM without the extra `tls`.
    """
    name, data = read_private(path)
    return find_tls_key(data, name, TLS_KEY, passphrase)


def read_own_key_file(path: StrPath, *, passphrase: Passphrase | None = None) -> OwnKey:
    """The private key in a file, of whichever kind. Raises what `read_tls_key_file` does."""
    name, data = read_private(path)
    return find_tls_key(data, name, OWN_KEY, passphrase)


def find_tls_key(data: bytes, name: str, kind: Kind[T], passphrase: Passphrase | None = None) -> T | TlsPrivateKey:
    """The one key in the file `name`, in PEM or on a line of that kind. Raises `KeyFileError`."""
    if not data.lstrip().startswith(b"-----BEGIN "):
        return find_secret(data, name, kind, passphrase)
    is_locked = b"ENCRYPTED" in data
    try:
        given = locks.passphrase_bytes(passphrase) if is_locked and passphrase is not None else None
        return TlsPrivateKey.from_pem(data, passphrase=given)
    except ValueError as exc:
        raise KeyFileError(f"{name}: {exc}") from None


def read_secret_file(path: StrPath, *, passphrase: Passphrase | None = None) -> SharedSecret:
    """The shared secret in a file: a line `ss-shared:...`, the rest as in a key file.

    Raises what `read_key_file` does.
    """
    return _read_secret(path, SHARED_SECRET, passphrase)


def read_passphrase_file(path: StrPath) -> bytes:
    """The passphrase in a file, which is its first line; `"-"` reads standard input, `/dev/fd/3` a descriptor.

    Raises `KeyFileError` for a file that others can read, that is longer than 64 KiB, or whose first line is empty or
    longer than 4,096 bytes; `OSError` where it can't be read.
    """
    name, data = read_private(path, marks=(b"",))
    line = data.partition(b"\n")[0].removesuffix(b"\r")
    if not 1 <= len(line) <= locks.MAX_PASSPHRASE:
        raise KeyFileError(f"{name}: its first line is no passphrase, which has 1 to {locks.MAX_PASSPHRASE:,} bytes")
    return line


@dataclass(frozen=True)
class Kind(Generic[T]):
    """What a file may hold: its name, what its line starts with, and how that is read."""

    what: str
    prefix: str
    parse: Callable[[str], T]


PRIVATE_KEY = Kind("private key", "ss-secret:", PrivateKey.from_text)
TLS_KEY = Kind("private key for TLS", ED25519_PREFIX, TlsPrivateKey.from_text)
OWN_KEY = Kind("private key", "ss-secret: or ss-ed25519:", parse_own_key)
SHARED_SECRET = Kind("shared secret", "ss-shared:", SharedSecret.from_text)


def _read_secret(path: StrPath, kind: Kind[T], passphrase: Passphrase | None) -> T:
    name, data = read_private(path)
    return find_secret(data, name, kind, passphrase)


def find_secret(data: bytes, name: str, kind: Kind[T], passphrase: Passphrase | None = None) -> T:
    """The one secret in the file `name`. Raises `KeyFileError`."""
    found: T | None = None
    # A stray byte is replaced and not decoded: in a comment it does no harm, in a secret it is an error below.
    for number, line in enumerate(data.decode("utf-8-sig", "replace").split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if found is not None:
            raise KeyFileError(f"{name}, line {number}: a second {kind.what}; a file holds one")
        # Without its prefix it could be anything, a public key for one.
        if not line.startswith("ss-"):
            raise KeyFileError(f"{name}, line {number}: not a {kind.what}, which starts with {kind.prefix}")
        try:
            found = kind.parse(_opened(line, passphrase))
        except ValueError as exc:
            raise KeyFileError(f"{name}, line {number}: {exc}") from None
    if found is None:
        raise KeyFileError(f"{name}: no {kind.what} in it: a line that starts with {kind.prefix}")
    return found


def _opened(line: str, passphrase: Passphrase | None) -> str:
    """The line, or what is locked in it."""
    if not line.startswith(locks.PREFIX):
        return line
    if passphrase is None:
        raise ValueError("locked with a passphrase, and none was given")
    return locks.unlock(line, passphrase)


def read_private(path: StrPath, marks: tuple[bytes, ...] = _MARKS) -> tuple[str, bytes]:
    """What to call the file, and its content. `marks` are what only secrets hold."""
    if path == STANDARD_INPUT:
        if sys.stdin is None:  # closed by whoever started this program
            raise KeyFileError("standard input is closed")
        return "standard input", _read_bounded("standard input", sys.stdin.buffer)
    name = os.fspath(path)
    if name.startswith(("ss-secret:", "ss-shared:", ED25519_PREFIX)):  # before it is in an error as the name of a file
        raise KeyFileError("this is a secret where the name of a file belongs; put it into one")
    with open(path, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        if status.st_size > MAX_FILE_SIZE:
            raise KeyFileError(_too_long(name))
        data = _read_bounded(name, file)
        # Only of a file that does hold a secret: who named /etc/passwd by mistake must not be told to lock it up.
        if data and status.st_mode & _OTHERS and any(mark in data for mark in marks):
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
