"""Where a command listens: HOST:PORT, unix:PATH, or the sockets that systemd has opened."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple, final

import click
import trio

from ..service.shared_port import SharedPort
from ..service.sockets import UnixListener, open_unix_listener, systemd_listeners
from .common import Address, Failure, address, reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Listener = trio.abc.Listener[trio.SocketStream]

PLACE_HELP = "HOST:PORT, unix:PATH, or systemd for the sockets of a .socket unit. Port 0: the system chooses."


class UnixPath(NamedTuple):
    """A Unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@final
class _Systemd:
    def __str__(self) -> str:
        return "systemd"


SYSTEMD: Final = _Systemd()
Place = Address | UnixPath | _Systemd | SharedPort


def place(text: str) -> Place:
    """For click: raises `click.BadParameter`."""
    if text == "systemd":
        return SYSTEMD
    if text.startswith("unix:"):
        if not text.removeprefix("unix:") or "\0" in text:
            raise click.BadParameter("a path stands behind unix:, as in unix:/run/echo.sock")
        return UnixPath(text.removeprefix("unix:"))
    try:
        return address(text)
    except click.BadParameter as exc:
        raise click.BadParameter(f"{exc.message}; or unix:PATH, or systemd") from None


async def listen(where: Place) -> Sequence[Listener]:
    """Raises `Failure` where it can't."""
    with _listening_on(where):
        match where:
            case Address():
                return await trio.open_tcp_listeners(where.port, host=where.host)
            case SharedPort():
                return where.listeners()
            case UnixPath():
                return [await open_unix_listener(where.path)]
            case _:
                return systemd_listeners()


def share(where: Place) -> SharedPort:
    """For several processes. Raises `Failure` where it can't, `click.UsageError` for what is no port."""
    if not isinstance(where, Address):
        raise click.UsageError("--workers share a port: --listen HOST:PORT", click.get_current_context())
    with _listening_on(where):
        return SharedPort(where.port, where.host)


@contextlib.contextmanager
def _listening_on(where: Place) -> Iterator[None]:
    try:
        yield
    except UnicodeError:
        raise Failure(f"can't listen on {where}: not the name of a host") from None
    except OSError as exc:
        raise Failure(f"can't listen on {where}: {exc.strerror or reason(exc)}") from None
    except ValueError as exc:
        raise Failure(f"can't listen on {where}: {exc}") from None


def place_of(listener: Listener) -> Place:
    """Where a listener of `listen` is, with the port that it has got."""
    if isinstance(listener, UnixListener):
        return UnixPath(listener.path)
    assert isinstance(listener, trio.SocketListener)
    return place_of_socket(listener.socket)


def place_of_socket(socket: trio.socket.SocketType) -> Address | UnixPath:
    """Where a socket of this program is."""
    name = socket.getsockname()
    return UnixPath(str(name)) if socket.family == trio.socket.AF_UNIX else Address(*name[:2])
