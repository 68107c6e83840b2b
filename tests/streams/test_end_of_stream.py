"""How a stream ends: `b""` for the peer's own end and nothing else, an alert, or a cut; and then the same for ever."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.protocol.messages import Kind, encode_alert_frame
from securestream.protocol.records import End
from securestream.protocol.suites import RecordType

from .support import (
    PATIENCE,
    Configs,
    client_and_puppet,
    failure_of,
    in_background,
    matching_configs,
    puppet_client,
    puppet_server,
    receive_all,
    receive_until_error,
    secure_pair,
)
from .transports import Transports, lockstep_pair, memory_pair, reset, tcp_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from securestream.protocol.suites import AnySuite

DATA = bytes(range(256)) * 300


async def same_at_every_later_call(stream: ss.SecureStream[trio.abc.Stream], error: ss.StreamError) -> None:
    """Checks that every call raises another exception of that kind and text; receiving and sending twice."""
    twice = (stream.receive_some, partial(stream.send_all, b"x"), partial(stream.send_all, b""), stream.update_key) * 2
    once = (stream.send_eof, stream.wait_send_all_might_not_block)
    seen = [error, *[await failure_of(call(), type(error)) for call in (*twice, *once)]]
    assert len({id(each) for each in seen}) == len(seen)
    assert {str(each) for each in seen} == {str(error)}
    assert {each.code for each in seen} == {error.code}


# --- an alert ------------------------------------------------------------------------------------------


async def test_data_before_an_alert_is_delivered_then_the_alert_then_the_same_at_every_later_call(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(make_transports, configs)

    async def send() -> None:
        await far.send_all(DATA)
        await far.send_alert(5_001, "the disk is full")

    async with in_background(send):
        received, error = await receive_until_error(near)
    assert received == DATA
    assert type(error) is ss.PeerAlert
    assert (error.alert.code, error.alert.message, error.code) == (5_001, "the disk is full", "alert_5001")
    assert near.alert == error.alert
    await same_at_every_later_call(near, error)
    assert isinstance(error, trio.BrokenResourceError)


async def test_an_alert_ends_the_receiver_s_own_sending(configs: Configs, autojump_clock: MockClock) -> None:
    stream, puppet = await client_and_puppet(await memory_pair(), configs)
    await stream.send_all(b"before")
    await puppet.say(puppet.alert(5_001))
    await failure_of(stream.receive_some(), ss.PeerAlert)
    await failure_of(stream.send_all(b"after"), ss.PeerAlert)
    await stream.aclose()
    assert await puppet.hear() == (b"before", End.TRUNCATED)


async def test_data_that_came_with_an_alert_is_delivered_in_pieces_first(
    configs: Configs, autojump_clock: MockClock
) -> None:
    stream, puppet = await client_and_puppet(await memory_pair(), configs)
    await puppet.say(puppet.data(b"abc"), puppet.alert(5_001))
    assert [await stream.receive_some(1) for _ in range(3)] == [b"a", b"b", b"c"]
    await failure_of(stream.receive_some(1), ss.PeerAlert)


async def test_the_text_of_an_alert_is_shown_escaped(configs: Configs, autojump_clock: MockClock) -> None:
    stream, puppet = await client_and_puppet(await memory_pair(), configs)
    await puppet.say(puppet.alert(5_001, "\x1b[2J\r\nforged line"))
    error = await failure_of(stream.receive_some(), ss.PeerAlert)
    assert error.alert.message == "\x1b[2J\r\nforged line"
    assert str(error).isprintable()
    assert "forged line" in str(error)


# --- a cut ------------------------------------------------------------------------------------------------


async def test_data_before_a_cut_is_delivered_then_truncated_stream_then_the_same_at_every_later_call(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(make_transports, configs)

    async def send() -> None:
        await far.send_all(DATA)
        await trio.aclose_forcefully(far.transport_stream)

    async with in_background(send):
        received, error = await receive_until_error(near)
    assert received == DATA
    assert type(error) is ss.TruncatedStream
    assert error.code == "truncated_stream"
    await same_at_every_later_call(near, error)


@pytest.mark.parametrize("kept", [0, 1, 2, 3, 20, -1])
@pytest.mark.wire
async def test_a_cut_anywhere_in_a_record_is_a_truncated_stream(
    kept: int, configs: Configs, autojump_clock: MockClock
) -> None:
    stream, puppet = await client_and_puppet(await memory_pair(), configs)
    await puppet.say(puppet.data(b"whole"), puppet.data(b"cut")[:kept])
    await puppet.transport.send_eof()
    received, error = await receive_until_error(stream)
    assert received == b"whole"
    assert type(error) is ss.TruncatedStream


async def test_a_cut_before_anything_is_a_truncated_stream(configs: Configs, autojump_clock: MockClock) -> None:
    stream, puppet = await client_and_puppet(await memory_pair(), configs)
    await puppet.transport.send_eof()
    received, error = await receive_until_error(stream)
    assert received == b""
    assert type(error) is ss.TruncatedStream


async def test_a_cut_where_the_alert_frame_of_a_handshake_stood_is_a_truncated_stream(
    configs: Configs, autojump_clock: MockClock
) -> None:
    # After the verdict nobody can end the stream in clear.
    stream, puppet = await client_and_puppet(await memory_pair(), configs)
    await puppet.say(encode_alert_frame(5))
    await puppet.transport.send_eof()
    error = await receive_until_error(stream)
    assert error[0] == b""
    assert type(error[1]) is not ss.PeerAlert


async def test_a_reset_is_a_truncated_stream(configs: Configs) -> None:
    with trio.fail_after(PATIENCE):
        near, far = await secure_pair(tcp_pair, configs)
        assert isinstance(far.transport_stream, trio.SocketStream)
        reset(far.transport_stream)
        error = await failure_of(near.receive_some(), ss.TruncatedStream)
        assert isinstance(error.__cause__, trio.BrokenResourceError)
        await same_at_every_later_call(near, error)


async def test_a_sender_whose_peer_has_vanished_gets_a_truncated_stream(configs: Configs) -> None:
    with trio.fail_after(PATIENCE):
        near, far = await secure_pair(tcp_pair, configs)
        await trio.aclose_forcefully(far.transport_stream)
        with pytest.raises(ss.TruncatedStream) as caught:
            while True:
                await near.send_all(DATA)
        await same_at_every_later_call(near, caught.value)


# --- the peer's own end --------------------------------------------------------------------------------------


async def test_the_end_comes_after_close_and_again_at_every_later_receive(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(make_transports, configs)

    async def send() -> None:
        await far.send_all(DATA)
        await far.send_eof()

    async with in_background(send):
        assert await receive_all(near) == DATA
    for _ in range(3):
        assert await near.receive_some() == b""
        assert await near.receive_some(1) == b""


@pytest.mark.parametrize("late", [RecordType.DATA, RecordType.ALERT, RecordType.CLOSE])
async def test_a_record_after_close_is_never_delivered(
    late: RecordType, configs: Configs, autojump_clock: MockClock
) -> None:
    content = {RecordType.DATA: b"late", RecordType.ALERT: b"\1\0late", RecordType.CLOSE: b""}[late]
    together, apart = [await client_and_puppet(await memory_pair(), configs) for _ in range(2)]
    for (stream, puppet), pieces in ((together, 1), (apart, 2)):
        records = [puppet.data(b"data"), puppet.close(), puppet.seal(late, content)]
        for piece in range(pieces):
            await puppet.say(*records[piece * 2 : piece * 2 + 4 - pieces])
        assert await receive_all(stream) == b"data"
        assert await stream.receive_some() == b""
        assert stream.alert is None
        await stream.send_all(b"still open this way")


async def test_a_record_after_an_alert_is_never_delivered(configs: Configs, autojump_clock: MockClock) -> None:
    stream, puppet = await client_and_puppet(await memory_pair(), configs)
    await puppet.say(puppet.alert(5_001), puppet.data(b"late"), puppet.alert(5_002))
    for _ in range(2):
        error = await failure_of(stream.receive_some(), ss.PeerAlert)
        assert error.alert.code == 5_001


async def test_empty_records_never_reach_the_reader(configs: Configs, autojump_clock: MockClock) -> None:
    stream, puppet = await client_and_puppet(await memory_pair(), configs)
    await puppet.say(*[puppet.data(b"") for _ in range(1_000)])
    received: list[bytes] = []

    async def receive() -> None:
        received.append(await stream.receive_some())

    async with in_background(receive):
        assert received == []
        await puppet.say(puppet.data(b"content"))
    assert received == [b"content"]


# --- half-close ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["client", "server"])
async def test_each_direction_ends_by_itself_in_either_order(
    first: str,
    make_transports: Callable[[], Awaitable[Transports]],
    configs: Configs,
    autojump_clock: MockClock,
) -> None:
    ends = await secure_pair(make_transports, configs)
    early, late = ends if first == "client" else reversed(ends)

    async def talk(stream: ss.SecureStream[trio.abc.Stream], data: bytes) -> None:
        await stream.send_all(data)
        await stream.send_eof()
        await stream.send_eof()  # again does nothing
        with pytest.raises(trio.ClosedResourceError, match="send_eof"):
            await stream.send_all(b"more")
        with pytest.raises(trio.ClosedResourceError, match="send_eof"):
            await stream.update_key()

    async with in_background(partial(talk, early, b"question")):
        assert await receive_all(late) == b"question"
    async with in_background(partial(talk, late, DATA)):
        assert await receive_all(early) == DATA
    start = trio.current_time()
    await early.aclose()
    await late.aclose()
    assert trio.current_time() == start


async def test_the_end_of_one_direction_leaves_the_other_one_s_errors_alone(
    configs: Configs, autojump_clock: MockClock
) -> None:
    near, far = await secure_pair(memory_pair, configs)
    await near.send_eof()
    assert await far.receive_some() == b""
    await far.send_all(b"data")
    await far.send_alert(5_001)
    assert (await receive_until_error(near))[0] == b"data"


# --- a refusal, and a client that is uploading already ---------------------------------------------------------------


async def upload(stream: ss.SecureStream[trio.SocketStream]) -> ss.HandshakeRefused:
    with pytest.raises(ss.HandshakeRefused) as caught:
        while True:
            await stream.send_all(DATA)
    return caught.value


async def test_the_reason_of_a_refusal_reaches_a_client_that_is_still_uploading(suite: AnySuite) -> None:
    client, server = matching_configs(suite, close_timeout=0.2)
    client = replace(client, wait_for_accept=False)

    async def refuse(peer: ss.Peer) -> None:
        raise PermissionError("read only")

    for _ in range(20):
        near, far = await tcp_pair()
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(failure_of, ss.wrap_server(far, replace(server, authorize=refuse)), ss.AccessDenied)
                stream = await ss.wrap_client(near, client)
                error = await upload(stream)
        assert error.alert == stream.alert == ss.Alert(ss.AlertCode.ACCESS_DENIED, "read only")
        assert error.authenticated
        await same_at_every_later_call(stream, error)


async def test_the_alert_of_a_handler_reaches_a_client_that_is_still_uploading(suite: AnySuite) -> None:
    configs = matching_configs(suite, close_timeout=0.2)

    async def fail(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        with pytest.raises(ss.StreamFailure):
            async with stream:
                await stream.receive_some()
                raise ss.StreamFailure(5_001, "disk full")

    for _ in range(20):
        with trio.fail_after(PATIENCE):
            near, far = await secure_pair(tcp_pair, configs)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail, far)
                with pytest.raises(ss.PeerAlert) as caught:
                    while True:
                        await near.send_all(DATA)
        assert caught.value.alert == ss.Alert(5_001, "disk full")


@pytest.mark.wire
async def test_a_refusal_in_clear_reaches_a_client_that_is_still_uploading(suite: AnySuite) -> None:
    # The response is spoilt on its way, and what follows it is the upload.
    client, server = matching_configs(suite, close_timeout=0.2)
    client = replace(client, wait_for_accept=False)
    for _ in range(5):
        with trio.fail_after(PATIENCE):
            near, middle = await tcp_pair()
            other_middle, far = await tcp_pair()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(failure_of, ss.wrap_server(far, server), ss.BadResponse)
                nursery.start_soon(spoil_the_response, middle, other_middle)
                stream = await ss.wrap_client(near, client)
                error = await upload(stream)
                nursery.cancel_scope.cancel()
        assert error.alert == ss.Alert(ss.AlertCode.BAD_RESPONSE)
        assert not error.authenticated
        assert "in clear" in str(error)


async def spoil_the_response(near: trio.SocketStream, far: trio.SocketStream) -> None:
    async def copy_from_client() -> None:
        spoilt = False
        async for data in near:
            wrong = data[2] == Kind.RESPONSE and not spoilt
            spoilt = spoilt or wrong
            try:
                await far.send_all(data[:40] + bytes([data[40] ^ 1]) + data[41:] if wrong else data)
            except trio.BrokenResourceError:
                await trio.aclose_forcefully(near)
                return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(copy_from_client)
        async for data in far:
            await near.send_all(data)
        await near.send_eof()


async def test_a_refusal_reaches_an_uploading_client_over_transports_of_every_kind(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    client, server = configs

    async def refuse(peer: ss.Peer) -> None:
        raise PermissionError("read only")

    near, far = await make_transports()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(failure_of, ss.wrap_server(far, replace(server, authorize=refuse)), ss.AccessDenied)
        stream = await ss.wrap_client(near, replace(client, wait_for_accept=False))
        with pytest.raises(ss.HandshakeRefused):
            for _ in range(100):
                await stream.send_all(DATA)
            await stream.receive_some()
        await stream.aclose()


# --- a client that doesn't wait for the verdict -----------------------------------------------------


async def test_without_waiting_the_verdict_is_read_before_the_first_data(
    make_transports: Callable[[], Awaitable[Transports]], configs: Configs, autojump_clock: MockClock
) -> None:
    client, server = configs
    near, far = await make_transports()

    async def serve() -> None:
        stream = await ss.wrap_server(far, server)
        assert await stream.receive_some() == b"question"
        await stream.send_all(b"answer")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        stream = await ss.wrap_client(near, replace(client, wait_for_accept=False))
        if make_transports is lockstep_pair:  # where nothing has room for the verdict, somebody has to receive it
            nursery.start_soon(stream.send_all, b"question")
        else:
            await stream.send_all(b"question")
        assert await stream.receive_some() == b"answer"


async def test_without_waiting_a_cut_in_place_of_the_verdict_is_a_truncated_handshake(
    configs: Configs, autojump_clock: MockClock
) -> None:
    stream = await _impatient_client(configs, b"")
    error = await failure_of(stream.receive_some(), ss.HandshakeTruncated)
    await same_at_every_later_call(stream, error)
    assert isinstance(error, ss.TruncatedStream)


@pytest.mark.wire
async def test_without_waiting_a_refusal_in_clear_is_known_to_be_in_clear(
    configs: Configs, autojump_clock: MockClock
) -> None:
    stream = await _impatient_client(configs, encode_alert_frame(ss.AlertCode.BAD_RESPONSE))
    error = await failure_of(stream.receive_some(), ss.HandshakeRefused)
    assert not error.authenticated
    assert error.alert == ss.Alert(ss.AlertCode.BAD_RESPONSE)
    await same_at_every_later_call(stream, error)


async def test_without_waiting_data_in_place_of_the_verdict_is_an_error(
    configs: Configs, autojump_clock: MockClock
) -> None:
    client, server = configs
    near, far = await memory_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_say_data_first, far, server)
        stream = await ss.wrap_client(near, replace(client, wait_for_accept=False))
    error = await failure_of(stream.receive_some(), ss.HandshakeError)
    assert error.code == "protocol_error"
    await same_at_every_later_call(stream, error)


async def _say_data_first(transport: trio.abc.Stream, config: ss.ServerConfig) -> None:
    puppet = await puppet_server(transport, config, accept=False)
    await puppet.say(puppet.data(b"data"))


async def _impatient_client(configs: Configs, last_words: bytes) -> ss.SecureStream[trio.abc.Stream]:
    """A client that doesn't wait, of a server that says that after the response, and ends."""
    client, server = configs
    near, far = await memory_pair()

    async def serve() -> None:
        await puppet_server(far, server, accept=False)
        if last_words:
            await far.send_all(last_words)
        await far.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        return await ss.wrap_client(near, replace(client, wait_for_accept=False))


async def test_data_right_behind_the_response_is_received(configs: Configs, autojump_clock: MockClock) -> None:
    # All of it in one piece: hello, response and records are cut apart by the server.
    client, server = configs
    near, far = await memory_pair()
    received: list[bytes] = []

    async def serve() -> None:
        stream = await ss.wrap_server(far, server)
        await trio.testing.wait_all_tasks_blocked()
        received.append(await receive_all(stream))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        puppet = await puppet_client(near, client)
        await puppet.say(puppet.data(b"one, "), puppet.data(b"two"), puppet.close())
    assert received == [b"one, two"]
