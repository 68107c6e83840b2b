"""The server's handshake, fed bytes and pieces of the fuzzer's own making. Its seeds are whole conversations, which
the server's fixed keys make possible."""

from __future__ import annotations

from securestream.protocol.handshake import State
from securestream.protocol.messages import Kind

from ...protocol.support import CLIENT_KEY, SECRET, new_client, new_server
from ...protocol.support import body as body_of
from ..choices import Choices
from ..handshakes import ListeningServer, assert_in_order

SHOWS = "fuzz-handshake"
PARSERS = ()


def one_input(data: bytes) -> None:
    choices = Choices(data)
    server = ListeningServer(choices)
    count_and_cuts = choices.take(13)
    for piece in Choices(count_and_cuts).pieces(choices.rest()):
        server.receive(piece)
    assert_in_order(server)
    if server.machine.state is State.FINISHED:
        assert server.client_key == CLIENT_KEY.public_key  # nobody else's private key is in a seed


def seeds() -> dict[str, bytes]:
    made: dict[str, bytes] = {}
    for name, secret in (("plain", None), ("secret", SECRET)):
        start = bytes([1, 1, 1, 0])
        server = ListeningServer(Choices(start))
        client = new_client(secret=secret)
        hello = client.hello()
        client.challenge(body_of(server.receive(hello), Kind.CHALLENGE))
        wire = hello + client.response(b"credentials")
        made |= {f"{name}_whole": start + bytes(13) + wire, f"{name}_bytes": start + b"\7" + bytes(12) + wire}
        made |= {f"{name}_records": start + bytes(13) + wire + b"records", f"{name}_cut": start + bytes(13) + wire[:-1]}
    return made | {"challenge": bytes(17) + new_server_challenge(), "empty": b""}


def new_server_challenge() -> bytes:
    """The wrong kind of frame."""
    server = new_server()
    server.hello(body_of(new_client().hello(), Kind.HELLO))
    return server.challenge()
