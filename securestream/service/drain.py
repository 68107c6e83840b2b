"""A graceful end for servers: no new connections, the idle ones are told at once, the others may finish.

Trio has one way to end what runs, and that is at once. A `Drain` is the gentler step before it, and it is the
program's: it decides when to start, and cancelling the server's own scope still ends everything where it stands.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, final

import trio

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator, Iterator


@final
class Drain:
    """Tells the servers that are given it, any number, when to end and how long that may take.

    `grace`  seconds that the connections then have to end by themselves, default 30; 0 ends them at once

    Raises `ValueError`.
    """

    def __init__(self, grace: float = 30.0) -> None:
        if not grace >= 0:
            raise ValueError("grace is seconds, none or more")
        self.grace: float = grace
        self.signal: int | None = None
        self._deadline = math.inf
        self._started = trio.Event()
        self._signals: AsyncIterator[int] | None = None

    def start(self) -> None:
        """No more connections from now on, and `grace` seconds for those that are open. The first call counts."""
        if not self.started:
            self._deadline = trio.current_time() + self.grace
            self._started.set()

    def hurry(self) -> None:
        """What of the grace is left is over: all connections are told to end."""
        self.start()
        self._deadline = trio.current_time()

    @property
    def started(self) -> bool:
        """Whether it has begun. A handler may look, and end what it does early."""
        return self._started.is_set()

    @property
    def deadline(self) -> float:
        """When the grace is over, on Trio's clock; `math.inf` before it has started."""
        return self._deadline

    async def wait(self) -> None:
        """Until it has begun."""
        await self._started.wait()

    async def _obey_signals(self) -> None:
        """In the nursery of a server that was given it: the first signal starts, another one hurries."""
        if self._signals is None:
            return
        async for number in self._signals:
            if self.signal is None:
                self.signal = number
                self.start()
            else:
                self.hurry()


@contextlib.contextmanager
def drain_on(*signals: signal.Signals | int, grace: float = 30.0) -> Iterator[Drain]:
    """A `Drain` that starts at the first of these signals, and hurries at the next.

        with ss.drain_on(signal.SIGTERM, signal.SIGINT) as drain:
            await ss.serve_secure_tcp(handler, 9222, config, drain=drain)

    `drain.signal` is the first that came, or None. In the main thread only, as Python handles signals there; a signal
    that comes while no server runs is handled as before it. Raises `ValueError`.
    """
    drain = Drain(grace)
    with trio.open_signal_receiver(*signals) as drain._signals:
        yield drain
