"""What a build computes: the description that a package index shows.

The README's relative links lead to files beside it, which an index hasn't got, and the project has no public address
yet that they could lead to instead. So their texts, which are names of files, stand alone there. Once there is
an address, put it in front of the targets here. (hatch-fancy-pypi-readme does the same, as one more dependency of
every build.)
"""

from __future__ import annotations

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE_LINK = re.compile(r"\[([^\]]+)\]\((?![a-z]+:)[^)]+\)")
NOTE = "\n\nThe files named here are in the source distribution.\n"


class Description(MetadataHookInterface):
    """The README, without links that lead nowhere."""

    def update(self, metadata: dict[str, object]) -> None:
        readme = Path(self.root, "README.md").read_text(encoding="utf-8")
        text = RELATIVE_LINK.sub(r"\1", readme).rstrip() + NOTE
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
