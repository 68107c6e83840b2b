"""Traffic that says nothing: records sent because of the clock, so that silence doesn't show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from .secure import SecureStream


async def send_cover_traffic(stream: SecureStream[trio.abc.Stream], interval: float | Callable[[], float]) -> None:
    """Sends an empty record at each tick before which this side has sent nothing, until its direction ends.

    Run it in a nursery of yours: `nursery.start_soon(ss.send_cover_traffic, stream, 1.0)`. `interval` is the seconds
    from tick to tick, or a callable that is asked for each: `functools.partial(random.expovariate, 2.0)` has no
    rhythm.

    An empty record is padded as one byte of data is: under a policy with a smallest size it can't be told from a small
    message. It makes a `send_all` wait for no more than itself, is left out where the transport has no room, and
    reaches no reader. It notices no dead peer: what waits for one needs a deadline of its own.

    Returns when this direction has ended: by `send_eof()`, `aclose()`, an alert or a broken connection. Raises
    `ValueError` for an interval that isn't more than 0 s, and what the padding policy's failure is.
    """
    due, sent = trio.current_time(), stream.statistics().records_sent
    while stream._may_send():
        seconds = interval() if callable(interval) else interval
        if not 0 < seconds < math.inf:
            raise ValueError(f"an interval is more than 0 s, not {seconds}")
        due = max(due + seconds, trio.current_time())
        await trio.sleep_until(due)
        if stream.statistics().records_sent == sent:
            await stream._send_cover()
        sent = stream.statistics().records_sent
