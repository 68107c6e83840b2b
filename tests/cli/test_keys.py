"""`securestream keygen` and `securestream pubkey`, as processes."""

from __future__ import annotations

import contextlib
import os
import pty
import stat
from typing import TYPE_CHECKING

import pytest

import securestream as ss
from securestream.cli.app import run
from securestream.trust.keyfile import read_key_file

from .support import Keys, Result, cli, read_all, running

if TYPE_CHECKING:
    from pathlib import Path


async def test_keygen_writes_a_private_file_and_prints_the_public_key(tmp_path: Path) -> None:
    path = tmp_path / "new.key"
    result = await cli("keygen", "-o", path, umask=0)
    assert result == Result(0, f"{read_key_file(path).public_key}\n".encode(), "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keygen_never_overwrites(keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    before = keys.server_file.read_bytes()
    assert run(["keygen", "--output", str(keys.server_file)]) == 1
    assert capsys.readouterr() == (
        "",
        f"securestream: {keys.server_file} exists and is left as it is: choose another name, or remove it first\n",
    )
    assert keys.server_file.read_bytes() == before


@pytest.mark.parametrize("target_exists", [True, False])
def test_keygen_does_not_follow_a_symbolic_link(
    tmp_path: Path, target_exists: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    if target_exists:
        target.touch()
    link.symlink_to(target)
    assert run(["keygen", "-o", str(link)]) == 1
    assert capsys.readouterr().out == ""
    assert not target_exists or target.read_bytes() == b""
    assert target.exists() == target_exists


async def test_keygen_through_a_pipe_prints_the_file_and_says_the_public_key_aside() -> None:
    result = await cli("keygen")
    key = ss.PrivateKey.from_text(result.out.decode().splitlines()[-1])
    assert result.err == f"Public key: {key.public_key}\n"
    assert f"# public key: {key.public_key}\n".encode() in result.out


async def test_keygen_into_a_file_that_others_can_read_warns(tmp_path: Path) -> None:
    path = tmp_path / "new.key"
    path.touch()
    path.chmod(0o644)
    async with running("keygen", stdout=os.open(path, os.O_WRONLY)) as process:
        err = await read_all(process.stderr)
    assert b"warning: the private key goes to a file that others can read" in err
    assert b"ss-secret:" not in err


async def test_keygen_on_a_terminal_prints_the_file_only() -> None:
    terminal, inside = pty.openpty()
    async with running("keygen", stdout=inside) as process:
        os.close(inside)
        assert await read_all(process.stderr) == b""
        assert await process.wait() == 0
    said = b""
    with contextlib.suppress(OSError):  # so a terminal ends
        while chunk := os.read(terminal, 4_096):
            said += chunk
    os.close(terminal)
    shown = said.decode().splitlines()
    assert [line.partition(":")[0] for line in shown] == ["# created", "# public key", "ss-secret"]


async def test_pubkey_reads_standard_input(keys: Keys) -> None:
    wanted = Result(0, f"{keys.server_public}\n".encode(), "")
    assert await cli("pubkey", stdin=keys.server_file.read_bytes()) == wanted


def test_pubkey_reads_a_file(keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["pubkey", str(keys.server_file)]) == 0
    assert capsys.readouterr() == (f"{keys.server_public}\n", "")


def test_pubkey_refuses_a_file_that_is_open_to_others(keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    path = keys.server_file
    path.chmod(0o640)
    assert run(["pubkey", str(path)]) == 2
    message = f"securestream: {path} is open to others than its owner; to mend it: chmod 600 {path}\n"
    assert capsys.readouterr() == ("", message)


async def test_a_full_disk_is_one_line() -> None:
    async with running("keygen", stdout=os.open("/dev/full", os.O_WRONLY)) as process:
        err = await read_all(process.stderr)
        assert await process.wait() == 1
    assert err.decode().splitlines()[-1] == "securestream: No space left on device"
    assert b"Traceback" not in err
