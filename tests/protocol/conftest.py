"""What the tests of the protocol are run over: both suites, both ways to libsodium, the published vectors."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from securestream.protocol import records, sodium, sodium_bindings, sodium_raw
from securestream.protocol.suites import Suite

if TYPE_CHECKING:
    from collections.abc import Iterator

# Module scope throughout: Hypothesis runs one test function many times over the same fixture.


@pytest.fixture(scope="module", params=[sodium_raw, sodium_bindings], ids=["raw", "bindings"])
def backend(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """Each of the two modules that reach libsodium, in use while the test runs."""
    module = request.param
    assert isinstance(module, ModuleType)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sodium, "backend", module)
        patch.setattr(
            records, "_spare", {size: [] for size in records._spare}
        )  # buffers of the other backend are of another class
        yield module


@pytest.fixture(scope="module", params=list(Suite), ids=lambda suite: str(suite.name))
def suite(request: pytest.FixtureRequest) -> Suite:
    """Each record cipher."""
    return Suite(request.param)


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of published test vectors. They are others' work and no part of this project."""
    folder = os.environ.get("SECURESTREAM_VECTORS")
    if folder is None:
        pytest.skip("SECURESTREAM_VECTORS does not name the folder of published vectors")
    return Path(folder)
