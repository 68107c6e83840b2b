"""The Noise Protocol Framework, revision 34, as far as this project needs it, with hybrid forward secrecy.

Section numbers below are the specification's, and so are the names and the quoted rules. "HFS" is "KEM-based Hybrid
Forward Secrecy for Noise", revision 1. Fixed here: 25519, MLKEM768, ChaChaPoly, BLAKE2b. Patterns are data, with the
modifiers psk (section 9) and hfs (HFS section 5) applied to the data.

Reading verifies before it commits: `read_message` works on a copy of the symmetric state and assigns it
last, so a forged message leaves the handshake as it was.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

from . import sodium
from .errors import LocalProtocolError, RemoteProtocolError
from .hybrid import CIPHERTEXT_SIZE, ENCAPSULATION_KEY_SIZE
from .keys import KEY_SIZE, PrivateKey, PublicKey, decode_public_key_untrusted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .mlkem import DecapsulationKey, EncapsulationKey

Token = Literal["e", "e1", "s", "ee", "ekem1", "es", "se", "ss", "psk"]

HASHLEN = 64  # section 12.8: BLAKE2b
TAG_SIZE = 16
_NONCE = struct.Struct("<4xQ")  # section 12.3: 32 bits of zeros, then n little-endian
_MAX_NONCE = 2**64 - 1  # section 5.1: reserved


class NotAuthentic(RemoteProtocolError):
    """A ciphertext that was not made with this key: by somebody without it, or changed on the way."""


# --- patterns (sections 7 and 9) --------------------------------------------------------------------


Messages = tuple[tuple[Token, ...], ...]


@dataclass(frozen=True)
class Pattern:
    """A handshake pattern: its name, and the tokens of each message, the initiator's first."""

    name: str
    messages: Messages

    @cached_property
    def psks(self) -> int:
        """How many pre-shared keys the pattern asks for."""
        return _count_of_psks(self.messages)

    @property
    def has_psk(self) -> bool:
        """Whether the pattern asks for a pre-shared key."""
        return self.psks > 0

    @property
    def has_kem(self) -> bool:
        """Whether the pattern has hybrid forward secrecy."""
        return any("ekem1" in message for message in self.messages)

    def with_modifier(self, modifier: str) -> Pattern:
        """Section 9.4: psk0 goes to the beginning of the first message, psk1 to the end of the first,
        psk2 to the end of the second, and so on. HFS section 5: "hfs". Raises `ValueError` for another modifier."""
        places = {f"psk{place}": place for place in range(len(self.messages) + 1)}
        if modifier == "hfs" and not self.has_kem:
            messages = _with_kem(self.messages)
        elif modifier in places:
            messages = _with_psk(self.messages, places[modifier])
        else:
            raise ValueError(f"{modifier!r} does not modify {self.name}")
        joint = "+" if self.has_psk or self.has_kem else ""
        return Pattern(f"{self.name}{joint}{modifier}", messages)


def _with_psk(messages: Messages, place: int) -> Messages:
    changed = list(messages)
    if place == 0:
        changed[0] = ("psk", *changed[0])
    else:
        changed[place - 1] = (*changed[place - 1], "psk")
    return tuple(changed)


def _with_kem(messages: Messages) -> Messages:
    # Adds an "e1" token directly following the first occurrence of "e" (of patterns without a DH in that message), and
    # an "ekem1" token directly following the first occurrence of "ee".
    return _with_token_behind(_with_token_behind(messages, "e", "e1"), "ee", "ekem1")


def _with_token_behind(messages: Messages, behind: Token, token: Token) -> Messages:
    number = next(number for number, message in enumerate(messages) if behind in message)
    at = messages[number].index(behind) + 1
    changed = (*messages[number][:at], token, *messages[number][at:])
    return (*messages[:number], changed, *messages[number + 1 :])


def _count_of_psks(messages: Sequence[tuple[Token, ...]]) -> int:
    return sum(message.count("psk") for message in messages)


XX = Pattern("XX", (("e",), ("e", "ee", "s", "es"), ("s", "se")))
XX_PSK0 = XX.with_modifier("psk0")
XX_HFS = XX.with_modifier("hfs")
XX_HFS_PSK0 = XX_HFS.with_modifier("psk0")


def protocol_name(pattern: Pattern) -> bytes:
    """Section 8. HFS section 5: the KEM's name directly follows the DH's, separated by a plus sign."""
    kem = "+MLKEM768" if pattern.has_kem else ""
    return f"Noise_{pattern.name}_25519{kem}_ChaChaPoly_BLAKE2b".encode("ascii")


# --- functions (section 4) --------------------------------------------------------------------------


class SharedKeys:
    """`DH(key_pair, public_key)`, each computed once: the sealed route and `es` are often the same one."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: list[tuple[PrivateKey, bytes, bytes]] = []

    def dh(self, private_key: PrivateKey, public_key: bytes) -> bytes:
        """Raises `RemoteProtocolError` where the result would be all zero (section 12.1)."""
        for private, public, shared in self._known:
            if private is private_key and public == public_key:
                return shared
        shared = private_key.exchange(public_key)
        self._known.append((private_key, public_key, shared))
        return shared


# RFC 2104 with BLAKE2b, whose blocks have 128 bytes. Half of a handshake's time that is not Diffie-Hellman went into
# `hmac.digest`, which looks BLAKE2b up in OpenSSL each time; a test compares the two.
_FROM_KEY_TO_IPAD = bytes(byte ^ 0x36 for byte in range(256))
_FROM_KEY_TO_OPAD = bytes(byte ^ 0x5C for byte in range(256))
_REST_OF_IPAD, _REST_OF_OPAD = b"\x36" * 64, b"\x5c" * 64


def hkdf(chaining_key: bytes, input_key_material: bytes, num_outputs: int) -> list[bytes]:
    """Section 4.3: HKDF, with HMAC-HASH(key, data) under keys of HASHLEN bytes."""
    # Sets temp_key = HMAC-HASH(chaining_key, input_key_material), output1 = HMAC-HASH(temp_key, byte(0x01)),
    # output2 = HMAC-HASH(temp_key, output1 || byte(0x02)), and so on.
    inner, outer = _hmac_pads(chaining_key)
    inner, outer = _hmac_pads(_hash(outer + _hash(inner + input_key_material)))
    outputs: list[bytes] = []
    previous = b""
    for number in _OUTPUT_NUMBERS[:num_outputs]:
        previous = _hash(outer + _hash(inner + previous + number))
        outputs.append(previous)
    return outputs


_OUTPUT_NUMBERS = (b"\x01", b"\x02", b"\x03")


def _hmac_pads(key: bytes) -> tuple[bytes, bytes]:
    """K XOR ipad, K XOR opad, for a key of HASHLEN bytes."""
    return key.translate(_FROM_KEY_TO_IPAD) + _REST_OF_IPAD, key.translate(_FROM_KEY_TO_OPAD) + _REST_OF_OPAD


# --- CipherState (section 5.1) ----------------------------------------------------------------------


class CipherState:
    """A key `k` and a nonce `n`; with no key it passes everything through."""

    __slots__ = ("_k", "_n")

    def __init__(self, k: bytes | None = None, n: int = 0) -> None:
        self._k = k
        self._n = n

    def has_key(self) -> bool:
        return self._k is not None

    def copy(self) -> CipherState:
        return CipherState(self._k, self._n)

    def encrypt_with_ad(self, ad: bytes, plaintext: bytes) -> bytes:
        # If k is non-empty returns ENCRYPT(k, n++, ad, plaintext). Otherwise returns plaintext.
        if self._k is None:
            return plaintext
        nonce = self._nonce()
        self._n += 1
        return sodium.backend.chachapoly_encrypt(self._k, nonce, ad, plaintext)

    def decrypt_with_ad(self, ad: bytes, ciphertext: bytes) -> bytes:
        # If k is non-empty returns DECRYPT(k, n++, ad, ciphertext). Otherwise returns ciphertext.
        # If an authentication failure occurs in DECRYPT() then n is not incremented.
        if self._k is None:
            return ciphertext
        if len(ciphertext) < TAG_SIZE:
            raise RemoteProtocolError("a ciphertext shorter than its tag")
        plaintext = sodium.backend.chachapoly_decrypt(self._k, self._nonce(), ad, ciphertext)
        if plaintext is None:
            raise NotAuthentic("a ciphertext that does not authenticate")
        self._n += 1
        return plaintext

    def _nonce(self) -> bytes:
        if self._n >= _MAX_NONCE:
            raise LocalProtocolError("2^64 - 1 messages under one Noise key")
        return _NONCE.pack(self._n)

    def key_bytes(self) -> bytes:
        """The key itself, for the record cipher that takes over after `split()`."""
        if self._k is None:
            raise LocalProtocolError("a cipher without a key")
        return self._k


# --- SymmetricState (section 5.2) -------------------------------------------------------------------


class SymmetricState:
    """The chaining key `ck`, the handshake hash `h` and a cipher."""

    __slots__ = ("_cipher", "_ck", "_h")

    def __init__(self, name: bytes) -> None:
        # If protocol_name is less than or equal to HASHLEN bytes in length, sets h equal to
        # protocol_name with zero bytes appended to make HASHLEN bytes. Otherwise sets h = HASH(protocol_name).
        self._h = name.ljust(HASHLEN, b"\0") if len(name) <= HASHLEN else _hash(name)
        self._ck = self._h
        self._cipher = CipherState()

    def copy(self) -> SymmetricState:
        other = object.__new__(SymmetricState)
        other._h, other._ck, other._cipher = self._h, self._ck, self._cipher.copy()
        return other

    def mix_key(self, input_key_material: bytes) -> None:
        # Sets ck, temp_k = HKDF(ck, input_key_material, 2). If HASHLEN is 64, truncates temp_k to 32 bytes.
        self._ck, temp_k = hkdf(self._ck, input_key_material, 2)
        self._cipher = CipherState(temp_k[:KEY_SIZE])

    def mix_hash(self, data: bytes) -> None:
        # Sets h = HASH(h || data).
        self._h = _hash(self._h + data)

    def mix_key_and_hash(self, input_key_material: bytes) -> None:
        # Sets ck, temp_h, temp_k = HKDF(ck, input_key_material, 3). Calls MixHash(temp_h).
        self._ck, temp_h, temp_k = hkdf(self._ck, input_key_material, 3)
        self.mix_hash(temp_h)
        self._cipher = CipherState(temp_k[:KEY_SIZE])

    def get_handshake_hash(self) -> bytes:
        return self._h

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        # Sets ciphertext = EncryptWithAd(h, plaintext), calls MixHash(ciphertext), and returns ciphertext.
        ciphertext = self._cipher.encrypt_with_ad(self._h, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        # Sets plaintext = DecryptWithAd(h, ciphertext), calls MixHash(ciphertext), and returns plaintext.
        plaintext = self._cipher.decrypt_with_ad(self._h, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    def encrypted_size(self, size: int) -> int:
        return size + TAG_SIZE if self._cipher.has_key() else size

    def split(self) -> tuple[CipherState, CipherState]:
        # Sets temp_k1, temp_k2 = HKDF(ck, zerolen, 2), truncated to 32 bytes.
        temp_k1, temp_k2 = hkdf(self._ck, b"", 2)
        return CipherState(temp_k1[:KEY_SIZE]), CipherState(temp_k2[:KEY_SIZE])


def _hash(data: bytes) -> bytes:
    return blake2b(data).digest()


# --- HandshakeState (section 5.3) -------------------------------------------------------------------


class HandshakeState:
    """One side of a handshake.

    `s`, `e`, `e1`     key pairs; `e` is made here unless given (given: the route needs it before
                       Noise starts, and tests fix it), and so is `e1`, the KEM's (only tests give it)
    `psks`             one for each psk token, in their order
    `shared_keys`      what was computed before, under the same ephemeral

    The remote keys `rs`, `re` and `re1` are there once they have been read.
    """

    __slots__ = (
        *("_index", "_initiator", "_pattern", "_psks", "_shared_keys", "_symmetric"),
        *("e", "e1", "re", "re1", "rs", "s"),
    )

    def __init__(
        self,
        pattern: Pattern,
        *,
        initiator: bool,
        prologue: bytes,
        s: PrivateKey,
        e: PrivateKey | None = None,
        e1: DecapsulationKey | None = None,
        psks: Sequence[bytes] = (),
        shared_keys: SharedKeys | None = None,
    ) -> None:
        self._pattern = pattern
        self._initiator = initiator
        self._psks = tuple(psks)
        if len(self._psks) != pattern.psks:
            raise ValueError(f"{pattern.name} takes {pattern.psks} psks, not {len(self._psks)}")
        self._shared_keys = shared_keys or SharedKeys()
        self._index = 0
        self.s: PrivateKey = s
        self.e: PrivateKey | None = e
        self.e1: DecapsulationKey | None = e1
        self.rs: PublicKey | None = None
        self.re: PublicKey | None = None
        self.re1: EncapsulationKey | None = None
        self._symmetric = SymmetricState(protocol_name(pattern))
        self._symmetric.mix_hash(prologue)

    @property
    def public_key(self) -> PublicKey:
        """This side's own."""
        return self.s.public_key

    @property
    def is_finished(self) -> bool:
        return self._index == len(self._pattern.messages)

    def get_handshake_hash(self) -> bytes:
        """Section 11.2: h after the last message written or read, 64 bytes."""
        return self._symmetric.get_handshake_hash()

    def write_message(self, payload: bytes = b"") -> bytes:
        """The next message. Raises `LocalProtocolError` when it is not this side's turn."""
        tokens = self._next_tokens(writing=True)
        symmetric, psks = self._symmetric.copy(), self._psks_to_come()
        message = b"".join(self._write_token(symmetric, token, psks) for token in tokens)
        message += symmetric.encrypt_and_hash(payload)
        self._symmetric = symmetric
        self._index += 1
        return message

    def read_message(self, message: bytes) -> bytes:
        """The payload of the peer's message. Raises `RemoteProtocolError` and is unchanged then."""
        tokens = self._next_tokens(writing=False)
        symmetric, psks = self._symmetric.copy(), self._psks_to_come()
        before = (self.rs, self.re, self.re1)
        try:
            for token in tokens:
                message = self._read_token(symmetric, token, message, psks)
            payload = symmetric.decrypt_and_hash(message)
        except RemoteProtocolError:
            self.rs, self.re, self.re1 = before
            raise
        self._symmetric = symmetric
        self._index += 1
        return payload

    def split(self) -> tuple[CipherState, CipherState]:
        """Section 5.2: one cipher for the initiator's messages, one for the responder's."""
        if not self.is_finished:
            raise LocalProtocolError("split() before the last message")
        return self._symmetric.split()

    def _next_tokens(self, *, writing: bool) -> tuple[Token, ...]:
        turn_is_initiators = self._index % 2 == 0
        if self.is_finished or writing != (turn_is_initiators == self._initiator):
            raise LocalProtocolError("not this side's turn in the handshake")
        return self._pattern.messages[self._index]

    def _write_token(self, symmetric: SymmetricState, token: Token, psks: Iterator[bytes]) -> bytes:
        if token == "e":
            # Sets e = GENERATE_KEYPAIR(). Appends e.public_key to the buffer. Calls MixHash(e.public_key).
            self.e = self.e or PrivateKey.generate()
            public = bytes(self.e.public_key)
            self._mix_e(symmetric, public)
            return public
        if token == "s":
            # Appends EncryptAndHash(s.public_key) to the buffer.
            return symmetric.encrypt_and_hash(bytes(self.s.public_key))
        if token == "e1":
            return symmetric.encrypt_and_hash(self._new_e1())
        if token == "ekem1":
            return self._write_ekem1(symmetric)
        self._mix_secret(symmetric, token, psks)
        return b""

    def _read_token(self, symmetric: SymmetricState, token: Token, message: bytes, psks: Iterator[bytes]) -> bytes:
        if token == "e":
            # Sets re to the next DHLEN bytes from the message. Calls MixHash(re.public_key).
            public, message = _take(message, KEY_SIZE)
            self.re = decode_public_key_untrusted(public)
            self._mix_e(symmetric, public)
        elif token == "s":
            # Sets temp to the next DHLEN + 16 bytes if HasKey() == True, or DHLEN otherwise.
            # Sets rs to DecryptAndHash(temp).
            temp, message = _take(message, symmetric.encrypted_size(KEY_SIZE))
            self.rs = decode_public_key_untrusted(symmetric.decrypt_and_hash(temp))
        elif token == "e1":
            temp, message = _take(message, symmetric.encrypted_size(ENCAPSULATION_KEY_SIZE))
            self.re1 = _decode_e1_untrusted(symmetric.decrypt_and_hash(temp))
        elif token == "ekem1":
            temp, message = _take(message, symmetric.encrypted_size(CIPHERTEXT_SIZE))
            self._read_ekem1(symmetric, symmetric.decrypt_and_hash(temp))
        else:
            self._mix_secret(symmetric, token, psks)
        return message

    def _mix_e(self, symmetric: SymmetricState, public: bytes) -> None:
        symmetric.mix_hash(public)
        if self._pattern.has_psk:
            # Section 9.2: in a handshake with a psk, "e" is followed by MixKey(e.public_key).
            symmetric.mix_key(public)

    def _new_e1(self) -> bytes:
        # HFS section 4: calls GENERATE_KEM_KEYPAIR(). The public key is transferred as if it was a static DH one.
        from .mlkem import DecapsulationKey

        self.e1 = self.e1 or DecapsulationKey.generate()
        return self.e1.public_bytes

    def _write_ekem1(self, symmetric: SymmetricState) -> bytes:
        # HFS section 4: calls GENERATE_KEM_CIPHERTEXT() using a previously received KEM public key. The ciphertext is
        # transferred as if it was a static DH public key. Calls MixKey(kem_output).
        if self.re1 is None:
            raise LocalProtocolError("the pattern asks for 'ekem1' before the key is there")
        ciphertext, kem_output = self.re1.encapsulate()
        sealed = symmetric.encrypt_and_hash(ciphertext)
        symmetric.mix_key(kem_output)
        return sealed

    def _read_ekem1(self, symmetric: SymmetricState, ciphertext: bytes) -> None:
        # HFS section 4: the recipient calls KEM(key_pair, ciphertext) and MixKey(kem_output).
        if self.e1 is None:
            raise LocalProtocolError("the pattern asks for 'ekem1' before the key is there")
        symmetric.mix_key(self.e1.decapsulate_untrusted(ciphertext))

    def _mix_secret(self, symmetric: SymmetricState, token: Token, psks: Iterator[bytes]) -> None:
        if token == "psk":
            # Section 9.2: calls MixKeyAndHash(psk).
            symmetric.mix_key_and_hash(next(psks))
        else:
            symmetric.mix_key(self._dh(token))

    def _psks_to_come(self) -> Iterator[bytes]:
        if not self._psks:
            return iter(())
        return iter(self._psks[_count_of_psks(self._pattern.messages[: self._index]) :])

    def _dh(self, token: Token) -> bytes:
        # "es": DH(e, rs) if initiator, DH(s, re) if responder. "se": the other way round.
        ours, theirs = (token[0], token[1]) if self._initiator else (token[1], token[0])
        private = self.e if ours == "e" else self.s
        public = self.re if theirs == "e" else self.rs
        if private is None or public is None:
            raise LocalProtocolError(f"the pattern asks for {token!r} before the keys are there")
        return self._shared_keys.dh(private, bytes(public))


def _decode_e1_untrusted(data: bytes) -> EncapsulationKey:
    from .mlkem import decode_encapsulation_key_untrusted

    return decode_encapsulation_key_untrusted(data)


def _take(message: bytes, size: int) -> tuple[bytes, bytes]:
    if len(message) < size:
        raise RemoteProtocolError("a handshake message that ends too early")
    return message[:size], message[size:]
