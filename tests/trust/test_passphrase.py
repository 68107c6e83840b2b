"""Keys that are locked with a passphrase: opened by it and by nothing else, at a cost that has bounds."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import nacl.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st

import securestream as ss
from securestream.trust import passphrase as locks
from securestream.trust.passphrase import Cost, WrongPassphrase, lock, unlock

from ..protocol.support import PROPERTY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = ss.PrivateKey(bytes(range(1, 33)))
SHARED = ss.SharedSecret(bytes(range(32)))
CHEAP = Cost(passes=1, kib=8)
LOCKED = lock(KEY.to_text(), "open sesame", CHEAP)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is locked meanwhile costs next to nothing to open."""
    monkeypatch.setattr(locks, "USUAL_COST", CHEAP)


def private_file(folder: Path, content: str | bytes) -> Path:
    path = folder / "some.key"
    path.touch(0o600)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# --- lines --------------------------------------------------------------------------------------------


def test_a_guess_costs_a_quarter_of_a_gigabyte_unless_asked_otherwise() -> None:
    line = lock(KEY.to_text(), "open sesame")
    assert line.startswith("ss-encrypted:argon2id:t=3:m=262144:")
    assert unlock(line, "open sesame") == KEY.to_text()


@pytest.mark.parametrize("passphrase", ["open sesame", b"open sesame", lambda: "open sesame", lambda: b"open sesame"])
def test_a_passphrase_is_text_or_bytes_or_asked_for(passphrase: locks.Passphrase) -> None:
    assert unlock(LOCKED, passphrase) == KEY.to_text()


@pytest.mark.parametrize("passphrase", ["caf\u00e9", "\udcff", " ", "x" * 4_096])
def test_every_passphrase_that_a_terminal_can_give_will_do(passphrase: str) -> None:
    assert unlock(lock("x", passphrase, CHEAP), passphrase) == "x"


def test_locking_twice_gives_two_lines() -> None:
    assert lock("x", "y", CHEAP) != lock("x", "y", CHEAP)


@pytest.mark.parametrize("wrong", ["Open sesame", "open sesame ", b"open sesame\n"])
def test_another_passphrase_does_not_open_it(wrong: str | bytes) -> None:
    with pytest.raises(WrongPassphrase, match="the passphrase is wrong, or the line was changed"):
        unlock(LOCKED, wrong)


def test_no_bit_of_the_line_can_be_changed() -> None:
    opened = []
    for at in range(len(locks.PREFIX), len(LOCKED)):
        changed = LOCKED[:at] + chr(ord(LOCKED[at]) ^ 1) + LOCKED[at + 1 :]
        with contextlib.suppress(ValueError):
            opened.append(unlock(changed, "open sesame"))
    assert opened in ([], [KEY.to_text()])  # the last character of base64 may hold bits that mean nothing


@pytest.mark.parametrize(
    ("passphrase", "error", "message"),
    [
        ("", ValueError, "a passphrase has 1 to 4,096 bytes, not 0"),
        (b"x" * 4_097, ValueError, "a passphrase has 1 to 4,096 bytes, not 4,097"),
        ("\ud800", ValueError, "a passphrase is text that has a form in UTF-8"),
        (3, TypeError, "a passphrase is text or bytes, not int"),
        (lambda: None, TypeError, "a passphrase is text or bytes, not NoneType"),
    ],
)
def test_what_is_no_passphrase_is_refused(passphrase: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        lock("x", passphrase, CHEAP)
    assert str(caught.value) == message
    with pytest.raises(error) as caught:
        unlock(LOCKED, passphrase)
    assert str(caught.value) == message


def line(passes: str = "1", kib: str = "8", salt: str = "A" * 22 + "==", box: str = "A" * 160) -> str:
    return f"ss-encrypted:argon2id:t={passes}:m={kib}:{salt}:{box}"


TOO_DEAR = "its passphrase would take {} passes over {} KiB; at most 10 over 524,288 are taken"
NO_LINE = "not a locked secret: it is cut short, or of another version"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (line(passes="11"), TOO_DEAR.format("11", "8")),
        (line(passes="0"), TOO_DEAR.format("0", "8")),
        (line(kib="524289"), TOO_DEAR.format("1", "524,289")),
        (line(kib="999999"), TOO_DEAR.format("1", "999,999")),
        (line(kib="7"), TOO_DEAR.format("1", "7")),
        (line(kib="1000000"), NO_LINE),
        (line(passes="-1"), NO_LINE),
        (line(salt="A" * 21 + "==="), NO_LINE),
        (line(salt="A" * 24), NO_LINE),
        (line(box="A" * 39), NO_LINE),
        (line(box="A" * 16_385), NO_LINE),
        (line(box="A" * 161), NO_LINE),
        (line().replace("argon2id", "scrypt"), NO_LINE),
        (f"{line()}:more", NO_LINE),
        ("ss-encrypted:", NO_LINE),
    ],
)
def test_what_is_no_line_or_asks_for_too_much_is_refused_before_the_passphrase_is_asked_for(
    text: str, message: str
) -> None:
    def never() -> str:
        raise AssertionError

    with pytest.raises(ValueError) as caught:
        unlock(text, never)
    assert str(caught.value) == message


def test_memory_that_is_not_there_is_an_error_with_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*arguments: object, opslimit: int, memlimit: int) -> bytes:
        raise nacl.exceptions.RuntimeError("Unexpected failure in key derivation")

    monkeypatch.setattr("nacl.pwhash.argon2id.kdf", failing)
    with pytest.raises(ValueError, match="there are no 8 KiB of memory"):
        unlock(LOCKED, "open sesame")


@PROPERTY
@given(st.text(max_size=200) | st.text(st.sampled_from("argon2id:tm=0123456789A+/"), max_size=120))
def test_any_text_is_opened_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        unlock(locks.PREFIX + text, "open sesame")


@PROPERTY
@given(st.binary(min_size=30, max_size=100))
def test_any_box_is_opened_or_a_value_error(box: bytes) -> None:
    with pytest.raises(ValueError):
        unlock(line(box=locks._text(box)), "open sesame")


# --- files --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("cheap")
def test_a_locked_file_shows_its_public_key_and_opens_with_the_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "new.key"
    ss.write_key_file(path, KEY, passphrase="open sesame")
    text = path.read_text()
    assert f"# public key: {KEY.public_key}\n" in text
    assert "ss-secret:" not in text
    assert ss.read_key_file(path, passphrase="open sesame") == KEY


def test_a_passphrase_is_asked_for_only_where_one_is_needed(tmp_path: Path) -> None:
    def never() -> str:
        raise AssertionError

    assert ss.read_key_file(private_file(tmp_path, KEY.to_text()), passphrase=never) == KEY


@pytest.mark.parametrize("passphrase", ["", "x" * 4_097])
def test_a_passphrase_that_is_none_leaves_no_file_behind(tmp_path: Path, passphrase: str) -> None:
    with pytest.raises(ValueError, match="a passphrase has 1 to 4,096 bytes"):
        ss.write_key_file(tmp_path / "new.key", KEY, passphrase=passphrase)
    assert list(tmp_path.iterdir()) == []


def test_a_shared_secret_may_be_locked_too_and_is_not_taken_for_a_key(tmp_path: Path) -> None:
    path = private_file(tmp_path, lock(SHARED.to_text(), "open sesame", CHEAP))
    assert ss.read_secret_file(path, passphrase="open sesame") == SHARED
    with pytest.raises(ss.KeyFileError, match="line 1: this is a shared secret where a private key belongs"):
        ss.read_key_file(path, passphrase="open sesame")


@pytest.mark.parametrize(
    ("passphrase", "message"),
    [
        (None, "locked with a passphrase, and none was given"),
        ("sesame", "the passphrase is wrong, or the line was changed"),
        ("", "a passphrase has 1 to 4,096 bytes, not 0"),
    ],
)
def test_a_locked_file_that_stays_locked_is_told_with_its_line(
    tmp_path: Path, passphrase: str | None, message: str
) -> None:
    path = private_file(tmp_path, f"# mine\n{LOCKED}\n")
    with pytest.raises(ss.KeyFileError) as caught:
        ss.read_key_file(path, passphrase=passphrase)
    assert str(caught.value) == f"{path}, line 2: {message}"
    assert caught.value.__cause__ is None


def test_a_locked_file_that_is_open_to_others_is_refused(tmp_path: Path) -> None:
    path = private_file(tmp_path, LOCKED)
    path.chmod(0o644)
    with pytest.raises(ss.KeyFileError, match="chmod 600"):
        ss.read_key_file(path, passphrase="open sesame")


def test_a_connection_string_may_name_a_locked_file(tmp_path: Path) -> None:
    path = private_file(tmp_path, LOCKED)
    text = f"Server=h:1;Server Key={KEY.public_key};Client Key={path}"
    assert ss.parse_address(text, passphrase="open sesame").config.key == KEY
    with pytest.raises(ss.KeyFileError, match="locked with a passphrase"):
        ss.parse_address(text)


def test_a_secret_is_no_name_of_a_file_and_not_repeated() -> None:
    readers: list[Callable[[str], object]] = [ss.read_key_file, ss.read_secret_file, ss.read_passphrase_file]
    for read in readers:
        with pytest.raises(ss.KeyFileError) as caught:
            read(KEY.to_text())
        assert str(caught.value) == "this is a secret where the name of a file belongs; put it into one"


# --- the passphrase in a file ---------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["open sesame", "open sesame\n", "open sesame\r\nand more\n"])
def test_a_passphrase_file_holds_it_in_its_first_line(tmp_path: Path, content: str) -> None:
    assert ss.read_passphrase_file(private_file(tmp_path, content)) == b"open sesame"


@pytest.mark.parametrize("content", ["", "\nopen sesame", "x" * 4_097])
def test_a_first_line_that_is_no_passphrase_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ss.KeyFileError, match="its first line is no passphrase, which has 1 to 4,096 bytes"):
        ss.read_passphrase_file(private_file(tmp_path, content))


def test_a_passphrase_file_that_is_open_to_others_or_too_long_is_refused(tmp_path: Path) -> None:
    path = private_file(tmp_path, "open sesame\n")
    path.chmod(0o604)
    with pytest.raises(ss.KeyFileError, match="is open to others than its owner"):
        ss.read_passphrase_file(path)
    path.chmod(0o600)
    path.write_bytes(b"x" * 70_000)
    with pytest.raises(ss.KeyFileError, match="longer than 65,536 bytes"):
        ss.read_passphrase_file(path)
