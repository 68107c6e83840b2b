"""Accepting, and where the connections live; what becomes of them when no more are accepted."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from .admission import Admission
    from .drain import Drain

T_Stream = TypeVar("T_Stream", bound=trio.abc.Stream)
T_Listener = TypeVar("T_Listener", bound=trio.abc.Listener[trio.abc.Stream])

# Seconds between two looks at whether a connection has become idle, while the server drains.
_DRAIN_LOOKS = 0.1


@contextlib.asynccontextmanager
async def owned(listeners: Sequence[T_Listener]) -> AsyncIterator[None]:
    """Closes them at the end, also where serving was cancelled before the first of them was served."""
    async with contextlib.AsyncExitStack() as stack:
        for listener in listeners:
            stack.push_async_callback(trio.aclose_forcefully, listener)
        yield


async def keep_accepting(
    connections: Admission[T_Stream],
    listeners: list[T_Listener],
    *,
    handler_nursery: trio.Nursery | None,
    drain: Drain | None,
    task_status: trio.TaskStatus[list[T_Listener]],
) -> None:
    """Accepts from listeners until it is cancelled or drained, as `serve_secure_tcp` says. The listeners are owned."""
    async with trio.open_nursery() as serving:
        keeper = _Keeper(connections, drain)
        handlers = await serving.start(keeper.run)
        try:
            with trio.CancelScope() as accepting:
                serving.start_soon(keeper.end_accepting, accepting)
                await trio.serve_listeners(
                    connections.run, listeners, handler_nursery=handler_nursery or handlers, task_status=task_status
                )
        finally:
            keeper.accepting_is_over.set()


class _Keeper(Generic[T_Stream]):
    """Where a server's handlers live, and what becomes of them when no more connections are accepted.

    With a `Drain` they live on for its grace when the server is cancelled; without one they end with it.
    """

    def __init__(self, connections: Admission[T_Stream], drain: Drain | None) -> None:
        self._connections = connections
        self._drain = drain
        self.accepting_is_over = trio.Event()

    async def run(self, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """Gives the handlers' nursery, and returns when all of them are done."""
        with trio.CancelScope(shield=self._drain is not None):
            async with trio.open_nursery() as handlers, trio.open_nursery() as looking:
                for chore in self._connections.chores():
                    looking.start_soon(chore)
                if self._drain is not None:
                    looking.start_soon(self._drain._obey_signals)
                task_status.started(handlers)
                await self.accepting_is_over.wait()
                if self._drain is not None:
                    await self._empty(self._drain)
                    handlers.cancel_scope.deadline = trio.current_time() + self._connections.seconds_to_close
                looking.cancel_scope.cancel()

    async def end_accepting(self, accepting: trio.CancelScope) -> None:
        """Until the drain starts, if there is one."""
        if self._drain is not None:
            await self._drain.wait()
            accepting.cancel()

    async def _empty(self, drain: Drain) -> None:
        """Until the connections have ended, by themselves or else by the drain's deadline."""
        drain.start()
        while not self._connections.are_gone and trio.current_time() < drain.deadline:
            self._connections.end_all(idle_only=True)
            await trio.sleep_until(min(trio.current_time() + _DRAIN_LOOKS, drain.deadline))
        self._connections.end_all(idle_only=False)
