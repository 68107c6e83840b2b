"""Files under names that a stranger chose, and files that are not all here yet.

*Names.* A name is one step of a path, and never begins with a dot. Everything is opened relative to the folder's own
descriptor, and links are not followed. So whatever a peer sends, nothing outside the folder is opened, and nothing in
it but plain files.

*What is not whole* is in `.NAME.part`: a name that no peer can ask for. It stays there when a transfer fails, so that
the next one can go on from it, and gets its name, in one step and never in place of another file, when it is whole and
on the disk. A lock keeps two transfers from writing to the same one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from contextlib import contextmanager, suppress
from functools import partial
from io import FileIO
from typing import TYPE_CHECKING

from .messages import CHUNK_BYTES, MAX_NAME_BYTES, TransferFailed, Why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def check_name(name: str) -> str:
    """Raises `TransferFailed` for what is no plain name of a file."""
    if name.startswith(".") or "/" in name or not name.isprintable() or not 0 < len(name.encode()) <= MAX_NAME_BYTES:
        raise TransferFailed(
            Why.BAD_NAME, f"a name has 1 to {MAX_NAME_BYTES} bytes, does not begin with a dot, and has no / in it"
        )
    return name


class Folder:
    """A folder in which peers may name files. What it raises is `TransferFailed`; where it says so, also `OSError`."""

    def __init__(self, path: str | Path) -> None:
        """Raises `OSError`."""
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def close(self) -> None:
        os.close(self._descriptor)

    def open(self, name: str) -> FileIO:
        """A whole file, to be read."""
        found = self._find(check_name(name))
        if found is None:
            raise TransferFailed(Why.NO_SUCH_FILE, "there is no such file")
        return found

    @contextmanager
    def arriving(self, name: str) -> Iterator[Arriving]:
        """The file of that name, as far as it is here: nothing, a part, or all of it."""
        part = f".{check_name(name)}.part"
        with self._locked(part) as file:
            if (whole := self._find(name)) is None:
                yield Arriving(file, partial(self._complete, part, name))
            else:
                file.truncate(0)
                with whole:
                    yield Arriving(whole, None)

    def free_bytes(self) -> int:
        found = os.fstatvfs(self._descriptor)
        return found.f_bavail * found.f_frsize

    def _find(self, name: str) -> FileIO | None:
        try:
            return self._open_plain(name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise TransferFailed(Why.CANT_READ, f"the file can't be read: {exc.strerror}") from exc

    @contextmanager
    def _locked(self, part: str) -> Iterator[FileIO]:
        with keeping():
            file = self._open_plain(part, os.O_RDWR | os.O_CREAT)
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Between the two lines before, who had the lock may have given the file its name.
                still_it = os.path.samestat(os.fstat(file.fileno()), os.stat(part, dir_fd=self._descriptor))
            except (BlockingIOError, FileNotFoundError):
                still_it = False
            if not still_it:
                raise TransferFailed(Why.FILE_BUSY, "another transfer of this file is going on")
            try:
                yield file
            finally:
                if not os.fstat(file.fileno()).st_size:  # nothing to go on from
                    with suppress(FileNotFoundError):
                        os.unlink(part, dir_fd=self._descriptor)

    def _open_plain(self, name: str, flags: int) -> FileIO:
        """A link is not followed, and a pipe without a writer not waited for. Raises `OSError`."""
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK
        file = FileIO(name, "r+" if flags & os.O_RDWR else "r", opener=lambda path, _: self._open_here(path, flags))
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise OSError(0, "it is no plain file")
        return file

    def _open_here(self, name: str, flags: int) -> int:
        return os.open(name, flags, 0o666, dir_fd=self._descriptor)

    def _complete(self, part: str, name: str) -> None:
        if (other := self._find(name)) is not None:  # made by another program: transfers hold the lock
            other.close()
            raise TransferFailed(Why.FILE_EXISTS, "another file of that name has come meanwhile")
        with keeping():
            os.rename(part, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
            os.fsync(self._descriptor)


class Arriving:
    """What is here of a file: `size` bytes. Its methods block, and raise `TransferFailed`."""

    def __init__(self, file: FileIO, complete: Callable[[], None] | None) -> None:
        """`complete` gives it its name; None: it has it, and is not written to."""
        self._file = file
        self._complete = complete
        self._sha = hashlib.sha256()
        self.size = 0

    @property
    def is_whole(self) -> bool:
        return self._complete is None

    @property
    def digest(self) -> bytes:
        """The SHA-256 of what is here."""
        return self._sha.digest()

    def can_become(self, size: int) -> bool:
        """Whether a file of that size may begin with what is here."""
        return self.size == size or (self.size < size and not self.is_whole)

    def measure_some(self) -> bool:
        """Takes in a chunk of what is here from before; whether there may be more."""
        with keeping():
            chunk = self._file.read(CHUNK_BYTES)
        self._sha.update(chunk)
        self.size += len(chunk)
        return bool(chunk)

    def restart(self) -> None:
        """What is here is no part of the file that is to come."""
        if self.is_whole:
            raise TransferFailed(Why.FILE_EXISTS, "another file of that name is there")
        with keeping():
            self._file.seek(0)
            self._file.truncate()
        self._sha, self.size = hashlib.sha256(), 0

    def append(self, chunk: bytes) -> None:
        left = memoryview(chunk)
        with keeping():
            while left:
                left = left[self._file.write(left) :]
        self._sha.update(chunk)
        self.size += len(chunk)

    def finish(self) -> None:
        """It is whole: on the disk first, and then under its name."""
        if self._complete is not None:
            with keeping():
                os.fsync(self._file.fileno())
            self._complete()


@contextmanager
def keeping() -> Iterator[None]:
    """What the disk refuses, in words for the other side: they name no path."""
    try:
        yield
    except OSError as exc:
        raise TransferFailed(Why.CANT_KEEP, f"the file can't be kept: {exc.strerror}") from exc
