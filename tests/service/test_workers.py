"""Several processes of one server: started, replaced, ended together. Each test runs a program of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.service.workers import _FIRST_PAUSE, _LONGEST_PAUSE, _Slot

from ..cli.support import process, read_all, read_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Each worker says its number and process, then waits for a signal. What is done beside that is the test's.
PROGRAM = """
import os, signal, sys, time, logging
import securestream as ss

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
COUNT, KILL_AFTER = 2, 60.0
caught = []

def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")
    sys.stdout.flush()

def work(worker):
    signal.signal(signal.SIGTERM, lambda number, frame: caught.append(number))
    worker.ready()
    say("worker", worker.number, os.getpid())
    while not caught:
        time.sleep(0.005)
    return leave()

def leave():
    return 0

{more}
if __name__ == "__main__":
    try:
        say("ended by", ss.run_workers(work, COUNT, ready=lambda: say("ready"), kill_after=KILL_AFTER).name)
    except ss.WorkersFailed as exc:
        say("failed:", exc)
"""


@asynccontextmanager
async def program(more: str = "") -> AsyncIterator[trio.Process]:
    async with process([sys.executable, "-c", PROGRAM.replace("{more}", more)], stdin=subprocess.DEVNULL) as started:
        yield started


async def lines(started: trio.Process, count: int) -> list[str]:
    return [(await read_line(started)).strip() for _ in range(count)]


async def workers_of(started: trio.Process, count: int = 2) -> dict[int, int]:
    """Processes by number, when all are ready."""
    said = await lines(started, count + 1)
    assert "ready" in said
    return {int(number): int(pid) for _, number, pid in map(str.split, filter(lambda line: line != "ready", said))}


async def is_gone(pid: int) -> None:
    """Returns when there is no such process."""
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        await trio.sleep(0.005)


# --- a life without mishap --------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_all_are_ready_then_all_are_ended(number: signal.Signals, usual_sigint: None) -> None:
    async with program() as started:
        workers = await workers_of(started)
        assert sorted(workers) == [0, 1]
        assert started.pid not in workers.values()
        started.send_signal(number)
        assert await lines(started, 1) == [f"ended by {number.name}"]
        assert await started.wait() == 0
        for pid in workers.values():
            await is_gone(pid)
        assert b"ERROR" not in await read_all(started.stderr)


async def test_a_terminal_s_interrupt_reaches_workers_once(usual_sigint: None) -> None:
    """It goes to every process of the group; were it passed on as well, workers would take it for the second."""
    more = "def leave():\n    time.sleep(0.05)\n    say('signals', len(caught))\n    return 0\n"
    async with program(more) as started:
        workers = await workers_of(started)
        for pid in (*workers.values(), started.pid):
            os.kill(pid, signal.SIGINT)
        assert await lines(started, 3) == ["signals 1", "signals 1", "ended by SIGINT"]


async def test_a_second_signal_is_passed_on(usual_sigint: None) -> None:
    more = """
def leave():
    say("first")
    while len(caught) < 2:
        time.sleep(0.005)
    return 0
"""
    async with program(more) as started:
        await workers_of(started)
        started.terminate()
        assert await lines(started, 2) == ["first", "first"]
        started.send_signal(signal.SIGINT)
        assert await lines(started, 1) == ["ended by SIGTERM"]


async def test_keys_and_randomness_of_workers_are_their_own() -> None:
    """What a library drew ahead in the supervisor would come twice, once in each."""
    more = """
import random
ss.PrivateKey.generate()
random.random()
def leave():
    say(ss.PrivateKey.generate().public_key, random.random())
    return 0
"""
    async with program(more) as started:
        await workers_of(started)
        started.terminate()
        first, second = await lines(started, 2)
        assert not set(first.split()) & set(second.split())


# --- deaths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["killed", "raises", "returns", "exits"])
async def test_a_worker_that_ends_is_replaced_by_one_with_its_number(how: str) -> None:
    endings = {"raises": "raise ValueError('oh')", "returns": "return 3", "exits": "sys.exit(3)"}
    more = f"def leave():\n    {endings.get(how, 'return 0')}\n"
    async with program(more) as started:
        workers = await workers_of(started)
        os.kill(workers[1], signal.SIGKILL if how == "killed" else signal.SIGTERM)
        (said,) = await lines(started, 1)
        assert said.startswith("worker 1 ")
        new = int(said.split()[2])
        assert new not in workers.values()
        os.kill(workers[0], 0)  # the other goes on
        started.terminate()
        assert await lines(started, 1) == ["ended by SIGTERM"]
        assert await started.wait() == 0
        told = (await read_all(started.stderr)).decode()
    status = {"killed": "by SIGKILL", "raises": "with status 1"}.get(how, "with status 3")
    assert f"ERROR worker 1 (process {workers[1]}) ended {status}; another starts in 0.1 s" in told
    assert ("ValueError: oh" in told) is (how == "raises")


async def test_before_all_were_ready_a_death_ends_them_all() -> None:
    more = """
served = work
def work(worker):
    if worker.number == 1:
        return 7
    return served(worker)
"""
    async with program(more) as started:
        said = (await read_all(started.stdout)).decode()
        assert said.endswith("failed: worker 1 ended with status 7 before all were ready\n")
        assert "ready\n" not in said.splitlines(keepends=True)
        assert await started.wait() == 0
        for pid in re.findall(r"worker \d (\d+)", said):
            await is_gone(int(pid))


async def test_a_worker_that_does_not_end_is_killed() -> None:
    more = "KILL_AFTER = 0.1\ndef leave():\n    say('stays')\n    time.sleep(1_000)\n"
    async with program(more) as started:
        workers = await workers_of(started)
        started.terminate()
        assert (await read_all(started.stdout)).endswith(b"ended by SIGTERM\n")
        for pid in workers.values():
            await is_gone(pid)
        assert b"workers that did not end in 0.1 s are killed" in await read_all(started.stderr)


async def test_workers_end_when_their_supervisor_is_killed() -> None:
    async with program() as started:
        workers = await workers_of(started)
        started.kill()
        for pid in workers.values():
            await is_gone(pid)


async def test_what_ready_raises_leaves_no_worker_behind() -> None:
    more = """
said = say
def say(*words):
    if words == ("ready",):
        raise OSError("no output")
    said(*words)
"""
    async with program(more) as started:
        said = (await read_all(started.stdout)).decode()
        assert await started.wait() == 1
        for pid in re.findall(r"worker \d (\d+)", said):
            await is_gone(int(pid))
        assert b"OSError: no output" in await read_all(started.stderr)


def test_the_pause_before_a_replacement_doubles_and_begins_anew_with_one_that_lasted() -> None:
    slot, now, pauses = _Slot(0), 1_000.0, []
    for _ in range(9):
        slot.started = now
        slot.ended(now + 1)
        pauses.append(slot.pause)
        assert slot.due == now + 1 + slot.pause
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10])
    slot.started = now
    slot.ended(now + _LONGEST_PAUSE)
    assert slot.pause == _FIRST_PAUSE


# --- misuse -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, -1, 257])
def test_a_count_that_makes_no_sense_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 256 workers"):
        ss.run_workers(lambda _: None, count)


async def test_inside_of_trio_nothing_is_forked() -> None:
    with pytest.raises(RuntimeError, match=r"outside of trio\.run"):
        ss.run_workers(lambda _: None, 1)


def test_beside_a_thread_nothing_is_forked() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="before any thread"):
            ss.run_workers(lambda _: None, 1)
    finally:
        done.set()
        thread.join()
