"""A server that has few descriptors: connections that say nothing keep nobody out, and it asks for more by itself."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.trust.keyfile import write_key_file

from .support import ENVIRONMENT, Keys, command, port_of, process, read_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FEW = 64


def with_few(*arguments: str | Path) -> list[str]:
    """A command that can have so many descriptors, and no more."""
    return ["bash", "-c", f'ulimit -n {FEW}; exec "$@"', "bash", *command(*arguments)]


@contextlib.asynccontextmanager
async def besieged(*arguments: str | Path) -> AsyncIterator[int]:
    """A server to which many more strangers connect than it has descriptors, and say nothing; its port. It must not run
    out of them."""
    async with (
        process(with_few(*arguments, "--listen", "127.0.0.1:0", "--grace", "0")) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        port = await port_of(server)
        for _ in range(3 * FEW):
            stranger = await trio.open_tcp_stream("127.0.0.1", port)
            stack.push_async_callback(trio.aclose_forcefully, stranger)
        yield port
        server.terminate()
        assert b"Too many open files" not in await read_all(server.stderr)


async def refusal(port: int, client: ss.ClientConfig) -> int | None:
    """The alert that a client gets in the end who tries again where it is told that there is no room."""
    while True:
        try:
            async with await ss.open_secure_tcp_stream("127.0.0.1", port, client) as stream:
                await stream.send_all(b"there")
                assert await stream.receive_some() == b"there"
                return None
        except ss.HandshakeTruncated:
            continue
        except ss.HandshakeRefused as exc:
            if exc.alert.code != ss.AlertCode.BUSY:
                return exc.alert.code


async def test_strangers_who_say_nothing_keep_nobody_out_of_a_server_with_few_descriptors(keys: Keys) -> None:
    async with besieged("echo", "--key", keys.server_file, "--allow", keys.client_public) as port:
        assert await refusal(port, keys.config()) is None


async def test_nor_of_a_router(keys: Keys, tmp_path: Path) -> None:
    write_key_file(tmp_path / "router.key", ss.PrivateKey.generate())
    (tmp_path / "routes").touch(0o600)
    async with besieged("route", "--key", tmp_path / "router.key", "--routes", tmp_path / "routes") as port:
        assert await refusal(port, keys.config()) == ss.AlertCode.UNKNOWN_SERVER_KEY


ASK = """
from securestream.service.descriptors import descriptors, raise_descriptors

raise_descriptors({wanted})
print(descriptors())
"""


@pytest.mark.parametrize(("limits", "wanted", "allowed"), [("-Sn 64", 100, 100), ("-n 64", 100, 64), ("-n 64", 10, 64)])
def test_a_command_asks_for_as_many_as_it_may_have(limits: str, wanted: int, allowed: int) -> None:
    asking = [sys.executable, "-c", ASK.format(wanted=wanted)]
    limited = ["bash", "-c", f'ulimit {limits}; exec "$@"', "bash", *asking]
    assert subprocess.check_output(limited, env=ENVIRONMENT) == b"%d\n" % allowed


async def test_a_serving_command_has_asked(keys: Keys) -> None:
    who = ["--key", str(keys.server_file), "--allow", keys.client_public, "--listen", "127.0.0.1:0"]
    soft = ["bash", "-c", f'ulimit -Sn {FEW}; exec "$@"', "bash", *command("echo", *who)]
    async with process(soft) as server:
        await port_of(server)
        assert resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[0] > FEW
