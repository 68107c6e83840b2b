"""`python -m securestream.bench.workers`, at its smallest: that it measures, not what."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from securestream.bench import workers
from securestream.bench.workers import SET_UPS, Figures, SetUp, markdown, measure

if TYPE_CHECKING:
    from pathlib import Path

needs_two_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or not {0, 1} <= os.sched_getaffinity(0) or shutil.which("taskset") is None,
    reason="it pins workers to core 0 and clients to core 1, on Linux",
)


@needs_two_cores
@pytest.mark.parametrize("cores", [(0,), (0, 0)], ids=["one worker", "two workers"])
def test_a_set_up_is_measured(cores: tuple[int, ...]) -> None:
    figures = measure(SetUp("", cores), 0.2)
    assert figures.rate > 0
    assert figures.cost >= 0


@needs_two_cores
def test_where_slices_of_a_core_can_not_be_had_it_is_an_os_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(workers, "_GROUPS", tmp_path / "no control groups")
    with pytest.raises(OSError, match="No such file"):
        measure(SetUp("", (0,), 0.25), 0.2)


def test_rates_are_compared_with_one_worker_of_the_same_share() -> None:
    figures = [Figures(set_up, rate, 1.5) for set_up, rate in zip(SET_UPS, [100, 90, 170, 40, 60], strict=True)]
    rows = [line.split("|")[2:4] for line in markdown(figures).splitlines() if "|" in line][2:]
    assert [(rate.strip(), ratio.strip()) for rate, ratio in rows] == [
        ("100", "1.00 x"),
        ("90", "0.90 x"),
        ("170", "1.70 x"),
        ("40", "1.00 x"),
        ("60", "1.50 x"),
    ]
