"""The attack on pages: real transfers, attackers that are as good as they can be, and figures that repeat."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from securestream.cli.app import run
from securestream.lab.defences import Defence, defence
from securestream.lab.pages import PagesRow, attack, features_of, interval
from securestream.lab.results import generator
from securestream.lab.visits import MOST_COOKIE, MOST_OWN_PART, visit_pages
from securestream.lab.wire import Seen
from securestream.protocol.padding import FullRecords, NoPadding, Padme

if TYPE_CHECKING:
    from pathlib import Path

    from securestream.lab.visits import Visit

SITE = {f"page{n}": bytes([n]) * (1_000 + 900 * n) for n in range(4)}
OVERHEAD = 22


def visits_behind(name: str, seed: int = 1, visits: int = 5) -> list[Visit]:
    return visit_pages(SITE, visits, defence(name, seed), seed)


# --- what is seen -------------------------------------------------------------------------------------


def test_a_visit_is_a_verdict_a_request_an_answer_and_two_ends() -> None:
    (visit,) = visit_pages({"re": bytes(5_000)}, 1, Defence(NoPadding()), 1)
    sizes = [(seen.outgoing, seen.size) for seen in visit.records]
    request, answer = [size for outgoing, size in sizes if outgoing], [size for outgoing, size in sizes if not outgoing]
    assert answer[0] == 512
    assert 0 <= answer[2] - OVERHEAD - 5_000 <= MOST_OWN_PART
    assert 0 <= request[0] - OVERHEAD - len("GET /re.html HTTP/1.1\r\nCookie: ") <= MOST_COOKIE
    assert request[-1] == answer[-1] == OVERHEAD
    assert (len(request), len(answer)) == (3, 4)
    assert visit.records[0].time == 0 < visit.seconds
    assert visit.wire_bytes == sum(request) + sum(answer)


@pytest.mark.parametrize("name", ["none", "random:500", "rate:2000:10", "rate:2000:10:8"])
def test_the_same_seed_gives_the_same_visits_to_the_last_bit(name: str) -> None:
    assert visits_behind(name) == visits_behind(name)
    assert visits_behind(name) != visits_behind(name, seed=2)


def test_every_record_of_a_constant_rate_has_one_size_and_bursts_come_to_a_multiple() -> None:
    for visit in visits_behind("rate:2000:10:8", visits=1):
        ours = [seen for seen in visit.records[1:] if seen.outgoing]
        assert {seen.size for seen in ours} == {2_000}
        assert len(ours) % 8 == 0
        theirs = [seen for seen in visit.records[1:] if not seen.outgoing]
        assert {seen.size for seen in theirs} == {2_000}


# --- the attackers ------------------------------------------------------------------------------------


def test_without_padding_pages_are_told_by_their_sizes() -> None:
    forest = attack("none", visits_behind("none"), 1)[2]
    assert (forest.attacker, forest.looks) == ("forest", 1)
    assert (forest.attacker, forest.pages, forest.visits, forest.chance) == ("forest", 4, 20, 1 / 4)
    assert forest.accuracy > 0.9
    assert forest.low > forest.chance
    assert not forest.is_chance
    assert forest.guesses is not None
    assert [sum(counts) for counts in forest.guesses] == [5] * 4
    assert sum(counts[number] for number, counts in enumerate(forest.guesses)) == round(20 * forest.accuracy)


def test_what_looks_alike_is_told_by_chance_only() -> None:
    """Four pages, of which nothing is seen but noise: a fault that lets labels into the features shows here."""
    rng = np.random.default_rng(7)
    alike = [
        type(visit)(visit.page, tuple(Seen(float(rng.random()), seen.outgoing, 100) for seen in visit.records[:5]))
        for visit in visits_behind("full", visits=20)
    ]
    for row in attack("alike", alike, 1):
        assert row.is_chance
        assert row.accuracy < 0.6


def test_fresh_randomness_is_averaged_away_by_whoever_sees_a_page_again_and_again() -> None:
    once, five_times = attack("random:4096", visits_behind("random:4096", visits=25), 1)[2:]
    assert (once.looks, five_times.looks) == (1, 5)
    assert five_times.accuracy > once.high


def test_the_same_seed_gives_the_same_figures_to_the_last_bit() -> None:
    visits = visits_behind("padme")
    assert attack("padme", visits, 1) == attack("padme", visits, 1)


@pytest.mark.parametrize("visits", [1, 4])
def test_an_attack_needs_enough_to_learn_from(visits: int) -> None:
    with pytest.raises(ValueError, match="two pages and 5 visits"):
        attack("none", visits_behind("none", visits=visits), 1)
    with pytest.raises(ValueError, match="two pages and 5 visits"):
        attack("none", visit_pages({"one": b"x"}, 5, Defence(NoPadding()), 1), 1)


def test_an_interval_is_that_of_the_mean_over_pages() -> None:
    rng = generator(1, "test")
    assert interval(np.full(50, 0.5), rng) == (0.5, 0.5)
    low, high = interval(np.asarray([0.0, 1.0] * 50), rng)  # a mean of 0.5 with a standard error of 0.05
    assert low == pytest.approx(0.4, abs=0.02)
    assert high == pytest.approx(0.6, abs=0.02)


def test_features_are_counts_sums_extremes_and_the_beginning() -> None:
    trace = [Seen(0.0, False, 512), Seen(0.1, True, 100), Seen(0.2, False, 300), Seen(0.5, False, 300)]
    features = features_of(trace)
    assert features[:6] == [1, 100, 100, 100, 100, 1]
    assert features[6:12] == [3, 1_112, 512, 300, pytest.approx(1_112 / 3), 2]
    assert features[12:18] == [0.5, -512, 100, -300, -300, 0]
    assert features[-1] == 100 - 1_112
    assert len(features_of(trace[:1])) == len(features)
    assert features_of(trace[:1])[:6] == [0] * 6


# --- defences by name ---------------------------------------------------------------------------------


def test_defences_are_policies_or_constant_rates() -> None:
    assert isinstance(defence("padme", 1).padding, Padme)
    assert isinstance(defence("full", 1).padding, FullRecords)
    assert defence("padme", 1).interval == 0
    rate = defence("rate:4096:10", 1)
    assert (rate.record, rate.interval, rate.burst) == (4_096, 0.01, None)
    assert defence("rate:64:1000:7", 1).burst == 7


@pytest.mark.parametrize(
    "name", ["rate", "rate:", "rate:100", "rate:100:0", "rate:100:5:0", "rate:1:2:3:4", "rate:63:5", "rate:16385:5",
             "rate:-5:5", "rate:a:b", "rate:100:5:9999999"],
)  # fmt: skip
def test_a_defence_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        defence(name, 1)


# --- the command --------------------------------------------------------------------------------------


def test_the_command_prints_a_line_for_each_defence_and_writes_all_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pages.json"
    arguments = ["--pages", "4", "--visits", "5", "--policy", "none", "--policy", "rate:16384:10:4"]
    assert run(["lab", "pages", *arguments, "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert "pydoc-pages (found here): 4 HTML pages" in out
    assert "by chance: 25%" in out
    assert max(map(len, out.splitlines())) <= 120
    found = json.loads(file.read_text())
    assert [(row["defence"], row["attacker"]) for row in found["rows"]] == [
        (name, attacker) for name in ("none", "rate:16384:10:4") for attacker in ("k-nn", "k-nn", "forest", "forest")
    ]
    assert set(found["rows"][0]) == set(PagesRow.__dataclass_fields__)


def test_the_command_refuses_what_is_no_defence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "pages", "--policy", "rate:5"]) == 2
    assert "rate:BYTES:MILLISECONDS" in capsys.readouterr().err
