"""What the figures look like: a table for the terminal, Markdown for the docs, JSON, a chart."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

from .contenders import CONTENDERS
from .workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .run import Result

BASE, RIVAL = "tcp", "tls"


def rows(results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """A heading a workload, and a row a contender: name, median, spread, against TCP, against TLS."""
    table = []
    for name in dict.fromkeys(result.workload for result in results):
        mine = [result for result in results if result.workload == name]
        medians = {result.contender: result.median for result in mine}
        table.append((heading(name), [_row(result, medians) for result in mine]))
    return [(title, cells) for title, group in table for cells in group]


def heading(workload: str) -> str:
    """The workload in words, with its unit."""
    return f"{WORKLOADS[workload].title}, {WORKLOADS[workload].unit}"


def _row(result: Result, medians: dict[str, float]) -> list[str]:
    return [
        CONTENDERS[result.contender].title,
        f"{result.median:,.1f}",
        f"±{result.spread:.0%}",
        ratio(result.median, medians.get(BASE)),
        ratio(result.median, medians.get(RIVAL)),
    ]


def ratio(figure: float, base: float | None) -> str:
    """How often `base` goes into `figure`, as text."""
    return f"{figure / base:.2f} x" if base else ""


COLUMNS = ("", "median", "spread", "of TCP", "of SSLStream")


def markdown(results: Sequence[Result], machine: dict[str, str], rounds: int) -> str:
    """The docs' page."""
    lines = [
        "# Beside others",
        "",
        f"Measured on {_today()}, medians of {rounds} rounds, contenders in turn within each round.",
        "",
    ]
    lines += [f"* {name}: {value}" for name, value in machine.items()]
    title = None
    for group, cells in rows(results):
        if group != title:
            title = group
            lines += ["", f"## {title}", "", "| " + " | ".join(COLUMNS) + " |", "|---|---:|---:|---:|---:|"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def as_json(results: Sequence[Result], machine: dict[str, str]) -> str:
    """Everything that was measured."""
    figures = [
        {"workload": r.workload, "contender": r.contender, "unit": WORKLOADS[r.workload].unit, "figures": r.figures}
        for r in results
    ]
    return json.dumps({"date": _today(), "machine": machine, "results": figures}, indent=2) + "\n"


def _today() -> str:
    return dt.datetime.now(dt.UTC).date().isoformat()


def plot(results: Sequence[Result], path: Path) -> None:
    """A chart a workload: medians as bars, all rounds as dots. The file's name says its format."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(result.workload for result in results))
    figure, axes = plt.subplots(len(names), 1, figsize=(8, 0.8 + 2.4 * len(names)), squeeze=False)
    for axis, name in zip(axes[:, 0], names, strict=True):
        mine = [result for result in results if result.workload == name][::-1]
        titles = [CONTENDERS[result.contender].title for result in mine]
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
