"""The client's handshake, fed bytes and pieces of the fuzzer's own making."""

from __future__ import annotations

from securestream.protocol.handshake import SecretPolicy
from securestream.protocol.messages import Kind, encode_alert_frame

from ...protocol.support import SECRET, SERVER_KEY, new_server
from ...protocol.support import body as body_of
from ..choices import Choices
from ..handshakes import ListeningClient, assert_in_order

SHOWS = "fuzz-handshake"
PARSERS = ()


def one_input(data: bytes) -> None:
    choices = Choices(data)
    client = ListeningClient(choices)
    count_and_cuts = choices.take(13)
    answers = [client.receive(piece) for piece in Choices(count_and_cuts).pieces(choices.rest())]
    assert_in_order(client)
    assert len([answer for answer in answers if answer]) == (client.server_key is not None)
    assert client.server_key in (None, SERVER_KEY.public_key)  # nobody else's private key is in a seed
    assert client.server_key is None or not client.alert_code


def seeds() -> dict[str, bytes]:
    made: dict[str, bytes] = {}
    for name, start in (("plain", bytes([0, 0])), ("secret", bytes([1, 1]))):
        client = ListeningClient(Choices(start))
        server = new_server(secrets=[SECRET], secret_policy=SecretPolicy.OPTIONAL)
        server.hello(body_of(client.hello, Kind.HELLO))
        wire = server.challenge(b"payload")
        made |= {f"{name}_whole": start + bytes(13) + wire, f"{name}_bytes": start + b"\7" + bytes(12) + wire}
        made |= {f"{name}_records": start + bytes(13) + wire + b"records", f"{name}_cut": start + bytes(13) + wire[:-1]}
    alert = encode_alert_frame(10)
    made |= {"alert": bytes(15) + alert, "alert_bytes": bytes(2) + b"\7" + bytes(12) + alert}
    return made | {
        "alert_of_code_0": bytes(15) + encode_alert_frame(0),
        "two_alerts": bytes(15) + alert * 2,
        "empty": b"",
    }
