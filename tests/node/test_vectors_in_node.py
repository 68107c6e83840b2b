"""The peer in Node makes what the files of vectors say, and reads it as they say."""

from __future__ import annotations

from pathlib import Path

import trio

from ..vectors.files import FOLDER, VECTORS
from .support import require_node

PROGRAM = Path(__file__).with_name("vectors.js")
PATIENCE = 60


async def test_each_vector_holds_in_node() -> None:
    require_node()
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(["node", str(PROGRAM), str(FOLDER)], capture_stdout=True)
    assert done.stdout.decode().splitlines() == [f"tried: {name}: {len(make())}" for name, make in VECTORS.items()]
