"""ML-KEM-768 (FIPS 203), the key encapsulation of the hybrid handshake: keys and ciphertexts as bytes.

Needs the extra `pq`, so nothing imports this module before a hybrid handshake is wanted; `available()` in
`hybrid.py` asks whether there is one to be had. Names of algorithms and checks are FIPS 203's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import RemoteProtocolError
from .extra import OfTheExtra

with OfTheExtra("the post-quantum handshake", "pq"):
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey

if TYPE_CHECKING:
    from typing import Self


def is_supported() -> bool:
    """Whether the library below `cryptography` has the algorithm."""
    try:
        MLKEM768PrivateKey.generate()
    except UnsupportedAlgorithm:
        return False
    return True


class EncapsulationKey:
    """The public half: 1,184 bytes. Raises `ValueError` for what is none: another length, or a coefficient that is
    not below q = 3,329 (section 7.2, the modulus check)."""

    __slots__ = ("_key",)

    def __init__(self, data: bytes) -> None:
        self._key = MLKEM768PublicKey.from_public_bytes(data)

    def encapsulate(self) -> tuple[bytes, bytes]:
        """ML-KEM.Encaps: a fresh ciphertext, 1,088 bytes, and the shared secret that it carries, 32 bytes."""
        shared, ciphertext = self._key.encapsulate()
        return ciphertext, shared


def decode_encapsulation_key_untrusted(data: bytes) -> EncapsulationKey:
    """A peer's key. Raises `RemoteProtocolError` only."""
    try:
        return EncapsulationKey(data)
    except ValueError as exc:
        raise RemoteProtocolError("not an encapsulation key of ML-KEM-768") from exc


class DecapsulationKey:
    """The private half, for one handshake. It does not show."""

    __slots__ = ("_key", "public_bytes")

    def __init__(self, key: MLKEM768PrivateKey) -> None:
        self._key = key
        self.public_bytes: bytes = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Self:
        """ML-KEM.KeyGen."""
        return cls(MLKEM768PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """The key of d || z, 64 bytes (section 3.3): for tests only. Raises `ValueError` for another length."""
        return cls(MLKEM768PrivateKey.from_seed_bytes(seed))

    def decapsulate_untrusted(self, ciphertext: bytes) -> bytes:
        """ML-KEM.Decaps: the shared secret, 32 bytes. A ciphertext that was not made for this key gives another one
        and no error (implicit rejection, section 6.3): what is then sealed under it doesn't open.

        Raises `RemoteProtocolError` only, for another length than 1,088 bytes (section 7.3, the type check).
        """
        try:
            return self._key.decapsulate(ciphertext)
        except ValueError as exc:
            raise RemoteProtocolError("not a ciphertext of ML-KEM-768") from exc
