"""`securestream lab oracle`: how many requests a byte of a compressed secret costs, by policy and attacker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import click

from ..lab.oracle import ATTACKERS, CHANCE, POLICIES, OracleRow, attack
from .lab_measurement import MEASURING, Findings, Measuring, publish
from .lab_screen import POLICY, Shown, percent, progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_EXAMPLES = """\b
Examples:
  securestream lab oracle --policy none --policy padme --attacker cliff
  securestream lab oracle --trials 50 --json oracle.json
"""
NOTE = (
    "The answers are generated: a page with a secret of 32 hexadecimal digits and the attacker's text, compressed by "
    "zlib, sent through the real stream."
)
PRICELESS = "Without a price: no better than chance, as far as so many trials show."


@click.command(epilog=_EXAMPLES, params=[POLICY, *MEASURING])
@click.option(
    "--attacker",
    "attackers",
    metavar="NAME",
    multiple=True,
    type=click.Choice(list(ATTACKERS)),
    help=f"One of {', '.join(ATTACKERS)}. May be given again. Default: all.",
)
@click.option(
    "--trials", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Symbols that are guessed, each."
)
def oracle(policies: tuple[str, ...], attackers: tuple[str, ...], trials: int, **given: Unpack[Measuring]) -> None:
    """Attacks a secret that is compressed together with the attacker's text (BREACH), through the real stream.

    A symbol of the secret is one of 16, so chance is 6 %.
    """
    rows = list(_attack(policies or POLICIES, attackers or tuple(ATTACKERS), trials, given["seed"]))
    table = Shown(f"Symbols guessed right, of {trials}; chance is {percent(CHANCE)}", COLUMNS, list(map(_cells, rows)))
    title, legend = "A compressed secret, by padding policy", f"{NOTE}\n{PRICELESS}"
    publish(Findings(kind="oracle", title=title, tables=[table], legend=legend, rows=rows, notes=[NOTE]), given)


def _attack(policies: Sequence[str], attackers: Sequence[str], trials: int, seed: int) -> Iterator[OracleRow]:
    with progress(len(policies) * len(attackers)) as step:
        for policy in policies:
            for attacker in attackers:
                yield attack(policy, attacker, trials, seed)
                step(f"{policy}: {attacker}")


COLUMNS = ("policy, attacker", "right", "95 % between", "requests", "a byte costs")


def _cells(row: OracleRow) -> list[str]:
    cost = "" if row.requests_per_byte is None else f"{row.requests_per_byte:,.0f}"
    between = f"{percent(row.low)} {percent(row.high)}"
    return [f"{row.policy}, {row.attacker}", percent(row.success), between, f"{row.requests:,}", cost]
