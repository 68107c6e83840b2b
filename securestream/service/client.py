"""Connecting over TCP, and once more without the hybrid handshake where the server has none."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from ..protocol.codes import AlertCode
from ..streams.errors import HandshakeRefused
from ..streams.wrap import wrap_client

if TYPE_CHECKING:
    from ..streams.config import ClientConfig
    from ..streams.secure import SecureStream


logger: logging.Logger = logging.getLogger("securestream")


async def open_secure_tcp_stream(
    host: str | bytes, port: int, config: ClientConfig, *, local_address: str | None = None
) -> SecureStream[trio.SocketStream]:
    """Connects to `host` and `port` and runs the handshake.

    Tries the host's addresses as `trio.open_tcp_stream` does (happy eyeballs, RFC 8305), with TCP_NODELAY.
    Connecting is outside the handshake's deadline: put a timeout of your own around both.

    Where `config.post_quantum` is "prefer" and the server takes no hybrid handshake, it connects a second time for a
    classical one. The log tells, and so does `stream.session.post_quantum`. A server that does take hybrid ones refuses
    that, so nobody on the way can bring it about.

    Raises `OSError` where no address can be connected to, and what `wrap_client` raises.
    """

    async def connect(config: ClientConfig) -> SecureStream[trio.SocketStream]:
        transport = await trio.open_tcp_stream(host, port, local_address=local_address)
        return await wrap_client(transport, config)

    try:
        return await connect(config)
    except HandshakeRefused as refusal:
        if config.post_quantum != "prefer" or refusal.alert.code != AlertCode.UNSUPPORTED_VERSION:
            raise
    stream = await connect(replace(config, post_quantum="fallback"))
    logger.warning("%s has no post-quantum handshake: what is recorded may be read one day", stream.peer.address)
    return stream
