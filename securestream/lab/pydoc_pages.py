"""The standard library's documentation as a small web site: one HTML page a module, made by pydoc."""

from __future__ import annotations

import contextlib
import importlib
import io
import pydoc
import re
import sys
import warnings
from functools import cache

# Importing these opens a browser, prints a poem, needs a display, or is long.
_LEFT_OUT = {"antigravity", "this", "idlelib", "lib2to3", "tkinter", "turtle", "turtledemo", "test"}
# The pages of these show the environment of the process that makes them.
_PRIVATE = {"cgi", "os", "posix", "site", "sys"}
# Places in memory and counters, which are others in each run.
_VARIES = re.compile(rb"(?<=(?: |;)0x)[0-9a-f]{6,}|(?<=handle )[0-9a-f]{6,}|(?<='version': )[0-9]+")


@cache
def pydoc_pages(limit: int | None = None) -> dict[str, bytes]:
    """Pages by module name, in alphabetical order; the first `limit` of them. They are the same in each run. Modules
    that this system can't import are left out."""
    pages: dict[str, bytes] = {}
    for name in sorted(sys.stdlib_module_names - _LEFT_OUT - _PRIVATE):
        if limit is not None and len(pages) >= limit:
            break
        page = None if name.startswith("_") else _page(name)
        if page is not None:
            pages[name] = page
    return pages


def _page(name: str) -> bytes | None:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # deprecated modules say so when they are imported
        try:
            module = importlib.import_module(name)
        except ImportError:
            return None
        page = pydoc.html.page(name, pydoc.html.document(module, name)).encode()
    return _VARIES.sub(b"0", page)
