"""`securestream decode`, on the traffic of a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

import securestream as ss
from securestream.cli import decode
from securestream.cli.app import run

from ..streams.transports import Tap
from .support import ENVIRONMENT, Keys, cli, command, process, read_line

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class BothWays(Tap):
    """A transport that remembers what came, too."""

    received = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await super().receive_some(max_bytes)
        self.received += data
        return data


async def recorded(keys: Keys, folder: Path) -> None:
    """A conversation with `securestream echo`, which logs its keys, in the files of `folder`."""
    environment = {**ENVIRONMENT, "SECURESTREAM_KEYLOG": str(folder / "keys.log")}
    echo = command("echo", "--key", keys.server_file, "--allow-anyone", "--listen", "127.0.0.1:0")
    async with process(echo, env=environment) as server:
        port = int((await read_line(server)).split()[2].rpartition(":")[2])
        tap = BothWays(await trio.open_tcp_stream("127.0.0.1", port))
        async with await ss.wrap_client(tap, keys.config()) as stream:
            await stream.send_all(b"hello, echo\n")
            assert await stream.receive_some() == b"hello, echo\n"
            await stream.send_eof()
            assert await stream.receive_some() == b""
        assert server.stderr is not None
        assert b"THE KEYS OF EVERY CONNECTION ARE WRITTEN" in await server.stderr.receive_some()
    (folder / "client").write_bytes(tap.sent)
    (folder / "server").write_bytes(tap.received)


async def test_a_conversation_is_shown_record_by_record(keys: Keys, tmp_path: Path) -> None:
    await recorded(keys, tmp_path)
    log: list[str | Path] = ["--keylog", tmp_path / "keys.log"]
    files = [tmp_path / "client", tmp_path / "server", *log]
    shown = await cli("decode", *files, "--contents")
    assert (shown.status, shown.err) == (0, "")
    assert [line.split(maxsplit=4) for line in shown.out.decode().splitlines()] == [
        ["client", "data", str(CONTROL + 12), "12", "hello, echo\\n"],
        ["client", "close", str(CONTROL), "0"],
        ["server", "accept", "512", "0"],
        ["server", "data", str(CONTROL + 12), "12", "hello, echo\\n"],
        ["server", "close", str(CONTROL), "0"],
    ]
    plain = await cli("decode", *files)
    assert b"hello" not in plain.out
    turned = await cli("decode", files[1], files[0], *log)
    assert turned.status == 2
    assert turned.err.endswith("are the two files the other way round?\n")
    (tmp_path / "keys.log").write_text("")
    unknown = await cli("decode", *files)
    assert (unknown.status, unknown.err.count("\n")) == (1, 1)
    assert "has no keys for this connection" in unknown.err


CONTROL = 37 if ss.ClientConfig(server_key=ss.PrivateKey.generate().public_key).suites[0] is ss.Suite.AEGIS_256 else 22


def test_a_file_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["decode", "/nowhere/client", "/nowhere/server", "--keylog", "/nowhere/keys"]) == 2
    assert capsys.readouterr() == ("", "securestream: /nowhere/client: No such file or directory\n")


def test_a_device_without_an_end_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_MOST", 2**20)
    assert run(["decode", "/dev/zero", "/dev/zero", "--keylog", "/dev/null"]) == 2
    told = "/dev/zero is longer than 1,048,576 bytes; cut it to one connection"
    assert capsys.readouterr() == ("", f"securestream: {told}\n")
