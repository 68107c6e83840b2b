"""A hello as a router reads it: the key of the server that is wanted, nobody in particular, or a refusal."""

from __future__ import annotations

from securestream.protocol.codes import AlertCode
from securestream.protocol.keys import PublicKey
from securestream.protocol.messages import Hello, Kind, decode_hello_untrusted, seal_route
from securestream.service.errand import wanted_server

from ...protocol.support import CLIENT_EPHEMERAL, MIDDLEBOX_KEY, OTHER_KEY, SERVER_KEY, body, new_client, outcome
from ..choices import Choices

SHOWS = "fuzz-parsers"
PARSERS = ()

KEYS = (OTHER_KEY, MIDDLEBOX_KEY)
E = bytes(CLIENT_EPHEMERAL.public_key)


def one_input(data: bytes) -> None:
    choices = Choices(data)
    if choices.byte() % 2:
        read(choices.rest())  # the fuzzer's own
        return
    named, reader = choices.take(32).ljust(32, b"\0"), choices.one_of((*KEYS, SERVER_KEY))
    r = bytes(reader.public_key)
    genuine = Hello(False, (1, 2), seal_route(named, CLIENT_EPHEMERAL.exchange(r), E, r), E)
    plain = genuine.header + genuine.noise1
    edited = choices.edited(plain)
    wanted = read(edited)
    if edited == plain:
        assert wanted == (None if reader is SERVER_KEY else outcome_of(named))
    elif isinstance(wanted, PublicKey):  # nothing that names a server was touched
        assert edited[-80:] == plain[-80:]
        assert bytes(wanted) == named


def read(hello: bytes) -> PublicKey | AlertCode | None:
    decoded = outcome(decode_hello_untrusted, hello)
    return outcome(wanted_server, decoded, KEYS) if isinstance(decoded, Hello) else decoded


def outcome_of(named: bytes) -> PublicKey | AlertCode:
    """A route to what is no key is one to an unknown server."""
    try:
        return PublicKey(named)
    except ValueError:
        return AlertCode.UNKNOWN_SERVER_KEY


def seeds() -> dict[str, bytes]:
    server = bytes(SERVER_KEY.public_key)
    routed = body(new_client(middlebox_key=MIDDLEBOX_KEY.public_key).hello(), Kind.HELLO)
    hybrid = body(new_client(middlebox_key=MIDDLEBOX_KEY.public_key, post_quantum="prefer").hello(), Kind.HELLO)
    return {
        "routed": b"\1" + routed,
        "routed_hybrid": b"\1" + hybrid,
        "not_routed": b"\1" + body(new_client().hello(), Kind.HELLO),
        "cut": b"\1" + routed[:-1],
        "first_key": b"\0" + server + b"\0",
        "second_key": b"\0" + server + b"\1",
        "another_router": b"\0" + server + b"\2",
        "nobody": b"\0" + bytes(32) + b"\1",
        "not_canonical": b"\0" + b"\xff" * 32 + b"\1",
        "edited_route": b"\0" + server + b"\1\1\0\x10\0\1",
        "edited_suites": b"\0" + server + b"\1\1\0\6\0\1",
        "edited_e": b"\0" + server + b"\1\1\0\x40\0\1",
    }
