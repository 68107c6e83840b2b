"""`securestream lab sizes`: what each policy costs, and what a listener still learns of what was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import click

from ..lab.policies import STANDARD
from ..lab.sizes import LOOKS, LooksRow, SizesRow, measure_by_name, repeated_looks
from .common import Failure
from .lab_measurement import MEASURING, Findings, Measuring, publish
from .lab_screen import CAPTURE, CORPUS, CSV, POLICY, PORT, Shown, choose_corpora, percent, progress, provenance_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ..lab.corpora import Corpus

_EXAMPLES = """\b
Examples:
  securestream lab sizes --corpus pydoc-pages
  securestream lab sizes --corpus debian-packages --policy none --policy padme
  securestream lab sizes --csv sizes.csv --json sizes.json
  securestream lab sizes --corpus requests --policy random:4096 --looks
"""

COLUMNS = ("policy", "more", "mean", "95 %", "sizes", "bits", "min", "alone", "set", "guess")
LEGEND = """\
more: bytes on the wire, all together. mean, 95 %: as a share of each object's own. sizes: different ones seen.
bits: what a listener learns of which object it is, on average. min: what the best guesser gains, in bits.
alone: objects that nothing looks like. set: how many look alike, for the median object. guess: right at the best."""
NOTES = (
    "One message an object, all as likely, and a listener who knows all objects and the policy.",
    "Of keyed padding he has seen each object before, under the same key; else it is as random padding seen once.",
)


@click.command(epilog=_EXAMPLES, params=[CORPUS, CSV, CAPTURE, PORT, POLICY, *MEASURING])
@click.option("--looks", is_flag=True, help="Also: the same object seen 1 to 256 times.")
def sizes(
    corpora: tuple[str, ...],
    csv_file: Path | None,
    capture_file: Path | None,
    port: int | None,
    policies: tuple[str, ...],
    looks: bool,
    **given: Unpack[Measuring],
) -> None:
    """Measures what each policy costs and hides: one message for each object of a corpus.

    Without --corpus, --csv and --pcap: the pages of pydoc.
    """
    seed = given["seed"]
    chosen = choose_corpora(corpora, csv_file, capture_file, port, seed)
    names = policies or STANDARD
    rows = list(_measure(chosen, names, seed))
    again = [row for corpus in chosen for name in names for row in repeated_looks(name, corpus, seed)] if looks else []
    found = Findings(
        kind="sizes",
        title="What padding costs and hides",
        tables=[table for corpus in chosen for table in _tables(corpus, rows, again)],
        legend=LEGEND,
        rows=[*rows, *again],
        provenances=[corpus.provenance for corpus in chosen],
        notes=NOTES,
    )
    publish(found, given)


def _tables(corpus: Corpus, rows: Sequence[SizesRow], again: Sequence[LooksRow]) -> Iterator[Shown]:
    yield Shown(provenance_line(corpus.provenance), COLUMNS, [_cells(row) for row in rows if row.corpus == corpus.name])
    bits: dict[str, list[str]] = {}
    for row in again:
        if row.corpus == corpus.name:
            bits.setdefault(row.policy, [row.policy]).append(f"{row.leakage.bits_leaked:.2f}")
    if bits:
        columns = ["policy", *map(str, LOOKS)]
        yield Shown(f"{corpus.name}: bits, when the same object is seen so many times", columns, list(bits.values()))


def _measure(corpora: Sequence[Corpus], names: Sequence[str], seed: int) -> Iterator[SizesRow]:
    with progress(len(corpora) * len(names)) as step:
        for corpus in corpora:
            for name in names:
                try:
                    yield measure_by_name(name, corpus, seed)
                except ValueError as exc:
                    raise Failure(f"{name} on {corpus.name}: {exc}") from None
                step(f"{corpus.name}: {name}")


def _cells(row: SizesRow) -> list[str]:
    cost, leakage = row.cost, row.leakage
    return [
        row.policy,
        percent(cost.overhead),
        percent(cost.overhead_mean),
        percent(cost.overhead_p95),
        f"{leakage.classes:,}" if leakage.classes < 10**5 else f"{leakage.classes:.0e}",
        f"{leakage.bits_leaked:.2f}",
        f"{leakage.min_entropy_bits:.2f}",
        percent(leakage.alone),
        f"{leakage.quantiles[50]:,}",
        percent(leakage.best_guess),
    ]
