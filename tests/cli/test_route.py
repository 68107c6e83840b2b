"""`securestream route`: a process between clients and servers."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.trust.keyfile import write_key_file

from ..ports import free_ports
from .support import Keys, cli, port_of, read_all, read_line, running, serving

if TYPE_CHECKING:
    from pathlib import Path

    from .support import Stream


@pytest.fixture
def router_key(tmp_path: Path) -> ss.PrivateKey:
    key = ss.PrivateKey.generate()
    write_key_file(tmp_path / "router.key", key)
    return key


def write_routes(path: Path, text: str) -> None:
    path.touch(0o600)
    path.write_text(text)


def options(folder: Path) -> list[str | Path]:
    return ["--key", folder / "router.key", "--routes", folder / "routes", "--listen", "127.0.0.1:0"]


async def echo(stream: Stream) -> None:
    async for chunk in stream:
        await stream.send_all(chunk)


def string(keys: Keys, port: int, router_key: ss.PrivateKey) -> str:
    return f"{keys.string(port)};Middlebox Key={router_key.public_key}"


async def test_a_client_is_routed_by_its_connection_string(
    keys: Keys, router_key: ss.PrivateKey, tmp_path: Path
) -> None:
    async with serving(echo, keys) as port:
        write_routes(tmp_path / "routes", f"{keys.server_public} 127.0.0.1:{port} note='the one'\n")
        async with running("route", *options(tmp_path)) as router:
            line = await read_line(router)
            assert line.endswith(f" as {router_key.public_key}\n")
            client = string(keys, int(line.split()[2].rpartition(":")[2]), router_key)
            done = await cli("connect", client, stdin=b"hello")
            assert (done.status, done.out, done.err) == (0, b"hello", "")
            write_routes(tmp_path / "routes", "")
            done = await cli("connect", client)
            assert done.status != 0
            assert "unknown_server_key" in done.err
            router.send_signal(signal.SIGTERM)
            assert await router.wait() == 0
            assert b"no route to the server" in await read_all(router.stderr)


async def test_who_does_not_know_the_router_comes_to_the_default(
    keys: Keys, router_key: ss.PrivateKey, tmp_path: Path
) -> None:
    async with serving(echo, keys) as port:
        write_routes(tmp_path / "routes", "")
        async with running("route", *options(tmp_path), "--default", f"127.0.0.1:{port}") as router:
            done = await cli("connect", keys.string(await port_of(router)), stdin=b"hello")
            assert (done.status, done.out) == (0, b"hello")


@pytest.mark.parametrize(
    ("text", "option", "value", "why"),
    [
        ("nonsense", "--default", "127.0.0.1:1", "line 1"),
        ("", "--default", "127.0.0.1", "a backend is HOST:PORT"),
        ("", "--proxy-from", "10.0.0.1/8", "networks are written"),
    ],
)
async def test_what_can_not_be_used_is_told_in_a_line(
    text: str, option: str, value: str, why: str, router_key: ss.PrivateKey, tmp_path: Path
) -> None:
    write_routes(tmp_path / "routes", text)
    done = await cli("route", *options(tmp_path), option, value)
    assert done.status == 2
    assert why in done.err
    assert done.err.count("\n") == 1


async def test_a_second_signal_cuts_what_is_still_open(keys: Keys, router_key: ss.PrivateKey, tmp_path: Path) -> None:
    async with serving(echo, keys) as port:
        write_routes(tmp_path / "routes", f"{keys.server_public} 127.0.0.1:{port}\n")
        async with running("route", *options(tmp_path), "--grace", "1000") as router:
            config = ss.parse_address(string(keys, await port_of(router), router_key))
            stream = await ss.connect(config)
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"x"
            router.send_signal(signal.SIGTERM)
            while True:  # until it has come: nobody listens any more
                try:
                    await (await trio.open_tcp_stream("127.0.0.1", config.port)).aclose()
                except OSError:
                    break
            router.send_signal(signal.SIGTERM)
            with pytest.raises(ss.StreamError):
                await stream.receive_some()
            await stream.aclose()
            assert await router.wait() == 0


async def test_several_processes_route_with_one_key_and_each_shows_its_figures(
    keys: Keys, router_key: ss.PrivateKey, tmp_path: Path
) -> None:
    async with serving(echo, keys) as port:
        write_routes(tmp_path / "routes", f"{keys.server_public} 127.0.0.1:{port}\n")
        first = free_ports(2)
        more = ["--workers", "2", "--metrics", f"127.0.0.1:{first}", "--events"]
        async with running("route", *options(tmp_path), *more) as router:
            entrance = await port_of(router)
            for _ in range(8):
                async with await ss.connect(string(keys, entrance, router_key)) as stream:
                    await stream.send_all(b"hello")
                    assert await stream.receive_some() == b"hello"
            figures = b"".join([await metrics_of(port) for port in (first, first + 1)])
            done = map(float, re.findall(rb'handshakes_total{result="done"} (\S+)', figures))
            assert sum(done) == 8
            router.send_signal(signal.SIGTERM)
            assert await router.wait() == 0
            told = await read_all(router.stderr)
    assert told.count(b"securestream: client_routed address=127.0.0.1:") == 8
    assert told.count(b"reason=closed\n") == 8


async def metrics_of(port: int) -> bytes:
    async with await trio.open_tcp_stream("127.0.0.1", port) as http:
        await http.send_all(b"GET /metrics HTTP/1.1\r\n\r\n")
        return await read_all(http)


async def test_routers_in_a_circle_refuse_though_each_is_several_processes(
    keys: Keys, router_key: ss.PrivateKey, tmp_path: Path
) -> None:
    write_routes(tmp_path / "routes", "")
    async with running("route", *options(tmp_path), "--workers", "2") as router:
        port = await port_of(router)
        write_routes(tmp_path / "routes", f"{keys.server_public} 127.0.0.1:{port}\n")
        done = await cli("connect", string(keys, port, router_key))
    assert done.status == 1
    assert "backend_unavailable" in done.err
