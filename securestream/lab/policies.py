"""Padding policies as the lab takes them: by the names of `parse_padding`, with all randomness from the seed.

padme                   once for a whole flush, as on the stream
per-record:padme        the same rule for each record alone: what is lost by padding records and not flushes
"""

from __future__ import annotations

from ..protocol.padding import KeyedPadding, PaddingPolicy, RandomPadding, padded_size
from ..protocol.padding_text import parse_padding
from .results import generator

PER_RECORD = "per-record:"

STANDARD = (
    *("none", "full", "block:16", "block:128", "block:468", "block:512", "block:4096", "buckets:512,4096,16384"),
    *("power-of-two", "tor", "padme", "random:512", "random:4096", "keyed:512", "keyed:4096"),
)
"""Every kind of policy, at usual sizes."""


class PerRecord(PaddingPolicy):
    """The rule of another policy, asked for each record in place of each flush."""

    def __init__(self, policy: PaddingPolicy) -> None:
        self._policy = policy

    def pad_record(self, record_type: int, length: int, room: int) -> int:
        return min(room, padded_size(self._policy, length) - length)


def lab_policy(text: str, seed: int) -> PaddingPolicy:
    """A policy by its name, repeatable: what a random one draws, and a keyed one's key, come from the seed. Raises
    `ValueError`, which says what would do."""
    if text.startswith(PER_RECORD):
        return PerRecord(lab_policy(text.removeprefix(PER_RECORD), seed))
    policy = parse_padding(text)
    rng = generator(seed, "policy", text)
    if isinstance(policy, RandomPadding):
        return RandomPadding(policy.most, randbelow=lambda bound: int(rng.integers(bound)))
    if isinstance(policy, KeyedPadding):
        return KeyedPadding(rng.bytes(32), policy.most)
    return policy
