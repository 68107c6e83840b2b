"""The real fuzzer on every target: some thousand runs, and ten minutes each with `--effort full`."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from .targets import NAMES, load

if TYPE_CHECKING:
    from ..conftest import Tries

ROOT = Path(__file__).parents[2]
RUNS = {"fuzz-parsers": 5_000, "fuzz-handshake": 3_000, "fuzz-records": 3_000}
NO_END = 10**9

every_target = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.shows(load(name).shows)) for name in NAMES]
)


@pytest.fixture(scope="module", autouse=True)
def atheris() -> None:
    """It has no wheels for the newest Pythons. Where the dev extra asks for it, it is no excuse that it is missing."""
    if importlib.util.find_spec("atheris") is None:
        extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
        wanted = [Requirement(line) for line in extra if line.startswith("atheris")]
        here = [each for each in wanted if each.marker is None or each.marker.evaluate()]
        assert here == [], "atheris belongs to the dev extra and is not installed"
        pytest.skip("atheris is not installed")


def fuzz(name: str, folder: Path, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """atheris on one target, in a process of its own."""
    command = [sys.executable, "-W", "error", "-m", "tests.fuzz", name, f"-artifact_prefix={folder}/", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.mark.slow
@every_target
def test_a_run_of_the_fuzzer_finds_nothing(name: str, tries: Tries, tmp_path: Path) -> None:
    runs = tries.choose(small=RUNS[load(name).shows], full=NO_END)
    seconds = tries.choose(small=120, full=600)
    done = fuzz(name, tmp_path, f"-runs={runs}", f"-max_total_time={seconds}", "-seed=1", timeout=seconds + 300)
    assert done.returncode == 0, done.stderr[-5_000:]
    count = re.search(r"Done (\d+) runs", done.stderr)
    assert count is not None, done.stderr[-5_000:]
    tries.tried(int(count[1]))
    features = re.findall(r"cov: (\d+)", done.stderr)
    tries.found("edges covered", features[-1])


BROKEN = """
from securestream.protocol import messages
from tests.fuzz.__main__ import main
genuine = messages.check_public_key
def broken(raw):
    genuine(raw)
    if raw[16] in (0, 255): {}[raw]
messages.check_public_key = broken
main(["hello", "-runs=300000", "-seed=1", "-artifact_prefix=" + PREFIX])
"""


@pytest.mark.shows("fuzz-parsers")
def test_a_run_of_the_fuzzer_finds_a_parser_that_lets_another_error_through(tmp_path: Path) -> None:
    program = BROKEN.replace("PREFIX", repr(f"{tmp_path}/"))
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "KeyError" in done.stdout + done.stderr
    (found,) = tmp_path.glob("crash-*")
    assert found.read_bytes()[:4] == b"SSv1"
