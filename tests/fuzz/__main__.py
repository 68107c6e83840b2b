"""Runs atheris on one target, keeps the made part of the corpus, or says what there is.

python -m tests.fuzz --list
python -m tests.fuzz --make-corpus
python -m tests.fuzz TARGET [libFuzzer's arguments]
"""

from __future__ import annotations

import sys

from .targets import CORPUS, NAMES, load


def make_corpus() -> None:
    """Writes every target's seeds; what a run has found lies beside them and stays."""
    for name in NAMES:
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("made-*"):
            old.unlink()
        for seed, data in load(name).seeds().items():
            (folder / f"made-{seed}").write_bytes(data)


def fuzz(name: str, arguments: list[str]) -> None:
    """Doesn't return. The corpus is where it begins and is not written to: for that, name a folder."""
    import atheris

    with atheris.instrument_imports(include=["securestream", "tests.fuzz"]):
        target = load(name)
    begin = f"-seed_inputs={','.join(str(path) for path in target.corpus if path.stat().st_size)}"
    itself = f"{sys.executable} -m tests.fuzz {name}"  # libFuzzer's way to start others of its kind
    atheris.Setup([itself, *([] if "-merge=1" in arguments else [begin]), *arguments], target.one_input)
    atheris.Fuzz()


def main(arguments: list[str]) -> None:
    match arguments:
        case ["--list"]:
            print(*NAMES, sep="\n")
        case ["--make-corpus"]:
            make_corpus()
        case [name, *rest] if name in NAMES:
            fuzz(name, rest)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
