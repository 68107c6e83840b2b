"""The metrics, against cases that were computed by hand, and against each other."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from securestream.lab.leakage import Leakage, of_classes, of_observations, of_repeated_looks, of_uniform_padding

FIGURES = ("bits_leaked", "min_entropy_bits", "alone", "best_guess")


def figures(leakage: Leakage) -> list[float]:
    return [getattr(leakage, name) for name in FIGURES]


def test_eight_objects_in_classes_of_one_one_two_and_four() -> None:
    leakage = of_classes([1, 1, 2, 4])
    # H = 2 * 1/8 * 3 + 1/4 * 2 + 1/2 * 1 = 1.75; the best guesser is right for one object in each class, 4 of 8.
    assert figures(leakage) == pytest.approx([1.75, 2.0, 0.25, 0.5])
    assert (leakage.objects, leakage.classes, leakage.method) == (8, 4, "exact")
    assert [leakage.quantiles[place] for place in (0, 25, 26, 50, 51, 100)] == [1, 1, 2, 2, 4, 4]


def test_all_alone_tells_all_and_all_alike_tells_nothing() -> None:
    assert figures(of_classes([1] * 16)) == pytest.approx([4.0, 4.0, 1.0, 1.0])
    assert figures(of_classes([16])) == pytest.approx([0.0, 0.0, 0.0, 1 / 16])


def test_two_sizes_padded_by_up_to_one_byte_more_than_they_differ() -> None:
    # Sizes 10 and 11, padding 0 to 2: 10 and 13 give the object away (1/6 of the cases each), 11 and 12 nothing.
    leakage = of_uniform_padding([10, 11], 2)
    assert figures(leakage) == pytest.approx([1 / 3, math.log2(4 / 3), 1 / 3, 2 / 3])
    assert leakage.classes == 4


def test_sizes_further_apart_than_the_padding_are_told_apart() -> None:
    assert figures(of_uniform_padding([10, 20], 9)) == pytest.approx([1.0, 1.0, 1.0, 1.0])
    assert of_uniform_padding([10, 20], 10).bits_leaked < 1


def test_equal_sizes_can_not_be_told_apart_whatever_the_padding() -> None:
    assert figures(of_uniform_padding([7, 7, 7, 7], 100)) == pytest.approx([0.0, 0.0, 0.0, 0.25])


def by_definition(sizes: list[int], most: int) -> list[float]:
    """The same from the whole table of probabilities: a row an object, a column an observation."""
    joint = np.zeros((len(sizes), max(sizes) + most + 1))
    for index, size in enumerate(sizes):
        joint[index, size : size + most + 1] = 1 / len(sizes) / (most + 1)
    joint = joint[:, joint.any(axis=0)]
    marginal, some = joint.sum(axis=0), joint > 0
    bits = (joint[some] * np.log2((joint / marginal)[some] * len(sizes))).sum()
    best = joint.max(axis=0).sum()
    return [bits, math.log2(best * len(sizes)), marginal[some.sum(axis=0) == 1].sum(), best]


@pytest.mark.parametrize("seed", range(5))
def test_one_pass_over_the_sizes_gives_what_the_definition_gives(seed: int) -> None:
    sizes = np.random.default_rng(seed).integers(1, 60, 12).tolist()
    for most in (0, 1, 7, 100):
        assert figures(of_uniform_padding(sizes, most)) == pytest.approx(by_definition(sizes, most))


def test_no_padding_is_the_same_as_classes() -> None:
    sizes = [1, 1, 2, 5, 5, 5]
    assert figures(of_uniform_padding(sizes, 0)) == pytest.approx(figures(of_classes(list(Counter(sizes).values()))))


def test_drawing_comes_near_the_exact_figures_for_one_look() -> None:
    sizes = list(range(100, 400, 3))
    drawn = of_repeated_looks(sizes, 50, 1, np.random.default_rng(1))
    exact = of_uniform_padding(sizes, 50)
    assert drawn.bits_leaked == pytest.approx(exact.bits_leaked, abs=0.02)
    assert drawn.best_guess == pytest.approx(exact.best_guess, rel=0.05)


def test_looking_again_tells_ever_more_until_it_is_the_size() -> None:
    sizes = list(range(0, 4_000, 10))
    rng = np.random.default_rng(1)
    looks = [of_repeated_looks(sizes, 500, looks, rng, draws=300).bits_leaked for looks in (1, 4, 16, 4_096)]
    assert all(before < after for before, after in itertools.pairwise(looks))
    assert looks[-1] > 0.98 * math.log2(len(sizes))


def test_any_random_policy_is_estimated_by_drawing() -> None:
    rng = np.random.default_rng(1)
    sizes = [10, 11, 11, 14]
    drawn = of_observations(Counter(sizes), lambda size: size + int(rng.integers(4)), 20_000)
    assert figures(drawn) == pytest.approx(figures(of_uniform_padding(sizes, 3)), rel=0.02)
    assert "biased" in drawn.method


def test_a_deterministic_policy_estimated_by_drawing_is_exact_all_the_same() -> None:
    sizes = Counter([1, 1, 2, 3, 3, 3])
    assert figures(of_observations(sizes, lambda size: size > 2, 3)) == pytest.approx(figures(of_classes([3, 3])))
