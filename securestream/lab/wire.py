"""What a listener sees: the sizes, directions and times of records.

Two ways to the same sizes. `flush_records` asks the code that lays out a flush, without sending anything; it is
fast enough for a million objects. `RecordingStream` lies under a real `SecureStream` and notes what passes.

    async with recorded_pair(server_padding=ss.Padme()) as pair:
        await pair.server.send_all(page)
        ...
    pair.wire.records        what was seen behind the handshake

Lengths stand in clear in front of records (`docs/protocol.md`, section 3), so a listener needs no key for this.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import trio
import trio.testing

from ..protocol.keys import PrivateKey
from ..protocol.padding import NoPadding, PaddingPolicy, padded_size
from ..protocol.records import RecordWriter, padded_records
from ..protocol.suites import LENGTH_SIZE, Suite, opener
from ..streams.config import ANYONE, ClientConfig, ServerConfig
from ..testing import secure_stream_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ..streams.secure import SecureStream

T = TypeVar("T")

SUITE = Suite.XCHACHA20_POLY1305  # one suite for all, so that sizes don't depend on the processor
MESSAGES = {True: 2, False: 1}  # of the handshake: the client sends hello and response, the server a challenge


# --- without sending --------------------------------------------------------------------------------


@cache
def _shape(suite: Suite) -> tuple[int, int]:
    """A record's overhead and its capacity, in bytes."""
    writer = RecordWriter(suite, bytes(32))
    return writer.overhead, writer.capacity


def overhead_of(suite: Suite = SUITE) -> int:
    """What sealing adds to a record, in bytes."""
    return _shape(suite)[0]


def record_sizes(policy: PaddingPolicy, padded: int, suite: Suite = SUITE) -> tuple[int, ...]:
    """The sizes on the wire of the records of a flush that was padded to `padded` bytes. Raises `ValueError` when
    the policy misbehaves."""
    overhead, capacity = _shape(suite)
    return tuple(map(overhead.__add__, padded_records(policy, padded, capacity)))


def flush_records(policy: PaddingPolicy, length: int, suite: Suite = SUITE) -> tuple[int, ...]:
    """The sizes on the wire of the records that one `send_all` of `length` bytes becomes. A policy that looks at the
    content is asked as if the length decided. Raises `ValueError` when the policy misbehaves."""
    if length == 0:
        return ()
    return record_sizes(policy, padded_size(policy, length), suite)


# --- seen on the real stream ------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """One record on the wire: when its last byte passed (Trio's clock, seconds), from the client or to it, and
    its size in bytes."""

    time: float
    outgoing: bool
    size: int


class RecordLengths:
    """Cuts one direction's bytes into records, as anybody on the way can."""

    def __init__(self, messages: int, prefix: int) -> None:
        self._messages, self._prefix = messages, prefix
        self._rest = b""

    def feed(self, data: bytes) -> list[int]:
        """The lengths of the records that are complete now, without those of the handshake."""
        self._rest += data
        found = []
        while (length := self._next()) and len(self._rest) >= length:
            self._rest = self._rest[length:]
            if self._messages:
                self._messages -= 1
            else:
                found.append(length)
        return found

    def _next(self) -> int:
        if not self._messages and self._prefix:
            if len(self._rest) < self._prefix:
                return 0
            self._rest, self._prefix = self._rest[self._prefix :], 0
        return int.from_bytes(self._rest[:LENGTH_SIZE], "little") if len(self._rest) >= LENGTH_SIZE else 0


class RecordingStream(trio.abc.HalfCloseableStream):
    """Lies between a client's secure stream and its transport, and notes what passes.

    `records` are those behind the handshake, the server's verdict first. Give it the suite that the two
    will agree on, and where the line is slow, how many bytes a second it takes.
    """

    def __init__(
        self, transport: trio.abc.HalfCloseableStream, suite: Suite = SUITE, bandwidth: float | None = None
    ) -> None:
        self.transport: trio.abc.HalfCloseableStream = transport
        self._bandwidth = bandwidth
        self.records: list[Seen] = []
        prefix = opener(suite, bytes(32)).prefix_size
        self._lengths = {outgoing: RecordLengths(messages, prefix) for outgoing, messages in MESSAGES.items()}

    def sizes(self, *, outgoing: bool) -> list[int]:
        """The sizes of one direction's records."""
        return [seen.size for seen in self.records if seen.outgoing is outgoing]

    def _note(self, data: bytes, *, outgoing: bool) -> None:
        now = trio.current_time()
        self.records += [Seen(now, outgoing, size) for size in self._lengths[outgoing].feed(data)]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._note(bytes(data), outgoing=True)
        if self._bandwidth is not None:
            await trio.sleep(len(data) / self._bandwidth)
        await self.transport.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self.transport.receive_some(max_bytes)
        self._note(bytes(data), outgoing=False)
        return data

    async def send_eof(self) -> None:
        await self.transport.send_eof()

    async def aclose(self) -> None:
        await self.transport.aclose()


@dataclass(frozen=True)
class RecordedPair:
    """Two ends of a connection, and what lies between them."""

    client: SecureStream[trio.abc.Stream]
    server: SecureStream[trio.abc.Stream]
    wire: RecordingStream


@contextlib.asynccontextmanager
async def recorded_pair(
    *,
    client_padding: PaddingPolicy | None = None,
    server_padding: PaddingPolicy | None = None,
    suite: Suite = SUITE,
    bandwidth: float | None = None,
) -> AsyncIterator[RecordedPair]:
    """A secure connection in memory, with a listener at the client's side. With a `bandwidth`, what the client sends
    takes its time, so many bytes a second. Both ends are closed forcefully at the end."""
    near, far = trio.testing.memory_stream_pair()
    wire = RecordingStream(near, suite, bandwidth)
    server_config = ServerConfig(
        key=PrivateKey.generate(), authorize=ANYONE, suites=(suite,), padding=server_padding or NoPadding()
    )
    client_config = ClientConfig(
        key=PrivateKey.generate(),
        server_key=server_config.key.public_key,
        suites=(suite,),
        padding=client_padding or NoPadding(),
    )
    transports: tuple[trio.abc.Stream, trio.abc.Stream] = (wire, far)
    client, server = await secure_stream_pair(transports, (client_config, server_config))
    try:
        yield RecordedPair(client, server, wire)
    finally:
        await trio.aclose_forcefully(client)
        await trio.aclose_forcefully(server)


def run_in_virtual_time(work: Callable[[], Awaitable[T]]) -> T:
    """Runs `work` under a clock that jumps as soon as every task waits: hours pass in no time, and the same
    times come out on every machine."""
    return trio.run(work, clock=trio.testing.MockClock(autojump_threshold=0))
