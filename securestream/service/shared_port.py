"""A TCP port that several processes serve: the kernel deals the connections out among them (SO_REUSEPORT)."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import TYPE_CHECKING, final

import trio

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_BACKLOG = 65_535  # as trio.open_tcp_listeners has it; the kernel takes what it allows


@final
class SharedPort:
    """A TCP port of this machine, kept for processes of this user, each with listeners of its own.

    `port` 0 lets the system choose; `host` None is all interfaces. Kept until it is closed, or the process ends, and
    nobody is let in before there are listeners. Each connection goes to one of the listeners of the moment, by its
    addresses and ports; one of a process that dies is reset while it waits to be accepted, and new ones go to others.

        with ss.SharedPort(9222) as port:
            await ss.serve_secure_listeners(handler, port.listeners(), config)

    Any program of the same user may share the port; no other user's can. Blocks while the host's name is looked up.
    Raises `OSError` where it can't be had.
    """

    def __init__(self, port: int, host: str | None = None) -> None:
        self.port: int = port
        self._kept: list[socket.socket] = []
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            self._keep([(family, address) for family, _, _, _, address in found])
        except BaseException:
            self.close()
            raise

    def _keep(self, found: Sequence[tuple[int, tuple[object, ...]]]) -> None:
        missing = OSError(errno.EAFNOSUPPORT, "no family of addresses that this host has is known here")
        for family, (address, _, *rest) in found:
            try:
                kept = _bound(family, (address, self.port, *rest))  # the first has chosen for all, if it is 0
            except OSError as exc:
                if exc.errno != errno.EAFNOSUPPORT:  # as in a container without IPv6
                    raise
                missing = exc
                continue
            self._kept.append(kept)
            # Asked for, and taken back: Linux lets any user listen where all that are bound have it and none listens.
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            self.port = kept.getsockname()[1]
        if not self._kept:
            raise missing

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it is: addresses with the port."""
        return [kept.getsockname()[:2] for kept in self._kept]

    def listeners(self, backlog: int | None = None) -> list[trio.SocketListener]:
        """This process's own, one an address: for `serve_secure_listeners`, which closes them. Raises `OSError`."""
        with contextlib.ExitStack() as opened:
            sockets = [opened.enter_context(_bound(kept.family, kept.getsockname())) for kept in self._kept]
            for listening in sockets:
                listening.listen(_BACKLOG if backlog is None else backlog)
            opened.pop_all()
        return [trio.SocketListener(trio.socket.from_stdlib_socket(listening)) for listening in sockets]

    def close(self) -> None:
        """Keeps it no longer. Listeners that are open stay so."""
        for kept in self._kept:
            kept.close()
        self._kept = []

    def __enter__(self) -> SharedPort:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SharedPort {self.port}>"


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:  # IPv4 has a socket of its own
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except BaseException:
        bound.close()
        raise
    return bound
