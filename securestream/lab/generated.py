"""What a random generator makes, where nothing real is at hand. Whoever uses it says so, with the seed."""

from __future__ import annotations

import math

import numpy as np

from .results import generator


def log_normal_sizes(seed: int, count: int, *, median: float, sigma: float) -> list[int]:
    """Sizes of at least one byte, as sizes of files and answers tend to be: their logarithms are normal with the
    standard deviation `sigma`."""
    rng = generator(seed, "log-normal")
    return [max(1, round(size)) for size in rng.lognormal(math.log(median), sigma, count).tolist()]


def keystrokes(seed: int, count: int) -> list[int]:
    """Bytes that a terminal sends: a key a message, some of them escape sequences, and now and then a paste."""
    rng = generator(seed, "keystrokes")
    kinds = rng.choice(3, size=count, p=[0.91, 0.08, 0.01])
    pasted = rng.integers(4, 80, size=count)
    sizes = np.where(kinds == 0, 1, np.where(kinds == 1, 3, pasted))
    return [int(size) for size in sizes]
