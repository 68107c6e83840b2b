"""Both sides in one process: some calls, an answer that fails, and somebody who has no business here.

python -m examples.rpc
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import trio

import securestream as ss

from .client import RpcClient
from .database import Database, DatabaseError
from .messages import Append, Ingest, Tick
from .server import RpcServer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Frail(Database):
    """Loses its disk after the first ticks of FRAIL."""

    async def query(self, symbol: str) -> AsyncGenerator[list[Tick], None]:
        async with aclosing(super().query(symbol)) as found:
            async for ticks in found:
                yield ticks
                if symbol == "FRAIL":
                    raise DatabaseError("the disk went away")


async def main() -> None:
    key, secret, client_key = ss.PrivateKey.generate(), ss.SharedSecret.generate(), ss.PrivateKey.generate()
    server = ss.ServerConfig(
        key=key,
        authorize=ss.AuthorizedPeers([client_key.public_key]),
        secrets=[secret],
        require_secret=True,
        limits=ss.Limits(connections=100, idle_timeout=300),
    )
    client = ss.ClientConfig(key=client_key, server_key=key.public_key, secret=secret)
    serve = partial(ss.serve_secure_tcp, RpcServer(Frail()).handle, 0, server, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(serve)
        port = listeners[0].socket.getsockname()[1]
        await make_calls(port, client)
        await be_turned_away(port, replace(client, secret=None))
        nursery.cancel_scope.cancel()


async def make_calls(port: int, config: ss.ClientConfig) -> None:
    async with ss.StreamPool(partial(ss.open_secure_tcp_stream, "127.0.0.1", port, config), max_streams=4) as pool:
        client = RpcClient(pool)
        async with trio.open_nursery() as nursery:
            for price in range(1_000, 1_010):
                nursery.start_soon(client.change, Ingest(Tick("ACME", price, 5)))
                nursery.start_soon(client.change, Ingest(Tick("FRAIL", price, 5)))
        async with client.query("ACME") as ticks:
            print("ACME:", sorted([tick.price async for tick in ticks]))
        for _ in range(2):
            count = await client.change(Append(0, b"the first segment"), request_id=b"segment 0")
            print("segments in the log:", count)
        await query_what_fails(client)
        print("handshakes:", pool.statistics().opened)


async def query_what_fails(client: RpcClient) -> None:
    received = 0
    try:
        async with client.query("FRAIL") as ticks:
            async for _ in ticks:
                received += 1
    except ss.PeerAlert as exc:
        print(f"FRAIL: {received} ticks, and then {exc.alert}")


async def be_turned_away(port: int, config: ss.ClientConfig) -> None:
    async with ss.StreamPool(partial(ss.open_secure_tcp_stream, "127.0.0.1", port, config)) as pool:
        try:
            await RpcClient(pool).change(Ingest(Tick("ACME", 1, 1)))
        except ss.HandshakeRefused as exc:
            print("without the secret:", exc.alert)


if __name__ == "__main__":
    trio.run(main)
