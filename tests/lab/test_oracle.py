"""`lab oracle`: the attack works where nothing is done about it, and what padding does to it."""

from __future__ import annotations

import zlib
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

import securestream as ss
from securestream.lab import oracle
from securestream.lab.oracle import ALPHABET, ATTACKERS, CHANCE, FORM, MARK, attack, page, victim, wilson
from securestream.lab.wire import flush_records

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SECRET = "0123456789abcdef" * 2


@pytest.mark.parametrize("policy", [ss.NoPadding(), ss.Padme(), ss.FullRecords()], ids=repr)
async def test_what_is_asked_goes_through_the_real_stream(policy: ss.PaddingPolicy) -> None:
    async with victim(policy, SECRET) as server:
        for text in ("shoes", "x" * 30_000, ""):
            expected = flush_records(policy, oracle.HEADER + len(zlib.compress(page(SECRET, text))))
            assert await server.ask(text) == sum(expected)
        assert server.requests == 3


def test_the_page_holds_the_secret_once_and_the_mark_never() -> None:
    text = page(SECRET, "shoes").decode()
    assert text.count(SECRET) == text.count(FORM) == 1
    assert not set(MARK) & set(text)


def test_a_right_symbol_makes_the_answer_shorter_than_a_wrong_one_on_average() -> None:
    def size(symbol: str) -> int:
        texts = [f"{'QRSTUVWXYZ'[:count]}{FORM}{SECRET[:5]}{symbol}{MARK}" for count in range(10)]
        return sum(len(zlib.compress(page(SECRET, text))) for text in texts)

    right = SECRET[5]
    assert size(right) < min(size(symbol) for symbol in ALPHABET if symbol != right)


@pytest.mark.parametrize(("policy", "attacker"), [("none", "fillers:16"), ("block:512", "cliff"), ("padme", "cliff")])
def test_deterministic_padding_only_makes_it_dearer(policy: str, attacker: str) -> None:
    row = attack(policy, attacker, 3, seed=1)
    assert row.correct >= 2
    assert row.requests_per_byte == 2 * 3 * row.requests / row.correct
    assert row.low > CHANCE


def test_one_look_through_big_steps_is_no_better_than_chance() -> None:
    row = attack("block:512", "single", 40, seed=1)
    assert row.low < CHANCE < row.high
    assert row.requests == len(ALPHABET)


def test_the_same_seed_gives_the_same_figures_even_with_random_padding() -> None:
    assert attack("random:2", "fillers:4", 4, 1) == attack("random:2", "fillers:4", 4, 1)
    assert len({attack("none", "single", 8, seed) for seed in range(4)}) > 1


def test_a_guess_that_was_never_right_has_no_price(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wrong(ask: Callable[[str], Awaitable[int]], known: str, rng: np.random.Generator) -> str:
        return "?"

    monkeypatch.setattr(oracle, "ATTACKERS", {"wrong": wrong})
    row = attack("none", "wrong", 2, 1)
    assert (row.success, row.requests_per_byte, row.requests) == (0, None, 0)


async def constant(text: str) -> int:
    return 1_000


@pytest.mark.parametrize("attacker", [name for name in ATTACKERS if "64" not in name])
async def test_who_sees_nothing_guesses_evenly(attacker: str) -> None:
    rng = np.random.default_rng(1)
    rounds = 5 if attacker == "cliff" else 60
    guesses = Counter([await ATTACKERS[attacker](constant, "", rng) for _ in range(rounds)])
    assert set(guesses) <= set(ALPHABET)
    assert len(guesses) > min(rounds // 2, 10)


@pytest.mark.parametrize("step", [1, 64, 4_096, 16_384])
async def test_the_cliff_is_found_wherever_the_step_is(step: int) -> None:
    asked = 0

    async def stepped(text: str) -> int:
        nonlocal asked
        asked += 1
        return -(-len(text) // step) * step

    edge = await oracle._edge(stepped, "x" * oracle.MAX_FILLER, "")
    base = len(FORM + MARK)
    assert (base + edge - 1) // step < (base + edge + step - 1) // step
    assert await stepped("x" * edge + FORM + MARK) > await stepped("x" * (edge - 1) + FORM + MARK)
    assert asked < 40


def test_wilson_s_interval_is_as_published() -> None:
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert wilson(10, 10)[1] == pytest.approx(1)
