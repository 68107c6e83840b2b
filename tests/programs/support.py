"""Programs of the distribution, started by a test and ended with it.

Where one is missing its tests are skipped and say so; with SECURESTREAM_REQUIRE_PROGRAMS set that is a failure."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import pytest
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PATIENCE = 60
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def need(name: str) -> str:
    """Where a program is."""
    return shutil.which(name, path=_PATH) or missing(f"{name} is not installed")


def missing(why: str) -> NoReturn:
    """Skips, or fails where everything has to be there."""
    if os.environ.get("SECURESTREAM_REQUIRE_PROGRAMS"):
        pytest.fail(why)
    pytest.skip(why)


@dataclass(frozen=True)
class Result:
    """What came of a program."""

    status: int
    out: str
    err: str


async def run(*arguments: str | Path, stdin: bytes = b"") -> Result:
    """Runs a program to its end."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            [str(argument) for argument in arguments],
            stdin=stdin, capture_stdout=True, capture_stderr=True, check=False,
        )  # fmt: skip
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


async def right(*arguments: str | Path, stdin: bytes = b"") -> str:
    """As `run`, for one that is to succeed: its standard output."""
    result = await run(*arguments, stdin=stdin)
    assert result.status == 0, result
    return result.out


@contextlib.asynccontextmanager
async def daemon(*arguments: str | Path, log: Path, ready: str) -> AsyncIterator[trio.Process]:
    """A program while it runs, from when it has logged `ready`. Killed at the end, with what it has started."""
    with log.open("wb") as file:
        process = await trio.lowlevel.open_process(
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip
    try:
        with trio.fail_after(PATIENCE):
            while ready not in (said := await trio.Path(log).read_text("utf-8", "replace")):
                assert process.poll() is None, said
                await trio.sleep(0.01)  # it tells nobody but its log
            yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        with trio.CancelScope(shield=True):
            await process.wait()
