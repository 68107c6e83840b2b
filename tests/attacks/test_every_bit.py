"""The attacker who changes one thing: every bit, every cut, every length of the handshake."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

import securestream as ss
from securestream.protocol.handshake import SecretPolicy, State
from securestream.protocol.messages import LENGTHS, Kind

from ..protocol.support import SECRET, flipped, new_client, new_server
from .support import (
    Change,
    Configs,
    Direction,
    Meeting,
    Rewrite,
    at,
    honest_configs,
    meet,
    only,
    replaced,
    tampered,
    untouched,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

    from securestream.protocol.suites import Suite

    from ..conftest import Tries

pytestmark = pytest.mark.shows("every-bit")

FRAMES = (Kind.HELLO, Kind.CHALLENGE, Kind.RESPONSE)
WAYS = pytest.mark.parametrize("secret", [None, SECRET], ids=["XX", "XXpsk0"])
every_frame = pytest.mark.parametrize("kind", FRAMES, ids=lambda kind: str(kind.name.lower()))


def attempt(secret: ss.SharedSecret | None, change: Change) -> Meeting:
    server = new_server(secrets=[SECRET], secret_policy=SecretPolicy.OPTIONAL)
    return meet(new_client(secret=secret), server, change)


def genuine(secret: ss.SharedSecret | None, kind: Kind) -> bytes:
    meeting = attempt(secret, untouched)
    assert meeting.succeeded
    return meeting.frames[kind]


def leads_nowhere(secret: ss.SharedSecret | None, kind: Kind, forged: bytes) -> None:
    """A server that has not finished authorises nobody; a client that has not taken a challenge says no more."""
    meeting = attempt(secret, replaced(kind, forged))
    assert not meeting.server_is_done
    assert (meeting.client.state is State.FINISHED) == (kind is Kind.RESPONSE)
    assert (Kind.RESPONSE in meeting.frames) == (kind is Kind.RESPONSE)


def places(size: int, tries: Tries) -> list[int]:
    """All of a frame's bytes; of the KEM's key or ciphertext, which is much the same all along, some in a small run."""
    step = tries.choose(small=37, full=1)
    return sorted({*range(min(size, 120)), *range(120, size, step), *range(max(0, size - 120), size)})


@WAYS
@every_frame
def test_no_bit_of_the_handshake_can_be_flipped(secret: ss.SharedSecret | None, kind: Kind, tries: Tries) -> None:
    frame = genuine(secret, kind)
    bits = sorted({8 * place + bit for place in places(len(frame), tries) for bit in range(8)})
    tries.tried(len(bits))
    for bit in bits:
        leads_nowhere(secret, kind, flipped(frame, bit))


@WAYS
@every_frame
def test_no_frame_can_be_cut_short(secret: ss.SharedSecret | None, kind: Kind, tries: Tries) -> None:
    frame = genuine(secret, kind)
    sizes = places(len(frame), tries)
    tries.tried(len(sizes))
    for size in sizes:
        leads_nowhere(secret, kind, frame[:size])


@WAYS
@every_frame
def test_no_frame_can_be_cut_short_with_a_length_that_fits(
    secret: ss.SharedSecret | None, kind: Kind, tries: Tries
) -> None:
    frame = genuine(secret, kind)
    for size in places(len(frame), tries)[3:]:
        leads_nowhere(secret, kind, struct.pack("<H", size) + frame[2:size])


@WAYS
@every_frame
def test_no_byte_can_be_taken_out_or_put_in(secret: ss.SharedSecret | None, kind: Kind, tries: Tries) -> None:
    frame = genuine(secret, kind)
    for place in places(len(frame), tries)[3:]:
        shorter, longer = frame[2:place] + frame[place + 1 :], frame[2:place] + b"\0" + frame[place:]
        for forged in (shorter, longer):
            leads_nowhere(secret, kind, struct.pack("<H", 2 + len(forged)) + forged)


def lengths(kind: Kind, real: int) -> list[int]:
    odd = {0, 1, 2, 3, real - 1, real + 1, 0x7FFF, 0x8000, 0xFFFF}
    for bounds in LENGTHS[kind]:
        odd |= {bounds[0] - 1, bounds[0], bounds[-1], bounds[-1] + 1}
    return sorted(odd - {real})


@WAYS
@every_frame
def test_no_length_of_a_frame_can_lie(secret: ss.SharedSecret | None, kind: Kind) -> None:
    frame = genuine(secret, kind)
    for length in lengths(kind, len(frame)):
        forged = struct.pack("<H", length) + frame[2:]
        leads_nowhere(secret, kind, forged)
        leads_nowhere(secret, kind, forged.ljust(length, b"\0"))


@pytest.mark.parametrize("count", [0, 1, 3, 46, 254, 255])
def test_no_count_of_suites_can_lie(count: int) -> None:
    frame = genuine(None, Kind.HELLO)
    forged = frame[:8] + bytes([count]) + frame[9:]
    leads_nowhere(None, Kind.HELLO, forged)
    leads_nowhere(None, Kind.HELLO, forged.ljust(len(frame) - 2 + count, b"\0"))


@every_frame
def test_no_frame_can_be_of_another_kind(kind: Kind) -> None:
    frame = genuine(None, kind)
    for number in set(range(256)) - {kind}:
        leads_nowhere(None, kind, frame[:2] + bytes([number]) + frame[3:])


@every_frame
def test_no_frame_can_stand_in_anothers_place(kind: Kind) -> None:
    for other in set(FRAMES) - {kind}:
        leads_nowhere(None, kind, genuine(None, other))
        leads_nowhere(None, kind, genuine(None, other)[:2] + bytes([kind]) + genuine(None, other)[3:])


def test_a_hello_doubled_is_no_response() -> None:
    meeting = attempt(None, only(Kind.HELLO, lambda frame: frame * 2))
    assert meeting.error is not None
    assert not meeting.server_is_done


# --- a sample of it, over streams -------------------------------------------------------------------------


PLACES = {
    Kind.HELLO: (Direction.TO_SERVER, 0),
    Kind.CHALLENGE: (Direction.TO_CLIENT, 0),
    Kind.RESPONSE: (Direction.TO_SERVER, 1),
}


async def ends_both_sides(configs: Configs, direction: Direction, rewrite: Rewrite) -> None:
    talk = await tampered(configs, direction, rewrite)
    assert talk.failed
    assert isinstance(talk.client.error, ss.HandshakeError)
    assert isinstance(talk.server.error, ss.HandshakeError)


@every_frame
@pytest.mark.parametrize("part", range(5))
async def test_a_bit_flipped_on_the_way_ends_both_sides(
    part: int, kind: Kind, suite: Suite, autojump_clock: MockClock
) -> None:
    direction, number = PLACES[kind]
    flip = at(number, lambda unit: flipped(unit, part * (8 * len(unit) - 1) // 4))
    await ends_both_sides(honest_configs(suite), direction, flip)


@every_frame
@pytest.mark.parametrize("kept", [0, 1, 2, 3, 50, -1])
async def test_a_frame_cut_on_the_way_ends_both_sides(kept: int, kind: Kind, autojump_clock: MockClock) -> None:
    direction, number = PLACES[kind]

    def cut(reached: int, unit: bytes) -> bytes | None:
        return (unit[:kept] if reached == number else unit) if reached <= number else None

    await ends_both_sides(honest_configs(), direction, cut)
