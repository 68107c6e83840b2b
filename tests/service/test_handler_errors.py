"""What escapes a handler: an alert to its client, a line in the log, and no harm to any other connection."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NoReturn

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.testing import secure_memory_stream_pair

from ..streams.support import matching_configs, receive_all, receive_until_error
from .support import ask, serving, shout

if TYPE_CHECKING:
    from trio.testing import MockClock

    from .support import Handler

BAD_LUCK = ss.StreamFailure(5_001, "out of luck")


def raising(error: BaseException) -> Handler:
    """A handler that answers once and fails."""

    async def handler(stream: ss.SecureStream[trio.abc.Stream]) -> NoReturn:
        await stream.send_all(b"half")
        raise error

    return handler


def levels(log: pytest.LogCaptureFixture) -> list[int]:
    return [record.levelno for record in log.records]


async def alert_after(handler: Handler) -> ss.Alert | None:
    """The alert that the client gets after b"half"; None where it only sees a truncated stream."""
    client, server = matching_configs()
    async with serving(handler, server) as served, await served.connect(client) as stream:
        received, error = await receive_until_error(stream)
        assert received == b"half"
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
    return error.alert if isinstance(error, ss.PeerAlert) else None


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("several", [BaseExceptionGroup("inner", [error]) for error in errors])


async def test_a_stream_failure_is_an_alert_with_its_text_and_an_info_line(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    assert await alert_after(raising(BAD_LUCK)) == BAD_LUCK.alert
    assert levels(log) == [logging.INFO]
    assert "out of luck" in log.text
    assert "Traceback" not in log.text


async def test_any_other_exception_is_alert_13_and_a_traceback_in_the_log(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    assert await alert_after(raising(ValueError("swordfish"))) == ss.Alert(ss.AlertCode.INTERNAL_ERROR)
    assert levels(log) == [logging.ERROR]
    assert "Traceback" in log.text
    assert "ValueError: swordfish" in log.text


async def test_a_traceback_is_logged_though_the_server_is_cancelled_before_the_client_has_heard(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    async with serving(raising(ValueError("swordfish")), server) as served:
        stream = await served.connect(client)
        assert await stream.receive_some() == b"half"
        await trio.testing.wait_all_tasks_blocked()
    assert "ValueError: swordfish" in log.text
    assert levels(log) == [logging.ERROR]


async def test_an_error_of_closing_is_logged_too(
    log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def closed_and_failed(self: trio.StapledStream[trio.abc.SendStream, trio.abc.ReceiveStream]) -> None:
        await closed(self)
        raise ValueError("swordfish")

    async def handler(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        monkeypatch.setattr(trio.StapledStream, "aclose", closed_and_failed)

    closed = trio.StapledStream.aclose
    client, server = matching_configs()
    async with serving(handler, server) as served:
        stream = await served.connect(client)
        assert await stream.receive_some() == b""
        with pytest.raises(ValueError, match="swordfish"):
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert levels(log) == [logging.ERROR]
    assert "ValueError: swordfish" in log.text


async def test_the_log_says_whose_handler_failed(log: pytest.LogCaptureFixture, autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    assert client.key is not None
    for error in (BAD_LUCK, ValueError()):
        async with serving(raising(error), server) as served, await served.connect(client) as stream:
            await receive_until_error(stream)
            await trio.testing.wait_all_tasks_blocked()
        assert str(client.key.public_key) in log.records[-1].getMessage()


async def test_one_stream_failure_in_a_group_gives_its_text_and_the_rest_a_traceback(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    assert await alert_after(raising(group(ValueError("swordfish"), BAD_LUCK))) == BAD_LUCK.alert
    assert levels(log) == [logging.ERROR]
    assert "ValueError: swordfish" in log.text
    assert log.records[0].getMessage().endswith(f"its peer is told {BAD_LUCK.alert}")


async def test_two_stream_failures_in_a_group_are_alert_13_and_a_traceback(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    two = group(BAD_LUCK, ss.StreamFailure(5_002, "worse luck"))
    assert await alert_after(raising(two)) == ss.Alert(ss.AlertCode.INTERNAL_ERROR)
    assert levels(log) == [logging.ERROR]
    assert "worse luck" in log.text


async def test_a_cancellation_in_a_group_is_no_error(log: pytest.LogCaptureFixture, autojump_clock: MockClock) -> None:
    async def handler(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        await stream.send_all(b"half")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise BAD_LUCK

    assert await alert_after(handler) == BAD_LUCK.alert
    assert levels(log) == [logging.INFO]


async def test_only_the_stream_s_own_error_gives_no_alert_and_an_info_line(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    async with serving(shout, server) as served:
        stream = await served.connect(client)
        await stream.transport_stream.send_eof()
        _, error = await receive_until_error(stream)
        await trio.testing.wait_all_tasks_blocked()
    assert type(error) is ss.TruncatedStream
    assert levels(log) == [logging.INFO]
    assert "the connection ended in the middle of the stream" in log.text


async def test_only_the_stream_s_own_errors_in_a_group_give_no_alert_and_an_info_line(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def handler(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.receive_some)
            await trio.sleep(1)
            nursery.start_soon(stream.send_all, b"x")

    client, server = matching_configs()
    async with serving(handler, server) as served:
        stream = await served.connect(client)
        await stream.send_alert(5_001, "that's it")
        await trio.sleep(2)
        await stream.aclose()
    assert levels(log) == [logging.INFO]
    assert "that's it" in log.text


async def test_an_alert_of_the_client_is_shown_escaped(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    async with serving(shout, server) as served:
        stream = await served.connect(client)
        await stream.send_alert(5_001, "\x1b[2J\r\nforged line")
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert [record.getMessage().isprintable() for record in log.records] == [True]


async def test_another_stream_s_error_is_alert_13_and_a_traceback(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    backend, gone = await secure_memory_stream_pair()
    await trio.aclose_forcefully(gone)

    async def handler(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        await stream.send_all(b"half")
        await backend.receive_some()

    assert await alert_after(handler) == ss.Alert(ss.AlertCode.INTERNAL_ERROR)
    assert levels(log) == [logging.ERROR]


async def test_one_failing_connection_never_touches_another(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def handler(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        if await stream.receive_some() == b"fail":
            raise ZeroDivisionError
        await shout(stream)

    client, server = matching_configs()
    async with serving(handler, server) as served:
        healthy = await served.connect(client)
        await healthy.send_all(b"go on")
        for _ in range(3):
            async with await served.connect(client) as failing:
                await failing.send_all(b"fail")
                await receive_until_error(failing)
        assert await ask(healthy) == b"HELLO"
        assert await ask(healthy) == b"HELLO"
    assert levels(log) == [logging.ERROR] * 3


# --- what is raised on ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
async def test_the_interpreter_s_end_is_told_and_raised_on(
    error: BaseException, log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with serving(raising(error), server) as served:
            stream = await served.connect(client)
            with trio.CancelScope(shield=True):
                _, seen = await receive_until_error(stream)
                await stream.aclose()
            await trio.sleep_forever()
    assert caught.group_contains(type(error))
    assert isinstance(seen, ss.PeerAlert)
    assert seen.alert == ss.Alert(ss.AlertCode.INTERNAL_ERROR)


async def test_of_a_group_only_the_interpreter_s_end_is_raised_on_and_the_rest_is_logged(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with serving(raising(group(KeyboardInterrupt(), ValueError("swordfish"))), server) as served:
            await served.connect(client)
            await trio.sleep_forever()
    assert caught.group_contains(KeyboardInterrupt)
    assert not caught.group_contains(ValueError)
    assert "ValueError: swordfish" in log.text


async def test_secure_handler_raises_nothing_that_it_has_logged(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ss.secure_handler(raising(ValueError("swordfish")), server), far)
        stream = await ss.wrap_client(near, client)
        await receive_until_error(stream)
        await stream.aclose()
    assert levels(log) == [logging.ERROR]


# --- with a nursery for the handlers ------------------------------------------------------------------------------


async def test_with_a_handler_nursery_errors_are_raised_there_after_the_alert(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    error = ValueError("swordfish")
    error.__cause__ = KeyError("the cause")
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as handlers, serving(raising(error), server, handlers) as served:
            stream = await served.connect(client)
            with trio.CancelScope(shield=True):
                received, seen = await receive_until_error(stream)
                await stream.aclose()
            await trio.sleep_forever()
    assert caught.value.exceptions == (error,)
    assert isinstance(error.__cause__, KeyError)
    assert received == b"half"
    assert isinstance(seen, ss.PeerAlert)
    assert seen.alert == ss.Alert(ss.AlertCode.INTERNAL_ERROR)
    assert "swordfish" in log.text


async def test_with_a_handler_nursery_what_was_meant_for_the_peer_is_not_raised(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    async with trio.open_nursery() as handlers, serving(raising(BAD_LUCK), server, handlers) as served:
        for _ in range(2):
            async with await served.connect(client) as stream:
                _, seen = await receive_until_error(stream)
            assert isinstance(seen, ss.PeerAlert)
            assert seen.alert == BAD_LUCK.alert


async def test_with_a_handler_nursery_the_stream_s_own_errors_are_not_raised(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    async with trio.open_nursery() as handlers, serving(shout, server, handlers) as served:
        await trio.aclose_forcefully(await served.connect(client))
        async with await served.connect(client) as stream:
            assert await ask(stream) == b"HELLO"
            await stream.send_eof()
            assert await receive_all(stream) == b""
    assert levels(log) == [logging.INFO]


async def test_an_alert_that_a_watchdog_of_the_handler_sends_is_no_failure(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def watchdog(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        await trio.sleep(3)
        await stream.send_alert(5_001, "too slow")

    async def handler(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watchdog, stream)
            await stream.receive_some()

    client, server = matching_configs()
    async with trio.open_nursery() as nursery, serving(handler, server, nursery) as served:
        stream = await served.connect(client)
        _, error = await receive_until_error(stream)
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert isinstance(error, ss.PeerAlert)
    assert error.alert == ss.Alert(5_001, "too slow")
    assert levels(log) == [logging.INFO]
    assert "this side ended the stream with alert 5001: too slow" in log.text


async def test_a_handler_that_uses_what_it_has_closed_has_failed(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def handler(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        await stream.aclose()
        await stream.send_all(b"too late")

    client, server = matching_configs()
    async with serving(handler, server) as served:
        async with await served.connect(client):
            pass
        await trio.testing.wait_all_tasks_blocked()
    assert levels(log) == [logging.ERROR]
