"""Padding: the policies, and records that are cut by the padded length alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securestream.protocol.alerts import Alert
from securestream.protocol.errors import LocalProtocolError
from securestream.protocol.padding import (
    MAX_FLUSH_PADDING,
    BlockPadding,
    BucketPadding,
    FullRecords,
    KeyedPadding,
    NoPadding,
    PaddingPolicy,
    Padme,
    PowerOfTwoPadding,
    RandomPadding,
    RecordPadding,
    TorCells,
    padded_length,
    padded_size,
    record_padding,
)
from securestream.protocol.records import End
from securestream.protocol.suites import RecordType, Suite

from .support import CAPACITY, OVERHEAD, PREFIX, PROPERTY, Witness, flush, new_pair, receive

if TYPE_CHECKING:
    from collections.abc import Callable


class Buckets(PaddingPolicy):
    """Flushes padded to a multiple of 1,000 bytes."""

    def pad_flush(self, length: int) -> int:
        return -(-length // 1_000) * 1_000


class Sevens(PaddingPolicy):
    """Seven zeros to each record, where there is room; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []

    def pad_record(self, record_type: int, length: int, room: int) -> int:
        self.asked.append((record_type, length, room))
        return min(7, room)


class Fixed(PaddingPolicy):
    """Whatever it is told to return."""

    def __init__(self, *, flush: int | None = None, record: int = 0) -> None:
        self._flush, self._record = flush, record

    def pad_flush(self, length: int) -> int:
        return length if self._flush is None else self._flush

    def pad_record(self, record_type: int, length: int, room: int) -> int:
        return self._record


# --- the policies -----------------------------------------------------------------------------------


def test_the_base_policy_pads_nothing_but_is_asked() -> None:
    policy = PaddingPolicy()
    assert (policy.pad_flush(123), policy.pad_record(0, 5, 100), policy.is_none) == (123, 0, False)
    assert NoPadding().is_none


def test_full_records_fill_all_the_room_there_is() -> None:
    assert FullRecords().pad_record(RecordType.DATA, 5, 16_342) == 16_342
    assert not FullRecords().is_none


def test_a_flush_may_be_padded_by_16_mib() -> None:
    assert MAX_FLUSH_PADDING == 16 * 1024 * 1024


@pytest.mark.parametrize("padded", [9, -1, 10 + MAX_FLUSH_PADDING + 1])
def test_a_padded_length_out_of_bounds_is_a_value_error_that_names_the_policy(padded: int) -> None:
    with pytest.raises(ValueError, match=rf"Fixed.pad_flush\(10\) returned {padded}"):
        padded_length(Fixed(flush=padded), memoryview(bytes(10)))


def test_what_is_no_whole_number_is_out_of_bounds_too() -> None:
    bad = Fixed(flush=10.5)  # type: ignore[arg-type]  # a user's program has no type checker, perhaps
    with pytest.raises(ValueError, match=r"returned 10\.5: out of bounds, an int from 10 to 16,777,226"):
        padded_length(bad, memoryview(bytes(10)))


@pytest.mark.parametrize("padded", [10, 11, 10 + MAX_FLUSH_PADDING])
def test_a_padded_length_within_bounds_is_taken(padded: int) -> None:
    assert padded_length(Fixed(flush=padded), memoryview(bytes(10))) == padded


@pytest.mark.parametrize("padding", [-1, 101])
def test_record_padding_out_of_bounds_is_a_value_error_that_names_the_policy(padding: int) -> None:
    with pytest.raises(ValueError, match=rf"Fixed.pad_record\(0, 5, 100\) returned {padding}"):
        record_padding(Fixed(record=padding), RecordType.DATA, 5, 100)


@pytest.mark.parametrize("padding", [0, 100])
def test_record_padding_within_bounds_is_taken(padding: int) -> None:
    assert record_padding(Fixed(record=padding), RecordType.DATA, 5, 100) == padding


def padded(policy: PaddingPolicy, *lengths: int) -> list[int]:
    return [padded_length(policy, memoryview(bytes(length))) for length in lengths]


@pytest.mark.parametrize("size", [1, 16, 128, 468, 512, 4_096])
def test_block_padding_goes_up_to_the_next_multiple(size: int) -> None:
    lengths = (1, size - 1, size, size + 1, 2 * size, 100_000)
    assert padded(BlockPadding(size), *lengths) == [-(-length // size) * size for length in lengths]


def test_power_of_two_padding_goes_up_to_the_next_power() -> None:
    assert padded(PowerOfTwoPadding(), 0, 1, 2, 3, 4, 5, 1_000, 1_024, 1_025) == [0, 1, 2, 4, 4, 8, 1_024, 1_024, 2_048]
    assert PowerOfTwoPadding().pad_flush(2**40 + 1) == 2**41


def test_bucket_padding_takes_the_smallest_that_is_enough() -> None:
    assert padded(BucketPadding([1_000, 100, 300]), 0, 1, 100, 101, 300, 301, 1_000, 1_001, 2_001) == [
        0, 100, 100, 300, 300, 1_000, 1_000, 2_000, 3_000
    ]  # fmt: skip


def test_tor_s_cells_have_514_bytes_for_509_of_content() -> None:
    assert padded(TorCells(), 1, 509, 510, 1_018, 1_019) == [514, 514, 1_028, 1_028, 1_542]


def test_padme_s_lengths_are_the_paper_s() -> None:
    # By the definition, done by hand: 9: E = 3, S = 2, z = 1; 129: E = 7, S = 3, z = 4; 1,000: E = 9, S = 4, z = 5.
    assert padded(Padme(), 0, 1, 2, 7, 8, 9, 100, 128, 129, 144, 1_000, 1_025) == [
        0, 1, 2, 7, 8, 10, 104, 128, 144, 144, 1_024, 1_088
    ]  # fmt: skip


def test_padme_adds_most_at_129_bytes() -> None:
    overhead = {length: Padme().pad_flush(length) / length - 1 for length in range(1, 100_000)}
    assert max(overhead, key=overhead.__getitem__) == 129
    assert overhead[129] == pytest.approx(0.1163, abs=0.0001)


def test_padme_leaves_few_lengths() -> None:
    assert len({Padme().pad_flush(length) for length in range(1, 2**20)}) <= 300


def test_random_padding_is_between_nothing_and_its_most_and_afresh_each_time() -> None:
    added = {length - 100 for length in padded(RandomPadding(3), *[100] * 300)}
    assert added == {0, 1, 2, 3}


def test_keyed_padding_is_the_same_for_the_same_content_under_the_same_key() -> None:
    contents = [memoryview(n.to_bytes(100, "little")) for n in range(300)]
    ours, again, other = (KeyedPadding(bytes([n]) * 16, 3) for n in (1, 1, 2))
    lengths = [ours.pad_content(content) for content in contents]
    assert set(lengths) == {100, 101, 102, 103}
    assert lengths == [again.pad_content(content) for content in contents]
    assert lengths != [other.pad_content(content) for content in contents]


def test_keyed_padding_of_what_has_no_content_is_decided_by_the_length() -> None:
    policy = KeyedPadding(bytes(16), 1_000)
    assert policy.pad_flush(5) == policy.pad_flush(5)
    assert all(length <= policy.pad_flush(length) <= length + 1_000 for length in range(2_000))


def test_a_callable_of_the_user_s_is_asked_with_openssl_s_arguments() -> None:
    asked: list[tuple[int, int, int]] = []

    def callback(record_type: int, length: int, room: int) -> int:
        asked.append((record_type, length, room))
        return 2

    assert record_padding(RecordPadding(callback), RecordType.DATA, 5, 100) == 2
    assert asked == [(0, 5, 100)]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: BlockPadding(0), "1 to 16,777,216 bytes"),
        (lambda: BlockPadding(2**24 + 1), "1 to 16,777,216 bytes"),
        (lambda: RandomPadding(-1), "1 to 16,777,216 bytes"),
        (lambda: BucketPadding([]), "at least one size"),
        (lambda: BucketPadding([0]), "1 to 16,777,216 bytes"),
        (lambda: KeyedPadding(b"short", 5), "16 to 64 bytes"),
    ],
)
def test_a_policy_with_sizes_that_make_no_sense_is_refused(make: Callable[[], PaddingPolicy], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        make()


def test_a_policy_does_not_show_its_key() -> None:
    assert repr(KeyedPadding(b"swordfish-swordfish", 5)) == "KeyedPadding(..., 5)"
    assert repr(BlockPadding(468)) == "BlockPadding(468)"


def nine_where_there_is_room(record_type: int, length: int, room: int) -> int:
    return min(room, 9)


POLICIES = [
    NoPadding(), FullRecords(), BlockPadding(16), BlockPadding(4_096), PowerOfTwoPadding(), BucketPadding([100, 2_000]),
    TorCells(), Padme(), RandomPadding(20_000), KeyedPadding(bytes(32), 20_000),
    RecordPadding(nine_where_there_is_room),
]  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_every_policy_s_records_are_read_back(suite: Suite, policy: PaddingPolicy) -> None:
    writer, reader = new_pair(suite, padding=policy)
    for size in (1, 15, 509, 16_346, 16_347, 16_348, 16_362, 16_363, 70_000):
        assert receive(reader, flush(writer, b"x" * size)) == b"x" * size
    wire = writer.update_key() + writer.control(RecordType.ALERT, Alert(5_001, "y" * 16_000).encode())
    assert receive(reader, wire) == b""
    assert reader.alert == Alert(5_001, "y" * 16_000)


@PROPERTY
@given(st.sampled_from(POLICIES), st.one_of(st.integers(0, 2**25), st.integers(0, 2**50)))
def test_no_policy_s_lengths_are_out_of_bounds(policy: PaddingPolicy, length: int) -> None:
    assert length <= padded_size(policy, length) <= length + max(length, MAX_FLUSH_PADDING)


@pytest.mark.parametrize("policy", [Padme(), PowerOfTwoPadding()], ids=repr)
def test_a_flush_of_gigabytes_is_padded_by_more_than_a_small_one_may_be(policy: PaddingPolicy) -> None:
    assert padded_size(policy, 2**30 + 1) - 2**30 >= 2 * MAX_FLUSH_PADDING


def test_a_big_flush_is_at_most_doubled() -> None:
    length = 2 * MAX_FLUSH_PADDING
    assert padded_size(Fixed(flush=2 * length), length) == 2 * length
    with pytest.raises(ValueError, match="out of bounds"):
        padded_size(Fixed(flush=2 * length + 1), length)


# Those that a length alone decides, and always in the same way.
STEADY = [
    NoPadding(), BlockPadding(1), BlockPadding(16), BlockPadding(128), BlockPadding(468), BlockPadding(512),
    BlockPadding(4_096), PowerOfTwoPadding(), BucketPadding([100, 2_000]), TorCells(), Padme(),
]  # fmt: skip
LENGTHS = st.one_of(st.integers(0, 5_000), st.integers(0, 2**25))


@PROPERTY
@given(st.sampled_from(STEADY), LENGTHS, LENGTHS)
def test_what_is_longer_is_padded_to_no_less(policy: PaddingPolicy, one: int, other: int) -> None:
    short, long = sorted((one, other))
    assert policy.pad_flush(short) <= policy.pad_flush(long)


@PROPERTY
@given(st.sampled_from([policy for policy in STEADY if not isinstance(policy, TorCells)]), LENGTHS)
def test_a_padded_length_is_one_that_needs_no_padding(policy: PaddingPolicy, length: int) -> None:
    assert policy.pad_flush(policy.pad_flush(length)) == policy.pad_flush(length)


@PROPERTY
@given(LENGTHS)
def test_what_a_policy_adds_is_bounded_as_published(length: int) -> None:
    assert Padme().pad_flush(length) <= length * 144 / 129
    assert PowerOfTwoPadding().pad_flush(length) < max(2 * length, 1)
    assert BlockPadding(468).pad_flush(length) - length < 468
    assert TorCells().pad_flush(length) % 514 == 0


@PROPERTY
@given(st.integers(2, 2**40))
def test_padme_keeps_no_more_digits_than_the_length_s_own_length_has(length: int) -> None:
    """All but the first 1 + S binary digits of a padded length are 0, where S is the number of digits of E, the
    length's exponent: O(log log L) bits are left to tell lengths apart."""
    exponent = length.bit_length() - 1
    kept = 1 + exponent.bit_length()
    assert bin(Padme().pad_flush(length))[2 + kept :].strip("0") == ""


def test_fresh_randomness_is_averaged_away_and_keyed_is_not() -> None:
    content = memoryview(bytes(1_234))
    fresh = [padded_length(RandomPadding(100), content) for _ in range(3_000)]
    assert (min(fresh), max(fresh)) == (1_234, 1_334)  # but for once in 10**12 runs
    keyed = [padded_length(KeyedPadding(bytes(16), 100), content) for _ in range(3_000)]
    assert len(set(keyed)) == 1


@pytest.mark.parametrize("policy", [BlockPadding(512), BucketPadding([512]), TorCells(), FullRecords()], ids=repr)
def test_an_end_an_alert_and_an_update_are_as_long_as_a_small_message(suite: Suite, policy: PaddingPolicy) -> None:
    def wire(record_type: RecordType, content: bytes) -> int:
        return len(new_pair(suite, padding=policy)[0].control(record_type, content)) - PREFIX[suite]

    data = len(flush(new_pair(suite, padding=policy)[0], b"a small message")) - PREFIX[suite]
    assert {wire(RecordType.CLOSE, b""), wire(RecordType.KEY_UPDATE, b""), wire(RecordType.DATA, b"")} == {data}
    assert wire(RecordType.ALERT, Alert(5_001, "why").encode()) == data


def test_padding_that_does_not_fit_the_last_record_goes_into_further_ones(suite: Suite) -> None:
    capacity = CAPACITY[suite]
    sizes = [
        len(flush(new_pair(suite, padding=BlockPadding(2**15))[0], bytes(size)))
        for size in (1, capacity - 1, capacity, capacity + 1, 2**15)
    ]
    assert len(set(sizes)) == 1


@pytest.mark.parametrize("size", [1, 500, 20_000, 70_000])
@pytest.mark.parametrize("policy", [policy for policy in POLICIES if not isinstance(policy, RandomPadding)], ids=repr)
def test_cover_has_the_records_of_data_of_that_size(suite: Suite, policy: PaddingPolicy, size: int) -> None:
    writer, reader = new_pair(suite, padding=policy)
    other, _ = new_pair(suite, padding=policy)
    cover = [record.length for record in Witness(suite).open(b"".join(bytes(batch) for batch in writer.cover(size)))]
    data = [record.length for record in Witness(suite).open(flush(other, bytes(size)))]
    if isinstance(policy, KeyedPadding):  # the content decides, and is another
        assert abs(sum(cover) - sum(data)) <= 20_000 + 2 * OVERHEAD[suite]
    else:
        assert cover == data
    assert writer.content_bytes == 0
    assert reader.end is End.OPEN


def test_cover_is_read_as_nothing(suite: Suite) -> None:
    writer, reader = new_pair(suite, padding=BlockPadding(50_000))
    wire = flush(writer, b"before") + b"".join(bytes(batch) for batch in writer.cover(1)) + flush(writer, b"after")
    assert receive(reader, wire) == b"beforeafter"
    assert (writer.records, reader.records) == (12, 12)


@pytest.mark.parametrize("size", [0, -1, 2**24 + 1])
def test_cover_is_one_byte_to_16_mib(suite: Suite, size: int) -> None:
    writer, _ = new_pair(suite)
    with pytest.raises(ValueError, match="1 to 16,777,216 bytes"):
        writer.cover(size)


def test_there_is_no_cover_after_the_end(suite: Suite) -> None:
    writer, _ = new_pair(suite)
    writer.control(RecordType.CLOSE)
    with pytest.raises(LocalProtocolError):
        writer.cover(1)


# --- in records -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5, 16_347, 16_348, 100_000])
def test_full_records_make_every_record_16384_bytes(suite: Suite, size: int) -> None:
    writer, reader = new_pair(suite, padding=FullRecords())
    wire = flush(writer, b"x" * size) + writer.update_key() + writer.control(RecordType.ALERT, Alert(1).encode())
    assert {record.length for record in Witness(suite).open(wire)} == {16_384}
    assert receive(reader, wire) == b"x" * size


@PROPERTY
@given(size=st.integers(0, 60_000))
def test_the_wire_depends_on_the_padded_length_and_on_nothing_else(suite: Suite, size: int) -> None:
    writer, reader = new_pair(suite, padding=Buckets())
    wire = flush(writer, b"x" * size)
    assert receive(reader, *([wire] if wire else [])) == b"x" * size
    padded = Buckets().pad_flush(size)
    other, _ = new_pair(suite)
    assert [r.length for r in Witness(suite).open(wire)] == [
        r.length for r in Witness(suite).open(flush(other, bytes(padded)))
    ]


def test_padding_is_zeros_behind_the_content(suite: Suite) -> None:
    writer, _ = new_pair(suite, padding=Buckets())
    (first,) = Witness(suite).open(flush(writer, b"x" * 400))
    assert (first.content, first.padding) == (b"x" * 400, bytes(600))


def test_a_flush_may_be_padded_by_whole_records_without_content(suite: Suite) -> None:
    writer, reader = new_pair(suite, padding=Fixed(flush=50_000))
    wire = flush(writer, b"text")
    assert len(wire) == PREFIX[suite] + 50_000 + 4 * OVERHEAD[suite]
    assert receive(reader, wire) == b"text"
    assert [record.content for record in Witness(suite).open(wire)] == [b"text", b"", b"", b""]


def test_a_flush_of_nothing_may_be_padded(suite: Suite) -> None:
    writer, reader = new_pair(suite, padding=Fixed(flush=100))
    assert receive(reader, flush(writer, b"")) == b""
    assert (writer.records, writer.padding_bytes, reader.records) == (1, 100, 1)


def test_the_policy_is_asked_for_every_type_of_record(suite: Suite) -> None:
    policy = Sevens()
    writer, reader = new_pair(suite, padding=policy)
    wire = flush(writer, b"12345") + writer.update_key() + writer.control(RecordType.DATA, padding=50)
    wire += writer.control(RecordType.CLOSE)
    room = CAPACITY[suite]
    assert policy.asked == [(0, 5, room - 5), (3, 1, room - 1), (0, 50, room - 50), (2, 1, room - 1)]
    assert [len(record.padding) for record in Witness(suite).open(wire)] == [7, 8, 57, 8]
    assert receive(reader, wire) == b"12345"


def test_a_policy_may_be_changed_between_two_flushes(suite: Suite) -> None:
    writer, _ = new_pair(suite)
    flush(writer, b"text")
    writer.padding = FullRecords()
    assert len(flush(writer, b"text")) == 16_384


def test_what_is_no_policy_is_refused_and_the_one_before_stays(suite: Suite) -> None:
    writer, _ = new_pair(suite)
    writer.padding = before = FullRecords()
    with pytest.raises(TypeError, match=r"^padding takes a PaddingPolicy, not a str$"):
        writer.padding = "padme"  # type: ignore[assignment]  # the mistake that is refused
    assert writer.padding is before


@pytest.mark.parametrize("bad", [Fixed(flush=3), Fixed(record=-1), Fixed(record=20_000)], ids=["flush", "less", "more"])
def test_a_policy_out_of_bounds_is_a_value_error_and_the_stream_stays_whole(suite: Suite, bad: PaddingPolicy) -> None:
    writer, reader = new_pair(suite)
    for _ in range(2):
        writer.padding = bad
        with pytest.raises(ValueError, match="out of bounds"):
            flush(writer, b"12345" * 10_000)
        if bad.pad_record(0, 0, 0):
            with pytest.raises(ValueError, match="out of bounds"):
                writer.control(RecordType.CLOSE)
        assert not writer.ended
        writer.padding = NoPadding()
        assert receive(reader, flush(writer, b"text")) == b"text"
    assert (writer.records, reader.records) == (2, 2)


def test_a_policy_out_of_bounds_is_told_before_the_first_batch(suite: Suite) -> None:
    writer, _ = new_pair(suite, padding=Fixed(record=-1))
    with pytest.raises(ValueError, match="out of bounds"):
        writer.data(memoryview(b"text"))
