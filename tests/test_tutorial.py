"""The tutorial, walked: its commands and programs as they stand there, and what it says that they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
PATIENCE = 60  # seconds; only a hang takes so long
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


SERVER, CLIENT, FAILING_HANDLER, CAREFUL_CLIENT, KILLED = blocks("python")
INSTALL, MAKE_KEYS, START_SERVER, ALL_ROWS, STRANGER, OTHER_SERVER, NOT_ALL_ROWS, CUT = blocks("console")


def commands(block: str) -> str:
    """What is to be typed."""
    return "\n".join(line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ "))


def output(block: str) -> str:
    """What the page says comes of it."""
    return "".join(line + "\n" for line in block.splitlines() if not line.startswith("$ "))


def with_careful_end(client: str) -> str:
    return re.sub(
        r"    async with ss\.MessageChannel.*\n(?=\n\ntrio)", lambda _: CAREFUL_CLIENT, client, flags=re.DOTALL
    )


def with_failing_handler(server: str) -> str:
    return re.sub(r"async def handler.*?\n(?=\n\nasync def main)", lambda _: FAILING_HANDLER, server, flags=re.DOTALL)


def killed_in_the_middle(server: str) -> str:
    killed = re.sub(r" +raise ss\.StreamFailure.*\n", lambda _: KILLED, with_failing_handler(server))
    return f"import os, signal\n{killed}"


@dataclass(frozen=True)
class Walk:
    """A folder in which somebody does what the page says, on a port that is free."""

    folder: Path
    port: int

    def type(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command.replace("9222", str(self.port))],
            cwd=self.folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip

    def save(self, name: str, program: str) -> None:
        (self.folder / name).write_text(program.replace("9222", str(self.port)), encoding="utf-8")

    @contextmanager
    def server(self, program: str) -> Iterator[subprocess.Popen[str]]:
        self.save("server.py", program)
        command = [sys.executable, "server.py"]
        with subprocess.Popen(
            command, cwd=self.folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == output(START_SERVER)
                yield process
            finally:
                process.kill()


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    walk = Walk(tmp_path_factory.mktemp("tutorial"), free_ports())
    assert walk.type(commands(MAKE_KEYS)).returncode == 0
    return walk


def test_the_client_gets_all_rows_and_the_server_knows_who_asks(walk: Walk) -> None:
    walk.save("client.py", CLIENT)
    with walk.server(SERVER) as server:
        assert walk.type(commands(ALL_ROWS)).stdout == output(ALL_ROWS)
        assert server.stdout is not None
        assert server.stdout.readline() == "alice asks for orders\n"


def test_a_stranger_is_refused_and_another_server_is_found_out(walk: Walk) -> None:
    with walk.server(SERVER):
        for block in (STRANGER, OTHER_SERVER):
            done = walk.type(commands(block))
            said = re.sub(r"[\w+/]{43}=", "A KEY", done.stderr)
            expected = re.sub(r"\w{6}\.\.\.", "A KEY", output(block))
            assert (done.returncode, said) == (1, expected)


def test_the_client_gets_what_was_sent_and_then_the_error(walk: Walk) -> None:
    walk.save("client.py", with_careful_end(CLIENT))
    with walk.server(with_failing_handler(SERVER)):
        assert walk.type(commands(NOT_ALL_ROWS)).stdout == output(NOT_ALL_ROWS)


def test_the_client_of_a_server_that_dies_has_a_part_and_knows(walk: Walk) -> None:
    walk.save("client.py", with_careful_end(CLIENT))
    with walk.server(killed_in_the_middle(SERVER)):
        assert walk.type(commands(CUT)).stdout == output(CUT)
