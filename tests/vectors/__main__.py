"""`python -m tests.vectors` writes the vectors anew: the same bytes as before, unless the protocol has changed."""

from __future__ import annotations

from .files import FOLDER, VECTORS, text_of

if __name__ == "__main__":
    for name, make in VECTORS.items():
        (FOLDER / name).write_text(text_of(make()), encoding="utf-8")
        print(f"{name}: {len(make())} vectors")
