"""TLS as the network gives it: OpenSSL's machines with one flight edited or cut up, or fed bytes that are no TLS.

What is decrypted is always the beginning of what was encrypted, and whoever is done knows the peer's key.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TypeVar

from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.openssl import TlsEndpoint, private_key_of
from securestream.protocol.tls_keys import TlsPrivateKey
from securestream.streams.tls_certificate import self_signed

from ..choices import Choices

if TYPE_CHECKING:
    from collections.abc import Callable

    from securestream.protocol.openssl import TlsConnection
    from securestream.protocol.tls import TlsFacts

T = TypeVar("T")

SHOWS = "fuzz-handshake"
PARSERS = ()

CLIENT_KEY, SERVER_KEY = (TlsPrivateKey(bytes([n]) * 32) for n in (1, 2))
FLIGHTS = 6


@cache
def endpoint(key: TlsPrivateKey, *, is_client: bool) -> TlsEndpoint:
    return TlsEndpoint(key, self_signed(private_key_of(key)), is_client=is_client)


class Side:
    """One end: what it has sent and received inside TLS, and whether it has given up."""

    def __init__(self, key: TlsPrivateKey, *, is_client: bool) -> None:
        self.tls: TlsConnection = endpoint(key, is_client=is_client).connection()
        self.facts: TlsFacts | None = None
        self.sent = self.received = b""
        self.has_refused = False

    def hear(self, piece: bytes) -> None:
        self.tls.feed(piece)
        self._shake_hands()
        if self.facts is not None:
            self.received += self._try(lambda: self.tls.decrypt(100_000)) or b""

    def say(self, content: bytes) -> bytes:
        """What goes to the other side, which is nothing of `content` before the handshake is done."""
        self._shake_hands()
        self.sent += content if self.facts else b""
        return self._try(lambda: self.tls.encrypt(content)) or b""

    def _shake_hands(self) -> None:
        if self.facts is None and not self.has_refused:
            self.facts = self._try(self.tls.handshake)

    def _try(self, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except RemoteProtocolError:
            self.has_refused = True
            return None


def one_input(data: bytes) -> None:
    choices = Choices(data)
    sides = Side(CLIENT_KEY, is_client=True), Side(SERVER_KEY, is_client=False)
    edited = choices.byte() % (FLIGHTS + 2)  # the last two: none of them
    is_edited = False
    for number in range(FLIGHTS):
        sender, receiver = sides if number % 2 == 0 else sides[::-1]
        wire = genuine = sender.say(b"%d" % number * (choices.byte() % 50))
        if number == edited:
            wire = choices.rest() if choices.byte() % 4 == 3 else choices.edited(genuine)
            is_edited = wire != genuine
        for piece in choices.pieces(wire):
            receiver.hear(piece)
    for side, other in (sides, sides[::-1]):
        assert other.sent.startswith(side.received)
        if side.facts is not None:
            assert side.facts.peer == (SERVER_KEY if side is sides[0] else CLIENT_KEY).public_key
        if not is_edited:
            assert not side.has_refused
            assert side.received == other.sent
            assert side.facts is not None


def seeds() -> dict[str, bytes]:
    """Which flight is edited; then for each the length of its content, its edits if it is that one, its cuts."""
    plain = b"\5\0" * FLIGHTS
    made = {"genuine": b"\7" + plain, "in_bytes": b"\7" + b"\5\7" * FLIGHTS, "empty": b""}
    for number in range(FLIGHTS):
        before, after = bytes([number]) + b"\5\0" * number + b"\5", b"\0" * 2 * FLIGHTS
        made |= {
            f"flipped_{number}": before + b"\0\1\0\x20\0\1" + after,
            f"cut_{number}": before + b"\0\1\4\x20\0\0" + after,
            f"inserted_{number}": before + b"\0\1\2\5\0\x17" + after,
            f"alert_{number}": before + b"\3\x15\3\3\0\2\2\x50",
        }
    return made | {"no_tls": b"\0\5\3GET / HTTP/1.1\r\n\r\n", "long_record": b"\0\5\3\x16\3\1\xff\xff" + bytes(50)}
