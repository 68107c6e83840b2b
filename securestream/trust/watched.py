"""A file that an operator edits while programs run on it: read again when it has changed, as a whole or not at all.

What is wrong in it is logged, and what was good before stays in force; at the start there is nothing, so nothing
starts.
"""

from __future__ import annotations

import logging
import os
import shlex
import stat
import time
from collections.abc import Sized
from typing import TYPE_CHECKING, Generic, TypeVar

from .lists import PeersFileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .keyfile import StrPath

T = TypeVar("T", bound=Sized)

logger: logging.Logger = logging.getLogger("securestream")

MAX_FILE_SIZE = 16 * 2**20
_SETTLED_NS = 50_000_000  # a file that was written to more lately may not be whole yet
# How far a file server's clock may be ahead of ours. Beyond, somebody has set the file's time, which is not to write to
# it; or our clock was set back, and it was not written to since.
_SKEW_NS = 60_000_000_000


class WatchedFile(Generic[T]):
    """`parse(data, path)` of a file; `what` is what there is in it. With `may_be_missing`, none is an empty one.

    Raises `PeersFileError` when it is made and the file can't be used, `OSError` where it can't be read.
    """

    def __init__(
        self, path: StrPath, parse: Callable[[bytes, str], T], what: str, *, may_be_missing: bool = False
    ) -> None:
        self.path: str = os.fspath(path)
        self._parse = parse
        self._what = what
        self._seen: tuple[int, ...] | None = None  # the file that was read last, good or bad
        self._told = ""
        self._loaded = False
        self._may_be_missing = may_be_missing
        self.value: T = parse(b"", self.path)
        self.read()

    def refresh(self) -> T:
        """What is in force: the file is looked at, and read again if it has changed."""
        try:
            if not self._is_missing() and _signature(os.stat(self.path)) != self._seen:
                self._read(if_settled=self._loaded)
        except (PeersFileError, OSError) as exc:
            if str(exc) != self._told:
                logger.error("%s; the %d %s of before stay in force", exc, len(self.value), self._what)
            self._told = str(exc)
        return self.value

    def read(self) -> T:
        """What is in the file now, also if it was written this moment. Raises `PeersFileError`, `OSError`."""
        if not self._is_missing():
            self._read(if_settled=False)
        return self.value

    @property
    def is_whole(self) -> bool:
        """Whether what was read last was surely the whole file, and not what somebody was writing; or there is none."""
        return self._seen is not None or self._is_missing()

    def _is_missing(self) -> bool:
        """Whether it is missing, as it may and has always been."""
        return self._may_be_missing and not self._loaded and not os.path.exists(self.path)

    def _read(self, *, if_settled: bool) -> None:
        with open(self.path, "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            data = file.read(MAX_FILE_SIZE + 1)
            after = os.fstat(file.fileno())
        settled = _signature(before) == _signature(after) and not _is_fresh(after)
        if not settled and if_settled:
            return  # next time
        self._seen = _signature(after) if settled else None
        if len(data) > MAX_FILE_SIZE:
            raise PeersFileError(f"{self.path} is longer than {MAX_FILE_SIZE:,} bytes: not a list of {self._what}")
        if after.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            mend = f"chmod go-w {shlex.quote(self.path)}"
            raise PeersFileError(f"{self.path} can be written to by others; to mend it: {mend}")
        self.value = self._parse(data, self.path)
        self._loaded, self._told = True, ""


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _is_fresh(status: os.stat_result) -> bool:
    """Whether it may be in the middle of being written."""
    return -_SKEW_NS < time.time_ns() - status.st_mtime_ns < _SETTLED_NS
