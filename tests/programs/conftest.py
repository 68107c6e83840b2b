"""Keys, as for the tests of the command."""

from __future__ import annotations

from ..cli.conftest import keys

__all__ = ["keys"]
