"""`lab pages`: which page was it? A closed-world attack on what is seen of real transfers.

The attacker has a list of all pages and has visited each of them often himself, behind the same defence; he sees one
visit of somebody else's and says which page it was. Two attackers, as in the literature: k-nearest-neighbour and a
random forest over what a trace shows (Hayes and Danezis, "k-fingerprinting", 2016; Panchenko et al., "Website
Fingerprinting at Internet Scale", 2016, for the cumulative sizes).

An attacker who knows that several visits went to one page, because the same person loads it again and again, adds up
what each of them tells him: so it shows how fast fresh randomness is averaged away.

Each visit is judged by an attacker who has learned from others only (stratified cross-validation). The confidence
interval resamples pages, not visits: visits to a page are alike, and are no independent evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .results import generator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator

    from .visits import Visit
    from .wire import Seen

FOLDS = 5
SHOWN = 16  # records at the beginning, and points of the cumulative sizes
RESAMPLES = 2_000
LOOKS = (1, 5)  # visits to one page that the attacker sees


@dataclass(frozen=True)
class PagesRow:
    """One attacker, who sees `looks` visits to one page, against one defence: how often he is right, with a 95 %
    interval, and how often he would be by chance. And what the defence costs: bytes and seconds a visit, on average.

    `guesses[i][j]` is how often he took page i for page j, in the order of their names; kept of the forest that sees
    one visit.
    """

    defence: str
    attacker: str
    looks: int
    pages: int
    visits: int
    accuracy: float
    low: float
    high: float
    chance: float
    wire_bytes: float
    seconds: float
    guesses: tuple[tuple[int, ...], ...] | None = None

    @property
    def is_chance(self) -> bool:
        """Whether guessing would do as well, as far as this shows."""
        return self.low <= self.chance


def attackers(seed: int) -> Mapping[str, BaseEstimator]:
    """Both of them, by name."""
    return {
        "k-nn": make_pipeline(StandardScaler(), KNeighborsClassifier(n_neighbors=3, weights="distance")),
        "forest": RandomForestClassifier(n_estimators=100, random_state=seed),
    }


def attack(name: str, visits: Sequence[Visit], seed: int) -> list[PagesRow]:
    """Both attackers, who see one visit or five, against what was seen behind the defence of that name. Raises
    `ValueError` for fewer than two pages, or fewer visits to one than there are parts in the cross-validation."""
    labels = np.asarray([visit.page for visit in visits])
    pages, counts = np.unique(labels, return_counts=True)
    if len(pages) < 2 or counts.min() < FOLDS:
        raise ValueError(f"an attack needs two pages and {FOLDS} visits to each, at least")
    features = np.asarray([features_of(visit.records) for visit in visits])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    cost = float(np.mean([visit.wire_bytes for visit in visits])), float(np.mean([visit.seconds for visit in visits]))
    rows = []
    for attacker, estimator in attackers(seed).items():
        beliefs = cross_val_predict(estimator, features, labels, cv=folds, method="predict_proba")
        for looks in LOOKS:
            guesses = [_guesses(beliefs[labels == page], looks) for page in pages]
            by_page = np.asarray([counts[number] / counts.sum() for number, counts in enumerate(guesses)])
            low, high = interval(by_page, generator(seed, "resample", name, attacker, str(looks)))
            kept = _as_tuples(guesses) if (attacker, looks) == ("forest", 1) else None
            numbers = (len(pages), len(visits), float(by_page.mean()), low, high, 1 / len(pages))
            rows.append(PagesRow(name, attacker, looks, *numbers, *cost, kept))
    return rows


def _guesses(beliefs: NDArray[np.float64], looks: int) -> NDArray[np.int64]:
    """For which pages visits to one are taken, so many of them together."""
    groups = len(beliefs) // looks
    together = np.log(beliefs[: groups * looks] + 1e-3).reshape(groups, looks, -1).sum(axis=1)
    return np.bincount(together.argmax(axis=1), minlength=beliefs.shape[1])


def _as_tuples(guesses: Sequence[NDArray[np.int64]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(count) for count in counts) for counts in guesses)


def interval(by_page: NDArray[np.float64], rng: np.random.Generator) -> tuple[float, float]:
    """Where the mean lies in 95 of 100 resamples of the pages."""
    drawn = rng.integers(len(by_page), size=(RESAMPLES, len(by_page)))
    low, high = np.percentile(by_page[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def features_of(records: Sequence[Seen]) -> list[float]:
    """What an attacker makes of a trace: counts, sums and extremes of each direction, its duration, the first records,
    and the sum of signed sizes at regular places."""
    signed = np.asarray([seen.size if seen.outgoing else -seen.size for seen in records], dtype=np.float64)
    times = np.asarray([seen.time for seen in records])
    first = np.zeros(SHOWN)
    first[: len(signed)] = signed[:SHOWN]
    places = np.linspace(0, len(signed) - 1, SHOWN)
    cumulative = np.interp(places, np.arange(len(signed)), signed.cumsum())
    summary = [*_summary(signed[signed > 0]), *_summary(-signed[signed < 0]), float(times[-1])]
    return [*summary, *first.tolist(), *cumulative.tolist()]


def _summary(sizes: NDArray[np.float64]) -> list[float]:
    if not len(sizes):
        return [0.0] * 6
    return [
        float(len(sizes)),
        float(sizes.sum()),
        float(sizes.max()),
        float(sizes.min()),
        float(sizes.mean()),
        float(np.unique(sizes).size),
    ]
