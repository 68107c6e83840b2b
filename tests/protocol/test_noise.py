"""Noise: the published vectors, another implementation, and what a forger tries."""

from __future__ import annotations

import hmac
import json
from itertools import zip_longest
from typing import TYPE_CHECKING, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from noise.connection import Keypair, NoiseConnection

from securestream.protocol.codes import AlertCode
from securestream.protocol.errors import LocalProtocolError, RemoteProtocolError
from securestream.protocol.hybrid import CIPHERTEXT_SIZE
from securestream.protocol.keys import LOW_ORDER, PrivateKey, PublicKey
from securestream.protocol.noise import (
    XX,
    XX_HFS,
    XX_HFS_PSK0,
    XX_PSK0,
    CipherState,
    HandshakeState,
    Pattern,
    SharedKeys,
    SymmetricState,
    hkdf,
    protocol_name,
)

from .support import (
    CLIENT_EPHEMERAL,
    CLIENT_KEY,
    KEM_EPHEMERAL,
    PROPERTY,
    SERVER_EPHEMERAL,
    SERVER_KEY,
    flipped,
    refusal,
    repeatable_kem,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PATTERNS = {"XX": XX, "NN": Pattern("NN", (("e",), ("e", "ee")))}
PSK = bytes(range(32))


# --- published vectors ------------------------------------------------------------------------------


class Message(TypedDict):
    payload: str
    ciphertext: str


class _Required(TypedDict):
    protocol_name: str
    messages: list[Message]


class Vector(_Required, total=False):
    """As cacophony and snow write them; what a pattern doesn't need is missing."""

    handshake_hash: str
    init_prologue: str
    init_static: str
    init_ephemeral: str
    init_psks: list[str]
    resp_prologue: str
    resp_static: str
    resp_ephemeral: str
    resp_psks: list[str]


def pattern_named(name: str) -> Pattern:
    """`"NNpsk0+psk2"` as data."""
    base, _, modifiers = name.partition("psk")
    pattern = PATTERNS[base]
    for modifier in f"psk{modifiers}".split("+") if modifiers else []:
        pattern = pattern.with_modifier(modifier)
    return pattern


def sides_of(vector: Vector) -> tuple[HandshakeState, HandshakeState]:
    """The initiator and the responder that a vector describes."""
    pattern = pattern_named(vector["protocol_name"].split("_")[1])
    assert protocol_name(pattern).decode() == vector["protocol_name"]
    initiator = HandshakeState(
        pattern,
        initiator=True,
        prologue=bytes.fromhex(vector.get("init_prologue", "")),
        s=PrivateKey(bytes.fromhex(vector.get("init_static", "11" * 32))),
        e=PrivateKey(bytes.fromhex(vector["init_ephemeral"])),
        psks=[bytes.fromhex(psk) for psk in vector.get("init_psks", [])],
    )
    responder = HandshakeState(
        pattern,
        initiator=False,
        prologue=bytes.fromhex(vector.get("resp_prologue", "")),
        s=PrivateKey(bytes.fromhex(vector.get("resp_static", "22" * 32))),
        e=PrivateKey(bytes.fromhex(vector["resp_ephemeral"])),
        psks=[bytes.fromhex(psk) for psk in vector.get("resp_psks", [])],
    )
    return initiator, responder


def check_handshake(initiator: HandshakeState, responder: HandshakeState, messages: Sequence[Message]) -> int:
    """Runs the handshake's messages and gives how many there were."""
    for number, message in enumerate(messages):
        if initiator.is_finished:
            return number
        writer, reader = (initiator, responder) if number % 2 == 0 else (responder, initiator)
        ciphertext = writer.write_message(bytes.fromhex(message["payload"]))
        assert ciphertext.hex() == message["ciphertext"]
        assert reader.read_message(ciphertext).hex() == message["payload"]
    raise AssertionError("a vector that ends within its handshake")


def check_transport(initiator: HandshakeState, responder: HandshakeState, messages: list[tuple[int, Message]]) -> None:
    """The later messages go on taking turns, each direction under its own key."""
    writers, readers = initiator.split(), responder.split()
    for number, message in messages:
        direction = number % 2
        ciphertext = writers[direction].encrypt_with_ad(b"", bytes.fromhex(message["payload"]))
        assert ciphertext.hex() == message["ciphertext"]
        assert readers[direction].decrypt_with_ad(b"", ciphertext).hex() == message["payload"]


def test_published_vectors_come_out_to_the_bit(vectors: Path) -> None:
    names: list[str] = []
    published: list[Vector] = json.loads((vectors / "noise_25519_ChaChaPoly_BLAKE2b.json").read_text())["vectors"]
    for vector in published:
        initiator, responder = sides_of(vector)
        used = check_handshake(initiator, responder, vector["messages"])
        assert initiator.get_handshake_hash() == responder.get_handshake_hash()
        if "handshake_hash" in vector:
            assert initiator.get_handshake_hash().hex() == vector["handshake_hash"]
        later = list(enumerate(vector["messages"]))[used:]
        assert later
        check_transport(initiator, responder, later)
        names.append(vector["protocol_name"].split("_")[1])
    assert {"XX", "NN", "NNpsk0", "XXpsk3", "XXpsk0+psk1", "XXpsk0+psk1+psk2+psk3"} <= set(names)


# --- another implementation -------------------------------------------------------------------------


class Oracle:
    """One side of a handshake by the package `noiseprotocol`."""

    def __init__(self, pattern: Pattern, *, initiator: bool, s: PrivateKey) -> None:
        self._connection = NoiseConnection.from_name(protocol_name(pattern))
        self._connection.set_as_initiator() if initiator else self._connection.set_as_responder()
        self._connection.set_prologue(b"prologue")
        self._connection.set_keypair_from_private_bytes(Keypair.STATIC, bytes(s))
        if pattern.has_psk:
            self._connection.set_psks(PSK)
        self._connection.start_handshake()

    def write_message(self, payload: bytes) -> bytes:
        return bytes(self._connection.write_message(payload))

    def read_message(self, message: bytes) -> bytes:
        return bytes(self._connection.read_message(message))

    def get_handshake_hash(self) -> bytes:
        if self._connection.handshake_finished:
            return bytes(self._connection.get_handshake_hash())
        return bytes(self._connection.noise_protocol.handshake_state.symmetric_state.get_handshake_hash())

    def encrypt(self, plaintext: bytes) -> bytes:
        return bytes(self._connection.encrypt(plaintext))

    def decrypt(self, ciphertext: bytes) -> bytes:
        return bytes(self._connection.decrypt(ciphertext))


def new_side(pattern: Pattern = XX, *, initiator: bool) -> HandshakeState:
    return HandshakeState(
        pattern,
        initiator=initiator,
        prologue=b"prologue",
        s=CLIENT_KEY if initiator else SERVER_KEY,
        e=CLIENT_EPHEMERAL if initiator else SERVER_EPHEMERAL,
        e1=KEM_EPHEMERAL if initiator else None,
        psks=(PSK,) if pattern.has_psk else (),
    )


@pytest.mark.parametrize("initiator", [True, False], ids=["we_begin", "they_begin"])
@pytest.mark.parametrize("pattern", [XX, XX_PSK0], ids=["XX", "XXpsk0"])
def test_another_implementation_agrees_after_each_message(pattern: Pattern, initiator: bool) -> None:
    ours = new_side(pattern, initiator=initiator)
    theirs = Oracle(pattern, initiator=not initiator, s=SERVER_KEY if initiator else CLIENT_KEY)
    for number, payload in enumerate([b"", b"to the initiator", b"to the responder"]):
        if (number % 2 == 0) == initiator:
            assert theirs.read_message(ours.write_message(payload)) == payload
        else:
            assert ours.read_message(theirs.write_message(payload)) == payload
        assert ours.get_handshake_hash() == theirs.get_handshake_hash()
    first, second = ours.split()
    sending, receiving = (first, second) if initiator else (second, first)
    for payload in [b"", b"one", b"two"]:
        assert theirs.decrypt(sending.encrypt_with_ad(b"", payload)) == payload
        assert receiving.decrypt_with_ad(b"", theirs.encrypt(payload)) == payload


@pytest.fixture
def repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    repeatable_kem(monkeypatch)


def test_the_pattern_asks_for_the_kem_before_its_keys_are_there() -> None:
    pattern = Pattern("X0", (("ekem1",),))
    with pytest.raises(LocalProtocolError, match="'ekem1'"):
        HandshakeState(pattern, initiator=True, prologue=b"", s=CLIENT_KEY).write_message()
    with pytest.raises(LocalProtocolError, match="'ekem1'"):
        HandshakeState(pattern, initiator=False, prologue=b"", s=CLIENT_KEY).read_message(bytes(CIPHERTEXT_SIZE))


# --- forged messages -------------------------------------------------------------------------------


def messages_of(pattern: Pattern) -> list[bytes]:
    """A genuine handshake's messages."""
    sides = new_side(pattern, initiator=True), new_side(pattern, initiator=False)
    messages: list[bytes] = []
    for number in range(3):
        messages.append(sides[number % 2].write_message(b"payload"))
        sides[1 - number % 2].read_message(messages[-1])
    return messages


def read_up_to(pattern: Pattern, number: int) -> HandshakeState:
    """The side that reads message `number`, just before it."""
    messages = messages_of(pattern)
    side = new_side(pattern, initiator=number % 2 == 1)
    for earlier in range(number):
        if earlier % 2 != number % 2:
            side.write_message(b"payload")
        else:
            side.read_message(messages[earlier])
    return side


MESSAGES = [(XX, 1), (XX, 2), (XX_PSK0, 0), (XX_PSK0, 1), (XX_PSK0, 2)]
MESSAGES += [(XX_HFS, 1), (XX_HFS, 2), (XX_HFS_PSK0, 0), (XX_HFS_PSK0, 1), (XX_HFS_PSK0, 2)]


@pytest.mark.parametrize(("pattern", "number"), MESSAGES)
@pytest.mark.usefixtures("repeatable")
def test_a_forged_message_leaves_the_state_as_it_was_and_the_genuine_one_still_works(
    pattern: Pattern, number: int
) -> None:
    message = messages_of(pattern)[number]
    side = read_up_to(pattern, number)
    before = (side.get_handshake_hash(), side.rs, side.re, side.re1, side.is_finished)
    forgeries = [flipped(message, 8 * at + at % 8) for at in range(0, len(message), 1 + len(message) // 200)]
    for forged in [*forgeries, b"", message[:31], message[:-1], message + b"\0", bytes(len(message))]:
        with pytest.raises(RemoteProtocolError):
            side.read_message(forged)
        assert (side.get_handshake_hash(), side.rs, side.re, side.re1, side.is_finished) == before
    assert side.read_message(message) == b"payload"


@PROPERTY
@given(st.binary(max_size=200), st.sampled_from([(XX, 1), (XX, 2), (XX_PSK0, 0)]))
def test_any_bytes_are_refused_with_a_remote_protocol_error(message: bytes, place: tuple[Pattern, int]) -> None:
    with pytest.raises(RemoteProtocolError):
        read_up_to(*place).read_message(message)


def test_a_wrong_psk_is_seen_in_the_first_message() -> None:
    side = HandshakeState(
        XX_PSK0, initiator=False, prologue=b"prologue", s=SERVER_KEY, e=SERVER_EPHEMERAL, psks=[bytes(32)]
    )
    with pytest.raises(RemoteProtocolError):
        side.read_message(messages_of(XX_PSK0)[0])


def test_another_prologue_is_seen_in_the_second_message() -> None:
    client = HandshakeState(XX, initiator=True, prologue=b"other", s=CLIENT_KEY, e=CLIENT_EPHEMERAL)
    client.write_message(b"payload")
    with pytest.raises(RemoteProtocolError):
        client.read_message(messages_of(XX)[1])


@pytest.mark.parametrize(
    "raw", [*sorted(LOW_ORDER), b"\xff" * 32, bytes(31) + b"\x80", (2**255 - 19).to_bytes(32, "little")]
)
def test_an_ephemeral_key_that_no_honest_program_has_is_refused(raw: bytes) -> None:
    side = new_side(initiator=False)
    with pytest.raises(RemoteProtocolError, match="not a public key"):
        side.read_message(raw + b"payload")
    assert side.re is None


def test_a_static_key_of_low_order_is_refused_even_in_a_message_that_authenticates() -> None:
    client, server = new_side(initiator=True), new_side(initiator=False)
    server.read_message(client.write_message())
    forged = SymmetricState(protocol_name(XX))
    # What goes into h before the server's "s": prologue, the client's "e" and empty payload, the server's "e".
    for data in (b"prologue", bytes(CLIENT_EPHEMERAL.public_key), b"", bytes(SERVER_EPHEMERAL.public_key)):
        forged.mix_hash(data)
    forged.mix_key(SERVER_EPHEMERAL.exchange(bytes(CLIENT_EPHEMERAL.public_key)))
    message = bytes(SERVER_EPHEMERAL.public_key) + forged.encrypt_and_hash(bytes([1]) + bytes(31))
    with pytest.raises(RemoteProtocolError, match="low order"):
        client.read_message(message + bytes(16))
    assert client.rs is None


# --- whose turn -------------------------------------------------------------------------------------


def test_a_message_out_of_turn_is_this_programs_own_fault() -> None:
    client, server = new_side(initiator=True), new_side(initiator=False)
    for step in (lambda: client.read_message(bytes(32)), server.write_message, client.split, server.split):
        with pytest.raises(LocalProtocolError):
            step()
    server.read_message(client.write_message())
    with pytest.raises(LocalProtocolError):
        client.write_message()
    client.read_message(server.write_message())
    server.read_message(client.write_message())
    for finished in (client, server):
        with pytest.raises(LocalProtocolError):
            finished.write_message()
        with pytest.raises(LocalProtocolError):
            finished.read_message(b"")


def test_a_pattern_that_needs_keys_which_are_not_there_is_this_programs_own_fault() -> None:
    nonsense = HandshakeState(Pattern("X0", (("ss",),)), initiator=True, prologue=b"", s=CLIENT_KEY)
    with pytest.raises(LocalProtocolError, match="'ss'"):
        nonsense.write_message()


def test_an_ephemeral_key_is_made_when_none_is_given() -> None:
    sides = [HandshakeState(XX, initiator=True, prologue=b"", s=CLIENT_KEY) for _ in range(2)]
    first, second = (side.write_message() for side in sides)
    assert first != second
    assert sides[0].e is not None
    assert first == bytes(sides[0].e.public_key)


# --- patterns as data -------------------------------------------------------------------------------


def test_modifiers_put_psk_where_section_9_says() -> None:
    assert XX_PSK0.messages[0] == ("psk", "e")
    assert XX.with_modifier("psk1").messages[0] == ("e", "psk")
    assert XX.with_modifier("psk2").messages[1] == ("e", "ee", "s", "es", "psk")
    both = XX.with_modifier("psk0").with_modifier("psk3")
    assert both.name == "XXpsk0+psk3"
    assert both.messages == (("psk", "e"), XX.messages[1], ("s", "se", "psk"))
    assert not XX.has_psk


def test_the_modifier_hfs_puts_e1_and_ekem1_where_the_extension_says() -> None:
    assert XX_HFS.messages == (("e", "e1"), ("e", "ee", "ekem1", "s", "es"), ("s", "se"))
    assert XX_HFS_PSK0.messages == (("psk", "e", "e1"), *XX_HFS.messages[1:])
    assert protocol_name(XX_HFS) == b"Noise_XXhfs_25519+MLKEM768_ChaChaPoly_BLAKE2b"
    assert protocol_name(XX_HFS_PSK0) == b"Noise_XXhfs+psk0_25519+MLKEM768_ChaChaPoly_BLAKE2b"
    assert not XX.has_kem
    with pytest.raises(ValueError, match="does not modify XXhfs"):
        XX_HFS.with_modifier("hfs")


@pytest.mark.parametrize(
    "modifier", ["psk4", "psk-1", "psk", "psk00", "psk01", "psk\N{ARABIC-INDIC DIGIT ONE}", "0", "fallback", ""]
)
def test_a_modifier_out_of_range_is_refused(modifier: str) -> None:
    with pytest.raises(ValueError, match="does not modify XX"):
        XX.with_modifier(modifier)


@pytest.mark.parametrize("psks", [(), (PSK, PSK)])
def test_a_pattern_takes_one_psk_for_each_psk_token(psks: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="XXpsk0 takes 1 psks"):
        HandshakeState(XX_PSK0, initiator=True, prologue=b"", s=CLIENT_KEY, psks=psks)


# --- the small objects ------------------------------------------------------------------------------


def test_a_cipher_without_a_key_passes_everything_through() -> None:
    cipher = CipherState()
    assert not cipher.has_key()
    assert cipher.encrypt_with_ad(b"ad", b"text") == b"text"
    assert cipher.decrypt_with_ad(b"ad", b"text") == b"text"
    with pytest.raises(LocalProtocolError):
        cipher.key_bytes()


def test_a_failed_decryption_does_not_count() -> None:
    sealed = [CipherState(PSK, n).encrypt_with_ad(b"", b"text") for n in range(2)]
    cipher = CipherState(PSK)
    for forged in (b"", sealed[0][:15], flipped(sealed[0], 0), sealed[1]):
        with pytest.raises(RemoteProtocolError):
            cipher.decrypt_with_ad(b"", forged)
    for genuine in sealed:
        assert cipher.decrypt_with_ad(b"", genuine) == b"text"


def test_the_last_nonce_is_reserved_and_never_used() -> None:
    last = 2**64 - 2
    writer, reader = CipherState(PSK, last), CipherState(PSK, last)
    assert reader.decrypt_with_ad(b"", writer.encrypt_with_ad(b"", b"text")) == b"text"
    with pytest.raises(LocalProtocolError):
        writer.encrypt_with_ad(b"", b"text")
    with pytest.raises(LocalProtocolError):
        reader.decrypt_with_ad(b"", bytes(16))


def test_a_short_protocol_name_is_padded_and_a_long_one_is_hashed() -> None:
    assert SymmetricState(b"n" * 64).get_handshake_hash() == b"n" * 64
    assert SymmetricState(b"n").get_handshake_hash() == b"n" + bytes(63)
    assert SymmetricState(b"n" * 65).get_handshake_hash() not in (b"n" * 64, b"n" * 65)


@PROPERTY
@given(st.binary(min_size=64, max_size=64), st.binary(max_size=300), st.integers(2, 3))
def test_hkdf_is_what_the_library_s_hmac_makes_of_it(chaining_key: bytes, material: bytes, outputs: int) -> None:
    temp_key = hmac.digest(chaining_key, material, "blake2b")
    expected = [b""]
    for number in range(1, outputs + 1):
        expected.append(hmac.digest(temp_key, expected[-1] + bytes([number]), "blake2b"))
    assert hkdf(chaining_key, material, outputs) == expected[1:]


def test_hkdf_gives_the_same_first_outputs_however_many_are_asked_for() -> None:
    two, three = hkdf(bytes(64), b"key", 2), hkdf(bytes(64), b"key", 3)
    assert two == three[:2]
    assert len(set(three)) == 3


def test_each_diffie_hellman_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    genuine = PrivateKey.exchange

    def counted(self: PrivateKey, public_key: bytes) -> bytes:
        asked.append(public_key)
        return genuine(self, public_key)

    monkeypatch.setattr(PrivateKey, "exchange", counted)
    shared, peer = SharedKeys(), bytes(SERVER_KEY.public_key)
    assert shared.dh(CLIENT_KEY, peer) == shared.dh(CLIENT_KEY, bytes(bytearray(peer)))
    assert shared.dh(CLIENT_EPHEMERAL, peer) != shared.dh(CLIENT_KEY, peer)
    assert len(asked) == 2


def test_both_sides_learn_each_others_long_term_key_and_no_other() -> None:
    client, server = new_side(initiator=True), new_side(initiator=False)
    server.read_message(client.write_message())
    assert server.rs is None
    client.read_message(server.write_message())
    server.read_message(client.write_message())
    known: list[PublicKey | None] = [client.rs, client.re, server.rs, server.re]
    expected = [SERVER_KEY, SERVER_EPHEMERAL, CLIENT_KEY, CLIENT_EPHEMERAL]
    assert all(a == b.public_key for a, b in zip_longest(known, expected))


def test_a_refused_message_names_the_alert_for_the_peer() -> None:
    assert refusal(new_side(initiator=False).read_message, b"") is AlertCode.PROTOCOL_ERROR
