"""Models nothing: gives the model's terms their bytes, by the protocol's real functions, to compare with the wire.

Written from docs/protocol.md, section 1, and from PyNaCl's and cryptography's functions alone, so that it says what the
document says.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from nacl import bindings

from tests.model.noise_model import NONCES
from tests.model.terms import Term, function

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUTE_LABEL = b"securestream/1 route"
_CONSTANTS = {
    function("empty")(): b"",
    function("securestream_1")(): b"securestream/1",
    function("mode_XX")(): b"SSv1\0",  # The header's magic stands before its mode.
    function("mode_XXpsk0")(): b"SSv1\1",
    function("mode_XXhfs")(): b"SSv1\2",
    function("mode_XXhfs+psk0")(): b"SSv1\3",
}


class Evaluation:
    """`values`: the bytes of variables and fresh names; private keys where a private key is meant."""

    def __init__(self, values: Mapping[Term, bytes]) -> None:
        self._values: dict[Term, bytes] = {**_CONSTANTS, **values}

    def bytes_of(self, t: Term) -> bytes:
        if t not in self._values:
            self._values[t] = self._compute(t)
        return self._values[t]

    def _compute(self, t: Term) -> bytes:
        if t.head.startswith("Noise_"):
            return t.head.encode().ljust(64, b"\0")
        if t.head == "encrypt":
            return self._encrypt(*t.args)
        args = [self.bytes_of(arg) for arg in t.args]
        if t.head in ("public", "named"):
            return bindings.crypto_scalarmult_base(args[0])
        if t.head == "kem_public":
            return MLKEM768PrivateKey.from_seed_bytes(args[0]).public_key().public_bytes_raw()
        if t.head == "dh":
            return bindings.crypto_scalarmult(args[0], bindings.crypto_scalarmult_base(args[1]))
        if t.head == "hash":
            return hashlib.blake2b(args[0] + args[1]).digest()
        if t.head == "route_key":
            return hashlib.blake2b(ROUTE_LABEL + args[1] + args[2], key=args[0], digest_size=32).digest()
        if t.head == "tuple":
            return b"".join(args)
        return hkdf(*args)[("hkdf1", "hkdf2", "hkdf3").index(t.head)]

    def _encrypt(self, k: Term, n: Term, ad: Term, plaintext: Term) -> bytes:
        nonce = bytes(4) + NONCES.index(n).to_bytes(8, "little")
        key = self.bytes_of(k)[:32]
        text, data = self.bytes_of(plaintext), self.bytes_of(ad)
        return bindings.crypto_aead_chacha20poly1305_ietf_encrypt(text, data, nonce, key)


def hkdf(chaining_key: bytes, input_key_material: bytes) -> list[bytes]:
    temp_key = hmac.digest(chaining_key, input_key_material, "blake2b")
    outputs = [b""]
    for number in (b"\1", b"\2", b"\3"):
        outputs.append(hmac.digest(temp_key, outputs[-1] + number, "blake2b"))
    return outputs[1:]
