"""PostgreSQL through a tunnel: pgbench loses no transaction, and the books balance."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..cli.support import Keys, tunnel
from .support import daemon, missing, need, right, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..conftest import Tries

BALANCES = (
    "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history), "
    "(select sum(bbalance) from pgbench_branches) = (select sum(delta) from pgbench_history), "
    "(select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history), "
    "(select count(*) from pgbench_history)"
)


def binaries() -> Path:
    """Debian keeps the server's programs beside the path, in a folder a version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return (found[-1] if found else Path(need("initdb"))).parent


def somebody(folder: Path) -> list[str]:
    """What runs a program as a user that PostgreSQL takes, who gets `folder`: it refuses to run as root."""
    if os.getuid():
        return []
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        missing("there is no user postgres, and PostgreSQL doesn't run as root")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return [need("setpriv"), f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@contextlib.asynccontextmanager
async def postgresql() -> AsyncIterator[Path]:
    """A server of its own; its socket."""
    need("pgbench")
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # pytest's own are closed to other users
    try:
        as_somebody, data = somebody(folder), folder / "data"
        await right(*as_somebody, binaries() / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")
        settings = ["-c", f"unix_socket_directories={folder}", "-c", "listen_addresses=", "-c", "fsync=off"]
        server = binaries() / "postgres"
        ready = "database system is ready to accept connections"
        async with daemon(*as_somebody, server, "-D", data, *settings, log=folder / "log", ready=ready):
            yield folder / ".s.PGSQL.5432"
    finally:
        shutil.rmtree(folder)


async def test_pgbench_loses_no_transaction(keys: Keys, tries: Tries) -> None:
    each = tries.choose(small=50, full=20_000)
    async with postgresql() as path, tunnel(keys, f"unix:{path}", patience=600) as between:
        where = ["-h", "127.0.0.1", "-p", str(between.port), "-U", "postgres"]
        await right("pgbench", *where, "-i", "-q", "postgres")
        out = await right("pgbench", *where, "-c", "4", "-j", "2", "-t", str(each), "postgres")
        assert f"number of transactions actually processed: {4 * each}/{4 * each}" in out
        assert "number of failed transactions: 0" in out
        balances = await right("psql", *where, "-A", "-t", "-c", BALANCES, "postgres")
    assert balances == f"t|t|t|{4 * each}\n"
    tries.tried(4 * each)


async def test_a_server_that_is_gone_is_an_error_for_psql(keys: Keys, tmp_path: Path) -> None:
    psql = need("psql")
    async with tunnel(keys, f"unix:{tmp_path}/nothing") as between:
        result = await run(psql, "-h", "127.0.0.1", "-p", str(between.port), "-U", "postgres", "-c", "select 1")
    assert result.status == 2
    assert re.search(r"reset by peer|closed the connection unexpectedly", result.err)
