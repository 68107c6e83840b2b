"""`securestream connect`, as a process: pipes, files and terminals, and how it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import secrets
import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.cli.common import explain

from .support import ENVIRONMENT, Keys, cli, command, echo_server, read_all, running, serving

if TYPE_CHECKING:
    from pathlib import Path

    from .support import Stream

FIVE_MEGABYTES = secrets.token_bytes(5_000_000)


async def send_back(stream: Stream) -> None:
    async for chunk in stream:
        await stream.send_all(chunk)


# --- data -------------------------------------------------------------------------------------------


async def test_five_megabytes_go_through_a_pipe_and_come_back(keys: Keys) -> None:
    async with echo_server(keys) as (_, port):
        result = await cli(*keys.connect(port), stdin=FIVE_MEGABYTES)
    assert (result.status, result.err) == (0, "")
    assert result.out == FIVE_MEGABYTES


async def test_files_will_do_on_both_sides(keys: Keys, tmp_path: Path) -> None:
    question, answer = tmp_path / "question", tmp_path / "answer"
    question.write_bytes(FIVE_MEGABYTES)
    async with serving(send_back, keys) as port:
        with question.open("rb") as source, answer.open("wb") as target:
            async with running(*keys.connect(port), stdin=source.fileno(), stdout=target.fileno()) as client:
                assert await client.wait() == 0
    assert answer.read_bytes() == FIVE_MEGABYTES


async def test_no_input_at_all_is_an_end_at_once(keys: Keys) -> None:
    async with serving(send_back, keys) as port, running(*keys.connect(port), stdin=os.open("/dev/null", 0)) as client:
        assert await client.wait() == 0


async def test_the_answer_may_come_after_the_end_of_the_question(keys: Keys) -> None:
    async def count(stream: Stream) -> None:
        size = 0
        async for chunk in stream:
            size += len(chunk)
        await stream.send_all(b"%d bytes" % size)

    async with serving(count, keys) as port:
        result = await cli(*keys.connect(port), stdin=FIVE_MEGABYTES)
    assert (result.status, result.out, result.err) == (0, b"5000000 bytes", "")


async def test_the_question_may_go_on_after_the_end_of_the_answer(keys: Keys) -> None:
    received = bytearray()

    async def answer_first(stream: Stream) -> None:
        await stream.send_all(b"go on")
        await stream.send_eof()
        async for chunk in stream:
            received.extend(chunk)

    async with serving(answer_first, keys) as port, running(*keys.connect(port)) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        assert await client.stdout.receive_some() == b"go on"
        await client.stdin.send_all(FIVE_MEGABYTES)
        await client.stdin.aclose()
        assert await client.wait() == 0
    assert received == FIVE_MEGABYTES


async def test_what_is_there_goes_out_before_more_is_typed(keys: Keys) -> None:
    async with serving(send_back, keys) as port, running(*keys.connect(port)) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        for word in (b"one", b"two"):
            await client.stdin.send_all(word)
            assert await client.stdout.receive_some() == word


async def test_pipes_that_somebody_made_non_blocking_will_do(keys: Keys) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    async with serving(send_back, keys) as port, running(*keys.connect(port), stdout=writing) as client:
        os.close(writing)
        assert client.stdin is not None
        async with trio.open_nursery() as nursery, trio.lowlevel.FdStream(reading) as out:
            nursery.start_soon(client.stdin.send_all, FIVE_MEGABYTES)
            received = 0
            while received < len(FIVE_MEGABYTES):
                received += len(await out.receive_some())
        await client.stdin.aclose()
        assert await client.wait() == 0


# --- the other side ends first ----------------------------------------------------------------------


async def test_an_alert_is_shown_after_what_came_before_it_with_status_3(keys: Keys) -> None:
    async def fail(stream: Stream) -> None:
        await stream.send_all(b"half an answer")
        raise ss.StreamFailure(5_001, "the backend\x1b[31m\nwent away")

    async with serving(fail, keys) as port, running(*keys.connect(port)) as client:  # its input stays open
        assert await read_all(client.stdout) == b"half an answer"
        err = (await read_all(client.stderr)).decode()
        assert await client.wait() == 3
    alert = ss.Alert(5_001, "the backend\x1b[31m\nwent away")
    assert err == f"securestream: the peer ended the stream: {alert}\n"
    assert "\x1b" not in err


async def test_an_idle_pipe_does_not_hold_it_when_the_server_has_ended(keys: Keys) -> None:
    async def leave(stream: Stream) -> None:
        await stream.send_all(b"bye")

    async with serving(leave, keys) as port, running(*keys.connect(port)) as client:
        assert await read_all(client.stdout) == b"bye"
        assert await read_all(client.stderr) == b""
        assert await client.wait() == 0


async def test_a_server_that_ends_without_waiting_for_the_end_of_the_question_is_no_failure(keys: Keys) -> None:
    async def answer(stream: Stream) -> None:
        assert await stream.receive_some() == b"question\n"
        await stream.send_all(b"answer\n")

    async with serving(answer, keys) as port:
        result = await cli(*keys.connect(port), stdin=b"question\n")
    assert (result.status, result.out, result.err) == (0, b"answer\n", "")


async def test_an_idle_terminal_does_not_hold_it_and_is_left_as_it_was(keys: Keys) -> None:
    said = trio.Event()

    async def listen_once(stream: Stream) -> None:
        assert await stream.receive_some() == b"hello\n"
        said.set()

    terminal, inside = pty.openpty()
    flags = fcntl.fcntl(inside, fcntl.F_GETFL)
    try:
        async with serving(listen_once, keys) as port, running(*keys.connect(port), stdin=inside) as client:
            os.write(terminal, b"hello\n")
            await said.wait()
            assert fcntl.fcntl(inside, fcntl.F_GETFL) == flags
            assert await client.wait() == 0
    finally:
        os.close(terminal)
        os.close(inside)


async def test_a_terminal_s_ctrl_d_ends_the_question(keys: Keys) -> None:
    terminal, inside = pty.openpty()
    try:
        async with serving(send_back, keys) as port, running(*keys.connect(port), stdin=inside) as client:
            os.write(terminal, b"hello\n\x04")
            assert await read_all(client.stdout) == b"hello\n"
            assert await client.wait() == 0
    finally:
        os.close(terminal)
        os.close(inside)


async def test_a_server_that_is_gone_is_status_1_with_input_still_open(keys: Keys) -> None:
    async def cut(stream: Stream) -> None:
        await stream.send_all(b"the beginning")
        await trio.aclose_forcefully(stream.transport_stream)

    async with serving(cut, keys) as port, running(*keys.connect(port)) as client:
        assert await read_all(client.stdout) == b"the beginning"
        err = (await read_all(client.stderr)).decode()
        assert await client.wait() == 1
    assert err == (
        "securestream: the connection ended in the middle of the stream; what came before is genuine, and not all\n"
    )


async def test_input_that_the_server_does_not_take_is_not_lost_in_silence(keys: Keys, tmp_path: Path) -> None:
    async def leave(stream: Stream) -> None:
        await stream.receive_some(1)

    source = tmp_path / "much"
    source.touch()
    os.truncate(source, 2**40)
    async with serving(leave, keys) as port:
        with source.open("rb") as file:
            result = await cli(*keys.connect(port), stdin=file)
    assert (result.status, result.out) == (1, b"")
    assert result.err.count("\n") == 1


# --- failures ---------------------------------------------------------------------------------------


async def test_a_client_that_is_not_allowed_reads_why_and_what_to_do(keys: Keys) -> None:
    stranger = ss.PrivateKey.generate()
    keys.client_file.write_text(stranger.to_text())
    async with serving(send_back, keys) as port:
        result = await cli(*keys.connect(port))
    assert (result.status, result.out) == (1, b"")
    assert result.err == (
        f"securestream: the server refused this client: the public key {stranger.public_key} is not authorised "
        "here [access_denied]; its operator can allow this key\n"
    )


async def test_another_server_than_expected_is_refused_with_both_keys(keys: Keys) -> None:
    expected = ss.PrivateKey.generate().public_key
    async with serving(send_back, keys) as port:
        result = await cli("connect", f"127.0.0.1:{port}", "--server-key", str(expected), "--key", keys.client_file)
    assert (result.status, result.out) == (1, b"")
    assert result.err == f"securestream: {ss.ServerKeyMismatch(expected, keys.server.public_key)}\n"


async def test_a_server_of_another_kind_is_told_as_such(keys: Keys) -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some()

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, hang_up, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        result = await cli(*keys.connect(listeners[0].socket.getsockname()[1]))
        nursery.cancel_scope.cancel()
    assert (result.status, result.out) == (1, b"")
    assert result.err.endswith("in the middle of the handshake; is a securestream server listening there?\n")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ss.HandshakeTimeout("slow"), "slow; is a securestream server listening there?"),
        (ss.HandshakeRefused(ss.Alert(10)), "it has no room for another connection; try again later [busy]"),
        (ss.TruncatedStream(), "; what came before is genuine, and not all"),
        (ss.BadRecord("a record is not genuine", "bad_record"), "a record is not genuine"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_of_the_stream_says_what_can_be_done(error: ss.StreamError, advice: str) -> None:
    assert explain(error).endswith(advice)


def test_who_gave_no_key_is_reminded_of_it() -> None:
    refused = ss.HandshakeRefused(ss.Alert(ss.AlertCode.ACCESS_DENIED, "who are you?"))
    assert explain(refused, has_key=False).endswith("; without --key FILE a client is nobody in particular")


# --- standard output and signals --------------------------------------------------------------------


async def test_a_full_disk_is_one_line_and_the_server_learns_of_a_failure(keys: Keys) -> None:
    failures: list[ss.PeerAlert] = []

    async def answer(stream: Stream) -> None:
        await stream.send_all(b"too much")
        try:
            await stream.receive_some()
        except ss.PeerAlert as exc:
            failures.append(exc)

    async with serving(answer, keys) as port, running(*keys.connect(port), stdout=os.open("/dev/full", 1)) as client:
        err = await read_all(client.stderr)
        assert await client.wait() == 1
    assert err == b"securestream: No space left on device\n"
    assert [failure.alert.code for failure in failures] == [ss.AlertCode.INTERNAL_ERROR]


async def test_a_reader_who_leaves_ends_it_without_a_word(keys: Keys) -> None:
    async def talk(stream: Stream) -> None:
        while True:
            await stream.send_all(bytes(100_000))

    async with serving(talk, keys) as port, running(*keys.connect(port)) as client:
        assert client.stdout is not None
        await client.stdout.receive_some(1)
        await client.stdout.aclose()
        assert await read_all(client.stderr) == b""
        assert await client.wait() == 141


@pytest.mark.usefixtures("usual_sigint")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_without_a_word(keys: Keys, number: signal.Signals) -> None:
    async with serving(send_back, keys) as port, running(*keys.connect(port)) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        await client.stdin.send_all(b"hello")
        assert await client.stdout.receive_some() == b"hello"
        client.send_signal(number)
        assert await read_all(client.stderr) == b""
        assert await client.wait() == 128 + number


async def test_standard_streams_that_are_closed_never_become_the_connection(keys: Keys) -> None:
    received: list[bytes] = []

    async def answer(stream: Stream) -> None:
        await stream.send_all(b"for standard output")
        received.extend([bytes(chunk) async for chunk in stream])

    async with serving(answer, keys) as port:
        closed = ["sh", "-c", 'exec "$@" <&- >&-', "sh", *command(*keys.connect(port))]
        result = await trio.run_process(closed, capture_stderr=True, check=False, env=ENVIRONMENT)
    assert (result.returncode, result.stderr) == (0, b"")
    assert received == []
