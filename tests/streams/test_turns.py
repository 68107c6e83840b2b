"""Turns: a second call of the caller's is refused, the stream's own business waits, first come, first served."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from securestream.streams.turns import Turns

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_a_second_call_is_busy_until_the_first_has_ended(autojump_clock: MockClock) -> None:
    turns = Turns("counting")
    turns.begin()
    with pytest.raises(trio.BusyResourceError, match="another task is counting"):
        turns.begin()
    turns.end()
    turns.begin()


async def test_a_free_turn_is_taken_without_a_checkpoint(autojump_clock: MockClock) -> None:
    turns = Turns("counting")
    with trio.testing.assert_no_checkpoints():
        await turns.take()
    assert turns.taken
    turns.give()
    assert not turns.taken


async def test_first_come_first_served_and_nobody_in_between(autojump_clock: MockClock) -> None:
    turns = Turns("counting")
    served: list[int] = []

    async def wait(number: int) -> None:
        await turns.take()
        served.append(number)
        await trio.sleep(1)
        turns.give()

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(wait, number)
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(0.5)
        await wait(5)  # comes when others are waiting already
    assert served == list(range(6))
    assert not turns.taken


async def test_whoever_gives_up_waiting_is_passed_over(autojump_clock: MockClock) -> None:
    turns = Turns("counting")
    await turns.take()
    with trio.move_on_after(1) as scope:
        await turns.take()
    assert scope.cancelled_caught
    turns.give()
    assert not turns.taken
    with trio.fail_after(1):
        await turns.take()
