"""A long answer that fails in its middle, and a client that knows.

python examples/failing_answer.py
"""

from __future__ import annotations

import trio

import securestream as ss


async def answer(stream: ss.SecureStream[trio.SocketStream]) -> None:
    """Sends three rows of ten, then has bad luck."""
    for row in range(3):
        await stream.send_all(b"row %d\n" % row)
    raise ss.StreamFailure(5_001, "the backend went away")


async def main() -> None:
    server = ss.ServerConfig(key=ss.PrivateKey.generate(), authorize=ss.ANYONE)
    client = ss.ClientConfig(server_key=server.key.public_key)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            lambda task_status: ss.serve_secure_tcp(answer, 0, server, task_status=task_status)
        )
        port = listeners[0].socket.getsockname()[1]
        async with await ss.open_secure_tcp_stream("127.0.0.1", port, client) as stream:
            try:
                async for chunk in stream:
                    print("received:", chunk.decode().split())
            except ss.PeerAlert as exc:
                print("and then:", exc.alert)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
