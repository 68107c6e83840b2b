"""What the tests of the streams share: configurations, pairs of ends, and a peer that is moved by hand."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.protocol.messages import FrameReader, Kind
from securestream.protocol.records import End, RecordReader, RecordWriter
from securestream.protocol.suites import RecordType
from securestream.protocol.tls import TlsClientHandshake, TlsFacts, TlsServerHandshake
from securestream.streams.tls_channel import TlsChannel
from securestream.testing import secure_stream_pair

from .transports import Tap, Transports, memory_pair, small_socket_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from securestream.protocol.handshake import ClientHandshake, ServerHandshake
    from securestream.protocol.suites import AnySuite

__all__ = ["Tap", "memory_pair"]  # made elsewhere, and imported from here too

T = TypeVar("T")
T_Stream = TypeVar("T_Stream", bound=trio.abc.Stream)
Configs = tuple[ss.ClientConfig, ss.ServerConfig]
Pair = tuple[ss.SecureStream[T_Stream], ss.SecureStream[T_Stream]]

# Much longer than anything here takes, on any machine: only a hang gets there.
PATIENCE = 60

# More than sockets and their peers' buffers take, so that a send of it blocks until somebody receives.
TOO_MUCH = 2**24


def matching_configs(suite: AnySuite | None = None, *, close_timeout: float = 1) -> Configs:
    """A client and a server with fresh keys that know each other, with one suite or all; or both of the profile dev."""
    if isinstance(suite, ss.DevSuite):
        return (
            ss.DevClientConfig(close_timeout=close_timeout, beyond_loopback=True),
            ss.DevServerConfig(close_timeout=close_timeout, beyond_loopback=True),
        )
    if isinstance(suite, ss.TlsSuite):
        return matching_tls_configs(close_timeout=close_timeout)
    server_key, client_key = ss.PrivateKey.generate(), ss.PrivateKey.generate()
    suites = tuple(ss.Suite) if suite is None else (suite,)
    return (
        ss.ClientConfig(key=client_key, server_key=server_key.public_key, suites=suites, close_timeout=close_timeout),
        ss.ServerConfig(
            key=server_key,
            authorize=ss.AuthorizedPeers([client_key.public_key]),
            suites=suites,
            close_timeout=close_timeout,
        ),
    )


def matching_tls_configs(*, close_timeout: float = 1) -> Configs:
    """A client and a server with fresh keys that know each other, over TLS."""
    server_key, client_key = ss.TlsPrivateKey.generate(), ss.TlsPrivateKey.generate()
    return (
        ss.TlsClientConfig(key=client_key, server_key=server_key.public_key, close_timeout=close_timeout),
        ss.TlsServerConfig(
            key=server_key, authorize=ss.AuthorizedPeers([client_key.public_key]), close_timeout=close_timeout
        ),
    )


def suite_of(config: ss.ClientConfig) -> AnySuite:
    """The one suite of a configuration that has one."""
    if isinstance(config, ss.TlsClientConfig):
        return ss.TlsSuite.TLS_1_3
    return ss.DevSuite.PLAINTEXT if isinstance(config, ss.DevClientConfig) else config.suites[0]


# --- pairs ----------------------------------------------------------------------------------------------


async def secure_pair(make: Callable[[], Awaitable[Transports]], configs: Configs) -> Pair[trio.abc.Stream]:
    """`(client, server)` over transports of that kind."""
    return await secure_stream_pair(await make(), configs)


async def stuffed_pair(configs: Configs) -> tuple[Pair[trio.SocketStream], bytes]:
    """`(client, server)` over sockets, and what the client has sent: whole records, and not a byte more can
    leave it before the server receives."""
    probe, held = await secure_stream_pair(await small_socket_pair(), configs)
    count, full = 0, False
    while not full:
        with trio.move_on_after(1) as scope:
            await probe.send_all(b"x")
            count += 1
        full = scope.cancelled_caught
    for end in (probe, held):
        await trio.aclose_forcefully(end)
    near, far = await secure_stream_pair(await small_socket_pair(), configs)
    for _ in range(count):
        await near.send_all(b"x")
    return (near, far), b"x" * count


async def tapped_pair(configs: Configs) -> tuple[ss.SecureStream[Tap], ss.SecureStream[Tap], Tap]:
    """`(client, server)` over memory, and the tap at the client."""
    near, far = await memory_pair()
    tap = Tap(near)
    client, server = await secure_stream_pair((tap, Tap(far)), configs)
    return client, server, tap


def record_lengths(wire: bytes | bytearray) -> list[int]:
    """The lengths of the records that lie one behind the other in `wire`."""
    lengths = []
    while wire:
        length = int.from_bytes(wire[:2], "little")
        assert len(wire) >= length, "the last record is incomplete"
        lengths.append(length)
        wire = wire[length:]
    return lengths


# --- both ends --------------------------------------------------------------------------------------


async def receive_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Everything up to the end."""
    return b"".join([bytes(chunk) async for chunk in stream])


async def receive_until_error(stream: ss.SecureStream[T_Stream]) -> tuple[bytes, ss.StreamError]:
    """What is delivered, and the error that comes in place of an end."""
    received = b""
    with pytest.raises(ss.StreamError) as caught:
        while chunk := await stream.receive_some():
            received += chunk
    return received, caught.value


async def failure_of(operation: Awaitable[object], kind: type[T]) -> T:
    """The exception of that kind, exactly, that `operation` raises."""
    try:
        await operation
    except BaseException as exc:
        if type(exc) is kind:
            return exc
        raise
    pytest.fail(f"nothing was raised, {kind} was expected")


async def ends_closed(call: Callable[[], Awaitable[object]]) -> None:
    """`call`, which the end of its stream ends with `trio.ClosedResourceError`."""
    with pytest.raises(trio.ClosedResourceError):
        await call()


async def assert_transport_closed(transport: trio.abc.Stream) -> None:
    await ends_closed(partial(transport.send_all, b"x"))


async def assert_closed_resource(stream: ss.SecureStream[T_Stream], why: str) -> None:
    """Every call raises `trio.ClosedResourceError`."""
    for call in (
        stream.receive_some,
        stream.send_eof,
        stream.update_key,
        stream.wait_send_all_might_not_block,
        stream.send_alert,
        partial(stream.send_all, b"x"),
        partial(stream.send_all, b""),
    ):
        with pytest.raises(trio.ClosedResourceError, match=why):
            await call()


async def handshake_outcomes(
    transports: Transports, client: ss.ClientConfig, server: ss.ServerConfig
) -> tuple[ss.HandshakeError | None, ss.HandshakeError | None]:
    """How the handshake ends on each side: an error, or None. The streams that come of it are closed."""
    ends: dict[str, ss.HandshakeError | None] = {}

    async def run(side: str, wrapping: Awaitable[ss.SecureStream[trio.abc.Stream]]) -> None:
        try:
            stream = await wrapping
        except ss.HandshakeError as exc:
            ends[side] = exc
        else:
            ends[side] = None
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "client", ss.wrap_client(transports[0], client))
        nursery.start_soon(run, "server", ss.wrap_server(transports[1], server))
    return ends["client"], ends["server"]


async def at_step(steps: int, operation: Callable[[], Awaitable[T]]) -> T:
    """`operation`, that many turns of this task later: for what two tasks do at nearly the same moment."""
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    return await operation()


# Which of two tasks comes first, and by how many turns. Twice, as Trio shuffles tasks that are ready together.
NEARLY_AT_ONCE = [(first, second) for first in range(4) for second in range(4)] * 2


@asynccontextmanager
async def in_background(
    function: Callable[[], Awaitable[object]],
) -> AsyncIterator[trio.CancelScope]:
    """Runs `function` beside the block, waits until it blocks, and waits for it at the end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(function)
        await trio.testing.wait_all_tasks_blocked()
        yield nursery.cancel_scope


# --- a peer that is moved by hand ---------------------------------------------------------------------


class Puppet(Generic[T_Stream]):
    """One end of a connection that does what the test says, right or wrong. Made by `puppet_client`
    and `puppet_server`."""

    def __init__(self, transport: T_Stream, writer: RecordWriter, reader: RecordReader) -> None:
        self.transport = transport
        self.writer = writer
        self.reader = reader

    def seal(self, record_type: int, content: bytes = b"") -> bytes:
        """A record of any type, also after the last one."""
        self.writer.ended = False
        return self.writer.control(RecordType(record_type), content)

    def data(self, content: bytes) -> bytes:
        return self.seal(RecordType.DATA, content)

    def alert(self, code: int, message: str = "") -> bytes:
        return self.seal(RecordType.ALERT, ss.Alert(code, message).encode())

    def close(self) -> bytes:
        return self.seal(RecordType.CLOSE)

    async def say(self, *records: bytes) -> None:
        await self.transport.send_all(b"".join(records))

    async def hear(self) -> tuple[bytes, End]:
        """All that the other side sends in this direction, and how it ends."""
        received = b""
        while self.reader.end is End.OPEN:
            if not self.reader.has_more:
                data = await self.transport.receive_some()
                self.reader.feed(data) if data else self.reader.feed_eof()
            received += self.reader.read()
        return received, self.reader.end


class TlsStream(trio.abc.HalfCloseableStream):
    """What a puppet says and hears inside TLS."""

    def __init__(self, channel: TlsChannel) -> None:
        self._channel = channel

    async def shake_hands(self) -> TlsFacts:
        while (facts := self._channel.tls.handshake()) is None:
            await self._channel.send(b"")
            assert await self._channel.feed_tls(), "the transport ended in the handshake"
        return facts

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._channel.send(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await self._channel.wait_writable()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._channel.receive(max_bytes or 65_536)

    async def send_eof(self) -> None:
        await self._channel.send_eof()

    async def aclose(self) -> None:
        await self._channel.stream.aclose()


class FrameStream:
    """Handshake frames over a transport, by hand."""

    def __init__(self, transport: trio.abc.Stream) -> None:
        self.transport = transport
        self._reader = FrameReader()

    async def receive(self, kind: Kind) -> bytes:
        while (frame := self._reader.next_frame({kind})) is None:
            data = await self.transport.receive_some()
            assert data, "the transport ended in the handshake"
            self._reader.feed(data)
        return frame[1]

    def take_rest(self) -> bytes:
        return self._reader.take_rest()


async def puppet_server(transport: T_Stream, config: ss.ServerConfig, *, accept: bool = True) -> Puppet[T_Stream]:
    """The server's side of a handshake; without `accept` the verdict is left to the test."""
    handshake, channel = config._new_handshake(), config._new_channel(transport)
    if isinstance(channel, TlsChannel) and isinstance(handshake, TlsServerHandshake):
        transport = cast("T_Stream", inside := TlsStream(channel))  # to a puppet it is one
        handshake.meet(await inside.shake_hands())
    frames = FrameStream(transport)
    if not isinstance(channel, TlsChannel):
        handshake.hello(await frames.receive(Kind.HELLO))
        await transport.send_all(handshake.challenge())
    handshake.response(await frames.receive(Kind.RESPONSE))
    puppet = _puppet(transport, handshake, frames, expects_verdict=False)
    if accept:
        await puppet.say(puppet.writer.verdict(RecordType.ACCEPT))
    return puppet


async def puppet_client(transport: T_Stream, config: ss.ClientConfig) -> Puppet[T_Stream]:
    """The client's side of a handshake, up to the response."""
    handshake, channel = config._new_handshake(), config._new_channel(transport)
    if isinstance(channel, TlsChannel) and isinstance(handshake, TlsClientHandshake):
        transport = cast("T_Stream", inside := TlsStream(channel))  # to a puppet it is one
        handshake.meet(await inside.shake_hands())
    frames = FrameStream(transport)
    if not isinstance(channel, TlsChannel):
        await transport.send_all(handshake.hello())
        handshake.challenge(await frames.receive(Kind.CHALLENGE))
    await transport.send_all(handshake.response())
    return _puppet(transport, handshake, frames, expects_verdict=True)


def _puppet(
    transport: T_Stream, handshake: ClientHandshake | ServerHandshake, frames: FrameStream, *, expects_verdict: bool
) -> Puppet[T_Stream]:
    keys, suite = handshake.split(), handshake.session.suite
    reader = RecordReader(suite, keys.receive, expects_verdict=expects_verdict)
    if rest := frames.take_rest():
        reader.feed(rest)
    return Puppet(transport, RecordWriter(suite, keys.send), reader)


async def client_and_puppet(
    transports: tuple[T_Stream, T_Stream], configs: Configs
) -> tuple[ss.SecureStream[T_Stream], Puppet[T_Stream]]:
    """A client whose server is moved by hand."""
    puppets: list[Puppet[T_Stream]] = []

    async def serve() -> None:
        puppets.append(await puppet_server(transports[1], configs[1]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        stream = await ss.wrap_client(transports[0], configs[0])
    return stream, puppets[0]
