"""What a second worker gives: handshakes a second, and what each costs the servers' processes.

    python -m securestream.bench.workers [--seconds N] [--markdown FILE]

A handshake costs its client about as much as its server. So two cores can't show two workers at full speed with
clients elsewhere: where the workers have both cores, the clients are on one of them. Two ways round it are measured
beside that. The time that the workers' processes take for a handshake hardly depends on who else is there. And workers
that may use no more than a slice of one core each (Linux control groups, `cpu.cfs_quota_us`, as root) are to each other
as those of a larger machine, while the clients have a core of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from ..protocol.keys import PrivateKey
from ..service.client import open_secure_tcp_stream
from ..service.drain import drain_on
from ..service.server import serve_secure_listeners
from ..service.shared_port import SharedPort
from ..service.workers import run_workers
from ..streams.config import ANYONE, ClientConfig, ServerConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..service.workers import Worker
    from ..streams.secure import SecureStream

_KEY = PrivateKey(bytes([9]) * 32)  # of this measurement only
_GROUPS = Path("/sys/fs/cgroup/cpu")
_PERIOD = 10_000  # microseconds in which a slice is counted
_CLIENTS, _TASKS = 2, 8  # processes, and connections at once in each


@dataclass(frozen=True)
class SetUp:
    """Where the workers run, one a core named, and which share of it each may use. The clients are on core 1."""

    title: str
    cores: tuple[int, ...]
    share: float = 1.0


SET_UPS = (
    SetUp("one worker on core 0", (0,)),
    SetUp("two workers on core 0", (0, 0)),
    SetUp("two workers, on core 0 and on the clients' core 1", (0, 1)),
    SetUp("one worker with a quarter of core 0", (0,), 0.25),
    SetUp("two workers with a quarter of core 0 each", (0, 0), 0.25),
)


@dataclass(frozen=True)
class Figures:
    """What came of a set-up: handshakes a second, and milliseconds of the workers' time for each."""

    set_up: SetUp
    rate: float
    cost: float


# --- the server -------------------------------------------------------------------------------------


def serve(cores: Sequence[int]) -> None:
    """Workers on these cores. Prints the port and their processes, and ends by SIGTERM."""
    config = ServerConfig(key=_KEY, authorize=ANYONE)

    async def work(worker: Worker, port: SharedPort) -> None:
        os.sched_setaffinity(0, {cores[worker.number]})
        with drain_on(signal.SIGTERM, grace=0) as drain:
            async with trio.open_nursery() as nursery:
                serve = functools.partial(serve_secure_listeners, drain=drain)
                await nursery.start(serve, _echo, port.listeners(), config)
                worker.ready()

    with SharedPort(0, "127.0.0.1") as port:

        def say() -> None:
            children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
            print(port.port, children, flush=True)

        run_workers(lambda worker: trio.run(work, worker, port), len(cores), ready=say)


async def _echo(stream: SecureStream[trio.SocketStream]) -> None:
    async for chunk in stream:
        await stream.send_all(chunk)


# --- the clients ------------------------------------------------------------------------------------


async def load(port: int, seconds: float) -> int:
    """Connects, sends a byte and gets it back, closes; as often as can be, and once at least. How often that was."""
    config, done = ClientConfig(server_key=_KEY.public_key), 0

    async def converse() -> None:
        nonlocal done
        async with await open_secure_tcp_stream("127.0.0.1", port, config) as stream:
            await stream.send_all(b"x")
            await stream.receive_some()
            await stream.send_eof()
            await stream.receive_some()
        done += 1

    async def repeat() -> None:
        while True:
            await converse()

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for _ in range(_TASKS):
                nursery.start_soon(repeat)
    if not done:
        await converse()
    return done


# --- measuring --------------------------------------------------------------------------------------


def measure(set_up: SetUp, seconds: float) -> Figures:
    """Raises `OSError` where slices can't be had."""
    command = [sys.executable, "-m", __spec__.name]
    with (
        subprocess.Popen([*command, "serve", *map(str, set_up.cores)], stdout=subprocess.PIPE, text=True) as server,
        _ended(server),
    ):
        assert server.stdout is not None
        port, *workers = map(int, server.stdout.readline().split())
        with _slices(workers, set_up.share):
            before, start = sum(map(_seconds_of, workers)), time.perf_counter()
            clients = [
                subprocess.Popen(
                    ["taskset", "-c", "1", *command, "load", str(port), str(seconds)],
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for _ in range(_CLIENTS)
            ]
            done = sum(int(client.communicate()[0]) for client in clients)
            used = sum(map(_seconds_of, workers)) - before
    assert time.perf_counter() - start >= seconds
    return Figures(set_up, done / seconds, 1e3 * used / done)


@contextlib.contextmanager
def _ended(server: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def _slices(workers: Sequence[int], share: float) -> Iterator[None]:
    """Each worker in a control group of its own, which may use so much of a core."""
    groups = [] if share == 1 else [_GROUPS / f"securestream-bench-{pid}" for pid in workers]
    try:
        for group, pid in zip(groups, workers, strict=False):
            group.mkdir()
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(int(share * _PERIOD)))
            (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for group, pid in zip(groups, workers, strict=False):
            with contextlib.suppress(OSError):
                (_GROUPS / "cgroup.procs").write_text(str(pid))
                group.rmdir()


def _seconds_of(pid: int) -> float:
    """Of a processor's time that a process has used: proc(5), utime and stime."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def markdown(all_figures: Sequence[Figures]) -> str:
    """The docs' table."""
    lines = [
        "# What a second worker gives",
        "",
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}.",
        "Connect, handshake, one byte there and back, close, again and again.",
        "",
        "| clients on core 1, and | connections a second | of one worker | ms of the workers' time for each |",
        "|---|---:|---:|---:|",
    ]
    alone: dict[float, float] = {}
    for figures in all_figures:
        base = alone.setdefault(figures.set_up.share, figures.rate)
        ratio = f"{figures.rate / base:.2f} x"
        lines.append(f"| {figures.set_up.title} | {figures.rate:,.0f} | {ratio} | {figures.cost:.2f} |")
    return "\n".join([*lines, ""])


def main() -> None:
    match sys.argv[1:]:
        case ["serve", *cores]:
            return serve([int(core) for core in cores])
        case ["load", port, seconds]:
            return print(trio.run(load, int(port), float(seconds)))
    parser = argparse.ArgumentParser(prog="python -m securestream.bench.workers")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each set-up")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    given = parser.parse_args()
    all_figures = []
    for set_up in SET_UPS:
        try:
            all_figures.append(measure(set_up, given.seconds))
        except OSError as exc:
            print(f"{set_up.title}: not measured, {exc}", file=sys.stderr)
    text = markdown(all_figures)
    print(text)
    if given.markdown is not None:
        given.markdown.write_text(text, encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
