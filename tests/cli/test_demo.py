"""`securestream demo`: what it shows, how it fails, and that its server never outlives it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import sysconfig
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.cli import demo_parts
from securestream.cli.app import run
from securestream.cli.common import Failure
from securestream.cli.demo_parts import failing_answer, one_file, refused_stranger, there_and_back
from securestream.cli.demo_screen import Screen
from securestream.cli.demo_server import ECHO, LONG_ANSWER

from .support import ENVIRONMENT, PATIENCE, Keys, command, read_all, read_line, running, serving

if TYPE_CHECKING:
    from .support import Stream

KEY = r"[A-Za-z0-9+/]{43}="


def words(text: str) -> str:
    """Without the line breaks."""
    return " ".join(text.split())


# --- what it shows ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shown() -> str:
    """What the demo prints into a pipe, with standard library and all."""
    done = subprocess.run(command("demo"), capture_output=True, check=True, timeout=PATIENCE, env=ENVIRONMENT)
    assert done.stderr == b""
    return done.stdout.decode()


def test_it_succeeds_and_says_so(shown: str) -> None:
    assert shown.splitlines()[-1] == "All four went as they should, and the server process has ended."


def test_it_shows_both_public_keys_in_full_and_never_a_secret(shown: str) -> None:
    assert re.search(rf"^  server key  {KEY}$", shown, re.MULTILINE)
    assert re.search(rf"^  client key  {KEY}$", shown, re.MULTILINE)
    assert "ss-secret" not in shown


def test_it_shows_bytes_suite_records_and_overhead(shown: str) -> None:
    content = re.search(r"content +([\d,]+) bytes: \d+ files of Python's standard library", shown)
    assert content is not None
    size = int(content[1].replace(",", ""))
    assert size > 2_000_000
    assert re.search(r"suite +(AEGIS-256|XCHACHA20-POLY1305)$", shown, re.MULTILINE)
    for direction in ("there", "back"):
        found = re.search(direction + r" +([\d,]+) records, ([\d,]+) bytes: (\d\.\d\d)% more than the content", shown)
        assert found is not None
        wire = int(found[2].replace(",", ""))
        assert float(found[3]) == round((wire / size - 1) * 100, 2)


def test_it_compares_the_digests_of_what_was_sent(shown: str) -> None:
    folder = Path(sysconfig.get_path("stdlib"))
    source = demo_parts.standard_library()
    assert all(path.parent == folder and path.suffix == ".py" for path in source.paths)
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in source.paths)).hexdigest()
    assert re.findall(r"^  (?:sent|received) +([0-9a-f]{64})$", shown, re.MULTILINE) == [digest, digest]


def test_it_shows_an_alert_after_half_an_answer(shown: str) -> None:
    assert (
        "received 4,000 rows, 108,000 bytes; and then: securestream: the peer ended the stream: "
        "alert 5001: the backend went away after 4,000 of 10,000 rows"
    ) in words(shown)


def test_it_shows_what_a_client_that_is_not_allowed_is_told(shown: str) -> None:
    found = re.search(rf"its key ({KEY}) securestream: the server refused this client: (.*?) ok:", words(shown))
    assert found is not None
    assert found[2] == (
        f"the public key {found[1]} is not authorised here [access_denied]; its operator can allow this key"
    )


def test_it_shows_what_a_client_that_wants_another_server_is_told(shown: str) -> None:
    found = re.search(rf"expects ({KEY}) securestream: (.*?) ok:", words(shown))
    server = re.search(rf"server key  ({KEY})", shown)
    assert found is not None
    assert server is not None
    expected, received = ss.PublicKey.from_text(found[1]), ss.PublicKey.from_text(server[1])
    assert found[2] == str(ss.ServerKeyMismatch(expected, received))


def test_in_a_pipe_it_is_plain_and_fits_80_columns(shown: str) -> None:
    assert shown.isascii()
    assert all(line.isprintable() and len(line) <= 80 and line == line.rstrip() for line in shown.splitlines())


@pytest.mark.parametrize("content", [b"", os.urandom(100_000)], ids=["empty", "random"])
def test_it_takes_any_file(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a[b]\x1b[31m\nc"
    path.write_bytes(content)
    assert run(["demo", str(path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert f"content {len(content):,} bytes: " in words(out)
    assert "a[b]\\x1b[31m\\nc" in out
    assert out.count(hashlib.sha256(content).hexdigest()) == 2


# --- on a terminal ----------------------------------------------------------------------------------


async def test_on_a_terminal_it_has_colours_and_a_bar_that_goes_away(tmp_path: Path) -> None:
    path, shown = tmp_path / "zeros", bytearray()
    path.write_bytes(bytes(2_000_000))
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 80, 0, 0))

    async def read() -> None:
        async with trio.lowlevel.FdStream(terminal) as stream:
            with contextlib.suppress(trio.BrokenResourceError):  # how a terminal ends
                async for chunk in stream:
                    shown.extend(chunk)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.run_process(command("demo", path), stdout=inside, env=ENVIRONMENT)
            os.close(inside)
    assert b"\x1b[32m" in shown
    assert b"/2.0 MB" in shown
    assert b"\x1b[?25h" in shown  # the cursor is there again
    assert b"All four went as they should" in shown


@pytest.mark.parametrize("no_color", [False, True])
def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch, no_color: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    terminal, inside = pty.openpty()
    with open(inside, "w", encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        Screen().good("green")
        shown = os.read(terminal, 1_000)
    os.close(terminal)
    assert (b"\x1b[32m" in shown) == (not no_color)
    assert b"ok: green" in shown


# --- how it fails -----------------------------------------------------------------------------------


def test_a_server_that_does_not_start_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert run(["demo"]) == 1
    assert capsys.readouterr().err == "securestream: the demo failed: its server process ended before it was ready\n"


def test_a_python_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert run(["demo"]) == 1
    assert capsys.readouterr().err == "securestream: the demo failed: /nowhere/python: No such file or directory\n"


def test_what_should_not_happen_is_one_line_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_parts, "ECHO", b"what?\n")
    assert run(["demo", __file__]) == 1
    out, err = capsys.readouterr()
    assert "All four" not in out
    assert err == (
        "securestream: the demo failed: the peer ended the stream: alert 5000: "
        "a request begins with a line: echo, or long answer\n"
    )


def test_a_python_without_sources_asks_for_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sysconfig, "get_path", {"stdlib": str(tmp_path)}.__getitem__)
    assert run(["demo"]) == 1
    assert "name a file, securestream demo FILE" in capsys.readouterr().err


def ignore(size: int) -> None:
    """Where nobody looks at the progress."""


async def test_a_changed_byte_is_found(keys: Keys) -> None:
    async def change(stream: Stream) -> None:
        received = b"".join([chunk async for chunk in stream]).removeprefix(ECHO)
        await stream.send_all(bytes([received[0] ^ 1]) + received[1:])

    async with serving(change, keys) as port:
        with pytest.raises(Failure, match="what came back is not what was sent"):
            await there_and_back(port, keys.config(), one_file(Path(__file__)), ignore)


async def test_an_answer_that_seems_whole_is_a_failure(keys: Keys) -> None:
    async def end(stream: Stream) -> None:
        assert await stream.receive_some() == LONG_ANSWER

    async with serving(end, keys) as port:
        with pytest.raises(Failure, match="the answer ended as if it were whole"):
            await failing_answer(port, keys.config())


@pytest.mark.parametrize("code", [5_001, 5_002])
async def test_another_alert_or_another_part_than_it_should_be_is_a_failure(keys: Keys, code: int) -> None:
    async def fail(stream: Stream) -> None:
        await stream.send_all(b"something else")
        raise ss.StreamFailure(code)

    async with serving(fail, keys) as port:
        with pytest.raises(Failure, match=f"the demo failed: .* alert {code}"):
            await failing_answer(port, keys.config())


async def test_a_server_that_takes_everybody_is_a_failure(keys: Keys) -> None:
    async def leave(stream: Stream) -> None:
        await trio.lowlevel.checkpoint()

    async with serving(leave, keys, authorize=ss.ANYONE) as port:
        with pytest.raises(Failure, match="took a client that it doesn't know"):
            await refused_stranger(port, keys.server.public_key)


async def test_a_server_that_says_nothing_is_not_waited_for(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_parts, "PATIENCE_SECONDS", 0.2)

    async def say_nothing(stream: Stream) -> None:
        await trio.sleep_forever()

    async with serving(say_nothing, keys) as port:
        with pytest.raises(Failure, match=r"nothing moved for 0\.2 s"):
            await there_and_back(port, keys.config(), one_file(Path(__file__)), ignore)


async def test_a_reader_who_leaves_ends_it_without_a_word() -> None:
    async with running("demo") as process:
        assert process.stdout is not None
        await process.stdout.receive_some(1)
        await process.stdout.aclose()
        assert await read_all(process.stderr) == b""
        assert await process.wait() == 141


# --- the server process -----------------------------------------------------------------------------


@pytest.mark.usefixtures("usual_sigint")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
async def test_neither_the_server_nor_its_key_file_outlives_the_demo(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = tmp_path / "endless"
    monkeypatch.setitem(ENVIRONMENT, "TMPDIR", str(tmp_path))
    with endless.open("wb") as file:
        file.truncate(2**40)
    async with running("demo", endless) as process:
        while (found := re.search(r"server +process (\d+)", await read_line(process))) is None:
            pass
        server = os.pidfd_open(int(found[1]))
        try:
            process.send_signal(number)
            assert await process.wait() == (-number if number is signal.SIGKILL else 128 + number)
            await trio.lowlevel.wait_readable(server)  # it has ended
            assert await read_all(process.stderr) == b""
            assert os.listdir(tmp_path) == ["endless"]
        finally:
            os.close(server)


async def test_the_server_ends_with_its_input_also_with_a_client_connected(keys: Keys) -> None:
    options = ["--key", str(keys.server_file), "--allow", keys.client_public]
    async with running("demo-server", *options) as server:
        port = int(await read_line(server))
        async with await ss.open_secure_tcp_stream("127.0.0.1", port, keys.config()) as stream:
            await stream.send_all(ECHO)
            assert server.stdin is not None
            await server.stdin.aclose()
            with pytest.raises(ss.PeerAlert) as caught:
                await stream.receive_some()
            assert caught.value.alert.code == ss.AlertCode.SHUTTING_DOWN
        assert await server.wait() == 0
        assert await read_all(server.stderr) == b""


def test_text_from_elsewhere_is_never_markup(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().message("[red]:smile: [/nonsense] \x1b[31m")
    assert capsys.readouterr().out == "    securestream: [red]:smile: [/nonsense] \\x1b[31m\n"
