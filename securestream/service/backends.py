"""Which of several servers a router dials: one that answers, and of those the one with the fewest connections.

Health is found by dialling. A server that can't be reached is put last, and dialled every so often until it can be;
clients are only sent there while nothing better is left. Servers that answer are not bothered.
"""

from __future__ import annotations

import contextlib
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from ..protocol.alerts import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .routes import Backend

logger: logging.Logger = logging.getLogger("securestream")

# Clients that wait whether a server that is down answers after all; others are told at once. Strangers who ask for one
# whose machine says nothing would keep everybody out of the router.
_MOST_WAITING = 16
# Looks at a server that is down, after the last client that wanted it, before it is forgotten: the table may have.
_LOOKS = 60


@dataclass
class _State:
    """What is known of a server. Nothing is kept of one that answers and has no connection."""

    backend: Backend
    open: int = 0
    dialled: int = 0  # by so many at the moment
    is_down: bool = False
    looks_left: int = _LOOKS


class Backends:
    """All servers of one router, by address.

    `connect_timeout`  seconds that one may take to answer
    `retry`            seconds between two looks at one that is down
    """

    def __init__(self, connect_timeout: float, retry: float) -> None:
        self._connect_timeout = connect_timeout
        self._retry = retry
        self._states: dict[str, _State] = {}
        self._trouble = trio.Event()

    async def dial(self, choices: Sequence[Backend], line: contextlib.ExitStack) -> tuple[Backend, trio.SocketStream]:
        """The best of them that answers; it counts as used until `line` is left. Raises `OSError` where none does."""
        left = list(dict.fromkeys(choices))
        while left:
            left.remove(best := min(left, key=self._rank))  # one at a time: others are dialled meanwhile
            with contextlib.ExitStack() as using:
                state = using.enter_context(self._using(best))
                try:
                    stream = await self._dial_for_client(state)
                except OSError as exc:
                    self._note_down(state, exc)
                else:
                    self._note_up(state)
                    line.push(using.pop_all())
                    return best, stream
        raise OSError(f"none of {len(choices)} servers answers")

    def _rank(self, backend: Backend) -> tuple[bool, int, float]:
        state = self._states.get(backend.address)
        chance = random.random()  # among equals
        return (state.is_down, state.open, chance) if state else (False, 0, chance)

    @contextlib.contextmanager
    def _using(self, backend: Backend) -> Iterator[_State]:
        state = self._states.setdefault(backend.address, _State(backend))
        state.open += 1
        state.looks_left = _LOOKS
        try:
            yield state
        finally:
            state.open -= 1
            self._forget(state)

    def _forget(self, state: _State) -> None:
        """What needn't be known any more."""
        if not state.open and not (state.is_down and state.looks_left):
            self._states.pop(state.backend.address, None)

    async def _dial_for_client(self, state: _State) -> trio.SocketStream:
        """Raises `OSError`."""
        if state.is_down and state.dialled >= _MOST_WAITING:
            raise OSError("it is down, and enough wait for it")
        state.dialled += 1
        try:
            return await self._dial(state.backend)
        finally:
            state.dialled -= 1

    async def _dial(self, backend: Backend) -> trio.SocketStream:
        """Raises `OSError`."""
        with trio.move_on_after(self._connect_timeout):
            try:
                return await backend.dial()
            except UnicodeError:
                raise OSError("not the name of a host") from None
        raise TimeoutError(f"no answer within {self._connect_timeout:g} s")

    # --- health

    def _note_down(self, state: _State, exc: OSError) -> None:
        if not state.is_down:
            logger.warning("backend %s is down: %s", state.backend.address, printable(exc.strerror or str(exc)))
        state.is_down = True
        self._trouble.set()

    def _note_up(self, state: _State) -> None:
        if state.is_down:
            logger.warning("backend %s is up again", state.backend.address)
        state.is_down = False

    async def look_after(self) -> None:
        """Dials those that are down until they answer. For ever."""
        while True:
            await self._trouble.wait()
            await trio.sleep(self._retry)
            async with trio.open_nursery() as nursery:
                for state in self._down():
                    nursery.start_soon(self._look, state)
            if not self._down():
                self._trouble = trio.Event()

    def _down(self) -> list[_State]:
        return [state for state in self._states.values() if state.is_down]

    async def _look(self, state: _State) -> None:
        state.looks_left -= 1
        try:
            stream = await self._dial(state.backend)
        except OSError:
            pass
        else:
            await trio.aclose_forcefully(stream)
            self._note_up(state)
        self._forget(state)
