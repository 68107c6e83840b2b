"""A file with a private key, locked or not: read, or refused with the number of a line."""

from __future__ import annotations

import re

from securestream.protocol.keys import PrivateKey
from securestream.trust.keyfile import PRIVATE_KEY, KeyFileError, find_secret

SHOWS = "fuzz-parsers"
PARSERS = ()

SECRET = PrivateKey(bytes([3]) * 32).to_text()
SALT, BOX = "A" * 22 + "==", "A" * 160


def ask() -> str:
    """Asked once a line is understood: deriving a key would take longer than all else."""
    raise ValueError("asked")


def one_input(data: bytes) -> None:
    try:
        assert isinstance(find_secret(data, "file", PRIVATE_KEY, ask), PrivateKey)
    except KeyFileError as exc:
        told = str(exc)
        assert re.match(r"file(, line \d+)?: ", told)
        assert SECRET[12:40] not in told


def seeds() -> dict[str, bytes]:
    texts = {
        "plain": f"# a key\n\n{SECRET}\n",
        "windows": f"\ufeff{SECRET}\r\n",
        "twice": f"{SECRET}\n{SECRET}\n",
        "shared": "ss-shared:" + SECRET[10:],
        "locked": f"# a key\nss-encrypted:argon2id:t=3:m=262144:{SALT}:{BOX}\n",
        "locked_dearly": f"ss-encrypted:argon2id:t=99:m=999999:{SALT}:{BOX}\n",
        "empty": "",
    }
    return {name: text.encode() for name, text in texts.items()}
