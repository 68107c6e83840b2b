"""How much the sizes on the wire tell about which object was sent.

Theory of operation
-------------------

One of N objects is sent, each as likely as the others, and a listener sees what comes of it: an observation. He knows
all objects and the policy (closed world, the strongest case). For each observation some objects remain: the
**candidates**. Where all that remain are equally likely, all figures follow from how many remain, how often:

    bits leaked            I(object; observation) = log2 N - sum of share * log2(candidates)
    best guess             the chance of the best guesser there can be = sum of share / candidates
    min-entropy leakage    log2(N * best guess)
    alone                  share of the cases in which one candidate remains
    anonymity set          how many candidates remain

*Deterministic policies.* The observation is a function of the object. Candidates are the objects of the same class, and
bits leaked are the entropy of the observation. Exact.

*Uniform random padding*, 0 to m bytes. Seeing w, the objects of w - m to w bytes remain, equally likely. The number of
candidates changes at sizes and m + 1 behind them only, so one pass over these adds up all w: exact too. After k looks
at the same object those remain that are as long as the longest look less m, and no longer than the shortest:
estimated by drawing, without bias.

*Other random policies.* The observations of each size are drawn a number of times, and what was drawn is taken for the
distribution. That is biased: with few draws every observation seems to tell more than it does.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Leakage:
    """What is told, by the definitions of this module's head. `quantiles` are anonymity sets: of the objects, 0 %,
    1 % ... 100 % are in one at most so large. `classes` is the number of different observations."""

    objects: int
    classes: int
    bits_leaked: float
    min_entropy_bits: float
    alone: float
    best_guess: float
    quantiles: tuple[int, ...]
    method: str


def of_classes(members: Sequence[int]) -> Leakage:
    """A deterministic policy: `members` are the numbers of objects that share an observation."""
    counts = np.asarray(members, dtype=np.int64)
    return _from_candidates(counts, counts / counts.sum(), int(counts.sum()), len(counts), "exact")


def of_uniform_padding(sizes: Sequence[int], most: int) -> Leakage:
    """One look at an object that is padded by 0 to `most` bytes, each as likely."""
    ordered = np.sort(np.asarray(sizes, dtype=np.int64))
    # A size that w reaches adds a candidate, and takes it away `most` + 1 bytes later.
    marks = np.concatenate([ordered, ordered + most + 1])
    steps = np.concatenate([np.ones_like(ordered), -np.ones_like(ordered)])
    order = np.argsort(marks, kind="stable")
    candidates = np.cumsum(steps[order])[:-1]
    lengths = np.diff(marks[order])
    some = (candidates > 0) & (lengths > 0)
    candidates, lengths = candidates[some], lengths[some]
    shares = candidates * lengths / (len(ordered) * (most + 1))
    return _from_candidates(candidates, shares, len(ordered), int(lengths.sum()), "exact")


def of_repeated_looks(
    sizes: Sequence[int], most: int, looks: int, rng: np.random.Generator, draws: int = 20_000
) -> Leakage:
    """The same object is sent `looks` times, padded afresh by 0 to `most` bytes each time, and the listener
    knows that it is the same."""
    ordered = np.sort(np.asarray(sizes, dtype=np.int64))
    chosen = ordered[rng.integers(len(ordered), size=draws)]
    padding = rng.integers(most + 1, size=(looks, draws))
    least, greatest = chosen + padding.min(axis=0), chosen + padding.max(axis=0)
    upper = np.searchsorted(ordered, least, side="right")
    candidates = (upper - np.searchsorted(ordered, greatest - most, side="left")).astype(np.int64)
    seen = len(np.unique(np.stack([least, greatest]), axis=1).T)
    shares = np.full(draws, 1 / draws)
    return _from_candidates(candidates, shares, len(ordered), seen, f"estimated from {draws:,} drawn objects")


def of_observations(sizes: Mapping[int, int], observe: Callable[[int], Hashable], draws: int) -> Leakage:
    """Any random policy: `sizes` says how many objects have each size, `observe(size)` draws what is seen."""
    objects = sum(sizes.values())
    seen = {size: Counter(observe(size) for _ in range(draws)) for size in sizes}
    makers: defaultdict[Hashable, list[tuple[int, float]]] = defaultdict(list)
    for size, counter in seen.items():
        for observation, count in counter.items():
            makers[observation].append((sizes[size], count / draws))
    candidates = [sum(members for members, _ in made) for made in makers.values()]
    shares = [sum(members * chance for members, chance in made) / objects for made in makers.values()]
    bits = sum(
        members * chance / objects * math.log2(chance / share)
        for made, share in zip(makers.values(), shares, strict=True)
        for members, chance in made
    )
    best = sum(max(chance for _, chance in made) for made in makers.values()) / objects
    plain = _from_candidates(np.asarray(candidates), np.asarray(shares), objects, len(makers), "")
    method = f"estimated from {draws} draws of each size; biased upwards"
    return Leakage(
        objects, plain.classes, bits, math.log2(objects * best), plain.alone, best, plain.quantiles, method
    )  # fmt: skip


def _from_candidates(candidates: Integers, shares: Floats, objects: int, classes: int, method: str) -> Leakage:
    """All figures, where the candidates that remain are equally likely."""
    best = float((shares / candidates).sum())
    return Leakage(
        objects=objects,
        classes=classes,
        bits_leaked=max(0.0, math.log2(objects) - float((shares * np.log2(candidates)).sum())),
        min_entropy_bits=max(0.0, math.log2(objects * best)),
        alone=float(shares[candidates == 1].sum()),
        best_guess=best,
        quantiles=_quantiles(candidates, shares),
        method=method,
    )


def _quantiles(candidates: Integers, shares: Floats) -> tuple[int, ...]:
    order = np.argsort(candidates, kind="stable")
    reached = np.cumsum(shares[order])
    places = np.searchsorted(reached, np.linspace(0, 1, 101) * reached[-1] - 1e-12, side="left")
    return tuple(candidates[order][np.minimum(places, len(order) - 1)].tolist())
