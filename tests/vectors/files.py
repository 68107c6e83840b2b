"""The files of vectors: which there are, who makes what is in them, and their text."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .frame_failures import FrameFailure, frame_failures
from .handshakes import HandshakeVector, handshake_vectors
from .hello_failures import HelloFailure, hello_failures
from .stream_failures import StreamFailure, stream_failures
from .streams import StreamVector, stream_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FOLDER = Path(__file__).parent

Vector = HandshakeVector | StreamVector | HelloFailure | FrameFailure | StreamFailure

VECTORS: dict[str, Callable[[], Sequence[Vector]]] = {
    "handshakes.json": handshake_vectors,
    "streams.json": stream_vectors,
    "hello_failures.json": hello_failures,
    "frame_failures.json": frame_failures,
    "stream_failures.json": stream_failures,
}


def text_of(vectors: Sequence[Vector]) -> str:
    """What a file of these holds."""
    return json.dumps([asdict(vector) for vector in vectors], indent=1, ensure_ascii=False) + "\n"
