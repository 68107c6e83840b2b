"""A program of its own that talks over TCP until somebody kills it: `python -m tests.faults.peer ROLE ERRAND [PORT]`.

It says a line on its standard output when it can be talked to: the port that it listens on, or that it is connected,
or that it hangs in its handshake.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import trio

import securestream as ss

if TYPE_CHECKING:
    from securestream.streams.config import Authorize, JudgeServer

CLIENT_KEY, SERVER_KEY = (ss.PrivateKey(bytes([n]) * 32) for n in (1, 2))
TEXT = b"".join(n.to_bytes(4, "big") for n in range(2**18))  # 1 MiB, said again and again

Stream = ss.SecureStream[trio.SocketStream]


def server_config(authorize: Authorize = ss.ANYONE) -> ss.ServerConfig:
    """A server that knows its key."""
    return ss.ServerConfig(key=SERVER_KEY, authorize=authorize)


def client_config(server_key: ss.PublicKey | JudgeServer = SERVER_KEY.public_key) -> ss.ClientConfig:
    """A client of that server."""
    return ss.ClientConfig(key=CLIENT_KEY, server_key=server_key)


async def send_for_ever(stream: Stream) -> None:
    """The text, again and again."""
    while True:
        await stream.send_all(TEXT)


async def receive_for_ever(stream: Stream) -> None:
    """Whatever comes."""
    while await stream.receive_some():
        pass


async def hang(someone: object) -> None:
    """A handshake that is not done before the end."""
    print("in the handshake", flush=True)
    await trio.sleep_forever()


ERRANDS = {"send": send_for_ever, "receive": receive_for_ever, "hang": hang}


async def serve(errand: str) -> None:
    """One server, which says its port."""
    config = server_config(hang if errand == "hang" else ss.ANYONE)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(ss.serve_secure_listeners, ERRANDS[errand], await listen(), config)
        print(listeners[0].socket.getsockname()[1], flush=True)


async def listen() -> list[trio.SocketListener]:
    """On this machine only."""
    return await trio.open_tcp_listeners(0, host="127.0.0.1")


async def connect(errand: str, port: int) -> None:
    """One client, which says that it is there."""
    config = client_config(hang if errand == "hang" else SERVER_KEY.public_key)
    async with await ss.open_secure_tcp_stream("127.0.0.1", port, config) as stream:
        print("connected", flush=True)
        await ERRANDS[errand](stream)


if __name__ == "__main__":
    role, errand, *port = sys.argv[1:]
    if role == "server":
        trio.run(serve, errand)
    else:
        trio.run(connect, errand, int(port[0]))
