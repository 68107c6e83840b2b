"""`securestream lab corpora`: what there is to measure on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..lab.corpora import CORPORA, CorpusMissing
from ..lab.results import Experiment
from .lab_screen import JSON, SEED, progress, provenance_line, this_command, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from ..lab.corpora import Corpus

_EXAMPLES = """\b
Examples:
  securestream lab corpora
  securestream lab corpora --json corpora.json
"""


@click.command(epilog=_EXAMPLES, params=[SEED, JSON])
def corpora(seed: int, json_file: Path | None) -> None:
    """Lists what there is to measure on, and where it comes from."""
    found: list[Corpus] = []
    missing: list[str] = []
    with progress(len(CORPORA)) as step:
        for name, source in CORPORA.items():
            try:
                found.append(source.load(seed))
            except CorpusMissing as exc:
                missing.append(f"{name}: {exc}")
            step(name)
    for corpus in found:
        click.echo(provenance_line(corpus.provenance))
    for line in missing:
        click.echo(f"not here: {line}")
    experiment = Experiment("corpora", this_command(), seed, tuple(corpus.provenance for corpus in found), ())
    write_json(experiment, json_file)
