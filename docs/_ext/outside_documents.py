"""Documents outside of this folder are pages here by an include, and links to and in them lead where they should.

`docs/contributing.md` is nothing but an include of `../CONTRIBUTING.md`. A link to `../CONTRIBUTING.md`, which a code
host follows to the file, is one to that page. Links in the file, which begin where it lies, begin where the page lies.
Links to files of other kinds, such as examples, offer them.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.addnodes import pending_xref

if TYPE_CHECKING:
    from docutils.nodes import document
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

INCLUDE = re.compile(r"^```\{include\} (\S+)", re.MULTILINE)
LINK_TO_FILE = re.compile(r"\]\((?!\w+:)([^)#\s]+)")


@cache
def page_of(app: Sphinx) -> dict[Path, str]:
    """Which page includes a file."""
    pages = {}
    for docname in app.env.found_docs:
        path = Path(app.env.doc2path(docname))
        for target in INCLUDE.findall(path.read_text(encoding="utf-8")):
            pages[(path.parent / target).resolve()] = docname
    return pages


def move_links(app: Sphinx, included: Path, parent: str, content: list[str]) -> None:  # include-read
    """Lets the links of an included file begin where the page lies."""
    page = Path(app.env.doc2path(app.env.docname)).parent
    folder = (Path(app.srcdir) / included).parent
    content[0] = LINK_TO_FILE.sub(lambda link: f"]({os.path.relpath(folder / link[1], page)}", content[0])


def lead_to_pages(app: Sphinx, doctree: document) -> None:  # doctree-read
    pages = page_of(app)
    for node in doctree.findall(pending_xref):
        if node.get("refdomain") == "doc":
            path = Path(app.srcdir, f"{node['reftarget']}.md").resolve()
            node["reftarget"] = pages.get(path, node["reftarget"])


def setup(app: Sphinx) -> ExtensionMetadata:
    app.connect("include-read", move_links)
    app.connect("doctree-read", lead_to_pages)
    return {"parallel_read_safe": True}
