"""Whole handshakes: what each side has, what goes over the wire, what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from securestream.protocol.handshake import ClientHandshake, SecretPolicy, ServerHandshake
from securestream.protocol.messages import Kind
from securestream.protocol.suites import Suite

from ..protocol.support import body
from .fixed import (
    CLIENT,
    CLIENT_EPHEMERAL,
    KEM_CIPHERTEXT,
    KEM_EPHEMERAL,
    KEM_MESSAGE,
    KEM_SEED,
    KEM_SHARED_SECRET,
    MIDDLEBOX,
    OLD_SECRET,
    ROUTE,
    SECRET,
    SERVER,
    SERVER_EPHEMERAL,
    fixed,
    nothing_random,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securestream.protocol.hybrid import ClientPostQuantum, PostQuantum
    from securestream.protocol.keys import PublicKey, SharedSecret
    from securestream.protocol.mlkem import DecapsulationKey

HYBRID = "XXhfs: the client knows the server's key"
KNOWS_SERVER = "XX: the client knows the server's key"
ONE_SUITE = "XXpsk0: the second of two secrets, one suite in common, credentials"
XCHACHA20, AEGIS = Suite.XCHACHA20_POLY1305, Suite.AEGIS_256


@dataclass(frozen=True, kw_only=True)
class Client:
    """What a client has. Bytes are in hex, here and below; None is what it doesn't have."""

    private_key: str
    ephemeral_private_key: str
    server_key: str | None
    middlebox_key: str | None
    random_route: str | None
    secret: str | None
    suites: list[int]
    post_quantum: ClientPostQuantum
    credentials: str


@dataclass(frozen=True, kw_only=True)
class Server:
    """What a server has."""

    private_key: str
    ephemeral_private_key: str
    secrets: list[str]
    suites: list[int]
    post_quantum: PostQuantum
    credentials: str


@dataclass(frozen=True, kw_only=True)
class Kem:
    """ML-KEM-768 in the hybrid handshake: what is random in it, by FIPS 203's names, and what comes of it.

    `d_z`            the client's KeyGen, d | z (64)
    `m`              the server's Encaps (32)
    `ciphertext`     what that gives
    `shared_secret`  and what both sides then have
    """

    d_z: str
    m: str
    ciphertext: str
    shared_secret: str


KEM = Kem(
    d_z=KEM_SEED.hex(), m=KEM_MESSAGE.hex(), ciphertext=KEM_CIPHERTEXT.hex(), shared_secret=KEM_SHARED_SECRET.hex()
)


@dataclass(frozen=True, kw_only=True)
class HandshakeVector:
    """One handshake that succeeds. The frames are whole, with their length. `kem` is there where it is hybrid."""

    name: str
    client: Client
    server: Server
    kem: Kem | None
    hello: str
    challenge: str
    response: str
    suite: int
    h1: str
    h2: str
    h3: str
    server_statement: str
    client_statement: str
    client_to_server_key: str
    server_to_client_key: str


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Both sides' machines, before their first message."""

    client: ClientHandshake
    server: ServerHandshake

    def hello(self) -> bytes:
        frame = self.client.hello()
        self.server.hello(body(frame, Kind.HELLO))
        return frame

    def challenge(self, credentials: bytes = b"") -> bytes:
        frame = self.server.challenge(credentials)
        self.client.challenge(body(frame, Kind.CHALLENGE))
        return frame

    def response(self, credentials: bytes = b"") -> bytes:
        frame = self.client.response(credentials)
        self.server.response(body(frame, Kind.RESPONSE))
        return frame


def hex_of_secret(secret: SharedSecret | None) -> str | None:
    return None if secret is None else bytes(secret).hex()


def hex_of_key(key: PublicKey | None) -> str | None:
    return None if key is None else bytes(key).hex()


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What both sides have beside the fixed keys. A server with secrets demands one."""

    server_key: PublicKey | None = SERVER.public_key
    middlebox_key: PublicKey | None = None
    secret: SharedSecret | None = None
    secrets: Sequence[SharedSecret] = ()
    client_suites: Sequence[Suite] = (AEGIS, XCHACHA20)
    server_suites: Sequence[Suite] = (AEGIS, XCHACHA20)
    client_wants: ClientPostQuantum = "off"
    server_wants: PostQuantum = "off"
    kem_ephemeral: DecapsulationKey = KEM_EPHEMERAL
    client_credentials: bytes = b""
    server_credentials: bytes = b""

    def sides(self) -> Sides:
        client = ClientHandshake(
            key=CLIENT,
            server_key=self.server_key,
            middlebox_key=self.middlebox_key,
            secret=self.secret,
            suites=self.client_suites,
            post_quantum=self.client_wants,
            ephemeral=CLIENT_EPHEMERAL,
            kem_ephemeral=self.kem_ephemeral,
        )
        server = ServerHandshake(
            key=SERVER,
            suites=self.server_suites,
            secrets=self.secrets,
            secret_policy=SecretPolicy.REQUIRED if self.secrets else SecretPolicy.OFF,
            post_quantum=self.server_wants,
            ephemeral=SERVER_EPHEMERAL,
        )
        return Sides(client=client, server=server)

    def client(self) -> Client:
        return Client(
            private_key=bytes(CLIENT).hex(),
            ephemeral_private_key=bytes(CLIENT_EPHEMERAL).hex(),
            server_key=hex_of_key(self.server_key),
            middlebox_key=hex_of_key(self.middlebox_key),
            random_route=ROUTE.hex() if self.server_key is None else None,
            secret=hex_of_secret(self.secret),
            suites=[int(suite) for suite in self.client_suites],
            post_quantum=self.client_wants,
            credentials=self.client_credentials.hex(),
        )

    def server(self) -> Server:
        return Server(
            private_key=bytes(SERVER).hex(),
            ephemeral_private_key=bytes(SERVER_EPHEMERAL).hex(),
            secrets=[bytes(each).hex() for each in self.secrets],
            suites=[int(suite) for suite in self.server_suites],
            post_quantum=self.server_wants,
            credentials=self.server_credentials.hex(),
        )


def handshake_vector(name: str, setup: Setup) -> HandshakeVector:
    """Runs the handshake and writes down all of it."""
    with nothing_random():
        both = setup.sides()
        hello, h1 = both.hello(), both.client.handshake_hash
        challenge, h2 = both.challenge(setup.server_credentials), both.client.handshake_hash
        response, h3 = both.response(setup.client_credentials), both.client.handshake_hash
    keys = both.client.split()
    return HandshakeVector(
        name=name,
        client=setup.client(),
        server=setup.server(),
        kem=KEM if both.client.session.post_quantum else None,
        hello=hello.hex(),
        challenge=challenge.hex(),
        response=response.hex(),
        suite=int(both.client.session.suite),
        h1=h1.hex(),
        h2=h2.hex(),
        h3=h3.hex(),
        server_statement=both.server.server_statement.hex(),
        client_statement=both.server.client_statement.hex(),
        client_to_server_key=keys.send.hex(),
        server_to_client_key=keys.receive.hex(),
    )


# Noise_XX and Noise_XXpsk0, each way of the route, credentials, and the choice of a suite.
CLASSICAL: dict[str, Setup] = {
    KNOWS_SERVER: Setup(),
    "XX: the client knows no server, its route is random": Setup(server_key=None),
    "XX: the route is for a middlebox": Setup(middlebox_key=MIDDLEBOX.public_key),
    "XX: both sides show credentials": Setup(
        client_credentials=fixed("client's credentials", 100),
        server_credentials=fixed("server's credentials", 1_000),
    ),
    "XX: the sides rank the suites in opposite order, the smaller number wins": Setup(
        client_suites=(AEGIS, XCHACHA20), server_suites=(XCHACHA20, AEGIS)
    ),
    "XXpsk0: one secret": Setup(secret=SECRET, secrets=[SECRET]),
    ONE_SUITE: Setup(
        secret=SECRET,
        secrets=[OLD_SECRET, SECRET],
        client_suites=[XCHACHA20],
        client_credentials=fixed("client's credentials", 1),
    ),
}

# The same two with hfs, and what a client does that was refused them.
POST_QUANTUM: dict[str, Setup] = {
    HYBRID: Setup(client_wants="prefer", server_wants="prefer"),
    "XXhfs: the client knows no server, both require the hybrid handshake, both sides show credentials": Setup(
        server_key=None,
        client_wants="require",
        server_wants="require",
        client_credentials=fixed("client's credentials", 100),
        server_credentials=fixed("server's credentials", 1_000),
    ),
    "XXhfs+psk0: the second of two secrets": Setup(
        secret=SECRET, secrets=[OLD_SECRET, SECRET], client_wants="prefer", server_wants="prefer"
    ),
    "XX: a server that prefers the hybrid handshake takes a classical hello": Setup(server_wants="prefer"),
    "XX: the client was refused the hybrid handshake, and says so": Setup(client_wants="fallback"),
}

SETUPS: dict[str, Setup] = {**CLASSICAL, **POST_QUANTUM}


def handshake_vectors() -> list[HandshakeVector]:
    return [handshake_vector(name, setup) for name, setup in SETUPS.items()]
