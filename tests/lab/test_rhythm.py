"""The lab's look at rhythm: what shaping hides of a program that talks in bouts, and what it costs."""

from __future__ import annotations

import itertools
import json
import math
from functools import cache
from typing import TYPE_CHECKING

import pytest

from securestream.cli.app import run
from securestream.lab.rhythm import INTERVAL, LAGS, RECORD, SHAPES, ShapingRow, autocorrelation, bouts, shape

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 60


@cache
def shaped(name: str) -> ShapingRow:
    return shape(name, 1, SECONDS)


@pytest.mark.parametrize("name", SHAPES)
def test_the_same_seed_gives_the_same_figures_to_the_last_bit(name: str) -> None:
    assert shape(name, 1, 20) == shape(name, 1, 20)
    assert shape(name, 2, 20) != shape(name, 1, 20)


@pytest.mark.parametrize("name", SHAPES)
def test_the_program_is_the_same_however_it_is_shaped(name: str) -> None:
    row = shaped(name)
    assert 0 <= len(bouts(1, SECONDS)) - row.messages <= 1  # the last may still be on its way
    assert row.latency_max >= row.latency_mean > 0


def test_without_shaping_a_listener_knows_when_the_program_talks() -> None:
    assert shaped("off").tells == 1
    assert shaped("off").records == len(bouts(1, SECONDS))


def test_cover_fills_silence_and_a_constant_rate_says_nothing() -> None:
    times = [0.0, *(time for time, _ in shaped("cover:steady").timeline)]
    assert max(after - before for before, after in itertools.pairwise(times)) < 0.5 + 0.02
    assert shaped("cover:random").records > 1.5 * shaped("off").records
    assert shaped("rate").tells == 0.5
    assert shaped("rate").autocorrelation is None
    assert {size for _, size in shaped("rate").timeline} == {RECORD}
    assert shaped("rate").timeline[0][0] == pytest.approx(INTERVAL)


def test_bursts_are_cheaper_than_a_constant_rate_and_say_more() -> None:
    assert shaped("rate:bursts").wire_bytes < shaped("rate").wire_bytes / 2
    assert shaped("rate:bursts").tells > 0.8


def test_a_constant_rate_costs_latency_and_throughput_and_cover_hardly_any() -> None:
    assert shaped("cover:random").latency_mean < 2 * shaped("off").latency_mean < shaped("rate").latency_mean
    assert shaped("cover:random").bulk_rate > 0.98 * shaped("off").bulk_rate
    assert shaped("rate").bulk_rate == pytest.approx((RECORD - 22) / INTERVAL, rel=0.01)


def test_autocorrelation_finds_a_rhythm() -> None:
    up_and_down = autocorrelation([1.0, 2.0] * 500)
    assert up_and_down is not None
    assert len(up_and_down) == LAGS
    assert up_and_down[0] == pytest.approx(-1, abs=0.01)
    assert up_and_down[1] == pytest.approx(1, abs=0.01)
    wave = autocorrelation([math.sin(n / 10) for n in range(2_000)])
    assert wave is not None
    assert wave[0] > 0.99 > wave[4] > 0.5
    assert autocorrelation([0.25] * 100) is autocorrelation([1.0, 2.0]) is autocorrelation([]) is None


def test_the_command_draws_each_shape_and_writes_all_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "shaping.json"
    assert run(["lab", "shaping", "--seconds", "12", "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert "GENERATED, seed 1" in out
    assert all(f"\n{name} " in out for name in SHAPES)
    assert max(map(len, out.splitlines())) <= 120
    rows = json.loads(file.read_text())["rows"]
    assert [row["shape"] for row in rows] == list(SHAPES)
    assert rows[SHAPES.index("rate")]["autocorrelation"] is None
