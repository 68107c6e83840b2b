"""`async with stream:` never ends cleanly by accident: what leaves the block decides what the peer sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss

from .support import (
    TOO_MUCH,
    Configs,
    in_background,
    matching_configs,
    receive_all,
    receive_until_error,
    secure_pair,
    stuffed_pair,
)
from .transports import Transports, lockstep_pair, memory_pair, socket_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

BAD_LUCK = ss.StreamFailure(5_001, "out of luck")


class LeftBy:
    """One end sends b"half" and leaves its block by an error; `received` and `seen` are what the other end gets."""

    def __init__(self, make: Callable[[], Awaitable[Transports]], configs: Configs) -> None:
        self._make = make
        self._configs = configs
        self.received = b""
        self.seen: ss.StreamError | None = None

    async def raising(self, error: BaseException) -> ss.StreamError:
        near, far = await secure_pair(self._make, self._configs)

        async def leave() -> None:
            with pytest.raises(type(error)) as caught:
                async with near:
                    await near.send_all(b"half")
                    raise error
            assert caught.value is error
            with pytest.raises(trio.ClosedResourceError):
                await near.transport_stream.receive_some()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave)
            self.received, self.seen = await receive_until_error(far)
        await far.aclose()
        return self.seen


@pytest.fixture
def left_by(make_transports: Callable[[], Awaitable[Transports]], configs: Configs) -> LeftBy:
    return LeftBy(make_transports, configs)


async def test_left_in_order_the_peer_sees_the_end(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(make_transports, configs)

    async def leave() -> None:
        async with near:
            await near.send_all(b"all of it")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        assert await receive_all(far) == b"all of it"
        await far.aclose()


async def test_left_by_a_stream_failure_its_code_and_text_are_the_alert(
    left_by: LeftBy, autojump_clock: MockClock
) -> None:
    seen = await left_by.raising(BAD_LUCK)
    assert left_by.received == b"half"
    assert isinstance(seen, ss.PeerAlert)
    assert seen.alert == ss.Alert(5_001, "out of luck")
    assert seen.authenticated


@pytest.mark.parametrize(
    "error",
    [ValueError("the password is swordfish"), KeyboardInterrupt(), SystemExit(1), trio.TooSlowError(), EOFError()],
    ids=repr,
)
async def test_left_by_any_other_exception_it_is_alert_13_without_text(
    error: BaseException, left_by: LeftBy, autojump_clock: MockClock
) -> None:
    seen = await left_by.raising(error)
    assert left_by.received == b"half"
    assert isinstance(seen, ss.PeerAlert)
    assert seen.alert == ss.Alert(ss.AlertCode.INTERNAL_ERROR)


async def test_left_by_cancellation_the_peer_sees_a_truncated_stream(
    left_by: LeftBy, configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(left_by._make, configs)

    async def leave() -> None:
        async with near:
            await near.send_all(b"half")
            await trio.sleep_forever()

    async with in_background(leave) as scope:
        assert await far.receive_some() == b"half"
        scope.cancel()
    assert type((await receive_until_error(far))[1]) is ss.TruncatedStream
    with pytest.raises(trio.ClosedResourceError):
        await near.transport_stream.send_all(b"closed")


async def test_left_by_nothing_but_cancellations_in_a_group_it_is_closed_at_once(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, matching_configs())
    with trio.CancelScope() as scope:
        async with near, trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
    assert type((await receive_until_error(far))[1]) is ss.TruncatedStream


async def test_left_by_an_error_in_a_cancelled_scope_it_is_closed_all_the_same(
    left_by: LeftBy, configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(left_by._make, configs)
    with trio.CancelScope() as scope:
        async with near:
            scope.cancel()
            raise ValueError
    with pytest.raises(trio.ClosedResourceError):
        await near.transport_stream.send_all(b"closed")
    seen = (await receive_until_error(far))[1]
    assert isinstance(seen, ss.TruncatedStream | ss.PeerAlert)


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("several", [BaseExceptionGroup("inner", [error]) for error in errors])


async def test_exactly_one_stream_failure_in_a_group_gives_its_text(left_by: LeftBy, autojump_clock: MockClock) -> None:
    seen = await left_by.raising(group(ValueError("secret"), BAD_LUCK))
    assert isinstance(seen, ss.PeerAlert)
    assert seen.alert == BAD_LUCK.alert


async def test_two_stream_failures_in_a_group_are_alert_13(left_by: LeftBy, autojump_clock: MockClock) -> None:
    seen = await left_by.raising(group(BAD_LUCK, ss.StreamFailure(5_002, "worse luck")))
    assert isinstance(seen, ss.PeerAlert)
    assert seen.alert == ss.Alert(ss.AlertCode.INTERNAL_ERROR)


async def test_an_error_beside_a_cancellation_in_a_group_is_told(left_by: LeftBy, autojump_clock: MockClock) -> None:
    near, far = await secure_pair(left_by._make, left_by._configs)

    async def leave() -> None:
        with pytest.raises(BaseExceptionGroup):
            async with near, trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                raise BAD_LUCK

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        _, seen = await receive_until_error(far)
    assert isinstance(seen, ss.PeerAlert)
    assert seen.alert == BAD_LUCK.alert


async def test_left_by_the_stream_s_own_error_no_alert_is_sent_and_no_end(autojump_clock: MockClock) -> None:
    for make in (memory_pair, socket_pair):
        near, far = await secure_pair(make, matching_configs())
        await far.transport_stream.send_eof()  # type: ignore[attr-defined]
        with pytest.raises(ss.TruncatedStream):
            async with near:
                await near.receive_some()
        assert type((await receive_until_error(far))[1]) is ss.TruncatedStream


async def test_left_by_another_stream_s_error_it_is_alert_13(left_by: LeftBy, autojump_clock: MockClock) -> None:
    other, gone = await secure_pair(memory_pair, matching_configs())
    await trio.aclose_forcefully(gone)
    with pytest.raises(ss.TruncatedStream) as caught:
        await other.receive_some()
    seen = await left_by.raising(caught.value)
    assert isinstance(seen, ss.PeerAlert)
    assert seen.alert == ss.Alert(ss.AlertCode.INTERNAL_ERROR)


async def test_left_by_an_error_after_send_eof_the_end_stands(left_by: LeftBy, autojump_clock: MockClock) -> None:
    near, far = await secure_pair(left_by._make, left_by._configs)

    async def leave() -> None:
        with pytest.raises(ValueError):
            async with near:
                await near.send_eof()
                raise ValueError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        assert await receive_all(far) == b""
        await far.aclose()


async def test_left_by_an_error_after_an_alert_of_one_s_own_the_alert_stands(
    left_by: LeftBy, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(left_by._make, left_by._configs)

    async def leave() -> None:
        with pytest.raises(trio.ClosedResourceError):
            async with near:
                await near.send_alert(5_001, "the first")
                await near.send_all(b"too late")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        _, seen = await receive_until_error(far)
    assert isinstance(seen, ss.PeerAlert)
    assert seen.alert == ss.Alert(5_001, "the first")


async def test_left_by_an_error_after_a_clean_close_nothing_is_sent_any_more(autojump_clock: MockClock) -> None:
    near, far = await secure_pair(memory_pair, matching_configs())
    with pytest.raises(ValueError):
        async with near:
            await near.aclose()
            raise ValueError
    assert await receive_all(far) == b""


async def test_left_by_an_error_while_the_peer_takes_nothing_it_ends_within_the_close_timeout(
    autojump_clock: MockClock,
) -> None:
    for make in (socket_pair, lockstep_pair):
        near, far = await secure_pair(make, matching_configs())
        start = trio.current_time()
        with pytest.raises(ValueError):
            async with near:
                with trio.move_on_after(1):
                    await near.send_all(bytes(TOO_MUCH))
                raise ValueError
        assert trio.current_time() - start <= 3
        await trio.aclose_forcefully(far)


async def test_left_by_a_send_eof_that_took_too_long_the_peer_sees_a_truncated_stream(
    configs: Configs, autojump_clock: MockClock
) -> None:
    (near, far), sent = await stuffed_pair(configs)
    with pytest.raises(trio.TooSlowError):
        async with near:
            with trio.fail_after(1):
                await near.send_eof()
    received, seen = await receive_until_error(far)
    assert received == sent
    assert type(seen) is ss.TruncatedStream
