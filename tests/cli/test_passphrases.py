"""Locked keys on the command line: the passphrase comes from a terminal or a file, and never from an argument."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import termios
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.cli.app import run
from securestream.cli.secrets import server_in
from securestream.trust import passphrase as locks
from securestream.trust.passphrase import Cost

from .support import ENVIRONMENT, PATIENCE, Result, cli, command, echo_server, read_line, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from .support import Keys

WORDS = "open sesame"


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Keys) -> Path:
    """The client's key, locked by `WORDS` at next to no cost."""
    path = tmp_path / "locked.key"
    monkeypatch.setattr(locks, "USUAL_COST", Cost(passes=1, kib=8))
    ss.write_key_file(path, keys.client, passphrase=WORDS)
    return path


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A file with `WORDS`."""
    path = tmp_path / "words"
    path.touch(0o600)
    path.write_text(f"{WORDS}\n")
    return path


class Terminal:
    """What a command sees as its terminal, and the person before it."""

    def __init__(self, process: trio.Process, end: trio.lowlevel.FdStream) -> None:
        self.process = process
        self._end = end
        self.shown = b""

    async def answer(self, prompt: str, text: str) -> None:
        """Waits for the prompt, and types."""
        while not self.shown.endswith(prompt.encode()):
            self.shown += await self._end.receive_some()
        await self._end.send_all(f"{text}\n".encode())

    async def read_rest(self) -> str:
        """All that is shown until the command ends."""
        with contextlib.suppress(trio.BrokenResourceError):  # as the end of a terminal looks on Linux
            while chunk := await self._end.receive_some():
                self.shown += chunk
        await self.process.wait()
        return self.shown.decode()


@contextlib.asynccontextmanager
async def at_a_terminal(*arguments: str | Path) -> AsyncIterator[Terminal]:
    """A command with a controlling terminal of its own."""
    outside, inside = pty.openpty()
    process = await trio.lowlevel.open_process(
        command(*arguments), stdin=inside, stdout=inside, stderr=inside, env=ENVIRONMENT, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(inside)
    try:
        async with trio.lowlevel.FdStream(outside) as end:
            with trio.fail_after(PATIENCE):
                yield Terminal(process, end)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


# --- at a terminal --------------------------------------------------------------------------------------


async def test_keygen_asks_for_a_new_passphrase_twice_and_pubkey_once(tmp_path: Path) -> None:
    path = tmp_path / "new.key"
    async with at_a_terminal("keygen", "--passphrase", "-o", path) as terminal:
        await terminal.answer("New passphrase: ", WORDS)
        await terminal.answer("The same again: ", WORDS)
        shown = await terminal.read_rest()
    assert terminal.process.returncode == 0
    assert WORDS not in shown
    public = str(ss.read_key_file(path, passphrase=WORDS).public_key)
    assert shown.split()[-1] == public
    async with at_a_terminal("pubkey", path) as terminal:
        await terminal.answer(f"Passphrase of {path}: ", WORDS)
        shown = await terminal.read_rest()
    assert (terminal.process.returncode, shown.split()[-1]) == (0, public)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([WORDS, "open sesam"], "the two passphrases differ; nothing was written"),
        ([""], "an empty passphrase locks nothing; leave --passphrase out for a key without one"),
    ],
)
async def test_a_new_passphrase_that_is_empty_or_mistyped_makes_no_file(
    tmp_path: Path, answers: list[str], message: str
) -> None:
    async with at_a_terminal("keygen", "--passphrase", "-o", tmp_path / "new.key") as terminal:
        for prompt, answer in zip(["New passphrase: ", "The same again: "], answers, strict=False):
            await terminal.answer(prompt, answer)
        shown = await terminal.read_rest()
    assert terminal.process.returncode == 1
    assert shown.splitlines()[-1] == f"securestream: {message}"
    assert os.listdir(tmp_path) == []


async def test_a_wrong_passphrase_is_one_line(locked: Path) -> None:
    async with at_a_terminal("pubkey", locked) as terminal:
        await terminal.answer(f"Passphrase of {locked}: ", "open barley")
        shown = await terminal.read_rest()
    assert terminal.process.returncode == 2
    message = f"securestream: {locked}, line 3: the passphrase is wrong, or the line was changed"
    assert shown.splitlines()[-1] == message


@pytest.mark.parametrize(("typed", "status"), [("\x04", 130), ("\x03", 130)], ids=["end of file", "ctrl-c"])
async def test_who_gives_up_gets_no_traceback(locked: Path, typed: str, status: int) -> None:
    async with at_a_terminal("pubkey", locked) as terminal:
        await terminal.answer(f"Passphrase of {locked}: ", typed)
        shown = await terminal.read_rest()
    assert terminal.process.returncode == status
    assert "Traceback" not in shown


# --- from a file ------------------------------------------------------------------------------------------


async def test_without_a_terminal_it_says_what_to_do(locked: Path) -> None:
    process = await trio.run_process(
        command("pubkey", locked), check=False, capture_stderr=True, env=ENVIRONMENT, start_new_session=True
    )
    assert process.returncode == 2
    assert process.stderr.decode() == (
        "securestream: a passphrase is needed, and there is no terminal to ask on; give --passphrase-file\n"
    )


async def test_a_passphrase_comes_from_a_file_a_descriptor_or_the_file_that_the_environment_names(
    locked: Path, words: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Result(0, f"{keys.client_public}\n".encode(), "")
    assert await cli("pubkey", locked, "--passphrase-file", words) == wanted
    assert await cli("pubkey", locked, "--passphrase-file", "-", stdin=f"{WORDS}\n".encode()) == wanted
    monkeypatch.setitem(ENVIRONMENT, "SECURESTREAM_PASSPHRASE_FILE", str(words))
    assert await cli("pubkey", locked) == wanted


async def test_keygen_locks_with_the_passphrase_of_a_file(tmp_path: Path, words: Path) -> None:
    path = tmp_path / "new.key"
    result = await cli("keygen", "-o", path, "--passphrase-file", words)
    assert result.out.decode().strip() == str(ss.read_key_file(path, passphrase=WORDS).public_key)
    printed = await cli("keygen", "--passphrase-file", words)
    assert b"ss-encrypted:" in printed.out
    assert b"ss-secret:" not in printed.out


async def test_a_client_and_a_server_open_their_keys(locked: Path, words: Path, keys: Keys) -> None:
    async with echo_server(keys) as (_, port):
        where = ["connect", f"127.0.0.1:{port}", "--server-key", keys.server_public]
        result = await cli(*where, "--key", locked, "--passphrase-file", words, stdin=b"hello")
    assert (result.status, result.out, result.err) == (0, b"hello", "")
    async with running(
        "echo", "--listen", "127.0.0.1:0", "--allow-anyone", "--key", locked, "--passphrase-file", words
    ) as process:
        assert (await read_line(process)).endswith(f" as {keys.client_public}\n")


def test_a_connection_string_names_a_locked_file(locked: Path, words: Path, keys: Keys) -> None:
    text = f"Server=h:1;Server Key={keys.server_public};Client Key={locked}"
    assert server_in(text, str(words)).config.key == keys.client


# --- the key's file from the environment --------------------------------------------------------------------


async def test_the_environment_may_name_the_key_s_file(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "SECURESTREAM_KEY_FILE", str(keys.server_file))
    async with running("echo", "--listen", "127.0.0.1:0", "--allow-anyone") as process:
        assert (await read_line(process)).endswith(f" as {keys.server_public}\n")


def test_a_secret_in_the_environment_is_told_and_not_repeated(
    keys: Keys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SECURESTREAM_KEY_FILE", keys.client.to_text())
    assert run(["connect", "h:1", "--server-key", keys.server_public]) == 2
    assert capsys.readouterr().err == (
        "securestream: this is a secret where the name of a file belongs; put it into one\n"
    )


# --- mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (["keygen", "--passphrase-file", "/nowhere/a"], "/nowhere/a: No such file or directory", 2),
        (["keygen", "--passphrase-file", "/"], "/: Is a directory", 2),
        (["keygen", "--passphrase-file", "/dev/null"], "/dev/null: its first line is no passphrase", 2),
        (["keygen", "--passphrase-file", "/dev/zero"], "/dev/zero is longer than 65,536 bytes: not a key file", 2),
        (["keygen", "-o"], "Option '-o' requires an argument.", 2),
        (["keygen", "a.key"], "Got unexpected extra argument (a.key)", 2),
        (["keygen", "-o", ""], "'': No such file or directory", 1),
        (["pubkey", ""], "'': No such file or directory", 2),
        (["pubkey", "{locked}", "--passphrase-file", "/nowhere/a"], "/nowhere/a: No such file or directory", 2),
        (["pubkey", "{locked}", "--passphrase-file", "{locked}"], "{locked}, line 3: the passphrase is wrong", 2),
        (["pubkey", "/dev/null"], "/dev/null: no private key in it: a line that starts with ss-secret:", 2),
        (["pubkey", "/dev/zero"], "/dev/zero is longer than 65,536 bytes: not a key file", 2),
        (["pubkey", "-x"], "No such option", 2),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_line(
    arguments: list[str], message: str, status: int, locked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([argument.replace("{locked}", str(locked)) for argument in arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"securestream: {message}".replace("{locked}", str(locked)))
