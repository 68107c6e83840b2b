"""A large download from nginx by curl, and what curl sees of an end that is killed in the middle of it."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from typing import TYPE_CHECKING

import pytest
import trio

from ..cli.support import Keys, tunnel
from .support import daemon, need

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MIB = 2**20
CONFIGURATION = """
daemon off;
user root;
pid {folder}/pid;
error_log stderr notice;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen unix:{folder}/nginx; root {folder}; }}
}}
"""


@contextlib.asynccontextmanager
async def nginx(folder: Path) -> AsyncIterator[Path]:
    """A server of the folder's files; its socket."""
    configuration = folder / "conf"
    configuration.write_text(CONFIGURATION.format(folder=folder))
    async with daemon(need("nginx"), "-c", configuration, log=folder / "log", ready="start worker process "):
        yield folder / "nginx"


def write_file(path: Path, mebibytes: int) -> str:
    """No part of it like another; its digest."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(mebibytes):
            block = hashlib.shake_128(number.to_bytes(4, "big")).digest(MIB)
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


@contextlib.asynccontextmanager
async def downloading(port: int) -> AsyncIterator[trio.Process]:
    command = [need("curl"), "-sS", f"http://127.0.0.1:{port}/file"]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        with trio.fail_after(600):
            yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for pipe in (process.stdout, process.stderr):
                assert pipe is not None
                await pipe.aclose()


async def digest_of(process: trio.Process) -> str:
    assert process.stdout is not None
    digest = hashlib.sha256()
    async for chunk in process.stdout:
        digest.update(chunk)
    return digest.hexdigest()


@pytest.mark.parametrize("mebibytes", [64, pytest.param(1_024, marks=pytest.mark.long)])
async def test_a_large_file_arrives_whole(keys: Keys, tmp_path: Path, mebibytes: int) -> None:
    digest = write_file(tmp_path / "file", mebibytes)
    async with (
        nginx(tmp_path) as path,
        tunnel(keys, f"unix:{path}", patience=600) as between,
        downloading(between.port) as curl,
    ):
        assert await digest_of(curl) == digest
        assert await curl.wait() == 0


@pytest.mark.parametrize("killed", ["client", "server"])
async def test_a_killed_end_is_an_error_for_curl(keys: Keys, tmp_path: Path, killed: str) -> None:
    write_file(tmp_path / "file", 64)
    async with nginx(tmp_path) as path, tunnel(keys, f"unix:{path}") as between, downloading(between.port) as curl:
        assert curl.stdout is not None
        assert await curl.stdout.receive_some(MIB)
        (between.server if killed == "server" else between.client).kill()
        await digest_of(curl)
        assert await curl.wait() == 56  # "Failure in receiving network data"
        assert curl.stderr is not None
        assert b"reset by peer" in await curl.stderr.receive_some()
