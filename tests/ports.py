"""Ports for servers that are started later, or once more.

What the kernel gives out for port 0, and to whoever connects, comes from a range of its own: a port from there that was
given back may be another test's by the time it is needed. These are from outside that range, if anything is.
"""

from __future__ import annotations

import contextlib
import errno
import random
import socket
from pathlib import Path

_LOWEST, _HIGHEST = 10_000, 65_535


def free_ports(count: int = 1) -> int:
    """The first of so many in a row on which nobody listens."""
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split())
    outside = [*range(_LOWEST, low - count), *range(high + 1, _HIGHEST - count)]
    choice = outside or range(_LOWEST, _HIGHEST - count)  # a machine may give out all there are
    while True:
        first: int = random.SystemRandom().choice(choice)
        try:
            with contextlib.ExitStack() as listeners:
                for port in range(first, first + count):
                    listeners.enter_context(socket.create_server(("127.0.0.1", port)))
                return first
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise
