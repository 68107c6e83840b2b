"""Attackers who win against weaker protocols than this: each tells whether he has got what he wanted.

The tests of the attacks run them against the real code, where none may win; `test_mutants_of_the_code.py`
against code that has been made weaker, where they must.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
import trio.testing

import securestream as ss
from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.handshake import PATTERNS, SecretPolicy
from securestream.protocol.messages import PROLOGUE, ROUTE_SIZE, Hello, Kind, decode_hello_untrusted, encode_frame
from securestream.protocol.mlkem import DecapsulationKey
from securestream.protocol.noise import HandshakeState, SharedKeys
from securestream.protocol.records import RecordReader, RecordWriter
from securestream.protocol.suites import RecordType

from ..protocol.support import (
    BOTH_SUITES,
    CLIENT_KEY,
    OTHER_KEY,
    SERVER_KEY,
    body,
    flush,
    new_client,
    new_server,
    receive,
)
from ..streams.support import FrameStream, failure_of, in_background
from .support import DEADLINE, claim, honest_configs, meet, only, unchecked_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from securestream.protocol.keys import PrivateKey, SharedSecret
    from securestream.protocol.suites import Suite
    from securestream.protocol.tls_keys import PeerKey

# hello: length 2, kind 1, magic 4, mode 1, count 1, suites (two here), route 48, e 32; hybrid: then e1, with a secret a
# tag of 16 behind it; with a secret a tag of 16
MODE, COUNT, SUITES, ROUTE, E, E_END = 7, 8, 9, 11, 59, 91
SAID = b"what is meant for the other side alone"


# --- who has only a public key -------------------------------------------------------------------------------


def impostor_server_with_a_public_key() -> bool:
    """Wants a client to take him for the server, and to read what it says."""
    meeting = meet(new_client(ephemeral=None), new_server(key=claim(SERVER_KEY.public_key), ephemeral=None))
    if not meeting.succeeded:
        return False
    (writer, reader), _ = meeting.records()
    return receive(reader, flush(writer, SAID)) == SAID


def impostor_client_with_a_public_key() -> bool:
    """Wants a server to authorise him as the client, and to take his orders."""
    meeting = meet(new_client(key=claim(CLIENT_KEY.public_key), ephemeral=None), new_server(ephemeral=None))
    if not meeting.succeeded or meeting.client_key != CLIENT_KEY.public_key:
        return False
    (writer, reader), _ = meeting.records()
    return receive(reader, flush(writer, SAID)) == SAID


# --- who has stolen keys, later ------------------------------------------------------------------------------


def eavesdropper_with_stolen_keys(
    stolen: Sequence[PrivateKey],
    suite: Suite,
    *,
    secret: SharedSecret | None = None,
    ephemeral: PrivateKey | None = None,
) -> bool:
    """Wants to read what he has recorded, with the long-term keys (and the secret) that he has stolen since, and the
    server's ephemeral too where a quantum computer has told him that."""
    secrets = [secret] if secret else []
    server = new_server(ephemeral=ephemeral, secrets=secrets, secret_policy=SecretPolicy.OPTIONAL)
    meeting = meet(new_client(suites=[suite], ephemeral=None, secret=secret), server)
    assert meeting.succeeded
    (writer, _), _ = meeting.records()
    recorded = flush(writer, SAID)
    keys = _keys_from_record(meeting.frames, stolen, secret)
    return keys is not None and receive(RecordReader(suite, keys, expects_verdict=False), recorded) == SAID


def _keys_from_record(
    frames: dict[Kind, bytes], stolen: Sequence[PrivateKey], secret: SharedSecret | None
) -> bytes | None:
    """He follows the handshake as the client that he isn't, with each Diffie-Hellman that he can compute."""
    hello = decode_hello_untrusted(body(frames[Kind.HELLO], Kind.HELLO))
    challenge = body(frames[Kind.CHALLENGE], Kind.CHALLENGE)
    computed, e = SharedKeys(), claim(unchecked_key(hello.e))
    computed._known = [(e, bytes(key.public_key), key.exchange(hello.e)) for key in stolen]
    noise = HandshakeState(
        PATTERNS[hello.uses_secret, hello.hybrid],
        initiator=True,
        prologue=PROLOGUE + hello.header,
        s=CLIENT_KEY if CLIENT_KEY in stolen else claim(CLIENT_KEY.public_key),
        e=e,
        e1=_claimed_e1(hello, secret),
        psks=(secret.psk,) if secret else (),
        shared_keys=computed,
    )
    try:
        noise.write_message()
        noise.read_message(challenge)
    except RemoteProtocolError:
        return None
    noise.write_message()
    return noise.split()[0].key_bytes()


def _claimed_e1(hello: Hello, secret: SharedSecret | None) -> DecapsulationKey | None:
    """The KEM's key that the hello shows, to those who have the secret, with nobody's private half."""
    if not hello.hybrid:
        return None
    reader = HandshakeState(
        PATTERNS[hello.uses_secret, True],
        initiator=False,
        prologue=PROLOGUE + hello.header,
        s=OTHER_KEY,
        psks=(secret.psk,) if secret else (),
    )
    reader.read_message(hello.noise1)
    assert reader.re1 is not None
    claimed = DecapsulationKey.generate()
    claimed.public_bytes = reader.re1._key.public_bytes_raw()
    return claimed


def thief_of_the_clients_key(es: bytes) -> bool:
    """Wants to pose as the server to that client, with his idea of the one Diffie-Hellman that he can't compute."""
    claimed = claim(SERVER_KEY.public_key)
    client, thief = new_client(), new_server(key=claimed, ephemeral=OTHER_KEY)
    hello = body(client.hello(), Kind.HELLO)
    thief.hello(hello)
    thief._shared_keys._known.insert(0, (claimed, hello[E - 3 : E_END - 3], es))
    try:
        return client.challenge(body(thief.challenge(), Kind.CHALLENGE)) == SERVER_KEY.public_key
    except RemoteProtocolError:
        return False


# --- who changes what is said ----------------------------------------------------------------------------------


def with_suites(*suites: int) -> Callable[[bytes], bytes]:
    """A hello whose list of suites the attacker has written."""
    return lambda frame: encode_frame(
        Kind.HELLO, frame[3:COUNT] + bytes([len(suites), *suites]) + frame[SUITES + frame[COUNT] :]
    )


def with_route(route: bytes) -> Callable[[bytes], bytes]:
    """A hello whose route the attacker has written."""
    return lambda frame: frame[: SUITES + frame[COUNT]] + route + frame[SUITES + frame[COUNT] + ROUTE_SIZE :]


def with_e(e: bytes) -> Callable[[bytes], bytes]:
    """A hello whose ephemeral key the attacker has written."""
    return lambda frame: frame[:E] + e + frame[E_END:]


def stripper_of_suites() -> bool:
    """Wants both sides to use the suite that they like less, and not to know."""
    meeting = meet(new_client(), new_server(), only(Kind.HELLO, with_suites(BOTH_SUITES[1])))
    return meeting.succeeded and meeting.client.session.suite is BOTH_SUITES[1]


def swapper_of_routes() -> bool:
    """Wants the client's choice of a server to arrive as another, and nobody to know."""
    return meet(new_client(), new_server(), only(Kind.HELLO, with_route(bytes(ROUTE_SIZE)))).succeeded


# --- who answers in the server's place ---------------------------------------------------------------------------


async def impostor_who_wants_the_clients_name() -> bool:
    """Wants to know who calls, with a key of his own that the client doesn't want."""
    near, far = trio.testing.memory_stream_pair()
    learned: list[PeerKey] = []

    async def pose() -> None:
        frames, impostor = FrameStream(far), new_server(key=OTHER_KEY, ephemeral=None)
        impostor.hello(await frames.receive(Kind.HELLO))
        await far.send_all(impostor.challenge())
        response = await far.receive_some()
        if response:
            learned.append(impostor.response(body(bytes(response), Kind.RESPONSE)))
            writer = RecordWriter(impostor.session.suite, impostor.split().send)
            await far.send_all(writer.verdict(RecordType.ACCEPT))

    with trio.fail_after(DEADLINE):
        async with in_background(pose):
            await failure_of(ss.wrap_client(near, honest_configs()[0]), ss.ServerKeyMismatch)
    return learned == [CLIENT_KEY.public_key]
