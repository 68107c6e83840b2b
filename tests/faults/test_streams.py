"""A client and a server over a transport with faults: all bytes, or a prefix and an error, and never a hang.

Each seed is a conversation and a fault at a place in it. `Side` holds the deadlines, on a clock that jumps; `check()`
holds what was received against what was sent, and an end against every byte that the transport has delivered.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

import securestream as ss

from .conversations import (
    Case,
    Part,
    Phase,
    Placed,
    Seen,
    check,
    draw,
    place_both,
    talk,
    units_of,
)
from .transport import NO_TROUBLE, SMOOTH, Fault, Kind, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..conftest import Tries
    from .conversations import Talk

pytestmark = pytest.mark.shows("faults")


def try_seed(seed: int) -> tuple[Talk, tuple[Placed, Placed]]:
    """One seed; a failure says which, and what its fault was."""
    case, placed = draw(seed), (Placed(), Placed())
    try:
        placed = place_both(case, random.Random(-seed - 1))
        over = talk(case, placed[0].trouble, placed[1].trouble)
        check(over)
    except Exception as exc:
        exc.add_note(f"seed {seed} (first of --first-seed {seed}): to server and to client {placed} in {case}")
        raise
    return over, placed


def counted(over: Talk, placed: tuple[Placed, Placed]) -> Iterable[object]:
    """What has happened in one run: faults by place, and what the sides have seen."""
    for way, where in zip((over.link.up, over.link.down), placed, strict=True):
        if way.struck:
            yield where.trouble.fault
            yield where.phase
    yield from {over.client.seen, over.server.seen}
    if over.client.seen in (Seen.THE_END, Seen.ENOUGH) and over.server.seen in (Seen.THE_END, Seen.ENOUGH):
        yield "complete"
    if over.client.new_keys + over.server.new_keys:
        yield "a new key"


@pytest.mark.slow
def test_over_a_faulty_transport_there_are_all_bytes_or_a_prefix_and_an_error(tries: Tries) -> None:
    happened = Counter[object]()
    for seed in tries.seeds(small=600, full=20_000):
        happened.update(counted(*try_seed(seed)))
    for what in [*Phase, *Seen, *(set(Fault) - {Fault.NONE}), "complete", "a new key"]:
        tries.found(str(what), happened[what])
        assert happened[what] >= 5, f"{what} did hardly happen: {happened[what]} times"


SHORT = Part(sends=(10, 200), new_key_after=1)


@pytest.mark.parametrize("suite", ss.Suite, ids=lambda suite: str(suite.name))
@pytest.mark.parametrize("kind", [Kind.ENDS, Kind.SOCKETS])
@pytest.mark.parametrize("fault", [Fault.CUT, Fault.RESET, Fault.STALL, Fault.BREAK])
def test_a_cut_connection_never_looks_like_an_end(suite: ss.Suite, kind: Kind, fault: Fault, tries: Tries) -> None:
    """Cut in two at every byte of a short conversation, in either direction."""
    case = Case(0, suite, kind, SMOOTH, SHORT, SHORT, new_key_each=2**30, wait_for_accept=True)
    whole = talk(case)
    step, runs = tries.choose(small=23, full=1), 0
    for to_server, wire in ((True, whole.link.up.sent), (False, whole.link.down.sent)):
        last = sum(units_of(wire, suite, to_server=to_server)[:-1])
        for at in sorted({*range(0, len(wire), step), last, len(wire) - 1}):
            troubles = (Trouble(fault, at), NO_TROUBLE)
            over = talk(case, *(troubles if to_server else reversed(troubles)))
            check(over)
            assert (over.server if to_server else over.client).seen is not Seen.THE_END, f"{fault} at byte {at}"
            runs += 1
    tries.tried(runs)


@pytest.mark.parametrize("kind", Kind)
def test_what_comes_behind_an_end_changes_nothing(kind: Kind) -> None:
    case = Case(0, ss.Suite.AEGIS_256, kind, SMOOTH, SHORT, SHORT, new_key_each=2**30, wait_for_accept=True)
    length = len(talk(case).link.up.sent)
    over = talk(case, Trouble(Fault.DOUBLE, length - 200, 200))
    assert over.link.up.struck
    check(over)
    assert over.server.seen is Seen.THE_END
