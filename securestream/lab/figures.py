"""The report's figures: each a drawing, how it was made, and what it does not show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter

from .drawing import COLOURS, LINES, MARKERS, drawing
from .policies import PER_RECORD, lab_policy
from .rhythm import SHOWN
from .sizes import LOOKS
from .wire import flush_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .corpora import Corpus
    from .oracle import OracleRow
    from .pages import PagesRow
    from .rhythm import ShapingRow
    from .sizes import LooksRow, SizesRow

STEPPED = ("none", "block:512", "power-of-two", "padme")
CONFUSED = ("none", "padme")
COMPARED = ("block:512", "power-of-two", "padme")

_SIZES_LIMITS = (
    "One message an object, seen once, by a listener who knows all objects. Real traffic is many messages, and their "
    "number, order and times tell more. Other corpora give other figures: measure your own."
)


@dataclass(frozen=True)
class ReportFigure:
    """One figure of the report. `limits` goes into the box "what this does not show"."""

    title: str
    svg: str
    how: str
    limits: str


def _as_percent(value: float, place: int | None) -> str:
    return f"{value * 100:g}%"


def pareto(corpus: Corpus, rows: Sequence[SizesRow]) -> ReportFigure:
    """Overhead against leakage."""
    with drawing(height=5.2) as plot:
        for number, row in enumerate(rows):
            plot.axis.plot(
                max(row.cost.overhead_mean, 1e-4),
                row.leakage.bits_leaked,
                MARKERS[number % len(MARKERS)],
                color=COLOURS[number % len(COLOURS)],
                label=row.policy,
                markersize=8,
                fillstyle="full" if number < len(MARKERS) else "none",  # from here on the shapes come again
            )
        plot.axis.set_xscale("log")
        plot.axis.set_xlabel("mean overhead of an object (0.01% stands for none)")
        plot.axis.xaxis.set_major_formatter(FuncFormatter(_as_percent))
        plot.axis.set_ylabel(f"bits leaked, of {np.log2(len(corpus.sizes)):.1f}")
        plot.axis.set_ylim(bottom=0)
        plot.legend_below()
    return ReportFigure(
        "Overhead against leakage",
        plot.svg,
        f"Each policy on the {len(corpus.sizes):,} sizes of {corpus.name}. Down and to the left is better. Keyed "
        "padding is shown against a listener who has seen each object before, under the same key: it hides "
        "next to nothing from him.",
        _SIZES_LIMITS,
    )


def anonymity(corpus: Corpus, rows: Sequence[SizesRow]) -> ReportFigure:
    """How many objects look alike, as a distribution."""
    shares = np.linspace(0, 1, 101)
    with drawing(height=5.0) as plot:
        for number, row in enumerate(rows):
            plot.axis.step(
                row.leakage.quantiles,
                shares,
                LINES[number // len(COLOURS) % len(LINES)],
                color=COLOURS[number % len(COLOURS)],
                label=row.policy,
                where="post",
            )
        plot.axis.set_xscale("log")
        plot.axis.set_xlabel("objects that look alike (anonymity set)")
        plot.axis.set_ylabel("share of objects in a set this large or smaller")
        plot.legend_below()
    return ReportFigure(
        "Anonymity sets",
        plot.svg,
        f"For each object of {corpus.name}: how many objects could be behind what the listener sees. Lines further to "
        "the right are better; where a line starts high at 1, so many objects are alone.",
        _SIZES_LIMITS + " That many look alike helps little if one of them is far more likely than the others.",
    )


def staircase() -> ReportFigure:
    """True size to wire size."""
    sizes = range(1, 4_097, 4)
    with drawing() as plot:
        for number, name in enumerate(STEPPED):
            policy = lab_policy(name, 0)
            wire = [sum(flush_records(policy, size)) for size in sizes]
            plot.axis.plot(sizes, wire, color=COLOURS[number], label=name, linewidth=1.3)
        plot.axis.set_xlabel("bytes of one send_all")
        plot.axis.set_ylabel("bytes on the wire")
        plot.legend_below()
    return ReportFigure(
        "True size to size on the wire",
        plot.svg,
        "What the code that lays out records makes of one flush, for sizes from 1 to 4,096 bytes. Sizes on the same "
        "step can't be told apart.",
        "Policies that draw at random, which have no steps, and full records: 16,384 bytes all along.",
    )


def histograms(corpus: Corpus, policies: Sequence[str] = ("none", "padme", "power-of-two")) -> ReportFigure:
    """Sizes before and after."""
    bins = np.geomspace(20, max(corpus.sizes) * 2.2, 160)
    with drawing(len(policies), height=5.4) as plot:
        for number, (axis, name) in enumerate(zip(plot.axes, policies, strict=True)):
            policy = lab_policy(name, 0)
            wire = [sum(flush_records(policy, size)) for size in corpus.sizes]
            axis.hist(wire, bins=bins.tolist(), color=COLOURS[number])
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_ylabel("objects")
            axis.set_title(f"padding: {name}", loc="left", fontsize=10)
        plot.axes[-1].set_xlabel("bytes on the wire")
    return ReportFigure(
        "Sizes on the wire, before and after",
        plot.svg,
        f"The {len(corpus.sizes):,} objects of {corpus.name}, in 160 bins of equal ratio. Fewer and "
        "higher bars hide more.",
        "Differences within a bin: without padding nearly every byte of difference shows.",
    )


def per_record(corpus: Corpus, rows: Sequence[SizesRow]) -> ReportFigure:
    """What is lost by padding each record and not the whole flush."""
    bits = {row.policy: row.leakage.bits_leaked for row in rows}
    places = np.arange(len(COMPARED))
    with drawing() as plot:
        for number, (prefix, label) in enumerate((("", "for a whole flush"), (PER_RECORD, "for each record"))):
            heights = [bits[prefix + name] for name in COMPARED]
            bars = plot.axis.bar(places + 0.4 * number, heights, 0.38, color=COLOURS[number], label=label)
            plot.axis.bar_label(bars, fmt="%.1f")
        plot.axis.set_xticks(places + 0.2, COMPARED)
        plot.axis.set_xlabel("padding rule")
        plot.axis.set_ylabel("bits leaked")
        plot.legend_below()
    return ReportFigure(
        "Padding a flush, or each record",
        plot.svg,
        f"The same rule asked once for all that one send_all puts out, and for each record alone, on {corpus.name}. "
        "Records are padded alone where a callable with OpenSSL's arguments decides.",
        "Objects of less than one record, for which both are the same.",
    )


def repeated(corpus: Corpus, rows: Sequence[LooksRow], exposed: SizesRow) -> ReportFigure:
    """Fresh randomness wears off. `exposed` is keyed padding's row against who has seen each object before."""
    names = list(dict.fromkeys(row.policy for row in rows))
    with drawing() as plot:
        for number, name in enumerate(names):
            bits = [row.leakage.bits_leaked for row in rows if row.policy == name]
            plot.axis.plot(LOOKS, bits, MARKERS[number] + LINES[number % 4], color=COLOURS[number], label=name)
        bits = [exposed.leakage.bits_leaked] * len(LOOKS)
        plot.axis.plot(LOOKS, bits, LINES[3], color=COLOURS[6], label=f"{exposed.policy}, seen before")
        plot.axis.set_xscale("log", base=2)
        plot.axis.set_xticks(LOOKS, [str(looks) for looks in LOOKS])
        plot.axis.set_xlabel("times that the same object is seen")
        plot.axis.set_ylabel(f"bits leaked, of {np.log2(len(corpus.sizes)):.1f}")
        plot.axis.set_ylim(bottom=0)
        plot.legend_below(2)
    return ReportFigure(
        "Looking again",
        plot.svg,
        f"What a listener knows of an object of {corpus.name} who sees it again and again, and knows that it is the "
        "same. Fresh randomness is averaged away. Keyed padding stays as it was, unless he could see each object "
        "before under the same key (the dotted line): then it is no better than none.",
        "That the listener must know which transfers are of the same object. Often he can tell: by time, by address, "
        "or because he asks for it himself.",
    )


def oracle(rows: Sequence[OracleRow]) -> ReportFigure:
    """Success of the compression oracle against requests."""
    policies = list(dict.fromkeys(row.policy for row in rows))
    with drawing(height=5.0) as plot:
        for number, policy in enumerate(policies):
            mine = sorted((row for row in rows if row.policy == policy), key=lambda row: row.requests)
            plot.axis.step(
                [row.requests for row in mine],
                np.maximum.accumulate([row.success for row in mine]),
                MARKERS[number % len(MARKERS)] + LINES[number % len(LINES)],
                color=COLOURS[number % len(COLOURS)],
                label=policy,
                where="post",
                markersize=5,
            )
        chance = rows[0].chance
        plot.axis.axhline(chance, color=COLOURS[9], linewidth=1, linestyle=":", label=f"chance, {chance:.1%}")
        plot.axis.set_xscale("log")
        plot.axis.set_xlabel("requests for one symbol of 16")
        plot.axis.set_ylabel("guessed right, by the best attacker so far")
        plot.axis.set_ylim(0, 1.05)
        plot.legend_below()
    trials = rows[0].trials
    half = max(row.high - row.low for row in rows) / 2
    return ReportFigure(
        "A compressed secret (BREACH)",
        plot.svg,
        f"A generated page with a secret and the attacker's text, compressed by zlib, through the real stream. Each "
        f"point is an attacker with {trials} symbols to guess; the line is the best one that costs no more. With so "
        f"many trials each share is known to about ±{half:.0%} only (Wilson, 95%); the table has the intervals.",
        "Better attackers, and attackers with more patience. That a line stays at chance means that these attackers "
        "got nowhere with so many requests, not that nobody can. Padding is mitigation: don't compress secrets "
        "together with what a stranger can choose.",
    )


def cost(corpus: Corpus, rows: Sequence[SizesRow]) -> ReportFigure:
    """What each policy adds."""
    names = [row.policy for row in rows][::-1]
    with drawing(height=0.34 * len(names) + 1.2) as plot:
        places = np.arange(len(names))
        mean = [max(row.cost.overhead_mean, 1e-4) for row in rows][::-1]
        worst = [max(row.cost.overhead_p95, 1e-4) for row in rows][::-1]
        total = [max(row.cost.overhead, 1e-4) for row in rows][::-1]
        plot.axis.plot(
            total, places, "|", color=COLOURS[2], markersize=13, markeredgewidth=2.5, label="all bytes together"
        )
        plot.axis.plot(mean, places, "o", color=COLOURS[0], label="mean of objects")
        plot.axis.plot(worst, places, "D", color=COLOURS[1], label="95th percentile")
        plot.axis.set_xscale("log")
        plot.axis.xaxis.set_major_formatter(FuncFormatter(_as_percent))
        plot.axis.set_yticks(places, names)
        plot.axis.set_xlabel("bytes more on the wire (0.01% stands for none)")
        plot.axis.set_ylabel("policy")
        plot.legend_below()
    return ReportFigure(
        "What it costs",
        plot.svg,
        f"Bytes of all records of the {len(corpus.sizes):,} objects of {corpus.name}, against the same without "
        "padding.",
        "Time. Sealing padding costs as much as sealing data; what a link makes of more bytes depends on the link.",
    )


def fingerprints(rows: Sequence[PagesRow]) -> ReportFigure:
    """How often each attacker names the page."""
    defences = list(dict.fromkeys(row.defence for row in rows))
    kinds = list(dict.fromkeys((row.attacker, row.looks) for row in rows))
    places = np.arange(len(defences))[::-1]
    with drawing(height=0.5 * len(defences) + 1.6) as plot:
        for number, (attacker, looks) in enumerate(kinds):
            mine = [row for row in rows if (row.attacker, row.looks) == (attacker, looks)]
            accuracy = np.asarray([row.accuracy for row in mine])
            bounds = [accuracy - [row.low for row in mine], [row.high for row in mine] - accuracy]
            plot.axis.errorbar(
                accuracy,
                places + 0.3 - 0.2 * number,
                xerr=np.maximum(bounds, 0),
                fmt=MARKERS[number],
                color=COLOURS[number],
                label=f"{attacker}, {looks} visit{'s' * (looks > 1)}",
                markersize=5,
            )
        chance = rows[0].chance
        plot.axis.axvline(chance, color=COLOURS[9], linestyle=":", label=f"chance, {chance:.1%}")
        plot.axis.set_xlim(0, 1.02)
        plot.axis.set_yticks(places, defences)
        plot.axis.set_xlabel("share of visits whose page is named")
        plot.axis.set_ylabel("padding or rate")
        plot.legend_below(2)
    return ReportFigure(
        "Which page was it?",
        plot.svg,
        f"{rows[0].pages} pages of pydoc, {rows[0].visits} visits through the real stream; records as a listener sees "
        "them; k-nearest-neighbour and a random forest, cross-validated; 95% intervals by resampling pages. rate: "
        "bytes, milliseconds and burst of a constant rate.",
        "The attacker knows that it is one of these pages, has visited them all, and there is no network that blurs "
        "times. What is generated: cookies, small differences between visits, the server's delays.",
    )


def confusion(rows: Sequence[PagesRow]) -> ReportFigure:
    """For which page each is taken."""
    shown = [row for row in rows if row.guesses is not None and row.defence in CONFUSED]
    with drawing(len(shown), height=3.6 * len(shown)) as plot:
        for axis, row in zip(plot.axes, shown, strict=True):
            counts = np.asarray(row.guesses)
            image = axis.imshow(counts / counts.sum(axis=1, keepdims=True), vmin=0, vmax=1, cmap="viridis")
            axis.grid(visible=False)
            axis.set_title(f"padding: {row.defence}", loc="left", fontsize=10)
            axis.set_xlabel("page that was named, by number")
            axis.set_ylabel("page that was visited")
            axis.figure.colorbar(image, ax=axis, label="share of visits")
    return ReportFigure(
        "Taken for each other",
        plot.svg,
        "The random forest's guesses from one visit. A bright diagonal: he is right. A bright square elsewhere: these "
        "pages are taken for each other.",
        "Which pages are alike to another attacker.",
    )


def timeline(rows: Sequence[ShapingRow]) -> ReportFigure:
    """The first seconds on the wire, with each way of shaping."""
    with drawing(len(rows), height=1.15 * len(rows) + 0.5) as plot:
        for number, (axis, row) in enumerate(zip(plot.axes, rows, strict=True)):
            times, sizes = zip(*row.timeline, strict=True) if row.timeline else ((), ())
            axis.vlines(times, 0, sizes, color=COLOURS[number], linewidth=0.8)
            axis.set_xlim(0, SHOWN)
            axis.set_ylim(bottom=0)
            axis.set_ylabel("bytes")
            axis.set_title(f"shaping: {row.shape}", loc="left", fontsize=9)
        plot.axes[-1].set_xlabel("seconds")
    return ReportFigure(
        "The rhythm on the wire",
        plot.svg,
        "A generated program that talks in bouts, through the real stream, in virtual time: each line is a record. The "
        "table below has what each way costs, and how well it hides when the program talks.",
        "A real network's jitter, which blurs all of these a little, and what other traffic tells.",
    )
