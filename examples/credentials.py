"""Two factors: a client that shows a signature and a token, and a server that shows a certificate.

Needs the extra `credentials`: pip install '.[credentials]' in a folder with this package

python examples/credentials.py
"""

from __future__ import annotations

import datetime as dt
import secrets

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

import securestream as ss
from securestream.trust.credentials.certificates import CertificateCredentials, CertificateVerifier, Chain
from securestream.trust.credentials.tokens import TokenCredentials, TokenVerifier


def certificate_of(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """As an authority would issue it; here the key vouches for itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "orders.example")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


def configurations() -> tuple[ss.ClientConfig, ss.ServerConfig]:
    """Each side's, with what it has to know of the other and no more."""
    device = ss.Ed25519Credentials(secrets.token_bytes(32))
    login_service = ed25519.Ed25519PrivateKey.generate()
    server_s_key = ec.generate_private_key(ec.SECP256R1())
    certificate = certificate_of(server_s_key)

    async def check_chain(chain: Chain) -> str:
        if chain[0] != certificate:  # an authority's signature, in a program that has one
            raise PermissionError("a certificate that is not trusted here")
        return chain[0].subject.rfc4514_string()

    client = ss.ClientConfig(
        credentials=ss.SeveralCredentials(device, TokenCredentials(login_service, "EdDSA", subject="alice")),
        verify_server=CertificateVerifier(check_chain),
    )
    server = ss.ServerConfig(
        key=ss.PrivateKey.generate(),
        credentials=CertificateCredentials(server_s_key, [certificate]),
        authorize=ss.SeveralVerifier(
            ss.Ed25519Verifier([ss.TrustedKey(device.public_key, "alice's laptop")]),
            TokenVerifier(login_service.public_key(), "EdDSA"),
        ),
    )
    return client, server


async def greet(stream: ss.SecureStream[trio.SocketStream]) -> None:
    assert isinstance(stream.peer.principal, tuple)  # of what the two verifiers returned
    device, person = stream.peer.principal
    await stream.send_all(f"hello {person.name} on {device.name}".encode())


async def main() -> None:
    client, server = configurations()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            lambda task_status: ss.serve_secure_tcp(greet, 0, server, host="127.0.0.1", task_status=task_status)
        )
        port = listeners[0].socket.getsockname()[1]
        async with await ss.open_secure_tcp_stream("127.0.0.1", port, client) as stream:
            print("the server:", stream.peer.principal)
            print((await stream.receive_some()).decode())
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
