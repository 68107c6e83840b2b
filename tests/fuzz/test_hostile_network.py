"""Two endpoints and a network that does what it likes with the bytes between them.

Hypothesis chooses the steps: who sends what, what is delivered, and what is dropped, doubled, swapped, changed, cut or
put in from elsewhere. After every step the promises are checked against what was sent and what was delivered, byte by
byte: a side receives exactly the content of the records that have come whole and unchanged before the first byte
that is not what the other side sent, and sees an end only if that was among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, event, seed, settings, target
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from securestream.protocol.alerts import Alert
from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.handshake import ClientHandshake, SecretPolicy, ServerHandshake, State
from securestream.protocol.messages import FrameReader, Kind, decode_alert_body_untrusted, encode_alert_frame
from securestream.protocol.records import End, RecordReader, RecordWriter
from securestream.protocol.suites import RecordType, Suite

from ..protocol.support import (
    CAPACITY,
    CLIENT_EPHEMERAL,
    CLIENT_KEY,
    MIDDLEBOX_KEY,
    OTHER_KEY,
    PREFIX,
    SECRET,
    SERVER_EPHEMERAL,
    SERVER_KEY,
    drain,
    flipped,
    flush,
    new_client,
    new_server,
)

if TYPE_CHECKING:
    from securestream.protocol.keys import PrivateKey

    from ..conftest import Tries

CONTENT = bytes(range(251)) * 200
MOST_WAITED_FOR = 33_000  # bytes: no frame or record is longer


# --- what was sent, and what has come of it ---------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A frame or a record as it was sent, the content in it, and the end that it tells of."""

    wire: bytes
    content: bytes = b""
    end: End = End.OPEN


@dataclass
class Wire:
    """One direction: all that was sent, what is on its way, all that was delivered."""

    sent: list[Part] = field(default_factory=list)
    flight: list[bytes] = field(default_factory=list)
    delivered: bytes = b""
    is_cut: bool = False

    def send(self, part: Part) -> None:
        self.sent.append(part)
        if part.wire and not self.is_cut:
            self.flight.append(part.wire)

    def arrived(self) -> list[Part]:
        """The parts that have come as they were sent, before the first byte that is another."""
        at, arrived = 0, []
        for part in self.sent:
            if self.delivered[at : at + len(part.wire)] != part.wire:
                break
            at += len(part.wire)
            arrived.append(part)
        return arrived

    @property
    def is_tampered(self) -> bool:
        return not b"".join(part.wire for part in self.sent).startswith(self.delivered)

    @property
    def waited_for(self) -> int:
        """Bytes delivered behind the last part that has arrived."""
        return len(self.delivered) - sum(len(part.wire) for part in self.arrived())


class Side:
    """One endpoint: the handshake, and then the records."""

    def __init__(self, machine: ClientHandshake | ServerHandshake, outgoing: Wire) -> None:
        self.machine = machine
        self.outgoing = outgoing
        self.frames = FrameReader()
        self.received = b""
        self.refusal: RemoteProtocolError | None = None
        self.refused_in_clear = False
        self.writer: RecordWriter | None = None
        self.prefix_size = 0  # of the records to come
        self.reader: RecordReader | None = None
        if isinstance(machine, ClientHandshake):
            outgoing.send(Part(machine.hello()))

    @property
    def can_send(self) -> bool:
        return self.writer is not None and not self.writer.ended

    def receive(self, data: bytes) -> None:
        """What the transport gives. Whatever raises anything else than `RemoteProtocolError` fails the test."""
        if self.reader is not None:
            self.reader.feed(data)
            self._read()
        elif self.refusal is None and not self.refused_in_clear:
            self.frames.feed(data)
            try:
                self._shake_hands()
            except RemoteProtocolError as exc:
                self._refuse(exc)

    def receive_eof(self) -> None:
        if self.reader is not None:
            self.reader.feed_eof()
            self._read()

    def _shake_hands(self) -> None:
        if isinstance(self.machine, ClientHandshake):
            self._take_challenge(self.machine)
        else:
            self._take_hello_and_response(self.machine)

    def _take_challenge(self, machine: ClientHandshake) -> None:
        frame = self.frames.next_frame({Kind.CHALLENGE, Kind.ALERT})
        if frame is None:
            return
        if frame[0] is Kind.ALERT:
            decode_alert_body_untrusted(frame[1])
            self.refused_in_clear = True
            return
        assert machine.challenge(frame[1]) == SERVER_KEY.public_key
        self.outgoing.send(Part(machine.response(b"credentials")))
        self._open_records()

    def _take_hello_and_response(self, machine: ServerHandshake) -> None:
        if machine.state is State.START and (frame := self.frames.next_frame({Kind.HELLO})):
            machine.hello(frame[1])
            self.outgoing.send(Part(machine.challenge()))
        if machine.state is State.CHALLENGE_DONE and (frame := self.frames.next_frame({Kind.RESPONSE})):
            assert machine.response(frame[1]) == CLIENT_KEY.public_key
            assert machine.credentials == b"credentials"
            self._open_records()
            self.control(RecordType.ACCEPT)
            self._read()

    def _open_records(self) -> None:
        keys, suite = self.machine.split(), self.machine.session.suite
        self.writer, self.prefix_size = RecordWriter(suite, keys.send), PREFIX[suite]
        self.reader = RecordReader(suite, keys.receive, expects_verdict=isinstance(self.machine, ClientHandshake))
        self.reader.feed(self.frames.take_rest())
        self._read()

    def _read(self) -> None:
        assert self.reader is not None
        self.received += drain(self.reader)
        self.refusal = self.reader.failure

    def _refuse(self, exc: RemoteProtocolError) -> None:
        self.refusal = exc
        if isinstance(self.machine, ServerHandshake):
            self.outgoing.send(Part(encode_alert_frame(exc.alert_code)))

    def send(self, content: bytes) -> None:
        """One flush, as one part a record."""
        assert self.writer is not None
        suite = self.machine.session.suite
        wire, at = flush(self.writer, content), 0
        while wire:
            size = self.prefix_size + int.from_bytes(wire[self.prefix_size :][:2], "little")
            self.outgoing.send(Part(wire[:size], content[at : at + CAPACITY[suite]]))
            wire, at, self.prefix_size = wire[size:], at + CAPACITY[suite], 0

    def control(self, record_type: RecordType, content: bytes = b"") -> None:
        assert self.writer is not None
        end = {RecordType.CLOSE: End.CLOSED, RecordType.ALERT: End.ALERTED}.get(record_type, End.OPEN)
        self.outgoing.send(Part(self.writer.control(record_type, content), b"", end))
        self.prefix_size = 0


# --- bytes of another connection, between the same two ---------------------------------------------------


def converse(client: ClientHandshake, server: ServerHandshake) -> tuple[Side, Side]:
    """A whole conversation, undisturbed, with some records of each kind."""
    to_server, to_client = Wire(), Wire()
    sides = Side(client, to_server), Side(server, to_client)
    for _ in range(3):
        deliver_all(to_server, sides[1])
        deliver_all(to_client, sides[0])
    for side in sides:
        side.send(b"of another connection")
        side.control(RecordType.KEY_UPDATE)
        side.control(RecordType.ALERT if side is sides[0] else RecordType.CLOSE, Alert(1).encode() * (side is sides[0]))
    return sides


def deliver_all(wire: Wire, side: Side) -> None:
    while wire.flight:
        piece = wire.flight.pop(0)
        wire.delivered += piece
        side.receive(piece)


def elsewhere(client_ephemeral: PrivateKey, server_ephemeral: PrivateKey) -> list[bytes]:
    """Frames and records that are good somewhere else."""
    parts: list[Part] = []
    for suite in Suite:
        client = new_client(suites=[suite], ephemeral=client_ephemeral)
        for side in converse(client, new_server(ephemeral=server_ephemeral)):
            parts += side.outgoing.sent
    return [part.wire for part in parts]


ELSEWHERE = elsewhere(OTHER_KEY, MIDDLEBOX_KEY)

# --- the machine -----------------------------------------------------------------------------------------

Tamper = Callable[[list[bytes], int, int, int], None]


def drop(flight: list[bytes], at: int, place: int, amount: int) -> None:
    del flight[at]


def double(flight: list[bytes], at: int, place: int, amount: int) -> None:
    flight.insert(place, flight[at])


def swap(flight: list[bytes], at: int, place: int, amount: int) -> None:
    flight[at], flight[place] = flight[place], flight[at]


def flip(flight: list[bytes], at: int, place: int, amount: int) -> None:
    flight[at] = flipped(flight[at], amount % (8 * len(flight[at])))


def shorten(flight: list[bytes], at: int, place: int, amount: int) -> None:
    flight[at] = flight[at][: -(amount % 40)] or flight[at]


TAMPERINGS: list[Tamper] = [drop, double, swap, flip, shorten]
SOURCES = ["elsewhere", "replay", "reflect", "alert"]
CONTROLS = [RecordType.KEY_UPDATE, RecordType.DATA] * 2
towards = st.sampled_from(["server", "client"])
places = st.integers(0, 10)
SIZES = st.sampled_from([1, 2, 3, 100, 0, 16_348, 16_363, 40_000])


class HostileNetwork(RuleBasedStateMachine):
    """The network; `wires` and `sides` by the side that bytes go to."""

    seen: ClassVar[Counter[str]] = Counter()

    @initialize(suite=st.sampled_from(Suite), secret=st.booleans(), undisturbed=st.sampled_from([3, 3, 3, 1, 0]))
    def connect(self, suite: Suite, secret: bool, undisturbed: int) -> None:
        self.wires = {"server": Wire(), "client": Wire()}
        shared = SECRET if secret else None
        client = new_client(suites=[suite], secret=shared, ephemeral=CLIENT_EPHEMERAL)
        policy = SecretPolicy.REQUIRED if secret else SecretPolicy.OFF
        server = new_server(secrets=[SECRET], secret_policy=policy, ephemeral=SERVER_EPHEMERAL)
        self.sides = {"client": Side(client, self.wires["server"]), "server": Side(server, self.wires["client"])}
        self.tampered = False
        for _ in range(undisturbed):
            self.deliver_all_of("server")
            self.deliver_all_of("client")

    def deliver_all_of(self, to: str) -> None:
        deliver_all(self.wires[to], self.sides[to])

    # --- what the endpoints do

    @rule(by=towards, size=SIZES)
    def send_data(self, by: str, size: int) -> None:
        if self.sides[by].can_send:
            self.sides[by].send(CONTENT[:size])

    @rule(by=towards, record_type=st.sampled_from([*CONTROLS, RecordType.CLOSE, RecordType.ALERT]))
    def send_control(self, by: str, record_type: RecordType) -> None:
        if self.sides[by].can_send:
            self.sides[by].control(record_type, Alert(7, "why").encode() * (record_type is RecordType.ALERT))

    # --- what an honest network does

    @rule(to=towards)
    def deliver_everything(self, to: str) -> None:
        self.deliver_all_of(to)

    @rule(to=towards, size=st.integers(1, 700))
    def deliver_some(self, to: str, size: int) -> None:
        wire = self.wires[to]
        if wire.flight:
            joined = b"".join(wire.flight)
            piece, rest = joined[:size], joined[size:]
            first = wire.flight[0]
            wire.flight = [first[size:], *wire.flight[1:]] if size < len(first) else [rest] * bool(rest)
            wire.delivered += piece
            self.sides[to].receive(piece)

    @rule(to=towards, for_once=st.sampled_from([False, False, True]))
    def end(self, to: str, for_once: bool) -> None:
        """Cuts the transport: what is on its way is lost."""
        if for_once:
            self.cut(to)

    def cut(self, to: str) -> None:
        wire = self.wires[to]
        if not wire.is_cut:
            wire.flight, wire.is_cut = [], True
            self.sides[to].receive_eof()

    # --- what a hostile one does

    @rule(to=towards, tamper=st.sampled_from(TAMPERINGS), at=places, place=places, amount=st.integers(1, 300))
    def tamper_with_what_is_in_flight(self, to: str, tamper: Tamper, at: int, place: int, amount: int) -> None:
        flight = self.wires[to].flight
        if flight:
            tamper(flight, at % len(flight), place % len(flight), amount)
            self.tampered = True

    @rule(
        to=towards,
        place=places,
        source=st.sampled_from(SOURCES),
        which=st.integers(0, 40),
    )
    def put_something_in(self, to: str, place: int, source: str, which: int) -> None:
        """Of another connection, of this one in the same or the other direction, or a refusal in clear."""
        other = {"server": "client", "client": "server"}[to]
        match source:
            case "elsewhere":
                choice = ELSEWHERE
            case "alert":
                choice = [encode_alert_frame(code) for code in range(18)]
            case _:
                choice = [part.wire for part in self.wires[to if source == "replay" else other].sent]
        if choice:
            self.put_in(to, place, choice[which % len(choice)])

    def put_in(self, to: str, place: int, wire: bytes) -> None:
        if not self.wires[to].is_cut and wire:
            flight = self.wires[to].flight
            flight.insert(place % (len(flight) + 1), wire)
            self.tampered = True

    # --- what stays true

    @precondition(lambda self: hasattr(self, "sides"))
    @invariant()
    def what_is_received_is_what_has_arrived(self) -> None:
        for to, side in self.sides.items():
            arrived = self.wires[to].arrived()
            assert side.received == b"".join(part.content for part in arrived)
            ends = [part.end for part in arrived if part.end is not End.OPEN]
            if ends:
                assert side.reader is not None
                assert side.reader.end is ends[0]
            else:
                assert self.sees_no_authentic_end(to)

    def sees_no_authentic_end(self, to: str) -> bool:
        reader = self.sides[to].reader
        if reader is None or reader.end in (End.OPEN, End.FAILED, End.TRUNCATED):
            return True
        in_clear = self.wires[to].delivered[-5:-2] == encode_alert_frame(1)[:3]
        return to == "client" and reader.end is End.ALERTED and not reader.authenticated and in_clear

    @precondition(lambda self: hasattr(self, "sides"))
    @invariant()
    def what_was_tampered_with_is_refused(self) -> None:
        for to, side in self.sides.items():
            wire = self.wires[to]
            if side.refusal is not None:
                assert wire.is_tampered or self.was_refused_before(to)
            if wire.is_tampered and wire.waited_for > MOST_WAITED_FOR and not self.has_ended(to):
                assert side.refusal is not None

    def was_refused_before(self, to: str) -> bool:
        """A side may also refuse what was tampered with on its own way out: it is not the same handshake then."""
        other = {"server": "client", "client": "server"}[to]
        return self.wires[other].is_tampered

    def has_ended(self, to: str) -> bool:
        side = self.sides[to]
        return side.refused_in_clear or (side.reader is not None and side.reader.end is not End.OPEN)

    @precondition(lambda self: hasattr(self, "sides"))
    @invariant()
    def both_have_the_same_handshake_or_not_both_one(self) -> None:
        client, server = self.sides["client"].machine, self.sides["server"].machine
        if client.state is State.FINISHED and server.state is State.FINISHED:
            assert client.session == server.session
            mine, theirs = client.split(), server.split()
            assert (mine.send, mine.receive) == (theirs.receive, theirs.send)

    def teardown(self) -> None:
        if not hasattr(self, "sides"):
            return
        for _ in range(3):
            self.deliver_all_of("server")
            self.deliver_all_of("client")
        for to in self.sides:
            self.cut(to)
        self.what_is_received_is_what_has_arrived()
        self.what_was_tampered_with_is_refused()
        for side in self.sides.values():
            assert side.reader is None or side.reader.end is not End.OPEN
        self.say_how_far_it_went()

    def say_how_far_it_went(self) -> None:
        established = all(side.reader is not None for side in self.sides.values())
        ends = {side.reader.end.name for side in self.sides.values() if side.reader is not None}
        for name in ["established"] * established + ["tampered"] * self.tampered + sorted(ends):
            event(name)
            self.seen[name] += 1
        self.seen["runs"] += 1
        if established:
            received = sum(len(side.received) for side in self.sides.values())
            self.seen["delivered content"] += bool(received)
            target(float(received > 0) + len(ends), label="how far it went")


@pytest.mark.slow
@pytest.mark.shows("hostile-network")
def test_no_sequence_of_steps_breaks_a_promise(tries: Tries) -> None:
    HostileNetwork.seen.clear()
    examples = tries.choose(small=500, full=2_000)
    effort = settings(
        max_examples=examples,
        stateful_step_count=20,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.target, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    for number in tries.seeds(small=2, full=100):
        machine = type("HostileNetwork", (HostileNetwork,), {})
        run_state_machine_as_test(seed(number)(machine), settings=effort)
    seen = HostileNetwork.seen
    print(dict(seen))
    # It would be easy to promise much about runs that never get anywhere.
    assert seen["established"] > seen["runs"] / 2
    assert seen["tampered"] > seen["runs"] / 2
    assert seen["delivered content"] > seen["runs"] / 5
    assert {"CLOSED", "ALERTED", "FAILED", "TRUNCATED"} <= set(seen)
    tries.found("runs that came to records", f"{seen['established']} of {seen['runs']}")
