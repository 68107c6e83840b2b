"""For the tests of programs that use secure streams: what `trio.testing` gives for Trio's own.

    client, server = await secure_memory_stream_pair()

Both ends have done the handshake and know each other's keys. Over memory streams nothing blocks; over lockstep
streams a send blocks until the other end receives, which finds code that relies on buffers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio
import trio.testing

from .protocol.keys import PrivateKey
from .streams.config import ANYONE, ClientConfig, ServerConfig
from .streams.wrap import wrap_client, wrap_server

if TYPE_CHECKING:
    from .streams.secure import SecureStream

T_Stream = TypeVar("T_Stream", bound=trio.abc.Stream)

__all__ = [
    "configs_that_match",
    "secure_lockstep_stream_pair",
    "secure_memory_stream_pair",
    "secure_stream_pair",
]

MemoryStream = trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]
LockstepStream = trio.StapledStream[trio.abc.SendStream, trio.abc.ReceiveStream]


def configs_that_match() -> tuple[ClientConfig, ServerConfig]:
    """A client's and a server's configuration with fresh keys, where the client knows the server."""
    server = ServerConfig(key=PrivateKey.generate(), authorize=ANYONE)
    return ClientConfig(key=PrivateKey.generate(), server_key=server.key.public_key), server


async def secure_stream_pair(
    transports: tuple[T_Stream, T_Stream], configs: tuple[ClientConfig, ServerConfig] | None = None
) -> tuple[SecureStream[T_Stream], SecureStream[T_Stream]]:
    """The handshake over two connected transports: `(client, server)`. Raises an `ExceptionGroup` of what
    `wrap_client` and `wrap_server` raise."""
    client_config, server_config = configs or configs_that_match()
    ends: dict[str, SecureStream[T_Stream]] = {}

    async def serve() -> None:
        ends["server"] = await wrap_server(transports[1], server_config)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        ends["client"] = await wrap_client(transports[0], client_config)
    return ends["client"], ends["server"]


async def secure_memory_stream_pair(
    configs: tuple[ClientConfig, ServerConfig] | None = None,
) -> tuple[SecureStream[MemoryStream], SecureStream[MemoryStream]]:
    """Two secure streams over `trio.testing.memory_stream_pair()`. `.transport_stream` gives its hooks."""
    return await secure_stream_pair(trio.testing.memory_stream_pair(), configs)


async def secure_lockstep_stream_pair(
    configs: tuple[ClientConfig, ServerConfig] | None = None,
) -> tuple[SecureStream[LockstepStream], SecureStream[LockstepStream]]:
    """Two secure streams over `trio.testing.lockstep_stream_pair()`."""
    return await secure_stream_pair(trio.testing.lockstep_stream_pair(), configs)
