"""Challenges and responses with one fault each, and what their reader does about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from securestream.protocol.messages import Kind, encode_alert_frame, encode_frame

from ..protocol.support import body, flipped
from .fixed import KEM_CIPHERTEXT, OLD_SECRET, OTHER_SERVER, SECRET, nothing_random
from .handshakes import AEGIS, HYBRID, KNOWS_SERVER, ONE_SUITE, XCHACHA20, Setup


@dataclass(frozen=True, kw_only=True)
class FrameFailure:
    """What comes in place of the challenge (the client closes and sends nothing) or of the response (the server sends
    an alert frame). The reader has come so far in the handshake of that name in handshakes.json.

    `alert`           the code of what the reader refuses
    `alert_in_clear`  the code of a server's alert frame, which is no fault
    """

    name: str
    handshake: str
    reader: Literal["client", "server"]
    frame: str
    alert: int | None = None
    alert_in_clear: int | None = None


def frame_failures() -> list[FrameFailure]:
    return [*faults_of_challenge(), *faults_of_hybrid_challenge(), *faults_of_response()]


def faults_of_challenge() -> list[FrameFailure]:
    both = Setup().sides()
    both.hello()
    good = body(both.challenge(), Kind.CHALLENGE)

    def fault(name: str, data: bytes) -> FrameFailure:
        return in_place_of_challenge(name, encode_frame(Kind.CHALLENGE, data))

    return [
        fault("a frame of less than 100 bytes", good[:-1]),
        fault("a session key of low order", bytes(32) + good[32:]),
        fault("another session key", bytes(OTHER_SERVER.public_key) + good[32:]),
        fault("one bit of the server's key", flipped(good, 8 * 40)),
        fault("one bit of the tag", flipped(good, 8 * len(good) - 1)),
        fault("a byte behind it", good + b"\0"),
        in_place_of_challenge("a suite that was not offered", challenge_with_other_suite(), handshake=ONE_SUITE),
        in_place_of_challenge("a hello", encode_frame(Kind.HELLO, good)),
        in_place_of_challenge("an alert frame of code 0", b"\5\0\4\0\0"),
        in_place_of_challenge("an alert frame with a text", b"\6\0\4\1\0x"),
        in_place_of_challenge("busy", encode_alert_frame(10), alert=None, alert_in_clear=10),
    ]


def in_place_of_challenge(
    name: str,
    frame: bytes,
    *,
    handshake: str = KNOWS_SERVER,
    alert: int | None = 11,
    alert_in_clear: int | None = None,
) -> FrameFailure:
    return FrameFailure(
        name=f"in place of the challenge: {name}",
        handshake=handshake,
        reader="client",
        frame=frame.hex(),
        alert=alert,
        alert_in_clear=alert_in_clear,
    )


def hybrid_challenge(ciphertext: bytes = KEM_CIPHERTEXT) -> bytes:
    """One with this ciphertext, under the shared secret of the right one."""
    both = Setup(client_wants="prefer", server_wants="prefer").sides()
    both.hello()
    with nothing_random(ciphertext):
        return body(both.server.challenge(), Kind.CHALLENGE)


def faults_of_hybrid_challenge() -> list[FrameFailure]:
    def fault(name: str, data: bytes) -> FrameFailure:
        return in_place_of_challenge(f"hybrid: {name}", encode_frame(Kind.CHALLENGE, data), handshake=HYBRID)

    good, classical = hybrid_challenge(), Setup().sides()
    classical.hello()
    refused = encode_alert_frame(3)
    return [
        fault("a frame of less than 1,204 bytes", good[: 1_203 - 3]),
        fault("a classical challenge", body(classical.server.challenge(), Kind.CHALLENGE)),
        fault("one bit of the ciphertext", flipped(good, 8 * 32)),
        fault("one bit of the ciphertext's tag", flipped(good, 8 * (32 + 1_104) - 1)),
        fault("a genuine ciphertext for another key", hybrid_challenge(flipped(KEM_CIPHERTEXT, 0))),
        fault("one bit of the server's key", flipped(good, 8 * (32 + 1_104))),
        in_place_of_challenge("hybrid: there is none", refused, handshake=HYBRID, alert=None, alert_in_clear=3),
    ]


def challenge_with_other_suite() -> bytes:
    """All is genuine, and the server has chosen what the client did not offer."""
    both = Setup(secret=SECRET, secrets=[OLD_SECRET, SECRET], client_suites=[XCHACHA20]).sides()
    both.hello()
    both.server._suite = AEGIS
    return both.server.challenge()


def faults_of_response() -> list[FrameFailure]:
    both = Setup().sides()
    both.hello()
    both.challenge()
    good = body(both.client.response(b"credentials"), Kind.RESPONSE)

    def fault(name: str, data: bytes, alert: int = 2, *, kind: Kind = Kind.RESPONSE) -> FrameFailure:
        return FrameFailure(
            name=f"in place of the response: {name}",
            handshake=KNOWS_SERVER,
            reader="server",
            frame=encode_frame(kind, data).hex(),
            alert=alert,
        )

    return [
        fault("a frame of less than 67 bytes", good[:63], 11),
        fault("an alert frame", b"\1\0", 11, kind=Kind.ALERT),
        fault("one bit of the client's key", flipped(good, 3)),
        fault("one bit of the credentials", flipped(good, 8 * 50)),
        fault("one bit of the tag", flipped(good, 8 * len(good) - 1)),
        fault("a byte is missing", good[:-1]),
        fault("a byte behind it", good + b"\0"),
    ]
