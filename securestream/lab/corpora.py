"""Sizes of real things, each with where it comes from.

A corpus is a list of objects, each a message of so many bytes that somebody may want to tell from the others. What is
found on this machine comes first; what a random generator made says so, with its seed.

    CORPORA["debian-packages"].load(seed) -> Corpus
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import generated
from .pydoc_pages import pydoc_pages
from .results import Provenance, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Literal

APT_LISTS = Path("/var/lib/apt/lists")
APT_HELPER = Path("/usr/lib/apt/apt-helper")
MAX_INDEX = 2**29  # bytes of a package index
SUGGESTIONS, TYPED = 10, 3


class CorpusMissing(LookupError):
    """This machine doesn't have what the corpus is made of. Its text says what to do."""


@dataclass(frozen=True)
class Corpus:
    """Objects, as the sizes in bytes of the messages that carry them; none is empty."""

    sizes: tuple[int, ...]
    provenance: Provenance

    @property
    def name(self) -> str:
        return self.provenance.name


@dataclass(frozen=True)
class Source:
    """A corpus that can be had by name. `load(seed)` raises `CorpusMissing`."""

    title: str
    load: Callable[[int], Corpus]


def make_corpus(
    name: str,
    kind: Literal["real", "generated", "yours"],
    text: str,
    sizes: Sequence[int],
    details: Mapping[str, str] | None = None,
) -> Corpus:
    """A corpus of `sizes`; the empty ones, which put nothing on the wire, are left out and counted. Raises
    `CorpusMissing` where nothing is left."""
    kept = tuple(size for size in sizes if size > 0)
    if not kept:
        raise CorpusMissing(f"{name}: no object that has a size")
    told = dict(details or {})
    if len(kept) < len(sizes):
        told["empty objects left out"] = str(len(sizes) - len(kept))
    return Corpus(kept, Provenance(name, kind, text, len(kept), digest_of(kept), told))


# --- found on this machine --------------------------------------------------------------------------


def _debian_packages(seed: int) -> Corpus:
    lists = [path for path in APT_LISTS.glob("*_Packages*") if path.is_file()]
    if not lists or not APT_HELPER.exists():
        raise CorpusMissing("no package index here: on Debian, apt-get update fetches one")
    index = max(lists, key=lambda path: (path.stat().st_size, path.name))
    text = _read_index(index)
    sizes = [int(line[6:]) for line in text.splitlines() if line.startswith("Size: ")]
    return make_corpus(
        "debian-packages",
        "real",
        "sizes of the packages in a Debian package index, one download each",
        sizes,
        {"index": index.name, "release": _release_date(index)},
    )


def _read_index(index: Path) -> str:
    """An index, whichever way it is packed: apt unpacks it."""
    done = subprocess.run([APT_HELPER, "cat-file", index], capture_output=True, check=False)
    if done.returncode or len(done.stdout) > MAX_INDEX:
        raise CorpusMissing(f"{index.name}: apt-helper can't unpack it")
    return done.stdout.decode(errors="replace")


def _release_date(index: Path) -> str:
    release = index.with_name(index.name.partition("_main_")[0] + "_InRelease")
    if release.exists():
        for line in release.read_text(errors="replace").splitlines():
            if line.startswith("Date: "):
                return line[6:]
    return "unknown"


def _installed_files(seed: int) -> Corpus:
    sizes, names = [], []
    for distribution in importlib.metadata.distributions():
        names.append(f"{distribution.metadata['Name']} {distribution.version}")
        sizes += [file.size for file in distribution.files or () if file.size is not None]
    return make_corpus(
        "installed-files",
        "real",
        "sizes of the files that the RECORDs of the installed Python distributions list",
        sorted(sizes),
        {"distributions": ", ".join(sorted(names))},
    )


def _pydoc_sizes(seed: int) -> Corpus:
    return make_corpus(
        "pydoc-pages",
        "real",
        "HTML pages that pydoc makes of the standard library's modules",
        [len(page) for page in pydoc_pages().values()],
    )


def _autocomplete(seed: int) -> Corpus:
    try:
        from english_words import get_english_words_set
    except ImportError:
        raise CorpusMissing("no word list here: pip install english-words") from None
    words = sorted(get_english_words_set(["web2"], lower=True, alpha=True))
    answers: dict[str, list[str]] = {}
    for word in words:
        for end in range(1, min(len(word), TYPED) + 1):
            found = answers.setdefault(word[:end], [])
            if len(found) < SUGGESTIONS:
                found.append(word)
    return make_corpus(
        "autocomplete",
        "real",
        f"JSON answers with up to {SUGGESTIONS} words for what was typed, 1 to {TYPED} letters",
        [len(json.dumps([typed, found])) for typed, found in answers.items()],
        {"words": f"web2 of english-words {importlib.metadata.version('english-words')}, {len(words):,}"},
    )


# --- generated --------------------------------------------------------------------------------------


def _requests(seed: int) -> Corpus:
    return make_corpus(
        "requests",
        "generated",
        "answers of log-normal size, median 4,000 bytes",
        generated.log_normal_sizes(seed, 2_000, median=4_000.0, sigma=1.5),
        {"seed": str(seed)},
    )


def _keystrokes(seed: int) -> Corpus:
    sizes = generated.keystrokes(seed, 2_000)
    return make_corpus("keystrokes", "generated", "messages of a terminal, a key each", sizes, {"seed": str(seed)})


CORPORA: Mapping[str, Source] = {
    "debian-packages": Source("Debian's package index, from apt's lists", _debian_packages),
    "installed-files": Source("files of the installed Python distributions", _installed_files),
    "pydoc-pages": Source("pydoc's HTML pages of the standard library", _pydoc_sizes),
    "autocomplete": Source("answers of an autocompletion, from a word list of PyPI's", _autocomplete),
    "requests": Source("generated: answers of log-normal size", _requests),
    "keystrokes": Source("generated: keys of a terminal", _keystrokes),
}
