"""What only a small fault in the code would change: found by the mutants that no other test kills."""

from __future__ import annotations

import hashlib

import pytest

from securestream.protocol import records, sodium, sodium_bindings, sodium_raw
from securestream.protocol.alerts import Alert
from securestream.protocol.codes import AlertCode
from securestream.protocol.errors import LocalProtocolError
from securestream.protocol.handshake import ServerHandshake
from securestream.protocol.keys import PrivateKey, PublicKey, SharedSecret
from securestream.protocol.messages import Kind, decode_hello_untrusted, encode_alert_frame
from securestream.protocol.noise import XX, HandshakeState, SymmetricState
from securestream.protocol.padding import (
    MAX_FLUSH_PADDING,
    BlockPadding,
    BucketPadding,
    FullRecords,
    KeyedPadding,
    PaddingPolicy,
)
from securestream.protocol.records import End, RecordReader, RecordWriter
from securestream.protocol.suites import FORGED, KeyExhausted, RecordType, Suite, opener, sealer

from .support import (
    BOTH_SUITES,
    CLIENT_EPHEMERAL,
    CLIENT_KEY,
    KEY,
    SERVER_EPHEMERAL,
    SERVER_KEY,
    Witness,
    body,
    flush,
    new_client,
    new_pair,
    new_server,
    receive,
    refusal,
    shake_hands,
)

# --- keys and alerts --------------------------------------------------------------------------------------


def test_different_keys_have_different_hashes() -> None:
    raws = [bytes([n]) * 32 for n in range(2, 12)]
    hashes = {hash(make(raw)) for make in (PublicKey, PrivateKey, SharedSecret) for raw in raws}
    assert len(hashes) == 3 * len(raws)


@pytest.mark.parametrize("size", [32, 33, 200, 4_096])
def test_the_psk_is_the_hash_that_the_protocol_says(size: int) -> None:
    """`docs/protocol.md`, section 1."""
    raw = bytes(n % 251 for n in range(1, size + 1))
    assert SharedSecret(raw).psk == hashlib.blake2b(raw, digest_size=32, person=b"securestream-psk").digest()


def test_base64_of_a_secret_has_no_other_characters_in_it() -> None:
    text = SharedSecret(bytes(range(1, 34))).to_text()
    for wrong in (text[:20] + "!" + text[20:], text[:20] + "\n" + text[20:], text[:20] + "!!!!" + text[20:]):
        with pytest.raises(ValueError, match="not base64"):
            SharedSecret.from_text(wrong)


def test_a_clipped_alert_shows_that_something_could_not_be_encoded() -> None:
    assert Alert.clipped(1, "a\ud800b").message == "a?b"


# --- handshake --------------------------------------------------------------------------------------------


def test_a_handshake_has_no_payloads_unless_they_are_given() -> None:
    client, server = new_client(), new_server()
    server.hello(body(client.hello(), Kind.HELLO))
    client.challenge(body(server.challenge(), Kind.CHALLENGE))
    server.response(body(client.response(), Kind.RESPONSE))
    assert (client.server_payload, server.credentials) == (b"", b"")


def test_a_server_takes_clients_without_a_route_unless_it_demands_one() -> None:
    server = ServerHandshake(key=SERVER_KEY, suites=BOTH_SUITES)
    shake_hands(new_client(server_key=None), server)
    assert server.session.suite in BOTH_SUITES


def test_the_mode_is_judged_as_soon_as_it_is_there() -> None:
    assert refusal(decode_hello_untrusted, b"SSv1\x04\x01") is AlertCode.UNSUPPORTED_VERSION
    assert refusal(decode_hello_untrusted, b"SSv1\x04") is AlertCode.PROTOCOL_ERROR


@pytest.mark.parametrize("psk", ["psk1", "psk2", "psk3"])
def test_what_follows_a_psk_is_encrypted_under_it(psk: str) -> None:
    pattern, secret = XX.with_modifier(psk), bytes(range(32))
    initiator, responder = (
        HandshakeState(pattern, initiator=first, prologue=b"", s=key, e=e, psks=[secret])
        for first, key, e in ((True, CLIENT_KEY, CLIENT_EPHEMERAL), (False, SERVER_KEY, SERVER_EPHEMERAL))
    )
    for writer, reader in ((initiator, responder), (responder, initiator), (initiator, responder)):
        message = writer.write_message(b"a payload")
        assert b"a payload" not in message
        assert reader.read_message(message) == b"a payload"


def test_without_a_key_encryption_adds_nothing() -> None:
    state = SymmetricState(b"name")
    assert (
        [state.encrypted_size(size) for size in (0, 32)]
        == [0, 32]
        == [len(state.encrypt_and_hash(bytes(size))) for size in (0, 32)]
    )
    state.mix_key(b"key")
    assert [state.encrypted_size(size) for size in (0, 32)] == [16, 48]


# --- records ----------------------------------------------------------------------------------------------


def test_a_key_update_is_due_at_the_last_byte_and_not_before(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, updates in ((4, 0), (3, 1), (2, 1)):
        monkeypatch.setattr(records, "UPDATE_AFTER_BYTES", limit)
        writer = RecordWriter(suite, KEY)
        for _ in range(2):
            writer.control(RecordType.DATA)  # of 3 plain bytes
        assert writer.key_updates == updates


@pytest.mark.parametrize("limit", [2, 3, 4, 5, 6])
def test_a_key_update_within_a_flush_is_padded_as_the_policy_says(
    suite: Suite, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "UPDATE_AFTER_RECORDS", limit)
    writer = RecordWriter(suite, KEY, FullRecords())
    seen = Witness(suite).open(flush(writer, bytes(4 * writer.capacity)))
    assert {record.length for record in seen} == {16_384}
    assert [record.record_type for record in seen].count(RecordType.KEY_UPDATE) == 3 // (limit - 1)


def test_a_key_update_within_a_flush_is_not_padded_without_a_policy(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "UPDATE_AFTER_RECORDS", 2)
    seen = Witness(suite).open(flush(RecordWriter(suite, KEY), bytes(30_000)))
    assert [(record.record_type, record.padding) for record in seen] == [(0, b""), (3, b""), (0, b"")]


class Listening(PaddingPolicy):
    """Says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []

    def pad_record(self, record_type: int, length: int, room: int) -> int:
        self.asked.append((record_type, length, room))
        return 0


def test_a_policy_is_asked_about_a_key_update_as_about_any_record_that_has_room(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "UPDATE_AFTER_RECORDS", 2)
    policy = Listening()
    writer = RecordWriter(suite, KEY, policy)
    flush(writer, bytes(writer.capacity + 5))
    writer.control(RecordType.CLOSE)
    update = (RecordType.KEY_UPDATE, 1, writer.capacity - 1)
    rest, close = (RecordType.DATA, 5, writer.capacity - 5), (RecordType.CLOSE, 1, writer.capacity - 1)
    assert policy.asked == [rest, update, close, update]


@pytest.mark.parametrize("count", range(1, records.BATCH // 2**14))
def test_a_flush_that_fits_a_batch_is_one(suite: Suite, count: int) -> None:
    writer = RecordWriter(suite, KEY)
    assert len([len(batch) for batch in writer.data(memoryview(bytes(count * writer.capacity)))]) == 1


def test_a_flush_that_fails_in_its_middle_ends_its_direction() -> None:
    writer = RecordWriter(Suite.AEGIS_256, KEY)
    ended: list[bool] = [writer.ended]
    writer._sealer._number = 2**64 - 2  # type: ignore[attr-defined]
    with pytest.raises(KeyExhausted):
        flush(writer, bytes(2 * writer.capacity))
    assert [*ended, writer.ended] == [False, True]
    with pytest.raises(LocalProtocolError):
        writer.control(RecordType.CLOSE)


def test_what_a_reader_says_is_true_or_false(suite: Suite) -> None:
    writer, reader = new_pair(suite, expects_verdict=True)
    due: list[bool] = [reader.verdict_due]
    receive(reader, writer.verdict(RecordType.ACCEPT))
    assert [*due, reader.verdict_due] == [True, False]
    reader = RecordReader(suite, KEY, expects_verdict=True)
    receive(reader, encode_alert_frame(10))
    reader.feed_eof()
    assert (reader.end, reader.authenticated) == (End.ALERTED, False)


def test_a_wiped_reader_keeps_nothing_of_what_came(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    assert receive(reader, flush(writer, b"text")[:-1]) == b""
    reader.wipe()
    assert reader._tail == b""
    assert len(reader.space(100)) >= 100


def test_a_reader_refuses_the_last_number_that_a_nonce_has() -> None:
    seal, open_ = sealer(Suite.AEGIS_256, KEY), opener(Suite.AEGIS_256, KEY)
    buffer = sodium.backend.Buffer(64)
    seal._number = open_._number = 2**64 - 2  # type: ignore[attr-defined]
    seal.seal(buffer, 0, 3, RecordType.DATA)
    assert open_.open(buffer, buffer, 0, 35) != FORGED
    sodium.backend.Aegis256(KEY).encrypt(buffer, 0, buffer, 0, 3, 2**64 - 1)
    assert open_.open(buffer, buffer, 0, 35) == FORGED


def test_no_more_than_a_few_buffers_are_kept_for_later(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    spare: dict[int, list[sodium.backend.Buffer]] = {size: [] for size in records._spare}
    monkeypatch.setattr(records, "_spare", spare)
    flushes = [RecordWriter(suite, KEY).data(memoryview(b"text")) for _ in range(12)]
    assert all(len(next(batches)) for batches in flushes)
    for batches in flushes:
        assert list(batches) == []
    assert sorted(map(len, spare.values())) == [0, 8]


# --- padding ----------------------------------------------------------------------------------------------


def test_a_padding_policy_shows_as_it_is_written() -> None:
    policies = [FullRecords(), BucketPadding([30, 10]), BlockPadding(MAX_FLUSH_PADDING), Listening()]
    assert [repr(policy) for policy in policies] == [
        "FullRecords()",
        "BucketPadding([10, 30])",
        "BlockPadding(16777216)",
        "Listening()",
    ]


@pytest.mark.parametrize("key_size", [16, 64])
def test_keyed_padding_is_a_keyed_hash_of_the_content(key_size: int) -> None:
    key, most = bytes(range(key_size)), 2**24 - 1
    policy = KeyedPadding(key, most)
    for content in (b"", b"text", bytes(1_000), (1_000).to_bytes(8, "little")):
        digest = hashlib.blake2b(content, key=key, digest_size=16, person=b"securestream-pad").digest()
        more = int.from_bytes(digest, "little") % (most + 1)
        assert policy.pad_content(memoryview(content)) == len(content) + more
    assert policy.pad_flush(1_000) == 1_000 + more


# --- libsodium --------------------------------------------------------------------------------------------


def test_both_backends_see_the_same_processor() -> None:
    assert sodium_bindings._aes_in_hardware() is sodium_raw.AES_IN_HARDWARE


def test_the_raw_backend_takes_places_that_just_fit_and_none_beyond() -> None:
    cipher, push = sodium_raw.Aegis256(KEY), sodium_raw.SecretStreamPush(KEY)
    pull = sodium_raw.SecretStreamPull(KEY, push.header)
    plain, sealed = sodium_raw.Buffer(4), sodium_raw.Buffer(40)
    plain.view[:] = b"text"
    for start, length in ((0, 4), (1, 3), (4, 0)):
        cipher.encrypt(sealed, 8 - length, plain, start, length, 0)
        assert cipher.decrypt(sodium_raw.Buffer(length), 0, sealed, 8 - length, length + 32, 0)
        push.encrypt(sealed, 23 - length, plain, start, length, 0)
        assert pull.decrypt(sodium_raw.Buffer(length), 0, sealed, 23 - length, length + 17) == 0
    for start, length in ((0, 5), (1, 4), (5, 0)):
        with pytest.raises(IndexError, match="outside the buffer"):
            cipher.encrypt(sealed, 0, plain, start, length, 0)
        with pytest.raises(IndexError, match="outside the buffer"):
            push.encrypt(sealed, 0, plain, start, length, 0)
    with pytest.raises(IndexError, match="outside the buffer"):
        cipher.decrypt(plain, 0, sealed, 8, 33, 0)
    with pytest.raises(IndexError, match="outside the buffer"):
        pull.decrypt(plain, 0, sealed, 23, 18)
