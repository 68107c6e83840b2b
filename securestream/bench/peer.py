"""One end of a measurement, as a process of its own.

python -m securestream.bench.peer server CONTENDER WORKLOAD FOLDER         prints its port; ends with its input
python -m securestream.bench.peer client CONTENDER WORKLOAD FOLDER PORT COUNT SIZE CONNECTIONS    prints the number
"""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path

import trio

from .contenders import CONTENDERS
from .routed import ROUTED
from .workloads import WORKLOADS, Size

EVERYBODY = CONTENDERS | ROUTED


async def serve(contender_name: str, workload_name: str, folder: Path) -> None:
    """Serves until standard input ends, so that it can't outlive who started it."""
    contender, workload = EVERYBODY[contender_name], WORKLOADS[workload_name]

    async def handler(stream: trio.abc.Stream) -> None:
        await workload.handler(stream, contender.receive_size)

    async with trio.open_nursery() as nursery:
        port = await nursery.start(lambda task_status: contender.serve(handler, folder, task_status))
        print(port, flush=True)
        async with trio.lowlevel.FdStream(0) as stdin:
            while await stdin.receive_some():
                pass
        nursery.cancel_scope.cancel()


async def measure(contender_name: str, workload_name: str, folder: Path, port: int, size: Size) -> float:
    """The workload's number."""
    contender, workload = EVERYBODY[contender_name], WORKLOADS[workload_name]
    return await workload.client(lambda: contender.connect(port, folder), size)


def main() -> None:
    side, contender, workload, folder, *rest = sys.argv[1:]
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever has started it, and ends it then
    if side == "server":
        trio.run(serve, contender, workload, Path(folder))
    else:
        port, count, size, connections = map(int, rest)
        print(trio.run(measure, contender, workload, Path(folder), port, Size(count, size, connections)))


if __name__ == "__main__":
    main()
