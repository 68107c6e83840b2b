"""`--post-quantum` and `Post Quantum=`: what is asked for, what comes of it, and who is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import securestream as ss
from securestream.cli.app import run
from securestream.protocol import hybrid

from .support import Keys, Result, cli, port_of, read_all, running

if TYPE_CHECKING:
    from pathlib import Path


async def say_hello(keys: Keys, server: list[str], client: list[str]) -> tuple[Result, str]:
    """What came of `connect` with these options to `echo` with those, and what the server wrote to standard error."""
    who = ["--key", str(keys.server_file), "--allow", keys.client_public]
    async with running("echo", *who, "--listen", "127.0.0.1:0", *server) as echo:
        done = await cli(*keys.connect(await port_of(echo)), *client, stdin=b"hello")
        echo.terminate()
        return done, (await read_all(echo.stderr)).decode()


async def test_both_sides_say_that_the_handshake_was_post_quantum(keys: Keys) -> None:
    done, told = await say_hello(keys, ["--post-quantum", "require", "--events"], ["--events"])
    assert (done.status, done.out) == (0, b"hello")
    for text in (done.err, told):
        assert len(re.findall(r"^securestream: handshake_done .* post_quantum=yes ", text, re.MULTILINE)) == 1


async def test_a_client_that_went_without_is_told_so_unasked(keys: Keys) -> None:
    done, told = await say_hello(keys, ["--post-quantum", "off", "--events"], [])
    assert (done.status, done.out) == (0, b"hello")
    assert re.fullmatch(
        r"securestream: 127\.0\.0\.1:\d+ has no post-quantum handshake: what is recorded may be read one day\n",
        done.err,
    )
    assert " post_quantum=no " in told


@pytest.mark.parametrize(("server", "client"), [("off", "require"), ("require", "off")])
async def test_where_one_requires_what_the_other_has_not_there_is_no_connection(
    keys: Keys, server: str, client: str
) -> None:
    done, _ = await say_hello(keys, ["--post-quantum", server], ["--post-quantum", client])
    assert (done.status, done.out) == (1, b"")
    assert done.err.startswith("securestream: the server refused this client: it speaks another version")


@pytest.mark.parametrize(
    ("choice", "what"),
    [
        ("", "post-quantum where the server has it"),
        (";Post Quantum=prefer", "post-quantum where the server has it"),
        (";Post Quantum=require", "post-quantum, or there is no connection"),
        (";Post Quantum=off", "classical"),
    ],
)
def test_check_says_what_the_handshake_of_a_connection_string_will_be(
    choice: str, what: str, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    string = f"Server=db:1;Server Key={keys.server_public}{choice}"
    assert run(["check", "--connect", string]) == 0
    assert capsys.readouterr().out == f"a connection string: {string}\n  its handshake is {what}\n"


def test_check_says_nothing_of_it_over_tls(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--connect", f"Server=db:1;Server Key Hash={ss.KeyHash(bytes(32)).base64}"]) == 0
    assert "handshake" not in capsys.readouterr().out


@pytest.fixture
def without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hybrid, "available", lambda: False)


@pytest.mark.usefixtures("without_the_extra")
def test_without_the_extra_check_says_what_is_missing(keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    string = f"Server=db:1;Server Key={keys.server_public}"
    assert run(["check", "--connect", string, "--connect", f"{string};Post Quantum=require"]) == 2
    out, err = capsys.readouterr()
    assert (
        out.splitlines()[1] == "  its handshake is classical: post-quantum needs the extra `pq`, which isn't installed"
    )
    assert err.startswith("securestream: Post Quantum: ")
    assert "pip install 'securestream[pq]'" in err


@pytest.mark.usefixtures("without_the_extra")
@pytest.mark.parametrize(
    "command",
    [
        ["connect", "h:1", "--server-key", str(ss.PrivateKey(bytes([7]) * 32).public_key)],
        ["echo", "--key", "a", "--listen", "127.0.0.1:0", "--allow-anyone"],
    ],
    ids=lambda command: str(command[0]),
)
def test_without_the_extra_to_require_it_is_a_mistake_of_one_line(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, "--post-quantum", "require"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("securestream: Invalid value for '--post-quantum': ")
    assert "pip install 'securestream[pq]'" in err


def test_a_key_for_tls_leaves_it_to_tls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "tls.key"
    ss.write_key_file(key, ss.TlsPrivateKey.generate())
    served = ["echo", "--key", str(key), "--listen", "127.0.0.1:0", "--allow-anyone"]
    assert run([*served, "--post-quantum", "prefer"]) == 2
    assert capsys.readouterr().err.startswith("securestream: --post-quantum is not for TLS, which the key is for")
