"""`securestream check`, and `connect --known-servers`: what is in the files, and what is wrong with them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import securestream as ss
from securestream.cli.app import run

from .support import Keys, cli, echo_server, read_all, read_line, running

if TYPE_CHECKING:
    from pathlib import Path

OTHER = ss.PrivateKey(bytes([7]) * 32).public_key
SHARED = ss.SharedSecret(bytes(range(40)))


class Files:
    """Good files and bad ones."""

    def __init__(self, folder: Path, keys: Keys) -> None:
        self._folder = folder
        self.keys = keys
        self.clients = self.write(
            "clients",
            f"{keys.client_public} alice until=2999-06-30 from=10.0.0.0/8 note='her laptop'\n"
            f"{OTHER} alice until=2001-01-01\n",
        )
        self.servers = self.write("servers", f"{keys.server_public} db:1\n{OTHER} DB:1 note=old\n{OTHER} 'my db'\n")
        self.secret = self.write("group.secret", SHARED.to_text())

    def write(self, name: str, text: str, mode: int = 0o600) -> str:
        path = self._folder / name
        path.write_text(text)
        path.chmod(mode)
        return str(path)


@pytest.fixture
def files(tmp_path: Path, keys: Keys) -> Files:
    return Files(tmp_path, keys)


def test_it_says_what_is_in_each_and_shows_no_secret(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    keys = files.keys
    string = f"Server=db:1;Database=Orders;Server Key={keys.server_public};Client Key={keys.client_file}"
    arguments = ["--key", str(keys.server_file), "--secret-file", files.secret, "--clients", files.clients]
    assert run(["check", *arguments, "--known-servers", files.servers, "--connect", string]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        f"{keys.server_file}: a private key; its public key is {keys.server_public}",
        f"{files.secret}: a shared secret of 40 bytes",
        f"{files.clients}: 2 keys of 1 client",
        f"  {keys.client_public}  alice, until 2999-07-01 00:00 UTC, from 10.0.0.0/8, her laptop",
        f"  {OTHER}  alice, over since 2001-01-02 00:00 UTC",
        f"{files.servers}: 3 keys of 2 servers",
        f"  {keys.server_public}  db:1",
        f"  {OTHER}  DB:1, old",
        f"  {OTHER}  my db",
        f"a connection string: {string}",
        f"  its client's public key is {keys.client_public}",
        "  its handshake is post-quantum where the server has it",
    ]


def test_a_connection_string_in_a_file_is_looked_at_as_programs_will(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    string = f"Server=db:1;Server Key={files.keys.server_public};Client Key={files.keys.client_file}"
    good, bad = files.write("db.connection", f"# ours\n{string}\n"), files.write("bad", "Server=db:1\n")
    assert run(["check", "--connect-file", bad, "--connect-file", good]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines()[:2] == [f"{good}: {string}", f"  its client's public key is {files.keys.client_public}"]
    assert err.startswith(f"securestream: {bad}: Server Key is missing")


def test_a_router_s_table_is_looked_at(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    server = files.keys.server_public
    routes = files.write(
        "routes", f"{server} 10.0.0.5:9222 note=first\n{server} 10.0.0.6:1\n{OTHER} unix:/s proxy=v2\n"
    )
    empty, bad = files.write("empty", ""), files.write("bad", f"{server} 10.0.0.5\n")
    assert run(["check", "--routes", routes, "--routes", empty, "--routes", bad]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"{routes}: 2 keys at 3 backends",
        f"  {server}  10.0.0.5:9222, first",
        f"  {server}  10.0.0.6:1",
        f"  {OTHER}  unix:/s, told by PROXY v2",
        f"{empty}: 0 keys at 0 backends; no client finds a server",
    ]
    assert err.startswith(f"securestream: {bad}, line 1: a backend is HOST:PORT")


def test_an_empty_list_is_said_to_let_in_nobody(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    path = files.write("nobody", "# to come\n")
    assert run(["check", "--clients", path]) == 0
    assert capsys.readouterr().out == f"{path}: 0 keys of 0 clients; nobody may connect\n"


def test_a_secret_in_a_connection_string_is_hidden_and_warned_of(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = files.keys.client.to_text()
    plain = secret.removeprefix("ss-secret:")
    for given in (secret, plain):
        string = f"Server=db:1;Server Key={files.keys.server_public};Client Secret Key={given}"
        assert run(["check", "--connect", string]) == 0
        out, err = capsys.readouterr()
        assert "Client Secret Key=(hidden)" in out
        assert "warning: every user of this machine can read the secret key" in err
        assert plain not in out + err


def test_all_are_looked_at_though_the_first_is_bad(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--key", "/nowhere/a", "--key", files.secret, "--clients", files.clients]) == 2
    out, err = capsys.readouterr()
    assert out.startswith(f"{files.clients}: 2 keys")
    assert err.splitlines() == [
        "securestream: /nowhere/a: No such file or directory",
        f"securestream: {files.secret}, line 1: this is a shared secret where a private key belongs",
    ]


NOT_A_KEY = "not a public key: it is 44 characters of base64"
BAD: list[tuple[str, str, int, str]] = [
    ("--key", "", 0o600, ": no private key in it: a line that starts with ss-secret: or ss-ed25519:"),
    ("--key", "{secret}", 0o640, " is open to others than its owner; to mend it: chmod 600 {path}"),
    ("--key", "{secret}\n{secret}", 0o600, ", line 2: a second private key; a file holds one"),
    ("--key", "{public}", 0o600, ", line 1: not a private key, which starts with ss-secret: or ss-ed25519:"),
    ("--key", "ss-encrypted:x", 0o600, ", line 1: not a locked secret: it is cut short, or of another version"),
    ("--key", "#" * 65_537, 0o600, " is longer than 65,536 bytes: not a key file"),
    ("--secret-file", "{secret}", 0o600, ", line 1: this is a private key where a shared secret belongs"),
    ("--secret-file", "ss-shared:AAAA", 0o600, ", line 1: a shared secret has 32 to 4,096 bytes, not 3"),
    (
        "--secret-file",
        "ss-shared:" + "A" * 43 + "=",
        0o600,
        ", line 1: a shared secret of nothing but zeros is no secret",
    ),
    ("--clients", "{public} alice", 0o660, " can be written to by others; to mend it: chmod go-w {path}"),
    ("--clients", "{public} alice\n{public} bob", 0o600, ", line 2: the key of line 1 again"),
    ("--clients", "{public}", 0o600, ", line 1: a name belongs behind the key"),
    ("--clients", "{secret} alice", 0o600, ", line 1: this is a secret where a public key belongs; don't hand it out"),
    ("--known-servers", "{public} *", 0o600, ", line 1: a name stands for one server; there are no patterns"),
    ("--known-servers", "db:1 {public}", 0o600, f", line 1: {NOT_A_KEY}"),
    ("--known-servers", "{public} db:1", 0o602, " can be written to by others; to mend it: chmod go-w {path}"),
]


@pytest.mark.parametrize(("option", "text", "mode", "message"), BAD, ids=[f"{row[0]}{row[3][:30]}" for row in BAD])
def test_a_bad_file_is_one_line_that_names_it(
    option: str, text: str, mode: int, message: str, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = files.keys.client.to_text()
    path = files.write("bad", text.replace("{secret}", secret).replace("{public}", files.keys.client_public), mode)
    assert run(["check", option, path]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"securestream: {path}{message}\n".replace("{path}", path))
    assert secret[12:40] not in err


SERVER = f"Server=db:1;Server Key={OTHER}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            "name what to check: --key, --secret-file, --clients, --known-servers, --routes, --connect or",
        ),
        (["--clients"], "Option '--clients' requires an argument."),
        (["--clients", "/"], "/: Is a directory"),
        (["--known-servers", "/nowhere/a"], "/nowhere/a: No such file or directory"),
        (["server.key"], "Got unexpected extra argument (server.key)"),
        (["--connect", "db.file"], "that is no connection string; a file that holds one goes with --connect-file"),
        (
            ["--connect", "Server=db:1"],
            "Server Key is missing: without it, or a Shared Secret File, anyone could stand",
        ),
        (["--connect", f"{SERVER};Client Key=/nowhere/a"], "/nowhere/a: No such file or directory"),
        (["--connect", f"{SERVER};Transport=tls"], "Server Key Hash is missing"),
        (["--connect", f"{SERVER};Timeout=soon"], "Timeout: seconds, more than none and at most 86,400"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"securestream: {message}")


# --- connect --known-servers -----------------------------------------------------------------------------


async def test_connect_believes_a_server_at_first_use_and_then_only_that_one(tmp_path: Path, keys: Keys) -> None:
    servers = tmp_path / "servers"
    async with echo_server(keys) as (_, port):
        where = ["connect", f"127.0.0.1:{port}", "--key", str(keys.client_file), "--known-servers", str(servers)]
        first = await cli(*where, "--trust-first-use", stdin=b"hello")
        assert (first.status, first.out) == (0, b"hello")
        assert first.err == (
            f"securestream: 127.0.0.1:{port}: trusted at first use with the key {keys.server_public}; see {servers}\n"
        )
        again = await cli(*where, stdin=b"hello")
        assert (again.status, again.out, again.err) == (0, b"hello", "")
        _write(servers, f"{OTHER} 127.0.0.1:{port}\n")
        other = await cli(*where, "--trust-first-use", stdin=b"hello")
    assert (other.status, other.out) == (1, b"")
    assert other.err.count("\n") == 1
    for part in (keys.server_public, str(OTHER), f">> {servers}"):
        assert part in other.err


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    assert os.path.getsize(path)


MISSING = "/nowhere/a: No such file or directory"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "HOST:PORT goes with --server-key PUBKEY or --known-servers FILE: without it, anyone"),
        (["--server-key", str(OTHER), "--known-servers", "a"], "--server-key and --known-servers exclude each other"),
        (["--server-key", str(OTHER), "--trust-first-use"], "--trust-first-use goes with --known-servers FILE"),
        (["--known-servers", "/nowhere/a"], f"{MISSING}; --trust-first-use makes it, with the key that h:1 shows"),
        (["--known-servers", "/"], "/: Is a directory"),
    ],
    ids=" ".join,
)
def test_connect_wants_to_know_whom_to_trust(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["connect", "h:1", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"securestream: {message}")


# --- echo --clients ------------------------------------------------------------------------------------------


async def test_a_client_that_is_taken_out_of_the_list_is_cut_off_with_the_reason(tmp_path: Path, keys: Keys) -> None:
    clients = tmp_path / "clients"
    clients.touch(0o600)
    _write(clients, f"{keys.client_public} alice\n")
    options = ["--key", str(keys.server_file), "--listen", "127.0.0.1:0", "--clients", str(clients)]
    async with running("echo", *options) as server:
        port = int((await read_line(server)).split()[2].rpartition(":")[2])
        async with running(*keys.connect(port)) as client:
            assert client.stdin is not None
            await client.stdin.send_all(b"hello\n")
            assert await read_line(client) == "hello\n"
            _write(clients, f"{OTHER} bob\n")
            told = (await read_all(client.stderr)).decode()
            assert await client.wait() == 3
    assert told.count("\n") == 1
    assert "alert 7 (access_denied)" in told
    assert "is not authorised here" in told
