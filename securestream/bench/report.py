"""What the figures look like: a table for the terminal, Markdown for the docs, JSON, a chart."""

from __future__ import annotations

import datetime as dt
import json
import statistics
from typing import TYPE_CHECKING, NamedTuple

from .alone import ALONE
from .contenders import CONTENDERS
from .routed import ROUTED
from .targets import TARGETS, Target
from .workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .run import Result

HOW_TO_READ = "Figures are the rounds' medians, and ratios the medians of the rounds' ratios."

# Whom the others are compared with, and the column's heading.
Bases = dict[str, str]
BASES: Bases = {"tcp": "of TCP", "tls": "of SSLStream"}
ROUTED_BASES: Bases = {"aegis_256": "of direct", "tcp_relayed": "of TCP relay"}


class Table(NamedTuple):
    """A workload: a heading with its unit, and a row a contender: name, median, spread, against the bases."""

    title: str
    columns: tuple[str, ...]
    rows: list[list[str]]


def tables(results: Sequence[Result]) -> list[Table]:
    """One a workload."""
    found = []
    for name in dict.fromkeys(result.workload for result in results):
        mine = [result for result in results if result.workload == name]
        by_name = {result.contender: result for result in mine}
        bases = ROUTED_BASES if WORKLOADS[name].routed else BASES
        rows = [_row(result, [by_name.get(base) for base in bases]) for result in mine]
        found.append(Table(heading(name), ("", "median", "spread", *bases.values()), rows))
    return found


def title_of(contender: str) -> str:
    """Its name for people."""
    return ALONE[contender].title if contender in ALONE else (CONTENDERS | ROUTED)[contender].title


def heading(workload: str) -> str:
    """The workload in words, with its unit."""
    return f"{WORKLOADS[workload].title}, {WORKLOADS[workload].unit}"


def _row(result: Result, bases: list[Result | None]) -> list[str]:
    shares = [_ratio(result, base) for base in bases]
    return [title_of(result.contender), f"{result.median:,.1f}", f"±{result.spread:.0%}", *shares]


def _ratio(result: Result, base: Result | None) -> str:
    ratios = [] if base is None else result.ratios_to(base)
    return f"{statistics.median(ratios):.2f} x" if ratios else "–"


# --- targets ----------------------------------------------------------------------------------------


TARGETS_TITLE = "What was wanted"
TARGETS_COLUMNS = ("", "wanted", "is", "in the rounds", "holds")


def reached(results: Sequence[Result]) -> list[list[str]]:
    """A row for each target that `results` speak of: what was wanted, what it is, within which bounds, yes or no."""
    by_name = {(result.workload, result.contender): result for result in results}
    found = [(target, target.reached(by_name)) for target in TARGETS]
    return [_target_row(target, figures) for target, figures in found if figures]


def _target_row(target: Target, figures: list[float]) -> list[str]:
    subject, median = f"{WORKLOADS[target.workload].title}: {title_of(target.contender)}", statistics.median(figures)
    bounds = f"{min(figures):.2f} to {max(figures):.2f}"
    return [subject, target.text, f"{median:.2f}", bounds, "yes" if target.holds(median) else "no"]


# --- files ------------------------------------------------------------------------------------------


def markdown(results: Sequence[Result], machine: Mapping[str, str], rounds: int) -> str:
    """The docs' page."""
    lines = [
        "# Beside others",
        "",
        f"Measured on {_today()}, rounds: {rounds}. {HOW_TO_READ}",
        "",
    ]
    lines += [f"* {name}: {value}" for name, value in machine.items()]
    for table in tables(results):
        lines += ["", f"## {table.title}", "", "| " + " | ".join(table.columns) + " |", "|---|---:|---:|---:|---:|"]
        lines += ["| " + " | ".join(cells) + " |" for cells in table.rows]
    if rows := reached(results):
        lines += ["", f"## {TARGETS_TITLE}", "", "| " + " | ".join(TARGETS_COLUMNS) + " |", "|---|---|---:|---:|---|"]
        lines += ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join(lines) + "\n"


def as_json(results: Sequence[Result], machine: Mapping[str, str]) -> str:
    """Everything that was measured."""
    figures = [
        {"workload": r.workload, "contender": r.contender, "unit": WORKLOADS[r.workload].unit, "figures": r.figures}
        for r in results
    ]
    return json.dumps({"date": _today(), "machine": dict(machine), "results": figures}, indent=2) + "\n"


def _today() -> str:
    return dt.datetime.now(dt.UTC).date().isoformat()


def plot(results: Sequence[Result], path: Path) -> None:
    """A chart a workload: medians as bars, all rounds as dots. The file's name says its format. What libsodium does
    alone is not in it: beside its bar the others could not be told apart."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(result.workload for result in results))
    figure, axes = plt.subplots(len(names), 1, figsize=(8, 0.8 + 2.4 * len(names)), squeeze=False)
    for axis, name in zip(axes[:, 0], names, strict=True):
        mine = [result for result in results if result.workload == name and result.contender not in ALONE][::-1]
        titles = [title_of(result.contender) for result in mine]
        colors = ["#2a6f97" if title.startswith("securestream") else "#a9a9a9" for title in titles]
        axis.barh(titles, [result.median for result in mine], color=colors)
        for place, result in enumerate(mine):
            axis.plot(result.figures, [place] * len(result.figures), "k.", markersize=4)
        better = "more is better" if WORKLOADS[name].more_is_better else "less is better"
        axis.set_title(f"{WORKLOADS[name].title} ({better})", loc="left", fontsize=10)
        axis.set_xlabel(WORKLOADS[name].unit)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
