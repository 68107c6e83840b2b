"""Several credentials at once, all of which have to hold: a second factor beside the first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import final

from ...protocol.credentials import MAX_PARTS, CredentialsRefused, decode_parts_untrusted, encode_parts
from ...protocol.errors import RemoteProtocolError
from .verifier import Verifier

Shower = Callable[[bytes], bytes | Awaitable[bytes]]
"""What gets a statement and gives the credentials for it."""


@final
class SeveralCredentials:
    """Shows several, in this order: `credentials=SeveralCredentials(Ed25519Credentials(seed), token)`.

    2 to 8 of them, at most 32,768 bytes together. Raises `ValueError`.
    """

    def __init__(self, *showers: Shower) -> None:
        _check_count(len(showers))
        self._showers = showers

    async def __call__(self, statement: bytes) -> bytes:
        """All of them; each signs the same statement. Raises what they raise."""
        parts = []
        for shower in self._showers:
            shown = shower(statement)
            parts.append(await shown if isinstance(shown, Awaitable) else shown)
        return encode_parts(parts)

    def __repr__(self) -> str:
        return f"<SeveralCredentials: {len(self._showers)}>"


@final
class SeveralVerifier(Verifier):
    """Takes what `SeveralCredentials` shows, where every part holds: `authorize=SeveralVerifier(first, second)`.

    The principal is the tuple of what the verifiers return, in their order. Raises `ValueError` for less than 2 of
    them or more than 8.
    """

    def __init__(self, *verifiers: Verifier) -> None:
        _check_count(len(verifiers))
        self._verifiers = verifiers
        self.ages: bool = any(verifier.ages for verifier in verifiers)

    async def verify(self, credentials: bytes, statement: bytes) -> tuple[object, ...]:
        """Who each part says it is. Raises `CredentialsRefused`; the first part that doesn't hold ends it."""
        try:
            parts = decode_parts_untrusted(credentials)
        except RemoteProtocolError as exc:
            raise CredentialsRefused(f"not the {len(self._verifiers)} credentials that are wanted here") from exc
        if len(parts) != len(self._verifiers):
            raise CredentialsRefused(f"{len(parts)} credentials where {len(self._verifiers)} are wanted")
        pairs = zip(self._verifiers, parts, strict=True)
        principals = [await verifier.verify(part, statement) for verifier, part in pairs]
        if any(principal is False for principal in principals):
            raise TypeError("a verifier returned False; it refuses by raising CredentialsRefused")
        return tuple(principals)

    def __repr__(self) -> str:
        return f"<SeveralVerifier of {', '.join(map(repr, self._verifiers))}>"


def _check_count(count: int) -> None:
    if not 2 <= count <= MAX_PARTS:
        raise ValueError(f"several are 2 to {MAX_PARTS}, not {count}")
