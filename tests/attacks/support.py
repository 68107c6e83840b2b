"""What the attackers share: a man in the middle over the machines, another over streams, and keys that lie.

`meet()` is a handshake of the machines without I/O, each frame through the attacker's hands. `converse()` is a
whole conversation of `wrap_client` and `wrap_server` through a relay that is the attacker, and checks what must
hold whatever he does: no wrong byte is delivered, an end that is no error is the true one, errors are of the
documented family, and both sides are done in time.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.protocol import sodium
from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.handshake import ClientHandshake, ServerHandshake, State
from securestream.protocol.keys import PrivateKey, PublicKey
from securestream.protocol.messages import FrameReader, Kind
from securestream.protocol.mlkem import EncapsulationKey
from securestream.protocol.records import RecordReader, RecordWriter

from ..protocol.support import (
    BOTH_SUITES,
    CLIENT_KEY,
    DEFAULTS,
    KEY,
    PREFIX,
    SERVER_KEY,
    Forger,
    new_client,
    new_server,
    shake_hands,
)
from ..streams.support import client_and_puppet, failure_of, in_background, receive_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from securestream.protocol.suites import Suite
    from securestream.protocol.tls_keys import PeerKey

    from ..streams.support import Puppet

T_Stream = TypeVar("T_Stream", bound=trio.abc.Stream)

# All that the peer or the network may make an honest side raise.
FAMILY = (ss.HandshakeError, ss.BadRecord, ss.TruncatedStream, ss.PeerAlert)

# Both handshake timeouts and a close timeout behind them, in the clock's time.
DEADLINE = 10


# --- keys that lie ----------------------------------------------------------------------------------


def claim(public_key: PublicKey) -> PrivateKey:
    """A key pair that shows another's public key, made by somebody who has only that."""
    liar = PrivateKey(bytes([0x77]) * 32)
    liar._public_key = public_key
    return liar


def unchecked_key(raw: bytes) -> PublicKey:
    """A public key of any bytes, as a hostile program would send it."""
    key = object.__new__(PublicKey)
    key._raw = raw
    return key


# --- the machines -----------------------------------------------------------------------------------

Change = Callable[[Kind, bytes], bytes]


def untouched(kind: Kind, frame: bytes) -> bytes:
    """The attacker that only listens."""
    return frame


def only(changed: Kind, change: Callable[[bytes], bytes]) -> Change:
    """Changes one of the three frames."""
    return lambda kind, frame: change(frame) if kind is changed else frame


def replaced(changed: Kind, forged: bytes) -> Change:
    """Puts other bytes in the place of one of the three frames."""
    return lambda kind, frame: forged if kind is changed else frame


@dataclass
class Meeting:
    """A handshake that the attacker had in his hands, as far as it came."""

    client: ClientHandshake
    server: ServerHandshake
    frames: dict[Kind, bytes] = field(default_factory=dict)
    client_key: PeerKey | None = None
    error: RemoteProtocolError | None = None

    @property
    def server_is_done(self) -> bool:
        """Whether the server would now ask `authorize` about the client."""
        return self.server.state is State.FINISHED

    @property
    def succeeded(self) -> bool:
        """Whether both would now talk to each other."""
        if not self.server_is_done or self.client.state is not State.FINISHED:
            return False
        return self.client.split().send == self.server.split().receive

    def records(self) -> Iterator[tuple[RecordWriter, RecordReader]]:
        """The directions that follow: the client's to the server, the server's to the client."""
        ours, theirs, suite = self.client.split(), self.server.split(), self.client.session.suite
        yield RecordWriter(suite, ours.send), RecordReader(suite, theirs.receive, expects_verdict=False)
        yield RecordWriter(suite, theirs.send), RecordReader(suite, ours.receive, expects_verdict=False)


def meet(
    client: ClientHandshake,
    server: ServerHandshake,
    change: Change = untouched,
    *,
    wanted: PublicKey = SERVER_KEY.public_key,
) -> Meeting:
    """All three messages through the attacker's hands, until one side refuses or waits for bytes in vain."""
    meeting = Meeting(client, server)
    try:
        _go_through(meeting, change, wanted)
    except RemoteProtocolError as exc:
        meeting.error = exc
    return meeting


def _go_through(meeting: Meeting, change: Change, wanted: PublicKey) -> None:
    client, server = meeting.client, meeting.server
    to_client, to_server = FrameReader(), FrameReader()

    def passes(kind: Kind, frame: bytes, reader: FrameReader) -> bytes | None:
        meeting.frames[kind] = frame
        reader.feed(change(kind, frame))
        found = reader.next_frame({kind, Kind.ALERT} if kind is Kind.CHALLENGE else {kind})
        return None if found is None or found[0] is Kind.ALERT else found[1]

    if (body := passes(Kind.HELLO, client.hello(), to_server)) is None:
        return
    server.hello(body)
    if (body := passes(Kind.CHALLENGE, server.challenge(), to_client)) is None:
        return
    if client.challenge(body) != wanted:
        return
    if (body := passes(Kind.RESPONSE, client.response(), to_server)) is not None:
        meeting.client_key = server.response(body)


def met(suite: Suite) -> Meeting:
    """An honest handshake that is done, with one suite."""
    client, server = new_client(suites=[suite], ephemeral=None), new_server(ephemeral=None)
    shake_hands(client, server)
    return Meeting(client, server)


# --- one side alone -----------------------------------------------------------------------------------


async def said_by_server(hello: bytes, config: ss.ServerConfig, kind: type[ss.HandshakeError]) -> bytes:
    """All that a server says to a hello, which it refuses with that exception."""
    near, far = trio.testing.memory_stream_pair()
    with trio.fail_after(DEADLINE):
        async with in_background(partial(failure_of, ss.wrap_server(far, config), kind)):
            await near.send_all(hello)
            said = await receive_all(near)
            await near.aclose()
    return said


# --- whole conversations ----------------------------------------------------------------------------

Configs = tuple[ss.ClientConfig, ss.ServerConfig]
Rewrite = Callable[[int, bytes], bytes | None]
CLIENT_SAYS = (b"pay 100 to Ann", b"pay 2 to Bob", b"pay 30,000 to Eve" * 100, b"that is all")
SERVER_SAYS = (b"balance 5,000", b"balance 4,900", b"balance 4,898" * 1_000, b"good bye")


def honest_configs(*suites: Suite) -> Configs:
    """A client and a server that know each other by their keys."""
    return (
        ss.ClientConfig(
            key=CLIENT_KEY,
            server_key=SERVER_KEY.public_key,
            suites=suites or BOTH_SUITES,
            post_quantum=DEFAULTS.post_quantum,
        ),
        ss.ServerConfig(
            key=SERVER_KEY,
            authorize=ss.AuthorizedPeers([CLIENT_KEY.public_key]),
            suites=suites or BOTH_SUITES,
            post_quantum=DEFAULTS.post_quantum,
        ),
    )


def as_it_is(number: int, unit: bytes) -> bytes:
    """Passes everything on."""
    return unit


def at(place: int, change: Callable[[bytes], bytes | None]) -> Rewrite:
    """Changes one unit of a direction."""
    return lambda number, unit: change(unit) if number == place else unit


class Direction(enum.Enum):
    """Where what the attacker changes was on its way to."""

    TO_SERVER = enum.auto()
    TO_CLIENT = enum.auto()


every_direction = pytest.mark.parametrize("direction", Direction, ids=lambda direction: str(direction.name.lower()))


@dataclass
class Ending:
    """How a conversation went for one side."""

    received: bytes = b""
    ended: bool = False  # the peer's authenticated end came
    error: ss.StreamError | None = None  # of the handshake, or of receiving
    send_error: ss.StreamError | None = None


@dataclass
class Talk:
    """A conversation through the attacker: how it ended, and what he saw."""

    client: Ending = field(default_factory=Ending)
    server: Ending = field(default_factory=Ending)
    from_client: list[bytes] = field(default_factory=list)
    from_server: list[bytes] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether the attacker got neither a handshake nor a byte out of it."""
        return not self.client.received + self.server.received and not (self.client.ended or self.server.ended)

    def seen(self, direction: Direction) -> list[bytes]:
        """The units that one side sent."""
        return self.from_client if direction is Direction.TO_SERVER else self.from_server

    def victim(self, direction: Direction) -> Ending:
        """The side that got what was changed."""
        return self.server if direction is Direction.TO_SERVER else self.client


async def converse(
    configs: Configs,
    to_server: Rewrite = as_it_is,
    to_client: Rewrite = as_it_is,
    *,
    client_says: Sequence[bytes] = CLIENT_SAYS,
    server_says: Sequence[bytes] = SERVER_SAYS,
) -> Talk:
    """Both sides say their texts, end, and hear the other out, through the attacker.

    He gets each direction in units: the frames, then the records, a direction's prefix with its first record;
    so in both directions unit 2 + n is the n-th text. What he returns goes on in the unit's place; None cuts
    the direction off.
    """
    talk, suite = Talk(), configs[0].suites[0]
    near, client_side = trio.testing.memory_stream_pair()
    server_side, far = trio.testing.memory_stream_pair()
    with trio.fail_after(DEADLINE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                _pump, client_side, server_side, UnitCutter(frames=2, suite=suite), to_server, talk.from_client
            )
            nursery.start_soon(
                _pump, server_side, client_side, UnitCutter(frames=1, suite=suite), to_client, talk.from_server
            )
            nursery.start_soon(_take_part, ss.wrap_client(near, configs[0]), client_says, talk.client)
            nursery.start_soon(_take_part, ss.wrap_server(far, configs[1]), server_says, talk.server)
    _check(talk.client, server_says)
    _check(talk.server, client_says)
    return talk


async def tampered(configs: Configs, direction: Direction, rewrite: Rewrite) -> Talk:
    """`converse()` with one direction in the attacker's hands."""
    if direction is Direction.TO_SERVER:
        return await converse(configs, to_server=rewrite)
    return await converse(configs, to_client=rewrite)


def _check(side: Ending, said: Sequence[bytes]) -> None:
    assert b"".join(said).startswith(side.received), "a byte was delivered that nobody had sent"
    if side.ended:
        assert side.received == b"".join(said), "an end that was none"
    else:
        assert isinstance(side.error, FAMILY)


async def _take_part(
    wrapping: Awaitable[ss.SecureStream[trio.abc.Stream]], says: Sequence[bytes], ending: Ending
) -> None:
    try:
        stream = await wrapping
    except ss.HandshakeError as exc:
        ending.error = exc
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_say, stream, says, ending)
        nursery.start_soon(_hear, stream, ending)
    await stream.aclose()


async def _say(stream: ss.SecureStream[trio.abc.Stream], says: Sequence[bytes], ending: Ending) -> None:
    try:
        for text in says:
            await stream.send_all(text)
        await stream.send_eof()
    except ss.StreamError as exc:
        ending.send_error = exc


async def _hear(stream: ss.SecureStream[trio.abc.Stream], ending: Ending) -> None:
    try:
        while chunk := await stream.receive_some():
            ending.received += chunk
        ending.ended = True
    except ss.StreamError as exc:
        ending.error = exc


class UnitCutter:
    """Cuts one direction's bytes into frames, then records, the first with the suite's prefix."""

    def __init__(self, *, frames: int, suite: Suite) -> None:
        self._data = bytearray()
        self._leads = [0] * frames + [PREFIX[suite]]
        self._number = 0

    def cut(self, data: bytes | bytearray) -> Iterator[bytes]:
        self._data += data
        while (size := self._size()) is not None and len(self._data) >= size:
            self._number += 1
            yield self._take(size)

    def rest(self) -> bytes:
        """What is no whole unit, at the end."""
        return self._take(len(self._data))

    def _size(self) -> int | None:
        lead = self._leads[self._number] if self._number < len(self._leads) else 0
        if len(self._data) < lead + 2:
            return None
        return lead + int.from_bytes(self._data[lead : lead + 2], "little")

    def _take(self, size: int) -> bytes:
        unit = bytes(self._data[:size])
        del self._data[:size]
        return unit


async def _pump(
    source: trio.abc.Stream,
    target: trio.abc.HalfCloseableStream,
    cutter: UnitCutter,
    rewrite: Rewrite,
    seen: list[bytes],
) -> None:
    open_ = True
    while data := await source.receive_some():
        for unit in cutter.cut(data):
            seen.append(unit)
            changed = rewrite(len(seen) - 1, unit) if open_ else None
            open_ = open_ and await _pass_on(target, changed)
    if open_ and await _pass_on(target, cutter.rest()):
        await target.send_eof()


async def _pass_on(target: trio.abc.HalfCloseableStream, data: bytes | None) -> bool:
    """Whether the direction is still open."""
    if data is None:
        await target.send_eof()
        return False
    try:
        if data:
            await target.send_all(data)
    except trio.BrokenResourceError:
        return False
    return True


# --- counting ---------------------------------------------------------------------------------------


class Multiplications:
    """Counts every X25519 that this program does, and every key of a peer's that its KEM looks at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = self.kem = 0
        load = EncapsulationKey.__init__
        shared, base = sodium.backend.x25519, sodium.backend.x25519_base

        def counted_shared(private_key: bytes, public_key: bytes) -> bytes | None:
            self.count += 1
            return shared(private_key, public_key)

        def counted_base(private_key: bytes) -> bytes:
            self.count += 1
            return base(private_key)

        def counted_load(key: EncapsulationKey, data: bytes) -> None:
            self.kem += 1
            load(key, data)

        monkeypatch.setattr(EncapsulationKey, "__init__", counted_load)
        monkeypatch.setattr(sodium.backend, "x25519", counted_shared)
        monkeypatch.setattr(sodium.backend, "x25519_base", counted_base)


# --- a peer who has the key and not the rules ---------------------------------------------------------


async def forged_stream(
    suite: Suite, transports: tuple[T_Stream, T_Stream]
) -> tuple[ss.SecureStream[T_Stream], Forger, Puppet[T_Stream]]:
    """A client whose server says what a forger seals, and hears what a puppet reads."""
    stream, puppet = await client_and_puppet(transports, honest_configs(suite))
    stream._reader = RecordReader(suite, KEY, expects_verdict=False)
    return stream, Forger(suite), puppet
