"""Trio's own checks of a half-closeable stream, over every kind of transport, with all suites, and in TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from securestream.streams import secure
from securestream.streams.tls_channel import TlsChannel
from securestream.testing import secure_stream_pair

from .support import Configs, Pair, matching_configs
from .transports import Tls, memory_pair, tcp_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import securestream as ss
    from securestream.protocol.suites import AnySuite


@pytest.fixture
def configs(suite: AnySuite, monkeypatch: pytest.MonkeyPatch) -> Configs:
    """Both sides, with one suite, and a close timeout that real time can afford.

    The check sends to a closed stream, a few bytes at a time, until an error comes: that takes less of it here.
    """
    monkeypatch.setattr(secure, "LINGER_BYTES", 2**14)
    return matching_configs(suite, close_timeout=0.2)


async def clog(stream: ss.SecureStream[trio.SocketStream]) -> None:
    """Fills the socket with sealed records until it takes no byte more; the last one stays incomplete."""
    socket, channel = stream.transport_stream.socket, stream._channel
    for sealed in stream._writer.data(memoryview(bytes(2**26))):
        batch = channel.tls.encrypt(sealed) if isinstance(channel, TlsChannel) else sealed
        sent = 0
        while sent < len(batch):
            with trio.move_on_after(0.05) as scope:
                sent += await socket.send(batch[sent:])
            if scope.cancelled_caught:
                return


async def test_over_memory_streams(configs: Configs, autojump_clock: trio.testing.MockClock) -> None:
    async def make() -> Pair[trio.abc.Stream]:
        return await secure_stream_pair(trio.testing.memory_stream_pair(), configs)

    await trio.testing.check_half_closeable_stream(make, None)


async def test_over_lockstep_streams(configs: Configs, autojump_clock: trio.testing.MockClock) -> None:
    async def make() -> Pair[trio.abc.Stream]:
        return await secure_stream_pair(trio.testing.lockstep_stream_pair(), configs)

    # A lockstep stream is clogged from the start: whoever sends waits for a reader.
    await trio.testing.check_half_closeable_stream(make, make)


async def test_over_real_tcp(configs: Configs) -> None:
    async def make() -> Pair[trio.SocketStream]:
        return await secure_stream_pair(await tcp_pair(), configs)

    async def make_clogged() -> Pair[trio.SocketStream]:
        near, far = await make()
        await clog(near)
        await clog(far)
        return near, far

    await trio.testing.check_half_closeable_stream(make, make_clogged)


async def test_over_tls(configs: Configs, tls: Tls, autojump_clock: trio.testing.MockClock) -> None:
    async def make() -> Pair[trio.SSLStream[trio.abc.Stream]]:
        return await secure_stream_pair(tls.over(*await memory_pair()), configs)

    await trio.testing.check_half_closeable_stream(make, None)


async def test_over_another_secure_stream(configs: Configs, autojump_clock: trio.testing.MockClock) -> None:
    async def inner() -> Pair[trio.abc.Stream]:
        return await secure_stream_pair(trio.testing.memory_stream_pair(), configs)

    async def make() -> Pair[ss.SecureStream[trio.abc.Stream]]:
        return await secure_stream_pair(await inner(), configs)

    await trio.testing.check_half_closeable_stream(make, None)


def test_the_makers_are_of_trio_s_type() -> None:
    make: Callable[[], Awaitable[Pair[trio.abc.Stream]]] = _typed
    assert callable(make)


async def _typed() -> Pair[trio.abc.Stream]:
    return await secure_stream_pair(trio.testing.memory_stream_pair())
