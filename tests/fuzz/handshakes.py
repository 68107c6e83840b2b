"""What the handshake targets share: a machine fed by frames as `streams/wrap.py` does it, and what a refusal means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from securestream.protocol.errors import LocalProtocolError, RemoteProtocolError
from securestream.protocol.handshake import ClientHandshake, SecretPolicy, ServerHandshake, State
from securestream.protocol.messages import FrameReader, Kind, decode_alert_body_untrusted

from ..protocol.support import BOTH_SUITES, OTHER_SECRET, SECRET, new_client, new_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from securestream.protocol.hybrid import PostQuantum
    from securestream.protocol.keys import SharedSecret
    from securestream.protocol.suites import Suite
    from securestream.protocol.tls_keys import PeerKey

    from .choices import Choices

POLICIES = (SecretPolicy.OFF, SecretPolicy.OPTIONAL, SecretPolicy.REQUIRED)
SUITE_LISTS: tuple[tuple[Suite, ...], ...] = (BOTH_SUITES, BOTH_SUITES[::-1], BOTH_SUITES[:1], BOTH_SUITES[1:])
SECRETS: tuple[SharedSecret | None, ...] = (None, SECRET, OTHER_SECRET)
MODES = tuple((secret, hybrid) for hybrid in (False, True) for secret in SECRETS)
SERVERS: tuple[PostQuantum, ...] = ("off", "prefer", "require")


class Listener:
    """One side, given the transport's bytes piece by piece until it is done or refuses them."""

    def __init__(self) -> None:
        self.frames = FrameReader()
        self.refused: RemoteProtocolError | None = None

    def receive(self, piece: bytes) -> bytes:
        """What it answers."""
        self.frames.feed(piece)
        if self.refused is not None:
            return b""
        try:
            return self.step()
        except RemoteProtocolError as exc:
            self.refused = exc
            return b""

    def step(self) -> bytes:
        raise NotImplementedError


class ListeningServer(Listener):
    """A server whose configuration the fuzzer chooses."""

    def __init__(self, choices: Choices) -> None:
        super().__init__()
        self.policy = choices.one_of(POLICIES)
        self.secrets = (SECRET,) if choices.byte() % 2 else (OTHER_SECRET, SECRET)
        post_quantum, require_route = divmod(choices.byte(), 2)
        self.require_route = bool(require_route)
        self.post_quantum = SERVERS[post_quantum % len(SERVERS)]
        self.suites = choices.one_of(SUITE_LISTS)
        self.machine = new_server(
            suites=self.suites,
            secrets=self.secrets,
            secret_policy=self.policy,
            require_route=self.require_route,
            post_quantum=self.post_quantum,
        )
        self.client_key: PeerKey | None = None

    def step(self) -> bytes:
        answer = b""
        if self.machine.state is State.START and (frame := self.frames.next_frame({Kind.HELLO})):
            self.machine.hello(frame[1])
            answer = self.machine.challenge(b"payload")
        if self.machine.state is State.CHALLENGE_DONE and (frame := self.frames.next_frame({Kind.RESPONSE})):
            self.client_key = self.machine.response(frame[1])
        return answer


class ListeningClient(Listener):
    """A client that has sent its hello."""

    def __init__(self, choices: Choices) -> None:
        super().__init__()
        self.secret, self.hybrid = choices.one_of(MODES)
        self.suites = choices.one_of(SUITE_LISTS)
        post_quantum: PostQuantum = "prefer" if self.hybrid else "off"
        self.machine = new_client(suites=self.suites, secret=self.secret, post_quantum=post_quantum)
        self.hello = self.machine.hello()
        self.server_key: PeerKey | None = None
        self.alert_code = 0

    def step(self) -> bytes:
        if self.machine.state is not State.HELLO_DONE or self.alert_code:
            return b""
        frame = self.frames.next_frame({Kind.CHALLENGE, Kind.ALERT})
        if frame is None:
            return b""
        if frame[0] is Kind.ALERT:
            self.alert_code = decode_alert_body_untrusted(frame[1])
            return b""
        self.server_key = self.machine.challenge(frame[1])
        return self.machine.response(b"credentials")


def assert_in_order(listener: ListeningServer | ListeningClient) -> None:
    """A machine is finished, or gives nothing away; a refused one takes nothing more."""
    machine = listener.machine
    if machine.state is State.FINISHED:
        assert machine.session.suite in listener.suites
        assert {len(key) for key in (machine.split().send, machine.split().receive)} == {32}
        return
    for step in (machine.split, lambda: machine.session):
        assert is_refused(step)
    if listener.refused is not None:
        assert_refuses(machine)


def assert_refuses(machine: ServerHandshake | ClientHandshake) -> None:
    """Where the frame itself was wrong, the machine has not seen it, and only its user knows that it is over."""
    if machine.state is not State.FAILED:
        return
    for step in steps_of(machine):
        assert is_refused(step)


def steps_of(machine: ServerHandshake | ClientHandshake) -> list[Callable[[], object]]:
    """All that can be asked of a machine."""
    if isinstance(machine, ServerHandshake):
        return [
            lambda: machine.hello(b""),
            machine.challenge,
            lambda: machine.response(b""),
            lambda: machine.handshake_hash,
        ]
    return [machine.hello, lambda: machine.challenge(b""), machine.response, lambda: machine.handshake_hash]


def is_refused(step: Callable[[], object]) -> bool:
    """Whether the machine says that it is not this step's turn."""
    try:
        step()
    except LocalProtocolError:
        return True
    return False
