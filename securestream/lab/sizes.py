"""`lab sizes`: for each policy, what it costs and what a listener still learns, one message an object."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ..protocol.padding import KeyedPadding, NoPadding, PaddingPolicy, RandomPadding
from .leakage import Leakage, of_classes, of_observations, of_repeated_looks, of_uniform_padding
from .policies import lab_policy
from .results import generator
from .wire import flush_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .corpora import Corpus

DRAWS = 64  # of each size, where nothing is known of a random policy
PROBED = 256  # sizes that a policy is asked for twice, to see whether it is random
LOOKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Cost:
    """Bytes on the wire more than without padding: all of them, as a share, and as a share of each object's
    own: mean and 95th percentile."""

    wire_bytes: int
    overhead_bytes: int
    overhead: float
    overhead_mean: float
    overhead_p95: float


@dataclass(frozen=True)
class SizesRow:
    """One policy on one corpus."""

    policy: str
    corpus: str
    cost: Cost
    leakage: Leakage


@dataclass(frozen=True)
class LooksRow:
    """One policy on one corpus, when the same object is seen `looks` times."""

    policy: str
    corpus: str
    looks: int
    leakage: Leakage


def measure(name: str, policy: PaddingPolicy, corpus: Corpus) -> SizesRow:
    """A policy of any kind, under the name that the result is to show. Raises `ValueError` when it misbehaves."""
    counts = Counter(corpus.sizes)
    if is_random(policy, list(counts)):
        wire = [sum(flush_records(policy, size)) for size in corpus.sizes]  # asked once for each object
        leakage = _of_random(policy, corpus, counts)
    else:
        seen = {size: flush_records(policy, size) for size in counts}
        wire = list(map({size: sum(records) for size, records in seen.items()}.__getitem__, corpus.sizes))
        classes: Counter[tuple[int, ...]] = Counter()
        for size, members in counts.items():
            classes[seen[size]] += members
        leakage = of_classes(list(classes.values()))
    return SizesRow(name, corpus.name, cost_of(wire, corpus), leakage)


def is_random(policy: PaddingPolicy, sizes: Sequence[int]) -> bool:
    """Whether it answers differently when it is asked again."""
    return isinstance(policy, RandomPadding) or any(
        flush_records(policy, size) != flush_records(policy, size) for size in sizes[:PROBED]
    )


def _of_random(policy: PaddingPolicy, corpus: Corpus, counts: Counter[int]) -> Leakage:
    if type(policy) is RandomPadding:
        return of_uniform_padding(corpus.sizes, policy.most)
    return of_observations(counts, lambda size: flush_records(policy, size), DRAWS)


def measure_by_name(text: str, corpus: Corpus, seed: int) -> SizesRow:
    """A policy by its name (`lab_policy`). Of keyed padding the listener is taken to have seen each object before,
    under the same key. Raises `ValueError`."""
    return measure(text, lab_policy(text, seed), corpus)


def cost_of(wire: Sequence[int], corpus: Corpus) -> Cost:
    """What the objects cost, when they take so many bytes on the wire each."""
    before = np.asarray([_plain(size) for size in corpus.sizes], dtype=np.int64)
    after = np.asarray(wire, dtype=np.int64)
    more = after - before
    own = more / before
    return Cost(
        wire_bytes=int(after.sum()),
        overhead_bytes=int(more.sum()),
        overhead=float(more.sum() / before.sum()),
        overhead_mean=float(own.mean()),
        overhead_p95=float(np.percentile(own, 95)),
    )


@cache
def _plain(size: int) -> int:
    return sum(flush_records(NoPadding(), size))


def repeated_looks(text: str, corpus: Corpus, seed: int) -> list[LooksRow]:
    """What a listener learns who sees the same object again and again, and had never seen it before. Only fresh
    randomness can be averaged; of everything else the first look says all. Raises `ValueError`."""
    policy = lab_policy(text, seed)
    if isinstance(policy, KeyedPadding):
        leakages = [of_uniform_padding(corpus.sizes, policy.most)] * len(LOOKS)
    elif type(policy) is RandomPadding:
        rng = generator(seed, "looks", text, corpus.name)
        later = [of_repeated_looks(corpus.sizes, policy.most, looks, rng) for looks in LOOKS[1:]]
        leakages = [of_uniform_padding(corpus.sizes, policy.most), *later]
    else:
        leakages = [measure(text, policy, corpus).leakage] * len(LOOKS)
    found = zip(LOOKS, leakages, strict=True)
    return [LooksRow(text, corpus.name, looks, leakage) for looks, leakage in found]
