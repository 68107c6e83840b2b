"""Padding policies by name, as command lines and configurations have them: `padme`, `block:512`.

text = name | name ":" size | name ":" size *( "," size )       sizes are bytes, in decimal
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from .padding import (
    BlockPadding,
    BucketPadding,
    FullRecords,
    KeyedPadding,
    NoPadding,
    PaddingPolicy,
    Padme,
    PowerOfTwoPadding,
    RandomPadding,
    TorCells,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LENGTH = 1_024  # characters; some hundred buckets

_PLAIN: dict[str, Callable[[], PaddingPolicy]] = {
    "none": NoPadding,
    "full": FullRecords,
    "power-of-two": PowerOfTwoPadding,
    "padme": Padme,
    "tor": TorCells,
}
_SIZED: dict[str, Callable[[int], PaddingPolicy]] = {
    "block": BlockPadding,
    "random": RandomPadding,
    "keyed": lambda most: KeyedPadding(secrets.token_bytes(32), most),
}
_BUCKETS = "buckets"

PADDING_FORMS: tuple[str, ...] = (*_PLAIN, *(f"{name}:SIZE" for name in _SIZED), f"{_BUCKETS}:SIZE,SIZE,...")
"""Every form that `parse_padding` takes, for a help text."""


def parse_padding(text: str) -> PaddingPolicy:
    """The padding policy of this name, each time a new one.

    `none`, `full`, `power-of-two`, `padme`, `tor`, `block:SIZE`, `random:MOST`, `keyed:MOST` and
    `buckets:SIZE,SIZE,...`; sizes are 1 to 16,777,216 bytes. `keyed` takes a fresh random key, so that contents are as
    long as before only until the program ends; to keep the key, make a `KeyedPadding` in the program.

    Raises `ValueError`, which says what would do.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a padding is named in at most {MAX_LENGTH:,} characters")
    name, colon, sizes = text.partition(":")
    if name in _PLAIN and not colon:
        return _PLAIN[name]()
    if name in _SIZED:
        return _SIZED[name](_size(name, sizes))
    if name == _BUCKETS:
        return BucketPadding([_size(name, size) for size in sizes.split(",")])
    raise ValueError(f"a padding is one of: {', '.join(PADDING_FORMS)}")


def _size(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name} takes bytes behind a colon, as {name}:512")
    return int(text)
