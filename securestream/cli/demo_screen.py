"""How the demo looks: 80 columns, colours on a terminal only, and never markup in text from elsewhere."""

from __future__ import annotations

import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.text import Text

from ..protocol.alerts import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WIDTH = 80
_INDENT = "  "
_LABEL = 12


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Rich would exit from here, in the middle of everything."""
        raise BrokenPipeError from None


class Screen:
    """Writes to standard output, line by line."""

    def __init__(self) -> None:
        self._console = _Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
        self._width = min(self._console.width, _WIDTH)

    def title(self, text: str) -> None:
        """What this is about."""
        self._line(text, "bold")

    def part(self, number: int, text: str) -> None:
        """The head of a part."""
        self._line("")
        self._line(f"{number}. {text}", "bold cyan")

    def fact(self, label: str, value: object) -> None:
        """A label and what belongs to it."""
        indent = " " * (len(_INDENT) + _LABEL)
        first, *rest = self._wrap(str(value), indent)
        head = f"{_INDENT}{label:<{_LABEL}}"
        self._console.print(Text.assemble((head, "dim"), first.removeprefix(indent)))
        for line in rest:
            self._line(line)

    def message(self, text: str) -> None:
        """What a person would get to read, as `securestream` words it."""
        for line in self._wrap(f"securestream: {text}", _INDENT * 2):
            self._line(line, "yellow")

    def good(self, text: str) -> None:
        """What that shows."""
        for line in self._wrap(f"ok: {text}", _INDENT):
            self._line(line, "green")

    @contextmanager
    def progress(self, total: int) -> Iterator[Callable[[int], None]]:
        """A bar, on a terminal. Gives what is called with the number of bytes that were moved."""
        columns = (TextColumn(" "), BarColumn(None), DownloadColumn(), TransferSpeedColumn())
        with Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        ) as progress:
            task = progress.add_task("", total=total)
            yield lambda size: progress.advance(task, size)

    def _wrap(self, text: str, indent: str) -> list[str]:
        return textwrap.wrap(
            printable(text),
            max(self._width, 2 * len(indent)),
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style))
