"""Prints the table of queries and mutants:  `python -m tests.model [--long] [--no-provers]`; exit status 1 on any
disagreement.

For each query: the expected verdict, and each engine's verdict and seconds.  SPASS and E answer questions of
reachability only: where they are not asked the table says "-", or "implied" by a query that says more, and where they
are asked in the long run only "long".
Below it, the attack on each mutant in words.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor

from tests.model import engine, tptp
from tests.model.attacks import tell
from tests.model.engine import SECONDS, Finding
from tests.model.mutants import MUTANTS
from tests.model.queries import PROVERS, QUERIES, Query, Verdict

Timed = tuple[Verdict, float]


def timed_prover(query: Query, prover: str) -> Timed:
    start = time.monotonic()
    return tptp.decide(query, prover, tptp.SECONDS), time.monotonic() - start


def saturator_verdicts() -> dict[Query, tuple[Finding, float]]:
    """One saturation for all queries of a setting; each is given the time of the whole."""
    found: dict[Query, tuple[Finding, float]] = {}
    for batch in engine.batches([*QUERIES, *(mutant.query for mutant in MUTANTS)]):
        start = time.monotonic()
        findings = engine.decide(batch, SECONDS)
        seconds = time.monotonic() - start
        found.update((query, (finding, seconds)) for query, finding in findings.items())
    return found


def cell(query: Query, prover: str, asked: dict[tuple[Query, str], Future[Timed]]) -> tuple[str, bool]:
    """What the table says about a prover, and whether that is as expected."""
    if (query, prover) in asked:
        verdict, seconds = asked[query, prover].result()
        return f"{verdict.value} {seconds:.1f}", verdict is query.expected
    if query.implied_by:
        return "implied", True
    return ("long" if prover in query.provers else "-"), True


def table(
    queries: list[Query], found: dict[Query, tuple[Finding, float]], asked: dict[tuple[Query, str], Future[Timed]]
) -> int:
    """Prints a line a query; returns how many are not as expected."""
    wrong = 0
    width = max(len(query.name) for query in queries)
    print(f"{'':{width}}  {'expected':9} {'saturator':16} {'SPASS':16} {'E':16}")
    for query in queries:
        finding, seconds = found[query]
        cells = [cell(query, prover, asked) for prover in PROVERS]
        good = finding.verdict is query.expected and all(right for _, right in cells)
        wrong += not good
        texts = [f"{finding.verdict.value} {seconds:.1f}", *(text for text, _ in cells)]
        print(
            f"{query.name:{width}}  {query.expected.value:9}",
            *(f"{text:16}" for text in texts),
            "" if good else "  WRONG",
            flush=True,
        )
    return wrong


def print_attacks(found: dict[Query, tuple[Finding, float]]) -> None:
    for mutant in MUTANTS:
        attack = found[mutant.query][0].attack
        print(f"\nMutant: {mutant.query.name}\n{mutant.meaning}")
        print(*(tell(mutant.query, attack) if attack else ["No attack found."]), sep="\n")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.model", description="Decide every query about the handshake."
    )
    parser.add_argument("--long", action="store_true", help="ask SPASS and E the slow questions too")
    parser.add_argument("--no-provers", action="store_true", help="the saturator alone")
    options = parser.parse_args()
    queries = [*QUERIES, *(mutant.query for mutant in MUTANTS)]
    if not options.no_provers and tptp.missing():
        print(f"Not installed: {', '.join(tptp.missing())}. Use --no-provers to do without.", file=sys.stderr)
        return 1
    with ThreadPoolExecutor(2) as pool:
        asked = (
            {}
            if options.no_provers
            else {
                (query, prover): pool.submit(timed_prover, query, prover)
                for query in queries
                for prover in query.provers
                if options.long or not query.slow_for_provers
            }
        )
        found = saturator_verdicts()
        wrong = table(queries, found, asked)
    print_attacks(found)
    print(f"\n{len(queries)} queries, {wrong} not as expected.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
