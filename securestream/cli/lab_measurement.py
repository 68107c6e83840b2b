"""What the lab's measurements share: their options, and what becomes of what they find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import click

from ..lab.results import Experiment, Provenance
from .lab_screen import JSON, MARKDOWN, SEED, Shown, print_table, provenance_line, this_command, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MEASURING: tuple[click.Option, ...] = (SEED, JSON, MARKDOWN)


class Measuring(TypedDict):
    """The values of the options `MEASURING`."""

    seed: int
    json_file: Path | None
    markdown_file: Path | None


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a measurement has found.

    `kind`     its command
    `title`    of the page that it makes
    `legend`   says what the columns are; printed below the tables
    `notes`    what has to be known of the figures, wherever they are kept
    """

    kind: str
    title: str
    tables: Sequence[Shown]
    legend: str
    rows: Sequence[object]
    provenances: Sequence[Provenance] = ()
    notes: Sequence[str] = ()


def publish(found: Findings, given: Measuring) -> None:
    """Prints the tables, and writes them and all figures to the files that are wanted."""
    for table in found.tables:
        print_table(table)
    click.echo(found.legend)
    experiment = Experiment(
        found.kind, this_command(), given["seed"], tuple(found.provenances), tuple(found.rows), tuple(found.notes)
    )
    write_json(experiment, given["json_file"])
    if given["markdown_file"] is not None:
        given["markdown_file"].write_text(_page(found), encoding="utf-8")


def _page(found: Findings) -> str:
    """The same tables as a page of the documentation."""
    notes = dict.fromkeys((*map(provenance_line, found.provenances), *found.legend.splitlines(), *found.notes))
    lines = [f"# {found.title}", "", f"Made by `{this_command()}`.", "", *(f"* {note}" for note in notes)]
    for table in found.tables:
        head = f"| {' | '.join(table.columns)} |"
        rows = [f"| {' | '.join(row)} |" for row in table.rows]
        lines += ["", f"## {table.title}", "", head, "|---|" + "---:|" * (len(table.columns) - 1), *rows]
    return "\n".join(lines) + "\n"
