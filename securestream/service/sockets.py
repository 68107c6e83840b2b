"""Listeners other than TCP ports: Unix sockets on a path, and sockets that systemd has opened."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from typing import final

import trio

# What systemd hands over at most; nobody listens in more places.
MAX_SYSTEMD_SOCKETS = 64
# Where its descriptors begin (sd_listen_fds(3), SD_LISTEN_FDS_START).
_FIRST_DESCRIPTOR = 3
_BACKLOG = 65_535  # as trio.open_tcp_listeners has it; the kernel takes what it allows


# --- Unix sockets -----------------------------------------------------------------------------------


@final
class UnixListener(trio.abc.Listener[trio.SocketStream]):
    """A listener on a path, which is removed when it is closed. Made by `open_unix_listener`.

    `path`    where it is
    `socket`  the Trio socket
    """

    def __init__(self, path: str, socket: trio.socket.SocketType) -> None:
        self.path = path
        self._listener = trio.SocketListener(socket)
        self._file = _identity(path)

    @property
    def socket(self) -> trio.socket.SocketType:
        return self._listener.socket

    async def accept(self) -> trio.SocketStream:
        """The next connection. Raises what `trio.SocketListener.accept` does."""
        return await self._listener.accept()

    async def aclose(self) -> None:
        """Closes it, and removes its path unless another socket has taken it. Doing it again does nothing."""
        if self._file is not None and _identity(self.path) == self._file:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        self._file = None
        await self._listener.aclose()

    def __repr__(self) -> str:
        return f"<UnixListener on {self.path!r}>"


async def open_unix_listener(
    path: str | os.PathLike[str], *, mode: int = 0o600, backlog: int | None = None
) -> UnixListener:
    """Listens on a path. Who may write to the file may connect: `mode` is its permissions, the owner alone by default.

    A socket that nobody listens on any more, left by a server that was killed, is replaced; one that is in use is
    not, and neither is a file of any other kind. (Two servers that start at the same moment may both find it
    unused; who uses one path for several servers starts them one after the other.)

    Raises `OSError`: "address already in use", `FileExistsError`, and what the system says.
    """
    name = os.fspath(path)
    _remove_stale(name)
    listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    try:
        os.fchmod(listening.fileno(), mode)  # before there is a file, which then begins with these and less the umask
        await listening.bind(name)
        if stat.S_IMODE(os.lstat(name).st_mode) != mode:
            os.chmod(name, mode)
        listening.listen(_BACKLOG if backlog is None else backlog)
        return UnixListener(name, listening)
    except BaseException:
        listening.close()
        raise


def _remove_stale(path: str) -> None:
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise FileExistsError(errno.EEXIST, "there is a file that is no socket", path)
    if _is_in_use(path):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _is_in_use(path: str) -> bool:
    """Whether somebody listens on it. Doubts, such as a refusal by the file's permissions, are errors."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:  # it has no room for one more at the moment
            return True
    return True


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


# --- systemd ----------------------------------------------------------------------------------------


def systemd_listeners() -> list[trio.SocketListener]:
    """The sockets that systemd has opened for this process (`sd_listen_fds(3)`), in the order of its unit file.

    Call it once, early: the variables `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` are taken out of the
    environment, so that no child believes that they are meant for it, and the descriptors are not inherited.

    Raises `ValueError` where this process was started without any, with more than 64, or with something else than
    listening stream sockets; nothing is closed then.
    """
    sockets: list[socket.socket] = []
    try:
        for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + _descriptors_given()):
            os.set_inheritable(descriptor, False)
            sockets.append(socket.socket(fileno=descriptor))
            _check_listening(sockets[-1])
    except Exception as exc:
        for each in sockets:
            each.detach()
        raise ValueError(f"systemd's sockets can't be used: {getattr(exc, 'strerror', None) or exc}") from exc
    return [trio.SocketListener(trio.socket.from_stdlib_socket(each)) for each in sockets]


def _descriptors_given() -> int:
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()):
        raise ValueError("none were opened for this process; is it started by a .socket unit?")
    if not count.isascii() or not count.isdigit() or len(count) > 4 or not 0 < int(count) <= MAX_SYSTEMD_SOCKETS:
        raise ValueError(f"LISTEN_FDS is a number from 1 to {MAX_SYSTEMD_SOCKETS}, not {count[:20]!r}")
    return int(count)


def _check_listening(given: socket.socket) -> None:
    is_stream = given.type == socket.SOCK_STREAM and given.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
    if not is_stream or not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ValueError(f"descriptor {given.fileno()} is no listening stream socket: ListenStream= and Accept=no")
