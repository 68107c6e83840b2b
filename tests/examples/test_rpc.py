"""The RPC example: calls, ids that come again, answers that fail, deadlines, and bytes that are no question."""

from __future__ import annotations

import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import securestream as ss
from examples.rpc.client import CallRefused, RpcClient
from examples.rpc.database import Database, DatabaseError
from examples.rpc.messages import (
    Append,
    BadContent,
    Done,
    Ingest,
    Question,
    Refused,
    Tick,
    decode_question_untrusted,
    encode,
)
from examples.rpc.repeats import IdUsedTwice, Repeats
from examples.rpc.server import RpcServer, Settings

from ..service.support import serving, serving_tcp
from ..streams.support import matching_configs
from ..streams.transports import reset
from .support import CALLS, CLIENT_CONFIG, OTHER_CLIENT, TICK, Served, framed, question, served

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from trio.testing import MockClock

    from examples.rpc.messages import Call

ROOT = Path(__file__).parents[2]


def test_the_demo_shows_rows_and_then_an_alert_and_few_handshakes() -> None:
    command = [sys.executable, "-W", "error", "-m", "examples.rpc"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert "Exception ignored" not in done.stderr
    acme, first, again, frail, handshakes, refused = done.stdout.splitlines()
    assert acme.count(",") == 9
    assert first == again == "segments in the log: 1"
    assert frail == "FRAIL: 10 ticks, and then alert 5001: the disk went away"
    assert handshakes == "handshakes: 4"
    assert refused == "without the secret: alert 6 (bad_secret)"


# --- calls --------------------------------------------------------------------------------------------


async def test_ticks_go_in_and_come_out_in_order_whatever_their_number() -> None:
    async with served(Database()) as server, server.client() as client:
        for count in (0, 1, 99, 100, 101, 350):
            symbol = f"S{count}"
            for price in range(count):
                assert await client.change(Ingest(Tick(symbol, price, 1))) == price + 1
            async with client.query(symbol) as ticks:
                assert [tick.price async for tick in ticks] == list(range(count))
                assert ticks.complete


async def test_many_calls_at_once_take_no_more_handshakes_than_the_pool_has_streams() -> None:
    async with (
        served(Database()) as server,
        ss.StreamPool[trio.SocketStream](server.connect, max_streams=3) as pool,
        trio.open_nursery() as nursery,
    ):
        client = RpcClient(pool)
        for price in range(50):
            nursery.start_soon(client.change, Ingest(Tick("ACME", price, 1)))
    assert pool.statistics().opened == 3


async def test_a_segment_out_of_place_is_refused_and_the_connection_goes_on() -> None:
    async with served(Database()) as server, ss.StreamPool[trio.SocketStream](server.connect) as pool:
        client = RpcClient(pool)
        with pytest.raises(CallRefused, match="the log has 0 segments, not 7"):
            await client.change(Append(7, b"x"))
        assert await client.change(Append(0, b"x")) == 1
        assert pool.statistics().opened == 1


async def test_a_query_that_is_left_early_leaves_nothing_to_the_next_call() -> None:
    async with served(Database()) as server, server.client() as client:
        for price in range(300):
            await client.change(Ingest(Tick("ACME", price, 1)))
        for read in (0, 1, 150):
            async with client.query("ACME") as ticks:
                for _ in range(read):
                    await anext(ticks)
            async with client.query("ACME") as ticks:
                assert [tick.price async for tick in ticks] == list(range(300))


# --- ids ----------------------------------------------------------------------------------------------


async def test_an_id_that_comes_again_is_answered_as_before_on_any_connection_of_its_client() -> None:
    database = Database()
    async with served(database) as server:
        for _ in range(3):
            async with server.client() as client:
                assert await client.change(Ingest(TICK), request_id=b"one") == 1
        async with server.client(replace(CLIENT_CONFIG, key=OTHER_CLIENT)) as other:
            assert await other.change(Ingest(TICK), request_id=b"one") == 2
    assert len(database.ticks["ACME"]) == 2


async def test_an_id_that_comes_again_with_other_content_is_refused_and_nothing_is_done() -> None:
    database = Database()
    async with served(database) as server, server.client() as client:
        await client.change(Ingest(TICK), request_id=b"one")
        for other in (Ingest(Tick("ACME", 1_001, 5)), Append(0, b"x")):
            with pytest.raises(CallRefused, match="used before, with other content"):
                await client.change(other, request_id=b"one")
    assert (len(database.ticks["ACME"]), database.log) == (1, [])


async def test_a_call_whose_connection_breaks_before_the_answer_is_made_once_more_and_carried_out_once() -> None:
    streams: list[ss.SecureStream[trio.SocketStream]] = []

    class Breaking(Database):
        def ingest(self, tick: Tick) -> int:
            reset(streams[0].transport_stream)
            return super().ingest(tick)

    database = Breaking()
    rpc = RpcServer(database)

    async def handle(stream: ss.SecureStream[trio.SocketStream]) -> None:
        streams.append(stream)
        await rpc.handle(stream)

    client_config, server_config = matching_configs()
    async with (
        serving_tcp(handle, server_config) as port,
        ss.StreamPool(partial(ss.open_secure_tcp_stream, "127.0.0.1", port, client_config)) as pool,
    ):
        assert await RpcClient(pool).change(Ingest(TICK)) == 1
        assert pool.statistics().opened == 2
    assert len(database.ticks["ACME"]) == 1


def test_ids_are_remembered_up_to_a_number_and_the_oldest_forgotten() -> None:
    repeats = Repeats(most=3)
    asked = [Question(bytes([n]) * 4_096, Ingest(TICK)) for n in range(5)]
    for n, each in enumerate(asked):
        assert repeats.earlier_answer(each) is None
        repeats.note(each, Done(n))
        assert len(repeats) <= 3
    assert [repeats.earlier_answer(each) for each in asked] == [None, None, Done(2), Done(3), Done(4)]
    with pytest.raises(IdUsedTwice):
        repeats.earlier_answer(Question(asked[4].id, Append(0, b"")))


# --- answers that fail, and time ------------------------------------------------------------------------


class Failing(Database):
    """Sends two parts of its answer, and then has bad luck or waits for ever."""

    def __init__(self, *, waits: bool) -> None:
        super().__init__()
        self._waits = waits

    async def query(self, symbol: str) -> AsyncGenerator[list[Tick], None]:
        for price in (1, 2):
            yield [Tick(symbol, price, 1)] * 100
        if self._waits:
            await trio.sleep_forever()
        raise DatabaseError("the disk went away")


async def received_of(client: RpcClient) -> tuple[int, ss.Alert]:
    """How many ticks there were, and the alert that came then."""
    received = 0
    with pytest.raises(ss.PeerAlert) as caught:
        async with client.query("ACME") as ticks:
            async for _ in ticks:
                received += 1
    return received, caught.value.alert


async def test_an_answer_that_fails_in_its_middle_gives_what_was_sent_and_then_an_alert() -> None:
    async with served(Failing(waits=False)) as server, server.client() as client:
        for _ in range(2):
            assert await received_of(client) == (200, ss.Alert(5_001, "the disk went away"))
        assert await client.change(Ingest(TICK)) == 1


async def test_a_call_that_takes_too_long_is_ended_by_the_server_with_an_alert(autojump_clock: MockClock) -> None:
    async with memory_client(Failing(waits=True), server_timeout=5, client_timeout=60) as client:
        assert await received_of(client) == (200, ss.Alert(5_002, "the call took 5 s"))
        assert await client.change(Ingest(TICK)) == 1


async def test_a_client_that_waits_for_too_long_gives_up_and_its_next_call_is_answered(
    autojump_clock: MockClock,
) -> None:
    async with memory_client(Failing(waits=True), server_timeout=60, client_timeout=5) as client:
        with pytest.raises(trio.TooSlowError):
            async with client.query("ACME") as ticks:
                assert len([tick async for tick in ticks]) == 0, "an answer without an end has ended"
        assert await client.change(Ingest(TICK)) == 1


@asynccontextmanager
async def memory_client(
    database: Database, *, server_timeout: float, client_timeout: float
) -> AsyncIterator[RpcClient]:
    """A client and its server without sockets, so that time can jump."""
    client_config, server_config = matching_configs()
    handle = RpcServer(database, Settings(call_timeout=server_timeout)).handle
    async with (
        serving(handle, server_config) as server,
        ss.StreamPool(partial(server.connect, client_config)) as pool,
    ):
        yield RpcClient(pool, call_timeout=client_timeout)


# --- what is no question --------------------------------------------------------------------------------


async def alert_for(server: Served, wire: bytes) -> ss.Alert:
    """What a client with secret and key is told for these bytes."""
    async with await server.connect() as stream:
        await stream.send_all(wire)
        with pytest.raises(ss.PeerAlert) as caught:
            await stream.receive_some()
    return caught.value.alert


def with_changes(call: Call, **changes: object) -> bytes:
    """A question with something in it that is not as it should be."""
    whole = msgspec.to_builtins(Question(b"id", call), builtin_types=[bytes])
    for path, value in changes.items():
        *outer, last = path.split("__")
        inner = whole
        for name in outer:
            inner = inner[name]
        inner[last] = value
    return msgspec.msgpack.encode(whole)


TICK_CALL, LOG_CALL = CALLS["tick"], CALLS["log segment"]
NO_QUESTIONS = {
    "nothing": b"",
    "garbage": b"\xc1garbage",
    "cut": question(TICK_CALL)[:-1],
    "followed by more": question(TICK_CALL) + b"\0",
    "a very deep one": b"\x91" * 100_000,
    "an empty id": question(TICK_CALL, b""),
    "an id too long": question(TICK_CALL, bytes(4_097)),
    "an id that is text": with_changes(TICK_CALL, id="id"),
    "an unknown call": with_changes(TICK_CALL, call__type="drop"),
    "an unknown field": with_changes(TICK_CALL, call__tick__extra=1),
    "an unknown field with a very long name": with_changes(TICK_CALL, **{"call__" + "x" * 100_000: 1}),
    "a field whose name is no text": question(TICK_CALL).replace(b"call", b"c\xffll"),
    "a negative price": with_changes(TICK_CALL, call__tick__price=-1),
    "a price that is no number": with_changes(TICK_CALL, call__tick__price=float("nan")),
    "a price beyond 63 bits": with_changes(TICK_CALL, call__tick__price=2**63),
    "an empty symbol": with_changes(TICK_CALL, call__tick__symbol=""),
    "a long symbol": with_changes(TICK_CALL, call__tick__symbol="x" * 33),
    "a position before the first": with_changes(LOG_CALL, call__position=-1),
    "a segment that is text": with_changes(LOG_CALL, call__segment="x"),
}


@pytest.mark.parametrize("name", NO_QUESTIONS)
async def test_what_is_no_question_gets_an_alert_and_changes_nothing(name: str) -> None:
    database = Database()
    async with served(database) as server:
        alert = await alert_for(server, framed(NO_QUESTIONS[name]))
    assert alert.code == ss.AlertCode.PROTOCOL_ERROR
    assert alert.message.startswith("no question: ")
    assert (dict(database.ticks), database.log) == ({}, [])


@pytest.mark.parametrize("size", [1, 4_096])
async def test_ids_of_the_shortest_and_the_longest_kind_are_taken(size: int) -> None:
    async with served(Database()) as server, server.client() as client:
        assert await client.change(Ingest(TICK), request_id=bytes(size)) == 1


async def test_messages_have_at_most_1_mib_unless_configured_otherwise() -> None:
    async with served(Database()) as server, server.client() as client:
        fits = 2**20 - len(question(Append(0, bytes(2**16)), bytes(16))) + 2**16
        assert await client.change(Append(0, bytes(fits))) == 1
        with pytest.raises(ValueError, match="1,048,577 bytes, where 1,048,576 are allowed"):
            await client.change(Append(1, bytes(fits + 1)))
        alert = await alert_for(server, (2**20 + 1).to_bytes(4, "little"))
    assert alert == ss.Alert(ss.AlertCode.PROTOCOL_ERROR, "a message of 1,048,577 bytes, where 1,048,576 are allowed")
    async with served(Database(), Settings(max_message=100)) as server:
        assert "101 bytes, where 100 are allowed" in (await alert_for(server, (101).to_bytes(4, "little"))).message


@settings(max_examples=200, deadline=None, derandomize=True)
@given(base=st.sampled_from(sorted(CALLS)), data=st.data())
def test_whatever_comes_is_a_question_or_refused(base: str, data: st.DataObject) -> None:
    content = bytearray(question(CALLS[base]))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    content += data.draw(st.one_of(st.just(b""), st.binary(max_size=5)))
    for each in (bytes(content), data.draw(st.binary(max_size=40))):
        try:
            found = decode_question_untrusted(each)
        except BadContent:
            continue
        assert 1 <= len(found.id) <= 4_096
        assert decode_question_untrusted(encode(found)) == found


@pytest.mark.parametrize("answer", [b"", b"\xc1", b"\x91" * 100_000, encode(Done(-1)), encode(Refused("x"))[:-1]])
async def test_a_server_that_answers_nonsense_is_told_so(answer: bytes, autojump_clock: MockClock) -> None:
    heard: list[ss.Alert] = []

    async def answer_nonsense(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        channel = ss.MessageChannel(stream)
        await channel.receive()
        await channel.send(answer)
        with pytest.raises(ss.PeerAlert) as caught:
            await channel.receive()
        heard.append(caught.value.alert)

    client_config, server_config = matching_configs()
    async with serving(answer_nonsense, server_config) as server:
        async with ss.StreamPool(partial(server.connect, client_config)) as pool:
            with pytest.raises(BadContent):
                await RpcClient(pool).change(Ingest(TICK))
        await trio.testing.wait_all_tasks_blocked()
    assert [alert.code for alert in heard] == [ss.AlertCode.PROTOCOL_ERROR]
