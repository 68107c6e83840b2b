"""Who is measured: each a way to connect and to serve over loopback TCP, with mutual authentication where it has any.

`receive_size` is what bulk transfers ask for at once: each contender's best.
"""

from __future__ import annotations

import functools
import ssl
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import trio

from ..protocol.keys import PrivateKey
from ..protocol.suites import Suite
from ..protocol.tls_keys import TlsPrivateKey
from ..service.client import open_secure_tcp_stream
from ..service.server import serve_secure_tcp
from ..streams.config import ANYONE, ClientConfig, ServerConfig
from ..streams.tls import TlsClientConfig, TlsServerConfig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from ..protocol.keys import PublicKey

    Handler = Callable[[trio.abc.Stream], Awaitable[None]]

HOST = "127.0.0.1"
BACKLOG = 4_096


@dataclass(frozen=True)
class Contender:
    """A name for the table, and how to make both ends. `folder` holds keys and certificates."""

    name: str
    title: str
    connect: Callable[[int, Path], Awaitable[trio.abc.Stream]]
    serve: Callable[[Handler, Path, trio.TaskStatus[int]], Awaitable[None]]
    receive_size: int | None = None


def make_keys(folder: Path) -> None:
    """Keys and certificates for all contenders, once per benchmark."""
    import trustme

    for side in ("client", "server"):
        (folder / f"{side}.key").write_bytes(bytes(PrivateKey.generate()))
        (folder / f"{side}-tls.key").write_text(TlsPrivateKey.generate().to_text())
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for side in ("client", "server"):
        certificate = authority.issue_cert(HOST)
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{side}.pem"))


def read_key(folder: Path, side: str) -> PrivateKey:
    """One side's, as `make_keys` made it."""
    return PrivateKey((folder / f"{side}.key").read_bytes())


def read_tls_key(folder: Path, side: str) -> TlsPrivateKey:
    """The same for this project over TLS: Ed25519."""
    return TlsPrivateKey.from_text((folder / f"{side}-tls.key").read_text())


async def _serve_tcp(handler: Handler, task_status: trio.TaskStatus[int]) -> None:
    """Trio's TCP server; tells the port."""

    async def run(stream: trio.SocketStream) -> None:
        async with stream:
            await handler(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, run, 0, host=HOST, backlog=BACKLOG))
        task_status.started(listeners[0].socket.getsockname()[1])


# --- plain TCP --------------------------------------------------------------------------------------


async def _connect_plain(port: int, folder: Path) -> trio.abc.Stream:
    return await trio.open_tcp_stream(HOST, port)


async def _serve_plain(handler: Handler, folder: Path, task_status: trio.TaskStatus[int]) -> None:
    await _serve_tcp(handler, task_status)


# --- TLS 1.3, both sides with a P-256 certificate ---------------------------------------------------

_contexts: dict[str, ssl.SSLContext] = {}


def _context(folder: Path, side: str) -> ssl.SSLContext:
    if side not in _contexts:
        purpose = ssl.Purpose.SERVER_AUTH if side == "client" else ssl.Purpose.CLIENT_AUTH
        context = ssl.create_default_context(purpose, cafile=str(folder / "ca.pem"))
        context.load_cert_chain(str(folder / f"{side}.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        _contexts[side] = context
    return _contexts[side]


async def _connect_tls(port: int, folder: Path) -> trio.abc.Stream:
    transport = await trio.open_tcp_stream(HOST, port)
    stream = trio.SSLStream(transport, _context(folder, "client"), server_hostname=HOST)
    await stream.do_handshake()
    return stream


async def _serve_tls(handler: Handler, folder: Path, task_status: trio.TaskStatus[int]) -> None:
    async def over_tls(transport: trio.abc.Stream) -> None:
        stream = trio.SSLStream(transport, _context(folder, "server"), server_side=True)
        try:
            await handler(stream)
        finally:
            await trio.aclose_forcefully(stream)

    await _serve_tcp(over_tls, task_status)


# --- this project -----------------------------------------------------------------------------------


def ours(
    name: str,
    title: str,
    suite: Suite,
    post_quantum: Literal["require", "off"] = "off",
    middlebox_key: PublicKey | None = None,
) -> Contender:
    """This project with one suite; its clients know a router, if there is one."""

    def client_config(folder: Path) -> ClientConfig:
        return ClientConfig(
            key=read_key(folder, "client"),
            server_key=read_key(folder, "server").public_key,
            middlebox_key=middlebox_key,
            suites=(suite,),
            post_quantum=post_quantum,
            handshake_timeout=60,
            wait_for_accept=False,  # as TLS 1.3, whose client does not wait either
        )

    def server_config(folder: Path) -> ServerConfig:
        return ServerConfig(
            key=read_key(folder, "server"),
            authorize=ANYONE,
            suites=(suite,),
            post_quantum=post_quantum,
            handshake_timeout=60,
        )

    return _configured(name, title, client_config, server_config)


def _ours_over_tls(name: str, title: str) -> Contender:
    def client_config(folder: Path) -> ClientConfig:
        key, server_key = read_tls_key(folder, "client"), read_tls_key(folder, "server").public_key
        return TlsClientConfig(key=key, server_key=server_key, handshake_timeout=60, wait_for_accept=False)

    def server_config(folder: Path) -> ServerConfig:
        return TlsServerConfig(key=read_tls_key(folder, "server"), authorize=ANYONE, handshake_timeout=60)

    return _configured(name, title, client_config, server_config)


def _configured(
    name: str,
    title: str,
    client_config: Callable[[Path], ClientConfig],
    server_config: Callable[[Path], ServerConfig],
) -> Contender:
    made = functools.cache(client_config)  # once for all of a process's connections

    async def connect(port: int, folder: Path) -> trio.abc.Stream:
        return await open_secure_tcp_stream(HOST, port, made(folder))

    async def serve(handler: Handler, folder: Path, task_status: trio.TaskStatus[int]) -> None:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(
                partial(serve_secure_tcp, handler, 0, server_config(folder), host=HOST, backlog=BACKLOG)
            )
            task_status.started(listeners[0].socket.getsockname()[1])

    return Contender(name, title, connect, serve)


# --- PyPI's noiseprotocol ---------------------------------------------------------------------------


def _noise(cipher: str, title: str) -> Contender:
    async def connect(port: int, folder: Path) -> trio.abc.Stream:
        from .noise_stream import NoiseStream

        transport = await trio.open_tcp_stream(HOST, port)
        return await NoiseStream.handshake(transport, cipher, bytes(read_key(folder, "client")), initiator=True)

    async def serve(handler: Handler, folder: Path, task_status: trio.TaskStatus[int]) -> None:
        from .noise_stream import NoiseStream

        key = bytes(read_key(folder, "server"))

        async def over_noise(transport: trio.abc.Stream) -> None:
            await handler(await NoiseStream.handshake(transport, cipher, key, initiator=False))

        await _serve_tcp(over_noise, task_status)

    return Contender(f"noise_{cipher.lower()}", title, connect, serve)


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("tcp", "Trio TCP, in clear", _connect_plain, _serve_plain, 2**18),
        Contender("tls", "trio.SSLStream, TLS 1.3", _connect_tls, _serve_tls),
        _noise("AESGCM", "noiseprotocol, AES-GCM"),
        _noise("ChaChaPoly", "noiseprotocol, ChaChaPoly"),
        ours("aegis_256", "securestream, AEGIS-256", Suite.AEGIS_256),
        ours("xchacha20_poly1305", "securestream, XChaCha20", Suite.XCHACHA20_POLY1305),
        ours("post_quantum", "securestream, post-quantum", Suite.AEGIS_256, "require"),
        _ours_over_tls("over_tls", "securestream over TLS 1.3"),
    )
}
