"""Results: JSON as plain as can be, and randomness that depends on nothing but its names."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from securestream.lab.results import Experiment, Provenance, as_text, generator, to_json


@dataclass(frozen=True)
class Row:
    name: str
    figure: float


def test_an_experiment_becomes_json_with_all_that_it_takes_to_repeat_it() -> None:
    provenance = Provenance("x", "yours", "numbers", 2, "00ff", {"file": "a.csv"})
    data = json.loads(as_text(Experiment("sizes", "securestream lab sizes", 3, (provenance,), (Row("a", 0.5),))))
    assert data["seed"] == 3
    assert data["command"] == "securestream lab sizes"
    assert data["corpora"][0]["details"] == {"file": "a.csv"}
    assert data["rows"] == [{"name": "a", "figure": 0.5}]
    assert {"python", "securestream", "numpy"} <= set(data["versions"])


def test_a_figure_that_is_none_is_null_and_no_broken_json() -> None:
    assert to_json(Row("a", float("nan"))) == {"name": "a", "figure": None}
    assert to_json({"a": float("inf")}) == {"a": None}


def test_what_has_no_form_in_json_is_an_error() -> None:
    with pytest.raises(TypeError, match="bytes"):
        to_json([b"x"])


def test_randomness_depends_on_seed_and_names_only() -> None:
    draws = {
        (seed, names): generator(seed, *names).integers(0, 2**60)
        for seed in (1, 2)
        for names in [("a",), ("a", "b"), ("ab",), ("b", "a")]
    }
    assert len(set(draws.values())) == len(draws)
    assert generator(1, "a").integers(0, 2**60) == draws[1, ("a",)]
