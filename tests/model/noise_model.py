"""Models Noise's key schedule:  Noise_XX, Noise_XXpsk0 and their hybrid forms, revision 34, with the specification's
names and sentences (section 5), and those of "KEM-based Hybrid Forward Secrecy for Noise" (section 4).

Both parties compute the same function of what they hold, so one `transcript` serves both.  Where a party does not
know a private key it holds a variable: whoever received a public key from the wire has `public(X)` for some X, as on
X25519 every accepted key is.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.model.terms import Term, function

hash_ = function("hash")  # HASH(h || data)
hkdf1, hkdf2, hkdf3 = function("hkdf1"), function("hkdf2"), function("hkdf3")  # HKDF(chaining_key, input_key_material)
encrypt = function("encrypt")  # ENCRYPT(k, n, ad, plaintext)
dh = function("dh")  # Of two private keys.
public = function("public")  # The group element that belongs to a private key.
kem_public = function("kem_public")  # The encapsulation key that belongs to a decapsulation key.
encapsulated = function("encapsulated")  # Of an encapsulation key and the sender's random number: the ciphertext.
kem_output = function("kem_output")  # Of the same two: the shared secret.
named = function("named")  # The bytes of a static public key, which tell whose it is.

EMPTY = function("empty")()
NONCES = tuple(function(number)() for number in ("zero", "one", "two", "three"))  # Mutants count past one.

PATTERNS: dict[str, tuple[tuple[str, ...], ...]] = {
    "XX": (("e",), ("e", "ee", "s", "es"), ("s", "se")),
    "XXpsk0": (("psk", "e"), ("e", "ee", "s", "es"), ("s", "se")),
    "XXhfs": (("e", "e1"), ("e", "ee", "ekem1", "s", "es"), ("s", "se")),
    "XXhfs+psk0": (("psk", "e", "e1"), ("e", "ee", "ekem1", "s", "es"), ("s", "se")),
}


def is_hybrid(pattern: str) -> bool:
    return "hfs" in pattern


def protocol_name(pattern: str) -> str:
    return f"{pattern}_25519{'+MLKEM768' if is_hybrid(pattern) else ''}_ChaChaPoly_BLAKE2b"


class SymmetricState:
    """Section 5.2.  `authenticate=False` is a flaw for the mutants: h is not the associated data."""

    def __init__(self, protocol_name: str, *, authenticate: bool = True) -> None:
        # Sets h = protocol_name, padded with zeros.  Sets ck = h.
        self.h = self.ck = function(f"Noise_{protocol_name}")()
        self.k: Term | None = None
        self.n = 0
        self._authenticate = authenticate

    def mix_key(self, input_key_material: Term) -> None:
        # Sets ck, temp_k = HKDF(ck, input_key_material, 2).  Calls InitializeKey(temp_k).
        self.ck, self.k, self.n = hkdf1(self.ck, input_key_material), hkdf2(self.ck, input_key_material), 0

    def mix_hash(self, data: Term) -> None:
        # Sets h = HASH(h || data).
        self.h = hash_(self.h, data)

    def mix_key_and_hash(self, input_key_material: Term) -> None:
        # Sets ck, temp_h, temp_k = HKDF(ck, input_key_material, 3).  Calls MixHash(temp_h).  Calls
        # InitializeKey(temp_k).
        ck, temp_h, temp_k = (hkdf(self.ck, input_key_material) for hkdf in (hkdf1, hkdf2, hkdf3))
        self.mix_hash(temp_h)
        self.ck, self.k, self.n = ck, temp_k, 0

    def encrypt_and_hash(self, plaintext: Term) -> Term:
        # Sets ciphertext = EncryptWithAd(h, plaintext), calls MixHash(ciphertext), and returns ciphertext.
        ciphertext = plaintext
        if self.k is not None:
            ciphertext = encrypt(self.k, NONCES[self.n], self.h if self._authenticate else EMPTY, plaintext)
            self.n += 1
        self.mix_hash(ciphertext)
        return ciphertext

    def split(self) -> tuple[Term, Term]:
        # Sets temp_k1, temp_k2 = HKDF(ck, zerolen, 2).
        return hkdf1(self.ck, EMPTY), hkdf2(self.ck, EMPTY)


@dataclass(frozen=True)
class Keys:
    """The private keys behind a run: initiator's and responder's, ephemeral and static, and the shared secret; of the
    KEM, the initiator's and the responder's random number.
    """

    e_initiator: Term
    s_initiator: Term
    e_responder: Term
    s_responder: Term
    psk: Term
    e1_initiator: Term = EMPTY
    encapsulation: Term = EMPTY


@dataclass(frozen=True)
class Transcript:
    """What each message consists of, h and ck after each message, and Split's two keys."""

    messages: tuple[tuple[Term, ...], ...]
    h: tuple[Term, ...]
    ck: tuple[Term, ...]
    to_responder: Term
    to_initiator: Term


@dataclass(frozen=True)
class NoiseFlaws:
    """What a mutant leaves out."""

    tokens: frozenset[str] = frozenset()
    associated_data: bool = True


NO_NOISE_FLAWS = NoiseFlaws()


def transcript(
    pattern: str, keys: Keys, prologue: Term, payloads: tuple[Term, Term, Term], flaws: NoiseFlaws = NO_NOISE_FLAWS
) -> Transcript:
    """Runs the pattern's tokens in order; section 5.3, WriteMessage."""
    state = SymmetricState(protocol_name(pattern), authenticate=flaws.associated_data)
    state.mix_hash(prologue)
    messages, hashes, chaining_keys = [], [], []
    for number, (tokens, payload) in enumerate(zip(PATTERNS[pattern], payloads, strict=True)):
        message: list[Term] = []
        for token in tokens:
            if token not in flaws.tokens:
                message += _process(state, token, keys, by_initiator=number % 2 == 0, psk_handshake="psk" in pattern)
        message.append(state.encrypt_and_hash(payload))
        messages.append(tuple(message))
        hashes.append(state.h)
        chaining_keys.append(state.ck)
    return Transcript(tuple(messages), tuple(hashes), tuple(chaining_keys), *state.split())


def _process(state: SymmetricState, token: str, keys: Keys, *, by_initiator: bool, psk_handshake: bool) -> list[Term]:
    """One token; returns what it puts on the wire."""
    if token == "e":
        e = public(keys.e_initiator if by_initiator else keys.e_responder)
        state.mix_hash(e)
        if psk_handshake:  # Section 9.2: in a psk handshake "e" also calls MixKey(e.public_key).
            state.mix_key(e)
        return [e]
    if token == "s":
        return [state.encrypt_and_hash(named(keys.s_initiator if by_initiator else keys.s_responder))]
    if token == "e1":
        # Transferred as if it was a static DH public key.
        return [state.encrypt_and_hash(kem_public(keys.e1_initiator))]
    if token == "ekem1":
        parts = kem_public(keys.e1_initiator), keys.encapsulation
        ciphertext = state.encrypt_and_hash(encapsulated(*parts))
        state.mix_key(kem_output(*parts))
        return [ciphertext]
    if token == "psk":
        state.mix_key_and_hash(keys.psk)
    else:
        initiator = keys.e_initiator if token[0] == "e" else keys.s_initiator
        responder = keys.e_responder if token[1] == "e" else keys.s_responder
        state.mix_key(dh(initiator, responder))
    return []
