"""What the lab's commands share: options, progress bars, tables, the JSON file."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..lab.corpora import CORPORA, Corpus, CorpusMissing
from ..lab.results import Experiment, Provenance, as_text
from .common import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

seed_option = click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of all randomness.")
json_option = click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="All figures go here.",
)
corpus_option = click.option(
    "--corpus", "corpora", multiple=True, type=click.Choice(list(CORPORA)), help="May be given again."
)


def load_corpora(names: Sequence[str], seed: int) -> list[Corpus]:
    """The corpora by their names. Raises `Failure` for one that this machine doesn't have."""
    try:
        return [CORPORA[name].load(seed) for name in names]
    except CorpusMissing as exc:
        raise Failure(str(exc)) from None


def this_command() -> str:
    """The command line, for the record."""
    return " ".join(["securestream", *sys.argv[1:]])


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on standard output; the first column holds words, the others numbers."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    Console(markup=False, highlight=False).print(table)


def print_provenance(provenance: Provenance) -> None:
    """Where a corpus comes from, in a line."""
    made = {"real": "found here", "generated": "GENERATED", "yours": "yours"}[provenance.kind]
    seed = f", seed {provenance.details['seed']}" if "seed" in provenance.details else ""
    click.echo(f"{provenance.name} ({made}{seed}): {provenance.count:,} {provenance.text}")


def write_json(experiment: Experiment, json_file: Path | None) -> None:
    """Everything that was measured, where it is wanted."""
    if json_file is not None:
        json_file.write_text(as_text(experiment), encoding="utf-8")


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal's standard error. Gives what is called with the name of each step that is done."""
    columns = (TextColumn("{task.description:<45}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda step: bar.update(task, description=step, advance=1)
