"""What a person reads: help, version, and one line for each mistake."""

from __future__ import annotations

import re
import shlex
import socket
import sys
from typing import TYPE_CHECKING

import click
import pytest
import trio
from click.testing import CliRunner

import securestream as ss
from securestream.cli import app, dialing, main
from securestream.cli.app import run
from securestream.cli.common import Address, BadFile, address, complain, main_cause
from securestream.cli.secrets import server_in

from .support import ENVIRONMENT, Keys, cli

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COMMANDS = [
    "keygen",
    "pubkey",
    "check",
    "echo",
    "connect",
    "tunnel",
    "tunnel client",
    "tunnel server",
    "route",
    "demo",
    "decode",
]
PUBLIC = "6HvG2FFNFIifEjaAfryurGtr+ucaNgHfSSfgQUi5MHM="
SECRET = ss.PrivateKey(bytes(range(32))).to_text()  # fixed, for it is in the names of tests


def command_of(name: str) -> click.Command:
    """The command of this name, that of a group with the group's before it."""
    found: click.Command = app.securestream
    for word in name.split():
        assert isinstance(found, click.Group)
        command = found.get_command(click.Context(found), word)
        assert command is not None
        found = command
    return found


# --- help -------------------------------------------------------------------------------------------


async def test_the_module_runs_the_command() -> None:
    result = await cli("--version")
    assert (result.status, result.out.decode(), result.err) == (0, f"securestream {ss.__version__}\n", "")


def test_help_names_every_command_but_the_hidden_one() -> None:
    result = CliRunner().invoke(app.securestream, ["--help"], prog_name="securestream")
    assert result.exit_code == 0
    top = [name for name in COMMANDS if " " not in name]
    assert re.findall(r"^  ([a-z][a-z-]+)  +\w", result.output, re.MULTILINE) == [*top, "bench", "lab"]


def test_without_a_command_it_is_wrong_usage_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert capsys.readouterr().err.startswith("Usage: securestream")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_and_fits_a_terminal(name: str) -> None:
    result = CliRunner().invoke(app.securestream, [*name.split(), "--help"], prog_name="securestream")
    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert max(map(len, result.output.splitlines())) <= 80


def examples() -> list[list[str]]:
    """What the examples call `securestream` with."""
    text = "\n".join([app._EXAMPLES, *(command_of(name).epilog or "" for name in COMMANDS)])
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line.partition("securestream ")[2]) for line in lines if "securestream " in line]


@pytest.mark.parametrize("example", examples(), ids=" ".join)
def test_the_examples_use_options_that_exist(example: Sequence[str]) -> None:
    name = " ".join(example[: 2 if example[0] == "tunnel" else 1])
    options = {option for parameter in command_of(name).params for option in parameter.opts}
    assert {word for word in example if word.startswith("-") and word != "-"} <= options


@pytest.mark.parametrize("name", ["connect", "tunnel", "tunnel client", "tunnel server"])
def test_the_exit_statuses_are_in_the_help(name: str) -> None:
    result = CliRunner().invoke(app.securestream, [*name.split(), "--help"])
    alert = ["3"] if name == "connect" else []
    assert re.findall(r"^    (\d[\d+N]*)  ", result.output, re.MULTILINE) == ["0", "1", "2", *alert, "128+N"]


TAKE_FILES = ("pubkey", "keygen -o", "echo --key", "check --clients", "connect --known-servers", "decode --keylog")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("securestream tun", ["plain,tunnel"]),
        ("securestream tunnel ", ["plain,client", "plain,server"]),
        ("securestream tunnel server --pad", ["plain,--padding"]),
        ("securestream echo --padding p", ["plain,power-of-two", "plain,padme"]),
        ("securestream tunnel client --padding b", ["plain,block:", "plain,buckets:"]),
        *((f"securestream {words} ser", ["file,ser"]) for words in TAKE_FILES),
    ],
)
async def test_a_shell_can_ask_how_a_word_goes_on(words: str, wanted: list[str]) -> None:
    asked = {"_SECURESTREAM_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    script = "import sys; from securestream.cli import main; sys.argv = ['securestream']; main()"
    done = await trio.run_process([sys.executable, "-c", script], capture_stdout=True, env={**ENVIRONMENT, **asked})
    assert done.stdout.decode().splitlines() == wanted


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_there_is_completion_for_each_shell(shell: str) -> None:
    asked = {"_SECURESTREAM_COMPLETE": f"{shell}_source"}
    script = "import sys; from securestream.cli import main; sys.argv = ['securestream']; main()"
    done = await trio.run_process([sys.executable, "-c", script], capture_stdout=True, env={**ENVIRONMENT, **asked})
    assert b"_SECURESTREAM_COMPLETE" in done.stdout


# --- mistakes ---------------------------------------------------------------------------------------

CONNECT = ["connect", "127.0.0.1:1", "--server-key", PUBLIC]
ECHO = ["echo", "--key", "{key}", "--listen"]
ECHO_ANYONE = [*ECHO, "127.0.0.1:0", "--allow-anyone"]
NO_TIME = "it is a number of seconds, more than 0"
NO_PATH = "a path stands behind unix:, as in unix:/run/echo.sock"
NOT_A_PLACE = "it is HOST:PORT, as 127.0.0.1:9222, db.example:9222 or [::1]:9222; or unix:PATH, or systemd"
NOT_AN_ADDRESS = "it is HOST:PORT, as 127.0.0.1:9222, db.example:9222 or [::1]:9222"
BAD_ADDRESS = "Invalid value for '[HOST:PORT|STRING]': "
WHOM_TO_TRUST = "HOST:PORT goes with --server-key PUBKEY or --known-servers FILE"
NOT_STDIN = "standard input is what is sent: put the secret into a file"
NOT_A_KEY = "not a public key: it is 44 characters of base64"
SEE_CONNECT = " (see: securestream connect --help)"
SEE_ECHO = " (see: securestream echo --help)"
EXCLUDE = "--allow, --clients and --allow-anyone exclude each other"
STRING = f"Server=127.0.0.1:1;Server Key={PUBLIC}"
WHERE_TO = "say where to: a connection string, or --connect-file FILE"
ANYONE = "without it, anyone could stand in the middle"
ANYONE_ELSE = "without it, or a Shared Secret File, anyone could stand in the middle"
SAYS_IT_ITSELF = "goes with HOST:PORT; a connection string says it itself"
ONE_LINE = "one line with a connection string is to be in it"
CLIENT = ["tunnel", "client", "--connect", STRING]
SERVER = ["tunnel", "server", "--key", "{key}", "--listen", "127.0.0.1:0"]
SEE_CLIENT = " (see: securestream tunnel client --help)"
SEE_SERVER = " (see: securestream tunnel server --help)"
BAD_TARGET = "Invalid value for '--target': "
NOT_A_TARGET = "a target is HOST:PORT, unix:PATH, or a command that is there; and "
WHO = "say who may connect: --allow PUBKEY for each client, --clients FILE, or --allow-anyone"


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (["pubkey", "/nowhere/a.key"], "/nowhere/a.key: No such file or directory", 2),
        (["pubkey", "/"], "/: Is a directory", 2),
        (["keygen", "-o", "/nowhere/a.key"], "/nowhere/a.key: No such file or directory", 1),
        (["demo", "/nowhere/a"], "/nowhere/a: No such file or directory", 1),
        (["demo", "/dev/zero"], "/dev/zero: not a regular file; name one to send, or none", 1),
        ([*CONNECT, "--key", "/nowhere/a.key"], "/nowhere/a.key: No such file or directory", 2),
        ([*CONNECT, "--secret-file", "/nowhere/a"], "/nowhere/a: No such file or directory", 2),
        ([*CONNECT, "--key", "-"], f"{NOT_STDIN}{SEE_CONNECT}", 2),
        ([*CONNECT, "--secret-file", "-"], f"{NOT_STDIN}{SEE_CONNECT}", 2),
        ([*CONNECT, "--secret-file", "{key}"], "{key}, line 3: this is a private key where a shared secret belongs", 2),
        (CONNECT, "can't connect to 127.0.0.1:1: Connection refused; is the server running, and the address right?", 1),
        (["connect", "a..b:1", "--server-key", PUBLIC], "a..b: not the name of a host", 1),
        (["connect", "host", "--server-key", PUBLIC], f"{BAD_ADDRESS}{NOT_AN_ADDRESS}{SEE_CONNECT}", 2),
        (["connect", "::1:5", "--server-key", PUBLIC], f"{BAD_ADDRESS}{NOT_AN_ADDRESS}{SEE_CONNECT}", 2),
        (
            ["connect", "host:65536", "--server-key", PUBLIC],
            f"{BAD_ADDRESS}a port is a number up to 65535, not 65536{SEE_CONNECT}",
            2,
        ),
        (
            ["connect", "h:1", "--server-key", "abc"],
            f"Invalid value for '--server-key': {NOT_A_KEY}{SEE_CONNECT}",
            2,
        ),
        (
            ["connect", "h:1", "--server-key", "{key}"],
            "Invalid value for '--server-key': that is a file, and what belongs here is the key: "
            "`securestream pubkey FILE` prints it" + SEE_CONNECT,
            2,
        ),
        (
            ["connect", "h:1", "--server-key", "A" * 43 + "="],
            "Invalid value for '--server-key': not a public key: a point of low order, which no honest program has"
            + SEE_CONNECT,
            2,
        ),
        (
            ["connect", "h:1", "--server-key", SECRET],
            "Invalid value for '--server-key': this is a secret where a public key belongs; don't hand it out"
            + SEE_CONNECT,
            2,
        ),
        (["connect"], f"{WHERE_TO}{SEE_CONNECT}", 2),
        (["connect", "h:1"], f"{WHOM_TO_TRUST}: {ANYONE}{SEE_CONNECT}", 2),
        (["connect", "Server=h:1"], f"Server Key is missing: {ANYONE_ELSE}", 2),
        (["connect", "Server=h;Server Key=x"], "Server: give it as host:port", 2),
        (["connect", "Server=h:1;Client Key=/nowhere/a"], f"Server Key is missing: {ANYONE_ELSE}", 2),
        (["connect", STRING, "--server-key", PUBLIC], f"--server-key {SAYS_IT_ITSELF}{SEE_CONNECT}", 2),
        (["connect", STRING, "--key", "a"], f"--key {SAYS_IT_ITSELF}{SEE_CONNECT}", 2),
        (["connect", STRING, "--secret-file", "a"], f"--secret-file {SAYS_IT_ITSELF}{SEE_CONNECT}", 2),
        (["connect", STRING, "--post-quantum", "off"], f"--post-quantum {SAYS_IT_ITSELF}{SEE_CONNECT}", 2),
        ([*CONNECT, "--post-quantum", "fallback"], "Invalid value for '--post-quantum': 'fallback' is not one of", 2),
        (["connect", f"{STRING};Post Quantum=yes"], "Post Quantum: prefer, which goes without saying, require, or", 2),
        (["connect", f"{STRING};Client Key=/nowhere/a"], "/nowhere/a: No such file or directory", 2),
        (["connect", "--connect-file", "/nowhere/a"], "/nowhere/a: No such file or directory", 2),
        (["connect", "--connect-file", "-"], f"{NOT_STDIN}{SEE_CONNECT}", 2),
        (["connect", "--connect-file", "{key}"], "{key}: Server: give it as host:port", 2),
        (["connect", "--connect-file", "/dev/null"], f"/dev/null: {ONE_LINE}, not 0", 2),
        (["connect", STRING], "can't connect to 127.0.0.1:1: Connection refused; is the server running", 1),
        (["connect", STRING, "--padding", "x"], "Invalid value for '--padding': a padding is one of: none, ", 2),
        (["tunnel", "clinet"], "No such command 'clinet'. (see: securestream tunnel --help)", 2),
        (["tunnel", "client", "--listen", "127.0.0.1:0"], f"{WHERE_TO}{SEE_CLIENT}", 2),
        (
            ["tunnel", "client", "--listen", "h:1", "--connect", STRING, "--connect-file", "a"],
            f"a connection string and --connect-file exclude each other{SEE_CLIENT}",
            2,
        ),
        ([*CONNECT, "--connect-file", "a"], f"HOST:PORT and --connect-file exclude each other{SEE_CONNECT}", 2),
        (["connect", STRING, "--connect-file", "a"], "a connection string and --connect-file exclude each other", 2),
        (["tunnel", "client", "--connect", STRING], f"Missing option '--listen'.{SEE_CLIENT}", 2),
        ([*CLIENT, "--listen", "x"], f"Invalid value for '--listen': {NOT_A_PLACE}{SEE_CLIENT}", 2),
        ([*CLIENT, "--listen", "192.0.2.1:1"], "can't listen on 192.0.2.1:1: Cannot assign requested address", 1),
        ([*CLIENT, "--listen", "127.0.0.1:0", "--max-connections", "0"], "Invalid value for '--max-connections': 0", 2),
        (["tunnel", "client", "--listen", "h:1", "--connect", "Server=h"], "Server: give it as host:port", 2),
        (["tunnel", "client", "--listen", "h:1", "--connect", "h:1"], f"{WHOM_TO_TRUST}: {ANYONE}{SEE_CLIENT}", 2),
        ([*CLIENT, "--listen", "h:1", "--known-servers", "a"], f"--known-servers {SAYS_IT_ITSELF}{SEE_CLIENT}", 2),
        ([*SERVER, "--target", "127.0.0.1:1"], f"{WHO}{SEE_SERVER}", 2),
        ([*SERVER, "--allow-anyone"], f"Missing option '--target'.{SEE_SERVER}", 2),
        ([*SERVER, "--target", "localhost"], f"{BAD_TARGET}localhost: {NOT_A_TARGET}{NOT_AN_ADDRESS}{SEE_SERVER}", 2),
        ([*SERVER, "--target", ""], f"{BAD_TARGET}{NOT_A_TARGET}{NOT_AN_ADDRESS}{SEE_SERVER}", 2),
        ([*SERVER, "--target", "h:65536"], f"{BAD_TARGET}h:65536: {NOT_A_TARGET}a port is a number up to 65535", 2),
        ([*SERVER, "--target", "unix:"], f"{BAD_TARGET}{NO_PATH}{SEE_SERVER}", 2),
        ([*SERVER, "--target", "sh -c 'x"], f"{BAD_TARGET}a quote in the command is not closed{SEE_SERVER}", 2),
        (
            [*SERVER, "--target", "cat", "--proxy-protocol"],
            f"--proxy-protocol is for sockets; a command finds the same in its environment{SEE_SERVER}",
            2,
        ),
        ([*ECHO, "127.0.0.1:0"], f"{WHO}{SEE_ECHO}", 2),
        (
            [*ECHO, "127.0.0.1:0", "--allow-anyone", "--allow", PUBLIC],
            f"{EXCLUDE}{SEE_ECHO}",
            2,
        ),
        ([*ECHO, "127.0.0.1:0", "--clients", "a", "--allow", PUBLIC], f"{EXCLUDE}{SEE_ECHO}", 2),
        ([*ECHO, "127.0.0.1:0", "--clients", "/nowhere/a"], "/nowhere/a: No such file or directory", 2),
        ([*ECHO, "127.0.0.1:0", "--clients", "{key}"], "{key}, line 3: this is a secret where a public key belongs", 2),
        (
            [*ECHO, "127.0.0.1:0", "--allow-anyone", "--padding", "zeros"],
            "Invalid value for '--padding': a padding is one of: none, full, ",
            2,
        ),
        ([*ECHO, ":0", "--allow-anyone"], f"Invalid value for '--listen': {NOT_A_PLACE}{SEE_ECHO}", 2),
        ([*ECHO, "unix:", "--allow-anyone"], f"Invalid value for '--listen': {NO_PATH}{SEE_ECHO}", 2),
        ([*ECHO, "systemd", "--allow-anyone"], "can't listen on systemd: systemd's sockets can't be used: none", 1),
        ([*ECHO, "unix:/no/s", "--allow-anyone"], "can't listen on unix:/no/s: No such file or directory", 1),
        ([*ECHO, "unix:/dev/null", "--allow-anyone"], "can't listen on unix:/dev/null: there is a file that is no", 1),
        ([*ECHO, f"unix:/{'x' * 200}", "--allow-anyone"], f"can't listen on unix:/{'x' * 200}: AF_UNIX path too", 1),
        ([*ECHO_ANYONE, "--secret-optional"], f"--secret-optional goes with --secret-file FILE{SEE_ECHO}", 2),
        ([*ECHO_ANYONE, "--idle-timeout", "0"], f"Invalid value for '--idle-timeout': {NO_TIME}, not 0", 2),
        ([*ECHO_ANYONE, "--lifetime", "x"], f"Invalid value for '--lifetime': {NO_TIME}, not x", 2),
        ([*ECHO_ANYONE, "--keep-alive", "nan"], f"Invalid value for '--keep-alive': {NO_TIME}, not nan", 2),
        ([*ECHO_ANYONE, "--grace", "-1"], "Invalid value for '--grace': -1.0 is not in the range x>=0.", 2),
        ([*ECHO_ANYONE, "--max-connections", "0"], "Invalid value for '--max-connections': 0 is not in", 2),
        ([*ECHO, "127.0.0.1:0", "--allow", "x"], f"Invalid value for '--allow': {NOT_A_KEY}{SEE_ECHO}", 2),
        (
            [*ECHO, "192.0.2.1:1", "--allow-anyone"],
            "can't listen on 192.0.2.1:1: Cannot assign requested address",
            1,
        ),
        ([*ECHO, "a..b:1", "--allow-anyone"], "can't listen on a..b:1: not the name of a host", 1),
        (["ehco"], "No such command 'ehco'.", 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_mistake_gets_one_line_that_says_the_way_out(
    arguments: list[str], message: str, status: int, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    key = str(keys.server_file)
    assert run([argument.replace("{key}", key) for argument in arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"securestream: {message}".replace("{key}", key))


@pytest.mark.parametrize(
    "arguments",
    [
        [SECRET],
        ["pubkey", SECRET],
        ["pubkey", "a.key", SECRET],
        ["keygen", "-o", f"/nowhere/{SECRET}"],
        ["demo", SECRET],
        [*CONNECT, "--key", SECRET],
        [*CONNECT, "--secret-file", SECRET.replace("secret", "shared")],
        ["connect", SECRET, "--server-key", PUBLIC],
        ["connect", f"{STRING};Client Key={SECRET}"],
        ["connect", f"Server=h:1;Server Key={SECRET}"],
        ["connect", "--connect-file", SECRET],
        ["tunnel", "client", "--listen", "127.0.0.1:0", "--connect", f"Server=h:1;Server Key={SECRET}"],
        ["tunnel", "client", "--listen", SECRET, "--connect", STRING],
        ["tunnel", "server", "--listen", "127.0.0.1:0", "--key", "a", "--allow", PUBLIC, "--target", SECRET],
        ["connect", "h:1", "--server-key", SECRET],
        ["echo", "--key", SECRET, "--listen", "127.0.0.1:0", "--allow-anyone"],
        ["echo", "--key", "a.key", "--listen", "127.0.0.1:0", "--allow", SECRET],
    ],
    ids=lambda arguments: " ".join(arguments[:2]).partition("ss-")[0],
)
def test_a_secret_on_the_command_line_is_not_repeated(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) in (1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert SECRET[14:40] not in err


def test_a_connection_string_on_the_command_line_is_read_and_a_secret_in_it_gets_a_warning(
    keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    string = f"Server=h:1;Server Key={PUBLIC};"
    assert server_in(f"{string}Client Key={keys.client_file}").config.key == keys.client
    assert capsys.readouterr().err == ""
    assert server_in(f"{string}Client Secret Key={keys.client.to_text()}").config.key == keys.client
    assert capsys.readouterr().err == (
        "securestream: warning: every user of this machine can read the secret key in this command line; "
        "put it into a file, and Client Key=FILE in its place\n"
    )


@pytest.mark.parametrize(
    ("string", "message"),
    [
        ("h:1", "that is no connection string; a file that holds one goes with --connect-file"),
        (f"Server=h:1;Server Key={PUBLIC};Client Key=/nowhere/a", "/nowhere/a: No such file or directory"),
        (f"Server=h:1;Server Key={PUBLIC};Client Key=/dev/null", "/dev/null: no private key in it"),
    ],
)
def test_a_connection_string_that_can_not_be_used_is_one_line(string: str, message: str) -> None:
    with pytest.raises(BadFile) as caught:
        server_in(string)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_a_secret_in_a_connection_string_is_not_repeated(quote: str, capsys: pytest.CaptureFixture[str]) -> None:
    plain = SECRET.removeprefix("ss-secret:")
    complain(f"what is ClientSecret KEY = {quote}{plain}{quote};Database=Orders?")
    assert capsys.readouterr().err == (
        f"securestream: what is ClientSecret KEY = {quote}(hidden){quote};Database=Orders?\n"
    )


async def test_a_mistake_is_as_short_in_a_process_of_its_own() -> None:
    result = await cli("echo", "--key", "a.key")
    assert (result.status, result.out) == (2, b"")
    assert result.err == "securestream: Missing option '--listen'. (see: securestream echo --help)\n"


def test_what_a_peer_or_a_file_name_says_can_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    complain("a\x1b[31m\nsecurestream: all is well")
    assert capsys.readouterr().err == "securestream: a\\x1b[31m\\nsecurestream: all is well\n"


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(path: str, *, passphrase: object) -> ss.PrivateKey:
        raise KeyboardInterrupt

    monkeypatch.setattr("securestream.cli.secrets.read_own_key_file", interrupted)
    assert run(["pubkey"]) == 130
    assert capsys.readouterr().err.strip() == ""


def test_a_fault_of_ours_is_raised_also_out_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(path: str, *, passphrase: object) -> ss.PrivateKey:
        raise ExceptionGroup("", [OSError("foreseen"), ZeroDivisionError()])

    monkeypatch.setattr("securestream.cli.secrets.read_own_key_file", failing)
    with pytest.raises(ExceptionGroup):
        run(["pubkey"])


def test_a_reader_who_left_is_not_worth_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def left(path: str, *, passphrase: object) -> ss.PrivateKey:
        raise ExceptionGroup("", [BrokenPipeError()])

    monkeypatch.setattr("securestream.cli.secrets.read_own_key_file", left)
    assert run(["pubkey"]) == 141
    assert capsys.readouterr().err == ""


def test_the_cause_to_speak_of_is_the_first_or_one_that_nobody_has_foreseen() -> None:
    first, bug = OSError(), ZeroDivisionError()
    assert main_cause(ExceptionGroup("", [first, ExceptionGroup("", [OSError()])])) is first
    assert main_cause(ExceptionGroup("", [first, ExceptionGroup("", [bug])])) is bug


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == f"securestream: {missing} not installed: pip install 'securestream[cli]'"


def test_a_name_that_nobody_knows_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def unknown(host: str, port: int, config: ss.ClientConfig) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(dialing, "open_secure_tcp_stream", unknown)
    assert run(["connect", "db.exmaple:1", "--server-key", PUBLIC]) == 1
    assert capsys.readouterr().err == (
        "securestream: db.exmaple: Name or service not known; is the name spelled right?\n"
    )


# --- addresses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9222", "127.0.0.1", 9_222),
        ("db.example:1", "db.example", 1),
        ("[::1]:0", "::1", 0),
        ("[fe80::1%eth0]:65535", "fe80::1%eth0", 65_535),
    ],
)
def test_an_address_is_host_and_port_and_prints_as_it_was_given(text: str, host: str, port: int) -> None:
    assert address(text) == Address(host, port)
    assert str(address(text)) == text


NO_HOST = ["", ":1", "[]:1", "a b:1"]
NO_PORT = ["host", "host:", "host:x", "host:-1", "host:1:2", "h:٣", "h: 1", "h:1\n", "h:123456"]
BAD_BRACKETS = ["::1", "[::1]", "[::1:1"]


@pytest.mark.parametrize("text", [*NO_HOST, *NO_PORT, *BAD_BRACKETS])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        address(text)


def test_no_command_takes_a_secret_as_an_argument(tmp_path: Path) -> None:
    parameters = [parameter for name in [*COMMANDS, "demo-server"] for parameter in command_of(name).params]
    named = {parameter.name: parameter.metavar for parameter in parameters if parameter.name}
    secret = {name: metavar for name, metavar in named.items() if "secret" in name or "pass" in name or name == "key"}
    assert secret == {
        "key": "FILE",
        "secret_file": "FILE",
        "secret_files": "FILE",
        "secret_optional": None,  # a switch
        "passphrase": None,
        "passphrase_file": "FILE",
    }
    asks = command_of("keygen").params[2]
    assert isinstance(asks, click.Option)
    assert (asks.name, asks.is_flag) == ("passphrase", True)  # keygen's, which asks for it
