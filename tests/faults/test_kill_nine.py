"""kill -9 in the middle of everything: the survivor has a prefix and then an error, whichever side it is.

Real processes over TCP of this machine. The peer is killed when the survivor has received, or sent, as many bytes as
the seed says; what the kernel has taken over by then still comes.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss

from ..streams.support import PATIENCE, failure_of
from .peer import TEXT, client_config, listen, server_config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..conftest import Tries
    from .peer import Stream

pytestmark = pytest.mark.shows("kill-9")

ROOT = Path(__file__).parents[2]
every_role = pytest.mark.parametrize("role", ["server", "client"])


@contextlib.asynccontextmanager
async def peer(*arguments: str) -> AsyncIterator[trio.Process]:
    """The other process. It is dead at the end, whatever happens."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-W", "error", "-m", "tests.faults.peer", *arguments], stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        with trio.fail_after(PATIENCE):
            yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            if process.stdout is not None:
                await process.stdout.aclose()


async def line_of(process: trio.Process) -> str:
    """What it says when it can be talked to."""
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        chunk = await process.stdout.receive_some()
        assert chunk, "the peer has died by itself"
        line += chunk
    return line.decode().strip()


@contextlib.asynccontextmanager
async def transport_to(role: str, errand: str) -> AsyncIterator[tuple[trio.SocketStream, trio.Process]]:
    """A connection to a process in that role, from the side that will survive."""
    if role == "server":
        async with peer(role, errand) as process, await connected_to(await line_of(process)) as transport:
            yield transport, process
        return
    listener = (await listen())[0]
    port = listener.socket.getsockname()[1]
    async with listener, peer(role, errand, str(port)) as process, await listener.accept() as transport:
        yield transport, process


async def connected_to(port: str) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", int(port))


async def wrapped(role: str, transport: trio.SocketStream) -> Stream:
    """The survivor's stream to a peer in that role."""
    if role == "server":
        return await ss.wrap_client(transport, client_config())
    return await ss.wrap_server(transport, server_config())


@contextlib.asynccontextmanager
async def surviving(role: str, errand: str) -> AsyncIterator[tuple[Stream, trio.Process]]:
    """The survivor's stream to a process in that role."""
    async with transport_to(role, errand) as (transport, process), await wrapped(role, transport) as stream:
        yield stream, process


def place(seed: int) -> int:
    """After how many bytes the peer is killed."""
    rng = random.Random(seed)
    return rng.choice([0, 1, rng.randint(2, 50_000), rng.randint(2, 5_000_000)])


def said(size: int) -> bytes:
    return (TEXT * (size // len(TEXT) + 1))[:size]


@every_role
async def test_who_receives_has_a_prefix_and_then_an_error(role: str, tries: Tries) -> None:
    for seed in tries.seeds(small=3, full=100):
        kill_at, received = place(seed), bytearray()
        async with surviving(role, "send") as (stream, process):
            while len(received) < kill_at:
                received += await stream.receive_some()
            process.kill()
            with pytest.raises(ss.StreamError) as caught:
                while True:
                    chunk = await stream.receive_some()
                    assert chunk, "a killed process looked like an end"
                    received += chunk
            assert type(caught.value) is ss.TruncatedStream
            await failure_of(stream.receive_some(), ss.TruncatedStream)
        assert process.returncode == -signal.SIGKILL
        assert len(received) >= kill_at
        assert received == said(len(received)), f"seed {seed}"


@every_role
async def test_who_sends_is_told_by_an_error_and_receives_no_end(role: str, tries: Tries) -> None:
    for seed in tries.seeds(small=3, full=100):
        kill_at, sent = place(seed), 0
        async with surviving(role, "receive") as (stream, process):
            with pytest.raises(ss.StreamError) as caught:
                while True:
                    if sent >= kill_at:
                        process.kill()
                    await stream.send_all(TEXT[:100_000])
                    sent += 100_000
            assert type(caught.value) in (ss.TransportBroken, ss.TruncatedStream), f"seed {seed}"
            await failure_of(stream.receive_some(), ss.TruncatedStream)


@every_role
async def test_who_is_idle_sees_an_error(role: str) -> None:
    async with surviving(role, "receive") as (stream, process), trio.open_nursery() as nursery:
        nursery.start_soon(failure_of, stream.receive_some(), ss.TruncatedStream)
        await trio.testing.wait_all_tasks_blocked()
        process.kill()


@every_role
async def test_who_is_in_the_handshake_sees_an_error(role: str) -> None:
    async with transport_to(role, "hang") as (transport, process), trio.open_nursery() as nursery:
        nursery.start_soon(failure_of, wrapped(role, transport), ss.HandshakeTruncated)
        assert await line_of(process) == "in the handshake"
        process.kill()
