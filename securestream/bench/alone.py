"""What libsodium does alone, without a stream around it: the most that a suite could give on this machine."""

from __future__ import annotations

import time
from typing import NamedTuple

from ..protocol import sodium
from ..protocol.suites import MAX_RECORD, RecordType, Suite, sealer

_PASSES = 50


class Alone(NamedTuple):
    """A suite to be measured beside the contenders, and its name for the table."""

    title: str
    suite: Suite


ALONE: dict[str, Alone] = {
    "alone_aegis_256": Alone("libsodium alone, AEGIS-256", Suite.AEGIS_256),
    "alone_xchacha20_poly1305": Alone("libsodium alone, XChaCha20", Suite.XCHACHA20_POLY1305),
}


def sealing_speed(suite: Suite, seconds: float) -> float:
    """MB/s of records of 16 KiB, sealed one after the other in one buffer that is warm."""
    cipher, buffer = sealer(suite, bytes(32)), sodium.backend.Buffer(3 * MAX_RECORD)
    best, end = 0.0, time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        for _ in range(_PASSES):
            cipher.seal(buffer, 0, MAX_RECORD, RecordType.DATA)
        best = max(best, _PASSES * MAX_RECORD / (time.perf_counter() - start) / 1e6)
    return best
