"""Records that have to go out, whatever the padding policy does."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..protocol.padding import FullRecords

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.records import RecordWriter

logger: logging.Logger = logging.getLogger("securestream")


def seal_at_any_rate(writer: RecordWriter, seal: Callable[[], bytes]) -> bytes:
    """What `seal` gives; where the policy fails, the same in a full record, which gives nothing away either.

    An end that the peer must hear of can't wait for the policy to be mended; the log (`securestream`) tells.
    """
    try:
        return seal()
    except Exception:
        logger.exception("the padding policy failed; the last record goes out as a full one")
        writer.padding = FullRecords()
        return seal()
