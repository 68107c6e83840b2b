"""`securestream lab pages`: can a listener tell which page was fetched?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import click

from ..lab.defences import defence
from ..lab.pages import FOLDS, PagesRow, attack
from ..lab.pydoc_pages import pydoc_pages
from ..lab.results import Provenance, digest_of
from ..lab.visits import MEAN_DELAY, MOST_COOKIE, MOST_OWN_PART, visit_pages
from .common import Failure
from .lab_measurement import MEASURING, Findings, Measuring, publish
from .lab_screen import Shown, percent, progress, provenance_line

if TYPE_CHECKING:
    from collections.abc import Callable

_EXAMPLES = """\b
Examples:
  securestream lab pages
  securestream lab pages --pages 100 --visits 30 --json pages.json
  securestream lab pages --policy padme --policy rate:4096:10:50
"""

STANDARD = (
    *("none", "full", "block:512", "block:4096", "power-of-two", "padme", "per-record:padme", "random:4096"),
    *("keyed:4096", "rate:16384:10", "rate:16384:10:10", "rate:16384:10:50"),
)
COLUMNS = ("defence", "k-nn", "forest", "95 %", "of 5", "95 %", "bytes", "more", "s")
LEGEND = """\
k-nn, forest: how often each attacker names the page from one visit. of 5: the forest, from five visits to one page.
95 %: the interval of what stands before it, pages resampled. =: guessing would do as well.
bytes, s: a visit's, on average. more: than with the first defence."""
NOTES = (
    "Closed world: the attacker knows all pages and that it is one of them. Real ones know less.",
    f"Generated, at each visit: a cookie of 0 to {MOST_COOKIE} bytes and 0 to {MOST_OWN_PART} bytes of the page.",
    f"Generated, too: delays of the server's, {MEAN_DELAY} s on average. There is no network, and no noise of one.",
    "Keyed padding gives each content a length of its own, here for its head alone, and he has learned them all.",
    "A constant rate without bursts shows how long a connection lasts; here one lasts as long as its page.",
)


def _defence_name(text: str) -> str:
    try:
        defence(text, 0)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None
    return text


@click.command(epilog=_EXAMPLES, params=[*MEASURING])
@click.option(
    "--policy",
    "names",
    metavar="NAME",
    multiple=True,
    type=_defence_name,
    help="As padme, block:512, rate:BYTES:MILLISECONDS[:BURST]. May be given again. Default: all kinds.",
)
@click.option("--pages", "count", type=click.IntRange(2), default=60, show_default=True, help="Of pydoc's, so many.")
@click.option("--visits", type=click.IntRange(FOLDS), default=20, show_default=True, help="To each page, so many.")
def pages(names: tuple[str, ...], count: int, visits: int, **given: Unpack[Measuring]) -> None:
    """Attacks real transfers: which of pydoc's pages was fetched?

    Each visit is a connection through the real stream; the attacker sees its records: sizes, directions, times.
    """
    site, seed = pydoc_pages(count), given["seed"]
    text = "HTML pages by pydoc, over the real stream"
    sizes = [len(page) for page in site.values()]
    provenance = Provenance("pydoc-pages", "real", text, len(site), digest_of(sizes), {"seed of visits": str(seed)})
    chosen = tuple(dict.fromkeys(names or STANDARD))
    rows: list[PagesRow] = []
    with progress(len(chosen) * len(site) * visits) as step:
        for name in chosen:
            rows += _rows(name, site, visits, seed, step)
    title = f"{provenance_line(provenance)}; {visits} visits to each; by chance: {percent(1 / len(site))}"
    cells = [_cells([row for row in rows if row.defence == name], rows[0]) for name in chosen]
    found = Findings(
        kind="pages",
        title="Which page was it?",
        tables=[Shown(title, COLUMNS, cells)],
        legend=LEGEND,
        rows=rows,
        provenances=[provenance],
        notes=NOTES,
    )
    publish(found, given)


def _rows(name: str, site: dict[str, bytes], visits: int, seed: int, step: Callable[[str], None]) -> list[PagesRow]:
    try:
        return attack(name, visit_pages(site, visits, defence(name, seed), seed, lambda: step(name)), seed)
    except ValueError as exc:
        raise Failure(f"{name}: {exc}") from None


def _cells(rows: list[PagesRow], first: PagesRow) -> list[str]:
    nearest, _, *forests = rows
    told = [_told(nearest)]
    for row in forests:
        told += [_told(row), f"{percent(row.low)}-{percent(row.high)}"]
    more = nearest.wire_bytes / first.wire_bytes - 1
    return [nearest.defence, *told, f"{nearest.wire_bytes:,.0f}", percent(more), f"{nearest.seconds:.2f}"]


def _told(row: PagesRow) -> str:
    return ("= " if row.is_chance else "") + percent(row.accuracy)
