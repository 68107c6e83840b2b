"""Where servers are found: a router's table, in the program or in a file that an operator edits.

A line of the file is a server's public key, and where it is:

    6HvG2FFNFIifEjaAfryurGtr+ucaNgHfSSfgQUi5MHM=  10.0.0.5:9222
    6HvG2FFNFIifEjaAfryurGtr+ucaNgHfSSfgQUi5MHM=  10.0.0.6:9222  note="the second of two"
    aOa7jA2s0LKBIrYmqyEtFWXXXtVHMxNiXlxXDXmWx1s=  unix:/run/orders/socket  proxy=v2

A key may have several lines: servers that share it. `proxy=v2` has the server told who the client is, by the PROXY
protocol; it has to expect that. (`lists.py` has the grammar, `watched.py` what becomes of changes.)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from ..protocol.keys import PublicKey
from ..trust.address import AddressError, parse_server
from ..trust.lists import Line, parse_list, printable_text
from ..trust.watched import WatchedFile

if TYPE_CHECKING:
    from ..trust.keyfile import StrPath

_UNIX = "unix:"


@dataclass(frozen=True)
class Backend:
    """A server behind a router.

    `address`  `host:port`, `[IPv6]:port` or `unix:/path`
    `proxy`    whether it is told who the client is, by the PROXY protocol, version 2
    `note`     for people

    Raises `ValueError`.
    """

    address: str
    proxy: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        path = self.address.removeprefix(_UNIX)
        if path != self.address and path.isprintable() and path:
            return
        try:
            parse_server(self.address)
        except AddressError:
            raise ValueError("a backend is HOST:PORT, [IPv6]:PORT or unix:PATH") from None

    async def dial(self) -> trio.SocketStream:
        """Raises `OSError`."""
        if self.address.startswith(_UNIX):
            return await trio.open_unix_socket(self.address.removeprefix(_UNIX))
        return await trio.open_tcp_stream(*parse_server(self.address))


Table = Mapping[PublicKey, Sequence[Backend]]
FindBackends = Callable[[PublicKey], Awaitable[Sequence[Backend]]]
"""Gives the servers that have this key, in any order; none for a key that nobody has here."""


class RoutesFile:
    """The table in a file: `RouterConfig(routes=RoutesFile("routes"))`.

    The file is looked at for each client, and read when it has changed, as `AuthorizedPeersFile` is. Connections that
    are there stay where they are.

    Raises `PeersFileError` (a `ValueError`) when it is made and the file has a line that is wrong, is longer than
    16 MiB, or can be written to by others; `OSError` where it can't be read.
    """

    def __init__(self, path: StrPath) -> None:
        self._file = WatchedFile(path, parse_routes, "routes")

    @property
    def table(self) -> dict[PublicKey, tuple[Backend, ...]]:
        """The one in force."""
        return dict(self._file.value)

    async def __call__(self, key: PublicKey) -> Sequence[Backend]:
        """The servers with this key."""
        return self._file.refresh().get(key, ())

    def __repr__(self) -> str:
        return f"<RoutesFile {self._file.path}: {len(self._file.value)} keys>"


def parse_routes(data: bytes, file: str) -> dict[PublicKey, tuple[Backend, ...]]:
    """The table in the file. Raises `PeersFileError`."""
    table: dict[PublicKey, tuple[Backend, ...]] = {}
    for (key, _), backend in parse_list(data, file, _route, ("proxy", "note"), name="backend").items():
        table[key] = (*table.get(key, ()), backend)
    return table


def _route(line: Line) -> tuple[tuple[PublicKey, str], Backend]:
    if line.options.get("proxy", "v2") != "v2":
        raise ValueError("proxy= takes v2, the version of the PROXY protocol")
    backend = Backend(line.name, "proxy" in line.options, printable_text(line.options.get("note", "")))
    match line.public_key:
        case PublicKey() as key:
            return (key, backend.address), backend
    raise ValueError("a router has no routes for TLS, whose clients don't name the server's key")
