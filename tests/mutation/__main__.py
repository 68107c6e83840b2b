"""Makes mutants of `securestream/protocol/` and runs its tests over them, in a copy of the tree.

Prints the score of each module and the survivors that `survivors.toml` doesn't list; exit status 1 below 90 %.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from .mutants import modules, try_mutants

LEAST = 90.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="that many mutants, chosen by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--module", choices=modules(), default="*", metavar="NAME", help=", ".join(modules()))
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the copy is made and stays")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.keep:
            arguments.keep.mkdir(parents=True)
        score = try_mutants(
            arguments.keep or Path(folder),
            sample=arguments.sample,
            seed=arguments.seed,
            module=arguments.module,
            processes=arguments.processes,
        )
    for module in score.modules:
        part = score.of_module(module)
        print(f"{module:16} {len(part.killed):5} killed {len(part.survived):5} survive {part.of_all:6.1f} %")
    print(*score.unknown, sep="\n\n")
    print(f"{score.of_all:.1f} % of all, {score.of_unlisted:.1f} % of those that survivors.toml doesn't list")
    sys.exit(score.of_all < LEAST if not arguments.sample else score.of_unlisted < LEAST)


if __name__ == "__main__":
    main()
