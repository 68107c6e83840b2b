"""Ports for servers that are started later, or once more: nobody else gets them meanwhile.

What the kernel gives out for port 0, and to whoever connects, comes from a range of its own; a port from there that was
given back may be another test's by the time it is needed.
"""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

_LOWEST = 10_000
_GIVEN_OUT_FROM = max(20_000, int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0]))


def free_ports(count: int = 1) -> int:
    """The first of so many in a row on which nobody listens."""
    while True:
        first = random.SystemRandom().randrange(_LOWEST, _GIVEN_OUT_FROM - count)
        with contextlib.ExitStack() as listeners, contextlib.suppress(OSError):
            for port in range(first, first + count):
                listeners.enter_context(socket.create_server(("127.0.0.1", port)))
            return first
