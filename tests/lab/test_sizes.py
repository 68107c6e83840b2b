"""`lab sizes`: policies against corpora whose figures can be counted."""

from __future__ import annotations

import random
from functools import partial

import pytest

import securestream as ss
from securestream.lab.corpora import CORPORA, Corpus, CorpusMissing, make_corpus
from securestream.lab.policies import STANDARD, PerRecord, lab_policy
from securestream.lab.sizes import LOOKS, is_random, measure, measure_by_name, repeated_looks

OVERHEAD = 22  # bytes of a record beside its content, under the lab's suite


def corpus(*sizes: int) -> Corpus:
    return make_corpus("x", "yours", "numbers", sizes)


def test_the_cost_is_counted_on_the_wire() -> None:
    cost = measure("block", ss.BlockPadding(100), corpus(78, 100, 101)).cost
    assert cost.wire_bytes == 100 + 100 + 200 + 3 * OVERHEAD
    assert cost.overhead_bytes == 22 + 99
    assert cost.overhead == pytest.approx(121 / (279 + 66))
    assert cost.overhead_mean == pytest.approx((22 / 100 + 0 + 99 / 123) / 3)


def test_without_padding_the_entropy_of_the_sizes_is_leaked() -> None:
    row = measure_by_name("none", corpus(1, 2, 3, 3), 1)
    assert row.cost.overhead_bytes == 0
    assert row.leakage.bits_leaked == pytest.approx(1.5)
    assert row.leakage.alone == 0.5


def test_full_records_still_tell_how_many() -> None:
    assert measure_by_name("full", corpus(1, 16_362, 16_363), 1).leakage.classes == 2


def test_a_rule_for_each_record_tells_more_than_the_same_for_the_flush() -> None:
    several = corpus(*range(20_000, 60_000, 250))
    flush, record = (measure_by_name(name, several, 1).leakage for name in ("padme", "per-record:padme"))
    assert record.bits_leaked > flush.bits_leaked + 1


def test_a_record_s_rule_fills_no_more_than_its_room() -> None:
    assert PerRecord(ss.BlockPadding(512)).pad_record(0, 500, 5) == 5
    assert PerRecord(ss.BlockPadding(512)).pad_record(0, 500, 50) == 12


@pytest.mark.parametrize("name", [*STANDARD, "per-record:padme"])
def test_a_policy_by_name_gives_the_same_figures_again(name: str) -> None:
    several = corpus(*range(1, 3_000, 7))
    assert measure_by_name(name, several, 5) == measure_by_name(name, several, 5)
    assert lab_policy(name, 1) is not None


def test_randomness_comes_from_the_seed() -> None:
    drawn = [[lab_policy("random:4096", seed).pad_flush(1) for _ in range(3)] for seed in (1, 2)]
    assert drawn[0] != drawn[1]
    keyed = [lab_policy("keyed:4096", seed).pad_flush(1) for seed in (1, 1, 2)]
    assert keyed[0] == keyed[1] != keyed[2]


def test_a_policy_that_nobody_knows_is_one_error() -> None:
    with pytest.raises(ValueError, match="a padding is one of"):
        lab_policy("per-record:padmé", 1)


class Coin(ss.PaddingPolicy):
    """A policy of a user's, with randomness of its own."""

    def __init__(self) -> None:
        self._random = random.Random(3)

    def pad_flush(self, length: int) -> int:
        return length + self._random.choice([0, 1])


def test_a_random_policy_of_one_s_own_is_noticed_and_estimated() -> None:
    assert is_random(Coin(), [5, 6, 7, 8, 9, 10, 11, 12])
    leakage = measure("coin", Coin(), corpus(*range(10, 42))).leakage
    assert leakage.method.startswith("estimated")
    # Two candidates for each observation, but for the ends: log2 32 - 1, and a little for the ends.
    assert leakage.bits_leaked == pytest.approx(4 + 1 / 32, abs=0.1)


def test_fresh_randomness_is_averaged_away_and_a_key_s_is_not() -> None:
    several = corpus(*range(100, 20_000, 10))
    fresh = [row.leakage.bits_leaked for row in repeated_looks("random:1024", several, 1)]
    assert fresh == sorted(fresh)
    assert fresh[-1] > fresh[0] + 4
    look = partial(repeated_looks, corpus=several, seed=1)
    for name in ("keyed:1024", "padme"):
        rows = look(name)
        assert [row.looks for row in rows] == list(LOOKS)
        assert len({row.leakage for row in rows}) == 1
    assert look("keyed:1024")[0].leakage.bits_leaked == pytest.approx(fresh[0])


@pytest.fixture(scope="module")
def debian() -> Corpus:
    try:
        packages = CORPORA["debian-packages"].load(1)
    except CorpusMissing as exc:
        pytest.skip(f"no index to measure on: {exc}")
    if not 60_000 < len(packages.sizes) < 70_000:
        pytest.skip(f"the figures are those of bookworm's 63,440 packages, not of {len(packages.sizes):,}")
    return packages


@pytest.mark.parametrize(
    ("name", "bits", "alone", "guess", "mean"),
    [
        ("none", 14.98, 0.479, 0.64, 0),
        ("padme", 7.96, 0.001, 0.008, 0.017),
        ("power-of-two", 3.56, 0.0, 0.0, 0.45),
        ("block:512", 10.01, 0.074, 0.124, 0.015),
    ],
)
def test_debian_s_packages_give_the_figures_that_others_measured(
    name: str, bits: float, alone: float, guess: float, mean: float, debian: Corpus
) -> None:
    row = measure_by_name(name, debian, 1)
    assert row.leakage.bits_leaked == pytest.approx(bits, abs=0.3)
    assert row.leakage.alone == pytest.approx(alone, abs=0.02)
    assert row.leakage.best_guess == pytest.approx(guess, abs=0.02)
    assert row.cost.overhead_mean == pytest.approx(mean, abs=0.02)
