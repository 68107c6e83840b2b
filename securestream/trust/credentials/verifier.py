"""What all verifiers have in common, and the one family of errors that hostile bytes can raise."""

from __future__ import annotations

import datetime as dt
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ...protocol.credentials import CredentialsRefused

if TYPE_CHECKING:
    from collections.abc import Iterable

Now = Callable[[], float]
"""Seconds since 1970, as `time.time` gives them."""


class Shows(Protocol):
    """What is asked about: a `Peer`, or anything with what it showed and what that had to sign."""

    @property
    def credentials(self) -> bytes: ...

    @property
    def transcript(self) -> bytes: ...


class Verifier(ABC):
    """An `authorize=` or `verify_server=` that goes by what the peer shows.

    `ages`  whether what it takes is good for a moment only, as tokens are, so that it can't be asked again about a
            client that is in (`ServerConfig.recheck`)
    """

    ages: bool = False

    async def __call__(self, peer: Shows) -> object:
        """Who the peer is. Raises `CredentialsRefused`, a `PermissionError`."""
        return await self.verify(peer.credentials, peer.transcript)

    @abstractmethod
    async def verify(self, credentials: bytes, statement: bytes) -> object:
        """Who has signed `statement`. Raises `CredentialsRefused` whatever the bytes of `credentials` are."""


@dataclass(frozen=True)
class TrustedKey:
    """A key whose signatures are believed, and whose they are: `stream.peer.principal` of who signs with it.

    `public_key`  as bytes, in the form that the verifier names
    `name`        what its owner is called; also `stream.peer.name`
    `until`       when it ends to be valid, with a time zone; None: never

    Raises `TypeError` and `ValueError` for an `until` that is no such moment.
    """

    public_key: bytes
    name: str
    until: dt.datetime | None = None

    def __post_init__(self) -> None:
        if self.until is None:
            return
        if not isinstance(self.until, dt.datetime):
            raise TypeError(f"until takes a datetime, not a {type(self.until).__name__}")
        if self.until.tzinfo is None:
            raise ValueError("until takes a moment with a time zone")


class SignatureVerifier(Verifier):
    """Signatures by listed keys: `public key | signature (64)` and nothing else.

    Raises `ValueError` for a key that is none or is listed twice.
    """

    key_size: int  # of the kind of key, in bytes

    def __init__(self, keys: Iterable[TrustedKey], *, now: Now = time.time) -> None:
        self._now = now
        self._trusted: dict[bytes, TrustedKey] = {}
        for trusted in keys:
            if trusted.public_key in self._trusted:
                raise ValueError(f"the key of {trusted.name!r} is listed twice")
            self.check_key(trusted.public_key)
            self._trusted[trusted.public_key] = trusted

    @abstractmethod
    def check_key(self, key: bytes) -> None:
        """Raises `ValueError` for bytes that are no key of this kind."""

    @abstractmethod
    def is_signed(self, key: bytes, statement: bytes, signature: bytes) -> bool:
        """Whether the owner of the key, a listed one, has signed `statement`."""

    async def verify(self, credentials: bytes, statement: bytes) -> TrustedKey:
        """The trusted key that has signed `statement`. Raises `CredentialsRefused`."""
        if len(credentials) != self.key_size + SIGNATURE_SIZE:
            raise CredentialsRefused("no signature of the kind that is wanted here")
        signer, signature = credentials[: self.key_size], credentials[self.key_size :]
        trusted = self._trusted.get(signer)
        if trusted is None:
            raise CredentialsRefused("a signature by a key that is not trusted here")
        if trusted.until is not None and not self._now() < trusted.until.timestamp():
            raise CredentialsRefused("a signature by a key that is no longer valid")
        if not self.is_signed(signer, statement, signature):
            raise CredentialsRefused("a signature that does not hold for this connection")
        return trusted

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._trusted)} keys>"


SIGNATURE_SIZE = 64
