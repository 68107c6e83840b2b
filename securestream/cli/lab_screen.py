"""What the lab's commands share: options, progress bars, tables, the JSON file."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..lab.corpora import CORPORA, Corpus, CorpusMissing
from ..lab.policies import lab_policy
from ..lab.results import Experiment, Provenance, as_text
from ..lab.traces import BadTrace, Trace, read_capture, read_csv
from .common import BadFile, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def policy_name(text: str) -> str:
    """A policy's name. For click: raises `click.BadParameter`, which says what would do."""
    try:
        lab_policy(text, 0)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None
    return text


def result_file(text: str) -> Path:
    """A file to write, in a folder that is there: what was measured for minutes isn't lost at the end. For click:
    raises `click.BadParameter`."""
    path = Path(text)
    if path.is_dir():
        raise click.BadParameter(f"{path} is a folder")
    if not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {path.parent}")
    return path


_EXISTING: click.Path = click.Path(exists=True, dir_okay=False, path_type=Path)

SEED: click.Option = click.Option(
    ["--seed"], type=click.IntRange(0), default=1, show_default=True, help="Of all randomness."
)
JSON: click.Option = click.Option(
    ["--json", "json_file"], metavar="FILE", type=result_file, help="All figures go here."
)
MARKDOWN: click.Option = click.Option(
    ["--markdown", "markdown_file"], metavar="FILE", type=result_file, help="The tables go here, for a documentation."
)
POLICY: click.Option = click.Option(
    ["--policy", "policies"],
    metavar="NAME",
    multiple=True,
    type=policy_name,
    help="As padme, block:512, random:4096, per-record:padme. May be given again. Default: all kinds.",
)
CORPUS: click.Option = click.Option(
    ["--corpus", "corpora"],
    metavar="NAME",
    multiple=True,
    type=click.Choice(list(CORPORA)),
    help="One of `securestream lab corpora`. May be given again.",
)
CSV: click.Option = click.Option(
    ["--csv", "csv_file"], metavar="FILE", type=_EXISTING, help="Sizes of yours, or time,direction,size."
)
CAPTURE: click.Option = click.Option(
    ["--pcap", "capture_file"], metavar="FILE", type=_EXISTING, help="A capture of yours (needs tshark and --port)."
)
PORT: click.Option = click.Option(["--port"], type=click.IntRange(1, 65_535), help="The server's port in the capture.")

CORES: click.Option = click.Option(
    ["--cores"], type=click.IntRange(1, 1_024), help="Processes on this machine. Default: one for each core."
)
SCHEDULER: click.Option = click.Option(
    ["--scheduler"], metavar="ADDRESS", help="In place of this machine: a Dask cluster's scheduler."
)


def load_corpora(names: Sequence[str], seed: int) -> list[Corpus]:
    """The corpora by their names. Raises `Failure` for one that this machine doesn't have."""
    try:
        return [CORPORA[name].load(seed) for name in names]
    except CorpusMissing as exc:
        raise Failure(str(exc)) from None


def choose_corpora(
    names: Sequence[str], csv_file: Path | None, capture_file: Path | None, port: int | None, seed: int
) -> list[Corpus]:
    """The user's files, and the corpora by their names; where neither is given, the pages of pydoc. Raises `BadFile`,
    `Failure`, and `click.UsageError` for a capture without a port."""
    yours = [Corpus(tuple(trace.sizes), trace.provenance) for trace in _read_files(csv_file, capture_file, port)]
    return [*yours, *load_corpora(names or (() if yours else ("pydoc-pages",)), seed)]


def _read_files(csv_file: Path | None, capture_file: Path | None, port: int | None) -> list[Trace]:
    if capture_file is not None and port is None:
        raise click.UsageError("--pcap needs --port, the server's")
    try:
        traces = [read_csv(csv_file)] if csv_file is not None else []
        if capture_file is not None and port is not None:
            traces.append(read_capture(capture_file, port))
    except BadTrace as exc:
        raise BadFile(str(exc)) from None
    return traces


def this_command() -> str:
    """The command line, for the record."""
    return " ".join(["securestream", *sys.argv[1:]])


class Shown(NamedTuple):
    """A table; the first column holds words, the others numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def print_table(table: Shown) -> None:
    """On standard output."""
    lines = [table.columns, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    click.echo(table.title)
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        click.echo(" ".join([line[0].ljust(widths[0]), *cells]))


def percent(share: float) -> str:
    """A share in few characters: 0.12%, 1.2%, 12%, 1234%."""
    digits = 2 if share < 0.01 else 1 if share < 0.1 else 0
    return f"{share:.{digits}%}"


def provenance_line(provenance: Provenance) -> str:
    """Where a corpus comes from."""
    made = {"real": "found here", "generated": "GENERATED", "yours": "yours"}[provenance.kind]
    seed = f", seed {provenance.details['seed']}" if "seed" in provenance.details else ""
    return f"{provenance.name} ({made}{seed}): {provenance.count:,} {provenance.text}"


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
