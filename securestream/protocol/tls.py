"""TLS in place of Noise: its handshake stands in for hello and challenge (`docs/tls.md`).

    client                                        server
    ClientHello                            ->
                                           <-     ServerHello ... Certificate CertificateVerify Finished
    [judges the server's key]
    Certificate CertificateVerify Finished
    response: 64 zeros, its credentials    ->
                                                  [authorize]
                                           <-     records, ACCEPT or ALERT the first
    records

What comes after TLS's own messages are frames and records as ever, inside TLS; so alerts, the end of the stream and
padding are what they are without it. `openssl.py` has the cryptography, `BareSealer` the records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .credentials import client_statement
from .errors import RemoteProtocolError
from .handshake import BaseHandshake, ClientHandshake, ServerHandshake, Step
from .keys import KEY_SIZE
from .noise import TAG_SIZE
from .plaintext import TlsSuite

if TYPE_CHECKING:
    from .keys import PrivateKey, PublicKey
    from .tls_keys import KeyHash

TLS_PROTOCOL = b"securestream/tls"

_NOTHING = bytes(KEY_SIZE + 2 * TAG_SIZE)  # where Noise's response has the client's key and its tags


class TlsAlert(RemoteProtocolError):
    """The peer has ended TLS with an alert of TLS's own."""


@dataclass(frozen=True)
class TlsFacts:
    """What TLS has proved: this side's key, the peer's, and the channel binding of 64 bytes."""

    own: KeyHash
    peer: KeyHash
    binding: bytes


class TlsMessages:
    """What the machines use of Noise's `HandshakeState`, where TLS has done its work."""

    e: PrivateKey | None = None
    re: PublicKey | None = None

    def __init__(self, facts: TlsFacts) -> None:
        self._facts = facts
        self.rs: KeyHash = facts.peer

    @property
    def public_key(self) -> KeyHash:
        """This side's own."""
        return self._facts.own

    def get_handshake_hash(self) -> bytes:
        """The channel binding."""
        return self._facts.binding

    def write_message(self, payload: bytes = b"") -> bytes:
        """TLS encrypts it."""
        return _NOTHING + payload

    def read_message(self, message: bytes) -> bytes:
        """TLS has decrypted it. Raises `RemoteProtocolError`."""
        if not message.startswith(_NOTHING):
            raise RemoteProtocolError("it is not one for TLS")
        return message[len(_NOTHING) :]

    def split(self) -> tuple[_NoKey, _NoKey]:
        """The keys of the records: TLS has its own."""
        return _NoKey(), _NoKey()


class _NoKey:
    """Where Noise has a cipher."""

    def key_bytes(self) -> bytes:
        return b""


class TlsClientHandshake(ClientHandshake):
    """The client's machine, over TLS."""

    __slots__ = ()

    protocol: ClassVar[bytes] = TLS_PROTOCOL

    def __init__(self) -> None:
        BaseHandshake.__init__(self, (TlsSuite.TLS_1_3,))
        self.server_payload: bytes = b""

    def meet(self, facts: TlsFacts) -> KeyHash:
        """TLS's handshake is done; gives the key that the server has proved, for the caller to judge."""
        _meet(self, facts)
        self._client_statement = client_statement(self.protocol, facts.binding, facts.own)
        return facts.peer


class TlsServerHandshake(ServerHandshake):
    """The server's machine, over TLS."""

    __slots__ = ()

    protocol: ClassVar[bytes] = TLS_PROTOCOL

    def __init__(self) -> None:
        BaseHandshake.__init__(self, (TlsSuite.TLS_1_3,))
        self.used_secret: bool = False
        self.credentials: bytes = b""

    def meet(self, facts: TlsFacts) -> None:
        """TLS's handshake is done: the client has proved its key. Its response comes next."""
        _meet(self, facts)


def _meet(handshake: TlsClientHandshake | TlsServerHandshake, facts: TlsFacts) -> None:
    handshake._enter(Step.HELLO)
    handshake._enter(Step.CHALLENGE)
    handshake._noise, handshake._suite = TlsMessages(facts), TlsSuite.TLS_1_3
