"""The commands of examples/README.md, as they stand there, and what the two-sided examples have in common."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from examples._command import command_line, count, host_and_port, printable

from ..cli.support import ENVIRONMENT, PATIENCE, ROOT, process, read_line
from ..ports import free_ports
from .programs import Home, ran, rest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

README = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
TWO_SIDED = ("echo", "chat", "files", "log_tail")


def blocks() -> list[list[str]]:
    """The README's blocks of commands, without the one that installs."""
    found = [block.splitlines() for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)]
    return [block for block in found if "pip install" not in block[0]]


class Shell:
    """Runs commands of the README in a folder, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._port = folder, str(free_ports())
        self.environment = {**ENVIRONMENT, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def words(self, line: str) -> list[str]:
        """For a command that goes on, and for a server on that port."""
        listen = f" --listen 127.0.0.1:{self._port}" if " server" in line else ""
        return ["bash", "-c", f"cd '{self.folder}'; exec {line}{listen}"]

    def run(self, lines: Sequence[str], stdin: bytes = b"") -> str:
        """What they print."""
        script = "set -euo pipefail\n" + "\n".join(line.replace("9222", self._port) for line in lines)
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder, env=self.environment, input=stdin, capture_output=True, check=True, timeout=PATIENCE,
        )  # fmt: skip
        return done.stdout.decode()


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """In a folder where the README's keys have been made."""
    shell = Shell(tmp_path_factory.mktemp("readme"))
    shutil.copy(ROOT / "README.md", shell.folder)
    shell.run(blocks()[0])
    return shell


@pytest.mark.parametrize("program", TWO_SIDED)
async def test_the_readme_s_commands_run_as_they_stand(program: str, shell: Shell) -> None:
    lines = next(block for block in blocks() if any(f"examples.{program} " in line for line in block))
    serve, *clients = [line for line in lines if "examples" in line]
    await trio.to_thread.run_sync(shell.run, [line for line in lines if "examples" not in line])
    async with process(shell.words(serve), env=shell.environment) as server:
        assert (await read_line(server)).startswith("Listening on 127.0.0.1:")
        if program == "log_tail":
            async with process(shell.words(clients[0]), env=shell.environment) as client:
                assert await read_line(client) == "a first line\n"
        else:
            said = [await trio.to_thread.run_sync(shell.run, [line], b"hello\n") for line in clients]
            assert said[0] == {"echo": "hello\n", "chat": "* alice has come\nalice: hello\n", "files": ""}[program]
    if program == "files":
        got = shell.folder / "downloads" / "README.md"
        assert got.read_bytes() == (ROOT / "README.md").read_bytes()


def test_every_example_is_listed() -> None:
    folder = ROOT / "examples"
    for path in [*folder.glob("[!_]*.py"), *(init.parent for init in folder.glob("*/__init__.py"))]:
        assert path.name in README, f"{path.name} is not in examples/README.md"


async def test_what_is_sent_comes_back_whole_and_in_order(tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    async with Home(tmp_path).serving("echo") as (_, connection):
        result = await ran("echo", "client", connection, stdin=content)
    assert (result.status, result.err) == (0, "")
    assert result.out == content


@pytest.mark.parametrize("program", ["echo", "chat"])
async def test_a_server_that_is_told_to_end_says_so(program: str, tmp_path: Path) -> None:
    home = Home(tmp_path)
    async with home.serving(program) as (server, connection), home.client(program, connection) as client:
        assert client.stdin is not None
        await client.stdin.send_all(b"hello\n")
        assert await read_line(client)
        server.send_signal(signal.SIGTERM)
        assert await server.wait() == 0
        ended = await rest_of(client)
    assert ended.status == 3
    assert ended.err == "the peer ended the stream: alert 14 (shutting_down): this server is shutting down\n"


async def test_a_server_that_is_killed_is_no_end(tmp_path: Path) -> None:
    home = Home(tmp_path)
    async with home.serving("echo") as (server, connection), home.client("echo", connection) as client:
        assert client.stdin is not None
        await client.stdin.send_all(b"hello\n")
        assert await read_line(client)
        server.kill()
        ended = await rest_of(client)
    assert ended.status == 1
    assert ended.err == "the connection ended in the middle of the stream\n"


async def test_who_is_not_on_the_list_is_told_and_has_no_traceback(tmp_path: Path) -> None:
    home = Home(tmp_path)
    stranger = ss.PrivateKey.generate()
    ss.write_key_file(tmp_path / "stranger.key", stranger)
    async with home.serving("echo") as (_, connection):
        unknown = home.connection(ss.read_address_file(connection).port, "stranger.key")
        result = await ran("echo", "client", unknown)
    assert (result.status, result.out) == (1, b"")
    assert result.err.startswith(f"the server refused this client: the public key {stranger.public_key} is not")
    assert result.err.count("\n") == 1


async def test_where_nobody_listens_is_one_line(tmp_path: Path) -> None:
    home = Home(tmp_path)
    result = await ran("echo", "client", home.connection(1))
    assert result.status == 1
    assert re.fullmatch(r"all attempts to connect to 127\.0\.0\.1:1 failed: Connection refused\n", result.err)


async def test_a_port_that_is_taken_is_named_in_one_line(tmp_path: Path) -> None:
    files = ("--key", Home(tmp_path).keys.server_file, "--clients", tmp_path / "clients")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        result = await ran("echo", "server", *files, "--listen", listen)
    assert (result.status, result.err) == (1, f"can't listen on {listen}: Address already in use\n")


def test_wrong_usage_is_status_2_and_repeats_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = Home(tmp_path).keys.client.to_text()
    (tmp_path / "no port").write_text(f"Server=127.0.0.1;Client Secret Key={secret}", encoding="ascii")
    (tmp_path / "no port").chmod(0o600)
    (tmp_path / "no key").write_text(f"Server=127.0.0.1:1;Client Key={tmp_path / 'missing.key'}", encoding="ascii")
    for words in (
        ["client", str(tmp_path / "no port")],
        ["client", str(tmp_path / "no key")],
        ["client", f"Server=127.0.0.1;Client Secret Key={secret}"],
        ["server", "--key", str(tmp_path / "missing.key")],
        ["server", "--key", str(tmp_path / "server.key"), "--clients", str(tmp_path / "missing")],
        ["server", "--listen", "nowhere"],
        [],
    ):
        with pytest.raises(SystemExit) as caught:
            command_line("echo", "")[0].parse_args(words)
        shown = capsys.readouterr()
        assert (caught.value.code, shown.out) == (2, ""), words
        assert "error: " in shown.err
        assert secret.removeprefix("ss-secret:") not in shown.err


@pytest.mark.parametrize("program", TWO_SIDED)
def test_help_says_what_it_is_about(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "--help"])
    main = import_module("examples.files.__main__" if program == "files" else f"examples.{program}").main
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    assert f"python -m examples.{program} server" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", ":1", "host", "host:", "host:x", "host:65536", "host:-1", "host:٣"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        host_and_port(text)


@pytest.mark.parametrize("text", ["", "0", "00", "-1", "1.5", "x", "٣", "1_0"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="from 1 up"):
        count(text)


def test_addresses_of_either_kind_are_taken() -> None:
    assert host_and_port("127.0.0.1:9222") == ("127.0.0.1", 9_222)
    assert host_and_port("[::1]:0") == ("::1", 0)


def test_nothing_from_elsewhere_steers_the_terminal() -> None:
    assert printable("a\tb\n\x1b[2J\r\x9b\u202eä") == "a\tb\n\\x1b[2J\\r\\x9b\\u202eä"


async def test_long_input_comes_in_lines_of_a_bounded_length() -> None:
    program = (
        "import trio\nfrom examples._command import input_lines\n"
        "async def main():\n    async for line in input_lines(3):\n        print(line.decode(), flush=True)\n"
        "trio.run(main)\n"
    )
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            [sys.executable, "-c", program], stdin=b"\nab\nabc\nabcd\nabcdefgh", capture_stdout=True, env=ENVIRONMENT
        )
    assert done.stdout.decode().split("\n") == ["", "ab", "abc", "abc", "d", "abc", "def", "gh", ""]
