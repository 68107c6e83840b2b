"""What the tests of trust share: files of lists that change."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LONG_AGO = 1_000_000_000


class File:
    """The file, written to long ago each time, but never at the same moment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.moment = LONG_AGO

    def write(self, text: str) -> None:
        self.path.write_text(text)
        self.path.chmod(0o600)
        self.moment += 1
        os.utime(self.path, (self.moment, self.moment))
