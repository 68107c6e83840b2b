"""What the tests of TLS share: OpenSSL's own client and server, and certificates that others have made."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

import securestream as ss
from securestream.protocol.tls_keys import KeyHash

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command here")

Key = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

KINDS: dict[str, Key] = {
    "Ed25519": ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))),
    "ECDSA P-256": ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1()),
    "ECDSA P-384": ec.derive_private_key(0xFEDCBA0987654321, ec.SECP384R1()),
    "RSA": rsa.generate_private_key(65_537, 2_048),
}


def pem(key: Key, passphrase: bytes | None = None) -> bytes:
    """PKCS #8, locked where there is a passphrase."""
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


def hash_of(key: Key) -> KeyHash:
    """As OpenSSL's commands compute it."""
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return KeyHash.of_spki(spki)


def certificate(key: Key, *, issuer: Key | None = None, years: tuple[int, int] = (2001, 2002)) -> bytes:
    """PEM; by default it has expired long ago."""
    signer = issuer or key
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "db.example")]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority" if issuer else "db.example")]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(dt.datetime(years[0], 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(years[1], 1, 1, tzinfo=dt.UTC))
    )
    made = builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


class Files(NamedTuple):
    """What OpenSSL's commands are given."""

    certificate: str
    key: str

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("-cert", self.certificate, "-key", self.key)


def files(folder: Path, key: Key, *, issuer: Key | None = None, years: tuple[int, int] = (2001, 2002)) -> Files:
    """A key and a certificate for it, in files."""
    paths = Files(str(folder / "certificate.pem"), str(folder / "key.pem"))
    (folder / "certificate.pem").write_bytes(certificate(key, issuer=issuer, years=years))
    (folder / "key.pem").write_bytes(pem(key))
    return paths


@asynccontextmanager
async def serving(config: ss.ServerConfig, seen: list[ss.Peer]) -> AsyncIterator[int]:
    """A server that says hello; gives its port."""

    async def handler(stream: ss.SecureStream[trio.SocketStream]) -> None:
        seen.append(stream.peer)
        await stream.send_all(b"hello from the handler")

    async with trio.open_nursery() as nursery:
        serve = partial(ss.serve_secure_tcp, handler, 0, config, host="127.0.0.1")
        listeners = await nursery.start(serve)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def s_client(port: int, *arguments: str, says: bytes = b"") -> str:
    """What `openssl s_client` prints; it ends when the server does."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-ign_eof", *arguments]
    with trio.fail_after(20):
        done = await trio.run_process(command, stdin=says, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode("utf-8", "replace")


@asynccontextmanager
async def s_server(*arguments: str) -> AsyncIterator[int]:
    """`openssl s_server` on a port of its own choice."""
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", *arguments]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            partial(
                trio.run_process,
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        )
        said = b""
        with trio.fail_after(20):
            while b"ACCEPT 127.0.0.1:" not in said or not said.endswith(b"\n"):
                said += await process.stdout.receive_some()
        yield int(said.partition(b"ACCEPT 127.0.0.1:")[2].split()[0])
        nursery.cancel_scope.cancel()
