"""Who may use one direction of a stream, and when.

Two questions with two answers. Two tasks of the *caller* doing the same thing at once is a mistake in his program:
the second gets `trio.BusyResourceError`. The stream's *own* business (an alert, closing, looking for a reason) waits
until it is its turn, and the caller's next call waits for it, first come, first served; nobody notices.

It does what a conflict detector and a FIFO lock do together, without a checkpoint where nobody has to wait.
"""

from __future__ import annotations

import trio


class Turns:
    """One direction's. `begin()` and `end()` surround a caller's whole call, `take()` and `give()` each use."""

    __slots__ = ("_called", "_lot", "_what", "taken")

    def __init__(self, what: str) -> None:
        self._what = what
        self._called = False
        self._lot: trio.lowlevel.ParkingLot | None = None
        self.taken: bool = False

    def begin(self) -> None:
        """Raises `trio.BusyResourceError` while another call is under way."""
        if self._called:
            raise trio.BusyResourceError(f"another task is {self._what}")
        self._called = True

    def end(self) -> None:
        self._called = False

    @property
    def idle(self) -> bool:
        """Whether nobody is in it, neither the caller nor the stream's own business."""
        return not (self._called or self.taken)

    def take_if_free(self) -> bool:
        """Takes the turn, unless somebody has it."""
        if self.taken:
            return False
        self.taken = True
        return True

    async def take(self) -> None:
        """Waits for the turn; no checkpoint where it is free."""
        if self.take_if_free():
            return
        if self._lot is None:
            self._lot = trio.lowlevel.ParkingLot()
        await self._lot.park()  # whoever gives hands the turn over

    def give(self) -> None:
        if self._lot is not None and self._lot:
            self._lot.unpark()
        else:
            self.taken = False
