"""What every test can ask for: how hard to try, and a place to say what was tried.

`--effort small` is what CI runs, `--effort full` the long session. Seeds start at `--first-seed`, so that a second
session tries others. A test with the mark `shows` is evidence for a property: `tests/evidence`."""

from __future__ import annotations

import enum
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


class Effort(enum.Enum):
    SMALL = "small"
    FULL = "full"


class Tries:
    """How much one test tries. What it says here becomes evidence; on failure pytest prints it."""

    def __init__(self, effort: Effort, first_seed: int, record: Callable[[str, object], None]) -> None:
        self._effort = effort
        self._first_seed = first_seed
        self._record = record

    def choose(self, *, small: int, full: int) -> int:
        """A size of this test: a count, seconds, a number of connections."""
        return full if self._effort is Effort.FULL else small

    def seeds(self, *, small: int, full: int) -> range:
        """The seeds to try, each once; counted as tried."""
        seeds = range(self._first_seed, self._first_seed + self.choose(small=small, full=full))
        print(f"seeds {seeds.start} to {seeds.stop - 1}")
        self._record("seeds", f"{seeds.start}-{seeds.stop - 1}")
        self.tried(len(seeds))
        return seeds

    def tried(self, count: int) -> None:
        """Says how often something was tried."""
        self._record("tried", count)

    def found(self, name: str, value: float | str) -> None:
        """Says a figure that was measured: memory before and after, a score, the slowest connect."""
        print(f"{name}: {value}")
        self._record("found", f"{name}: {value}")


@pytest.fixture
def tries(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Tries:
    """How hard this test shall try, and where it says what it tried."""
    config = request.config
    return Tries(Effort(config.getoption("effort")), int(config.getoption("first_seed")), record_property)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("securestream")
    group.addoption("--effort", choices=[effort.value for effort in Effort], default="small", help="how hard to try")
    group.addoption("--first-seed", type=int, default=0, metavar="N", help="where seeded tests start to count")


def pytest_configure() -> None:
    """A suite that was started in the background ignores Ctrl-C, and so would every process that its tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves TLS out of the tests marked `wire`; and those marked `long` or `slow` out of a plain run: `-m long` and
    `--effort full` run them, and `python -m tests.evidence` the slow ones."""
    left_out = [item for item in items if item.get_closest_marker("wire") and item.get_closest_marker("tls")]
    if not config.option.markexpr and config.option.effort != Effort.FULL.value:
        left_out += [item for item in items if item.get_closest_marker("long") or item.get_closest_marker("slow")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
