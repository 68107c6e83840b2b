"""StreamPool: streams to one server, used one after the other, so that few uses need a handshake.

Theory of operation
-------------------

What becomes of a stream is decided synchronously, in `_assign`, `_take_overdue` and where a user leaves his block;
what was decided is awaited afterwards, by the task that caused it. So no lock is needed, a cancellation finds the
books in order wherever it comes, and no task runs in the background.

A *place* is the right to one connection. There are `max_streams` of them; one is taken from before a stream is opened
until after it is closed. Whoever wants a stream stands in the queue, and `_assign` serves it in its order: with a
stream that is idle, or with a free place to open one in.

A stream goes back only if it is *clean*: both directions open and whole, nobody in it, nothing left to receive, and
the last receive not given up. When it is handed out it is looked at once more, without waiting: what has come
meanwhile, if it is more than empty records, is an end, an alert, or an answer that nobody asked for.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast, overload

import trio

from ..streams.secure import SecureStream
from .address import Address, connect, parse_address

if TYPE_CHECKING:
    from types import TracebackType

T_co = TypeVar("T_co", bound=trio.abc.Stream, covariant=True)
Connect = Callable[[], Awaitable[SecureStream[T_co]]]


@dataclass(frozen=True)
class PoolStatistics:
    """What there is of a pool just now.

    `open`     its streams, in use and idle, those that are being opened or closed among them
    `idle`     how many of them nobody uses
    `waiting`  tasks that wait for one
    `opened`   how many were opened so far, which is how many handshakes it took
    """

    open: int
    idle: int
    waiting: int
    opened: int


@dataclass(eq=False)
class _Pooled(Generic[T_co]):
    """A stream, and what decides how long it is kept."""

    stream: SecureStream[T_co]
    opened_at: float
    returned_at: float


class _Request(Generic[T_co]):
    """Somebody in the queue. Served: he has a place, and perhaps a stream in it."""

    __slots__ = ("pooled", "served", "sleeper")

    def __init__(self) -> None:
        self.served = False
        self.pooled: _Pooled[T_co] | None = None
        self.sleeper: trio.lowlevel.Task | None = None

    async def sleep(self, leave_queue: Callable[[], None]) -> None:
        """Until `wake()`. Cancelled, it leaves the queue at once and not when this task runs next, so that nobody is
        served who won't come."""

        def give_up(_: object) -> trio.lowlevel.Abort:
            leave_queue()
            return trio.lowlevel.Abort.SUCCEEDED

        self.sleeper = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(give_up)

    def wake(self) -> None:
        if self.sleeper is not None:
            trio.lowlevel.reschedule(self.sleeper)


class StreamPool(Generic[T_co]):
    """Streams to one server, opened when they are needed and kept for the next use.

        async with ss.StreamPool("Server=db.example:9222;Server Key=...") as pool:
            async with pool.stream() as stream:
                ...

    `server`        a connection string, an `Address`, or an async callable that opens a stream
    `max_streams`   how many there are at once, default 10. Who comes beyond waits, first come, first served
    `max_idle`      how many of them are kept while nobody uses them, default all
    `idle_timeout`  seconds that one is kept unused, default 60. Less than the server's, if it has one
    `max_lifetime`  seconds from its opening after which it isn't handed out again, default `math.inf`

    No task runs in the background: what is overdue is closed when another stream comes back, and by `aclose()`.

    Raises `ValueError` for limits that make no sense, and what `parse_address` raises.
    """

    @overload
    def __init__(
        self: StreamPool[trio.SocketStream],
        server: str | Address,
        *,
        max_streams: int = 10,
        max_idle: int | None = None,
        idle_timeout: float = 60.0,
        max_lifetime: float = math.inf,
    ) -> None: ...

    @overload
    def __init__(
        self,
        server: Connect[T_co],
        *,
        max_streams: int = 10,
        max_idle: int | None = None,
        idle_timeout: float = 60.0,
        max_lifetime: float = math.inf,
    ) -> None: ...

    def __init__(
        self,
        server: str | Address | Connect[T_co],
        *,
        max_streams: int = 10,
        max_idle: int | None = None,
        idle_timeout: float = 60.0,
        max_lifetime: float = math.inf,
    ) -> None:
        if max_streams < 1 or (max_idle is not None and max_idle < 0):
            raise ValueError("max_streams is at least 1, max_idle at least 0")
        if not idle_timeout > 0 or not max_lifetime > 0:
            raise ValueError("idle_timeout and max_lifetime are seconds, more than none")
        if isinstance(server, str):
            server = parse_address(server)
        opener = partial(connect, server) if isinstance(server, Address) else server
        self._connect = cast("Connect[T_co]", opener)  # as the overloads have it
        self._max_streams = max_streams
        self._max_idle = max_streams if max_idle is None else max_idle
        self._idle_timeout = idle_timeout
        self._max_lifetime = max_lifetime
        self._idle: list[_Pooled[T_co]] = []  # who came back last is last, and first to go out again
        self._queue: deque[_Request[T_co]] = deque()
        self._places_taken = 0
        self._opened = 0
        self._closed = False

    # --- for users

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[SecureStream[T_co]]:
        """A stream for this block alone: one that was used before, or a new one.

        Left in order, the stream goes back into the pool if it is clean: both directions are open, nothing that came is
        left to receive, and the last receive was not cancelled while it waited. Else it is closed. Left by an exception
        it is closed as `async with stream` would, and is never used again. Whoever has asked and doesn't wait for the
        answer at all leaves the block so, or the answer would reach the next user.

        A stream that has ended, or to which something came while nobody used it, is not handed out; one may still
        end a moment later. Over transports that aren't sockets, and aren't over one, that shows at the first use.

        Raises what opening a stream raises, and `trio.ClosedResourceError` when the pool is closed. It waits for a
        place as long as it takes: put a timeout of your own around it.
        """
        pooled, stays = await self._take(), False
        try:
            async with AsyncExitStack() as stack:
                yield await stack.enter_async_context(pooled.stream)
                pooled.returned_at = trio.current_time()
                if stays := self._is_fit(pooled):
                    stack.pop_all()
        finally:
            if stays:
                self._idle.append(pooled)
                self._assign()
            else:
                self._give_up_place()
        await self._close_overdue()

    def statistics(self) -> PoolStatistics:
        """What there is just now."""
        return PoolStatistics(self._places_taken, len(self._idle), len(self._queue), self._opened)

    async def aclose(self) -> None:
        """Closes the idle streams, within their `close_timeout`. Those in use are closed when their users leave them;
        who waits for one gets `trio.ClosedResourceError`. Cancelled, it closes them at once."""
        self._closed = True
        while self._queue:
            self._queue.popleft().wake()
        await self._close_overdue()
        await trio.lowlevel.checkpoint()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<StreamPool: {self.statistics()}>"

    # --- taking one

    async def _take(self) -> _Pooled[T_co]:
        pooled = await self._wait_for_place()
        try:
            if pooled is not None and self._is_fit(pooled):
                return pooled
            if pooled is not None:
                await _close(pooled)
            return await self._open()
        except BaseException:
            self._give_up_place()
            raise

    async def _wait_for_place(self) -> _Pooled[T_co] | None:
        """A place, with the stream that is in it. Cancelled only while there is none yet."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_open()
        request = _Request[T_co]()
        self._queue.append(request)
        self._assign()
        if request.served:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return request.pooled
        await request.sleep(partial(self._queue.remove, request))
        if not request.served:
            self._check_open()
        return request.pooled

    async def _open(self) -> _Pooled[T_co]:
        self._check_open()
        stream = await self._connect()
        self._opened += 1
        now = trio.current_time()
        return _Pooled(stream, now, now)

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this pool was closed")

    # --- decisions

    def _assign(self) -> None:
        """Serves the queue, as far as there are idle streams or free places."""
        while self._queue and (self._idle or self._places_taken < self._max_streams):
            request = self._queue.popleft()
            if self._idle:
                request.pooled = self._idle.pop()
            else:
                self._places_taken += 1
            request.served = True
            request.wake()

    def _give_up_place(self) -> None:
        self._places_taken -= 1
        self._assign()

    def _is_fit(self, pooled: _Pooled[T_co]) -> bool:
        """Whether this stream may be handed out."""
        return not self._is_overdue(pooled) and pooled.stream._is_clean()

    def _is_overdue(self, pooled: _Pooled[T_co]) -> bool:
        now = trio.current_time()
        return (
            self._closed
            or now - pooled.returned_at >= self._idle_timeout
            or now - pooled.opened_at >= self._max_lifetime
        )

    def _take_overdue(self) -> list[_Pooled[T_co]]:
        """The idle streams that are not to be kept: those whose time is over, and the oldest beyond `max_idle`."""
        kept = [pooled for pooled in self._idle if not self._is_overdue(pooled)]
        kept = kept[max(0, len(kept) - self._max_idle) :]
        overdue = [pooled for pooled in self._idle if pooled not in kept]
        self._idle = kept
        return overdue

    async def _close_overdue(self) -> None:
        if not (overdue := self._take_overdue()):
            return
        async with trio.open_nursery() as nursery:
            for pooled in overdue:
                nursery.start_soon(self._close_and_give_up, pooled)

    async def _close_and_give_up(self, pooled: _Pooled[T_co]) -> None:
        try:
            await _close(pooled)
        finally:
            self._give_up_place()


async def _close(pooled: _Pooled[T_co]) -> None:
    with suppress(trio.BrokenResourceError):  # it was nobody's, so it is nobody's error
        await pooled.stream.aclose()
