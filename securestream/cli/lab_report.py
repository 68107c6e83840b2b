"""`securestream lab report`: sizes and the oracle, drawn, as one page and as JSON."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

import click

from ..lab import report as reports
from ..lab.results import Experiment, as_text
from ..lab.sweep import BadCluster, workers
from .common import Failure
from .lab_screen import (
    CAPTURE,
    CORES,
    CORPUS,
    CSV,
    PORT,
    SCHEDULER,
    SEED,
    choose_corpora,
    progress,
    result_file,
    this_command,
)

if TYPE_CHECKING:
    from pathlib import Path

_EXAMPLES = """\b
Examples:
  securestream lab report --out report.html
  securestream lab report --out r.html --corpus debian-packages --trials 30
"""


@click.command(epilog=_EXAMPLES, params=[CORPUS, CSV, CAPTURE, PORT, SEED, CORES, SCHEDULER])
@click.option(
    "--out",
    "html_file",
    metavar="FILE.html",
    required=True,
    type=result_file,
    help="The page goes here, and the figures beside it, with .json at the end.",
)
@click.option("--trials", type=click.IntRange(1, 10_000), default=10, show_default=True, help="As `lab oracle` has it.")
def report(
    corpora: tuple[str, ...],
    csv_file: Path | None,
    capture_file: Path | None,
    port: int | None,
    seed: int,
    cores: int | None,
    scheduler: str | None,
    html_file: Path,
    trials: int,
) -> None:
    """Runs `lab sizes` and `lab oracle` and writes one HTML page that needs nothing else, and a JSON file.

    The plots are of the first corpus. Without --corpus, --csv and --pcap: the pages of pydoc. It takes some minutes,
    most of them for the attacks on a compressed secret.
    """
    if html_file.suffix == ".json":
        raise click.UsageError("--out names the page; the JSON goes beside it")
    chosen = choose_corpora(corpora, csv_file, capture_file, port, seed)
    with progress(reports.steps(chosen)) as step:
        try:
            with workers(scheduler, cores) as executor:
                findings = reports.collect(chosen, trials, seed, executor, step)
        except (BadCluster, BrokenProcessPool) as exc:
            raise Failure(str(exc)) from None
    provenances = tuple(corpus.provenance for corpus in chosen)
    experiment = Experiment("report", this_command(), seed, provenances, findings.rows)
    html_file.write_text(reports.page(findings, reports.draw(findings), experiment), encoding="utf-8")
    json_file = html_file.with_suffix(".json")
    json_file.write_text(as_text(experiment), encoding="utf-8")
    click.echo(f"{html_file} and {json_file}")
