"""A file of authorised clients: read, or refused with the number of a line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from securestream.protocol.keys import PrivateKey
from securestream.trust.lists import PeersFileError
from securestream.trust.peers import AuthorizedClient, parse_clients

if TYPE_CHECKING:
    from securestream.protocol.tls_keys import PeerKey

SHOWS = "fuzz-parsers"
PARSERS = ()

KEY, OTHER = (str(PrivateKey(bytes([n]) * 32).public_key) for n in (1, 2))
SECRET = PrivateKey(bytes([3]) * 32).to_text()


def one_input(data: bytes) -> None:
    clients = read(data)
    if isinstance(clients, str):
        assert re.match(r"file, line \d+: ", clients)
        assert SECRET[10:30] not in clients
        return
    for key, client in clients.items():
        assert client.public_key == key
        assert (client.name + client.note).isprintable()
        assert client.until is None or client.until.tzinfo is not None


def read(data: bytes) -> dict[PeerKey, AuthorizedClient] | str:
    """The clients, or what a person is told."""
    try:
        return parse_clients(data, "file")
    except PeersFileError as exc:
        return str(exc)


def seeds() -> dict[str, bytes]:
    texts = {
        "plain": f"# clients\n{KEY} alice\n{OTHER} bob # here\n",
        "options": f"{KEY} 'a b' until=2027-06-30 from=10.0.0.0/8,2001:db8::/32 note=\"x y\"\n",
        "moment": f"\ufeff{KEY} a until=2027-06-30T18:00:00+02:00\n",
        "secret": f"{SECRET} alice\n",
        "twice": f"{KEY} a\n{KEY} a\n",
        "quote": f"{KEY} 'a\n",
        "empty": "",
    }
    return {name: text.encode() for name, text in texts.items()}
