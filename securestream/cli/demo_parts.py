"""What a client does in each part of the demo. Each gives what there is to show, or raises `Failure`."""

from __future__ import annotations

import contextlib
import hashlib
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from ..protocol.codes import AlertCode
from ..protocol.keys import PrivateKey
from ..service.client import open_secure_tcp_stream
from ..streams.buffered import BufferedWriter
from ..streams.config import ClientConfig
from ..streams.errors import HandshakeRefused, PeerAlert, ServerKeyMismatch, StreamError
from .common import Failure, explain, main_cause, reason
from .demo_server import BACKEND_GONE, ECHO, LONG_ANSWER, ROWS_BEFORE_THE_FAILURE, row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..protocol.keys import PublicKey
    from ..streams.secure import SecureStream, StreamStatistics

    Stream = SecureStream[trio.SocketStream]

HOST = "127.0.0.1"
PATIENCE_SECONDS = 20
_CHUNK = 131_072
_ENOUGH_SOURCES = 4_000_000


@contextlib.contextmanager
def patience() -> Iterator[trio.CancelScope]:
    """Ends what doesn't get on for 20 s; who does get on calls `still_moving`. Words what may go wrong."""
    scope = trio.CancelScope(deadline=trio.current_time() + PATIENCE_SECONDS)
    try:
        with scope:
            yield scope
    except Exception as exc:
        raise _worded(main_cause(exc)) from exc
    if scope.cancelled_caught:
        raise Failure(f"the demo failed: nothing moved for {PATIENCE_SECONDS} s")


def still_moving(scope: trio.CancelScope) -> None:
    """Starts the 20 s anew."""
    scope.deadline = trio.current_time() + PATIENCE_SECONDS


def _worded(exc: BaseException) -> BaseException:
    if isinstance(exc, StreamError):
        return Failure(f"the demo failed: {explain(exc)}")
    return Failure(f"the demo failed: {reason(exc)}") if isinstance(exc, OSError) else exc


# --- a file there and back --------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """What is sent: the files, one after the other."""

    title: str
    paths: list[Path]
    size: int


def one_file(path: Path) -> Source:
    """A file of the caller's. Raises `OSError`."""
    return Source(str(path), [path], path.stat().st_size)


def standard_library() -> Source:
    """Some megabytes of real text that every Python has: the sources of its standard library."""
    paths, size = [], 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        if size < _ENOUGH_SOURCES:
            paths.append(path)
            size += path.stat().st_size
    if not paths:
        raise Failure("this Python has no sources of its standard library to send: name a file, securestream demo FILE")
    return Source(f"{len(paths)} files of Python's standard library", paths, size)


@dataclass(frozen=True)
class Transfer:
    """What came of it."""

    digest_sent: str
    digest_received: str
    suite: str
    seconds: float
    statistics: StreamStatistics


async def there_and_back(
    port: int, config: ClientConfig, source: Source, show_progress: Callable[[int], None]
) -> Transfer:
    """Sends `source` to be echoed. `show_progress` is told how many bytes have come back."""
    started = trio.current_time()
    with patience() as scope:
        async with await open_secure_tcp_stream(HOST, port, config) as stream, trio.open_nursery() as nursery:
            sent, received = hashlib.sha256(), hashlib.sha256()
            nursery.start_soon(_send_request, stream, source, sent)
            async for chunk in stream:
                received.update(chunk)
                show_progress(len(chunk))
                still_moving(scope)
    suite = stream.session.suite.name.replace("_", "-")
    seconds = trio.current_time() - started
    transfer = Transfer(sent.hexdigest(), received.hexdigest(), suite, seconds, stream.statistics())
    if transfer.digest_sent != transfer.digest_received:
        raise Failure("the demo failed: what came back is not what was sent")
    return transfer


async def _send_request(stream: Stream, source: Source, sent: hashlib._Hash) -> None:
    async with BufferedWriter(stream) as writer:
        await writer.write(ECHO)
        for path in source.paths:
            async with await trio.open_file(path, "rb") as file:
                while chunk := await file.read(_CHUNK):
                    sent.update(chunk)
                    await writer.write(chunk)
    await stream.send_eof()


# --- what goes wrong, as it should -----------------------------------------------------------------


@dataclass(frozen=True)
class PartialAnswer:
    """What came before the failure, and the failure."""

    rows: int
    size: int
    error: PeerAlert


async def failing_answer(port: int, config: ClientConfig) -> PartialAnswer:
    """Asks for the long answer that fails in its middle."""
    received = bytearray()
    with patience():
        try:
            async with await open_secure_tcp_stream(HOST, port, config) as stream:
                await stream.send_all(LONG_ANSWER)
                async for chunk in stream:
                    received += chunk
        except PeerAlert as exc:
            expected = b"".join(map(row, range(ROWS_BEFORE_THE_FAILURE)))
            if exc.alert.code == BACKEND_GONE and received == expected:
                return PartialAnswer(ROWS_BEFORE_THE_FAILURE, len(received), exc)
            raise
    raise Failure("the demo failed: the answer ended as if it were whole")


async def refused_stranger(port: int, server_key: PublicKey) -> tuple[PublicKey, HandshakeRefused]:
    """Connects with a key that the server doesn't know: that key, and what its owner is told."""
    key = PrivateKey.generate()
    with patience():
        try:
            async with await open_secure_tcp_stream(HOST, port, ClientConfig(key=key, server_key=server_key)):
                pass
        except HandshakeRefused as exc:
            if exc.alert.code == AlertCode.ACCESS_DENIED:
                return key.public_key, exc
            raise
    raise Failure("the demo failed: the server took a client that it doesn't know")


async def other_server(port: int, key: PrivateKey) -> tuple[PublicKey, ServerKeyMismatch]:
    """Connects with another server key in mind: that key, and what the person is told."""
    expected = PrivateKey.generate().public_key
    with patience():
        try:
            async with await open_secure_tcp_stream(HOST, port, ClientConfig(key=key, server_key=expected)):
                pass
        except ServerKeyMismatch as exc:
            return expected, exc
    raise Failure("the demo failed: the client took a server that it didn't want")
