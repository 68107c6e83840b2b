"""A file of known servers: read, or refused with the number of a line."""

from __future__ import annotations

import re

from securestream.protocol.keys import PrivateKey
from securestream.trust.lists import PeersFileError
from securestream.trust.servers import parse_servers

SHOWS = "fuzz-parsers"
PARSERS = ()

KEY, OTHER = (str(PrivateKey(bytes([n]) * 32).public_key) for n in (1, 2))
SECRET = PrivateKey(bytes([3]) * 32).to_text()


def one_input(data: bytes) -> None:
    try:
        servers = parse_servers(data, "file")
    except PeersFileError as exc:
        told = str(exc)
        assert re.match(r"file, line \d+: ", told)
        assert SECRET[10:30] not in told
        return
    for (name, key), server in servers.items():
        assert (server.name.casefold(), server.public_key) == (name, key)
        assert (server.name + server.note).isprintable()
        assert not {"*", "?", "="} & set(server.name)


def seeds() -> dict[str, bytes]:
    texts = {
        "plain": f"# servers\n{KEY} db.example:9222\n{OTHER} [::1]:9222 # here\n",
        "options": f"{KEY} 'a b' until=2027-06-30 note=\"x y\"\n",
        "rotated": f"\ufeff{KEY} DB:1 until=2027-06-30T18:00:00+02:00\n{OTHER} db:1\n",
        "pattern": f"{KEY} *.example\n",
        "secret": f"{SECRET} db\n",
        "twice": f"{KEY} a\n{KEY} A\n",
        "quote": f"{KEY} 'a\n",
        "empty": "",
    }
    return {name: text.encode() for name, text in texts.items()}
