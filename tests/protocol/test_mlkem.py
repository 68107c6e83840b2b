"""ML-KEM-768 as the wrapper gives it: known answers, refusals, and the rejection that does not show."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.exceptions import UnsupportedAlgorithm

from securestream.protocol import hybrid, mlkem
from securestream.protocol.codes import AlertCode
from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.hybrid import CIPHERTEXT_SIZE, ENCAPSULATION_KEY_SIZE
from securestream.protocol.mlkem import DecapsulationKey, EncapsulationKey, decode_encapsulation_key_untrusted

from .support import KEM_EPHEMERAL, flipped, loaded_again, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Q = 3_329


# --- known answers ----------------------------------------------------------------------------------------


def known_answers(most: int) -> Iterator[dict[str, bytes]]:
    """NIST's, as the package `cryptography-vectors` has them."""
    vectors = pytest.importorskip("cryptography_vectors", reason="the package of known answers is not installed")
    path = Path(vectors.__file__).parent / "asymmetric" / "MLKEM" / "kat_MLKEM_768.rsp"
    answer: dict[str, bytes] = {}
    with path.open() as lines:
        for line in lines:
            name, _, value = line.strip().partition(" = ")
            if name == "count":
                most -= 1
                if most < 0:
                    return
            elif value:
                answer[name] = bytes.fromhex(value)
            if name == "ss":  # the last field of each
                yield answer


def test_the_wrapper_gives_the_known_answers() -> None:
    seen = 0
    for answer in known_answers(most=100):
        key = DecapsulationKey.from_seed(answer["d"] + answer["z"])
        assert key.public_bytes == answer["pk"]
        assert key.decapsulate_untrusted(answer["ct"]) == answer["ss"]
        assert key.decapsulate_untrusted(answer["ct_n"]) == answer["ss_n"]  # not for this key: implicit rejection
        assert answer["ss_n"] != answer["ss"]
        seen += 1
    assert seen == 100


# --- with itself ------------------------------------------------------------------------------------------


def test_what_is_encapsulated_is_what_comes_out() -> None:
    for _ in range(20):
        key = DecapsulationKey.generate()
        ciphertext, shared = EncapsulationKey(key.public_bytes).encapsulate()
        assert key.decapsulate_untrusted(ciphertext) == shared
        assert (len(key.public_bytes), len(ciphertext), len(shared)) == (ENCAPSULATION_KEY_SIZE, CIPHERTEXT_SIZE, 32)


def test_no_two_keys_and_no_two_ciphertexts_are_the_same() -> None:
    assert DecapsulationKey.generate().public_bytes != DecapsulationKey.generate().public_bytes
    key = EncapsulationKey(KEM_EPHEMERAL.public_bytes)
    assert len({part for _ in range(5) for part in key.encapsulate()}) == 10


def test_a_ciphertext_that_was_changed_gives_another_secret_and_no_error() -> None:
    ciphertext, shared = EncapsulationKey(KEM_EPHEMERAL.public_bytes).encapsulate()
    seen = {shared}
    for bit in range(0, 8 * len(ciphertext), 97):
        seen.add(KEM_EPHEMERAL.decapsulate_untrusted(flipped(ciphertext, bit)))
    assert len(seen) == 1 + len(range(0, 8 * len(ciphertext), 97))
    again = KEM_EPHEMERAL.decapsulate_untrusted(flipped(ciphertext, 0))
    assert again == KEM_EPHEMERAL.decapsulate_untrusted(flipped(ciphertext, 0))


# --- what is refused --------------------------------------------------------------------------------------


def packed(coefficients: Sequence[int]) -> bytes:
    """FIPS 203, algorithm 5: 12 bits each, the lower first."""
    whole = sum(value << 12 * place for place, value in enumerate(coefficients))
    return whole.to_bytes(len(coefficients) * 12 // 8, "little")


def key_with(coefficients: Mapping[int, int]) -> bytes:
    return packed([coefficients.get(place, 7) for place in range(768)]) + bytes(32)


def test_a_key_whose_coefficients_are_all_below_q_is_taken() -> None:
    for place in (0, 1, 255, 256, 767):
        EncapsulationKey(key_with({place: Q - 1})).encapsulate()


@pytest.mark.parametrize("value", [Q, Q + 1, 4_095])
@pytest.mark.parametrize("place", [0, 1, 255, 256, 512, 767])
def test_a_key_with_a_coefficient_that_is_not_below_q_is_refused(place: int, value: int) -> None:
    key = key_with({place: value})
    assert refusal(decode_encapsulation_key_untrusted, key) is AlertCode.PROTOCOL_ERROR
    with pytest.raises(ValueError):
        EncapsulationKey(key)


@pytest.mark.parametrize("size", [0, 1, 32, 800, 1_183, 1_185, 1_568])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    assert refusal(decode_encapsulation_key_untrusted, bytes(size)) is AlertCode.PROTOCOL_ERROR


@pytest.mark.parametrize("size", [0, 1, 768, 1_087, 1_089, 1_568])
def test_a_ciphertext_of_another_length_is_refused(size: int) -> None:
    assert refusal(KEM_EPHEMERAL.decapsulate_untrusted, bytes(size)) is AlertCode.PROTOCOL_ERROR


def test_a_refusal_does_not_show_what_was_sent() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_encapsulation_key_untrusted(b"\xff" * 1_184)
    assert str(caught.value) == "not an encapsulation key of ML-KEM-768"
    with pytest.raises(RemoteProtocolError, match="not a ciphertext of ML-KEM-768"):
        KEM_EPHEMERAL.decapsulate_untrusted(b"")


def test_a_private_key_does_not_show() -> None:
    seed = KEM_EPHEMERAL._key.private_bytes_raw()
    for text in (repr(KEM_EPHEMERAL), str(KEM_EPHEMERAL)):
        assert seed.hex() not in text
        assert repr(seed)[2:-1] not in text


# --- without the extra ------------------------------------------------------------------------------------


@pytest.fixture
def no_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without the library."""
    genuine = builtins.__import__

    def blocked(name: str, *args: object, **kwargs: object) -> object:
        if name.partition(".")[0] == "cryptography":
            raise ImportError(name)
        return genuine(name, *args, **kwargs)  # type: ignore[arg-type]  # passed on as it came

    for name in [name for name in sys.modules if name == "securestream.protocol.mlkem"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("securestream.protocol.mlkem")
    monkeypatch.setattr(builtins, "__import__", blocked)


@pytest.mark.usefixtures("no_cryptography")
def test_without_the_library_it_is_not_to_be_had_and_the_error_names_the_extra() -> None:
    assert not hybrid.available.__wrapped__()
    with pytest.raises(ImportError, match=r"pip install 'securestream\[pq\]'"):
        loaded_again(mlkem)


def test_a_library_that_lacks_the_algorithm_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lacking:
        @staticmethod
        def generate() -> None:
            raise UnsupportedAlgorithm("ML-KEM is not supported")

    monkeypatch.setattr(mlkem, "MLKEM768PrivateKey", Lacking)
    assert not mlkem.is_supported()
    assert not hybrid.available.__wrapped__()
