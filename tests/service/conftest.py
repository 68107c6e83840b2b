"""The tests of the service are run like those of the streams."""

from __future__ import annotations

import logging

import pytest

from ..cli.conftest import usual_sigint
from ..streams.conftest import configs, keyed_configs, sockets, suite

__all__ = ["configs", "keyed_configs", "log", "sockets", "suite", "usual_sigint"]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the logger `securestream` says, from "info" on."""
    caplog.set_level(logging.INFO, logger="securestream")
    return caplog
