"""Known servers: pinned, or believed at first use where that is asked for, and what a person reads about a mismatch."""

from __future__ import annotations

import datetime as dt
import os
import shlex
import stat
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.trust.appending import locked_folder
from securestream.trust.servers import FirstUse, parse_servers

from ..service.support import ask, serving, serving_tcp, shout
from ..streams.support import PATIENCE, failure_of, matching_configs
from .support import File

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

OLD, NEW, OTHER = (ss.PrivateKey(bytes([n]) * 32).public_key for n in (1, 2, 3))
DB = "db.example:9222"


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "servers")


async def refusal(servers: ss.KnownServers | ss.KnownServersFile, key: ss.PublicKey) -> str:
    with pytest.raises(PermissionError) as caught:
        await servers(key)
    assert caught.value.errno is None
    return str(caught.value)


# --- in the program ---------------------------------------------------------------------------------------


async def test_any_of_several_keys_will_do_and_no_other() -> None:
    servers = ss.KnownServers([OLD, NEW])
    await servers(OLD)
    await servers(NEW)
    assert await refusal(servers, OTHER) == f"it is none of the keys that are known: {OLD}, {NEW}"


def test_a_single_key_is_the_one_that_a_client_asks_for() -> None:
    assert ss.ClientConfig(server_key=ss.KnownServers([OLD, OLD])).pinned_key == OLD
    assert ss.ClientConfig(server_key=ss.KnownServers([OLD, NEW])).pinned_key is None


def test_no_key_at_all_and_what_is_no_key_are_refused() -> None:
    with pytest.raises(ValueError, match="would refuse every server"):
        ss.KnownServers([])
    with pytest.raises(TypeError, match="takes PublicKeys"):
        ss.KnownServers([str(OLD)])  # type: ignore[list-item]  # the mistake that is tested


# --- what a line may say ----------------------------------------------------------------------------------


def test_a_line_is_a_key_a_name_and_what_limits_it() -> None:
    text = f"""# servers
{OLD} {DB} until=2027-06-30 note="the old one"
{NEW} DB.example:9222
{OLD} "my orders"   # the same machine
"""
    servers = list(parse_servers(text.encode(), "servers").values())
    assert [server.name for server in servers] == [DB, "DB.example:9222", "my orders"]
    assert servers[0].until == dt.datetime(2027, 7, 1, tzinfo=dt.UTC)
    assert servers[0].note == "the old one"


SECRET = ss.PrivateKey(bytes([9]) * 32).to_text()
WRONG = {
    DB: "not a public key: it is 44 characters of base64",
    f"{DB} {OLD}": "not a public key: it is 44 characters of base64",
    f"{OLD}": "a name belongs behind the key",
    f"{OLD} ''": "a server's name is printable text without =",
    f"{OLD} ' db'": "a server's name is printable text without =",
    f"{OLD} *.example": "a name stands for one server; there are no patterns",
    f"{OLD} db-?.example:9222": "a name stands for one server; there are no patterns",
    f"{OLD} {DB} from=10.0.0.0/8": "behind key and name there may be until= and note=",
    f"{OLD} {DB} until=soon": "until= takes a day, 2027-06-30, or a moment, 2027-06-30T18:00:00Z",
    f"{OLD} {DB} note='a": "a quote that is not closed",
    f"{OLD} {DB} note=\x1b[31m": "names and notes are printable text",
    f"{SECRET} {DB}": "this is a secret where a public key belongs; don't hand it out",
    f"{NEW} DB.Example:9222": "the key of line 1 again",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_told_with_its_line_and_not_repeated(line: str) -> None:
    with pytest.raises(ss.PeersFileError) as caught:
        parse_servers(f"{NEW} {DB}\n\n{line}\n".encode(), "servers")
    assert str(caught.value) == f"servers, line 3: {WRONG[line]}"


@pytest.mark.parametrize("name", ["", " db", "a=b", "*", "db-?", "a\nb"])
def test_what_is_no_name_is_refused_at_once(file: File, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        ss.KnownServersFile(file.path, name, first_use="trust")


# --- pinned -----------------------------------------------------------------------------------------------


async def test_a_server_with_its_key_is_taken_and_no_other(file: File) -> None:
    file.write(f"{OLD} {DB}\n{OTHER} elsewhere:1\n")
    servers = ss.KnownServersFile(file.path, "DB.EXAMPLE:9222")
    await servers(OLD)
    assert servers.only_key() == OLD
    assert [server.name for server in servers.servers] == [DB]
    for key in (NEW, OTHER):
        assert (await refusal(servers, key)).startswith(f"{file.path} has {OLD} for DB.EXAMPLE:9222.")


async def test_a_mismatch_shows_the_keys_and_a_command_that_mends_it(file: File) -> None:
    file.path = file.path.with_name("my servers")
    file.write(f"{OLD} {DB}")  # without an end of line
    servers = ss.KnownServersFile(file.path, DB)
    told = await refusal(servers, NEW)
    assert str(OLD) in told
    command = told.partition("If its owner confirms the new one: ")[2]
    file.write(f"{OLD} {DB}\n")
    with trio.fail_after(PATIENCE):
        await trio.run_process(command, shell=True)
    again = ss.KnownServersFile(file.path, DB)
    await again(NEW)
    await again(OLD)
    assert shlex.split(command)[-1] == str(file.path)


async def test_a_name_without_a_key_is_refused_unless_the_first_use_is_trusted(file: File) -> None:
    file.write(f"{OTHER} elsewhere:1\n")
    told = await refusal(ss.KnownServersFile(file.path, DB), OLD)
    assert told.startswith(f"{file.path} has no key for {DB}. If its owner confirms this one: echo ")


async def test_both_keys_will_do_while_one_is_replaced_and_a_change_is_in_force_at_once(file: File) -> None:
    file.write(f"{OLD} {DB}\n")
    servers = ss.KnownServersFile(file.path, DB)
    file.write(f"{OLD} {DB}\n{NEW} {DB}\n")
    await servers(OLD)
    await servers(NEW)
    assert servers.only_key() is None
    file.write(f"{NEW} {DB}\n")
    await refusal(servers, OLD)
    assert servers.only_key() == NEW


async def test_a_key_is_good_until_its_moment(file: File) -> None:
    file.write(f"{OLD} {DB} until=2027-06-30\n{NEW} {DB}\n")
    now = dt.datetime(2027, 6, 30, 23, 59, tzinfo=dt.UTC)
    servers = ss.KnownServersFile(file.path, DB, now=lambda: now)
    await servers(OLD)
    now += dt.timedelta(minutes=1)
    assert await refusal(servers, OLD) == f"{file.path} has this key for {DB} until a moment that has come"
    assert servers.only_key() == NEW


@pytest.mark.parametrize("first_use", ["refuse", "trust"])
async def test_a_change_for_the_worse_is_logged_once_and_the_old_keys_stay(
    file: File, first_use: FirstUse, caplog: pytest.LogCaptureFixture
) -> None:
    file.write(f"{OLD} {DB}\n")
    servers = ss.KnownServersFile(file.path, DB, first_use=first_use)
    file.write(f"{NEW} {DB}\nrubbish\n")
    for _ in range(2):
        await servers(OLD)
        await refusal(servers, NEW)
    assert [record.getMessage() for record in caplog.records] == [
        f"{file.path}, line 2: not a public key: it is 44 characters of base64; the 1 servers of before stay in force"
    ]
    file.path.unlink()
    await servers(OLD)
    await refusal(servers, NEW)


@pytest.mark.parametrize("first_use", ["refuse", "trust"])
def test_nothing_starts_with_a_file_that_is_wrong(file: File, first_use: FirstUse) -> None:
    file.write("rubbish\n")
    with pytest.raises(ss.PeersFileError, match="line 1: not a public key"):
        ss.KnownServersFile(file.path, DB, first_use=first_use)
    file.write(f"{OLD} {DB}\n")
    file.path.chmod(0o622)
    with pytest.raises(ss.PeersFileError, match="chmod go-w"):
        ss.KnownServersFile(file.path, DB, first_use=first_use)
    file.path.chmod(0o600)
    file.path.write_bytes(b"#" * (2**24 + 1))
    with pytest.raises(ss.PeersFileError, match="longer than 16,777,216 bytes: not a list of servers"):
        ss.KnownServersFile(file.path, DB, first_use=first_use)


def test_a_missing_file_is_an_error_where_nothing_is_ever_written(file: File) -> None:
    with pytest.raises(FileNotFoundError):
        ss.KnownServersFile(file.path, DB)


def test_there_is_no_third_way(file: File) -> None:
    file.write("")
    with pytest.raises(ValueError, match='first_use is "refuse" or "trust"'):
        ss.KnownServersFile(file.path, DB, first_use="yes")  # type: ignore[arg-type]  # the mistake that is tested


# --- trust on first use -------------------------------------------------------------------------------------


async def test_the_first_key_is_believed_written_down_and_then_the_only_one(
    file: File, caplog: pytest.LogCaptureFixture
) -> None:
    now = dt.datetime(2027, 6, 30, tzinfo=dt.UTC)
    servers = ss.KnownServersFile(file.path, DB, first_use="trust", now=lambda: now)
    await servers(OLD)
    await servers(OLD)
    assert (await refusal(servers, NEW)).startswith(f"{file.path} has {OLD} for {DB}.")
    assert file.path.read_text() == f"{OLD}  {DB} note='first seen 2027-06-30'\n"
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert [record.getMessage() for record in caplog.records] == [
        f"{DB}: trusted at first use with the key {OLD}; see {file.path}"
    ]
    assert (await refusal(ss.KnownServersFile(file.path, DB), NEW)).startswith(f"{file.path} has {OLD}")


async def test_what_else_is_in_the_file_stays_as_it_is(file: File) -> None:
    before = f"# mine\n\n{OTHER} elsewhere:1   # far away"
    file.write(before)
    file.path.chmod(0o644)
    await ss.KnownServersFile(file.path, "it's 'mine' #1", first_use="trust")(OLD)
    assert file.path.read_text().startswith(f"{before}\n{OLD}  ")
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o644
    await ss.KnownServersFile(file.path, "it's 'mine' #1")(OLD)
    assert os.listdir(file.path.parent) == [file.path.name]


async def test_a_symbolic_link_stays_one(file: File) -> None:
    file.write("")
    link = file.path.with_name("link")
    link.symlink_to(file.path)
    await ss.KnownServersFile(link, DB, first_use="trust")(OLD)
    assert link.is_symlink()
    await ss.KnownServersFile(file.path, DB)(OLD)


async def test_two_that_meet_a_server_for_the_first_time_at_once_believe_one_key(
    file: File, autojump_clock: MockClock
) -> None:
    programs = [ss.KnownServersFile(file.path, DB, first_use="trust") for _ in range(4)]
    believed: list[ss.PublicKey] = []

    async def meet(servers: ss.KnownServersFile, key: ss.PublicKey) -> None:
        try:
            await servers(key)
        except PermissionError:
            return
        believed.append(key)

    async with locked_folder(str(file.path)), trio.open_nursery() as nursery:
        for servers, key in zip(programs, [OLD, NEW, OLD, NEW], strict=True):
            nursery.start_soon(meet, servers, key)
        await trio.testing.wait_all_tasks_blocked()
        assert not file.path.exists()
        nursery.start_soon(trio.sleep_forever)
        nursery.cancel_scope.deadline = trio.current_time() + 1
    assert believed == []  # all of them wait for the lock, and can be cancelled
    async with trio.open_nursery() as nursery:
        for servers, key in zip(programs, [OLD, NEW, OLD, NEW], strict=True):
            nursery.start_soon(meet, servers, key)
    assert len(set(believed)) == 1
    assert len(believed) == 2
    assert file.path.read_text().count(DB) == 1


async def test_a_file_that_is_just_being_written_is_not_taken_for_one_without_the_name(file: File) -> None:
    file.path.write_text("")  # an editor has truncated it, and is about to write
    file.path.chmod(0o600)
    soon = time.time() + 30  # and will be for longer than the machine may take to come back to this test
    os.utime(file.path, (soon, soon))
    servers = ss.KnownServersFile(file.path, DB, first_use="trust")
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refusal, servers, NEW)
            await trio.testing.wait_all_tasks_blocked()
            file.write(f"{OLD} {DB}\n")
    assert file.path.read_text() == f"{OLD} {DB}\n"


@pytest.mark.parametrize("what", ["missing folder", "broken meanwhile", "no room"])
async def test_what_can_not_be_written_down_is_not_believed(
    what: str, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file.path.with_name("nowhere") / "servers" if what == "missing folder" else file.path
    servers = ss.KnownServersFile(path, DB, first_use="trust")
    if what == "broken meanwhile":
        file.write("rubbish\n")
    elif what == "no room":

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
    told = await refusal(servers, OLD)
    assert told.startswith("it is seen for the first time and can't be written down: ")
    assert {name for name in os.listdir(file.path.parent) if name != "servers"} == set()


# --- with a server ------------------------------------------------------------------------------------------


async def test_a_client_with_known_servers_connects_over_tcp_and_tells_a_mismatch(file: File) -> None:
    client, server = matching_configs()
    with trio.fail_after(PATIENCE):
        async with serving_tcp(shout, server) as port:
            name = f"127.0.0.1:{port}"
            trusting = replace(client, server_key=ss.KnownServersFile(file.path, name, first_use="trust"))
            for _ in range(2):
                async with await ss.open_secure_tcp_stream("127.0.0.1", port, trusting) as stream:
                    assert await ask(stream) == b"HELLO"
            file.write(f"{OLD} {name}\n")
            pinned = replace(client, server_key=ss.KnownServersFile(file.path, name))
            mismatch = await failure_of(ss.open_secure_tcp_stream("127.0.0.1", port, pinned), ss.ServerKeyMismatch)
    assert (mismatch.expected, mismatch.received) == (OLD, server.key.public_key)
    assert f"has {OLD} for {name}" in str(mismatch)


async def test_a_mismatch_in_the_handshake_has_both_keys(file: File, autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    file.write(f"{OLD} {DB}\n{OTHER} {DB}\n")
    async with serving(shout, server) as served:
        connecting = served.connect(replace(client, server_key=ss.KnownServersFile(file.path, DB)))
        mismatch = await failure_of(connecting, ss.ServerKeyMismatch)
    assert (mismatch.expected, mismatch.received) == (None, server.key.public_key)
    for key in (OLD, OTHER, server.key.public_key):
        assert str(key) in str(mismatch)


async def test_a_single_known_key_names_the_server_in_the_hello(file: File, autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    known = ss.KnownServers([server.key.public_key])
    async with serving(shout, replace(server, require_route=True)) as served:
        assert await ask(await served.connect(replace(client, server_key=known))) == b"HELLO"
