"""What stands between the two ends: the router, and beside it a relay for plain TCP. Each is a process of its own.

python -m securestream.bench.routed relay|router FOLDER PORT    prints its port; ends with its input
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from ..protocol.keys import PrivateKey
from ..protocol.suites import Suite
from ..service.relay import cut_on_error, relay
from ..service.router import RouterConfig, serve_router_tcp
from ..service.routes import Backend
from .contenders import BACKLOG, CONTENDERS, HOST, Contender, ours, read_key

if TYPE_CHECKING:
    from .contenders import Handler

# The router's key: it hides nothing in a benchmark.
_ROUTER_KEY = PrivateKey(bytes([9]) * 32)


def _behind(kind: str, name: str, title: str, base: Contender) -> Contender:
    """That contender, with the middle between its ends."""

    async def serve(handler: Handler, folder: Path, task_status: trio.TaskStatus[int]) -> None:
        async with trio.open_nursery() as nursery:
            port = await nursery.start(partial(_serve_base, base, handler, folder))
            command = [sys.executable, "-m", __name__, kind, str(folder), str(port)]
            start = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            middle: trio.Process = await nursery.start(start)
            assert middle.stdout is not None
            task_status.started(int(await middle.stdout.receive_some()))

    return Contender(name, title, base.connect, serve, base.receive_size)


async def _serve_base(base: Contender, handler: Handler, folder: Path, task_status: trio.TaskStatus[int]) -> None:
    await base.serve(handler, folder, task_status)


def _routed(suite: Suite, title: str) -> Contender:
    name = f"{suite.name.lower()}_routed"
    return _behind("router", name, title, ours(name, title, suite, middlebox_key=_ROUTER_KEY.public_key))


ROUTED: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        CONTENDERS["tcp"],
        _behind("relay", "tcp_relayed", "Trio TCP, relayed", CONTENDERS["tcp"]),
        CONTENDERS["aegis_256"],
        _routed(Suite.AEGIS_256, "AEGIS-256, through the router"),
        CONTENDERS["xchacha20_poly1305"],
        _routed(Suite.XCHACHA20_POLY1305, "XChaCha20, through the router"),
    )
}


# --- the process in the middle ----------------------------------------------------------------------


async def _stand_between(kind: str, folder: Path, port: int) -> None:
    backend = Backend(f"{HOST}:{port}")

    async def copy(near: trio.SocketStream) -> None:
        async with cut_on_error(near), cut_on_error(await backend.dial()) as far:
            await relay(near, far)

    if kind == "router":
        config = RouterConfig(keys=[_ROUTER_KEY], routes={read_key(folder, "server").public_key: [backend]})
        serve = partial(serve_router_tcp, 0, config, host=HOST, backlog=BACKLOG)
    else:
        serve = partial(trio.serve_tcp, copy, 0, host=HOST, backlog=BACKLOG)
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        print(listeners[0].socket.getsockname()[1], flush=True)
        async with trio.lowlevel.FdStream(0) as stdin:
            while await stdin.receive_some():
                pass
        nursery.cancel_scope.cancel()


def main() -> None:
    kind, folder, port = sys.argv[1:]
    trio.run(_stand_between, kind, Path(folder), int(port))


if __name__ == "__main__":
    main()
