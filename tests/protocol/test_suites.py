"""The record ciphers: sealers and openers, and which suite two sides take."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securestream.protocol import sodium, suites
from securestream.protocol.suites import (
    ANY_TYPE,
    FORGED,
    AegisOpener,
    AegisSealer,
    KeyExhausted,
    RecordType,
    SecretStreamOpener,
    Suite,
    choose_suite,
    opener,
    sealer,
    tag_and_type_agree,
)

from .support import KEY, PROPERTY, buffer_of, loaded_again

pytestmark = pytest.mark.usefixtures("backend")

# --- which suite ------------------------------------------------------------------------------------

AEGIS, XCHACHA = Suite.AEGIS_256, Suite.XCHACHA20_POLY1305


@pytest.mark.parametrize(
    ("client", "server", "chosen"),
    [
        ((1,), (1,), XCHACHA),
        ((2,), (1, 2), AEGIS),
        ((1, 2), (2,), AEGIS),
        ((2, 1), (2, 1), AEGIS),
        ((1, 2), (1, 2), XCHACHA),
        ((1, 2), (2, 1), XCHACHA),  # a tie: the smaller number
        ((2, 1), (1, 2), XCHACHA),
        ((9, 1, 2), (2, 1), XCHACHA),  # ranks count in the full list: 1 + 1 and 2 + 0, a tie
        ((1, 9, 2), (2, 1), XCHACHA),  # 0 + 1 and 2 + 0
        ((2, 9, 1), (1, 2), AEGIS),  # 0 + 1 and 2 + 0
        ((9,), (1, 2), None),
        ((1,), (2,), None),
    ],
)
def test_the_smallest_sum_of_ranks_is_chosen_and_the_smaller_number_on_a_tie(
    client: tuple[int, ...], server: tuple[int, ...], chosen: Suite | None
) -> None:
    assert choose_suite(client, server) is chosen


@PROPERTY
@given(st.lists(st.integers(0, 255), unique=True), st.permutations([AEGIS, XCHACHA]))
def test_the_choice_follows_the_rule_for_any_offer(offer: list[int], server: list[Suite]) -> None:
    common = [suite for suite in Suite if suite in offer]
    ranked = sorted(common, key=lambda suite: (offer.index(suite) + server.index(suite), int(suite)))
    assert choose_suite(tuple(offer), tuple(server)) is (ranked[0] if ranked else None)


@pytest.mark.parametrize("in_hardware", [True, False])
def test_aegis_256_comes_first_where_the_processor_has_aes_and_last_elsewhere(
    monkeypatch: pytest.MonkeyPatch, in_hardware: bool
) -> None:
    monkeypatch.setattr(sodium.backend, "AES_IN_HARDWARE", in_hardware)
    numbers = [int(suite) for suite in loaded_again(suites).DEFAULT_SUITES]
    assert numbers == ([2, 1] if in_hardware else [1, 2])


# --- sealers and openers ----------------------------------------------------------------------------


class Wire:
    """A sealer, an opener, and the one record between them."""

    def __init__(self, suite: Suite) -> None:
        self.sealer, self.opener = sealer(suite, KEY), opener(suite, KEY)
        self.opener.start(self.sealer.prefix)

    def seal(self, plain: bytes, record_type: RecordType = RecordType.DATA) -> bytes:
        buffer = sodium.backend.Buffer(self.sealer.lead + len(plain) + self.sealer.tag_size)
        buffer.view[self.sealer.lead : self.sealer.lead + len(plain)] = plain
        self.sealer.seal(buffer, 0, len(plain), record_type)
        return bytes(buffer.view[: len(plain) + self.sealer.tag_size])

    def open(self, sealed: bytes) -> tuple[int, bytes]:
        target = sodium.backend.Buffer(len(sealed))
        tag = self.opener.open(target, buffer_of(sodium.backend, sealed), 0, len(sealed))
        return tag, bytes(target.view[: len(sealed) - self.opener.tag_size])


def test_a_record_comes_back_and_tells_its_type_where_the_cipher_has_tags(suite: Suite) -> None:
    wire = Wire(suite)
    for record_type, tag in ((RecordType.DATA, 0), (RecordType.ACCEPT, 0), (RecordType.CLOSE, 3)):
        expected = tag if suite is XCHACHA else ANY_TYPE
        assert wire.open(wire.seal(b"plain", record_type)) == (expected, b"plain")


def test_the_same_plain_bytes_never_seal_to_the_same_record(suite: Suite) -> None:
    wire = Wire(suite)
    records = [wire.seal(bytes(40), RecordType.KEY_UPDATE if n % 3 == 0 else RecordType.DATA) for n in range(12)]
    assert len(set(records)) == 12


def test_a_record_out_of_its_place_is_forged(suite: Suite) -> None:
    for order in itertools.permutations(range(3)):
        wire = Wire(suite)
        records = [wire.seal(bytes([n])) for n in range(3)]
        opened = [wire.open(records[n])[0] != FORGED for n in order]
        assert all(opened) == (order == (0, 1, 2))


def test_both_ends_go_on_under_the_next_key_after_a_key_update(suite: Suite) -> None:
    wire = Wire(suite)
    for _ in range(3):
        assert wire.open(wire.seal(b"update", RecordType.KEY_UPDATE))[1] == b"update"
        wire.opener.update_key()
        assert wire.open(wire.seal(b"later"))[1] == b"later"


def test_a_reader_that_does_not_update_can_not_read_on_under_aegis_256() -> None:
    wire = Wire(AEGIS)
    wire.open(wire.seal(b"update", RecordType.KEY_UPDATE))
    assert wire.open(wire.seal(b"later"))[0] == FORGED


def test_aegis_256_runs_out_of_numbers_with_an_error_that_has_a_name() -> None:
    sealing, opening = AegisSealer(KEY), AegisOpener(KEY)
    sealing._number = opening._number = 2**64 - 2
    buffer, target = sodium.backend.Buffer(36), sodium.backend.Buffer(36)
    sealing.seal(buffer, 0, 4, RecordType.DATA)
    sealed = buffer_of(sodium.backend, bytes(buffer.view))
    assert opening.open(target, sealed, 0, 36) == ANY_TYPE
    with pytest.raises(KeyExhausted):
        sealing.seal(buffer, 0, 4, RecordType.DATA)
    assert opening.open(target, sealed, 0, 36) == FORGED


def test_a_wiped_opener_opens_nothing(suite: Suite) -> None:
    wire = Wire(suite)
    sealed = wire.seal(b"plain")
    wire.opener.wipe()
    assert wire.open(sealed)[0] == FORGED
    wire.sealer.wipe()


def test_secretstreams_opener_keeps_its_key_only_until_the_stream_begins() -> None:
    wiped, started = SecretStreamOpener(KEY), SecretStreamOpener(KEY)
    assert started._key == KEY
    started.start(bytes(24))
    wiped.wipe()
    assert wiped._key == started._key == b""


def test_aegis_256_keeps_no_key_once_it_is_wiped() -> None:
    sealing, opening = AegisSealer(KEY), AegisOpener(KEY)
    sealing.wipe()
    opening.wipe()
    assert sealing._key == opening._key == b""


def test_a_key_is_wiped_by_the_update_that_ends_it() -> None:
    wire = Wire(AEGIS)
    assert isinstance(wire.sealer, AegisSealer)
    old = wire.sealer._cipher
    wire.seal(b"", RecordType.KEY_UPDATE)
    buffers = [sodium.backend.Buffer(32) for _ in range(2)]
    for cipher, buffer in zip([old, sodium.backend.Aegis256(bytes(32))], buffers, strict=True):
        cipher.encrypt(buffer, 0, buffer, 0, 0, 0)
    assert bytes(buffers[0].view) == bytes(buffers[1].view)


def test_tag_and_type_agree_as_the_table_of_the_protocol_says() -> None:
    every = itertools.product(range(5), RecordType)
    assert {pair for pair in every if tag_and_type_agree(*pair)} == {(0, 0), (3, 1), (3, 2), (2, 3), (0, 4)}
    assert all(tag_and_type_agree(ANY_TYPE, record_type) for record_type in RecordType)
