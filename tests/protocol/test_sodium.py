"""The two ways to libsodium: each does what `sodium.py` says, and they write the same bytes."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings
from nacl.exceptions import UnavailableError

from securestream import protocol
from securestream.protocol import sodium, sodium_bindings, sodium_raw
from securestream.protocol.keys import LOW_ORDER

from .support import KEY, PROPERTY, buffer_of, flipped, loaded_again

BACKENDS = (sodium_raw, sodium_bindings)


def aegis_sealed(backend: ModuleType, message: bytes, number: int, key: bytes = KEY) -> bytes:
    buffer = backend.Buffer(len(message) + 32)
    buffer.view[: len(message)] = message
    backend.Aegis256(key).encrypt(buffer, 0, buffer, 0, len(message), number)
    return bytes(buffer.view)


def pushed(backend: ModuleType, messages: list[bytes], tag: int = 0) -> tuple[bytes, list[bytes]]:
    """A stream's header and its sealed messages."""
    push = backend.SecretStreamPush(KEY)
    sealed: list[bytes] = []
    for message in messages:
        source, target = backend.Buffer(len(message)), backend.Buffer(len(message) + 17)
        source.view[:] = message
        push.encrypt(target, 0, source, 0, len(message), tag)
        sealed.append(bytes(target.view))
    return push.header, sealed


@PROPERTY
@given(st.binary(max_size=300), st.integers(0, 2**64 - 1))
def test_both_backends_seal_aegis_256_to_the_same_bytes(message: bytes, number: int) -> None:
    first, second = (aegis_sealed(backend, message, number) for backend in BACKENDS)
    assert first == second
    nonce = number.to_bytes(8, "little") + bytes(24)
    assert first == bindings.crypto_aead_aegis256_encrypt(message, None, nonce, KEY)


@PROPERTY
@given(st.binary(max_size=300), st.binary(max_size=80), st.binary(min_size=12, max_size=12))
def test_both_backends_seal_chacha20_poly1305_to_the_same_bytes(message: bytes, ad: bytes, nonce: bytes) -> None:
    first, second = (backend.chachapoly_encrypt(KEY, nonce, ad, message) for backend in BACKENDS)
    assert first == second == bindings.crypto_aead_chacha20poly1305_ietf_encrypt(message, ad, nonce, KEY)
    assert all(backend.chachapoly_decrypt(KEY, nonce, ad, first) == message for backend in BACKENDS)


def test_forged_chacha20_poly1305_is_none(backend: ModuleType) -> None:
    sealed = backend.chachapoly_encrypt(KEY, bytes(12), b"ad", b"text")
    for bit in range(8 * len(sealed)):
        assert backend.chachapoly_decrypt(KEY, bytes(12), b"ad", flipped(sealed, bit)) is None
    assert backend.chachapoly_decrypt(KEY, bytes(12), b"da", sealed) is None
    assert backend.chachapoly_decrypt(KEY, bytes(12), b"ad", bytes(16)) is None


@PROPERTY
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_both_backends_agree_on_x25519(private: bytes, public: bytes) -> None:
    first, second = (backend.x25519(private, public) for backend in BACKENDS)
    assert first == second
    first, second = (backend.x25519_base(private) for backend in BACKENDS)
    assert first == second


@pytest.mark.parametrize("point", sorted(LOW_ORDER), ids=lambda point: point[:4].hex())
def test_x25519_with_a_point_of_low_order_is_none(backend: ModuleType, point: bytes) -> None:
    assert backend.x25519(KEY, point) is None


def test_both_backends_seal_secretstream_to_the_same_bytes() -> None:
    header, messages = bytes(range(24)), [b"", b"one", b"two" * 1_000]
    written: list[list[bytes]] = []
    for backend in BACKENDS:
        push, targets = backend.SecretStreamPush(KEY), [backend.Buffer(len(message) + 17) for message in messages]
        push._state = backend.SecretStreamPull(KEY, header)._state  # its own header is random
        for tag, message, target in zip((0, 2, 3), messages, targets, strict=True):
            source = backend.Buffer(len(message))
            source.view[:] = message
            push.encrypt(target, 0, source, 0, len(message), tag)
        written.append([bytes(target.view) for target in targets])
    assert written[0] == written[1]


@pytest.mark.parametrize("writer", BACKENDS, ids=["raw", "bindings"])
@pytest.mark.parametrize("reader", BACKENDS, ids=["raw", "bindings"])
def test_either_backend_opens_the_secretstream_of_either(writer: ModuleType, reader: ModuleType) -> None:
    messages = [b"", b"one", b"two" * 5_000]
    header, sealed = pushed(writer, messages, tag=2)
    pull = reader.SecretStreamPull(KEY, header)
    for message, ciphertext in zip(messages, sealed, strict=True):
        target = reader.Buffer(len(message))
        assert pull.decrypt(target, 0, buffer_of(reader, ciphertext), 0, len(ciphertext)) == 2
        assert bytes(target.view) == message


def test_a_forged_secretstream_message_gives_minus_one_and_the_genuine_one_still_opens(backend: ModuleType) -> None:
    header, [sealed] = pushed(backend, [b"text"])
    pull, target = backend.SecretStreamPull(KEY, header), backend.Buffer(4)
    for bit in range(8 * len(sealed)):
        assert pull.decrypt(target, 0, buffer_of(backend, flipped(sealed, bit)), 0, len(sealed)) == -1
    assert pull.decrypt(target, 0, buffer_of(backend, sealed), 0, len(sealed)) == 0
    assert bytes(target.view) == b"text"


def test_a_forged_aegis_256_message_is_not_genuine(backend: ModuleType) -> None:
    sealed, target = aegis_sealed(backend, b"text", 7), backend.Buffer(4)
    cipher = backend.Aegis256(KEY)
    for bit in range(8 * len(sealed)):
        assert not cipher.decrypt(target, 0, buffer_of(backend, flipped(sealed, bit)), 0, len(sealed), 7)
    assert not cipher.decrypt(target, 0, buffer_of(backend, sealed), 0, len(sealed), 8)
    assert cipher.decrypt(target, 0, buffer_of(backend, sealed), 0, len(sealed), 7)


def test_nothing_is_written_outside_the_place_that_was_named(backend: ModuleType) -> None:
    buffer = backend.Buffer(100)
    buffer.view[:] = b"#" * 100
    buffer.view[10:14] = b"text"
    backend.Aegis256(KEY).encrypt(buffer, 10, buffer, 10, 4, 0)
    assert bytes(buffer.view[:10]) == b"#" * 10
    assert bytes(buffer.view[46:]) == b"#" * 54
    target = backend.Buffer(20)
    target.view[:] = b"#" * 20
    assert backend.Aegis256(KEY).decrypt(target, 8, buffer_of(backend, bytes(buffer.view)), 10, 36, 0)
    assert bytes(target.view) == b"#" * 8 + b"text" + b"#" * 8


def test_a_place_outside_a_buffer_is_refused_and_not_written_to(backend: ModuleType) -> None:
    small, large = backend.Buffer(30), backend.Buffer(100)
    push = backend.SecretStreamPush(KEY)
    pull = backend.SecretStreamPull(KEY, push.header)
    with pytest.raises((IndexError, ValueError)):
        backend.Aegis256(KEY).encrypt(small, 0, large, 0, 4, 0)
    with pytest.raises((IndexError, ValueError)):
        push.encrypt(small, 0, large, 0, 40, 0)
    assert not backend.Aegis256(KEY).decrypt(large, 0, large, 0, 50, 0)
    assert pull.decrypt(large, 0, small, 0, 30) == -1
    assert bytes(small.view) == bytes(30)


def test_the_raw_backend_refuses_to_read_beyond_a_buffer() -> None:
    small, large = sodium_raw.Buffer(30), sodium_raw.Buffer(100)
    push = sodium_raw.SecretStreamPush(KEY)
    with pytest.raises(IndexError):
        sodium_raw.Aegis256(KEY).decrypt(large, 0, small, 0, 50, 0)
    with pytest.raises(IndexError):
        sodium_raw.SecretStreamPull(KEY, push.header).decrypt(large, 0, small, 20, 20)


def test_the_raw_backend_refuses_to_write_beyond_a_buffer() -> None:
    small, large = sodium_raw.Buffer(30), sodium_raw.Buffer(100)
    push = sodium_raw.SecretStreamPush(KEY)
    pull = sodium_raw.SecretStreamPull(KEY, push.header)
    for past_the_end in (1, 20):
        with pytest.raises(IndexError):
            sodium_raw.Aegis256(KEY).decrypt(small, past_the_end, large, 0, 30 + 32, 0)
        with pytest.raises(IndexError):
            pull.decrypt(small, past_the_end, large, 0, 30 + 17)
    assert bytes(small.view) == bytes(30)


@pytest.mark.parametrize(("to", "start", "length"), [(-1, 0, 64), (0, -1, 64), (0, 0, -1), (0, 0, 10)])
def test_the_raw_backend_refuses_places_before_a_buffer_and_lengths_below_a_tag(
    to: int, start: int, length: int
) -> None:
    buffer = sodium_raw.Buffer(1_000)
    push = sodium_raw.SecretStreamPush(bytes(32))
    pull = sodium_raw.SecretStreamPull(bytes(32), push.header)
    cipher = sodium_raw.Aegis256(bytes(32))
    with pytest.raises(IndexError):
        cipher.decrypt(buffer, to, buffer, start, length, 0)
    with pytest.raises(IndexError):
        pull.decrypt(buffer, to, buffer, start, length)
    if length != 10:
        with pytest.raises(IndexError):
            cipher.encrypt(buffer, to, buffer, start, length, 0)
        with pytest.raises(IndexError):
            push.encrypt(buffer, to, buffer, start, length, 0)


def test_a_wiped_cipher_has_forgotten_its_key(backend: ModuleType) -> None:
    cipher, buffer = backend.Aegis256(KEY), backend.Buffer(32)
    cipher.wipe()
    cipher.encrypt(buffer, 0, buffer, 0, 0, 0)
    assert bytes(buffer.view) == aegis_sealed(backend, b"", 0, key=bytes(32))

    header, [sealed] = pushed(backend, [b"text"])
    pull = backend.SecretStreamPull(KEY, header)
    pull.wipe()
    assert pull.decrypt(backend.Buffer(4), 0, buffer_of(backend, sealed), 0, len(sealed)) == -1

    push, source, target = backend.SecretStreamPush(KEY), backend.Buffer(4), backend.Buffer(21)
    header = push.header
    push.wipe()
    push.encrypt(target, 0, source, 0, 4, 0)
    pull = backend.SecretStreamPull(KEY, header)
    assert pull.decrypt(backend.Buffer(4), 0, buffer_of(backend, bytes(target.view)), 0, 21) == -1


def test_wiping_does_not_change_the_callers_key(backend: ModuleType) -> None:
    key = bytearray(KEY)
    backend.Aegis256(key).wipe()
    assert key == KEY


# --- which of the two -------------------------------------------------------------------------------


def test_the_fast_backend_is_chosen_where_it_can_be_imported() -> None:
    assert loaded_again(sodium).backend is sodium_raw


def test_the_public_bindings_are_chosen_when_the_private_module_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(protocol, "sodium_raw")
    monkeypatch.delitem(sys.modules, sodium_raw.__name__)
    monkeypatch.setitem(sys.modules, "nacl._sodium", None)
    assert loaded_again(sodium).backend is sodium_bindings


def test_the_public_bindings_are_chosen_when_the_private_names_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class EmptyModule(ModuleType):
        ffi = lib = object()

    monkeypatch.delattr(protocol, "sodium_raw")
    monkeypatch.delitem(sys.modules, sodium_raw.__name__)
    monkeypatch.setitem(sys.modules, "nacl._sodium", EmptyModule("nacl._sodium"))
    assert loaded_again(sodium).backend is sodium_bindings


def test_both_backends_agree_whether_the_processor_has_aes() -> None:
    assert sodium_raw.AES_IN_HARDWARE == sodium_bindings.AES_IN_HARDWARE


def test_a_processor_without_aes_is_noticed_by_the_public_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(message: bytes, aad: bytes | None, nonce: bytes, key: bytes) -> bytes:
        raise UnavailableError("Construction requires hardware acceleration")

    monkeypatch.setattr(bindings, "crypto_aead_aes256gcm_encrypt", unavailable)
    assert not sodium_bindings._aes_in_hardware()
