"""Private keys on disk: how they are written, and what is refused when they are read."""

from __future__ import annotations

import io
import os
import re
import stat
import sys
from typing import TYPE_CHECKING

import pytest

import securestream as ss
from securestream.trust.keyfile import (
    MAX_FILE_SIZE,
    KeyFileError,
    key_file_text,
    read_key_file,
    read_secret_file,
    write_key_file,
)

if TYPE_CHECKING:
    from pathlib import Path

KEY = ss.PrivateKey(bytes(range(32)))  # fixed, for it is in the names of tests
TEXT = KEY.to_text()
SHARED = ss.SharedSecret(bytes(range(32)))


def private_file(folder: Path, content: str | bytes) -> Path:
    path = folder / "some.key"
    path.touch(0o600)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_key_file(tmp_path / "new.key", KEY)
    assert read_key_file(tmp_path / "new.key") == KEY


def test_a_key_file_says_when_it_was_made_and_its_public_key() -> None:
    created, public, secret = key_file_text(KEY).splitlines()
    assert re.fullmatch(r"# created: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", created)
    assert public == f"# public key: {KEY.public_key}"
    assert secret == TEXT


def test_a_new_file_is_its_owner_s_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_key_file(tmp_path / "new.key", KEY)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.key").stat().st_mode) == 0o600


def test_a_file_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    path = private_file(tmp_path, "precious")
    with pytest.raises(FileExistsError):
        write_key_file(path, KEY)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("target_exists", [True, False])
def test_a_symbolic_link_is_never_written_through(tmp_path: Path, target_exists: bool) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    if target_exists:
        target.write_text("precious")
    link.symlink_to(target)
    with pytest.raises(FileExistsError):
        write_key_file(link, KEY)
    assert target.exists() == target_exists
    assert link.is_symlink()


def test_a_file_that_can_not_be_written_whole_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_key_file(tmp_path / "new.key", KEY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(TEXT, id="bare"),
        pytest.param(f"\n\n  {TEXT}  \n\n", id="space"),
        pytest.param(f"# a\n#b\n{TEXT}\n# c\n", id="comments"),
        pytest.param(f"{TEXT}\r\n", id="Windows"),
        pytest.param(f"\ufeff{TEXT}\n", id="byte order mark"),
        pytest.param(b"# \xff\n" + TEXT.encode(), id="not UTF-8"),
    ],
)
def test_comments_space_and_line_ends_do_not_matter(tmp_path: Path, content: str | bytes) -> None:
    assert read_key_file(private_file(tmp_path, content)) == KEY


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ": no private key in it: a line that starts with ss-secret:"),
        ("# public key: x\n", ": no private key in it: a line that starts with ss-secret:"),
        (f"{TEXT}\n{TEXT}\n", ", line 2: a second private key; a file holds one"),
        (f"# one\n{TEXT}\nrubbish", ", line 3: a second private key; a file holds one"),
        (TEXT[:-3], ", line 1: not a private key: it is 44 characters of base64"),
        ("\n" + TEXT[:-4], ", line 2: not a private key: it is 44 characters of base64, this is 40"),
        ("ss-secret:" + "\udcff" * 44, ", line 1: not a private key: it is 44 characters of base64"),
        ("ss-secret:" + "A" * 43 + "=", ", line 1: a private key of nothing but zeros is no key"),
        (f"#\n{KEY.public_key}", ", line 2: not a private key, which starts with ss-secret:"),
        ("-----BEGIN PRIVATE KEY-----", ", line 1: not a private key, which starts with ss-secret:"),
        (SHARED.to_text(), ", line 1: this is a shared secret where a private key belongs"),
        ("#" * (MAX_FILE_SIZE + 1), " is longer than 65,536 bytes: not a key file"),
    ],
)
def test_what_is_no_key_file_is_refused_by_name_and_line(tmp_path: Path, content: str, message: str) -> None:
    path = private_file(tmp_path, content.encode("utf-8", "surrogateescape"))
    with pytest.raises(KeyFileError) as caught:
        read_key_file(path)
    assert str(caught.value) == f"{path}{message}"
    assert isinstance(caught.value, ValueError)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("content", [TEXT[:-1], TEXT + "A", f"{TEXT}\n{TEXT}", TEXT.removeprefix("ss-secret:")])
def test_no_error_repeats_what_is_in_the_file(tmp_path: Path, content: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        read_key_file(private_file(tmp_path, content))
    assert TEXT[12:40] not in repr(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o610, 0o601])
def test_a_file_that_is_open_to_others_is_refused_and_how_to_mend_it_is_said(tmp_path: Path, mode: int) -> None:
    path = private_file(tmp_path, TEXT).rename(tmp_path / "my own.key")
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=re.escape(f"to mend it: chmod 600 '{path}'")):
        read_key_file(path)


def test_what_tells_no_size_is_read_no_further_than_a_key_file_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = io.BytesIO(b"#" * 10 * MAX_FILE_SIZE)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(endless))
    with pytest.raises(KeyFileError, match="longer than 65,536 bytes"):
        read_key_file("-")
    assert endless.tell() <= 2 * MAX_FILE_SIZE


def test_a_pipe_will_do() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, TEXT.encode())
        os.close(writing)
        assert read_key_file(f"/dev/fd/{reading}") == KEY
    finally:
        os.close(reading)


def test_missing_files_and_folders_are_the_system_s_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_key_file(tmp_path / "missing.key")
    with pytest.raises(IsADirectoryError):
        read_key_file(tmp_path)


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"#\n{TEXT}".encode())))
    assert read_key_file("-") == KEY


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x", "standard input, line 1: not a private key, which starts with ss-secret:"),
        ("x" * 70_000, "standard input is longer than 65,536 bytes: not a key file"),
    ],
)
def test_standard_input_has_a_name_in_errors_too(monkeypatch: pytest.MonkeyPatch, content: str, message: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    with pytest.raises(KeyFileError) as caught:
        read_key_file("-")
    assert str(caught.value) == message


def test_standard_input_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(KeyFileError, match="standard input is closed"):
        read_key_file("-")


def test_a_shared_secret_has_a_file_of_the_same_kind(tmp_path: Path) -> None:
    assert read_secret_file(private_file(tmp_path, f"# ours\n{SHARED.to_text()}\n")) == SHARED


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TEXT, ", line 1: this is a private key where a shared secret belongs"),
        ("ss-shared:AAAA", ", line 1: a shared secret has 32 to 4,096 bytes, not 3"),
        ("ss-shared:?", ", line 1: not a shared secret: not base64"),
        ("password", ", line 1: not a shared secret, which starts with ss-shared:"),
    ],
)
def test_what_is_no_shared_secret_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = private_file(tmp_path, content)
    with pytest.raises(KeyFileError) as caught:
        read_secret_file(path)
    assert str(caught.value) == f"{path}{message}"


def test_a_file_that_holds_no_secret_is_no_key_file_whoever_may_read_it(tmp_path: Path) -> None:
    passwords = tmp_path / "passwd"
    passwords.write_text("root:x:0:0\n")
    passwords.chmod(0o644)
    with pytest.raises(KeyFileError) as caught:
        read_key_file(passwords)
    assert "chmod" not in str(caught.value)
