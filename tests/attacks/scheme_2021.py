"""The handshake of 2021, in a model as small as shows what was wrong with it. For attacks only.

    hello      client session key
    challenge  server session key, Box(server session, client session) of the server's long-term key,
               Box(server long-term, client session) of the client's session key: the proof
    response   Box(client session, server session) of the client's long-term key,
               Box(client long-term, server session) of the server's session key: the proof
    keys       crypto_kx of both session keys

The sealed name of the expected server and the version, which decide nothing here, are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from nacl import bindings
from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey


class Refused(Exception):
    """One side found something wrong."""


@dataclass(frozen=True)
class Answer:
    """What challenge and response have in common: a sealed long-term key, and the proof that it is owned."""

    sealed_key: bytes
    proof: bytes


@dataclass(frozen=True)
class Challenge:
    """The server's message."""

    session_key: bytes
    answer: Answer


@dataclass(frozen=True)
class Keys:
    """What the records are sealed with, from the client's side."""

    receive: bytes
    send: bytes


def answer(session: PrivateKey, long_term: PrivateKey, their_session: bytes) -> Answer:
    """What either side says of itself to the owner of a session key."""
    theirs = PublicKey(their_session)
    sealed = Box(session, theirs).encrypt(bytes(long_term.public_key))
    return Answer(bytes(sealed), prove(long_term, their_session))


def prove(long_term: PrivateKey, their_session: bytes) -> bytes:
    """The other side's session key, sealed with the long-term key: it covers nothing of this side's."""
    return bytes(Box(long_term, PublicKey(their_session)).encrypt(their_session))


def judge(answer: Answer, session: PrivateKey, their_session: bytes) -> bytes:
    """The long-term key that is proved by `answer`. Raises `Refused`."""
    try:
        claimed = Box(session, PublicKey(their_session)).decrypt(answer.sealed_key)
        proved = Box(session, PublicKey(claimed)).decrypt(answer.proof)
    except CryptoError as exc:
        raise Refused("an answer that does not open") from exc
    if proved != bytes(session.public_key):
        raise Refused("a proof for somebody else")
    return claimed


class Client:
    """The client of 2021."""

    def __init__(self, key: PrivateKey, server_key: bytes) -> None:
        self._key, self._server_key, self._session = key, server_key, PrivateKey.generate()

    def hello(self) -> bytes:
        return bytes(self._session.public_key)

    def respond(self, challenge: Challenge) -> tuple[Answer, Keys]:
        """Raises `Refused` unless the expected server has proved itself."""
        if judge(challenge.answer, self._session, challenge.session_key) != self._server_key:
            raise Refused("another server")
        keys = client_keys_of(self._session, challenge.session_key)
        return answer(self._session, self._key, challenge.session_key), keys


class Server:
    """The server of 2021, or whoever plays one with a session key that he knows."""

    def __init__(self, key: PrivateKey) -> None:
        self._key, self._session = key, PrivateKey.generate()

    def challenge(self, hello: bytes) -> Challenge:
        self._client_session = hello
        return Challenge(bytes(self._session.public_key), answer(self._session, self._key, hello))

    def finish(self, response: Answer) -> tuple[bytes, Keys]:
        """The client's proved key, and the session's keys as the client has them. Raises `Refused`."""
        client_key = judge(response, self._session, self._client_session)
        return client_key, keys_of(self._session, self._client_session)


def keys_of(session: PrivateKey, client_session: bytes) -> Keys:
    """The keys, from the server's side of the exchange."""
    receive, send = bindings.crypto_kx_server_session_keys(bytes(session.public_key), bytes(session), client_session)
    return Keys(receive=send, send=receive)


def client_keys_of(session: PrivateKey, server_session: bytes) -> Keys:
    """The keys, from the client's side of the exchange."""
    return Keys(*bindings.crypto_kx_client_session_keys(bytes(session.public_key), bytes(session), server_session))
