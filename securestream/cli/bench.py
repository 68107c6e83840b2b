"""`securestream bench`: this project beside plain Trio TCP, trio.SSLStream and noiseprotocol."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..bench import report
from ..bench.alone import ALONE
from ..bench.contenders import CONTENDERS, make_keys
from ..bench.routed import ROUTED
from ..bench.run import Result, machine, plan, run
from ..bench.workloads import ALL, MODES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_EXAMPLES = """\b
Examples:
  securestream bench                        all but "router" and "size", about ten minutes
  securestream bench bulk handshake --rounds 5
  securestream bench handshake --json figures.json --plot figures.png
"""

_NAMES = [*(CONTENDERS | ROUTED), *ALONE]


def _chart(_context: click.Context, _parameter: click.Parameter, file: Path | None) -> Path | None:
    if file is not None and file.suffix not in (".png", ".svg"):
        raise click.BadParameter("a chart's name ends in .png or .svg")
    return file


@click.command(epilog=_EXAMPLES)
@click.argument("modes", metavar="[MODE]...", nargs=-1, type=click.Choice(["all", *MODES]))
@click.option("--rounds", type=click.IntRange(1, 99), default=3, show_default=True, help="How often each is measured.")
@click.option(
    "--only",
    metavar="NAME",
    multiple=True,
    type=click.Choice(_NAMES),
    help=f"Leave the others out: {', '.join(_NAMES)}.",
)
@click.option("--smallest", is_flag=True, help="As little as possible: to see that it works, not how fast.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
@click.option(
    "--plot",
    "plot_file",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_chart,
    help="Draw a chart (.png, .svg).",
)
@click.option(
    "--markdown", "markdown_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the table here."
)
def bench(
    modes: tuple[str, ...],
    rounds: int,
    only: tuple[str, ...],
    smallest: bool,
    json_file: Path | None,
    plot_file: Path | None,
    markdown_file: Path | None,
) -> None:
    """Measures this project beside Trio TCP, trio.SSLStream (TLS 1.3, mutual P-256) and PyPI's noiseprotocol.

    MODE is all, bulk, handshake, roundtrip, idle, many, router or size. "router" has a router between the two, and a
    relay for plain TCP; "size" streams 1 MB to 10 GB, and looks at speed and memory.

    Each figure comes from two fresh processes on loopback, and what libsodium does alone from this one: it seals
    records of 16 KiB, and its best counts. Within a round all take turns, so that a slow moment of the machine hits
    everybody; compare ratios, not figures from different runs.
    """
    _require_extra(plot_file)
    _check_files(json_file, markdown_file, plot_file)
    chosen = [ALL if mode == "all" else MODES[mode] for mode in modes or ["all"]]
    workloads = list(dict.fromkeys(name for names in chosen for name in names))
    if not list(plan(workloads, only, 1)):
        raise click.UsageError(f"nothing to measure: {', '.join(only)} is for other modes")
    where = machine()
    results = _measure(workloads, only, rounds, smallest=smallest)
    _show(results)
    if json_file is not None:
        json_file.write_text(report.as_json(results, where), encoding="utf-8")
    if markdown_file is not None:
        markdown_file.write_text(report.markdown(results, where, rounds), encoding="utf-8")
    if plot_file is not None:
        report.plot(results, plot_file)


def _require_extra(plot_file: Path | None) -> None:
    wanted = ["trustme", "noise", "OpenSSL", *(["matplotlib"] if plot_file else [])]
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise click.ClickException(f"{', '.join(missing)} not installed: pip install 'securestream[bench]'")


def _check_files(*files: Path | None) -> None:
    """Before minutes are spent on what could not be written then."""
    for file in files:
        if file is not None and not file.absolute().parent.is_dir():
            raise click.UsageError(f"no such folder: {file.parent}")


def _measure(workloads: list[str], only: Sequence[str], rounds: int, *, smallest: bool) -> list[Result]:
    columns = (TextColumn("{task.description:<45}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        make_keys(Path(folder))
        task = progress.add_task("", total=len(list(plan(workloads, only, rounds))))

        def show(workload: str, contender: str) -> None:
            progress.update(task, description=f"{workload}: {report.title_of(contender)}", advance=1)

        return trio.run(lambda: run(workloads, only, rounds, Path(folder), smallest=smallest, progress=show))


def _show(results: list[Result]) -> None:
    console = Console()
    for each in report.tables(results):
        console.print(_table(each.title, each.columns, each.rows, numbers=range(1, len(each.columns))))
    if rows := report.reached(results):
        console.print(_table(report.TARGETS_TITLE, report.TARGETS_COLUMNS, rows, numbers=(2, 3)))
    console.print(report.HOW_TO_READ)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[int]) -> Table:
    table = Table(title=title, title_justify="left", min_width=72)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number in numbers else "left")
    for cells in rows:
        table.add_row(*cells)
    return table


if __name__ == "__main__":
    sys.exit(bench())
