"""Public names are documented as `securestream.Name`, wherever they are defined.

Annotations and base classes name the module where a thing is defined; the reader imports it from `securestream`. And
what belongs to other projects has no entry here: this build reaches no network, so it can't be looked up either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import securestream

if TYPE_CHECKING:
    from docutils.nodes import Element, TextElement
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment
    from sphinx.util.typing import ExtensionMetadata


# What annotations name and nobody imports.
UNLISTED = {"T_co", "T_Stream", "ConnectionString", "SecretPolicy", "EventLogger"}


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: TextElement) -> Element | None:
    """Where a name leads that has no entry as it stands. None is a warning; names of other projects get none."""
    if node.get("refdomain") != "py":
        return None
    target: str = node["reftarget"]
    name = target.rpartition(".")[2]
    if name in securestream.__all__ and target != f"securestream.{name}":
        domain = env.domains.python_domain
        return domain.resolve_any_xref(env, node["refdoc"], app.builder, f"securestream.{name}", node, content)[0][1]
    return None if target.startswith("securestream.") and name not in UNLISTED else content


def setup(app: Sphinx) -> ExtensionMetadata:
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True}
