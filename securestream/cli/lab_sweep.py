"""`securestream lab sweep`: policies x corpora x seeds, on all cores or on a cluster."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import click

from ..lab.oracle import ATTACKERS
from ..lab.policies import STANDARD
from ..lab.results import Experiment
from ..lab.sweep import BadCluster, cells_of, run_cells, workers
from .common import Failure
from .lab_screen import CORES, CORPUS, JSON, POLICY, SCHEDULER, SEED, load_corpora, progress, this_command, write_json

_EXAMPLES = """\b
Examples:
  securestream lab sweep --out results --seeds 5 --json sweep.json
  securestream lab sweep --out results --policy padme --attacker cliff
  securestream lab sweep --out results --scheduler tcp://127.0.0.1:8786
"""


@click.command(epilog=_EXAMPLES, params=[POLICY, CORPUS, SEED, CORES, SCHEDULER, JSON])
@click.option(
    "--attacker",
    "attackers",
    metavar="NAME",
    multiple=True,
    type=click.Choice(list(ATTACKERS)),
    help="`lab oracle` too.",
)
@click.option("--seeds", type=click.IntRange(1, 10_000), default=3, show_default=True, help="How many, from --seed on.")
@click.option("--trials", type=click.IntRange(1, 10_000), default=10, show_default=True, help="As `lab oracle` has it.")
@click.option(
    "--out",
    "folder",
    metavar="FOLDER",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="A file for each cell goes here. What is there already is not run again.",
)
def sweep(
    policies: tuple[str, ...],
    corpora: tuple[str, ...],
    attackers: tuple[str, ...],
    seeds: int,
    trials: int,
    seed: int,
    folder: Path,
    cores: int | None,
    scheduler: str | None,
    json_file: Path | None,
) -> None:
    """Runs `lab sizes` for policies x corpora x seeds, and `lab oracle` for policies x attackers x seeds.

    Stopped, it is taken up again by the same command. The results are the same, bit for bit, on one core, on many
    and on a cluster; a cluster's workers need the same versions of everything.

    Without --corpus: the pages of pydoc and generated requests.
    """
    chosen = load_corpora(corpora or ("pydoc-pages", "requests"), seed)
    cells = cells_of(policies or STANDARD, chosen, attackers, range(seed, seed + seeds), trials)
    with progress(len(cells)) as step:
        try:
            with workers(scheduler, cores) as executor:
                rows = run_cells(cells, chosen, folder, executor, lambda cell: step(f"{cell.policy}, seed {cell.seed}"))
        except (BadCluster, BrokenProcessPool, ValueError) as exc:
            raise Failure(str(exc)) from None
    click.echo(f"{len(cells)} cells in {folder}")
    provenances = tuple(corpus.provenance for corpus in chosen)
    write_json(Experiment("sweep", this_command(), seed, provenances, tuple(rows)), json_file)
