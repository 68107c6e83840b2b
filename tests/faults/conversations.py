"""Two programs that talk over a link, as a seed says, and what has become of each.

A `Case` is drawn from a seed: who sends how much in which pieces, how each side ends, suite, padding, key updates,
what the transport is and how fast it goes. `talk()` has it happen over a given link. `place()` finds where a fault
shall be, from what went over the link when all went well: in a message of the handshake, in the verdict, in a record,
in the last record, or between two of them.
"""

from __future__ import annotations

import contextlib
import enum
import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from trio._core import _run

import securestream as ss
from securestream.protocol import records
from securestream.protocol.records import VERDICT_RECORD

from ..attacks.support import UnitCutter
from ..protocol.support import CLIENT_KEY, SERVER_KEY
from ..streams.support import ends_closed
from ..streams.transports import close_sockets
from .transport import FORGERIES, NO_TROUBLE, SMOOTH, Fault, Kind, Link, Pace, Trouble, Way, connected

if TYPE_CHECKING:
    from collections.abc import Awaitable

Stream = ss.SecureStream[trio.abc.Stream]

HANDSHAKE, CLOSING = 5, 1  # seconds, the configurations' deadlines; a client gives one more than the server
PATIENCE = 60  # how long a program waits for its peer before it gives up
FOREVER = 4 * PATIENCE  # only a hang gets there
PART_OF_AN_INSTANT = 1e-6
ENOUGH = ss.Alert(5_001, "enough")

# What the two sides say: no part like another, and none like one of the other side's.
# A MiB, which is more than any part has to send.
CLIENT_SAYS = b"".join(n.to_bytes(4, "big") for n in range(2**18))
SERVER_SAYS = b"".join((2**31 + n).to_bytes(4, "big") for n in range(2**18))


class Ending(enum.Enum):
    """How one side ends its part."""

    EOF = "a half-close, and hears the other out"
    CLOSE = "closes when it has sent and received all"
    ALERT = "an alert"
    LEAVE = "closes when it has received half, whatever it was sending"
    BREAK_OFF = "an alert when it has received half, whatever it was sending"
    VANISH = "closes the transport"


IN_THE_MIDDLE = (Ending.LEAVE, Ending.BREAK_OFF, Ending.VANISH)


class Seen(enum.Enum):
    """How it ended, as one side saw it."""

    THE_END = "the peer's authenticated end"
    ENOUGH = "it had all, and closed"
    OWN_END = "it had sent an alert, left, or closed the transport"
    PEER_ALERT = "the peer's alert"
    TRUNCATED = "a truncated stream"
    BAD_RECORD = "a bad record"
    NO_HANDSHAKE = "no handshake"
    STALLED = "silence"


class SomePadding(ss.PaddingPolicy):
    """Pads flushes and records, and not all alike."""

    def pad_flush(self, length: int) -> int:
        return -(-length // 512) * 512

    def pad_record(self, record_type: int, length: int, room: int) -> int:
        return min(room, length % 7)


@dataclass(frozen=True)
class Part:
    """What one side does."""

    sends: tuple[int, ...] = ()
    buffered: bool = False
    new_key_after: int | None = None  # so many sends
    padding: ss.PaddingPolicy = field(default_factory=ss.NoPadding)
    ending: Ending = Ending.EOF


@dataclass(frozen=True)
class Case:
    """What the seed says, but for the fault."""

    seed: int
    suite: ss.Suite
    kind: Kind
    pace: Pace
    client: Part
    server: Part
    new_key_each: int  # bytes
    wait_for_accept: bool


def draw(seed: int) -> Case:
    """The case of a seed."""
    rng = random.Random(seed)
    suite = rng.choice(list(ss.Suite))
    pace = Pace(
        grains=rng.choice([(65_536,), (1, 40, 2_000), (300, 20_000), (5, 65_536)]),
        fine=rng.choice([0, 0, 30, 800]),
        pause=rng.choice([0, 0, 0.0005]),
        room=rng.choice([2**30, 2**30, 100_000, 1]),
    )
    return Case(
        seed, suite, rng.choice(list(Kind)), pace, _draw_part(rng, suite), _draw_part(rng, suite),
        new_key_each=rng.choice([2**30, 2**30, 20_000, 500]),
        # A client that neither waits nor reads needs a transport that has room for the verdict.
        wait_for_accept=rng.random() < 0.7 or pace.room < VERDICT_RECORD,
    )  # fmt: skip


def _draw_part(rng: random.Random, suite: ss.Suite) -> Part:
    full = {ss.Suite.AEGIS_256: 16_347, ss.Suite.XCHACHA20_POLY1305: 16_362}[suite]
    sizes = (0, 1, 100, 3_000, full - 1, full, full + 1, rng.randint(1, 60_000))
    ending = rng.choice([*Ending, Ending.EOF, Ending.CLOSE])
    sends = [rng.choice(sizes) for _ in range(rng.randint(0, 5))]
    if rng.random() < 0.03:
        sends.append(2 * records.BATCH)  # more than is sealed at once
    return Part(
        tuple(sends),
        buffered=rng.random() < 0.25 and ending not in IN_THE_MIDDLE,  # who leaves no gathered bytes behind
        new_key_after=rng.choice([None, None, rng.randint(0, 5)]),
        padding=rng.choice([ss.NoPadding(), ss.NoPadding(), SomePadding(), ss.FullRecords()]),
        ending=ending,
    )


# --- one side ---------------------------------------------------------------------------------------


@dataclass
class Side:
    """One side's program, and what became of it."""

    part: Part
    says: bytes
    hears: int  # bytes that the other side means to send
    handshake_within: float
    begun: int = 0  # bytes that it has begun to send
    done: int = 0  # and of those the ones that were sent, so it was told
    is_ended: bool = False  # it has asked for an authenticated end
    received: bytearray = field(default_factory=bytearray)
    seen: Seen = Seen.STALLED
    error: ss.StreamError | None = None  # why it received no more
    send_error: ss.StreamError | None = None
    send_failed_at: float = 0
    new_keys: int = 0  # of the peer's

    async def run(self, wrapping: Awaitable[Stream]) -> None:
        """From the handshake to the close, each within its deadline."""
        start = trio.current_time()
        try:
            stream = await wrapping
        except ss.HandshakeError as exc:
            self.seen, self.error = Seen.NO_HANDSHAKE, exc
            return
        finally:
            assert trio.current_time() - start <= self.handshake_within + PART_OF_AN_INSTANT
        stream.padding = self.part.padding
        with trio.move_on_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, stream)
                nursery.start_soon(self._receive, stream)
        await self._close(stream)

    async def _close(self, stream: Stream) -> None:
        is_broken_off = self.part.ending is Ending.BREAK_OFF and self.seen is Seen.OWN_END
        self.is_ended = self.is_ended or not (is_broken_off or self.part.ending in (Ending.ALERT, Ending.VANISH))
        start = trio.current_time()
        await stream.aclose()
        assert trio.current_time() - start <= CLOSING + PART_OF_AN_INSTANT
        self.new_keys = stream.statistics().key_updates_received

    async def _send(self, stream: Stream) -> None:
        try:
            await self._send_in_pieces(stream)
            match self.part.ending:
                case Ending.EOF:
                    self.is_ended = True
                    await stream.send_eof()
                case Ending.ALERT:
                    await stream.send_alert(ENOUGH.code, ENOUGH.message)
                case Ending.VANISH:
                    await trio.aclose_forcefully(stream.transport_stream)
        except trio.ClosedResourceError:
            assert self.part.ending in (Ending.LEAVE, Ending.BREAK_OFF)
        except ss.StreamError as exc:
            self.send_error, self.send_failed_at = exc, trio.current_time()

    async def _send_in_pieces(self, stream: Stream) -> None:
        writer = ss.BufferedWriter(stream)
        for number, size in enumerate(self.part.sends):
            if number == self.part.new_key_after:
                await stream.update_key()
            start, self.begun = self.begun, self.begun + size
            assert self.begun <= len(self.says), "there is no more to say"
            if self.part.buffered:
                await writer.write(self.says[start : self.begun])
            else:
                await stream.send_all(self.says[start : self.begun])
                self.done = self.begun
        await writer.flush()
        self.done = self.begun

    async def _receive(self, stream: Stream) -> None:
        try:
            self.seen = await self._hear(stream)
        except trio.ClosedResourceError:
            assert self.part.ending in (Ending.ALERT, Ending.VANISH)
            self.seen = Seen.OWN_END
        except ss.StreamError as exc:
            self.seen, self.error = SEEN[type(exc)], exc

    async def _hear(self, stream: Stream) -> Seen:
        half = self.hears // 2
        endings = {Ending.CLOSE: self.hears, Ending.LEAVE: half, Ending.BREAK_OFF: half}
        enough = endings.get(self.part.ending, math.inf)
        while len(self.received) < enough:
            chunk = await stream.receive_some()
            if not chunk:
                return Seen.THE_END
            self.received += chunk
        if self.part.ending is Ending.CLOSE:
            return Seen.ENOUGH
        if self.part.ending is Ending.LEAVE:
            await self._close(stream)
        else:
            with contextlib.suppress(ss.TransportBroken):  # nothing can follow what was cut short
                await stream.send_alert(ENOUGH.code, ENOUGH.message)
        return Seen.OWN_END


# Exactly these, and no other: a class that is not here is a failure of the test.
SEEN: dict[type[ss.StreamError], Seen] = {
    ss.PeerAlert: Seen.PEER_ALERT,
    ss.TruncatedStream: Seen.TRUNCATED,
    ss.BadRecord: Seen.BAD_RECORD,
    # of a client that didn't wait for the verdict
    ss.HandshakeError: Seen.NO_HANDSHAKE,
    ss.HandshakeRefused: Seen.NO_HANDSHAKE,
    ss.HandshakeTruncated: Seen.NO_HANDSHAKE,
}


# --- both sides -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Talk:
    """Both sides, and the link between them, when all is over."""

    client: Side
    server: Side
    link: Link


def talk(case: Case, up: Trouble = NO_TROUBLE, down: Trouble = NO_TROUBLE, pace: Pace | None = None) -> Talk:
    """Has it happen, the same each time but for the keys."""
    _run._r.seed(case.seed)  # the order in which Trio runs tasks that are ready together
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "UPDATE_AFTER_BYTES", case.new_key_each)
        try:
            return trio.run(_talk, case, up, down, pace, clock=trio.testing.MockClock(autojump_threshold=0))
        finally:
            close_sockets()


async def _talk(case: Case, up: Trouble, down: Trouble, pace: Pace | None) -> Talk:
    client = Side(case.client, CLIENT_SAYS, sum(case.server.sends), HANDSHAKE + 1)
    server = Side(case.server, SERVER_SAYS, sum(case.client.sends), HANDSHAKE + CLOSING)
    configs = _configs(case)
    link = Link(random.Random(case.seed), up, down, pace or case.pace)
    tasks = trio.lowlevel.current_statistics().tasks_living
    with trio.fail_after(FOREVER):
        async with connected(link, case.kind) as transports:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.run, ss.wrap_client(transports[0], configs[0]))
                nursery.start_soon(server.run, ss.wrap_server(transports[1], configs[1]))
            for transport in transports:
                await ends_closed(transport.receive_some)
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    return Talk(client, server, link)


def _configs(case: Case) -> tuple[ss.ClientConfig, ss.ServerConfig]:
    return (
        ss.ClientConfig(
            key=CLIENT_KEY, server_key=SERVER_KEY.public_key, suites=[case.suite], close_timeout=CLOSING,
            handshake_timeout=HANDSHAKE + 1, wait_for_accept=case.wait_for_accept,
        ),
        ss.ServerConfig(
            key=SERVER_KEY, authorize=ss.AuthorizedPeers([CLIENT_KEY.public_key]), suites=[case.suite],
            handshake_timeout=HANDSHAKE, close_timeout=CLOSING,
        ),
    )  # fmt: skip


# --- where a fault shall be -------------------------------------------------------------------------


class Phase(enum.Enum):
    """Where in a direction a fault is."""

    HANDSHAKE = "handshake"
    VERDICT = "verdict"
    RECORDS = "records"
    LAST = "last record"


@dataclass(frozen=True)
class Placed:
    """A fault, and where it is."""

    trouble: Trouble = NO_TROUBLE
    phase: Phase | None = None


def units_of(wire: bytes | bytearray, suite: ss.Suite, *, to_server: bool) -> list[int]:
    """The lengths of what lies in a direction: its messages of the handshake, then its records."""
    cutter = UnitCutter(frames=2 if to_server else 1, suite=suite)
    return [len(unit) for unit in cutter.cut(wire)]


def place(rng: random.Random, units: list[int], *, to_server: bool) -> Placed:
    """A fault of any kind, in any phase that this direction has."""
    numbers = range(len(units))
    phases = {Phase.HANDSHAKE: numbers[:2], Phase.RECORDS: numbers[2:-1], Phase.LAST: numbers[2:][-1:]}
    if not to_server:
        phases |= {Phase.HANDSHAKE: numbers[:1], Phase.VERDICT: numbers[1:2]}
    often = [*phases, Phase.RECORDS, Phase.LAST]
    phase = rng.choice([phase for phase in often if phases[phase]])
    unit = rng.choice(phases[phase])
    start, length = sum(units[:unit]), units[unit]
    at = start + rng.choice([0, rng.randrange(length), rng.randrange(length), length - 1])
    fault = rng.choice([fault for fault in Fault if fault is not Fault.NONE])
    size = {Fault.LAG: rng.randint(1, 8), Fault.FLIP: rng.randrange(8)}.get(fault, rng.choice([1, 2, length]))
    return Placed(Trouble(fault, at, size), phase)


def place_both(case: Case, rng: random.Random) -> tuple[Placed, Placed]:
    """A fault in one direction, sometimes in both, at places that a smooth run of the case has."""
    smooth = talk(case, pace=SMOOTH)
    up = place(rng, units_of(smooth.link.up.sent, case.suite, to_server=True), to_server=True)
    down = place(rng, units_of(smooth.link.down.sent, case.suite, to_server=False), to_server=False)
    return rng.choice([(up, Placed()), (up, Placed()), (Placed(), down), (Placed(), down), (up, down)])


# --- what must hold ---------------------------------------------------------------------------------


def check(talk: Talk) -> None:
    """What must hold whatever the link has done."""
    _check_side(talk.client, talk.server, talk.link.down, talk.link.up)
    _check_side(talk.server, talk.client, talk.link.up, talk.link.down)
    struck = {way.trouble.fault for way in (talk.link.up, talk.link.down) if way.struck}
    for side in (talk.client, talk.server):
        assert side.send_error is None or type(side.send_error) in {*SEEN, ss.TransportBroken}
        assert side.seen is not Seen.STALLED or struck - {Fault.CUT, Fault.RESET}, "silence that nobody caused"
    if not struck:
        _check_undisturbed(talk.client, talk.server)
        _check_undisturbed(talk.server, talk.client)


def _check_side(side: Side, peer: Side, into: Way, out: Way) -> None:
    assert peer.says[: peer.begun].startswith(side.received), "a byte that the peer had not sent"
    if side.seen is Seen.THE_END:
        assert peer.is_ended, "an end that the peer had not asked for"
        assert len(side.received) == peer.done, "an end before all was there"
        assert peer.done == peer.begun or peer.part.ending in IN_THE_MIDDLE, "an end in the middle"
        assert into.arrived.startswith(into.sent), "an end behind a change"
    if side.seen is Seen.PEER_ALERT:
        assert isinstance(side.error, ss.PeerAlert)
        assert side.error.authenticated
        assert into.arrived.startswith(into.sent), "an alert behind a change"
        assert side.error.alert in _alerts_of(peer, out), "an alert without a reason"
    if out.told_at is not None and side.send_error is not None:
        assert side.send_failed_at - out.told_at <= CLOSING + PART_OF_AN_INSTANT
    if side.seen is Seen.BAD_RECORD:
        assert is_forged(into), "a bad record that nobody made"


def is_forged(way: Way) -> bool:
    """Whether other bytes have arrived than were sent."""
    return way.struck and way.trouble.fault in FORGERIES


def _alerts_of(side: Side, into: Way) -> list[ss.Alert]:
    """What it has reason to tell its peer."""
    own = [ENOUGH] if side.part.ending in (Ending.ALERT, Ending.BREAK_OFF) else []
    found_wrong = [ss.AlertCode.BAD_RECORD, ss.AlertCode.PROTOCOL_ERROR] if is_forged(into) else []
    return own + [ss.Alert(code) for code in found_wrong]


_OTHER_ENDING = {
    Ending.EOF: {Seen.THE_END},
    Ending.CLOSE: {Seen.THE_END},
    Ending.ALERT: {Seen.PEER_ALERT},
    # No handshake: before a client that didn't wait has the verdict.
    Ending.LEAVE: {Seen.THE_END, Seen.TRUNCATED, Seen.NO_HANDSHAKE},
    Ending.BREAK_OFF: {Seen.THE_END, Seen.PEER_ALERT, Seen.TRUNCATED, Seen.NO_HANDSHAKE},
    Ending.VANISH: {Seen.TRUNCATED, Seen.NO_HANDSHAKE},
}
_OWN_ENDING = {
    Ending.EOF: set[Seen](),
    Ending.CLOSE: {Seen.ENOUGH},
    Ending.ALERT: {Seen.OWN_END},
    Ending.LEAVE: {Seen.OWN_END},
    Ending.BREAK_OFF: {Seen.OWN_END},
    Ending.VANISH: {Seen.OWN_END},
}


def _check_undisturbed(side: Side, peer: Side) -> None:
    """Over a link without faults each side gets all, and the end that one of them has chosen."""
    assert side.seen in _OTHER_ENDING[peer.part.ending] | _OWN_ENDING[side.part.ending]
    if peer.part.ending not in IN_THE_MIDDLE and side.seen is not Seen.OWN_END:
        assert len(side.received) == sum(peer.part.sends), "bytes were lost"
