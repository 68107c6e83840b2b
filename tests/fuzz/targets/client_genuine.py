"""The client's handshake against a server that knows all keys: it seals a payload and a long-term key of the fuzzer's
choice, and the challenge may be edited on its way. Where nothing was, the client has to take it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from securestream.protocol.handshake import State
from securestream.protocol.messages import Kind, decode_hello_untrusted, encode_frame

from ...protocol.support import SERVER_EPHEMERAL, SERVER_KEY
from ...protocol.support import body as body_of
from ..choices import Choices
from ..handshakes import ListeningClient, assert_in_order
from ..sealing import loose_peer

if TYPE_CHECKING:
    from securestream.protocol.noise import HandshakeState

SHOWS = "fuzz-handshake"
PARSERS = ()


def one_input(data: bytes) -> None:
    choices = Choices(data)
    client = ListeningClient(choices)
    shown = choices.edited(bytes(SERVER_KEY.public_key))[:32].ljust(32, b"\0")
    payload = choices.take(choices.byte() % 4) + choices.content()
    noise = answering(client, shown)
    genuine = encode_frame(Kind.CHALLENGE, noise.write_message(payload))
    edited = choices.edited(genuine)
    answer = b"".join(client.receive(piece) for piece in choices.pieces(edited))
    assert_in_order(client)
    suite_offered = payload[:1] in [bytes([suite]) for suite in client.suites]
    honest = edited[: len(genuine)] == genuine and shown == bytes(SERVER_KEY.public_key)
    assert (client.machine.state is State.FINISHED) == (honest and suite_offered) == bool(answer)
    if answer:
        assert client.machine.server_payload == payload[1:]
        assert client.machine.session.suite == payload[0]
        assert_agreed(client, noise, answer)


def answering(client: ListeningClient, shown: bytes) -> HandshakeState:
    """A server that has read this client's hello."""
    hello = decode_hello_untrusted(body_of(client.hello, Kind.HELLO))
    noise = loose_peer(
        initiator=False,
        header=hello.header,
        key=SERVER_KEY,
        shown=shown,
        ephemeral=SERVER_EPHEMERAL,
        secret=client.secret,
        hybrid=client.hybrid,
    )
    noise.read_message(hello.noise1)
    return noise


def assert_agreed(client: ListeningClient, noise: HandshakeState, answer: bytes) -> None:
    assert client.server_key == SERVER_KEY.public_key
    assert noise.read_message(body_of(answer, Kind.RESPONSE)) == b"credentials"
    assert noise.rs == client.machine.public_key
    assert client.machine.session.post_quantum == client.hybrid
    assert noise.get_handshake_hash() == client.machine.handshake_hash
    first, second = noise.split()
    keys = client.machine.split()
    assert (keys.send, keys.receive) == (first.key_bytes(), second.key_bytes())


def seeds() -> dict[str, bytes]:
    suite = b"\1\1"
    return {
        "honest": bytes([0, 0, 0]) + suite + b"\x05\0abcd",
        "secret": bytes([1, 0, 0]) + suite + b"\x05\0abcd",
        "other_suite": bytes([0, 2, 0]) + b"\1\2" + b"\x05\0abcd",
        "unknown_suite": bytes([0, 0, 0]) + b"\1\x09" + b"\x05\0abcd",
        "no_payload": bytes(6),
        "edited_key": bytes([0, 0, 1, 1, 31, 0, 255]) + suite + b"\0\0abcd",
        "edited": bytes([0, 0, 0]) + suite + b"\x05\0abcd" + bytes([1, 0, 60, 0, 1]),
        "longer": bytes([0, 0, 0]) + suite + b"\x05\0abcd" + bytes([1, 2, 109, 0, 7]),
        "single_bytes": bytes([0, 0, 0]) + suite + b"\x05\0abcd" + bytes([0, 7]),
        "hybrid": bytes([3, 0, 0]) + suite + b"\x05\0abcd",
        "hybrid_secret": bytes([4, 0, 0]) + suite + b"\x05\0abcd",
        "hybrid_edited": bytes([3, 0, 0]) + suite + b"\x05\0abcd" + bytes([1, 0, 60, 2, 1]),
        "much": bytes([0, 0, 0]) + suite + b"\x00\x4eabcd" + bytes([0, 3, 9, 0, 9, 9]),
    }
