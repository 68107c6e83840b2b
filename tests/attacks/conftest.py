"""What the attacks are run over: both suites, and the published vectors where they are."""

from __future__ import annotations

from ..protocol.conftest import suite, vectors

__all__ = ["suite", "vectors"]
