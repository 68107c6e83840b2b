"""HTTP over secure streams: an ASGI application under Hypercorn, and httpcore as its client.

python examples/with_http.py    (needs hypercorn and httpcore)

Nothing here is HTTPS: who is at the other end is known by its key, and needs no certificate.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import httpcore
import hypercorn
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import LifespanState

import securestream as ss

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

    Stream = ss.SecureStream[trio.SocketStream]


# --- the server -------------------------------------------------------------------------------------


class StreamForHypercorn(trio.abc.HalfCloseableStream):
    """A secure stream with the one thing more that Hypercorn asks of a stream: `.socket`, for the addresses."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.socket = stream.transport_stream.socket

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def serve_app(stream: Stream, app: ASGIFramework, config: hypercorn.Config) -> None:
    """A handler for `serve_secure_tcp`. The application finds the client's key in `scope["extensions"]`."""

    async def with_peer(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "lifespan":
            scope["extensions"]["securestream"] = {"public_key": str(stream.peer.public_key)}
        await app(scope, receive, send)

    # Hypercorn opens its own listeners, and has no public name for what serves one connection, nor types for ours.
    server = TCPServer(
        ASGIWrapper(with_peer), config, WorkerContext(None), LifespanState(), StreamForHypercorn(stream)  # type: ignore[arg-type]
    )  # fmt: skip
    await server


async def hello(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """The application: says whom it has to do with, and sends back what it is sent."""
    if scope["type"] != "http":
        raise NotImplementedError  # as ASGI has it for scopes that an application does not take
    body, more = b"", True
    while more:
        event = await receive()
        if event["type"] != "http.request":
            return  # the client has gone
        body, more = body + event["body"], event["more_body"]
    who = scope["extensions"]["securestream"]["public_key"]
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"x-client", who.encode())], "trailers": False}
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})


# --- the client -------------------------------------------------------------------------------------


class SecureBackend(httpcore.AsyncNetworkBackend):
    """What httpcore connects with: `AsyncConnectionPool(network_backend=SecureBackend(config))`, and `http://` URLs."""

    def __init__(self, config: ss.ClientConfig) -> None:
        self._config = config

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        with translated(httpcore.ConnectError, httpcore.ConnectTimeout, timeout):
            return SecureNetworkStream(await ss.open_secure_tcp_stream(host, port, self._config))

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class SecureNetworkStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with translated(httpcore.ReadError, httpcore.ReadTimeout, timeout):
            return await self._stream.receive_some(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with translated(httpcore.WriteError, httpcore.WriteTimeout, timeout):
            await self._stream.send_all(buffer)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> object:
        # The pool asks whether the server has closed a stream that is idle.
        return self._stream.transport_stream.socket.is_readable() if info == "is_readable" else None


@contextmanager
def translated(broken: type[Exception], too_slow: type[Exception], timeout: float | None) -> Iterator[None]:
    """Trio's errors as httpcore has them. A stream that was cut is an error, so no body is ever taken for whole."""
    try:
        with trio.fail_after(float("inf") if timeout is None else timeout):
            yield
    except trio.TooSlowError as exc:
        raise too_slow(str(exc)) from exc
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        raise broken(str(exc)) from exc


async def main() -> None:
    server = ss.ServerConfig(key=ss.PrivateKey.generate(), authorize=ss.ANYONE)
    client = ss.ClientConfig(key=ss.PrivateKey.generate(), server_key=server.key.public_key)
    assert client.key is not None
    async with trio.open_nursery() as nursery:
        handler = partial(serve_app, app=hello, config=hypercorn.Config())
        serve = partial(ss.serve_secure_tcp, host="127.0.0.1")
        (listener,) = await nursery.start(serve, handler, 0, server)
        port = listener.socket.getsockname()[1]
        async with httpcore.AsyncConnectionPool(network_backend=SecureBackend(client)) as pool:
            for question in (b"one", b"two"):  # over one secure stream
                answer = await pool.request("POST", f"http://127.0.0.1:{port}/", content=question)
                assert dict(answer.headers)[b"x-client"].decode() == str(client.key.public_key)
                print(answer.status, answer.content)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
