"""Every operation is cancelled at each of its checkpoints in turn, and the stream keeps its word each time."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss

from .support import PATIENCE, Configs, assert_transport_closed, secure_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from .transports import Transports

    Make = Callable[[], Awaitable[Transports]]

DATA = b"".join(n.to_bytes(4, "big") for n in range(200_000))  # 800,000 bytes: several batches


# --- cutting ---------------------------------------------------------------------------------------------


class Cutter(trio.abc.Instrument):
    """Cancels a scope when a task, or what that task has started, comes to the n-th checkpoint."""

    def __init__(self, task: trio.lowlevel.Task, steps: int, scope: trio.CancelScope) -> None:
        self._task = task
        self._left = steps
        self._scope = scope

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._belongs(task):
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()

    def _belongs(self, task: trio.lowlevel.Task) -> bool:
        each: trio.lowlevel.Task | None = task
        while each is not None and each is not self._task:
            each = each.parent_nursery.parent_task if each.parent_nursery else None
        return each is not None


async def is_cut(operation: Callable[[], Awaitable[object]], steps: int) -> bool:
    """Runs `operation` and cancels it at its n-th checkpoint, 0 before it begins; whether it was cut short."""
    with trio.CancelScope() as scope:
        cutter = Cutter(trio.lowlevel.current_task(), steps, scope)
        trio.lowlevel.add_instrument(cutter)
        try:
            if steps == 0:
                scope.cancel()
            await operation()
        finally:
            trio.lowlevel.remove_instrument(cutter)
    return scope.cancelled_caught


async def at_each_checkpoint(trial: Callable[[int], Awaitable[bool]]) -> None:
    """Runs `trial(0)`, `trial(1)` and so on until one is done before it is cut."""
    for steps in itertools.count():
        with trio.fail_after(PATIENCE):
            cut = await trial(steps)
        if not cut:
            break
    assert steps >= 1, "an operation without a checkpoint"


async def test_the_cutter_cuts_at_each_checkpoint_and_not_beyond(autojump_clock: MockClock) -> None:
    reached: list[int] = []

    async def operation() -> None:
        for number in range(3):
            reached.append(number)
            await trio.lowlevel.checkpoint()

    await at_each_checkpoint(partial(is_cut, operation))
    assert reached == [0, 0, 0, 1, 0, 1, 2, 0, 1, 2]


# --- the other end -----------------------------------------------------------------------------------------


class Witness:
    """Receives whatever the other end sends, and closes: `content`, and `error` or None for an end in order."""

    def __init__(self, stream: ss.SecureStream[trio.abc.Stream]) -> None:
        self._stream = stream
        self.content = b""
        self.error: ss.StreamError | None = None

    async def watch(self) -> None:
        chunks: list[bytes | bytearray] = []
        try:
            async for chunk in self._stream:
                chunks.append(chunk)  # noqa: PERF401  what came before an error counts
        except ss.StreamError as exc:
            self.error = exc
        self.content = b"".join(chunks)
        await self._stream.aclose()


async def goes_on(sending: Callable[[], Awaitable[object]]) -> bool:
    """Whether sending still works."""
    try:
        await sending()
    except (ss.TransportBroken, trio.ClosedResourceError):
        return False
    return True


class Trials:
    """Runs one end's talk at each of its checkpoints, with a witness at the other end of each new pair."""

    def __init__(self, make: Make, configs: Configs) -> None:
        self._make = make
        self._configs = configs

    async def run(
        self,
        talk: Callable[[ss.SecureStream[trio.abc.Stream], ss.SecureStream[trio.abc.Stream], int], Awaitable[bool]],
        judge: Callable[[bool, bool, Witness], None],
        last: bytes = b"",
    ) -> None:
        """`talk(near, far, steps)` says whether it was cut. Then `last` is sent, and the stream closed;
        `judge(cut, goes_on, witness)` is told whether that could still be sent."""

        async def trial(steps: int) -> bool:
            near, far = await secure_pair(self._make, self._configs)
            witness = Witness(far)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(witness.watch)
                cut = await talk(near, far, steps)
                whole = await goes_on(partial(near.send_all, last))
                await near.aclose()
            await assert_transport_closed(near.transport_stream)
            judge(cut, whole, witness)
            return cut

        await at_each_checkpoint(trial)


@pytest.fixture
def trials(make_transports: Make, configs: Configs) -> Trials:
    return Trials(make_transports, configs)


# --- handshakes -----------------------------------------------------------------------------------------------


class OtherSide:
    """The side of a handshake that isn't cancelled, and what becomes of it: `error`, or None where it ended well."""

    def __init__(self, wrapping: Awaitable[ss.SecureStream[trio.abc.Stream]]) -> None:
        self._wrapping = wrapping
        self.error: ss.StreamError | None = None

    async def run(self) -> None:
        try:
            stream = await self._wrapping
            await stream.receive_some()
            await stream.aclose()
        except ss.StreamError as exc:
            self.error = exc


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_cancelled_handshake_closes_the_transport(
    side: str, make_transports: Make, configs: Configs, autojump_clock: MockClock
) -> None:
    async def trial(steps: int) -> bool:
        transports = await make_transports()
        client = partial(ss.wrap_client, transports[0], configs[0])
        server = partial(ss.wrap_server, transports[1], configs[1])
        ours, theirs = (client, server) if side == "client" else (server, client)
        other, streams = OtherSide(theirs()), []

        async def shake_hands() -> None:
            streams.append(await ours())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.run)
            cut = await is_cut(shake_hands, steps)
            for stream in streams:
                await stream.aclose()
        await assert_transport_closed(transports[0 if side == "client" else 1])
        assert isinstance(other.error, ss.TruncatedStream) if cut else other.error is None
        return cut

    await at_each_checkpoint(trial)


async def test_a_cancelled_refusal_closes_the_transport(
    make_transports: Make, configs: Configs, autojump_clock: MockClock
) -> None:
    client, server = configs

    async def refuse(peer: ss.Peer) -> None:
        raise PermissionError("no")

    refusing = replace(server, authorize=refuse)

    async def trial(steps: int) -> bool:
        near, far = await make_transports()
        other = OtherSide(ss.wrap_client(near, client))

        async def wrap() -> None:
            with pytest.raises(ss.AccessDenied):
                await ss.wrap_server(far, refusing)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.run)
            cut = await is_cut(wrap, steps)
        await assert_transport_closed(far)
        assert isinstance(other.error, ss.HandshakeRefused | ss.HandshakeTruncated if cut else ss.HandshakeRefused)
        return cut

    await at_each_checkpoint(trial)


# --- sending ----------------------------------------------------------------------------------------------------


async def test_a_cancelled_send_all_is_whole_or_untouched_or_breaks_the_sending_half(
    trials: Trials, autojump_clock: MockClock
) -> None:
    def judge(cut: bool, goes_on: bool, witness: Witness) -> None:
        if goes_on:
            assert witness.error is None
            assert witness.content == (b"!" if cut else DATA + b"!")
        else:
            assert type(witness.error) is ss.TruncatedStream
            assert DATA.startswith(witness.content)

    await trials.run(lambda near, _, steps: is_cut(partial(near.send_all, DATA), steps), judge, last=b"!")


async def test_receiving_goes_on_after_a_cancelled_send_all(trials: Trials, autojump_clock: MockClock) -> None:
    async def talk(near: ss.SecureStream[trio.abc.Stream], far: ss.SecureStream[trio.abc.Stream], steps: int) -> bool:
        cut = await is_cut(partial(near.send_all, DATA), steps)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.send_all, b"answer")
            assert await near.receive_some() == b"answer"
        return cut

    def judge(cut: bool, goes_on: bool, witness: Witness) -> None:
        assert goes_on or type(witness.error) is ss.TruncatedStream

    await trials.run(talk, judge)


async def test_a_cancelled_key_update_is_whole_or_untouched_or_breaks_the_sending_half(
    trials: Trials, autojump_clock: MockClock
) -> None:
    def judge(cut: bool, goes_on: bool, witness: Witness) -> None:
        assert type(witness.error) is (type(None) if goes_on else ss.TruncatedStream)
        assert witness.content == (b"!" if goes_on else b"")

    await trials.run(lambda near, _, steps: is_cut(near.update_key, steps), judge, last=b"!")


async def test_a_cancelled_end_is_whole_or_untouched_or_breaks_the_sending_half(
    trials: Trials, autojump_clock: MockClock
) -> None:
    def judge(cut: bool, goes_on: bool, witness: Witness) -> None:
        assert witness.content == (b"!" if goes_on else b"")
        may_be_torn = cut and not goes_on  # or it had gone out already
        assert isinstance(witness.error, ss.TruncatedStream | None) if may_be_torn else witness.error is None

    await trials.run(lambda near, _, steps: is_cut(near.send_eof, steps), judge, last=b"!")


async def test_a_cancelled_wait_for_room_leaves_sending_as_it_was(trials: Trials, autojump_clock: MockClock) -> None:
    def judge(cut: bool, goes_on: bool, witness: Witness) -> None:
        assert goes_on
        assert witness.error is None
        assert witness.content == b"!"

    await trials.run(lambda near, _, steps: is_cut(near.wait_send_all_might_not_block, steps), judge, last=b"!")


# --- receiving ----------------------------------------------------------------------------------------------------


async def test_a_cancelled_receive_neither_loses_nor_repeats_anything(
    make_transports: Make, configs: Configs, autojump_clock: MockClock
) -> None:
    for steps in range(5):
        near, far = await secure_pair(make_transports, configs)
        received: list[bytes] = []

        async def send(far: ss.SecureStream[trio.abc.Stream] = far) -> None:
            for start in range(0, len(DATA), 50_000):
                await far.send_all(DATA[start : start + 50_000])
                await trio.sleep(0.1 * (start % 3))
            await far.send_eof()

        async def receive(near: ss.SecureStream[trio.abc.Stream] = near, received: list[bytes] = received) -> None:
            received.append(await near.receive_some(30_000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while received[-1:] != [b""]:
                await is_cut(receive, steps)
                await receive()
        assert b"".join(received) == DATA


# --- ending ---------------------------------------------------------------------------------------------------------


async def test_a_cancelled_alert_is_never_taken_for_an_end(trials: Trials, autojump_clock: MockClock) -> None:
    def judge(cut: bool, goes_on: bool, witness: Witness) -> None:
        untouched = cut and goes_on and witness.error is None
        assert untouched or isinstance(witness.error, ss.PeerAlert | ss.TruncatedStream if cut else ss.PeerAlert)

    await trials.run(lambda near, _, steps: is_cut(partial(near.send_alert, 5_001), steps), judge)


async def test_a_cancelled_aclose_has_closed_the_transport(trials: Trials, autojump_clock: MockClock) -> None:
    def judge(cut: bool, goes_on: bool, witness: Witness) -> None:
        assert not goes_on
        assert isinstance(witness.error, ss.TruncatedStream | None) if cut else witness.error is None

    await trials.run(lambda near, _, steps: is_cut(near.aclose, steps), judge)


@pytest.mark.parametrize("error", [ValueError, ss.StreamFailure, None], ids=str)
async def test_a_cancelled_leaving_has_closed_the_transport(
    error: type[Exception] | None, trials: Trials, autojump_clock: MockClock
) -> None:
    async def talk(near: ss.SecureStream[trio.abc.Stream], far: ss.SecureStream[trio.abc.Stream], steps: int) -> bool:
        async def leave() -> None:
            async with near:
                if error is not None:
                    raise error

        try:
            cut = await is_cut(leave, steps)
        except (ValueError, ss.StreamFailure):
            cut = False
        await assert_transport_closed(near.transport_stream)
        return cut

    def judge(cut: bool, goes_on: bool, witness: Witness) -> None:
        assert not goes_on
        if error is not None:
            assert witness.error is not None, "an error ended the stream in order"

    await trials.run(talk, judge)
