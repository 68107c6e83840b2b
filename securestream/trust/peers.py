"""Which clients a server takes: a list in the program, or a file that an operator edits.

A line of the file is a public key, a name, and what limits it:

    aOa7jA2s0LKBIrYmqyEtFWXXXtVHMxNiXlxXDXmWx1s=  alice
    6HvG2FFNFIifEjaAfryurGtr+ucaNgHfSSfgQUi5MHM=  bob    until=2027-06-30 from=10.0.0.0/8,192.168.7.0/24 note="laptop"

The key of a client that comes over TLS is `sha256:` and the hash of its key.

A name may have several keys, so that one can be replaced by another without a gap. (`lists.py` has the grammar,
`watched.py` what becomes of changes.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..protocol.keys import PublicKey
from ..protocol.tls_keys import KeyHash, PeerKey
from .lists import Line, is_over, parse_list, parse_until, printable_text, utc_now
from .networks import Network, is_in, parse_networks
from .watched import WatchedFile

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from .keyfile import StrPath


class HasPublicKey(Protocol):
    """What is asked about: anything with a public key that was proved."""

    @property
    def public_key(self) -> PeerKey: ...


class HasAddress(HasPublicKey, Protocol):
    """And where it connects from, as `host:port`."""

    @property
    def address(self) -> str: ...


class AuthorizedPeers:
    """The clients that may connect, by public key: `ServerConfig(authorize=AuthorizedPeers([key, ...]))`.

    Given a mapping from keys to names, a client's name becomes `stream.peer.principal`, and `stream.peer.name`;
    otherwise its key becomes the principal.
    Raises `TypeError` for what is no `PublicKey` and, for TLS, no `KeyHash`.
    """

    def __init__(
        self, peers: Iterable[PeerKey] | Mapping[PublicKey, str] | Mapping[KeyHash, str] | Mapping[PeerKey, str]
    ) -> None:
        if not isinstance(peers, Iterable):
            raise TypeError("AuthorizedPeers takes several PublicKeys: [key, ...]")
        self._peers: dict[PeerKey, object] = (
            dict(peers.items()) if isinstance(peers, Mapping) else {k: k for k in peers}
        )
        for key in self._peers:
            if not isinstance(key, PublicKey | KeyHash):
                raise TypeError(
                    f"AuthorizedPeers takes PublicKeys and KeyHashes, not {type(key).__name__}: "
                    "PublicKey.from_text(text)"
                )

    async def __call__(self, peer: HasPublicKey) -> object:
        """Raises `PermissionError` for a client that isn't listed."""
        principal = self._peers.get(peer.public_key)
        if principal is None:
            raise PermissionError(_unknown(peer))
        return principal

    def __repr__(self) -> str:
        return f"<AuthorizedPeers: {len(self._peers)} keys>"


def _unknown(peer: HasPublicKey) -> str:
    return f"the public key {peer.public_key} is not authorised here"


# --- in a file --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AuthorizedClient:
    """A line of the file; `stream.peer.principal` of whom it lets in.

    `public_key`   the client's key, a `KeyHash` for one that comes over TLS
    `name`         what it is called; also `stream.peer.name`
    `until`        when it ends to be valid, or None
    `networks`     where it may connect from; empty: from anywhere
    `note`         for people
    """

    public_key: PeerKey
    name: str
    until: dt.datetime | None = None
    networks: tuple[Network, ...] = ()
    note: str = ""


class AuthorizedPeersFile:
    """The clients that a file lists: `ServerConfig(authorize=AuthorizedPeersFile("clients"))`.

    The file is looked at for each client that connects, and read when it has changed. Replace it with a rename, or
    write it in place: a file that is being written to is not read before it has been left alone for 50 ms.
    `ServerConfig(recheck=seconds)` has it asked about the clients that are in, too.

    Raises `PeersFileError` (a `ValueError`) when it is made and the file has a line that is wrong, is longer than
    16 MiB, or can be written to by others; `OSError` where it can't be read.
    """

    def __init__(self, path: StrPath, *, now: Callable[[], dt.datetime] = utc_now) -> None:
        self._file = WatchedFile(path, parse_clients, "clients")
        self._now = now

    @property
    def clients(self) -> tuple[AuthorizedClient, ...]:
        """Those in force."""
        return tuple(self._file.value.values())

    async def __call__(self, peer: HasAddress) -> AuthorizedClient:
        """Raises `PermissionError` for a client that isn't listed, or not now, or not from there."""
        client = self._file.refresh().get(peer.public_key)
        if client is None:
            raise PermissionError(_unknown(peer))
        if client.until is not None and is_over(client.until, self._now):
            raise PermissionError(f"the public key {peer.public_key} was valid until {client.until:%Y-%m-%d %H:%M} UTC")
        if client.networks and not is_in(peer.address, client.networks):
            raise PermissionError(f"the public key {peer.public_key} is not authorised from this address")
        return client

    def refresh(self) -> None:
        """Reads the file again if it has changed. What is wrong then is logged, and the old list stays in force."""
        self._file.refresh()

    def __repr__(self) -> str:
        return f"<AuthorizedPeersFile {self._file.path}: {len(self._file.value)} keys>"


def parse_clients(data: bytes, file: str) -> dict[PeerKey, AuthorizedClient]:
    """The clients in the file, by key. Raises `PeersFileError`."""
    return parse_list(data, file, _client, ("until", "from", "note"))


def _client(line: Line) -> tuple[PeerKey, AuthorizedClient]:
    client = AuthorizedClient(
        public_key=line.public_key,
        name=line.name,
        until=parse_until(line.options),
        networks=parse_networks(line.options["from"].split(",")) if "from" in line.options else (),
        note=printable_text(line.options.get("note", "")),
    )
    return line.public_key, client
