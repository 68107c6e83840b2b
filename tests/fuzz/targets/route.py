"""The sealed route: 32 bytes where it was sealed for this reader, else None."""

from __future__ import annotations

from securestream.protocol.messages import open_route_untrusted, seal_route

from ...protocol.support import CLIENT_EPHEMERAL, SERVER_KEY
from ..choices import Choices

SHOWS = "fuzz-parsers"
PARSERS = ("open_route_untrusted",)

E, R = bytes(CLIENT_EPHEMERAL.public_key), bytes(SERVER_KEY.public_key)
SHARED = SERVER_KEY.exchange(E)


def one_input(data: bytes) -> None:
    choices = Choices(data)
    if choices.byte() % 2:
        route = choices.rest()
        opened = open_route_untrusted(route, SHARED, E, R)
        assert opened is None or seal_route(opened, SHARED, E, R) == route  # the fuzzer sees what the other way seals
        return
    named = choices.take(32).ljust(32, b"\0")
    sealed = seal_route(named, SHARED, E, R)
    edited = choices.edited(sealed)
    assert open_route_untrusted(edited, SHARED, E, R) == (named if edited == sealed else None)
    other = choices.take(32)
    assert (open_route_untrusted(sealed, SHARED, other, R) is None) == (other != E)


def seeds() -> dict[str, bytes]:
    made = {"random": b"\1" + bytes(range(48)), "short": b"\1" + bytes(47), "sealed": b"\0" + R}
    return made | {
        "edited": b"\0" + R + b"\1\0\5\0\1",
        "cut": b"\0" + R + b"\1\4\x1f\0\0",
        "same_e": b"\0" + R + b"\0" + E,
    }
