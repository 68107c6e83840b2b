"""Two programs that send, receive, cancel and end their stream at random moments: whatever they do, nobody hangs, what
is received is what was sent, and only what is whole has an end."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import securestream as ss

from ..protocol.support import PROPERTY
from .support import (
    PATIENCE,
    at_step,
    matching_configs,
    secure_pair,
)
from .test_cancellation import is_cut
from .transports import close_sockets, lockstep_pair, memory_pair, small_socket_pair, socket_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .transports import Transports

PATTERN = b"".join(n.to_bytes(4, "big") for n in range(2**19))  # 2 MiB, no part like another
ENDS = ("aclose", "alert", "eof and aclose", "error", "vanish", "nothing")


@dataclass(frozen=True)
class Plan:
    """What one end does. A cut is the checkpoint at which a call is cancelled, or None."""

    sends: list[tuple[int, int | None]]
    receives: list[int | None]
    end: str
    end_after: int


@dataclass
class Story:
    """What has become of it."""

    handed_over: int = 0  # bytes of sends that were done
    at_most: int = 0  # and of those that were begun
    received: bytes = b""
    seen: str = ""
    errors: list[BaseException] = field(default_factory=list)


class Program:
    """One end of a stream, and the tasks that use it."""

    def __init__(self, stream: ss.SecureStream[trio.abc.Stream], plan: Plan) -> None:
        self.stream = stream
        self.plan = plan
        self.story = Story()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.send)
            nursery.start_soon(self.receive)
            nursery.start_soon(self.end)

    async def send(self) -> None:
        story = self.story
        for size, cut in self.plan.sends:
            data = PATTERN[story.at_most : story.at_most + size]
            before, story.at_most = story.at_most, story.at_most + size
            try:
                done = not await self.cut(partial(self.stream.send_all, data), cut)
                if not done:
                    await self.stream.send_all(b"")
            except trio.BusyResourceError:  # the end was being sent
                story.at_most = before
                return
            except (ss.StreamError, trio.ClosedResourceError):
                return
            if done:
                story.handed_over = story.at_most
            else:
                story.at_most = before  # nothing of it was touched

    async def receive(self) -> None:
        chunks: list[bytes] = []

        async def receive_once() -> None:
            chunks.append(await self.stream.receive_some(50_000))

        try:
            for cut in itertools.cycle(self.plan.receives):
                await self.cut(receive_once, cut)
                if chunks and not chunks[-1]:
                    self.story.seen = "the end"
                    break
        except trio.ClosedResourceError:
            self.story.seen = "closed"
        except ss.StreamError as exc:
            self.story.seen = type(exc).__name__
            self.story.errors.append(exc)
        self.story.received = b"".join(chunks)

    @staticmethod
    async def cut(operation: Callable[[], Awaitable[object]], steps: int | None) -> bool:
        if steps is not None:
            return await is_cut(operation, steps)
        await operation()
        return False

    async def end(self) -> None:
        try:
            await at_step(self.plan.end_after, self.end_now)
        except (ss.StreamError, trio.ClosedResourceError, trio.BusyResourceError) as exc:
            self.story.errors.append(exc)
        if self.plan.end == "nothing":
            await trio.sleep(10)
        await self.stream.aclose()

    async def end_now(self) -> None:
        match self.plan.end:
            case "alert":
                await self.stream.send_alert(5_001, "enough")
            case "eof and aclose":
                await self.stream.send_eof()
            case "vanish":
                await trio.aclose_forcefully(self.stream.transport_stream)
            case "error":
                try:
                    async with self.stream:
                        raise ss.StreamFailure(5_001, "enough")
                except ss.StreamFailure:
                    pass


def check(sender: Program, receiver: Program) -> None:
    story, seen = sender.story, receiver.story
    assert seen.seen in ("the end", "closed", "PeerAlert", "TruncatedStream"), seen.errors
    assert PATTERN[: story.at_most].startswith(seen.received)
    if seen.seen == "the end":
        assert len(seen.received) == story.handed_over
        assert sender.plan.end not in ("alert", "error", "vanish") or story.at_most == story.handed_over
    if seen.seen == "PeerAlert":
        assert sender.plan.end in ("alert", "error")
        assert receiver.stream.alert == ss.Alert(5_001, "enough")


async def run(make: Callable[[], Awaitable[Transports]], suite: ss.Suite, plans: tuple[Plan, Plan]) -> None:
    streams = await secure_pair(make, matching_configs(suite))
    near, far = [Program(stream, plan) for stream, plan in zip(streams, plans, strict=True)]
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.run)
            nursery.start_soon(far.run)
    check(near, far)
    check(far, near)


CUTS = st.none() | st.integers(0, 8)
PLANS = st.builds(
    Plan,
    sends=st.lists(st.tuples(st.sampled_from([1, 100, 16_347, 40_000, 400_000]), CUTS), max_size=3),
    receives=st.lists(CUTS, max_size=3).map(lambda cuts: [*cuts, None]),
    end=st.sampled_from(ENDS),
    end_after=st.integers(0, 40),
)
MAKERS = [memory_pair, lockstep_pair, socket_pair, small_socket_pair]


@settings(PROPERTY, max_examples=150)
@given(make=st.sampled_from(MAKERS), suite=st.sampled_from(ss.Suite), plans=st.tuples(PLANS, PLANS))
def test_whatever_two_programs_do_only_what_is_whole_has_an_end(
    make: Callable[[], Awaitable[Transports]], suite: ss.Suite, plans: tuple[Plan, Plan]
) -> None:
    try:
        trio.run(run, make, suite, plans, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        close_sockets()
