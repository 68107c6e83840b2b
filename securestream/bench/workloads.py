"""What is measured. Each workload is a handler for the server, and a client that gives one number."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from ..streams.buffered import BufferedWriter
from ..streams.secure import SecureStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[[], Awaitable[trio.abc.Stream]]


@dataclass(frozen=True)
class Size:
    """How much: `count` operations of `size` bytes, over `connections` connections."""

    count: int
    size: int = 0
    connections: int = 1


@dataclass(frozen=True)
class Workload:
    """A name, what its number is, whether more is better, and the two ends.

    `routed`         whether it is for the router, and those that are measured beside it
    `is_encryption`  whether it is encryption first of all, so that libsodium alone is measured beside it
    """

    name: str
    title: str
    unit: str
    more_is_better: bool
    size: Size
    smallest: Size
    client: Callable[[Connect, Size], Awaitable[float]]
    handler: Callable[[trio.abc.Stream, int | None], Awaitable[None]]
    routed: bool = False
    is_encryption: bool = False


async def _receive(stream: trio.abc.Stream, receive_size: int | None = None) -> bytes | bytearray:
    """Some more bytes. Raises `EOFError` where none will come: the other end has gone."""
    if data := await stream.receive_some(receive_size):
        return data
    raise EOFError("the other end of the benchmark has gone")


# --- handlers ---------------------------------------------------------------------------------------


async def echo(stream: trio.abc.Stream, receive_size: int | None) -> None:
    """Sends back whatever comes."""
    try:
        while data := await stream.receive_some(receive_size):
            await stream.send_all(data)
        await stream.aclose()
    except trio.BrokenResourceError:
        pass  # this contender has no better end


async def swallow(stream: trio.abc.Stream, receive_size: int | None) -> None:
    """Receives 8 bytes that say how many follow, then those, then answers with 8 bytes: by how many KiB it grew
    after the first MiB."""
    start = b""
    while len(start) < 8:
        start += await _receive(stream, receive_size)
    left = int.from_bytes(start[:8], "little") - len(start) + 8
    warm, before = left - 2**20, resident_kib()
    while left > 0:
        left -= len(await _receive(stream, receive_size))
        if left >= warm:
            before = resident_kib()
    await stream.send_all(max(0, resident_kib() - before).to_bytes(8, "little"))
    while await stream.receive_some():
        pass
    await stream.aclose()


# --- clients ----------------------------------------------------------------------------------------


async def bulk(connect: Connect, size: Size) -> float:
    """MB/s: `count` times send_all of `size` bytes, until the server has them all."""
    return await _bulk_over(await connect(), size)


async def _bulk_over(stream: trio.abc.Stream, size: Size) -> float:
    data = bytes(size.size)
    await stream.send_all((size.count * size.size).to_bytes(8, "little"))
    start = time.perf_counter()
    for _ in range(size.count):
        await stream.send_all(data)
    await _answer(stream)
    seconds = time.perf_counter() - start
    await stream.aclose()
    return size.count * size.size / seconds / 1e6


async def _answer(stream: trio.abc.Stream) -> int:
    """What `swallow` answers when it has everything."""
    answer = b""
    while len(answer) < 8:
        answer += await _receive(stream, 8 - len(answer))
    return int.from_bytes(answer, "little")


async def growth(connect: Connect, size: Size) -> float:
    """KiB by which the sender or the receiver grows, whichever is more, between the first MiB and the last byte."""
    stream = await connect()
    data = bytes(size.size)
    await stream.send_all((size.count * size.size).to_bytes(8, "little"))
    for sent in range(0, size.count * size.size, size.size):
        await stream.send_all(data)
        if sent <= 2**20:
            before = resident_kib()
    mine = resident_kib() - before
    theirs = await _answer(stream)
    await stream.aclose()
    return float(max(mine, theirs))


async def burst(connect: Connect, size: Size) -> float:
    """ms: `connections` clients start at once; until the last of them has had its byte back."""

    async def one() -> None:
        stream = await connect()
        await stream.send_all(b"x")
        assert await stream.receive_some() == b"x"
        await stream.aclose()

    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(size.connections):
            nursery.start_soon(one)
    return (time.perf_counter() - start) * 1e3


async def buffered(connect: Connect, size: Size) -> float:
    """MB/s: as `bulk`, through the buffered writer where there is one."""
    stream = await connect()
    if not isinstance(stream, SecureStream):
        return await _bulk_over(stream, size)
    data = bytes(size.size)
    await stream.send_all((size.count * size.size).to_bytes(8, "little"))
    start = time.perf_counter()
    async with BufferedWriter(stream) as writer:
        for _ in range(size.count):
            await writer.write(data)
    await _answer(stream)
    seconds = time.perf_counter() - start
    await stream.aclose()
    return size.count * size.size / seconds / 1e6


async def handshakes(connect: Connect, size: Size) -> float:
    """us: connect, handshake, one byte there and back, close; one after the other."""
    start = time.perf_counter()
    for _ in range(size.count):
        stream = await connect()
        await stream.send_all(b"x")
        await stream.receive_some()
        await stream.aclose()
    return (time.perf_counter() - start) / size.count * 1e6


async def round_trips(connect: Connect, size: Size) -> float:
    """us: `size` bytes there and back."""
    stream = await connect()
    data = bytes(size.size)
    start = time.perf_counter()
    for _ in range(size.count):
        await stream.send_all(data)
        left = size.size
        while left:
            left -= len(await _receive(stream))
    seconds = time.perf_counter() - start
    await stream.aclose()
    return seconds / size.count * 1e6


def resident_kib() -> int:
    """This process's memory, in KiB."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


async def idle(connect: Connect, size: Size) -> float:
    """KiB a connection in the client's process, with nothing going on."""
    streams = [await _used_once(connect) for _ in range(50)]
    before = resident_kib()
    streams += [await _used_once(connect) for _ in range(size.connections)]
    after = resident_kib()
    for stream in streams:
        await trio.aclose_forcefully(stream)
    return (after - before) / size.connections


async def _used_once(connect: Connect) -> trio.abc.Stream:
    stream = await connect()
    await stream.send_all(b"x")
    await stream.receive_some()
    return stream


async def many(connect: Connect, size: Size) -> float:
    """MB/s, both ways: `connections` at once, each sending `count` times `size` bytes and getting them back."""
    data = bytes(size.size)

    async def one() -> None:
        stream = await connect()
        for _ in range(size.count):
            await stream.send_all(data)
            left = size.size
            while left:
                left -= len(await _receive(stream))
        await stream.aclose()

    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(size.connections):
            nursery.start_soon(one)
    return 2 * size.connections * size.count * size.size / (time.perf_counter() - start) / 1e6


SIZES = (("1m", "1 MB", 1), ("100m", "100 MB", 100), ("1g", "1 GB", 1_000), ("10g", "10 GB", 10_000))


def _bulk(name: str, title: str, size: Size, smallest: Size) -> Workload:
    return Workload(name, title, "MB/s", True, size, smallest, bulk, swallow, is_encryption=True)


def _transfer(name: str, title: str, sends: int) -> Workload:
    smallest = Size(4, 2**16)
    return Workload(f"size-{name}", f"{title} in all", "MB/s", True, Size(sends, 2**16), smallest, bulk, swallow)


WORKLOADS = {
    workload.name: workload
    for workload in (
        _bulk("bulk-64k", "bulk, 64 KiB sends", Size(8_000, 2**16), Size(4, 2**16)),
        _bulk("bulk-1m", "bulk, 1 MiB sends", Size(500, 2**20), Size(2, 2**20)),
        Workload(
            "bulk-1k", "1 KiB, one send_all each", "MB/s", True, Size(30_000, 2**10), Size(9, 2**10), bulk, swallow
        ),
        Workload(
            "buffered-1k",
            "1 KiB, buffered writer",
            "MB/s",
            True,
            Size(200_000, 2**10),
            Size(40, 2**10),
            buffered,
            swallow,
        ),
        Workload("handshake", "connect, handshake, echo, close", "us", False, Size(500), Size(3), handshakes, echo),
        Workload("roundtrip", "64 B round trip", "us", False, Size(5_000, 64), Size(5, 64), round_trips, echo),
        Workload("idle", "idle connection, client's side", "KiB", False, Size(1, 0, 1_000), Size(1, 0, 20), idle, echo),
        Workload(
            "many",
            "2,000 connections, 1 KiB echoes",
            "MB/s",
            True,
            Size(100, 2**10, 2_000),
            Size(2, 2**10, 10),
            many,
            echo,
        ),
        Workload(
            "burst", "1,000 clients at once, all served", "ms", False, Size(1, 1, 1_000), Size(1, 1, 10), burst, echo
        ),
        Workload("routed-connect", "connect, echo, close", "us", False, Size(300), Size(3), handshakes, echo, True),
        Workload(
            "routed-bulk", "bulk, 64 KiB sends", "MB/s", True, Size(4_000, 2**16), Size(4, 2**16), bulk, swallow, True
        ),
        *(_transfer(name, title, 16 * megabytes) for name, title, megabytes in SIZES),
        Workload(
            "growth-10g",
            "memory growth over 10 GB",
            "KiB",
            False,
            Size(160_000, 2**16),
            Size(40, 2**16),
            growth,
            swallow,
        ),
    )
}

# What `securestream bench NAME` runs.
MODES: dict[str, tuple[str, ...]] = {
    "bulk": ("bulk-64k", "bulk-1m", "bulk-1k", "buffered-1k"),
    "handshake": ("handshake",),
    "roundtrip": ("roundtrip",),
    "idle": ("idle",),
    "many": ("many", "burst"),
    "router": ("routed-connect", "routed-bulk"),
    "size": (*(f"size-{name}" for name, _, _ in SIZES), "growth-10g"),
}

# What takes long is measured when it is asked for.
ALL: tuple[str, ...] = tuple(name for mode, names in MODES.items() if mode not in ("router", "size") for name in names)
