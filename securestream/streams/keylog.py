"""The key log, for debugging: the keys of every connection in a file, so that captured traffic can be read.

It is off unless the environment variable `SECURESTREAM_KEYLOG` names a file when the first connection is made. Whoever
reads that file reads all traffic it was written for, also later: forward secrecy is gone. Hence the warning at each
start, and a file that its owner alone can read. A file that others can read is not written to.

    SECURESTREAM1 e suite client-to-server server-to-client        a line a connection; keys in hex, suite a number

`e` is the client's ephemeral key as its hello has it in clear, so a capture finds its line. Keys after a key update
follow from these. Static keys, the shared secret and what led to the record keys are never written.
"""

from __future__ import annotations

import functools
import logging
import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..protocol.suites import Suite

logger: logging.Logger = logging.getLogger("securestream")

VARIABLE: Final = "SECURESTREAM_KEYLOG"
LABEL: Final = "SECURESTREAM1"


class KeyLog:
    """One open file. Raises `OSError`, `PermissionError` where others can read it or it is not a file of one's own."""

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        found = os.fstat(self._file)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            os.close(self._file)
            raise PermissionError("it must be a file that its owner alone can read (chmod 600)")

    def write(self, hello_key: bytes, suite: Suite, client_to_server: bytes, server_to_client: bytes) -> None:
        """One line, in one piece. A full disk is logged, and harms no connection."""
        fields = (LABEL, hello_key.hex(), str(int(suite)), client_to_server.hex(), server_to_client.hex())
        try:
            os.write(self._file, " ".join(fields).encode("ascii") + b"\n")
        except OSError as exc:
            logger.error("the key log can't be written: %s", exc.strerror)


@functools.cache
def key_log() -> KeyLog | None:
    """This process's, if it was asked for. Looked at once."""
    path = os.environ.get(VARIABLE, "")
    if not path:
        return None
    if os.geteuid() != os.getuid():
        logger.error("%s is not for a program that runs with another's rights", VARIABLE)
        return None
    try:
        log = KeyLog(path)
    except OSError as exc:
        logger.error("no keys are logged to %s: %s", path, exc.strerror or exc)
        return None
    logger.warning(
        "%s is set: THE KEYS OF EVERY CONNECTION ARE WRITTEN to %s, and whoever has them reads all that is sent",
        VARIABLE,
        path,
    )
    return log
