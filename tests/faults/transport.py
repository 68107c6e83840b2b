"""A transport with faults, each at a byte that the test chooses.

A `Link` has two ends and two `Way`s between them. A way hands its bytes over in pieces of any size and with pauses
(its `Pace`), and at one of its bytes something may go wrong (its `Trouble`). Both are drawn from a seed, so that a run
can be had again. `sent` is all that went into a way, `arrived` all that came out: what the two have in common is what
the receiver can honestly know.

`connected()` gives two transports over a link: its ends as they are, ends without a half-close, or sockets with the
link in between, for what a stream does over sockets only.
"""

from __future__ import annotations

import contextlib
import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from ..streams.transports import WithoutHalfClose, socket_pair

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable


class Fault(enum.Enum):
    """What goes wrong."""

    NONE = "none"
    CUT = "cut"  # the receiver sees an end of the transport, the sender sees nothing
    RESET = "reset"  # both ends are broken, both ways, and what was on its way is lost
    STALL = "stall"  # nothing goes on from here, and nobody is told
    BREAK = "break"  # the same, but the sender is told
    LAG = "lag"  # the same, but after so many seconds it does go on
    HOLE = "hole"  # so many bytes are lost
    DOUBLE = "double"  # so many bytes come twice
    FLIP = "flip"  # one bit is changed


ENDINGS = (Fault.CUT, Fault.RESET, Fault.STALL, Fault.BREAK)
FORGERIES = (Fault.HOLE, Fault.DOUBLE, Fault.FLIP)


@dataclass(frozen=True)
class Trouble:
    """One fault of one way, before its byte number `at`. `size`: bytes, seconds, or the bit of a flip."""

    fault: Fault = Fault.NONE
    at: int = 0
    size: int = 1


@dataclass(frozen=True)
class Pace:
    """How bytes go: at most that many at once (one of `grains` each time; the first `fine` go one by one), after a
    pause of at most that many seconds, and no more than `room` that nobody has received."""

    grains: tuple[int, ...] = (65_536,)
    fine: int = 0
    pause: float = 0
    room: int = 2**30


SMOOTH, NO_TROUBLE = Pace(), Trouble()


class Way:
    """One direction of a link."""

    def __init__(self, trouble: Trouble, pace: Pace, rng: random.Random, reset_link: Callable[[], None]) -> None:
        self.trouble = trouble
        self.sent = bytearray()
        self.arrived = bytearray()
        self.told_at: float | None = None  # when its sender was told of a break
        self._received = 0
        self._stuck = 0
        self._pace = pace
        self._rng = rng
        self._reset_link = reset_link
        self._passes = True  # what is sent arrives
        self._ended = self._broken = self._happened = False
        self.is_finished = self.is_abandoned = False  # its sender, its receiver has closed
        self._news = trio.lowlevel.ParkingLot()

    @property
    def struck(self) -> bool:
        """Whether its fault has happened."""
        trouble = self.trouble
        if trouble.fault in (*ENDINGS, Fault.LAG):
            return self._happened
        last = trouble.at + (trouble.size - 1 if trouble.fault is Fault.DOUBLE else 0)
        return trouble.fault is not Fault.NONE and len(self.sent) > last

    # --- its sender

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self._check_sender()
        at = 0
        while at < len(data):
            piece = bytes(data[at : at + self._grain(len(self.sent))])
            await self._take_time(len(piece))
            await self.wait_for_room()
            self.take(piece)
            at += len(piece)

    async def wait_for_room(self) -> None:
        self._check_sender()
        while len(self.arrived) + self._stuck - self._received >= self._pace.room and not self._broken:
            await self._news.park()
            self._check_sender()

    def take(self, piece: bytes) -> None:
        """The bytes are in, and what becomes of them is decided."""
        start = len(self.sent)
        self.sent += piece
        if self._passes:
            self._let_through(start, piece)
        elif self.trouble.fault is Fault.STALL:
            self._stuck += len(piece)
        self._news.unpark_all()

    def finish(self) -> None:
        """Its sender has no more."""
        self.is_finished = True
        self._ended = self._ended or self._passes
        self._news.unpark_all()

    def _check_sender(self) -> None:
        if self.is_finished:
            raise trio.ClosedResourceError("this end was closed")
        if self._broken or (self._passes and self.is_abandoned):
            raise trio.BrokenResourceError("the other end is gone")
        if self.trouble.fault is Fault.BREAK and self._happened:
            if self.told_at is None:
                self.told_at = trio.current_time()
            raise trio.BrokenResourceError("what was sent is not acknowledged")

    def _grain(self, at: int) -> int:
        return 1 if at < self._pace.fine else self._rng.randint(1, self._rng.choice(self._pace.grains))

    async def _take_time(self, size: int) -> None:
        trouble = self.trouble
        if trouble.fault is Fault.LAG and not self._happened and trouble.at < len(self.sent) + size:
            self._happened = True
            await trio.sleep(trouble.size)
        elif self._pace.pause:
            await trio.sleep(self._rng.uniform(0, self._pace.pause))

    # --- its fault

    def _let_through(self, start: int, piece: bytes) -> None:
        """Adds what arrives of `piece`, which is what was sent from byte `start` on."""
        trouble = self.trouble
        match trouble.fault:
            case Fault.CUT | Fault.RESET | Fault.STALL | Fault.BREAK:
                self.arrived += piece[: max(0, trouble.at - start)]
                if len(self.sent) >= trouble.at:
                    self._strike()
            case Fault.HOLE:
                self.arrived += piece[: max(0, trouble.at - start)]
                self.arrived += piece[max(0, trouble.at + trouble.size - start) :]
            case Fault.DOUBLE:
                self._let_through_twice(start, piece)
            case Fault.FLIP if start <= trouble.at < start + len(piece):
                self.arrived += piece
                self.arrived[trouble.at] ^= 1 << trouble.size % 8
            case _:
                self.arrived += piece

    def _let_through_twice(self, start: int, piece: bytes) -> None:
        first, last = self.trouble.at, self.trouble.at + self.trouble.size
        if start < last <= start + len(piece):
            self.arrived += piece[: last - start] + self.sent[first:last] + piece[last - start :]
        else:
            self.arrived += piece

    def _strike(self) -> None:
        self._passes, self._happened = False, True
        if self.trouble.fault is Fault.CUT:
            self._ended = True
        elif self.trouble.fault is Fault.RESET:
            self._reset_link()

    def break_off(self) -> None:
        """The link was reset."""
        self._broken = True
        self._passes = False
        self._news.unpark_all()

    # --- its receiver

    async def receive(self, max_bytes: int | None) -> bytes:
        await trio.lowlevel.checkpoint()
        while not (waiting := self._waiting()):
            if self._ended:
                return b""
            await self._news.park()
        size = min(waiting, max_bytes or waiting, self._grain(self._received))
        self._received += size
        self._news.unpark_all()
        return bytes(self.arrived[self._received - size : self._received])

    def _waiting(self) -> int:
        if self.is_abandoned:
            raise trio.ClosedResourceError("this end was closed")
        if self._broken:
            raise trio.BrokenResourceError("the connection was reset")
        return len(self.arrived) - self._received

    def abandon(self) -> None:
        """Its receiver takes no more."""
        self.is_abandoned = True
        self._news.unpark_all()


class LinkEnd(trio.abc.HalfCloseableStream):
    """What a program has of a link."""

    def __init__(self, out: Way, into: Way) -> None:
        self._out = out
        self._into = into

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._out.send(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        await self._out.wait_for_room()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._into.receive(max_bytes)

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self._out.finish()

    async def aclose(self) -> None:
        self._out.finish()
        self._into.abandon()
        await trio.lowlevel.checkpoint()


class Link:
    """Two ends, and the ways between them: `up` to the server, `down` to the client."""

    def __init__(
        self, rng: random.Random, up: Trouble = NO_TROUBLE, down: Trouble = NO_TROUBLE, pace: Pace = SMOOTH
    ) -> None:
        self.up = Way(up, pace, rng, self._reset)
        self.down = Way(down, pace, rng, self._reset)
        self.client = LinkEnd(self.up, self.down)
        self.server = LinkEnd(self.down, self.up)
        for way in (self.up, self.down):
            way.take(b"")  # a fault before the first byte

    def _reset(self) -> None:
        self.up.break_off()
        self.down.break_off()


# --- transports over a link -------------------------------------------------------------------------


class Kind(enum.Enum):
    """What a program sees of a link."""

    ENDS = "its ends"
    NO_HALF_CLOSE = "its ends without a half-close"
    SOCKETS = "sockets"
    SMALL_SOCKETS = "sockets that take little at once"


@contextlib.asynccontextmanager
async def connected(link: Link, kind: Kind) -> AsyncIterator[tuple[trio.abc.Stream, trio.abc.Stream]]:
    """The client's and the server's transport."""
    match kind:
        case Kind.ENDS:
            yield link.client, link.server
        case Kind.NO_HALF_CLOSE:
            yield WithoutHalfClose(link.client), WithoutHalfClose(link.server)
        case Kind.SOCKETS | Kind.SMALL_SOCKETS:
            async with trio.open_nursery() as nursery:
                ends = [await _socket_over(end, nursery) for end in (link.client, link.server)]
                if kind is Kind.SMALL_SOCKETS:
                    for end in ends:
                        end.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 4_096)
                yield ends[0], ends[1]
                nursery.cancel_scope.cancel()


async def _socket_over(end: LinkEnd, nursery: trio.Nursery) -> trio.SocketStream:
    near, far = await socket_pair()
    nursery.start_soon(_carry, far, end)
    nursery.start_soon(_carry, end, far)
    return near


async def _carry(source: trio.abc.HalfCloseableStream, target: trio.abc.HalfCloseableStream) -> None:
    """What comes goes on, until its end; a broken side breaks the other."""
    try:
        while data := await source.receive_some(65_536):
            await target.send_all(data)
        await target.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        await trio.aclose_forcefully(source)
        await trio.aclose_forcefully(target)
