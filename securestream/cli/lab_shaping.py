"""`securestream lab shaping`: what the rhythm of records tells, and what hiding it costs."""

from __future__ import annotations

from typing import Unpack

import click

from ..lab.results import Provenance, digest_of
from ..lab.rhythm import BANDWIDTH, BLOCK, BURST, INTERVAL, RECORD, SECONDS, SHAPES, SHOWN, ShapingRow, bouts, shape
from .lab_measurement import MEASURING, Findings, Measuring, publish
from .lab_screen import Shown, percent, progress, provenance_line

_EXAMPLES = """\b
Examples:
  securestream lab shaping
  securestream lab shaping --seconds 600 --seed 7 --json shaping.json
"""

COLUMNS = ("shape", "tells", "r(1)", "records", "bytes", "content", "wait", "most", "bulk")
LEGEND = """\
tells: how well a second's bytes tell whether the program sends; 50%: not at all.
r(1): autocorrelation of the gaps between records; = where they are all alike. bytes: on the wire; content: in them.
wait, most: milliseconds from the call until the peer has the message, on average and at most.
bulk: bytes a second of a long transfer."""
NOTES = (
    f"A line of {BANDWIDTH:,.0f} bytes a second, without noise; messages padded to multiples of {BLOCK} bytes.",
    f"Cover: gaps of 0.5 s. Rate: {RECORD:,} bytes {1 / INTERVAL:g} times a second, in bursts of {BURST}.",
    "How well a listener can do who looks at more than the bytes of each second isn't said by this.",
)


@click.command(epilog=_EXAMPLES, params=[*MEASURING])
@click.option("--seconds", type=click.IntRange(10, 36_000), default=SECONDS, show_default=True, help="Of virtual time.")
def shaping(seconds: int, **given: Unpack[Measuring]) -> None:
    """Shows the wire with shaping off and on, and measures what it hides and costs.

    A program that talks in bouts sends through the real stream: with nothing, with cover traffic, and at a
    constant rate.
    """
    seed = given["seed"]
    messages = bouts(seed, seconds)
    text = f"messages of a program that talks in bouts, within {seconds} s"
    digest = digest_of([message.size for message in messages])
    provenance = Provenance("bouts", "generated", text, len(messages), digest, {"seed": str(seed)})
    rows = []
    with progress(len(SHAPES)) as step:
        for name in SHAPES:
            rows.append(shape(name, seed, seconds))
            step(name)
    found = Findings(
        kind="shaping",
        title="What rhythm tells",
        tables=[Shown(provenance_line(provenance), COLUMNS, [_cells(row) for row in rows])],
        legend=LEGEND,
        rows=rows,
        provenances=[provenance],
        notes=NOTES,
    )
    publish(found, given)
    _draw(rows)


def _cells(row: ShapingRow) -> list[str]:
    return [
        row.shape,
        percent(row.tells),
        "=" if row.autocorrelation is None else f"{row.autocorrelation[0]:.2f}",
        f"{row.records:,}",
        f"{row.wire_bytes:,}",
        percent(row.content_bytes / row.wire_bytes) if row.wire_bytes else "-",
        f"{row.latency_mean * 1_000:,.0f}",
        f"{row.latency_max * 1_000:,.0f}",
        f"{row.bulk_rate:,.0f}",
    ]


def _draw(rows: list[ShapingRow]) -> None:
    """The first seconds on the wire: each shape a line, each column the bytes of half a second."""
    columns = {row.shape: [0] * (2 * int(SHOWN)) for row in rows}
    for row in rows:
        for time, size in row.timeline:
            columns[row.shape][int(2 * time)] += size
    most = max(map(max, columns.values())) or 1
    width = max(map(len, columns))
    for name, sizes in columns.items():
        click.echo(f"{name.ljust(width)} |{''.join(' .:*#'[-(-4 * size // most)] for size in sizes)}|")
    click.echo(f"{' ' * width}  The first {SHOWN:g} s, a column each half second: the more bytes, the darker.")
