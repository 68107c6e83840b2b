"""Receiving never writes and sending never reads, so that neither direction can hold up the other."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.protocol.records import End
from securestream.protocol.suites import RecordType

from .support import (
    NEARLY_AT_ONCE,
    PATIENCE,
    TOO_MUCH,
    Configs,
    Puppet,
    at_step,
    client_and_puppet,
    failure_of,
    in_background,
    matching_configs,
    receive_until_error,
    secure_pair,
    stuffed_pair,
    tapped_pair,
)
from .transports import Tap, lockstep_pair, memory_pair, small_socket_pair, socket_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from .transports import HalfCloseablePair, Transports


async def test_send_all_never_reads(configs: Configs, autojump_clock: MockClock) -> None:
    near, far, tap = await tapped_pair(configs)
    await far.send_all(b"waiting to be received")
    before = tap.receives
    for _ in range(3):
        await near.send_all(bytes(100_000))
    await near.update_key()
    await near.wait_send_all_might_not_block()
    await near.send_eof()
    assert tap.receives == before
    assert await near.receive_some() == b"waiting to be received"


async def test_receive_some_never_writes(configs: Configs, autojump_clock: MockClock) -> None:
    near, far, tap = await tapped_pair(configs)
    before = tap.sent
    await far.send_all(b"data")
    await far.update_key()
    await far.send_all(b" and more")
    await far.send_alert(5_001, "an alert is not answered")
    received, _ = await receive_until_error(near)
    assert received == b"data and more"
    assert tap.sent == before


WRONGS: dict[str, tuple[Callable[[Puppet[trio.abc.HalfCloseableStream]], bytes], ss.AlertCode]] = {
    "a forged record": (lambda puppet: _flipped(puppet.data(b"data")), ss.AlertCode.BAD_RECORD),
    "a length of 1": (lambda _: b"\1\0", ss.AlertCode.BAD_RECORD),
    "a length of 16,385": (lambda _: b"\1\x40", ss.AlertCode.BAD_RECORD),
    "an ALERT of code 0": (lambda puppet: puppet.seal(RecordType.ALERT, b"\0\0"), ss.AlertCode.PROTOCOL_ERROR),
    "an ALERT of bad UTF-8": (lambda puppet: puppet.seal(RecordType.ALERT, b"\1\0\xff"), ss.AlertCode.PROTOCOL_ERROR),
    "a CLOSE with content": (lambda puppet: puppet.seal(RecordType.CLOSE, b"!"), ss.AlertCode.PROTOCOL_ERROR),
    "a second ACCEPT": (lambda puppet: puppet.seal(RecordType.ACCEPT), ss.AlertCode.PROTOCOL_ERROR),
}


def _flipped(record: bytes) -> bytes:
    return record[:-1] + bytes([record[-1] ^ 1])


@pytest.mark.parametrize("wrong", WRONGS)
@pytest.mark.wire
async def test_a_failed_receive_stores_the_alert_and_aclose_sends_it_in_place_of_close(
    wrong: str, configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await memory_pair()
    tap = Tap(near)
    stream, puppet = await client_and_puppet((tap, far), configs)
    make, code = WRONGS[wrong]
    await puppet.say(puppet.data(b"before"), make(puppet))
    sent = tap.sent
    received, error = await receive_until_error(stream)
    assert received == b"before"
    assert type(error) is ss.BadRecord
    assert error.code == code.name.lower()
    assert tap.sent == sent

    await stream.aclose()
    assert await puppet.hear() == (b"", End.ALERTED)
    assert puppet.reader.alert == ss.Alert(code)


async def test_after_a_failed_receive_every_later_call_raises_the_same(autojump_clock: MockClock) -> None:
    stream, puppet = await client_and_puppet(await memory_pair(), matching_configs())
    await puppet.say(_flipped(puppet.data(b"data")))
    _, error = await receive_until_error(stream)
    for call in (stream.receive_some, stream.send_eof, stream.update_key, lambda: stream.send_all(b"x")):
        again = await failure_of(call(), ss.BadRecord)
        assert again is not error
        assert str(again) == str(error)


async def test_an_alert_that_arrives_while_send_all_is_blocked_ends_that_call_with_peer_alert(
    configs: Configs, autojump_clock: MockClock
) -> None:
    for make in (socket_pair, lockstep_pair):
        near, far = await secure_pair(make, configs)
        errors: list[ss.PeerAlert] = []

        async def send(near: ss.SecureStream[trio.abc.Stream] = near, errors: list[ss.PeerAlert] = errors) -> None:
            errors.append(await failure_of_sending(near))

        async with in_background(send), in_background(partial(far.send_alert, 5_001, "enough")):
            errors.append(await failure_of_receiving(near))
        assert [error.alert for error in errors] == [ss.Alert(5_001, "enough")] * 2
        assert len({str(error) for error in errors}) == 1


async def test_an_alert_that_arrives_between_two_writes_of_a_send_all_ends_it_too(
    configs: Configs, autojump_clock: MockClock
) -> None:
    for sending, receiving in NEARLY_AT_ONCE:
        near, far = await secure_pair(socket_pair, configs)
        await far.send_alert(5_001, "enough")
        send = partial(failure_of_sending, near)
        receive = partial(failure_of_receiving, near)
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(at_step, sending, send)
                nursery.start_soon(at_step, receiving, receive)


@pytest.mark.wire
async def test_an_alert_that_arrives_together_with_room_to_send_ends_the_send_all(
    configs: Configs, autojump_clock: MockClock
) -> None:
    # Then both tasks are ready to run, and which of them comes first is left to chance.
    for _ in range(16):
        near, puppet = await client_and_puppet(await small_socket_pair(), configs)
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(failure_of_sending, near)
                nursery.start_soon(failure_of_receiving, near)
                await trio.testing.wait_all_tasks_blocked()
                descriptor = puppet.transport.socket.fileno()
                os.read(descriptor, 200_000)
                os.write(descriptor, puppet.alert(5_001))


async def test_an_alert_ends_a_wait_for_room_too(configs: Configs, autojump_clock: MockClock) -> None:
    (near, far), _ = await stuffed_pair(configs)
    waiting = failure_of(near.wait_send_all_might_not_block(), ss.PeerAlert)
    async with in_background(lambda: waiting):
        await far.send_alert(5_001, "enough")
        await failure_of_receiving(near)


async def failure_of_sending(stream: ss.SecureStream[trio.abc.Stream]) -> ss.PeerAlert:
    return await failure_of(stream.send_all(bytes(TOO_MUCH)), ss.PeerAlert)


async def failure_of_receiving(stream: ss.SecureStream[trio.abc.Stream]) -> ss.PeerAlert:
    return await failure_of(stream.receive_some(), ss.PeerAlert)


# --- a transport that fails in one direction -----------------------------------------------------------


class BreaksWhileSending(Tap):
    """A transport that refuses to send, from some moment on; what has arrived can still be received."""

    broken = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise trio.BrokenResourceError("broken pipe")
        await super().send_all(data)


async def broken_client(
    configs: Configs, make: Callable[[], Awaitable[HalfCloseablePair]] = memory_pair
) -> tuple[ss.SecureStream[Tap], Puppet[Tap]]:
    near, far = await make()
    transport = BreaksWhileSending(near)
    stream, puppet = await client_and_puppet((transport, Tap(far)), configs)
    transport.broken = True
    return stream, puppet


async def test_the_reason_of_a_failed_send_is_read_and_told(configs: Configs, autojump_clock: MockClock) -> None:
    stream, puppet = await broken_client(configs)
    await puppet.say(puppet.data(b"before"), puppet.alert(5_001, "disk full"))
    error = await failure_of(stream.send_all(b"x"), ss.PeerAlert)
    assert error.alert == ss.Alert(5_001, "disk full")
    assert isinstance(error.__cause__, trio.BrokenResourceError)


async def test_a_failed_send_never_breaks_receiving(configs: Configs, autojump_clock: MockClock) -> None:
    stream, puppet = await broken_client(configs)
    await puppet.say(puppet.data(b"before, "))
    error = await failure_of(stream.send_all(b"x"), ss.TransportBroken)
    assert str(error) == "broken pipe"
    await puppet.say(puppet.data(b"after"))
    received = await stream.receive_some()
    await puppet.say(puppet.close())
    while chunk := await stream.receive_some():
        received += chunk
    assert received == b"before, after"


async def test_after_a_failed_send_every_later_send_raises_the_same(autojump_clock: MockClock) -> None:
    stream, _ = await broken_client(matching_configs())
    error = await failure_of(stream.send_all(b"x"), ss.TransportBroken)
    for call in (stream.send_eof, stream.update_key, lambda: stream.send_all(b"x"), stream.send_alert):
        again = await failure_of(call(), ss.TransportBroken)
        assert again is not error
        assert str(again) == str(error)


async def test_the_reason_is_looked_for_no_longer_than_the_close_timeout(autojump_clock: MockClock) -> None:
    stream, _ = await broken_client(matching_configs(close_timeout=3))
    start = trio.current_time()
    await failure_of(stream.send_all(b"x"), ss.TransportBroken)
    assert trio.current_time() - start == pytest.approx(3)


async def test_the_reason_is_looked_for_in_no_more_than_1_mib(autojump_clock: MockClock) -> None:
    stream, puppet = await broken_client(matching_configs(close_timeout=3))
    for _ in range(300):
        await puppet.say(puppet.data(bytes(16_000)))
    start = trio.current_time()
    await failure_of(stream.send_all(b"x"), ss.TransportBroken)
    assert trio.current_time() == start
    assert stream.statistics().bytes_received < 2**20 + 2**18
    await puppet.say(puppet.close())
    received = 0
    while chunk := await stream.receive_some():
        received += len(chunk)
    assert received == 300 * 16_000


async def test_the_1_mib_counts_from_the_failed_send_on(autojump_clock: MockClock) -> None:
    stream, puppet = await broken_client(matching_configs())
    for _ in range(150):
        await puppet.say(puppet.data(bytes(16_000)))
    received = 0
    while received < 150 * 16_000:
        received += len(await stream.receive_some())
    for _ in range(30):
        await puppet.say(puppet.data(bytes(16_000)))
    await puppet.say(puppet.alert(5_001, "disk full"))
    await failure_of(stream.send_all(b"x"), ss.PeerAlert)


async def test_a_task_that_receives_at_that_moment_goes_on(autojump_clock: MockClock) -> None:
    stream, puppet = await broken_client(matching_configs())
    received: list[bytes] = []

    async def receive() -> None:
        received.append(await stream.receive_some())

    async with in_background(receive):
        await failure_of(stream.send_all(b"x"), ss.TransportBroken)
        await puppet.say(puppet.data(b"data"))
    assert received == [b"data"]

    async def wait_for_the_end() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()

    async with in_background(wait_for_the_end):
        await stream.aclose()


async def test_a_program_that_never_receives_learns_of_no_alert(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, matching_configs())
    await far.send_alert(5_001, "nobody listens")
    await near.send_all(b"data")
    assert near.alert is None
    await failure_of(near.receive_some(), ss.PeerAlert)
    assert near.alert == ss.Alert(5_001, "nobody listens")


async def test_a_transport_that_somebody_else_closed_is_a_closed_resource(
    make_transports: Callable[[], Awaitable[Transports]], autojump_clock: MockClock
) -> None:
    near, _ = await secure_pair(make_transports, matching_configs())
    await trio.aclose_forcefully(near.transport_stream)
    with pytest.raises(trio.ClosedResourceError):
        await near.wait_send_all_might_not_block()
    with pytest.raises((trio.ClosedResourceError, ss.TransportBroken)):
        await near.send_all(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await near.receive_some()
    await near.aclose()


async def test_over_a_transport_that_somebody_else_closed_no_alert_can_be_sent(
    make_transports: Callable[[], Awaitable[Transports]], autojump_clock: MockClock
) -> None:
    near, _ = await secure_pair(make_transports, matching_configs())
    await trio.aclose_forcefully(near.transport_stream)
    with pytest.raises(trio.ClosedResourceError):
        await near.send_alert(5_001)
    await near.aclose()


class Thief(trio.abc.Instrument):
    """Takes what has arrived at a socket away, once, from under the task that was woken for it."""

    def __init__(self, task_name: str, descriptor: int) -> None:
        self._task_name = task_name
        self._descriptor = descriptor
        self.taken = b""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name == self._task_name and not self.taken:
            with contextlib.suppress(BlockingIOError):
                self.taken = os.read(self._descriptor, 100_000)


async def test_a_wake_up_without_data_is_no_end(configs: Configs, autojump_clock: MockClock) -> None:
    near, far = await socket_pair()
    client, server = configs
    streams: list[ss.SecureStream[trio.SocketStream]] = []
    received: list[bytes] = []

    async def shake_hands_and_receive() -> None:
        streams.append(await ss.wrap_client(near, client))
        trio.lowlevel.add_instrument(second)
        received.append(await streams[0].receive_some())

    first, second = [Thief("receiver", near.socket.fileno()) for _ in range(2)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake_hands_and_receive, name="receiver")
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(first)
        nursery.start_soon(_give_back, first, far)
        stream = await ss.wrap_server(far, server)
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(b"data")
        await _give_back(second, far)
    assert received == [b"data"]
    for thief in (first, second):
        trio.lowlevel.remove_instrument(thief)


async def _give_back(thief: Thief, transport: trio.SocketStream) -> None:
    await trio.testing.wait_all_tasks_blocked()
    assert thief.taken
    os.write(transport.socket.fileno(), thief.taken)
