"""Traces: what passed a wire, message by message; from a file of the user's, or a capture.

A CSV file has either a size a line, or `time,direction,size`: seconds, `>` or `<` (or `out` and `in`), bytes. A first
line that names the columns is taken for what it is. A capture is read by tshark: the records behind the handshake of
connections to one of this project's ports.
"""

from __future__ import annotations

import codecs
import math
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..protocol.suites import MAX_RECORD, Suite, opener
from .results import Provenance, digest_of
from .wire import MESSAGES, RecordLengths, Seen, overhead_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MAX_FILE = 2**26  # bytes
MAX_LINES = 1_000_000
MAX_SIZE = 2**40  # bytes of one message
MAX_TSHARK = 2**28  # bytes that tshark may print
_DIRECTIONS = {">": True, "out": True, "<": False, "in": False}
_HEADERS = {("size",), ("time", "direction", "size")}
VERDICTS = (512, MAX_RECORD)  # sizes of a server's first record


class BadTrace(ValueError):
    """A file that can't be used. Its text names the line and says what would do."""


@dataclass(frozen=True)
class Trace:
    """Messages in their order. `time` counts from the first one; where a file has sizes only, it is 0."""

    events: tuple[Seen, ...]
    provenance: Provenance

    @property
    def sizes(self) -> list[int]:
        return [event.size for event in self.events]


def make_trace(name: str, events: Iterable[Seen], text: str, file: str) -> Trace:
    """A trace of the user's. Raises `BadTrace` where it is empty."""
    kept = tuple(events)
    if not kept:
        raise BadTrace(f"{file}: no message in it")
    sizes = [event.size for event in kept]
    return Trace(kept, Provenance(name, "yours", text, len(kept), digest_of(sizes), {"file": file}))


# --- CSV --------------------------------------------------------------------------------------------


def read_csv(path: Path) -> Trace:
    """Raises `BadTrace`, and `OSError`."""
    with path.open("rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise BadTrace(f"{path}: more than {MAX_FILE // 2**20} MiB")
    try:
        lines = data.removeprefix(codecs.BOM_UTF8).decode("ascii").splitlines()  # spreadsheets begin with that mark
    except UnicodeDecodeError:
        raise BadTrace(f"{path}: not a text of numbers") from None
    if len(lines) > MAX_LINES:
        raise BadTrace(f"{path}: more than {MAX_LINES:,} lines")
    return make_trace("csv", _rows(path, lines), "messages of a CSV file", str(path))


def _rows(path: Path, lines: list[str]) -> Iterator[Seen]:
    columns = 0
    for number, line in enumerate(lines, 1):
        cells = tuple(cell.strip() for cell in line.split(","))
        if cells == ("",) or (number == 1 and tuple(cell.lower() for cell in cells) in _HEADERS):
            continue
        try:
            columns = columns or len(cells)
            if len(cells) != columns:
                raise BadTrace(f"{len(cells)} columns, where a line above has {columns}")
            yield _event(cells)
        except BadTrace as exc:
            raise BadTrace(f"{path}, line {number}: {exc}") from None


def _event(cells: tuple[str, ...]) -> Seen:
    if len(cells) == 1:
        return Seen(0.0, outgoing=True, size=_size(cells[0]))
    if len(cells) != 3:
        raise BadTrace("a line is a size, or time,direction,size")
    if cells[1] not in _DIRECTIONS:
        raise BadTrace("a direction is > or <, out or in")
    return Seen(_seconds(cells[0]), _DIRECTIONS[cells[1]], _size(cells[2]))


def _size(text: str) -> int:
    if not (text.isdigit() and len(text) <= len(str(MAX_SIZE)) and 1 <= int(text) <= MAX_SIZE):
        raise BadTrace(f"a size is a number of bytes, 1 to {MAX_SIZE:,}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise BadTrace("a time is a number of seconds, 0 or more")
    return seconds


# --- captures ---------------------------------------------------------------------------------------

_FIELDS = ("tcp.stream", "tcp.srcport", "frame.time_relative", "tcp.seq", "tcp.payload")


@dataclass(frozen=True)
class _Segment:
    seq: int
    time: float
    data: bytes


def read_capture(path: Path, port: int) -> Trace:
    """The records of all connections to `port` in a capture: sizes are of content and padding, without what sealing
    adds. Raises `BadTrace` where tshark is missing or can't read the file, or nothing is found."""
    events: list[Seen] = []
    for directions in _segments(path, port).values():
        events += _records(directions)
    events.sort(key=lambda event: event.time)
    return make_trace("capture", events, f"records of connections to port {port} in a capture", str(path))


def _segments(path: Path, port: int) -> dict[str, dict[bool, list[_Segment]]]:
    """Connection by connection, and direction by direction (True: from the client)."""
    tshark = shutil.which("tshark")
    if tshark is None:
        raise BadTrace("tshark is not installed: on Debian, apt-get install tshark")
    fields = [argument for field in _FIELDS for argument in ("-e", field)]
    command = [tshark, "-n", "-r", str(path), "-Y", f"tcp.port == {port} && tcp.len > 0", "-T", "fields", *fields]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode or len(done.stdout) > MAX_TSHARK:
        raise BadTrace(f"{path}: tshark can't read it as a capture, or it is too long")
    found: dict[str, dict[bool, list[_Segment]]] = {}
    for line in done.stdout.decode("ascii").splitlines():
        stream, source, time, seq, payload = line.split("\t")
        segment = _Segment(int(seq), float(time), bytes.fromhex(payload))
        found.setdefault(stream, {True: [], False: []})[int(source) != port].append(segment)
    return found


def _records(directions: dict[bool, list[_Segment]]) -> list[Seen]:
    """The records of one connection, in clear lengths as anybody can read them."""
    ordered = {outgoing: list(_in_order(segments)) for outgoing, segments in directions.items()}
    suite = _suite(b"".join(segment.data for segment in ordered[False][:16]))
    prefix, overhead = opener(suite, bytes(32)).prefix_size, overhead_of(suite)
    events = []
    for outgoing, segments in ordered.items():
        lengths = RecordLengths(MESSAGES[outgoing], prefix)
        for segment in segments:
            sizes = lengths.feed(segment.data)
            events += [Seen(segment.time, outgoing, size - overhead) for size in sizes if size > overhead]
    return events


def _in_order(segments: list[_Segment]) -> Iterator[_Segment]:
    """Without what was sent twice; up to the first gap."""
    due = min((segment.seq for segment in segments), default=0)
    for segment in sorted(segments, key=lambda segment: segment.seq):
        if segment.seq > due:
            return
        fresh = segment.data[due - segment.seq :]
        due += len(fresh)
        if fresh:
            yield _Segment(segment.seq, segment.time, fresh)


def _suite(server: bytes) -> Suite:
    """Which one it is shows behind the challenge: a verdict's length at once, or 24 bytes first."""
    challenge = int.from_bytes(server[:2], "little")
    first = int.from_bytes(server[challenge : challenge + 2], "little")
    return Suite.AEGIS_256 if first in VERDICTS else Suite.XCHACHA20_POLY1305
