"""`lab sweep`: many experiments on all cores, or on a Dask cluster; it can be stopped and taken up again.

A cell is one experiment with everything that decides its result. Its file, named by all of that, is written as a whole
or not at all; a cell whose file is there is not run again. Nothing else passes between cells, so where they run makes
no difference: the results are the same, bit for bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal

from .corpora import Corpus, make_corpus
from .oracle import attack
from .results import Json, to_json
from .sizes import measure_by_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

PATIENCE = 10  # seconds for reaching a scheduler
FORMAT = 1  # of the files; another number makes all of them be made again


class BadCluster(RuntimeError):
    """No cluster where one was said to be, or no package to reach it."""


@dataclass(frozen=True)
class Cell:
    """One experiment. `corpus` and `digest` are the corpus of "sizes", `attacker` and `trials` those of "oracle"."""

    kind: Literal["sizes", "oracle"]
    policy: str
    seed: int
    corpus: str = ""
    digest: str = ""
    attacker: str = ""
    trials: int = 0

    @property
    def file_name(self) -> str:
        """Everything that decides the result."""
        text = json.dumps([FORMAT, to_json(self)])
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


def cells_of(
    policies: Sequence[str],
    corpora: Sequence[Corpus],
    attackers: Sequence[str],
    seeds: Sequence[int],
    trials: int,
) -> list[Cell]:
    """Policies x corpora x seeds, and policies x attackers x seeds."""
    sizes = [
        Cell("sizes", policy, seed, corpus=corpus.name, digest=corpus.provenance.digest)
        for policy, corpus, seed in product(policies, corpora, seeds)
    ]
    oracle = [
        Cell("oracle", policy, seed, attacker=attacker, trials=trials)
        for policy, attacker, seed in product(policies, attackers, seeds)
    ]
    return sizes + oracle


def run_cell(cell: Cell, sizes: tuple[int, ...]) -> str:
    """What a worker does: one experiment, its result as JSON. Raises `ValueError` when the policy misbehaves."""
    result: object
    if cell.kind == "oracle":
        result = attack(cell.policy, cell.attacker, cell.trials, cell.seed)
    else:
        corpus = make_corpus(cell.corpus, "real", "", sizes)
        result = measure_by_name(cell.policy, corpus, cell.seed)
    return json.dumps({"cell": to_json(cell), "result": to_json(result)}, allow_nan=False)


def run_cells(
    cells: Sequence[Cell],
    corpora: Sequence[Corpus],
    folder: Path,
    executor: Executor,
    done: Callable[[Cell], None],
) -> list[Json]:
    """Runs the cells that have no file in `folder`, and gives what all files hold, in the cells' order. `done` is
    called for each cell when its result is there. Stopped, it leaves what was finished. Raises `ValueError` and
    `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {corpus.provenance.digest: corpus.sizes for corpus in corpora}
    missing = []
    for cell in dict.fromkeys(cells):
        if _read(folder / cell.file_name, cell) is None:
            missing.append(cell)
        else:
            done(cell)
    futures = {executor.submit(run_cell, cell, sizes.get(cell.digest, ())): cell for cell in missing}
    for future in as_completed(futures):
        cell = futures[future]
        _write(folder / cell.file_name, future.result())
        done(cell)
    return [_read(folder / cell.file_name, cell) for cell in cells]


def _write(path: Path, text: str) -> None:
    """The whole file or none."""
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def _read(path: Path, cell: Cell) -> Json:
    """The result in a cell's file; None where there is none, or another's."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(data, dict) or data.get("cell") != to_json(cell):
        return None
    result: Json = data.get("result")
    return result


# --- where it runs ----------------------------------------------------------------------------------


@contextlib.contextmanager
def workers(scheduler: str | None, cores: int | None = None) -> Iterator[Executor]:
    """The executor: processes on this machine, as many as cores, or the Dask cluster whose scheduler is at that
    address. What is not done when the block is left by an exception is cancelled. Raises `BadCluster`."""
    if scheduler is None:
        context = multiprocessing.get_context("forkserver")
        # Ctrl-C ends a worker at once: as an exception it would end one cell, and the worker go on with the next.
        at_once = (signal.SIGINT, signal.SIG_DFL)
        with ProcessPoolExecutor(cores, mp_context=context, initializer=signal.signal, initargs=at_once) as pool:
            try:
                yield pool
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return
    with _cluster(scheduler) as executor:
        yield executor


@contextlib.contextmanager
def _cluster(scheduler: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError:
        raise BadCluster("distributed not installed: pip install 'securestream[lab-dask]'") from None
    try:
        client = Client(scheduler, timeout=PATIENCE)
    except (OSError, ValueError) as exc:
        raise BadCluster(
            f"no Dask scheduler at {scheduler} ({type(exc).__name__}); an address is as tcp://127.0.0.1:8786"
        ) from None
    with client:
        executor = client.get_executor(pure=False)
        try:
            yield executor
        finally:
            executor.shutdown(wait=False)  # what isn't done by now is cancelled
