"""The published vectors of the primitives, through the names by which the package uses them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NotRequired, TypedDict

import pytest
from nacl import bindings

from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.keys import PrivateKey, PublicKey
from securestream.protocol.noise import CipherState

from .support import buffer_of

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

# --- X25519 (Wycheproof) ----------------------------------------------------------------------------


class Exchange(TypedDict):
    public: str
    private: str
    shared: str


@pytest.mark.usefixtures("backend")
def test_x25519_gives_the_published_outputs_and_refuses_what_no_honest_program_has(vectors: Path) -> None:
    agreed = refused = 0
    groups: list[dict[str, list[Exchange]]] = json.loads((vectors / "wycheproof_x25519.json").read_text())["testGroups"]
    for vector in groups[0]["tests"]:
        public, shared = bytes.fromhex(vector["public"]), bytes.fromhex(vector["shared"])
        canonical = int.from_bytes(public, "little") < 2**255 - 19
        private = PrivateKey(bytes.fromhex(vector["private"]))
        if canonical and any(shared):
            assert private.exchange(bytes(PublicKey(public))) == shared
            agreed += 1
        else:
            with pytest.raises(ValueError, match="not a public key"):
                PublicKey(public)
            refused += 1
        if not any(shared):
            with pytest.raises(RemoteProtocolError, match="low order"):
                private.exchange(public)
    assert agreed >= 450
    assert refused >= 30


# --- ChaCha20-Poly1305 (Wycheproof) -----------------------------------------------------------------


class Sealed(TypedDict):
    key: str
    iv: str
    aad: str
    msg: str
    ct: str
    tag: str
    result: str


def wycheproof(path: Path) -> list[Sealed]:
    groups: list[dict[str, list[Sealed]]] = json.loads(path.read_text())["testGroups"]
    return [vector for group in groups for vector in group["tests"]]


@pytest.mark.usefixtures("backend")
def test_chacha20_poly1305_seals_and_opens_as_published(vectors: Path) -> None:
    used = 0
    for vector in wycheproof(vectors / "wycheproof_chacha20_poly1305.json"):
        iv = bytes.fromhex(vector["iv"])
        if len(iv) != 12 or iv[:4] != bytes(4):
            continue  # Noise's nonces begin with 32 bits of zeros
        key, number = bytes.fromhex(vector["key"]), int.from_bytes(iv[4:], "little")
        ad, message = bytes.fromhex(vector["aad"]), bytes.fromhex(vector["msg"])
        sealed = bytes.fromhex(vector["ct"] + vector["tag"])
        if vector["result"] == "valid":
            assert CipherState(key, number).encrypt_with_ad(ad, message) == sealed
            assert CipherState(key, number).decrypt_with_ad(ad, sealed) == message
        else:
            with pytest.raises(RemoteProtocolError):
                CipherState(key, number).decrypt_with_ad(ad, sealed)
        used += 1
    assert used >= 10


# --- AEGIS-256 (CFRG, Wycheproof) -------------------------------------------------------------------


class Aegis(TypedDict):
    name: str
    key: NotRequired[str]
    nonce: NotRequired[str]
    ad: NotRequired[str]
    msg: NotRequired[str]
    ct: NotRequired[str]
    tag256: NotRequired[str]


def seal_aegis(backend: ModuleType, key: bytes, nonce: bytes, message: bytes) -> bytes:
    """Under any nonce: the package's own are a number and then zeros, published ones are not."""
    cipher, buffer = backend.Aegis256(key), backend.Buffer(len(message) + 32)
    buffer.view[: len(message)] = message
    cipher.encrypt(buffer, 0, buffer, 0, len(message), int.from_bytes(nonce, "little"))
    return bytes(buffer.view)


def test_aegis_256_gives_the_published_ciphertexts_and_256_bit_tags(vectors: Path, backend: ModuleType) -> None:
    used = 0
    published: list[Aegis] = json.loads((vectors / "cfrg_aegis256.json").read_text())
    for vector in published:
        if vector.get("ad") != "" or "msg" not in vector:
            continue  # records have no associated data
        key, nonce, message = (bytes.fromhex(text) for text in (vector["key"], vector["nonce"], vector["msg"]))
        sealed = seal_aegis(backend, key, nonce, message)
        assert sealed.hex() == vector["ct"] + vector["tag256"]
        opened, number = backend.Buffer(len(message)), int.from_bytes(nonce[:8], "little")
        assert nonce[8:] == bytes(24)
        assert backend.Aegis256(key).decrypt(opened, 0, buffer_of(backend, sealed), 0, len(sealed), number)
        assert bytes(opened.view) == message
        used += 1
    assert used >= 2


def test_aegis_256_gives_the_ciphertexts_of_wycheproof(vectors: Path, backend: ModuleType) -> None:
    used = 0
    for vector in wycheproof(vectors / "wycheproof_aegis256.json"):
        if vector["aad"] or vector["result"] != "valid":
            continue
        key, nonce, message = (bytes.fromhex(vector[name]) for name in ("key", "iv", "msg"))
        # Its tags are the short kind, of 128 bits; the ciphertext before them is the same.
        assert seal_aegis(backend, key, nonce, message)[:-32].hex() == vector["ct"]
        used += 1
    assert used >= 150


# --- secretstream (libsodium) -----------------------------------------------------------------------


class Chunk(TypedDict):
    tag: int
    ad: str
    message: str
    ciphertext: str


class SecretStream(TypedDict):
    key: str
    header: str
    chunks: list[Chunk]


def secretstreams(vectors: Path) -> list[SecretStream]:
    published: list[SecretStream] = json.loads((vectors / "libsodium_secretstream.json").read_text())
    return published


def test_secretstream_gives_the_published_ciphertexts(vectors: Path, backend: ModuleType) -> None:
    used = 0
    for vector in secretstreams(vectors):
        push = backend.SecretStreamPush(bytes.fromhex(vector["key"]))
        # A writer's header is random. A reader's first state is the same as its writer's, so it lends this one its own.
        pull = backend.SecretStreamPull(bytes.fromhex(vector["key"]), bytes.fromhex(vector["header"]))
        push._state = pull._state
        chunk = vector["chunks"][0]
        message = bytes.fromhex(chunk["message"])
        source, target = backend.Buffer(len(message)), backend.Buffer(len(message) + 17)
        source.view[:] = message
        push.encrypt(target, 0, source, 0, len(message), chunk["tag"])
        # The vectors have associated data and records have none: that changes the last 16 bytes, and what follows.
        assert bytes(target.view)[:-16].hex() == chunk["ciphertext"][:-32]
        assert bytes(target.view)[-16:].hex() != chunk["ciphertext"][-32:]
        used += 1
    assert used >= 1


def test_libsodiums_secretstream_is_the_published_one(vectors: Path) -> None:
    used = 0
    for vector in secretstreams(vectors):
        state = bindings.crypto_secretstream_xchacha20poly1305_state()
        header, key = bytes.fromhex(vector["header"]), bytes.fromhex(vector["key"])
        bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, header, key)
        for chunk in vector["chunks"]:
            ciphertext, ad = bytes.fromhex(chunk["ciphertext"]), bytes.fromhex(chunk["ad"])
            opened = bindings.crypto_secretstream_xchacha20poly1305_pull(state, ciphertext, ad)
            assert opened == (bytes.fromhex(chunk["message"]), chunk["tag"])
            used += 1
    assert used >= 9
