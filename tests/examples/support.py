"""What the tests of the RPC example share: a served database, and how to get to it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

import securestream as ss
from examples.rpc.client import RpcClient
from examples.rpc.database import Database
from examples.rpc.messages import Append, Ingest, Query, Question, Tick, encode
from examples.rpc.server import RpcServer, Settings

from ..service.support import serving_tcp
from ..streams.support import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from examples.rpc.messages import Call

CLIENT, OTHER_CLIENT, SERVER = (ss.PrivateKey.generate() for _ in range(3))
SECRET = ss.SharedSecret.generate()
SERVER_CONFIG = ss.ServerConfig(
    key=SERVER,
    authorize=ss.AuthorizedPeers([CLIENT.public_key, OTHER_CLIENT.public_key]),
    secrets=[SECRET],
    require_secret=True,
    close_timeout=0.1,
)
CLIENT_CONFIG = ss.ClientConfig(key=CLIENT, server_key=SERVER.public_key, secret=SECRET, close_timeout=0.1)

TICK = Tick("ACME", 1_000, 5)
CALLS: dict[str, Call] = {"query": Query("ACME"), "tick": Ingest(TICK), "log segment": Append(0, b"a segment")}


class Watched(Database):
    """A database that counts how often it was asked for something."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = 0

    async def query(self, symbol: str) -> AsyncGenerator[list[Tick], None]:
        self.queries += 1
        for ticks in (self.ticks[symbol],):
            yield ticks

    @property
    def untouched(self) -> bool:
        return not (self.queries or self.ticks or self.log)


@dataclass(frozen=True)
class Served:
    """A database behind a port of this machine."""

    port: int

    async def connect(self, config: ss.ClientConfig = CLIENT_CONFIG) -> ss.SecureStream[trio.SocketStream]:
        return await ss.open_secure_tcp_stream("127.0.0.1", self.port, config)

    @asynccontextmanager
    async def client(self, config: ss.ClientConfig = CLIENT_CONFIG) -> AsyncIterator[RpcClient]:
        async with ss.StreamPool(partial(self.connect, config)) as pool:
            yield RpcClient(pool)


@asynccontextmanager
async def served(database: Database, settings: Settings | None = None) -> AsyncIterator[Served]:
    with trio.fail_after(PATIENCE):
        async with serving_tcp(RpcServer(database, settings).handle, SERVER_CONFIG) as port:
            yield Served(port)


def question(call: Call, request_id: bytes = b"id") -> bytes:
    return encode(Question(request_id, call))


def framed(content: bytes) -> bytes:
    return len(content).to_bytes(4, "little") + content
