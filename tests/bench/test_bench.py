"""Every workload of the benchmark runs, at its smallest size. How fast is not a test's business."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from securestream.bench import report, split
from securestream.bench.alone import ALONE
from securestream.bench.contenders import CONTENDERS, make_keys
from securestream.bench.routed import ROUTED
from securestream.bench.run import Result, plan
from securestream.bench.targets import TARGETS
from securestream.bench.workloads import MODES, WORKLOADS, Workload
from securestream.streams.channel import SocketChannel

if TYPE_CHECKING:
    from pathlib import Path


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "securestream", "bench", *arguments, "--smallest", "--rounds", "1"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_runs_at_its_smallest_size(mode: str, tmp_path: Path) -> None:
    bench(mode, "--only", "aegis_256", "--json", str(tmp_path / "figures.json"))
    figures = json.loads((tmp_path / "figures.json").read_text())
    measured = {(result["workload"], result["contender"]) for result in figures["results"]}
    assert measured == {(workload, "aegis_256") for workload in MODES[mode]}


def test_figures_are_shown_and_written_as_a_table_and_a_chart(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("figures.json", "table.md", "chart.png")}
    options = ["--json", files["figures.json"], "--markdown", files["table.md"], "--plot", files["chart.png"]]
    measured = ["tcp", "tls", "aegis_256"]
    only = [part for name in measured for part in ("--only", name)]
    shown = bench("roundtrip", *only, *map(str, options)).stdout
    figures = json.loads(files["figures.json"].read_text())
    assert [result["contender"] for result in figures["results"]] == measured
    assert "load average before" in figures["machine"]
    for name in measured:
        assert CONTENDERS[name].title in shown
        assert CONTENDERS[name].title in files["table.md"].read_text()
    assert files["chart.png"].read_bytes().startswith(b"\x89PNG")


def test_all_contenders_are_measured_unless_some_are_named() -> None:
    assert list(plan(["roundtrip"], [], 1)) == [("roundtrip", name) for name in CONTENDERS]
    assert list(plan(["bulk-1m"], [], 1)) == [("bulk-1m", name) for name in [*CONTENDERS, *ALONE]]


def test_what_libsodium_does_alone_is_measured_beside_bulk_transfers(tmp_path: Path) -> None:
    only = [part for name in ALONE for part in ("--only", name)]
    shown = bench("bulk", *only, "--json", str(tmp_path / "figures.json")).stdout
    results = json.loads((tmp_path / "figures.json").read_text())["results"]
    assert {(result["workload"], result["contender"]) for result in results} == {
        (workload, name) for workload in ("bulk-64k", "bulk-1m") for name in ALONE
    }
    assert all(figure > 0 for result in results for figure in result["figures"])
    assert all(alone.title in shown for alone in ALONE.values())


@pytest.mark.parametrize("name", CONTENDERS)
@pytest.mark.parametrize("workload", [WORKLOADS[name] for name in MODES["bulk"]], ids=lambda workload: workload.name)
async def test_every_contender_passes_bulk_data(name: str, workload: Workload, tmp_path: Path) -> None:
    make_keys(tmp_path)
    contender = CONTENDERS[name]

    async def handler(stream: trio.abc.Stream) -> None:
        await workload.handler(stream, contender.receive_size)

    async with trio.open_nursery() as nursery:
        port = await nursery.start(lambda task_status: contender.serve(handler, tmp_path, task_status))
        assert await workload.client(lambda: contender.connect(port, tmp_path), workload.smallest) > 0
        nursery.cancel_scope.cancel()


def test_the_router_is_measured_beside_a_direct_connection_and_a_relay(tmp_path: Path) -> None:
    bench("router", "--only", "tcp_relayed", "--only", "aegis_256_routed", "--json", str(tmp_path / "figures.json"))
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert all(figure > 0 for result in figures["results"] for figure in result["figures"])
    assert {result["contender"] for result in figures["results"]} == {"tcp_relayed", "aegis_256_routed"}
    results = [Result("routed-bulk", "tcp_relayed", [100.0]), Result("routed-bulk", "aegis_256_routed", [70.0])]
    (table,) = report.tables(results)
    assert table.columns[3:] == ("of direct", "of TCP relay")
    assert table.rows[-1][3:] == ["–", "0.70 x"]
    assert list(plan(["routed-bulk"], [], 1)) == [("routed-bulk", name) for name in ROUTED]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["idle", "--only", "alone_aegis_256"], "nothing to measure"),
        (["--json", "missing/figures.json"], "no such folder: missing"),
        (["--plot", "chart.nope"], "ends in .png or .svg"),
    ],
    ids=["nobody", "folder", "chart"],
)
def test_what_can_not_be_done_is_said_before_anything_is_measured(options: list[str], told: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        bench(*options)
    assert caught.value.returncode == 2
    assert told in caught.value.stderr


def test_a_name_that_is_given_twice_is_measured_once() -> None:
    assert list(plan(["idle"], ["tcp", "tcp"], 1)) == [("idle", "tcp")]


@pytest.mark.parametrize("name", ["roundtrip", "bulk-64k", "many"])
async def test_a_client_whose_server_has_gone_ends(name: str) -> None:
    workload = WORKLOADS[name]

    async def connect() -> trio.abc.Stream:
        near, far = trio.testing.memory_stream_pair()
        await far.send_eof()
        return near

    with trio.fail_after(60):
        with pytest.RaisesGroup(EOFError, flatten_subgroups=True, allow_unwrapped=True):
            await workload.client(connect, workload.smallest)


def test_within_a_round_the_contenders_take_turns() -> None:
    assert list(plan(["idle"], ["x", "y"], 2)) == [("idle", "x"), ("idle", "y"), ("idle", "x"), ("idle", "y")]


def test_a_row_has_the_median_and_the_ratios_to_tcp_and_tls() -> None:
    results = [
        Result("roundtrip", "tcp", [50.0, 40.0, 60.0]),
        Result("roundtrip", "tls", [100.0, 20.0, 30.0]),
        Result("roundtrip", "aegis_256", [75.0, 40.0, 600.0]),
    ]
    (table,) = report.tables(results)
    assert table.title == f"{WORKLOADS['roundtrip'].title}, us"
    assert table.rows[-1] == ["securestream, AEGIS-256", "75.0", "±373%", "1.50 x", "2.00 x"]  # round by round
    assert table.rows[0][2] == "±20%"


def test_a_target_is_told_as_a_ratio_or_a_difference_and_whether_it_holds() -> None:
    results = [
        Result("roundtrip", "tcp", [50.0, 50.0, 100.0]),
        Result("roundtrip", "aegis_256", [60.0, 70.0, 110.0]),
        Result("idle", "tcp", [1.0]),
        Result("idle", "aegis_256", [9.5]),
        Result("bulk-64k", "xchacha20_poly1305", [500.0]),
        Result("bulk-64k", "alone_xchacha20_poly1305", [1_000.0]),
    ]
    assert [row[1:] for row in report.reached(results)] == [
        ["at least 0.75 x libsodium alone", "0.50", "0.50 to 0.50", "no"],
        ["at most 1.20 x TCP", "1.20", "1.10 to 1.40", "yes"],
        ["at most 8 KiB above TCP", "8.50", "8.50 to 8.50", "no"],
    ]


def test_every_target_is_of_something_that_is_measured() -> None:
    everybody = {*CONTENDERS, *ROUTED, *ALONE}
    assert {target.workload for target in TARGETS} <= set(WORKLOADS)
    assert {name for target in TARGETS for name in (target.contender, target.base)} <= everybody


# --- where the time goes ---------------------------------------------------------------------------------------

SAMPLES = """\
main (x.py:1);unrolled_run (trio/_core/_run.py:2712);put (securestream/streams/channel.py:1) 9
main (x.py:1);unrolled_run (trio/_core/_run.py:2712);SocketChannel.put (securestream/streams/channel.py:1) 30
main (x.py:1);unrolled_run (trio/_core/_run.py:2712);Aegis256.encrypt (securestream/protocol/sodium_raw.py:78) 40
main (x.py:1);unrolled_run (trio/_core/_run.py:2712);checkpoint (trio/_core/_run.py:3017) 21
main (x.py:1);exec_module (<frozen importlib>:1) 500
"""


def test_samples_are_shared_out_by_their_last_frame_and_only_those_of_the_loop_count() -> None:
    assert split.shares(SAMPLES) == {"libsodium": 0.4, "kernel": 0.3, "Trio": 0.21, "our Python": 0.09}


def test_what_calls_the_kernel_is_known_by_its_name() -> None:
    functions = [function for function in vars(SocketChannel).values() if inspect.isfunction(function)]
    callers = [each.__qualname__ for each in functions if re.search(r"\bos\.|\.poll\(", inspect.getsource(each))]
    assert len(callers) == 4
    assert {split.part_of(f"{name} (securestream/streams/channel.py:1)") for name in callers} == {"kernel"}


def test_nothing_sampled_is_no_division_by_zero() -> None:
    assert split.shares("") == dict.fromkeys(split.PARTS, 0)


@pytest.mark.parametrize("workload", split.SIZES)
def test_the_process_that_is_sampled_tells_its_cost(workload: str, tmp_path: Path) -> None:
    make_keys(tmp_path)
    child = [sys.executable, "-m", "securestream.bench.split", "--child", str(tmp_path), "--seconds", "0.01"]
    done = subprocess.run([*child, workload, "aegis_256"], check=True, capture_output=True, text=True, timeout=120)
    assert float(done.stdout) > 0
