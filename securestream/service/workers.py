"""Several processes that do the same, so that a server has all cores: started, restarted when they die, ended together.

Python computes on one core a process. So here one process that does nothing else, the supervisor, forks the others, the
workers, before anything of Trio runs; each runs a Trio of its own. What was read before, keys and configurations, they
have from it, and nothing is handed over on a command line or in a file.

The supervisor waits for two things at once: signals, which Python writes into a socket (`signal.set_wakeup_fd`), and a
pipe in which workers say that they are ready. While it forks no signal is delivered, so that none meant for a worker
is taken for the supervisor's.

A worker that ends is replaced, after a pause that doubles with each that does not last. Before all of them have been
ready once, none is: a server that can't start says so and ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import math
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn, Self, final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

logger: logging.Logger = logging.getLogger("securestream")

MAX_WORKERS: Final = 256
_ENDING = (signal.SIGTERM, signal.SIGINT)
_WATCHED = (*_ENDING, getattr(signal, "SIGCHLD", signal.SIGTERM))  # Windows has none, and can't fork either
# Seconds before a worker is replaced: at first, and at most. One that has lasted for the latter begins anew.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
_PR_SET_PDEATHSIG = 1  # prctl(2)


@final
@dataclass(frozen=True)
class Worker:
    """What a worker knows of itself: `number`, from 0 on; a replacement has that of whom it replaces."""

    number: int
    _pipe: int = field(repr=False)

    def ready(self) -> None:
        """Tells the supervisor that this one serves."""
        os.write(self._pipe, bytes([self.number]))


class WorkersFailed(ChildProcessError):
    """A worker ended before all of them were ready: it won't get better by trying again."""


def run_workers(
    work: Callable[[Worker], int | None],
    count: int,
    *,
    ready: Callable[[], object] = lambda: None,
    kill_after: float = 60.0,
) -> signal.Signals:
    """Runs `work` in so many processes until SIGTERM or SIGINT; gives the signal that came. Not async, and for the main
    thread of a program that has no other thread and no Trio running: it forks (`os.fork`; Linux, macOS, BSD).

        port = ss.SharedPort(9222)

        async def serve(worker):
            with ss.drain_on(signal.SIGTERM) as drain:
                async with trio.open_nursery() as nursery:
                    await nursery.start(
                        functools.partial(ss.serve_secure_listeners, handler, port.listeners(), config, drain=drain)
                    )
                    worker.ready()

        ss.run_workers(functools.partial(trio.run, serve), 4)

    `work` gets a `Worker`, calls its `ready()` when it serves, and returns its exit status, None for 0. In a worker
    SIGINT is ignored, for a terminal sends it to all; both signals come as SIGTERM, each further one as another. A
    worker that ends by itself, however it ends, is replaced: after 0.1 s, then twice as long each time, 10 s at most.
    Each has limits, figures and lists of its own.

    `count`       1 to 256 of them
    `ready`       called once, when all have been ready
    `kill_after`  seconds after the first signal in which they have to end; then they are killed

    If the supervisor is killed, its workers get SIGTERM (on Linux). Whatever this raises, no worker is left running.
    Raises `WorkersFailed`, `ValueError` for `count`, and `RuntimeError` where it mustn't fork.
    """
    if not 1 <= count <= MAX_WORKERS:
        raise ValueError(f"1 to {MAX_WORKERS} workers, not {count}")
    if not hasattr(os, "fork") or threading.active_count() > 1 or trio.lowlevel.in_trio_run():
        raise RuntimeError("workers are forked: on Unix, before any thread is started, and outside of trio.run")
    with _Mailbox() as mailbox:
        supervisor = _Supervisor(work, count, mailbox, ready, kill_after)
        try:
            return supervisor.run()
        finally:
            supervisor.kill_all()


@dataclass
class _Slot:
    """The place of one worker, and of those that replace it."""

    number: int
    pid: int = 0  # 0: none runs
    started: float = -math.inf
    due: float = -math.inf  # when to start the next
    pause: float = 0.0

    def ended(self, now: float) -> None:
        lasted = now - self.started >= _LONGEST_PAUSE
        self.pause = _FIRST_PAUSE if lasted else min(max(_FIRST_PAUSE, 2 * self.pause), _LONGEST_PAUSE)
        self.pid, self.due = 0, now + self.pause


class _Supervisor:
    """Its state is the slots, and the signal that came."""

    def __init__(
        self,
        work: Callable[[Worker], int | None],
        count: int,
        mailbox: _Mailbox,
        ready: Callable[[], object],
        kill_after: float,
    ) -> None:
        self._work = work
        self._slots = [_Slot(number) for number in range(count)]
        self._mailbox = mailbox
        self._awaited = set(range(count))  # who has never been ready
        self._ready = ready
        self._kill_after = kill_after
        self._kill_at = math.inf
        self._signal: signal.Signals | None = None
        self._failure: WorkersFailed | None = None

    def run(self) -> signal.Signals:
        while not self._is_over():
            if not self._is_ending:
                self._start_those_due()
            numbers, signals = self._mailbox.wait(self._next_moment() - time.monotonic())
            self._note_ready(numbers)
            self._reap()
            for number in signals:
                if number in _ENDING:
                    self._end(signal.Signals(number))
            if time.monotonic() >= self._kill_at:
                logger.error("workers that did not end in %g s are killed", self._kill_after)
                self.kill_all()
        if self._failure is not None:
            raise self._failure
        assert self._signal is not None
        return self._signal

    @property
    def _is_ending(self) -> bool:
        return self._signal is not None or self._failure is not None

    def _is_over(self) -> bool:
        return self._is_ending and not any(slot.pid for slot in self._slots)

    def _next_moment(self) -> float:
        due = (slot.due for slot in self._slots if not slot.pid and not self._is_ending)
        return min(self._kill_at, *due, math.inf)

    # --- starting

    def _start_those_due(self) -> None:
        for slot in self._slots:
            if not slot.pid and slot.due <= (now := time.monotonic()):
                slot.started = now
                slot.pid = self._fork(slot.number)

    def _fork(self, number: int) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        supervisor = os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        try:
            if pid := os.fork():
                return pid
            _be_worker(lambda: self._work(self._mailbox.become_worker(number, supervisor, before)))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _note_ready(self, numbers: bytes) -> None:
        if self._awaited and not self._is_ending:
            self._awaited -= set(numbers)
            if not self._awaited:
                self._ready()

    # --- ending

    def _reap(self) -> None:
        for slot in self._slots:
            if not slot.pid:
                continue
            pid, status = os.waitpid(slot.pid, os.WNOHANG)
            if pid:
                self._note_end(slot, pid, os.waitstatus_to_exitcode(status))

    def _note_end(self, slot: _Slot, pid: int, status: int) -> None:
        slot.ended(time.monotonic())
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        if self._is_ending:
            logger.info("worker %d (process %d) ended %s", slot.number, pid, how)
        elif self._awaited:
            self._failure = WorkersFailed(f"worker {slot.number} ended {how} before all were ready")
            self._tell_all(signal.SIGTERM)
        else:
            text = "worker %d (process %d) ended %s; another starts in %g s"
            logger.error(text, slot.number, pid, how, slot.pause)

    def _end(self, number: signal.Signals) -> None:
        self._signal = self._signal or number
        self._tell_all(signal.SIGTERM)

    def _tell_all(self, number: signal.Signals) -> None:
        self._kill_at = min(self._kill_at, time.monotonic() + self._kill_after)
        for slot in self._slots:
            if slot.pid:  # not reaped yet, so the number is its own
                os.kill(slot.pid, number)

    def kill_all(self) -> None:
        """Whoever is left."""
        for slot in self._slots:
            if slot.pid:
                os.kill(slot.pid, signal.SIGKILL)
                os.waitpid(slot.pid, 0)
                slot.pid = 0


class _Mailbox:
    """What the supervisor waits for: signals, and the numbers of workers that have become ready."""

    def __init__(self) -> None:
        self._signals, self._from_python = socket.socketpair()
        self._numbers, self._from_workers = os.pipe()
        self._handlers = {number: signal.getsignal(number) for number in _WATCHED}
        self._wakeup = -1

    def __enter__(self) -> Self:
        self._signals.setblocking(False)
        self._from_python.setblocking(False)
        os.set_blocking(self._numbers, False)
        self._wakeup = signal.set_wakeup_fd(self._from_python.fileno(), warn_on_full_buffer=False)
        for number in _WATCHED:
            ignored = (
                number in _ENDING and self._handlers[number] is signal.SIG_IGN
            )  # as shells have it in the background
            if not ignored:
                signal.signal(number, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()
        os.close(self._from_workers)
        self._close()

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)

    def _close(self) -> None:
        self._signals.close()
        self._from_python.close()
        os.close(self._numbers)

    def become_worker(self, number: int, supervisor: int, mask: Iterable[int]) -> Worker:
        """In a worker: signals are its own from here on, and those of `mask` are held back as before."""
        _die_with(supervisor)
        self._restore()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._close()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return Worker(number, self._from_workers)

    def wait(self, seconds: float) -> tuple[bytes, bytes]:
        """The numbers and the signals that have come, each a byte."""
        timeout = None if seconds == math.inf else max(seconds, 0.0)
        select.select([self._signals.fileno(), self._numbers], [], [], timeout)
        signals = numbers = b""
        with contextlib.suppress(BlockingIOError):
            signals = self._signals.recv(4_096)
        with contextlib.suppress(BlockingIOError):
            numbers = os.read(self._numbers, 4_096)
        return numbers, signals


def _be_worker(work: Callable[[], int | None]) -> NoReturn:
    """The rest of a worker's life. Nothing of the supervisor's own is run on the way out."""
    status = 1
    try:
        status = work() or 0
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 1
    except BaseException:  # noqa: BLE001 - whatever it is, it must not go on as a second supervisor
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def _die_with(supervisor: int) -> None:
    """Asks the kernel for SIGTERM when the supervisor dies without a word; where it can't be asked, nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != supervisor:  # it has died already
        os._exit(1)
