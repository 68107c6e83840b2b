"""What is random in a connection, fixed: keys, the route of a client that knows no server, secretstream's header, the
KEM's ciphertext.

The package has no switch for the last three, so that nobody can turn it: they are put in the place of libsodium's, of
Python's source and of `cryptography`'s while a vector is made.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from nacl import bindings

from securestream.protocol import sodium, sodium_bindings
from securestream.protocol.keys import PrivateKey, SharedSecret
from securestream.protocol.mlkem import DecapsulationKey, EncapsulationKey

if TYPE_CHECKING:
    from collections.abc import Iterator


def fixed(name: str, size: int = 32) -> bytes:
    """Bytes that anyone can make again: SHAKE256 of a name."""
    return hashlib.shake_256(b"securestream/1 test vectors: " + name.encode()).digest(size)


def fixed_key(name: str) -> PrivateKey:
    return PrivateKey(fixed(name))


CLIENT, SERVER, MIDDLEBOX, OTHER_SERVER = map(fixed_key, ("client", "server", "middlebox", "another server"))
CLIENT_EPHEMERAL, SERVER_EPHEMERAL = fixed_key("client's session key"), fixed_key("server's session key")
SECRET, OLD_SECRET = SharedSecret(fixed("secret", 48)), SharedSecret(fixed("secret of before"))
ROUTE = fixed("route of a client that knows no server", 48)
HEADER = fixed("header of secretstream", 24)

# The KEM's, in FIPS 203's names: d | z of KeyGen, m of Encaps. `cryptography` takes no m, so what Encaps makes of it
# stands in a file; the peer in Node makes it again, and Decaps has to give what it was made with.
KEM_SEED, KEM_MESSAGE = fixed("client's session key of the KEM", 64), fixed("what is encapsulated")
KEM_EPHEMERAL = DecapsulationKey.from_seed(KEM_SEED)
KEM_CIPHERTEXT = bytes.fromhex(Path(__file__).with_name("kem_ciphertext.txt").read_text(encoding="ascii"))
KEM_SHARED_SECRET = KEM_EPHEMERAL.decapsulate_untrusted(KEM_CIPHERTEXT)


class FixedPush(sodium_bindings.SecretStreamPush):
    """The writing end of a secretstream that begins with `HEADER`."""

    def __init__(self, key: bytes) -> None:
        self._state = bindings.crypto_secretstream_xchacha20poly1305_state()
        # init_push draws a header and then derives the same state from it and the key as init_pull.
        bindings.crypto_secretstream_xchacha20poly1305_init_pull(self._state, HEADER, key)
        self.header = HEADER


@contextmanager
def nothing_random(ciphertext: bytes = KEM_CIPHERTEXT) -> Iterator[None]:
    """Routes and headers made meanwhile are `ROUTE` and `HEADER`, and the KEM's ciphertext for `KEM_EPHEMERAL` is this
    one, with the shared secret of the right one."""

    def encapsulate(key: EncapsulationKey) -> tuple[bytes, bytes]:
        assert key._key.public_bytes_raw() == KEM_EPHEMERAL.public_bytes
        return ciphertext, KEM_SHARED_SECRET

    with (
        mock.patch.object(sodium.backend, "SecretStreamPush", FixedPush),
        mock.patch.object(secrets, "token_bytes", fixed_route),
        mock.patch.object(EncapsulationKey, "encapsulate", encapsulate),
    ):
        yield


def fixed_route(size: int) -> bytes:
    assert size == len(ROUTE)  # nothing else that is random may be asked for
    return ROUTE
