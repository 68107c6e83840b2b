"""The handshake of the profile dev: hellos and what follows, in clear, from anybody."""

from __future__ import annotations

from securestream.protocol.codes import AlertCode
from securestream.protocol.dev import DevClientHandshake, DevServerHandshake, _decode_dev_hello_untrusted
from securestream.protocol.handshake import State
from securestream.protocol.messages import DEV_MAGIC, MAGIC, Hello

from ...protocol.support import CLIENT_EPHEMERAL, outcome

SHOWS = "fuzz-parsers"
PARSERS = ("_decode_dev_hello_untrusted",)


def one_input(data: bytes) -> None:
    """As a hello; as a challenge to a client; as a response to a server."""
    hello = outcome(_decode_dev_hello_untrusted, data)
    if isinstance(hello, Hello):
        assert data[:4] == DEV_MAGIC
        assert hello.header[4:] + hello.noise1 == data[4:]
    else:
        assert (hello is AlertCode.UNSUPPORTED_VERSION) >= (data[:4] == MAGIC)
    client, server = DevClientHandshake(), DevServerHandshake()
    server.hello(client.hello()[3:])
    server.challenge()
    assert isinstance(outcome(client.challenge, data), AlertCode)  # nobody knows the hash of this hello
    assert isinstance(outcome(server.response, data), AlertCode)
    assert (client.state, server.state) == (State.FAILED, State.FAILED)


def seeds() -> dict[str, bytes]:
    hello = DEV_MAGIC + b"\0\1" + bytes(49) + bytes(CLIENT_EPHEMERAL.public_key)
    challenge = bytes(CLIENT_EPHEMERAL.public_key) + b"profile dev: nobody's key at all" + bytes(33)
    return {
        "hello": hello,
        "secure": MAGIC + hello[4:],
        "secret": DEV_MAGIC + b"\1" + hello[5:] + bytes(16),
        "suite": hello[:6] + b"\1" + hello[7:],
        "route": hello[:7] + b"x" + hello[8:],
        "low_order": hello[:-32] + bytes(32),
        "cut": hello[:-1],
        "challenge": challenge,
        "response": challenge[32:],
        "empty": b"",
    }
