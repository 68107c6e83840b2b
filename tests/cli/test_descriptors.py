"""A server that has few descriptors: connections that say nothing keep nobody out, and it asks for more by itself."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.trust.keyfile import write_key_file

from .support import ENVIRONMENT, Keys, command, port_of, process

if TYPE_CHECKING:
    from pathlib import Path

FEW = 64


def with_few(*arguments: str | Path) -> list[str]:
    """A command that can have so many descriptors, and no more."""
    return ["bash", "-c", f'ulimit -n {FEW}; exec "$@"', "bash", *command(*arguments)]


async def silent(port: int, count: int) -> list[trio.SocketStream]:
    """Strangers who connect, and wait."""
    return [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(count)]


async def test_strangers_who_say_nothing_keep_nobody_out_of_a_server_with_few_descriptors(keys: Keys) -> None:
    who = ["--key", str(keys.server_file), "--allow", keys.client_public, "--listen", "127.0.0.1:0"]
    async with process(with_few("echo", *who)) as server:
        port = await port_of(server)
        strangers = await silent(port, 3 * FEW)
        await trio.sleep(0.15)  # as long as one may keep it waiting when another needs the place
        async with await ss.open_secure_tcp_stream("127.0.0.1", port, keys.config()) as stream:
            await stream.send_all(b"there")
            assert await stream.receive_some() == b"there"
        for stranger in strangers:
            await trio.aclose_forcefully(stranger)


async def test_nor_of_a_router(keys: Keys, tmp_path: Path) -> None:
    write_key_file(tmp_path / "router.key", ss.PrivateKey.generate())
    (tmp_path / "routes").touch(0o600)
    who = ["--key", tmp_path / "router.key", "--routes", tmp_path / "routes", "--listen", "127.0.0.1:0"]
    async with process(with_few("route", *who)) as router:
        port = await port_of(router)
        strangers = await silent(port, 3 * FEW)
        await trio.sleep(0.15)
        with pytest.raises(ss.HandshakeRefused) as refused:
            await ss.open_secure_tcp_stream("127.0.0.1", port, keys.config())
        assert refused.value.alert.code == ss.AlertCode.UNKNOWN_SERVER_KEY
        for stranger in strangers:
            await trio.aclose_forcefully(stranger)


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
