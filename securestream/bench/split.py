"""Where the time goes: libsodium, the kernel, Trio, or our Python.

    python -m securestream.bench.split [--seconds N] [WORKLOAD ...]

py-spy samples a process that is client and server at once, so both sides' work is in the figures and waiting for the
other is not. A sample belongs to the function that was running; C code counts for the Python function that called it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import trio

from .contenders import CONTENDERS, make_keys
from .workloads import WORKLOADS, Size

# Enough of each to be measured many times while py-spy looks on; and how its cost is told.
SIZES: dict[str, tuple[Size, float, str]] = {
    "handshake": (Size(50), 50, "us a connection"),
    "roundtrip": (Size(500, 64), 500, "us a round trip"),
    "bulk-64k": (Size(500, 2**16), 500 * 2**16 / 1e3, "ns a byte"),
    "bulk-1k": (Size(3_000, 2**10), 3_000, "us a send"),
}
OURS = ("aegis_256", "xchacha20_poly1305")
PARTS = ("libsodium", "kernel", "Trio", "our Python")

_PY_SPY = Path(sys.executable).with_name("py-spy")
_LIBSODIUM = ("protocol/sodium_raw.py", "protocol/sodium_bindings.py", "nacl/")
_KERNEL_CALLS = (
    "SocketChannel.put", "SocketChannel.receive", "SocketChannel._read_into", "SocketChannel._is_ready",
    "EpollIOManager.get_events", "EpollIOManager._update_registrations", "EpollIOManager.notify_closing",
    "_SocketType._nonblocking_helper", "_SocketType.connect", "_SocketType.setsockopt", "_SocketType.getpeername",
    "_SocketType.shutdown", "getaddrinfo", "socket.",
)  # fmt: skip


def part_of(frame: str) -> str:
    """Which part a sample belongs to, by its last frame: `function (file:line)`, as py-spy writes it."""
    function, _, place = frame.partition(" (")
    if any(name in place for name in _LIBSODIUM):
        return "libsodium"
    if function.startswith(_KERNEL_CALLS) or place.startswith("socket.py"):
        return "kernel"
    return "our Python" if "securestream/" in place else "Trio"


def shares(samples: str) -> dict[str, float]:
    """Each part's share of the samples in py-spy's raw format that fell into Trio's loop."""
    counts: Counter[str] = Counter()
    for line in samples.splitlines():
        stack, _, number = line.rpartition(" ")
        if "unrolled_run" in stack:
            counts[part_of(stack.rpartition(";")[2])] += int(number)
    total = counts.total() or 1
    return {part: counts[part] / total for part in PARTS}


async def _keep_busy(workload: str, contender: str, folder: Path, seconds: float) -> float:
    """CPU seconds an operation, client and server together."""
    size, operations, _ = SIZES[workload]
    chosen, work = CONTENDERS[contender], WORKLOADS[workload]
    done, used = 0.0, time.process_time()
    async with trio.open_nursery() as nursery:
        port = await nursery.start(
            lambda task_status: chosen.serve(lambda stream: work.handler(stream, None), folder, task_status)
        )
        end = time.monotonic() + seconds  # from here on, so that there is one at least
        while time.monotonic() < end:
            await work.client(lambda: chosen.connect(port, folder), size)
            done += operations
        nursery.cancel_scope.cancel()
    return (time.process_time() - used) / done


def _sampled(workload: str, contender: str, seconds: float) -> tuple[float, dict[str, float]]:
    with tempfile.TemporaryDirectory() as name:
        folder, samples = Path(name), Path(name) / "samples"
        make_keys(folder)
        child = [sys.executable, "-m", __spec__.name, "--child", name, "--seconds", str(seconds), workload, contender]
        spy = [str(_PY_SPY), "record", "-F", "-r", "250", "-f", "raw", "-o", str(samples), "--"]
        cost = subprocess.run(child, check=True, capture_output=True, text=True)  # first without anybody looking on
        subprocess.run([*spy, *child], check=True, capture_output=True)
        return float(cost.stdout), shares(samples.read_text())


_HEAD = """\
# Where the time goes

Made by `python -m securestream.bench.split`: both sides of a connection in one process, CPU time only, so that waiting
for the other side is not in it. "libsodium" has the encryption and X25519, and PyNaCl's call; BLAKE2b counts as our
Python.
"""


def table(workloads: list[str], seconds: float) -> str:
    """The docs' page."""
    lines = [_HEAD, f"| | cost | {' | '.join(PARTS)} |", "|---|---:|" + "---:|" * len(PARTS)]
    for workload in workloads:
        for contender in OURS:
            cost, parts = _sampled(workload, contender, seconds)
            unit = SIZES[workload][2]
            cells = [f"{cost * 1e6 * share:,.2f} ({share:.0%})" for share in parts.values()]
            title = f"{WORKLOADS[workload].title}, {CONTENDERS[contender].title}"
            lines.append(f"| {title} | {cost * 1e6:,.2f} {unit} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m securestream.bench.split", description="Where the time goes.")
    parser.add_argument("--seconds", type=float, default=6, help="for each measurement")
    parser.add_argument("--child", metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=", ".join(SIZES))
    arguments = parser.parse_args()
    if not arguments.child:
        if unknown := set(arguments.workloads) - set(SIZES):
            parser.error(f"no such workload: {', '.join(sorted(unknown))}; there are {', '.join(SIZES)}")
        if not _PY_SPY.exists():
            parser.error("py-spy is not installed: pip install py-spy")
    if arguments.child:
        workload, contender = arguments.workloads
        print(trio.run(_keep_busy, workload, contender, Path(arguments.child), arguments.seconds))
    else:
        print(table(arguments.workloads or list(SIZES), arguments.seconds), end="")


if __name__ == "__main__":
    main()
