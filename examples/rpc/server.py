"""The server: one question at a time on each connection, answered in full before the next is read.

That is on purpose. An answer that fails in its middle ends its stream with an alert, and answers that shared the stream
would end with it; and a client that sends faster than it is answered is held back by TCP, without a queue here. Clients
that want several answers at once have several streams, from a pool: each costs one handshake, once.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

import securestream as ss

from .database import Database, DatabaseError
from .messages import (
    CALL_TOOK_TOO_LONG,
    DATABASE_FAILED,
    Append,
    Done,
    Ingest,
    Query,
    Refused,
    Rows,
    decode_question_untrusted,
    encode,
)
from .repeats import IdUsedTwice, Repeats

if TYPE_CHECKING:
    from .messages import Question


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one client may ask of the server.

    `max_message`   bytes of one message, either way
    `call_timeout`  seconds from a whole question to the end of its answer
    `ids_kept`      of each client, to know requests that come again
    """

    max_message: int = 2**20
    call_timeout: float = 30.0
    ids_kept: int = 1_000


class RpcServer:
    """Serves `database`. `handle` is a handler for `ss.serve_secure_tcp`.

    It keeps a list of ids for each public key, so let in keys that you know: `authorize=ss.ANYONE` would let strangers
    fill its memory, each with a new key.
    """

    def __init__(self, database: Database, settings: Settings | None = None) -> None:
        self._database = database
        self._settings = settings or Settings()
        self._repeats: defaultdict[ss.PeerKey, Repeats] = defaultdict(partial(Repeats, self._settings.ids_kept))

    async def handle(self, stream: ss.SecureStream[trio.abc.Stream]) -> None:
        """One connection. What it raises is what its client gets to know, as an alert."""
        channel = ss.MessageChannel(stream, max_size=self._settings.max_message)
        repeats = self._repeats[stream.peer.public_key]
        async for content in channel:
            question = decode_question_untrusted(content)
            with trio.move_on_after(self._settings.call_timeout) as scope:
                await self._answer(channel, question, repeats)
            if scope.cancelled_caught:
                raise ss.StreamFailure(CALL_TOOK_TOO_LONG, f"the call took {self._settings.call_timeout:g} s")

    async def _answer(self, channel: ss.MessageChannel, question: Question, repeats: Repeats) -> None:
        try:
            answer = repeats.earlier_answer(question)
        except IdUsedTwice:
            await channel.send(encode(Refused("this id was used before, with other content")))
            return
        if isinstance(question.call, Query):
            repeats.note(question)  # to ask again changes nothing, so no answer is kept
            answer = Done(await self._send_rows(channel, question.call))
        elif answer is None:
            answer = self._change(question.call)
            repeats.note(question, answer)  # no await since the change: nobody sees one without the other
        await channel.send(encode(answer))

    def _change(self, call: Ingest | Append) -> Done | Refused:
        try:
            if isinstance(call, Ingest):
                return Done(self._database.ingest(call.tick))
            return Done(self._database.append(call.position, call.segment))
        except DatabaseError as exc:
            return Refused(str(exc))

    async def _send_rows(self, channel: ss.MessageChannel, call: Query) -> int:
        """Some at a time, as they come. An error now can't be an answer any more: it is an alert."""
        count = 0
        try:
            async with aclosing(self._database.query(call.symbol)) as found:
                async for ticks in found:
                    await channel.send(encode(Rows(ticks)))
                    count += len(ticks)
        except DatabaseError as exc:
            raise ss.StreamFailure(DATABASE_FAILED, str(exc)) from exc
        return count
