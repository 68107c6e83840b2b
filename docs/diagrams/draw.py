"""Draws the diagrams of the documentation, from the code where the code has what they show.

python docs/diagrams/draw.py            writes docs/diagrams/*.svg
python docs/diagrams/draw.py --check    says which of them are not as they would be drawn; exit status 1
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bytes_on_the_wire import challenge_and_response, hello, record
from layers import layers
from sequences import attack_of_2021, handshake
from states import handshake_states

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent
DRAWINGS: dict[str, Callable[[], str]] = {
    "layers": layers,
    "handshake": handshake,
    "handshake-states": handshake_states,
    "hello": hello,
    "challenge-and-response": challenge_and_response,
    "record": record,
    "attack-of-2021": attack_of_2021,
}


def main(*, check: bool) -> int:
    stale = []
    for name, draw in DRAWINGS.items():
        path, svg = FOLDER / f"{name}.svg", draw()
        if not path.exists() or path.read_text(encoding="utf-8") != svg:
            stale.append(path.name)
            if not check:
                path.write_text(svg, encoding="utf-8")
    print(f"{'not up to date' if check else 'drawn'}: {', '.join(stale) or 'none'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
