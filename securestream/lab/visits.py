"""Visits to a small web site over the real stream, and what a listener sees of each.

A visit is a connection: the client asks for a page, the server answers with a head and the page, and both close. As on
the web, no two visits to a page are alike: the request has a cookie, the page a part of its own for each visitor, and
the server takes its time. These parts are generated, from the seed; the pages and all that goes over the wire are real.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from .results import generator
from .wire import Seen, recorded_pair, run_in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .defences import Defence

END_OF_REQUEST = b"\r\n\r\n"
MOST_COOKIE, MOST_OWN_PART = 64, 512  # bytes
MEAN_DELAY = 0.02  # seconds, before the head and before the page


@dataclass(frozen=True)
class Visit:
    """One visit: to which page, and what was seen, in order: times in seconds from the first record."""

    page: str
    records: tuple[Seen, ...]

    @property
    def wire_bytes(self) -> int:
        return sum(seen.size for seen in self.records)

    @property
    def seconds(self) -> float:
        return self.records[-1].time


@dataclass(frozen=True)
class _Chance:
    """What is different at each visit."""

    cookie: int
    own_part: int
    delays: tuple[float, float]


def visit_pages(
    pages: Mapping[str, bytes], visits: int, how: Defence, seed: int, step: Callable[[], None] = lambda: None
) -> list[Visit]:
    """So many visits to each page, with the same chances whatever the defence. `step` is called after each. Raises
    `ValueError` when a policy misbehaves."""

    async def go() -> list[Visit]:
        made = []
        for name, page in pages.items():
            for number in range(visits):
                made.append(await _visit(name, page, how, _chance(seed, name, number)))
                step()
        return made

    return run_in_virtual_time(go)


def _chance(seed: int, name: str, number: int) -> _Chance:
    rng = generator(seed, "visit", name, str(number))
    first, second = rng.exponential(MEAN_DELAY, 2).tolist()
    return _Chance(int(rng.integers(MOST_COOKIE + 1)), int(rng.integers(MOST_OWN_PART + 1)), (first, second))


async def _visit(name: str, page: bytes, how: Defence, chance: _Chance) -> Visit:
    async with recorded_pair(client_padding=how.padding, server_padding=how.padding) as pair:
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                async with how.over(pair.server) as stream:
                    await _answer(stream, page, chance)

            nursery.start_soon(serve)
            async with how.over(pair.client) as stream:
                await stream.send_all(b"GET /%s.html HTTP/1.1\r\nCookie: " % name.encode() + bytes(chance.cookie))
                await stream.send_all(END_OF_REQUEST)
                async for _ in stream:
                    pass
        start = pair.wire.records[0].time
        # What passes both ways in one instant is in no order.
        ordered = sorted(pair.wire.records, key=lambda seen: (seen.time, seen.outgoing))
        return Visit(name, tuple(Seen(seen.time - start, seen.outgoing, seen.size) for seen in ordered))


async def _answer(stream: trio.abc.HalfCloseableStream, page: bytes, chance: _Chance) -> None:
    request = b""
    while not request.endswith(END_OF_REQUEST):
        request += await stream.receive_some()
    await trio.sleep(chance.delays[0])
    await stream.send_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n" % len(page)
    )
    await trio.sleep(chance.delays[1])
    await stream.send_all(page + bytes(chance.own_part))
