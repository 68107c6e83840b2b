"""A peer's key and ciphertext for the KEM: taken are those of the right length, keys with all coefficients below q."""

from __future__ import annotations

from securestream.protocol.codes import AlertCode
from securestream.protocol.hybrid import CIPHERTEXT_SIZE, ENCAPSULATION_KEY_SIZE
from securestream.protocol.mlkem import EncapsulationKey, decode_encapsulation_key_untrusted
from securestream.protocol.noise import _decode_e1_untrusted

from ...protocol.support import KEM_EPHEMERAL, outcome
from ..choices import Choices

SHOWS = "fuzz-parsers"
PARSERS = ("decode_encapsulation_key_untrusted", "_decode_e1_untrusted", "decapsulate_untrusted")

Q, COEFFICIENTS = 3_329, 768
CIPHERTEXT, SHARED = EncapsulationKey(KEM_EPHEMERAL.public_bytes).encapsulate()


def one_input(data: bytes) -> None:
    choices = Choices(data)
    if choices.byte() % 2:
        take_ciphertext(choices.edited(CIPHERTEXT))
    else:
        take_key(choices.edited(KEM_EPHEMERAL.public_bytes))


def take_key(data: bytes) -> None:
    keys = [outcome(parse, data) for parse in (decode_encapsulation_key_untrusted, _decode_e1_untrusted)]
    if is_a_key(data):
        for key in keys:
            assert isinstance(key, EncapsulationKey)
            assert len(key.encapsulate()[0]) == CIPHERTEXT_SIZE
    else:
        assert keys == [AlertCode.PROTOCOL_ERROR] * 2


def is_a_key(data: bytes) -> bool:
    """FIPS 203, section 7.2: the type check and the modulus check."""
    packed = int.from_bytes(data[:-32], "little")
    return len(data) == ENCAPSULATION_KEY_SIZE and all(
        packed >> 12 * place & 0xFFF < Q for place in range(COEFFICIENTS)
    )


def take_ciphertext(data: bytes) -> None:
    shared = outcome(KEM_EPHEMERAL.decapsulate_untrusted, data)
    if len(data) == CIPHERTEXT_SIZE:
        assert isinstance(shared, bytes)
        assert len(shared) == 32
        assert (shared == SHARED) == (data == CIPHERTEXT)
    else:
        assert shared is AlertCode.PROTOCOL_ERROR


def seeds() -> dict[str, bytes]:
    return {
        "key": b"\0\0",
        "key_with_a_coefficient_of_4095": bytes([0, 2, 1, 0, 0, 0xFF, 1, 1, 0, 0xFF]),
        "key_longer": bytes([0, 1, 2, 0, 0, 9]),
        "key_shorter": bytes([0, 1, 3, 0, 0, 1]),
        "key_seed_changed": bytes([0, 1, 0, 0x90, 0x04, 1]),
        "ciphertext": b"\1\0",
        "ciphertext_changed": bytes([1, 1, 0, 7, 0, 1]),
        "ciphertext_longer": bytes([1, 1, 2, 0, 0, 9]),
        "ciphertext_cut": bytes([1, 1, 4, 100, 0, 0]),
    }
