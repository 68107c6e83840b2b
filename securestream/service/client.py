"""Connecting over TCP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..streams.wrap import wrap_client

if TYPE_CHECKING:
    from ..streams.config import ClientConfig
    from ..streams.secure import SecureStream


async def open_secure_tcp_stream(
    host: str | bytes, port: int, config: ClientConfig, *, local_address: str | None = None
) -> SecureStream[trio.SocketStream]:
    """Connects to `host` and `port` and runs the handshake.

    Tries the host's addresses as `trio.open_tcp_stream` does (happy eyeballs, RFC 8305), with TCP_NODELAY.
    Connecting is outside the handshake's deadline: put a timeout of your own around both.

    Raises `OSError` where no address can be connected to, and what `wrap_client` raises.
    """
    transport = await trio.open_tcp_stream(host, port, local_address=local_address)
    return await wrap_client(transport, config)
