"""Peers that have the keys and not the rules: what they seal passes every tag, and tests what lies behind.

`FixedForger` seals records with a header that is the same at every run. `loose_peer` is Noise with a header, a payload
and a long-term key that say whatever the fuzzer wants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from nacl import bindings

from securestream.protocol.handshake import PATTERNS
from securestream.protocol.messages import PROLOGUE
from securestream.protocol.noise import HandshakeState
from securestream.protocol.suites import Suite

from ..protocol.support import KEM_EPHEMERAL, KEY, Forger

if TYPE_CHECKING:
    from securestream.protocol.keys import PrivateKey, SharedSecret

HEADER = bytes(range(24))


class FixedForger(Forger):
    """A forger whose wire bytes depend on its input alone."""

    def __init__(self, suite: Suite) -> None:
        super().__init__(suite)
        if suite is Suite.XCHACHA20_POLY1305:
            # libsodium chooses the header itself when writing; the reading side's state is the same one.
            bindings.crypto_secretstream_xchacha20poly1305_init_pull(self._state, HEADER, KEY)
            self.prefix = HEADER


class LooseKey:
    """A key pair that shows another public key than its own."""

    def __init__(self, key: PrivateKey, shown: bytes) -> None:
        self._key = key
        self.public_key = shown

    def exchange(self, public_key: bytes) -> bytes:
        return self._key.exchange(public_key)


def loose_peer(
    *,
    initiator: bool,
    header: bytes,
    key: PrivateKey,
    shown: bytes,
    ephemeral: PrivateKey,
    secret: SharedSecret | None,
    hybrid: bool,
) -> HandshakeState:
    """Noise under any header, with any 32 bytes as its long-term key."""
    return HandshakeState(
        PATTERNS[secret is not None, hybrid],
        initiator=initiator,
        prologue=PROLOGUE + header,
        s=cast("PrivateKey", LooseKey(key, shown)),
        e=ephemeral,
        e1=KEM_EPHEMERAL if initiator else None,
        psks=() if secret is None else (secret.psk,),
    )
