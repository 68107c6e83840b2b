"""What the tests of the router share: servers that say who they are, and routers in front of them, on loopback."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import trio

import securestream as ss

from ..streams.support import PATIENCE, failure_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence

    Stream = ss.SecureStream[trio.SocketStream]
    Handler = Callable[[Stream], Awaitable[object]]
    Routes = Mapping[ss.PublicKey, Sequence[ss.Backend]] | Callable[[ss.PublicKey], Awaitable[Sequence[ss.Backend]]]

HOST = "127.0.0.1"
LOOPBACK = ["127.0.0.0/8"]
SERVER, OTHER, ROUTER, CLIENT = (ss.PrivateKey(bytes([n]) * 32) for n in (51, 52, 53, 54))
NOWHERE = ss.Backend(f"{HOST}:1")


def client_config(**changes: object) -> ss.ClientConfig:
    """A client of `SERVER` behind `ROUTER`."""
    config = ss.ClientConfig(key=CLIENT, server_key=SERVER.public_key, middlebox_key=ROUTER.public_key)
    return replace(config, **changes)  # type: ignore[arg-type]  # the test's own, by name


def server_config(key: ss.PrivateKey = SERVER) -> ss.ServerConfig:
    return ss.ServerConfig(key=key, authorize=ss.AuthorizedPeers({CLIENT.public_key: "client"}))


def config(routes: Routes, **changes: object) -> ss.RouterConfig:
    return replace(ss.RouterConfig(keys=[ROUTER], routes=routes), **changes)  # type: ignore[arg-type]  # the same


async def answer(stream: Stream, name: str) -> None:
    """Says its name and where the client is, at the client's end."""
    asked = b"".join([bytes(chunk) async for chunk in stream])
    await stream.send_all(f"{name} {stream.peer.address} {len(asked)}".encode())


class Place:
    """What a test has started: servers and routers on ports of their own, all of them ended with it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery

    async def server(
        self,
        name: str = "server",
        key: ss.PrivateKey = SERVER,
        handler: Handler | None = None,
        proxy_from: Iterable[str] = (),
    ) -> ss.Backend:
        serve = partial(
            ss.serve_secure_tcp, handler or partial(answer, name=name), 0, server_config(key), host=HOST,
            proxy_from=proxy_from,
        )  # fmt: skip
        return ss.Backend(await self._start(serve), proxy=bool(tuple(proxy_from)))

    async def plain(self, handler: Callable[[trio.SocketStream], Awaitable[None]]) -> ss.Backend:
        """A server of any kind."""
        return ss.Backend(await self._start(partial(trio.serve_tcp, handler, 0, host=HOST)))

    async def router(
        self, config: ss.RouterConfig, *, drain: ss.Drain | None = None, proxy_from: Iterable[str] = ()
    ) -> ss.Backend:
        route = partial(ss.serve_router_tcp, 0, config, host=HOST, drain=drain, proxy_from=proxy_from)
        return ss.Backend(await self._start(route), proxy=bool(tuple(proxy_from)))

    async def _start(self, serve: partial[Coroutine[object, object, None]]) -> str:
        listeners: list[trio.SocketListener] = await self.nursery.start(serve)
        return f"{HOST}:{listeners[0].socket.getsockname()[1]}"


@asynccontextmanager
async def a_place() -> AsyncIterator[Place]:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            yield Place(nursery)
            nursery.cancel_scope.cancel()


async def until(holds: Callable[[], bool]) -> None:
    """What the router does after its client has heard of it."""
    while not holds():
        await trio.lowlevel.checkpoint()


async def connect(router: ss.Backend, config: ss.ClientConfig | None = None) -> Stream:
    return await ss.wrap_client(await router.dial(), config or client_config())


async def ask(router: ss.Backend, config: ss.ClientConfig | None = None, question: bytes = b"") -> str:
    """Who answers, through this router."""
    async with await connect(router, config) as stream:
        await stream.send_all(question)
        await stream.send_eof()
        return b"".join([bytes(chunk) async for chunk in stream]).decode()


async def refusal(router: ss.Backend, client: ss.ClientConfig | None = None) -> tuple[int, bool]:
    """The alert's code, and whether anybody has vouched for it."""
    error = await failure_of(connect(router, client), ss.HandshakeRefused)
    return error.alert.code, error.authenticated
