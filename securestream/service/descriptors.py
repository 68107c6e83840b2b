"""How many connections a process has file descriptors for.

Who has none left can't accept. It doesn't see the newcomer, then, to whom it could give a slow client's place, and a
thousand connections that say nothing keep everybody out. So some are kept for files and what else the program opens. Of
the others a server takes no more connections than three quarters are enough for; an eighth are for those it refuses.
"""

from __future__ import annotations

import contextlib
import sys

if sys.platform != "win32":
    import resource

_KEPT = 32


def most_connections(each: int) -> int:
    """With so many descriptors for each."""
    return max(1, (descriptors() - _KEPT) * 3 // 4 // each)


def most_refusals() -> int:
    """Connections that are being told so, at once."""
    return max(1, (descriptors() - _KEPT) // 8)


def descriptors() -> int:
    """How many this process may have (getrlimit(2), RLIMIT_NOFILE)."""
    if sys.platform == "win32":
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def raise_descriptors(wanted: int) -> None:
    """To so many, as far as the system lets an ordinary process go: for programs that don't use select(2), which knows
    1,024 only."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
