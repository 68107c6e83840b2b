"""Files that list public keys, a line each: the key, a name, and what limits it.

Blanks and quotes are as in a shell, and so is `#`. What is wrong in such a file is told with its line, and not
repeated: it may be a secret that somebody has put there.
"""

from __future__ import annotations

import datetime as dt
import re
import shlex
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ..protocol.tls_keys import PeerKey, parse_peer_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_LINE = 4_096  # characters; shlex takes time by the square of a word's length

_SIMPLE = re.compile(r"""[^'"\\#]*""")
_BLANKS = re.compile(r"[ \t\r\n]+")  # shlex's, and no others

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class PeersFileError(ValueError):
    """A list of clients or of servers that can't be used: `file, line 3: what is wrong there`."""


@dataclass(frozen=True)
class Line:
    """One line that says something."""

    public_key: PeerKey
    name: str
    options: Mapping[str, str]


def parse_list(
    data: bytes, file: str, entry: Callable[[Line], tuple[K, V]], options: Sequence[str], *, name: str = "name"
) -> dict[K, V]:
    """What `entry` makes of each line of the file: where it belongs, and what it is. Raises `PeersFileError`, also for
    two lines that belong to one place. `name` says what stands behind the key."""
    found: dict[K, V] = {}
    lines: dict[K, int] = {}
    for number, text in enumerate(data.decode("utf-8-sig", "replace").split("\n"), 1):
        try:
            if (line := _parse_line(text, options, name)) is None:
                continue
            place, value = entry(line)
            if place in found:
                raise ValueError(f"the key of line {lines[place]} again")
        except ValueError as exc:
            raise PeersFileError(f"{file}, line {number}: {exc}") from None
        found[place], lines[place] = value, number
    return found


def _parse_line(text: str, allowed: Sequence[str], name: str) -> Line | None:
    """None where there is nothing in it. Raises `ValueError`."""
    if len(text) > MAX_LINE:
        raise ValueError(f"a line has at most {MAX_LINE:,} characters")
    key, *rest = _words(text) or ("",)
    if not key:
        return None
    public_key = parse_peer_key(key)
    if not rest or "=" in rest[0]:
        raise ValueError(f"a {name} belongs behind the key")
    return Line(public_key, printable_text(rest[0]), _parse_options(rest[1:], allowed, name))


def _words(text: str) -> list[str]:
    """As a shell has them; a line without quotes and comments a good deal faster, for lists are long. Raises
    `ValueError`."""
    if _SIMPLE.fullmatch(text):
        return [word for word in _BLANKS.split(text) if word]
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        raise ValueError("a quote that is not closed") from None


def _parse_options(words: Sequence[str], allowed: Sequence[str], behind: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in allowed:
            *some, last = (f"{one}=" for one in allowed)
            raise ValueError(f"behind key and {behind} there may be {', '.join(some)} and {last}")
        if name in options:
            raise ValueError(f"{name}= twice")
        options[name] = value
    return options


def printable_text(text: str) -> str:
    """Raises `ValueError` for what isn't."""
    if not text.isprintable():
        raise ValueError("names and notes are printable text")
    return text


def parse_until(options: Mapping[str, str]) -> dt.datetime | None:
    """`until=`: a day, all of which counts, or a moment; UTC unless it says otherwise. Raises `ValueError`."""
    text = options.get("until")
    if text is None:
        return None
    try:
        if len(text) == len("2027-06-30"):
            return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC) + dt.timedelta(days=1)
        moment = dt.datetime.fromisoformat(text)
        return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError):
        raise ValueError("until= takes a day, 2027-06-30, or a moment, 2027-06-30T18:00:00Z") from None


def is_over(until: dt.datetime | None, now: Callable[[], dt.datetime]) -> bool:
    """Whether that moment has come."""
    return until is not None and now() >= until


def utc_now() -> dt.datetime:
    """The time of day, for what is valid until then."""
    return dt.datetime.now(dt.UTC)
