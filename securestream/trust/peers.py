"""Which clients a server takes: a list in the program, or a file that an operator edits.

A line of the file is a public key, a name, and what limits it. Blanks and quotes are as in a shell, and so is `#`:

    aOa7jA2s0LKBIrYmqyEtFWXXXtVHMxNiXlxXDXmWx1s=  alice
    6HvG2FFNFIifEjaAfryurGtr+ucaNgHfSSfgQUi5MHM=  bob    until=2027-06-30 from=10.0.0.0/8,192.168.7.0/24 note="laptop"

A name may have several keys, so that one can be replaced by another without a gap. The file is read again when it has
changed. What is wrong in it is logged with its line, and the list that was good before stays in force; at the start
there is none, so nothing starts.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import logging
import os
import shlex
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..protocol.keys import PublicKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .keyfile import StrPath

logger: logging.Logger = logging.getLogger("securestream")

MAX_FILE_SIZE = 16 * 2**20
_SETTLED_NS = 50_000_000  # a file that was written to more lately may not be whole yet
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class HasPublicKey(Protocol):
    """What is asked about: anything with a public key that was proved."""

    @property
    def public_key(self) -> PublicKey: ...


class HasAddress(HasPublicKey, Protocol):
    """And where it connects from, as `host:port`."""

    @property
    def address(self) -> str: ...


class AuthorizedPeers:
    """The clients that may connect, by public key: `ServerConfig(authorize=AuthorizedPeers([key, ...]))`.

    Given a mapping from keys to names, a client's name becomes `stream.peer.principal`; otherwise its key does.
    Raises `TypeError` for what is no `PublicKey`.
    """

    def __init__(self, peers: Iterable[PublicKey] | Mapping[PublicKey, str]) -> None:
        self._peers: dict[PublicKey, object] = dict(peers.items()) if hasattr(peers, "items") else {k: k for k in peers}
        for key in self._peers:
            if not isinstance(key, PublicKey):
                raise TypeError(
                    f"AuthorizedPeers takes PublicKeys, not {type(key).__name__}: PublicKey.from_text(text)"
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


class PeersFileError(ValueError):
    """A list of clients that can't be used: `file, line 3: what is wrong there`."""


@dataclass(frozen=True)
class AuthorizedClient:
    """A line of the file; `stream.peer.principal` of whom it lets in.

    `public_key`   the client's key
    `name`         what it is called; also `stream.peer.name`
    `until`        when it ends to be valid, or None
    `networks`     where it may connect from; empty: from anywhere
    `note`         for people
    """

    public_key: PublicKey
    name: str
    until: dt.datetime | None = None
    networks: tuple[Network, ...] = ()
    note: str = ""


class AuthorizedPeersFile:
    """The clients that a file lists: `ServerConfig(authorize=AuthorizedPeersFile("clients"))`.

    The file is looked at for each client that connects, and read when it has changed. Replace it with a rename, or
    write it in place: a file that is being written to is not read before it has been left alone for 50 ms.

    Raises `PeersFileError` (a `ValueError`) when it is made and the file has a line that is wrong, is longer than
    16 MiB, or can be written to by others; `OSError` where it can't be read.
    """

    def __init__(self, path: StrPath, *, now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)) -> None:
        self._path = os.fspath(path)
        self._now = now
        self._seen: tuple[int, ...] | None = None  # the file that was read last, good or bad
        self._told = ""
        self._loaded = False
        self._clients: dict[PublicKey, AuthorizedClient] = {}
        self._read()

    @property
    def clients(self) -> tuple[AuthorizedClient, ...]:
        """Those in force."""
        return tuple(self._clients.values())

    async def __call__(self, peer: HasAddress) -> AuthorizedClient:
        """Raises `PermissionError` for a client that isn't listed, or not now, or not from there."""
        self.refresh()
        client = self._clients.get(peer.public_key)
        if client is None:
            raise PermissionError(_unknown(peer))
        if client.until is not None and self._now() >= client.until:
            raise PermissionError(f"the public key {peer.public_key} was valid until {client.until:%Y-%m-%d %H:%M} UTC")
        if client.networks and not _is_in(peer.address, client.networks):
            raise PermissionError(f"the public key {peer.public_key} is not authorised from this address")
        return client

    def refresh(self) -> None:
        """Reads the file again if it has changed. What is wrong then is logged, and the old list stays in force."""
        try:
            if _signature(os.stat(self._path)) != self._seen:
                self._read()
        except (PeersFileError, OSError) as exc:
            if str(exc) != self._told:
                logger.error("%s; the %d clients of before stay in force", exc, len(self._clients))
            self._told = str(exc)

    def _read(self) -> None:
        with open(self._path, "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            data = file.read(MAX_FILE_SIZE + 1)
            after = os.fstat(file.fileno())
        settled = _signature(before) == _signature(after) and time.time_ns() - after.st_mtime_ns >= _SETTLED_NS
        if not settled and self._loaded:
            return  # the next client's turn
        self._seen = _signature(after) if settled else None
        if len(data) > MAX_FILE_SIZE:
            raise PeersFileError(f"{self._path} is longer than {MAX_FILE_SIZE:,} bytes: not a list of clients")
        if after.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            mend = f"chmod go-w {shlex.quote(self._path)}"
            raise PeersFileError(f"{self._path} can be written to by others; to mend it: {mend}")
        self._clients = parse_clients(data, self._path)
        self._loaded, self._told = True, ""

    def __repr__(self) -> str:
        return f"<AuthorizedPeersFile {self._path}: {len(self._clients)} keys>"


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def parse_clients(data: bytes, name: str) -> dict[PublicKey, AuthorizedClient]:
    """The clients in the file `name`, by key. Raises `PeersFileError`."""
    clients: dict[PublicKey, AuthorizedClient] = {}
    lines: dict[PublicKey, int] = {}
    for number, line in enumerate(data.decode("utf-8-sig", "replace").split("\n"), 1):
        try:
            client = _parse_client(line)
        except ValueError as exc:
            raise PeersFileError(f"{name}, line {number}: {exc}") from None
        if client is None:
            continue
        if client.public_key in clients:
            raise PeersFileError(f"{name}, line {number}: the key of line {lines[client.public_key]} again")
        clients[client.public_key] = client
        lines[client.public_key] = number
    return clients


def _parse_client(line: str) -> AuthorizedClient | None:
    """One line; None where there is nothing in it. Raises `ValueError`."""
    try:
        key, *rest = shlex.split(line, comments=True) or ("",)
    except ValueError:
        raise ValueError("a quote that is not closed") from None
    if not key:
        return None
    public_key = PublicKey.from_text(key)
    if not rest or "=" in rest[0]:
        raise ValueError("a name belongs behind the key")
    options: dict[str, str] = {}
    for option in rest[1:]:
        name, equals, value = option.partition("=")
        if not equals or name not in ("until", "from", "note"):
            raise ValueError("behind key and name there may be until=, from= and note=")
        if name in options:
            raise ValueError(f"{name}= twice")
        options[name] = value
    return AuthorizedClient(
        public_key=public_key,
        name=_printable(rest[0]),
        until=_parse_until(options["until"]) if "until" in options else None,
        networks=_parse_networks(options["from"]) if "from" in options else (),
        note=_printable(options.get("note", "")),
    )


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("names and notes are printable text")
    return text


def _parse_until(text: str) -> dt.datetime:
    """A day, all of which counts, or a moment; UTC unless it says otherwise."""
    try:
        if len(text) == len("2027-06-30"):
            return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC) + dt.timedelta(days=1)
        moment = dt.datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError("until= takes a day, 2027-06-30, or a moment, 2027-06-30T18:00:00Z") from None
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _parse_networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part) for part in text.split(","))
    except ValueError:
        raise ValueError("from= takes networks, 10.0.0.0/8,2001:db8::/32") from None


def _is_in(address: str, networks: tuple[Network, ...]) -> bool:
    host = address.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False  # a Unix socket, or a transport that doesn't tell
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return any((mapped or ip) in network for network in networks)
