"""`lab report`: all experiments, as one page that needs nothing else, and as JSON."""

from __future__ import annotations

import html
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, TypeVar

from . import figures
from .defences import defence
from .oracle import ATTACKERS, OracleRow, attack
from .pages import PagesRow
from .pages import attack as attack_visits
from .policies import PER_RECORD, STANDARD
from .pydoc_pages import pydoc_pages
from .rhythm import SHAPES, ShapingRow, shape
from .sizes import LooksRow, SizesRow, measure_by_name, repeated_looks
from .visits import visit_pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor, Future

    from .corpora import Corpus
    from .figures import ReportFigure
    from .results import Experiment

T = TypeVar("T")

ORACLE_POLICIES = ("none", "block:128", "block:512", "full", "padme", "random:32", "keyed:32")
LOOKED_AT = ("padme", "random:512", "random:4096", "keyed:4096")
EXPOSED = "keyed:4096"
DEFENCES = ("none", "block:512", "padme", "power-of-two", "full", "rate:16384:10:50")
PAGES, VISITS = 30, 10


@dataclass(frozen=True)
class Findings:
    """All that the report shows. `looks`, `per_record` and the figures of one corpus are of the first one."""

    corpora: tuple[Corpus, ...]
    sizes: tuple[SizesRow, ...]
    per_record: tuple[SizesRow, ...]
    looks: tuple[LooksRow, ...]
    oracle: tuple[OracleRow, ...]
    pages: tuple[PagesRow, ...]
    shaping: tuple[ShapingRow, ...]

    @property
    def rows(self) -> tuple[object, ...]:
        """For `Experiment.rows`."""
        return (*self.sizes, *self.per_record, *self.looks, *self.oracle, *self.pages, *self.shaping)

    def of(self, corpus: Corpus) -> list[SizesRow]:
        """One corpus's rows."""
        return [row for row in self.sizes if row.corpus == corpus.name]


def steps(corpora: Sequence[Corpus]) -> int:
    """How often `collect` calls `done`."""
    of_first = 2 * len(figures.COMPARED) + len(LOOKED_AT)
    attacks = len(ORACLE_POLICIES) * len(ATTACKERS) + len(DEFENCES)
    return len(STANDARD) * len(corpora) + of_first + attacks + len(SHAPES)


def collect(
    corpora: Sequence[Corpus], trials: int, seed: int, executor: Executor, done: Callable[[str], None]
) -> Findings:
    """Runs everything. `done` is called behind each step with its name."""
    first = corpora[0]
    names = [prefix + name for name in figures.COMPARED for prefix in ("", PER_RECORD)]
    # What takes longest begins first.
    oracle = [
        (f"{policy}: {attacker}", executor.submit(attack, policy, attacker, trials, seed))
        for attacker in reversed(list(ATTACKERS))
        for policy in ORACLE_POLICIES
    ]
    pages = [(name, executor.submit(attack_pages, name, PAGES, VISITS, seed)) for name in DEFENCES]
    shaping = [(name, executor.submit(shape, name, seed)) for name in SHAPES]
    sizes = [
        (f"{corpus.name}: {name}", executor.submit(measure_by_name, name, corpus, seed))
        for corpus in corpora
        for name in STANDARD
    ]
    records = [(name, executor.submit(measure_by_name, name, first, seed)) for name in names]
    looks = [(f"looks: {name}", executor.submit(repeated_looks, name, first, seed)) for name in LOOKED_AT]
    return Findings(
        corpora=tuple(corpora),
        sizes=tuple(_await(sizes, done)),
        per_record=tuple(_await(records, done)),
        looks=tuple(row for rows in _await(looks, done) for row in rows),
        oracle=tuple(_await(oracle, done)),
        pages=tuple(row for rows in _await(pages, done) for row in rows),
        shaping=tuple(_await(shaping, done)),
    )


def attack_pages(name: str, pages: int, visits: int, seed: int) -> list[PagesRow]:
    """The attack of `lab pages` against the defence of that name. Raises `ValueError`."""
    return attack_visits(name, visit_pages(pydoc_pages(pages), visits, defence(name, seed), seed), seed)


def _await(futures: Sequence[tuple[str, Future[T]]], done: Callable[[str], None]) -> Iterator[T]:
    for name, future in futures:
        yield future.result()
        done(name)


# --- the page ---------------------------------------------------------------------------------------

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>What padding buys</title><style>
{style}</style></head>
<body>
{body}
</body></html>
"""
_STYLE = files(__package__).joinpath("report.css").read_text(encoding="utf-8")
COLUMNS = (
    ("policy", ""),
    ("more", "bytes on the wire, all objects together"),
    ("mean", "of each object's own size"),
    ("95 %", "of each object's own size"),
    ("sizes", "different ones on the wire"),
    ("bits", "leaked, on average"),
    ("min-bits", "min-entropy leakage"),
    ("alone", "objects that nothing looks like"),
    ("set", "objects that look alike, for the median object"),
    ("guess", "right, at the best"),
)


def draw(findings: Findings) -> list[ReportFigure]:
    """All figures, in the report's order."""
    first = findings.corpora[0]
    rows = findings.of(first)
    exposed = next(row for row in rows if row.policy == EXPOSED)
    return [
        figures.pareto(first, rows),
        figures.cost(first, rows),
        figures.anonymity(first, rows),
        figures.staircase(),
        figures.histograms(first),
        figures.per_record(first, findings.per_record),
        figures.repeated(first, findings.looks, exposed),
        figures.oracle(findings.oracle),
        figures.fingerprints(findings.pages),
        figures.confusion(findings.pages),
        figures.timeline(findings.shaping),
    ]


def page(findings: Findings, drawn: Sequence[ReportFigure], experiment: Experiment) -> str:
    """The whole report as one HTML document."""
    made_with = ", ".join(f"{name} {number}" for name, number in experiment.versions.items())
    command = f"<code>{html.escape(experiment.command)}</code>, seed {experiment.seed}"
    body = [
        "<h1>What padding buys</h1>",
        f"<p>Made by {command}, with {html.escape(made_with)}.</p>",
        *map(_corpus, findings.corpora),
        '<div class="figures">',
        *map(_figure, drawn),
        "</div>",
        *(_sizes_table(corpus, findings.of(corpus)) for corpus in findings.corpora),
        _oracle_table(findings.oracle),
        _shaping_table(findings.shaping),
    ]
    return _PAGE.replace("{style}", _STYLE).replace("{body}", "\n".join(body))


def _corpus(corpus: Corpus) -> str:
    source = corpus.provenance
    made = {"real": "found on this machine", "generated": "<strong>generated</strong>", "yours": "yours"}[source.kind]
    details = "; ".join(
        [*(f"{name}: {value[:120]}" for name, value in source.details.items()), f"data {source.digest}"]
    )
    return (
        f"<p><strong>{html.escape(source.name)}</strong>, {made}: {source.count:,} {html.escape(source.text)}. "
        f"<small>{html.escape(details)}</small></p>"
    )


def _figure(figure: ReportFigure) -> str:
    title = html.escape(figure.title)
    svg = figure.svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
    return (
        f"<figure><h2>{title}</h2>{svg}<figcaption><p><strong>How it was made.</strong> {html.escape(figure.how)}</p>"
        f"<aside><strong>What this does not show.</strong> {html.escape(figure.limits)}</aside></figcaption></figure>"
    )


def _sizes_table(corpus: Corpus, rows: Sequence[SizesRow]) -> str:
    return _table(f"Sizes: {corpus.name}", COLUMNS, [_sizes_cells(row) for row in rows])


def _sizes_cells(row: SizesRow) -> list[str]:
    cost, leakage = row.cost, row.leakage
    return [
        row.policy,
        *(f"{share:.2%}" for share in (cost.overhead, cost.overhead_mean, cost.overhead_p95)),
        f"{leakage.classes:,}",
        f"{leakage.bits_leaked:.2f}",
        f"{leakage.min_entropy_bits:.2f}",
        f"{leakage.alone:.2%}",
        f"{leakage.quantiles[50]:,}",
        f"{leakage.best_guess:.2%}",
    ]


def _oracle_table(rows: Sequence[OracleRow]) -> str:
    columns = (
        ("policy", ""),
        ("attacker", ""),
        ("requests", "for one symbol"),
        ("right", f"of {rows[0].trials}; chance is {rows[0].chance:.1%}"),
        ("between", "95 %, Wilson"),
        ("a byte costs", "requests"),
    )
    cells = [
        [
            row.policy,
            row.attacker,
            f"{row.requests:,}",
            f"{row.success:.0%}",
            f"{row.low:.0%} and {row.high:.0%}",
            "" if row.requests_per_byte is None else f"{row.requests_per_byte:,.0f}",
        ]
        for row in sorted(rows, key=lambda row: (ORACLE_POLICIES.index(row.policy), row.requests))
    ]
    return _table("A compressed secret", columns, cells)


def _shaping_table(rows: Sequence[ShapingRow]) -> str:
    columns = (
        ("shaping", ""),
        ("tells", "seconds in which the program talks; 50 %: not at all"),
        ("bytes", "on the wire"),
        ("content", "share of these bytes"),
        ("latency", "mean, ms"),
        ("at most", "ms"),
        ("bulk", "bytes a second"),
    )
    cells = [
        [
            row.shape,
            f"{row.tells:.0%}",
            f"{row.wire_bytes:,}",
            f"{row.content_bytes / row.wire_bytes:.1%}" if row.wire_bytes else "",
            f"{row.latency_mean * 1_000:,.0f}",
            f"{row.latency_max * 1_000:,.0f}",
            f"{row.bulk_rate:,.0f}",
        ]
        for row in rows
    ]
    return _table("The rhythm on the wire", columns, cells)


def _table(title: str, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(
        f'<th scope="col">{html.escape(name)}<small>{html.escape(note)}</small></th>' for name, note in columns
    )
    lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<h2>{html.escape(title)}</h2><div class="table" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )
