"""What the attacks are run over: both suites, classical and hybrid handshakes, and the published vectors where they
are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..protocol.conftest import suite, vectors
from ..protocol.support import DEFAULTS, repeatable_kem

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["suite", "vectors"]


@pytest.fixture(autouse=True, params=["off", "prefer"], ids=["classical", "hybrid"])
def hybrid(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Every attack is made on both kinds of handshake; whether this is the hybrid one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DEFAULTS, "post_quantum", request.param)
        repeatable_kem(patch)
        yield request.param == "prefer"
