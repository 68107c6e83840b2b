"""Key updates: asked for, and by themselves."""

from __future__ import annotations

import pytest

from securestream.protocol import records
from securestream.protocol.padding import FullRecords, NoPadding, PaddingPolicy
from securestream.protocol.records import BATCH, RecordReader, RecordWriter
from securestream.protocol.suites import RecordType, Suite

from .support import KEY, Forger, Witness, flush, new_forged, new_pair, receive

pytestmark = pytest.mark.usefixtures("backend")

SIZE = 4 * BATCH + 12_345


def updates_in(suite: Suite, wire: bytes) -> list[int]:
    """How much plaintext lies before each KEY_UPDATE since the one before it."""
    found, since = [], 0
    for record in Witness(suite).open(wire):
        if record.record_type == RecordType.KEY_UPDATE:
            found.append(since)
            since = 0
        else:
            since += 3 + len(record.content) + len(record.padding)
    return found


def test_the_limits_are_the_protocols() -> None:
    assert records.UPDATE_AFTER_BYTES == 2**30
    assert records.UPDATE_AFTER_RECORDS == 2**32


def test_a_key_update_that_is_asked_for_changes_the_key_of_what_comes_later(suite: Suite) -> None:
    writer, reader = new_pair(suite)
    for n in range(5):
        assert receive(reader, flush(writer, bytes([n])) + writer.update_key()) == bytes([n])
    assert writer.key_updates == reader.key_updates == 5
    assert receive(reader, flush(writer, b"text")) == b"text"


def test_a_record_under_the_old_key_after_a_key_update_is_refused() -> None:
    """By AEGIS-256, whose numbers start again: libsodium does the same inside secretstream."""
    forger, reader = new_forged(Suite.AEGIS_256)
    receive(reader, forger.record(RecordType.KEY_UPDATE))
    again = Forger(Suite.AEGIS_256)  # a writer that has forgotten its key update
    assert receive(reader, again.record(RecordType.DATA, b"text")) == b""
    assert reader.failure is not None


@pytest.mark.parametrize("padding", [None, FullRecords()], ids=["unpadded", "padded"])
@pytest.mark.parametrize("limit", [1, 40_000, 100_000, BATCH, 300_000])
def test_a_writer_updates_its_key_by_itself_in_the_middle_of_a_big_flush(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, limit: int, padding: PaddingPolicy | None
) -> None:
    monkeypatch.setattr(records, "UPDATE_AFTER_BYTES", limit)
    writer, content = RecordWriter(suite, KEY, padding), bytes(range(256)) * (SIZE // 256)
    wire = flush(writer, content)
    reader = RecordReader(suite, KEY, expects_verdict=False)
    assert receive(reader, wire) == content
    assert reader.key_updates == writer.key_updates > 0
    assert all(limit <= plaintext < limit + 16_384 for plaintext in updates_in(suite, wire))


def test_a_policy_that_fails_for_updates_only_fails_before_anything_is_sealed(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(PaddingPolicy):
        def pad_record(self, record_type: int, length: int, room: int) -> int:
            return -1 if record_type == RecordType.KEY_UPDATE else 0

    monkeypatch.setattr(records, "UPDATE_AFTER_BYTES", 100_000)
    writer = RecordWriter(suite, KEY, Failing())
    before = flush(writer, b"small")
    with pytest.raises(ValueError, match="out of bounds"):
        flush(writer, bytes(200_000))
    assert writer.records == 1
    writer.padding = NoPadding()
    reader = RecordReader(suite, KEY, expects_verdict=False)
    assert receive(reader, before + flush(writer, bytes(200_000))) == b"small" + bytes(200_000)
    assert reader.key_updates == 1


def test_the_plaintext_is_counted_over_all_flushes(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "UPDATE_AFTER_BYTES", 1_000)
    writer, reader = new_pair(suite)
    wire = b"".join(flush(writer, b"x" * 97) for _ in range(35))
    assert receive(reader, wire) == b"x" * 97 * 35
    assert updates_in(suite, wire) == [1_000, 1_000, 1_000]


def test_an_update_that_was_asked_for_starts_the_count_again(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "UPDATE_AFTER_BYTES", 1_000)
    writer, _ = new_pair(suite)
    for _ in range(20):
        flush(writer, b"x" * 900)
        writer.update_key()
    assert writer.key_updates == 20


def test_a_writer_updates_its_key_at_latest_after_so_many_records(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "UPDATE_AFTER_RECORDS", 5)
    writer, reader = new_pair(suite)
    wire = b"".join(flush(writer, bytes([n])) for n in range(12))
    assert receive(reader, wire) == bytes(range(12))
    types = [record.record_type for record in Witness(suite).open(wire)]
    assert types == [0, 0, 0, 0, 3, 0, 0, 0, 0, 3, 0, 0, 0, 0]


def test_a_padded_update_in_front_of_a_padded_flush_of_one_record_has_room(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "UPDATE_AFTER_RECORDS", 3)
    writer, reader = new_pair(suite, padding=FullRecords())
    for n in range(8):
        assert receive(reader, flush(writer, bytes([n]))) == bytes([n])
    assert reader.key_updates == writer.key_updates == 3


def test_control_records_count_and_are_preceded_by_the_update_that_is_due(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cover traffic alone must not keep a key alive for ever."""
    monkeypatch.setattr(records, "UPDATE_AFTER_RECORDS", 4)
    writer, reader = new_pair(suite)
    wire = b"".join(writer.control(RecordType.DATA, padding=10) for _ in range(7)) + writer.control(RecordType.CLOSE)
    assert receive(reader, wire) == b""
    assert [record.record_type for record in Witness(suite).open(wire)] == [0, 0, 0, 3, 0, 0, 0, 3, 0, 2]
    assert reader.key_updates == writer.key_updates == 2


def test_a_first_flush_that_begins_with_an_update_keeps_its_prefix_in_front(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "UPDATE_AFTER_RECORDS", 1)
    writer, reader = new_pair(suite)
    assert receive(reader, flush(writer, b"text")) == b"text"
    assert reader.key_updates == 1
