"""The profile dev: the handshake with all cryptography taken out (`docs/profiles.md`).

The same three messages, with the same fields at the same places, so that the same machines run them; but each
message is in clear, no long-term key is in it, and a checksum stands where Noise has a tag:

    hello     "SSvd" | 00 | 01 | 00 | 48 zeros | e (32)
    challenge e (32) | NOBODY (32) | 16 zeros | 00 | server payload | checksum (16)
    response  NOBODY (32) | 16 zeros | client credentials | checksum (16)
    h         BLAKE2b("securestream/dev" | hello up to e), then BLAKE2b(h | what follows) for each message
    checksum  the first 16 bytes of BLAKE2b(h | the message up to here)

Neither profile can become the other. "SSvd" is a version that a secure side refuses with alert 3, as it refuses every
version but its own, and a dev side refuses "SSv1" likewise. What credentials sign begins with "securestream/dev", so
that nothing signed here is worth anything there.
"""

from __future__ import annotations

import hmac
from hashlib import blake2b
from typing import ClassVar

from .codes import AlertCode
from .errors import RemoteProtocolError
from .handshake import BaseHandshake, ClientHandshake, ServerHandshake, Step
from .keys import KEY_SIZE, PrivateKey, PublicKey, decode_public_key_untrusted
from .messages import DEV_MAGIC, MAGIC, ROUTE_SIZE, Hello, decode_hello_untrusted
from .noise import TAG_SIZE
from .plaintext import DevSuite

DEV_PROTOCOL = b"securestream/dev"

NOBODY: PublicKey = PublicKey(b"profile dev: nobody's key at all")
"""What stands where a proved key would: nobody has its private key."""

_NO_KEY = bytes(NOBODY) + bytes(TAG_SIZE)


class PlainMessages:
    """What the machines use of Noise's `HandshakeState`, in clear."""

    def __init__(self, header: bytes) -> None:
        self.e: PrivateKey | None = None
        self.re: PublicKey | None = None
        self.rs: PublicKey | None = None
        self._h = blake2b(DEV_PROTOCOL + header).digest()
        self._count = 0  # of the messages so far

    @property
    def public_key(self) -> PublicKey:
        """This side's own: it has none."""
        return NOBODY

    def get_handshake_hash(self) -> bytes:
        """h after the last message written or read, 64 bytes: unique to the connection, and vouched for by nobody."""
        return self._h

    def write_message(self, payload: bytes = b"") -> bytes:
        """The next message."""
        message = payload
        if self._count > 0:
            message = _NO_KEY + message
        if self._count < 2:
            self.e = self.e or PrivateKey.generate()
            message = bytes(self.e.public_key) + message
        return self._finish(message + self._checksum(message))

    def read_message(self, message: bytes) -> bytes:
        """The payload of the peer's message. Raises `RemoteProtocolError` and is unchanged then."""
        content = message[: len(message) - (TAG_SIZE if self._count else 0)]
        if not hmac.compare_digest(message[len(content) :], self._checksum(content)):
            raise RemoteProtocolError("its checksum is wrong")
        re, rs = self.re, self.rs
        if self._count < 2:
            re, content = decode_public_key_untrusted(content[:KEY_SIZE]), content[KEY_SIZE:]
        if self._count > 0:
            if not content.startswith(_NO_KEY):
                raise RemoteProtocolError("it is not of the profile dev")
            rs, content = NOBODY, content[len(_NO_KEY) :]
        self.re, self.rs = re, rs
        self._finish(message)
        return content

    def split(self) -> tuple[_NoKey, _NoKey]:
        """The keys of the records: none."""
        return _NoKey(), _NoKey()

    def _checksum(self, content: bytes) -> bytes:
        """Of the message that comes next; hello has none."""
        return blake2b(self._h + content).digest()[:TAG_SIZE] if self._count else b""

    def _finish(self, message: bytes) -> bytes:
        self._h = blake2b(self._h + message).digest()
        self._count += 1
        return message


class _NoKey:
    """Where Noise has a cipher."""

    def key_bytes(self) -> bytes:
        return b""


class DevClientHandshake(ClientHandshake):
    """The client's machine, in clear."""

    __slots__ = ()

    protocol: ClassVar[bytes] = DEV_PROTOCOL

    def __init__(self) -> None:
        BaseHandshake.__init__(self, (DevSuite.PLAINTEXT,))
        self._header = DEV_MAGIC + _HEADER_REST
        self._noise = PlainMessages(self._header)
        self.server_payload: bytes = b""


class DevServerHandshake(ServerHandshake):
    """The server's machine, in clear."""

    __slots__ = ()

    protocol: ClassVar[bytes] = DEV_PROTOCOL

    def __init__(self) -> None:
        BaseHandshake.__init__(self, (DevSuite.PLAINTEXT,))
        self.used_secret: bool = False
        self.credentials: bytes = b""

    def hello(self, body: bytes) -> None:
        """Takes a hello of the profile dev and no other."""
        self._require_turn(Step.HELLO)
        try:
            hello = _decode_dev_hello_untrusted(body)
            messages = PlainMessages(DEV_MAGIC + _HEADER_REST)
            messages.read_message(hello.noise1)
        except RemoteProtocolError:
            self._enter(Step.FAIL)
            raise
        self._noise, self._suite = messages, DevSuite.PLAINTEXT
        self._make_server_statement()
        self._enter(Step.HELLO)


_HEADER_REST = Hello(False, (DevSuite.PLAINTEXT,), bytes(ROUTE_SIZE), b"").header[len(MAGIC) :]


def _decode_dev_hello_untrusted(body: bytes) -> Hello:
    """Raises `RemoteProtocolError` only."""
    if body[: len(MAGIC)] == MAGIC:
        raise RemoteProtocolError(
            "a client of the profile secure; this server is of the profile dev", AlertCode.UNSUPPORTED_VERSION
        )
    if body[: len(MAGIC)] == DEV_MAGIC:
        body = MAGIC + body[len(MAGIC) :]
    hello = decode_hello_untrusted(body)
    if hello.header[len(MAGIC) :] != _HEADER_REST:
        raise RemoteProtocolError("a hello that is not of the profile dev")
    return hello
