"""`lab sweep`: the same results wherever it runs, and nothing lost when it is stopped."""

from __future__ import annotations

import json
import signal
import sys
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import pytest
from distributed import LocalCluster

from securestream.cli.app import run
from securestream.lab import sweep
from securestream.lab.corpora import make_corpus
from securestream.lab.sweep import BadCluster, Cell, cells_of, run_cell, run_cells, workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from securestream.lab.results import Json

P = ParamSpec("P")
R = TypeVar("R")

CORPUS = make_corpus("few", "yours", "numbers", list(range(1, 3_000, 37)))
CELLS = cells_of(["none", "padme", "random:64"], [CORPUS], ["single"], [1, 2], trials=1)


class Here(Executor):
    """Runs everything at once, in this process, and counts; fails from the `least`-th on where it is told to."""

    def __init__(self, fail_from: int | None = None) -> None:
        self.runs = 0
        self._fail_from = fail_from

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        future: Future[R] = Future()
        self.runs += 1
        if self._fail_from is not None and self.runs >= self._fail_from:
            future.set_exception(KeyboardInterrupt())
        else:
            future.set_result(fn(*args, **kwargs))
        return future


def nobody_looks(cell: Cell) -> None:
    """In place of a progress bar."""


def results(folder: Path, executor: Executor) -> list[Json]:
    return run_cells(CELLS, [CORPUS], folder, executor, nobody_looks)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    return json.dumps(results(tmp_path_factory.mktemp("here"), Here()))


def test_cells_are_policies_by_corpora_by_seeds_and_policies_by_attackers_by_seeds() -> None:
    assert len(CELLS) == 3 * 1 * 2 + 3 * 1 * 2
    assert len({cell.file_name for cell in CELLS}) == len(CELLS)
    other = make_corpus("few", "yours", "numbers", [1, 2, 3])
    renewed = cells_of(["none"], [other], [], [1], trials=1)
    assert {cell.file_name for cell in renewed}.isdisjoint(cell.file_name for cell in CELLS)


def test_processes_on_this_machine_give_the_same_bits(expected: str, tmp_path: Path) -> None:
    with workers(None, 2) as executor:
        assert json.dumps(results(tmp_path, executor)) == expected


def test_a_keyboard_s_interrupt_ends_a_process_at_once_and_not_its_cell_only() -> None:
    with workers(None, 1) as executor:
        assert executor.submit(signal.getsignal, signal.SIGINT).result() is signal.SIG_DFL


@pytest.fixture
def cluster() -> Iterator[str]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as made:
        yield made.scheduler_address


def test_a_dask_cluster_of_two_processes_gives_the_same_bits(cluster: str, expected: str, tmp_path: Path) -> None:
    with workers(cluster) as executor:
        assert json.dumps(results(tmp_path / "library", executor)) == expected
    options = ["--corpus", "requests", "--policy", "padme", "--policy", "random:64", "--seeds", "2"]
    for name, place in (("here", ["--cores", "1"]), ("there", ["--scheduler", cluster])):
        places = ["--out", str(tmp_path / name), "--json", str(tmp_path / f"{name}.json")]
        assert run(["lab", "sweep", *options, *place, *places]) == 0
    here, there = (json.loads((tmp_path / f"{name}.json").read_text())["rows"] for name in ("here", "there"))
    assert here == there
    assert len(here) == 4


def test_what_is_done_is_not_done_again(expected: str, tmp_path: Path) -> None:
    first, second = Here(), Here()
    assert json.dumps(results(tmp_path, first)) == json.dumps(results(tmp_path, second)) == expected
    assert (first.runs, second.runs) == (len(CELLS), 0)


def test_a_sweep_that_was_stopped_is_taken_up_where_it_was(expected: str, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        results(tmp_path, Here(fail_from=6))
    finished = len(list(tmp_path.glob("*.json")))
    assert not list(tmp_path.glob("*.part"))
    rest = Here()
    assert json.dumps(results(tmp_path, rest)) == expected
    assert rest.runs == len(CELLS) - finished


@pytest.mark.parametrize("damage", [b"", b"{", b"null", b"[]", b'{"cell": {}, "result": 1}', b"\xff"])
def test_a_damaged_file_is_made_again(damage: bytes, expected: str, tmp_path: Path) -> None:
    results(tmp_path, Here())
    (tmp_path / CELLS[3].file_name).write_bytes(damage)
    again = Here()
    assert json.dumps(results(tmp_path, again)) == expected
    assert again.runs == 1


def test_the_progress_is_told_of_every_cell_done_before_or_now(tmp_path: Path) -> None:
    told: list[Cell] = []
    run_cells(CELLS[:3], [CORPUS], tmp_path, Here(), told.append)
    run_cells(CELLS, [CORPUS], tmp_path, Here(), told.append)
    assert set(told) == set(CELLS)
    assert len(told) == 3 + len(CELLS)


def test_a_policy_that_misbehaves_is_one_error(tmp_path: Path) -> None:
    bad = Cell("sizes", "padmé", 1, corpus="few", digest=CORPUS.provenance.digest)
    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match="a padding is one of"):
        run_cells([bad], [CORPUS], tmp_path, executor, nobody_looks)
    assert not list(tmp_path.iterdir())


def test_a_worker_s_result_is_plain_json() -> None:
    data = json.loads(run_cell(CELLS[0], CORPUS.sizes))
    assert data["cell"]["policy"] == data["result"]["policy"] == "none"


def test_no_cluster_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweep, "PATIENCE", 0.2)
    options = ["--policy", "none", "--corpus", "requests", "--out", str(tmp_path)]
    assert run(["lab", "sweep", *options, "--scheduler", "tcp://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err.endswith(
        "securestream: no Dask scheduler at tcp://127.0.0.1:1 (OSError); an address is as tcp://127.0.0.1:8786\n"
    )


def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BadCluster, match="lab-dask"), workers("tcp://127.0.0.1:1"):
        pass
