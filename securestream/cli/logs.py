"""What the commands write to standard error beside complaints: the library's log, and events."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from ..service.event_log import LogInstrument

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


def log_to_stderr(level: int) -> None:
    """The library's log, a line each."""
    logging.basicConfig(stream=sys.stderr, level=level, format="securestream: %(message)s")


def events_option(function: Callable[P, R]) -> Callable[P, R]:
    """`--events`."""
    return click.option("--events", is_flag=True, help="A line on standard error for each handshake, alert and end.")(
        function
    )


def event_instruments(events: bool) -> list[LogInstrument]:
    """What `--events` asks for."""
    if not events:
        return []
    log = logging.getLogger("securestream.events")
    log.setLevel(logging.INFO)
    return [LogInstrument(log)]
