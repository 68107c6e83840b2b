"""Which clients a server takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..protocol.keys import PublicKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class HasPublicKey(Protocol):
    """What is asked about: anything with a public key that was proved."""

    @property
    def public_key(self) -> PublicKey: ...


class AuthorizedPeers:
    """The clients that may connect, by public key: `ServerConfig(authorize=AuthorizedPeers([key, ...]))`.

    Given a mapping from keys to names, a client's name becomes `stream.peer.principal`; otherwise its key does.
    Raises `TypeError` for what is no `PublicKey`.
    """

    def __init__(self, peers: Iterable[PublicKey] | Mapping[PublicKey, str]) -> None:
        self._peers: dict[PublicKey, object] = dict(peers.items()) if hasattr(peers, "items") else {k: k for k in peers}
        for key in self._peers:
            if not isinstance(key, PublicKey):
                raise TypeError(
                    f"AuthorizedPeers takes PublicKeys, not {type(key).__name__}: PublicKey.from_text(text)"
                )

    async def __call__(self, peer: HasPublicKey) -> object:
        """Raises `PermissionError` for a client that isn't listed."""
        principal = self._peers.get(peer.public_key)
        if principal is None:
            raise PermissionError(f"the public key {peer.public_key} is not authorised here")
        return principal

    def __repr__(self) -> str:
        return f"<AuthorizedPeers: {len(self._peers)} keys>"
