"""Which servers a client trusts: their keys in the program, or in a file of known servers.

A line of the file is a public key, the server's name, and what limits it:

    6HvG2FFNFIifEjaAfryurGtr+ucaNgHfSSfgQUi5MHM=  db.example:9222
    aOa7jA2s0LKBIrYmqyEtFWXXXtVHMxNiXlxXDXmWx1s=  orders  until=2027-06-30 note="the old one"

A name stands for one server, in any letters, and there are no patterns. It may have several keys, so that a server's
key can be replaced without a gap. (`lists.py` has the grammar, `watched.py` what becomes of changes.)

*Trust on first use*, where it is asked for by name: a server of which the file knows no key is believed once, and its
key written down. Whoever answers in its place that first time is believed, too. Writing takes a lock on the folder,
reads the file once more, and puts a new file in place of the old, so that two programs that meet a server for the
first time at once believe one key, and nobody reads half a file (`appending.py`).
"""

from __future__ import annotations

import logging
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import trio

from ..protocol.keys import PublicKey
from ..protocol.tls_keys import KeyHash, PeerKey
from .appending import append_line, locked_folder
from .lists import Line, PeersFileError, is_over, parse_list, parse_until, printable_text, utc_now
from .watched import WatchedFile

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable

    from .keyfile import StrPath

logger: logging.Logger = logging.getLogger("securestream")

FirstUse = Literal["refuse", "trust"]

_BETWEEN_LOOKS = 0.02  # seconds, while somebody is writing the file


class KnownServers:
    """The keys of one server, all of them good: `ClientConfig(server_key=KnownServers([old, new]))`.

    For the time in which a server's key is replaced. Raises `TypeError` for what is no `PublicKey` and, for
    TLS, no `KeyHash`; `ValueError` for none at all.
    """

    def __init__(self, keys: Iterable[PeerKey]) -> None:
        self._keys = tuple(dict.fromkeys(keys))
        if not all(isinstance(key, PublicKey | KeyHash) for key in self._keys):
            raise TypeError("KnownServers takes PublicKeys and KeyHashes: PublicKey.from_text(text)")
        if not self._keys:
            raise ValueError("KnownServers without a key would refuse every server")

    def only_key(self) -> PeerKey | None:
        """The one key that will do, if there is one."""
        return self._keys[0] if len(self._keys) == 1 else None

    async def __call__(self, key: PeerKey) -> None:
        """Raises `PermissionError` for any other key."""
        if key not in self._keys:
            raise PermissionError(f"it is none of the keys that are known: {_listed(self._keys)}")

    def __repr__(self) -> str:
        return f"KnownServers([{', '.join(map(repr, self._keys))}])"


@dataclass(frozen=True)
class KnownServer:
    """A line of a file of known servers.

    `public_key`  the server's key, a `KeyHash` for one that speaks TLS
    `name`        what it is called, `host:port` or as its clients like
    `until`       when the key ends to be valid, or None
    `note`        for people
    """

    public_key: PeerKey
    name: str
    until: dt.datetime | None = None
    note: str = ""


class KnownServersFile:
    """The keys that a file has for one server: `ClientConfig(server_key=KnownServersFile("servers", "db:9222"))`.

    The file is looked at for each handshake, and read when it has changed, as `AuthorizedPeersFile` is. A server with
    another key is refused, and the error shows both keys and what to do.

    `first_use="trust"` takes any key where the file has none for this name, and writes it down; the file need not be
    there before. Whoever answers that first time is believed.

    Raises `PeersFileError` (a `ValueError`) when it is made and the file can't be used, `ValueError` for what is no
    name, `OSError` where the file can't be read.
    """

    def __init__(
        self,
        path: StrPath,
        name: str,
        *,
        first_use: FirstUse = "refuse",
        now: Callable[[], dt.datetime] = utc_now,
    ) -> None:
        self._name = check_name(name)
        if first_use not in ("refuse", "trust"):
            raise ValueError('first_use is "refuse" or "trust"')
        self._trusts_first = first_use == "trust"
        self._now = now
        self._file = WatchedFile(path, parse_servers, "servers", may_be_missing=self._trusts_first)

    @property
    def servers(self) -> tuple[KnownServer, ...]:
        """The lines for this name, those that are over included."""
        return self._lines(self._file.value)

    def only_key(self) -> PeerKey | None:
        """The one key that will do, if there is one."""
        keys = self._valid(self._lines(self._file.refresh()))
        return keys[0] if len(keys) == 1 else None

    async def __call__(self, key: PeerKey) -> None:
        """Raises `PermissionError` for a key that the file doesn't have for this name."""
        lines = self._lines(self._file.refresh())
        if not lines and self._trusts_first:
            lines = await self._first_use(key)
        if key not in self._valid(lines):
            raise PermissionError(self._refusal(key, lines))

    async def _first_use(self, key: PeerKey) -> tuple[KnownServer, ...]:
        """The lines for this name, which another program may have written meanwhile; else this key is written down."""
        try:
            lines = await self._believe(key)
            while not lines:
                await trio.sleep(_BETWEEN_LOOKS)
                lines = await self._believe(key)
        except (OSError, PeersFileError) as exc:
            raise PermissionError(f"it is seen for the first time and can't be written down: {exc}") from exc
        return lines

    async def _believe(self, key: PeerKey) -> tuple[KnownServer, ...]:
        """The lines for this name, this key's if there were none; none while somebody is writing the file."""
        async with locked_folder(self._file.path):
            lines = self._lines(self._file.read())
            if not lines and self._file.is_whole:
                server = KnownServer(key, self._name, note=f"first seen {self._now():%Y-%m-%d}")
                append_line(self._file.path, _line(server))
                lines = self._lines(self._file.read())
                logger.warning("%s: trusted at first use with the key %s; see %s", self._name, key, self._file.path)
        return lines

    def _lines(self, servers: dict[tuple[str, PeerKey], KnownServer]) -> tuple[KnownServer, ...]:
        return tuple(server for (name, _), server in servers.items() if name == self._name.casefold())

    def _valid(self, lines: Iterable[KnownServer]) -> list[PeerKey]:
        return [line.public_key for line in lines if not is_over(line.until, self._now)]

    def _refusal(self, key: PeerKey, lines: tuple[KnownServer, ...]) -> str:
        path, name = self._file.path, self._name
        mend = f"echo {shlex.quote(_line(KnownServer(key, name)))} >> {shlex.quote(path)}"
        if not lines:
            return f"{path} has no key for {name}. If its owner confirms this one: {mend}"
        if any(line.public_key == key for line in lines):
            return f"{path} has this key for {name} until a moment that has come"
        known = _listed([line.public_key for line in lines])
        return (
            f"{path} has {known} for {name}. Either its owner has changed it, or somebody else is answering. "
            f"If its owner confirms the new one: {mend}"
        )

    def __repr__(self) -> str:
        return f"<KnownServersFile {self._file.path}: {len(self.servers)} keys for {self._name}>"


def parse_servers(data: bytes, file: str) -> dict[tuple[str, PeerKey], KnownServer]:
    """The servers in the file, by name in small letters and key. Raises `PeersFileError`."""
    return parse_list(data, file, _server, ("until", "note"))


def _server(line: Line) -> tuple[tuple[str, PeerKey], KnownServer]:
    server = KnownServer(
        public_key=line.public_key,
        name=check_name(line.name),
        until=parse_until(line.options),
        note=printable_text(line.options.get("note", "")),
    )
    return (server.name.casefold(), server.public_key), server


def check_name(name: str) -> str:
    """A server's name. Raises `ValueError` for what can't be one."""
    if not name or not name.isprintable() or "=" in name or name != name.strip():
        raise ValueError("a server's name is printable text without =")
    if "*" in name or "?" in name:
        raise ValueError("a name stands for one server; there are no patterns")
    return name


def _listed(keys: Iterable[PeerKey]) -> str:
    return ", ".join(map(str, keys))


def _line(server: KnownServer) -> str:
    note = f" note={shlex.quote(server.note)}" if server.note else ""
    return f"{server.public_key}  {shlex.quote(server.name)}{note}"
