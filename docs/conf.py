"""The documentation as a site: sphinx-build -W --keep-going -n -b html docs build/site"""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_ext"))

import securestream  # noqa: E402  # behind the path, as the extensions below

project = "securestream"
author = copyright = "The securestream developers"  # noqa: A001  # Sphinx's own name
release = version = securestream.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "docstrings", "public_names", "outside_documents", "inline_diagrams"]
exclude_patterns = ["_ext", "diagrams", "newsfragments"]
nitpicky = True
smartquotes = False

# Links to headings are checked, with the anchors that code hosts give them.
myst_heading_anchors = 3
highlight_language = "text"
suppress_warnings = ["misc.highlighting_failure"]  # Pygments knows no haproxy

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
# What configurations take, by the name that it has an entry under.
CALLABLES = "securestream.streams.config"
autodoc_type_aliases = {name: f"{CALLABLES}.{name}" for name in ("Authorize", "JudgeServer", "Secrets", "Credentials")}
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 76
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"securestream {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_show_sphinx = False
pygments_style, pygments_dark_style = "a11y-high-contrast-light", "a11y-high-contrast-dark"
