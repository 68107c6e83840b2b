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

from .support import PATIENCE, Configs, Pair, Transports, secure_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

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


async def witnessed(pair: Pair[trio.abc.Stream], talk: Callable[[], Awaitable[bool]]) -> tuple[bool, Witness]:
    """Runs `talk`, closes the client, and gives what came of it and what the server has seen."""
    near, far = pair
    witness = Witness(far)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(witness.watch)
        result = await talk()
        await near.aclose()
    return result, witness


async def assert_closed(transport: trio.abc.Stream) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await transport.send_all(b"x")


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


async def cut_handshake(
    ours: Callable[[], Awaitable[ss.SecureStream[trio.abc.Stream]]],
    theirs: Awaitable[ss.SecureStream[trio.abc.Stream]],
    transport: trio.abc.Stream,
    steps: int,
) -> bool:
    other = OtherSide(theirs)

    async def shake_hands_and_close() -> None:
        streams.append(await ours())

    streams: list[ss.SecureStream[trio.abc.Stream]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.run)
        cut = await is_cut(shake_hands_and_close, steps)
        for stream in streams:
            await stream.aclose()
    await assert_closed(transport)
    assert isinstance(other.error, ss.TruncatedStream) if cut else other.error is None
    return cut


async def test_a_cancelled_client_handshake_closes_the_transport(
    make_transports: Make, configs: Configs, autojump_clock: MockClock
) -> None:
    client, server = configs

    async def trial(steps: int) -> bool:
        near, far = await make_transports()
        return await cut_handshake(partial(ss.wrap_client, near, client), ss.wrap_server(far, server), near, steps)

    await at_each_checkpoint(trial)


async def test_a_cancelled_server_handshake_closes_the_transport(
    make_transports: Make, configs: Configs, autojump_clock: MockClock
) -> None:
    client, server = configs

    async def trial(steps: int) -> bool:
        near, far = await make_transports()
        return await cut_handshake(partial(ss.wrap_server, far, server), ss.wrap_client(near, client), far, steps)

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
        await assert_closed(far)
        assert isinstance(other.error, ss.HandshakeRefused | ss.HandshakeTruncated if cut else ss.HandshakeRefused)
        return cut

    await at_each_checkpoint(trial)


# --- sending ----------------------------------------------------------------------------------------------------


async def goes_on(sending: Callable[[], Awaitable[object]]) -> bool:
    """Whether sending still works."""
    try:
        await sending()
    except ss.TransportBroken:
        return False
    return True


async def test_a_cancelled_send_all_is_whole_or_untouched_or_breaks_the_sending_half(
    make_transports: Make, configs: Configs, autojump_clock: MockClock
) -> None:
    async def trial(steps: int) -> bool:
        near, far = await secure_pair(make_transports, configs)
        whole = False

        async def talk() -> bool:
            nonlocal whole
            cut = await is_cut(partial(near.send_all, DATA), steps)
            whole = await goes_on(partial(near.send_all, b"!"))
            return cut

        cut, witness = await witnessed((near, far), talk)
        if whole:
            assert witness.error is None
            assert witness.content == (b"!" if cut else DATA + b"!")
        else:
            assert type(witness.error) is ss.TruncatedStream
            assert DATA.startswith(witness.content)
        return cut

    await at_each_checkpoint(trial)


async def test_receiving_goes_on_after_a_cancelled_send_all(
    make_transports: Make, configs: Configs, autojump_clock: MockClock
) -> None:
    async def trial(steps: int) -> bool:
        near, far = await secure_pair(make_transports, configs)

        async def talk() -> bool:
            cut = await is_cut(partial(near.send_all, DATA), steps)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(far.send_all, b"answer")
                assert await near.receive_some() == b"answer"
            return cut

        cut, _ = await witnessed((near, far), talk)
        return cut

    await at_each_checkpoint(trial)


@pytest.mark.parametrize("call", ["send_eof", "update_key"])
async def test_a_cancelled_control_record_is_whole_or_untouched_or_breaks_the_sending_half(
    call: str, make_transports: Make, configs: Configs, autojump_clock: MockClock
) -> None:
    async def trial(steps: int) -> bool:
        near, far = await secure_pair(make_transports, configs)
        whole = False

        async def talk() -> bool:
            nonlocal whole
            cut = await is_cut(getattr(near, call), steps)
            whole = await goes_on(near.send_eof)
            return cut

        cut, witness = await witnessed((near, far), talk)
        assert witness.error is None if whole else isinstance(witness.error, ss.TruncatedStream | None)
        assert witness.content == b""
        return cut

    await at_each_checkpoint(trial)


async def test_a_cancelled_wait_for_room_leaves_sending_as_it_was(
    make_transports: Make, configs: Configs, autojump_clock: MockClock
) -> None:
    async def trial(steps: int) -> bool:
        near, far = await secure_pair(make_transports, configs)

        async def talk() -> bool:
            cut = await is_cut(near.wait_send_all_might_not_block, steps)
            await near.send_all(b"data")
            return cut

        cut, witness = await witnessed((near, far), talk)
        assert witness.error is None
        assert witness.content == b"data"
        return cut

    await at_each_checkpoint(trial)


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


async def test_a_cancelled_alert_is_never_taken_for_an_end(
    make_transports: Make, configs: Configs, autojump_clock: MockClock
) -> None:
    async def trial(steps: int) -> bool:
        near, far = await secure_pair(make_transports, configs)
        cut, witness = await witnessed((near, far), partial(is_cut, partial(near.send_alert, 5_001), steps))
        assert isinstance(witness.error, ss.PeerAlert | ss.TruncatedStream if cut else ss.PeerAlert)
        return cut

    await at_each_checkpoint(trial)


async def test_a_cancelled_aclose_has_closed_the_transport(
    make_transports: Make, configs: Configs, autojump_clock: MockClock
) -> None:
    async def trial(steps: int) -> bool:
        near, far = await secure_pair(make_transports, configs)
        cut, witness = await witnessed((near, far), partial(is_cut, near.aclose, steps))
        await assert_closed(near.transport_stream)
        assert isinstance(witness.error, ss.TruncatedStream | None) if cut else witness.error is None
        with pytest.raises(trio.ClosedResourceError):
            await near.receive_some()
        return cut

    await at_each_checkpoint(trial)


@pytest.mark.parametrize("error", [ValueError, ss.StreamFailure, None], ids=str)
async def test_a_cancelled_leaving_has_closed_the_transport(
    error: type[Exception] | None, make_transports: Make, configs: Configs, autojump_clock: MockClock
) -> None:
    async def trial(steps: int) -> bool:
        near, far = await secure_pair(make_transports, configs)

        async def leave() -> None:
            async with near:
                if error is not None:
                    raise error

        async def talk() -> bool:
            try:
                return await is_cut(leave, steps)
            except (ValueError, ss.StreamFailure):
                return False

        cut, witness = await witnessed((near, far), talk)
        await assert_closed(near.transport_stream)
        if error is not None:
            assert witness.error is not None, "an error ended the stream in order"
        return cut

    await at_each_checkpoint(trial)
