"""python -m tests.evidence: runs every test that shows a property, and writes down what it showed.

Exit status 1 if a property fails, has no test that passed, or a test of it was skipped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from .collect import Collector
from .report import as_json, as_markdown, overall


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.evidence", description=__doc__)
    parser.add_argument("--effort", choices=["small", "full"], default="small", help="full takes hours")
    parser.add_argument("--first-seed", default="0", metavar="N", help="where seeded tests start to count")
    parser.add_argument(
        "--output", type=Path, default=Path("evidence.json"), metavar="FILE", help="default %(default)s"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the docs' table too")
    parser.add_argument("tests", nargs="*", default=["tests"], metavar="TEST", help="default: all")
    arguments = parser.parse_args()

    marks = "shows" if arguments.effort == "full" else "shows and not long"
    options = ["-q", "-m", marks, "--effort", arguments.effort, "--first-seed", arguments.first_seed]
    collector = Collector()
    status = pytest.main([*options, *arguments.tests], plugins=[collector])
    evidence = collector.evidence
    arguments.output.write_text(as_json(evidence, arguments.effort), encoding="utf-8")
    if arguments.markdown is not None:
        arguments.markdown.write_text(as_markdown(evidence, arguments.effort), encoding="utf-8")
    for name, found in evidence.items():
        print(f"{found.result:<10} {name:<17} {found.passed:>5} tests {found.tried:>9,} tried {found.seconds:>7.1f} s")
    print(f"{overall(evidence)}: {arguments.output}")
    return 0 if overall(evidence) == "holds" and status == pytest.ExitCode.OK else 1


if __name__ == "__main__":
    sys.exit(main())
