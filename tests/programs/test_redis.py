"""Redis through a tunnel: every answer is right, whoever asks how much at once."""

from __future__ import annotations

import contextlib
import random
import re
from typing import TYPE_CHECKING

from ..cli.support import Keys, tunnel
from .support import daemon, need, right, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ..conftest import Tries


@contextlib.asynccontextmanager
async def redis(folder: Path) -> AsyncIterator[Path]:
    """A server of its own; its socket."""
    path = folder / "redis"
    arguments = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    async with daemon(need("redis-server"), *arguments, log=folder / "log", ready="eady to accept connections"):
        yield path


def counts(text: str, of: str) -> dict[str, int]:
    """From `INFO commandstats`: how often each command was called, or failed."""
    return {name: int(count) for name, count in re.findall(rf"^cmdstat_(\w+):.*\b{of}=(\d+)", text, re.MULTILINE)}


async def test_redis_benchmark_gets_all_its_answers(keys: Keys, tmp_path: Path, tries: Tries) -> None:
    benchmark, cli = need("redis-benchmark"), need("redis-cli")
    requests = tries.choose(small=1_000, full=100_000)
    async with redis(tmp_path) as path, tunnel(keys, f"unix:{path}", patience=600) as between:
        load = ["-n", str(requests), "-c", "20", "-d", "100", "-t", "set,get,lpush,lrange_100", "-q"]
        out = await right(benchmark, "-p", str(between.port), *load)
        assert len(re.findall(r"requests per second", out)) == 5
        info = await right(cli, "-s", path, "info", "commandstats")
        stats = await right(cli, "-s", path, "info", "errorstats")
    # LRANGE first fills its list, with as many LPUSH again.
    wanted = {"set": requests, "get": requests, "lpush": 2 * requests, "lrange": requests}
    assert {name: counts(info, "calls")[name] for name in wanted} == wanted
    assert not any(counts(info, "failed_calls").values())
    assert "errorstat_" not in stats
    tries.tried(requests)


async def test_what_is_written_through_it_is_what_is_stored(keys: Keys, tmp_path: Path) -> None:
    cli, rng = need("redis-cli"), random.Random(1)
    values = {f"key{n}": rng.randbytes(rng.choice([1, 100, 20_000])).hex() for n in range(200)}
    commands = "".join(f"SET {name} {value}\r\n" for name, value in values.items())
    padding = ["--padding", "padme"]
    async with redis(tmp_path) as path, tunnel(keys, f"unix:{path}", client=padding, patience=600) as between:
        assert "errors: 0, replies: 200" in await right(cli, "-p", str(between.port), "--pipe", stdin=commands.encode())
        for where in (["-s", str(path)], ["-p", str(between.port)]):
            stored = await right(cli, *where, "--raw", "mget", *values)
            assert stored.split() == list(values.values())


async def test_a_tunnel_without_a_target_is_an_error_for_redis(keys: Keys, tmp_path: Path) -> None:
    cli = need("redis-cli")
    async with tunnel(keys, f"unix:{tmp_path}/nothing") as between:
        result = await run(cli, "-p", str(between.port), "ping")
    assert result.status != 0
    assert "PONG" not in result.out
