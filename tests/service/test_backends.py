"""Which server is dialled: one that answers, the least busy; who is down is looked at, and forgotten."""

from __future__ import annotations

import contextlib
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.service.backends import Backends

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock


@dataclass
class Farm:
    """Servers that answer or don't, and how often each was dialled."""

    down: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    dialled: list[str] = field(default_factory=list)

    def backends(self, names: str) -> list[ss.Backend]:
        return [FakeBackend(f"{name}:1", farm=self) for name in names]


@dataclass(frozen=True)
class FakeBackend(ss.Backend):
    farm: Farm = field(default_factory=Farm, compare=False)

    async def dial(self) -> trio.SocketStream:
        name = self.address[0]
        self.farm.dialled.append(name)
        await trio.lowlevel.checkpoint()
        if name in self.farm.silent:
            await trio.sleep_forever()
        if name in self.farm.down:
            raise ConnectionRefusedError(111, "Connection refused")
        return cast("trio.SocketStream", trio.testing.memory_stream_pair()[0])


async def chosen(backends: Backends, choices: Sequence[ss.Backend], used: ExitStack) -> str:
    return (await backends.dial(choices, used))[0].address[0]


async def test_connections_are_shared_out_evenly_and_counted_until_they_end() -> None:
    farm, backends = Farm(), Backends(2, 1)
    choices = farm.backends("abc")
    with ExitStack() as used:
        names = [await chosen(backends, choices, used) for _ in range(30)]
        assert {name: names.count(name) for name in names} == {"a": 10, "b": 10, "c": 10}
        with ExitStack() as more:
            for _ in range(5):
                await chosen(backends, farm.backends("a"), more)
            assert "a" not in [await chosen(backends, choices, used) for _ in range(8)]
        assert [await chosen(backends, choices, used) for _ in range(3)].count("a") >= 2
    assert backends._states == {}


async def test_dials_under_way_count_too() -> None:
    farm, backends = Farm(), Backends(2, 1)
    with ExitStack() as used:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(chosen, backends, farm.backends("ab"), used)
        assert (farm.dialled.count("a"), farm.dialled.count("b")) == (5, 5)


async def test_few_wait_for_one_that_is_down_and_the_others_hear_so_at_once(autojump_clock: MockClock) -> None:
    farm, backends = Farm(silent={"a"}), Backends(2, 1)
    refused_after: list[float] = []

    async def ask() -> None:
        start = trio.current_time()
        with ExitStack() as used, pytest.raises(OSError, match="none of 1 servers answers"):
            await backends.dial(farm.backends("a"), used)
        refused_after.append(trio.current_time() - start)

    await ask()
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(ask)
    assert sorted(refused_after) == [0] * 84 + [2] * 17
    farm.silent.clear()
    with ExitStack() as used:
        assert await chosen(backends, farm.backends("a"), used) == "a"


async def test_equals_are_chosen_by_chance() -> None:
    farm, backends = Farm(), Backends(2, 1)
    for _ in range(200):  # with two equals, one of them never: once in 2**199
        with ExitStack() as used:
            await chosen(backends, farm.backends("ab"), used)
    assert set(farm.dialled) == {"a", "b"}


async def test_who_is_down_is_asked_last_and_found_up_by_a_look(autojump_clock: MockClock) -> None:
    farm, backends = Farm(down={"a"}), Backends(2, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backends.look_after)
        for _ in range(10):
            with ExitStack() as used:
                assert await chosen(backends, farm.backends("ab"), used) == "b"
        assert farm.dialled.count("a") <= 1
        with ExitStack() as used:
            farm.down = {"a", "b"}
            with pytest.raises(OSError, match="none of 2 servers answers"):
                await chosen(backends, farm.backends("ab"), used)
        await trio.sleep(10)
        farm.down = set()
        await trio.sleep(1.5)
        assert backends._states == {}
        seen = len(farm.dialled)
        await trio.sleep(1_000)
        assert len(farm.dialled) == seen, "servers that answer are left alone"
        nursery.cancel_scope.cancel()


async def test_a_server_that_nobody_wants_is_not_looked_at_for_ever(autojump_clock: MockClock) -> None:
    farm, backends = Farm(down={"a"}), Backends(2, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backends.look_after)
        with ExitStack() as used, contextlib.suppress(OSError):
            await chosen(backends, farm.backends("a"), used)
        await trio.sleep(10_000)
        assert len(farm.dialled) == 61
        assert backends._states == {}
        nursery.cancel_scope.cancel()


async def test_a_server_that_says_nothing_costs_the_connect_timeout(autojump_clock: MockClock) -> None:
    farm, backends = Farm(silent={"a"}), Backends(2, 1)
    start = trio.current_time()
    for _ in range(20):
        with ExitStack() as used:
            assert await chosen(backends, farm.backends("ab"), used) == "b"
    assert trio.current_time() - start <= 2


async def test_a_dial_that_is_cancelled_is_not_counted(autojump_clock: MockClock) -> None:
    farm, backends = Farm(silent={"a"}), Backends(2, 1)
    with ExitStack() as used, trio.move_on_after(1):
        await chosen(backends, farm.backends("a"), used)
    assert backends._states == {}
