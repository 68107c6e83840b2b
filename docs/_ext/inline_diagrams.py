"""Puts the diagrams into the page itself, where they have its colours; as pictures they couldn't know them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata


def put_inline(app: Sphinx, doctree: nodes.document, docname: str) -> None:  # doctree-resolved
    if app.builder.format != "html":
        return
    for image in list(doctree.findall(nodes.image)):
        if image["uri"].endswith(".svg"):
            svg = Path(app.srcdir, image["uri"]).read_text(encoding="utf-8")
            image.replace_self(nodes.raw("", svg, format="html"))


def setup(app: Sphinx) -> ExtensionMetadata:
    app.connect("doctree-resolved", put_inline)
    return {"parallel_read_safe": True}
