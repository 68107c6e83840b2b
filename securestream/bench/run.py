"""Rounds: within each, every contender in turn, so that a slow minute of the machine hits all of them."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import trio

from .alone import ALONE, sealing_speed
from .contenders import CONTENDERS
from .routed import ROUTED
from .workloads import WORKLOADS, Size, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


@dataclass
class Result:
    """One contender at one workload: a figure a round."""

    workload: str
    contender: str
    figures: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.figures)

    @property
    def spread(self) -> float:
        """Half the range, as a share of the median."""
        return (max(self.figures) - min(self.figures)) / 2 / self.median if self.median else 0.0

    def ratios_to(self, base: Result) -> list[float]:
        """Round by round, as within a round both had the same minute of the machine. Empty where the base is ever 0."""
        pairs = list(zip(self.figures, base.figures, strict=True))
        return [mine / other for mine, other in pairs] if all(base.figures) else []

    def beyond(self, base: Result) -> list[float]:
        """The same for differences."""
        return [mine - other for mine, other in zip(self.figures, base.figures, strict=True)]


def plan(workloads: Sequence[str], only: Sequence[str], rounds: int) -> Iterator[tuple[str, str]]:
    """What is measured, in its order; with none in `only`, each workload has its own contenders."""
    for workload in workloads:
        for _ in range(rounds):
            for contender in contenders_of(workload, only):
                yield workload, contender


def contenders_of(workload: str, only: Sequence[str] = ()) -> Sequence[str]:
    """Those that a workload is for, or those of `only`."""
    chosen = WORKLOADS[workload]
    alone = ALONE if chosen.is_encryption else {}
    if only:
        return [name for name in dict.fromkeys(only) if name not in ALONE or name in alone]
    return list(ROUTED) if chosen.routed else [*CONTENDERS, *alone]


async def measure_once(contender: str, workload: Workload, size: Size, folder: Path) -> float:
    """One figure, from two fresh processes. Raises `subprocess.CalledProcessError`."""
    command = [sys.executable, "-m", "securestream.bench.peer"]
    ends = [contender, workload.name, str(folder)]
    start = partial(trio.run_process, [*command, "server", *ends], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    async with trio.open_nursery() as nursery:
        server: trio.Process = await nursery.start(start)
        assert server.stdin is not None
        assert server.stdout is not None
        port = bytes(await server.stdout.receive_some()).decode().strip()
        sizes = [port, str(size.count), str(size.size), str(size.connections)]
        client = await trio.run_process([*command, "client", *ends, *sizes], capture_stdout=True)
        await server.stdin.aclose()
    return float(client.stdout)


async def run(
    workloads: Sequence[str],
    only: Sequence[str],
    rounds: int,
    folder: Path,
    *,
    smallest: bool = False,
    progress: Callable[[str, str], None] | None = None,
) -> list[Result]:
    """All figures. `progress(workload, contender)` is called before each."""
    results: dict[tuple[str, str], Result] = {}
    for name, contender in plan(workloads, only, rounds):
        if progress is not None:
            progress(name, contender)
        workload = WORKLOADS[name]
        size = workload.smallest if smallest else workload.size
        if contender in ALONE:
            figure = sealing_speed(ALONE[contender].suite, 0.01 if smallest else 0.3)
        else:
            figure = await measure_once(contender, workload, size, folder)
        results.setdefault((name, contender), Result(name, contender)).figures.append(figure)
    return list(results.values())


def machine() -> dict[str, str]:
    """Where the figures come from, and what else the machine was doing: to be asked before anything is measured."""
    packages = ("securestream", "trio", "pynacl", "cryptography", "noiseprotocol")
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{package: _version(package) for package in packages},
        "load average before": _load(),
    }


def _load() -> str:
    """How many processes wanted to run during the last minute: figures of a busy machine are too low."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
