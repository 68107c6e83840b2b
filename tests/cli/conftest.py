"""For each test of the command: keys in files, and signals as a terminal's programs have them."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from .support import OWN, Keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OWN:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """A server's and a client's keys."""
    return Keys(tmp_path)


@pytest.fixture
def usual_sigint() -> Iterator[None]:
    """A test run in the background of a shell ignores SIGINT, and so would what it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
