"""The client: calls over streams from a pool, so that a call seldom needs a handshake and many can go on at once."""

from __future__ import annotations

import secrets
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import trio

import securestream as ss

from .messages import BadContent, Done, Query, Question, Refused, Rows, decode_answer_untrusted, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .messages import Answer, Append, Ingest, Tick


class CallRefused(Exception):
    """The server has understood the call, and declines it."""


class RpcClient:
    """Calls to the server that `pool` leads to.

    `call_timeout`  seconds for one call, with the wait for a stream and its handshake; then `trio.TooSlowError`
    `max_message`   bytes of one message, either way
    """

    def __init__(
        self, pool: ss.StreamPool[trio.abc.Stream], *, call_timeout: float = 30.0, max_message: int = 2**20
    ) -> None:
        self._pool = pool
        self._call_timeout = call_timeout
        self._max_message = max_message

    async def change(self, call: Ingest | Append, *, request_id: bytes | None = None) -> int:
        """Has something changed, once, and gives the count that the server answers with.

        Where the connection breaks, nobody here knows whether the call was carried out; so it is made once more, under
        the same id. Raises `CallRefused`, and what `ss.connect` and streams raise.
        """
        question = Question(secrets.token_bytes(16) if request_id is None else request_id, call)
        with trio.fail_after(self._call_timeout):
            try:
                answer = await self._ask_once(question)
            except (ss.TruncatedStream, ss.TransportBroken):
                answer = await self._ask_once(question)
        return _count_in(answer)

    async def _ask_once(self, question: Question) -> Answer:
        async with self._pool.stream() as stream:
            channel = ss.MessageChannel(stream, max_size=self._max_message)
            await channel.send(encode(question))
            return decode_answer_untrusted(await channel.receive())

    @asynccontextmanager
    async def query(self, symbol: str) -> AsyncIterator[Ticks]:
        """`async with client.query("ACME") as ticks:`, and in it `async for tick in ticks:`.

        An answer that fails in its middle gives the ticks that were sent, and then `ss.PeerAlert`. The call's time is
        that of the block. Left before the last tick, the stream is closed: the rest of the answer is for nobody else.
        """
        with trio.fail_after(self._call_timeout):
            async with self._pool.stream() as stream:
                channel = ss.MessageChannel(stream, max_size=self._max_message)
                await channel.send(encode(Question(secrets.token_bytes(16), Query(symbol))))
                ticks = Ticks(channel)
                yield ticks
                if not ticks.complete:
                    await stream.aclose()


class Ticks:
    """The ticks of an answer as they come: `async for tick in ticks`.

    `complete` when the server has said that they were all.
    """

    def __init__(self, channel: ss.MessageChannel) -> None:
        self._channel = channel
        self._ticks: deque[Tick] = deque()
        self._received = 0
        self.complete = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Tick:
        while not self._ticks:
            if self.complete:
                raise StopAsyncIteration
            await self._receive()
        return self._ticks.popleft()

    async def _receive(self) -> None:
        answer = decode_answer_untrusted(await self._channel.receive())
        if isinstance(answer, Rows):
            self._ticks.extend(answer.ticks)
            self._received += len(answer.ticks)
        elif (count := _count_in(answer)) != self._received:
            raise BadContent(f"{self._received} ticks came, of {count}")
        else:
            self.complete = True


def _count_in(answer: Answer) -> int:
    match answer:
        case Done(count):
            return count
        case Refused(reason):
            raise CallRefused(reason)
        case Rows():
            raise BadContent("rows that nobody asked for")
