"""What a random generator makes, where nothing real is at hand. Whoever uses it says so, with the seed."""

from __future__ import annotations

import math

from .results import generator


def log_normal_sizes(seed: int, count: int, *, median: float, sigma: float) -> list[int]:
    """Sizes of at least one byte, as sizes of files and answers tend to be: their logarithms are normal with the
    standard deviation `sigma`."""
    rng = generator(seed, "log-normal")
    return [max(1, round(size)) for size in rng.lognormal(math.log(median), sigma, count).tolist()]
