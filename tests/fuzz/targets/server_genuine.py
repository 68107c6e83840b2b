"""The server's handshake against a client that knows all keys: it seals a header, credentials and a long-term key of
the fuzzer's choice, and what it has sealed may be edited on the way. Where nothing was, the server has to take it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.handshake import SecretPolicy, State
from securestream.protocol.messages import FALLBACK, MAGIC, MODE_HFS, MODE_PSK0, Kind, encode_frame, seal_route

from ...protocol.support import CLIENT_EPHEMERAL, CLIENT_KEY, OTHER_KEY, SERVER_KEY
from ...protocol.support import body as body_of
from ..choices import Choices
from ..handshakes import MODES, ListeningServer, assert_in_order
from ..sealing import loose_peer

if TYPE_CHECKING:
    from securestream.protocol.noise import HandshakeState

SHOWS = "fuzz-handshake"
PARSERS = ()

E, R = bytes(CLIENT_EPHEMERAL.public_key), bytes(SERVER_KEY.public_key)
SHARED = CLIENT_EPHEMERAL.exchange(R)


class Visitor:
    """The client, and what it has to expect."""

    def __init__(self, choices: Choices, server: ListeningServer) -> None:
        self._choices, self._server = choices, server
        self.secret, self.hybrid = choices.one_of(MODES)
        suites = choices.take(choices.byte() % 4) or b"\1\2"
        self._routed = choices.byte() % 3  # to this server, to another, nowhere
        named = bytes((OTHER_KEY if self._routed == 1 else SERVER_KEY).public_key)
        route = bytes(48) if self._routed == 2 else seal_route(named, SHARED, E, R)
        mode = (MODE_PSK0 if self.secret else 0) | (MODE_HFS if self.hybrid else 0)
        honest = MAGIC + bytes([mode, len(suites)]) + suites + route
        self.header = choices.edited(honest)
        self.shown = choices.edited(bytes(CLIENT_KEY.public_key))[:32].ljust(32, b"\0")
        self.credentials = choices.content()
        self.shows_itself = self.shown == bytes(CLIENT_KEY.public_key)
        self.is_plain = self.header == honest and self.shows_itself
        self._suites = suites
        self._sealed = self._sent = b""
        self.has_responded = False
        self.noise: HandshakeState = loose_peer(
            initiator=True,
            header=self.header,
            key=CLIENT_KEY,
            shown=self.shown,
            ephemeral=CLIENT_EPHEMERAL,
            secret=self.secret,
            hybrid=self.hybrid,
        )

    @property
    def is_welcome(self) -> bool:
        """Whether the server has a reason to refuse an honest client that is configured like this."""
        policy, known = self._server.policy, self.secret in self._server.secrets
        wanted = {SecretPolicy.OFF: self.secret is None, SecretPolicy.REQUIRED: known}
        suites_fit = len(set(self._suites)) == len(self._suites) and bool(set(self._suites) & set(self._server.suites))
        route_fits = self._routed == 0 or (self._routed == 2 and not self._server.require_route)
        return wanted.get(policy, self.secret is None or known) and suites_fit and route_fits and self._mode_fits

    @property
    def _mode_fits(self) -> bool:
        if self.hybrid:
            return self._server.post_quantum != "off"
        return self._server.post_quantum == "off" or (
            self._server.post_quantum == "prefer" and FALLBACK not in self._suites
        )

    @property
    def is_untouched(self) -> bool:
        """Whether all has arrived as it was sealed."""
        return self._sent == self._sealed or (self.has_responded and self._sent.startswith(self._sealed))

    def send(self, frame: bytes) -> bytes:
        """The server's answer to a frame that may be edited and cut on its way."""
        edited = self._choices.edited(frame)
        self._sealed += frame
        self._sent += edited
        return b"".join(self._server.receive(piece) for piece in self._choices.pieces(edited))


def one_input(data: bytes) -> None:
    choices = Choices(data)
    server = ListeningServer(choices)
    visitor = Visitor(choices, server)
    answer = visitor.send(encode_frame(Kind.HELLO, visitor.header + visitor.noise.write_message()))
    if answer:
        respond(visitor, answer)
    assert_in_order(server)
    finished = server.machine.state is State.FINISHED
    if visitor.is_plain and visitor.is_untouched:
        assert finished == visitor.is_welcome
    if finished:
        assert visitor.is_untouched
        assert visitor.shows_itself
        assert_agreed(visitor, server)


def respond(visitor: Visitor, answer: bytes) -> None:
    try:
        payload = visitor.noise.read_message(body_of(answer, Kind.CHALLENGE))
    except RemoteProtocolError:  # the hello was not what the visitor wrote
        assert not visitor.is_untouched
        return
    assert payload[1:] == b"payload"
    visitor.has_responded = True
    visitor.send(encode_frame(Kind.RESPONSE, visitor.noise.write_message(visitor.credentials)))


def assert_agreed(visitor: Visitor, server: ListeningServer) -> None:
    machine = server.machine
    assert server.client_key == CLIENT_KEY.public_key
    assert machine.credentials == visitor.credentials
    assert machine.session.post_quantum == visitor.hybrid
    assert machine.used_secret == (visitor.secret is not None)
    assert machine.handshake_hash == visitor.noise.get_handshake_hash()
    first, second = visitor.noise.split()
    assert (machine.split().receive, machine.split().send) == (first.key_bytes(), second.key_bytes())


def seeds() -> dict[str, bytes]:
    optional, small = bytes([1, 1, 0, 0]), b"\x05\0abcd"
    made = {
        "honest": optional + bytes([0, 0, 0, 0, 0]) + small,
        "secret": optional + bytes([1, 0, 0, 0, 0]) + small,
        "wrong_secret": optional + bytes([2, 0, 0, 0, 0]) + small,
        "no_secret": bytes([2, 1, 0, 0]) + bytes(5) + small,
        "other_route": optional + bytes([0, 0, 1, 0, 0]) + small,
        "no_route": bytes([1, 1, 1, 0]) + bytes([0, 0, 2, 0, 0]) + small,
        "other_suite": optional + bytes([0, 1, 9, 0, 0, 0]) + small,
        "suite_list": optional + bytes([0, 3, 2, 1, 7, 0, 0, 0]) + small,
        "edited_header": optional + bytes([0, 0, 0, 1, 0, 4, 0, 2, 0]) + small,
        "edited_key": optional + bytes([0, 0, 0, 0, 1, 1, 31, 0, 255]) + small,
        "edited_hello": optional + bytes(5) + small + bytes([1, 0, 90, 0, 1]),
        "edited_response": optional + bytes(5) + small + bytes([0, 0, 1, 0, 40, 0, 1]),
        "single_bytes": optional + bytes(5) + small + bytes([0, 7, 0, 7]),
        "hybrid": bytes([1, 1, 2, 0]) + bytes([3, 0, 0, 0, 0]) + small,
        "hybrid_secret": bytes([1, 1, 4, 0]) + bytes([4, 0, 0, 0, 0]) + small,
        "hybrid_wrong_secret": bytes([1, 1, 2, 0]) + bytes([5, 0, 0, 0, 0]) + small,
        "hybrid_where_there_is_none": optional + bytes([3, 0, 0, 0, 0]) + small,
        "hybrid_edited_hello": bytes([1, 1, 2, 0]) + bytes([3, 0, 0, 0, 0]) + small + bytes([1, 0, 90, 2, 1]),
        "fallback": bytes([1, 1, 2, 0]) + bytes([0, 2, 1, FALLBACK, 0, 0, 0]) + small,
        "much": optional + bytes(5) + b"\x00\x4eabcd",
    }
    return made
