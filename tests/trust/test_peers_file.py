"""The file of authorised clients: what a line may say, and that a change of it is all or nothing."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shlex
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import securestream as ss
from securestream.trust.lists import _words
from securestream.trust.peers import parse_clients

from ..protocol.support import PROPERTY
from ..service.support import ask, serving, shout
from ..streams.support import failure_of, matching_configs
from .support import File

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

ALICE, BOB, CAROL = (ss.PrivateKey(bytes([n]) * 32).public_key for n in (1, 2, 3))


@dataclass(frozen=True)
class Somebody:
    public_key: ss.PublicKey
    address: str = "127.0.0.1:5000"


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "clients")


async def allowed(peers: ss.AuthorizedPeersFile, *keys: ss.PublicKey) -> list[str]:
    """The names of those that get in."""
    names = []
    for key in keys:
        with contextlib.suppress(PermissionError):
            names.append((await peers(Somebody(key))).name)
    return names


# --- what a line may say ----------------------------------------------------------------------------


def test_a_line_is_a_key_a_name_and_what_limits_it() -> None:
    text = f"""\ufeff# the clients

{ALICE}\talice   # on the third floor
{BOB} 'bob the builder' until=2027-06-30T18:00:00+02:00 from=10.0.0.0/8,2001:db8::/32 note="his laptop, the old one"
"""
    clients = parse_clients(text.encode(), "clients")
    assert clients[ALICE] == ss.AuthorizedClient(ALICE, "alice")
    assert clients[BOB].name == "bob the builder"
    assert clients[BOB].until == dt.datetime(2027, 6, 30, 16, tzinfo=dt.UTC)
    assert [str(network) for network in clients[BOB].networks] == ["10.0.0.0/8", "2001:db8::/32"]
    assert clients[BOB].note == "his laptop, the old one"


def test_a_name_may_have_several_keys() -> None:
    clients = parse_clients(f"{ALICE} alice\n{BOB} alice\n".encode(), "clients")
    assert {client.name for client in clients.values()} == {"alice"}


SECRET = ss.PrivateKey(bytes([9]) * 32).to_text()
WRONG = {
    "alice": "not a public key: it is 44 characters of base64",
    f"{ALICE}": "a name belongs behind the key",
    f"{ALICE} until=2027-01-01": "a name belongs behind the key",
    f"{ALICE} alice bob": "behind key and name there may be until=, from= and note=",
    f"{ALICE} alice expires=2027-01-01": "behind key and name there may be until=, from= and note=",
    f"{ALICE} alice note=a note=b": "note= twice",
    f"{ALICE} alice until=tomorrow": "until= takes a day, 2027-06-30, or a moment, 2027-06-30T18:00:00Z",
    f"{ALICE} alice until=9999-12-31": "until= takes a day, 2027-06-30, or a moment, 2027-06-30T18:00:00Z",
    f"{ALICE} alice from=10.0.0.1/8": "networks are written as 10.0.0.0/8 or 2001:db8::/32",
    f"{ALICE} alice from=": "networks are written as 10.0.0.0/8 or 2001:db8::/32",
    f"{ALICE} 'alice": "a quote that is not closed",
    f"{ALICE} ali\x1bce": "names and notes are printable text",
    f"{SECRET} alice": "this is a secret where a public key belongs; don't hand it out",
    f"{BOB} bob": "the key of line 1 again",
    "a" * 10**5: "a line has at most 4,096 characters",
    "'" * 10**5: "a line has at most 4,096 characters",
}


@pytest.mark.parametrize("line", WRONG, ids=lambda line: line[:40])
def test_what_is_wrong_is_told_with_its_line_and_not_repeated(line: str) -> None:
    with pytest.raises(ss.PeersFileError) as caught:
        parse_clients(f"{BOB} bob\n\n{line}\n".encode(), "clients")
    assert str(caught.value) == f"clients, line 3: {WRONG[line]}"


@PROPERTY
@given(st.text(st.sampled_from(list("ab=.\t\r \v\xa0\u3000'\"\\#")), max_size=12))
def test_words_are_those_of_a_shell_whichever_way_they_are_found(text: str) -> None:
    try:
        wanted = shlex.split(text, comments=True)
    except ValueError:
        with pytest.raises(ValueError, match="not closed"):
            _words(text)
    else:
        assert _words(text) == wanted


# --- who gets in ------------------------------------------------------------------------------------


async def test_listed_clients_get_in_and_nobody_else(file: File) -> None:
    file.write(f"{ALICE} alice\n{BOB} bob\n")
    peers = ss.AuthorizedPeersFile(file.path)
    assert await allowed(peers, ALICE, BOB, CAROL) == ["alice", "bob"]
    assert [client.name for client in peers.clients] == ["alice", "bob"]
    assert repr(peers) == f"<AuthorizedPeersFile {file.path}: 2 keys>"


@pytest.mark.parametrize(
    ("until", "last"),
    [("2027-06-30", "2027-06-30T23:59:59+00:00"), ("2027-06-30T18:00:00Z", "2027-06-30T17:59:59+00:00"),
     ("2027-06-30T18:00:00", "2027-06-30T17:59:59+00:00")],
)  # fmt: skip
async def test_a_key_is_valid_until_its_day_is_over_or_its_moment_has_come(file: File, until: str, last: str) -> None:
    file.write(f"{ALICE} alice until={until}\n")
    now = dt.datetime.fromisoformat(last)
    peers = ss.AuthorizedPeersFile(file.path, now=lambda: now)
    assert await allowed(peers, ALICE) == ["alice"]
    now += dt.timedelta(seconds=1)
    with pytest.raises(PermissionError, match="was valid until 2027-0"):
        await peers(Somebody(ALICE))


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("10.1.2.3:5000", True), ("11.1.2.3:5000", False), ("[2001:db8::1]:5000", True), ("[2001:db9::1]:5000", False),
        ("[::ffff:10.1.2.3]:5000", True), ("[2001:db8::1%eth0]:1", True), ("", False), ("/run/socket", False),
    ],
)  # fmt: skip
async def test_a_key_may_be_bound_to_networks(file: File, address: str, inside: bool) -> None:
    file.write(f"{ALICE} alice from=10.0.0.0/8,2001:db8::/32\n")
    peers = ss.AuthorizedPeersFile(file.path)
    if inside:
        assert (await peers(Somebody(ALICE, address))).name == "alice"
    else:
        with pytest.raises(PermissionError, match="not authorised from this address"):
            await peers(Somebody(ALICE, address))


# --- changes ----------------------------------------------------------------------------------------


async def test_a_change_is_in_force_at_the_next_client(file: File) -> None:
    file.write(f"{ALICE} alice\n")
    peers = ss.AuthorizedPeersFile(file.path)
    file.write(f"{BOB} bob\n")
    assert await allowed(peers, ALICE, BOB) == ["bob"]
    file.write("")
    assert await allowed(peers, ALICE, BOB) == []


async def test_a_file_that_is_still_written_to_is_left_for_later(file: File) -> None:
    file.write(f"{ALICE} alice\n")
    peers = ss.AuthorizedPeersFile(file.path)
    file.path.write_text(f"{BOB} bo")  # and more is to come
    soon = time.time() + 30
    os.utime(file.path, (soon, soon))
    assert await allowed(peers, ALICE, BOB) == ["alice"]
    file.write(f"{BOB} bob\n")
    assert await allowed(peers, ALICE, BOB) == ["bob"]


async def test_a_file_from_the_future_is_read_all_the_same(file: File) -> None:
    file.write(f"{ALICE} alice\n{BOB} bob\n")
    peers = ss.AuthorizedPeersFile(file.path)
    file.write(f"{ALICE} alice\n")  # Bob is out; the clock that says when runs an hour fast
    later = time.time() + 3_600
    os.utime(file.path, (later, later))
    assert await allowed(peers, ALICE, BOB) == ["alice"]


async def test_a_file_that_was_written_just_before_the_start_is_read_once_more(file: File) -> None:
    file.path.write_text(f"{ALICE} alice\n")
    file.path.chmod(0o600)
    status = os.stat(file.path)
    soon = time.time() + 30
    os.utime(file.path, (soon, soon))
    peers = ss.AuthorizedPeersFile(file.path)
    file.path.write_text(f"{ALICE} carol\n")  # as long as before
    os.utime(file.path, ns=(status.st_mtime_ns - 10**9,) * 2)
    assert await allowed(peers, ALICE) == ["carol"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{BOB} bob\nrubbish\n", "clients, line 2: not a public key"),
        ("x" * (2**24 + 1), "is longer than 16,777,216 bytes"),
    ],
    ids=["wrong", "too long"],
)
async def test_a_change_for_the_worse_is_logged_once_and_the_old_list_stays(
    text: str, told: str, file: File, caplog: pytest.LogCaptureFixture
) -> None:
    file.write(f"{ALICE} alice\n")
    peers = ss.AuthorizedPeersFile(file.path)
    file.write(text)
    assert await allowed(peers, ALICE, BOB, ALICE) == ["alice", "alice"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert told in caplog.text
    assert "the 1 clients of before stay in force" in caplog.text
    file.write(f"{BOB} bob\n")
    assert await allowed(peers, ALICE, BOB) == ["bob"]
    file.write(text)
    await allowed(peers, ALICE)
    assert len(caplog.records) == 2


async def test_a_file_that_is_gone_leaves_the_old_list(file: File, caplog: pytest.LogCaptureFixture) -> None:
    file.write(f"{ALICE} alice\n")
    peers = ss.AuthorizedPeersFile(file.path)
    file.path.unlink()
    assert await allowed(peers, ALICE, BOB) == ["alice"]
    assert "No such file" in caplog.text


def test_nothing_starts_with_a_file_that_is_wrong(file: File) -> None:
    with pytest.raises(FileNotFoundError):
        ss.AuthorizedPeersFile(file.path)
    file.write("rubbish\n")
    with pytest.raises(ss.PeersFileError, match="line 1: not a public key"):
        ss.AuthorizedPeersFile(file.path)


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_can_write_to_is_refused(file: File, mode: int) -> None:
    file.write(f"{ALICE} alice\n")
    file.path.chmod(mode)
    with pytest.raises(ss.PeersFileError, match="chmod go-w"):
        ss.AuthorizedPeersFile(file.path)


# --- with a server ----------------------------------------------------------------------------------


async def test_a_server_takes_and_drops_clients_while_it_runs(file: File, autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    assert client.key is not None
    file.write(f"{client.key.public_key} alice\n")
    async with serving(shout, replace(server, authorize=ss.AuthorizedPeersFile(file.path))) as served:
        async with await served.connect(client) as stream:
            assert await ask(stream) == b"HELLO"
        file.write(f"{BOB} bob\n")
        refused = await failure_of(served.connect(client), ss.HandshakeRefused)
        assert refused.alert.code == ss.AlertCode.ACCESS_DENIED
