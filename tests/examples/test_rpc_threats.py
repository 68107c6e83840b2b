"""The four threats to a cluster's RPC: forged queries, forged ticks, forged segments of its log, and replay.

Each forged call is made by somebody who lacks the secret, the key or both, and by the one who has them: what keeps the
others out is that, and nothing else.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from examples.rpc.messages import Append, Ingest, Query

from ..streams.transports import Tap, WithoutHalfClose
from .support import CALLS, CLIENT_CONFIG, TICK, Served, Watched, framed, question, served

if TYPE_CHECKING:
    from examples.rpc.client import RpcClient
    from examples.rpc.messages import Call

pytestmark = pytest.mark.shows("rpc-threats")

STRANGER = ss.PrivateKey.generate()
ATTACKERS = {
    "without the secret": replace(CLIENT_CONFIG, secret=None),
    "with another secret": replace(CLIENT_CONFIG, secret=ss.SharedSecret.generate()),
    "without the key": replace(CLIENT_CONFIG, key=None),
    "with another key": replace(CLIENT_CONFIG, key=STRANGER),
    "without either": replace(CLIENT_CONFIG, key=STRANGER, secret=None),
    "with the secret, before the verdict": replace(CLIENT_CONFIG, key=STRANGER, wait_for_accept=False),
}

every_call = pytest.mark.parametrize("threat", CALLS)


async def make(call: Call, client: RpcClient) -> int:
    """How many rows, ticks or segments the server says there are."""
    if isinstance(call, Query):
        async with client.query(call.symbol) as ticks:
            return len([tick async for tick in ticks])
    return await client.change(call)


@every_call
async def test_with_secret_and_key_the_call_is_carried_out(threat: str) -> None:
    database = Watched()
    async with served(database) as server, server.client() as client:
        await make(CALLS[threat], client)
    assert not database.untouched


@every_call
@pytest.mark.parametrize("attacker", ATTACKERS)
async def test_a_forged_call_is_not_carried_out(threat: str, attacker: str) -> None:
    database = Watched()
    async with served(database) as server, server.client(ATTACKERS[attacker]) as client:
        with pytest.raises(ss.HandshakeRefused) as caught:
            await make(CALLS[threat], client)
    assert caught.value.alert.code in (ss.AlertCode.BAD_SECRET, ss.AlertCode.ACCESS_DENIED)
    assert database.untouched


@every_call
async def test_a_call_in_clear_is_not_carried_out(threat: str) -> None:
    """As the seed's server would have taken it: no handshake, just the message."""
    database = Watched()
    async with served(database) as server:
        answer = await say(server, framed(question(CALLS[threat])))
        assert len(answer) <= 5, "more than an alert"
    assert database.untouched


async def say(server: Served, *pieces: bytes) -> bytes:
    """What a plain TCP connection gets for these bytes, up to its end."""
    answer = b""
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as transport:
        with suppress(trio.BrokenResourceError):
            for piece in pieces:
                await transport.send_all(piece)
            await transport.send_eof()
            async for data in transport:
                answer += data
    return answer


# --- replay -------------------------------------------------------------------------------------------


class Doubling(WithoutHalfClose):
    """Somebody on the way, who sends what goes through him a second time."""

    doubles = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await super().send_all(bytes(data) * (2 if self.doubles else 1))


@every_call
async def test_what_was_heard_on_the_wire_is_worth_nothing_on_another_connection(threat: str) -> None:
    database = Watched()
    async with served(database) as server:
        tap = Tap(await trio.open_tcp_stream("127.0.0.1", server.port))
        async with await ss.wrap_client(tap, CLIENT_CONFIG) as stream:
            channel = ss.MessageChannel(stream)
            await channel.send(question(CALLS[threat]))
            await channel.receive()
        before = vars(database).copy(), len(database.ticks["ACME"]), len(database.log)
        await say(server, tap.sent)
        await say(server, *tap.sends)
        assert (vars(database), len(database.ticks["ACME"]), len(database.log)) == before


@every_call
async def test_a_record_that_comes_a_second_time_ends_the_connection_and_does_nothing(threat: str) -> None:
    database = Watched()
    async with served(database) as server:
        doubling = Doubling(await trio.open_tcp_stream("127.0.0.1", server.port))
        async with await ss.wrap_client(doubling, CLIENT_CONFIG) as stream:
            channel = ss.MessageChannel(stream)
            doubling.doubles = True
            await channel.send(question(CALLS[threat]))
            doubling.doubles = False
            with pytest.raises(ss.PeerAlert) as caught:
                while True:
                    await channel.receive()
            assert caught.value.alert.code == ss.AlertCode.BAD_RECORD
    assert database.queries + len(database.ticks["ACME"]) + len(database.log) <= 1


@pytest.mark.parametrize("call", [Ingest(TICK), Append(0, b"a segment")])
async def test_a_client_that_repeats_itself_changes_nothing_twice(call: Ingest | Append) -> None:
    """Inside the channel a replay could only be the client's own, and has its id."""
    database = Watched()
    async with served(database) as server, server.client() as client:
        assert [await client.change(call, request_id=b"the same") for _ in range(3)] == [1, 1, 1]
    assert len(database.ticks["ACME"]) + len(database.log) == 1
