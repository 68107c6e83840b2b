"""Padding policies by name."""

from __future__ import annotations

import pytest

from securestream.protocol.padding_text import MAX_LENGTH, PADDING_FORMS, parse_padding


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("none", "NoPadding()"),
        ("full", "FullRecords()"),
        ("power-of-two", "PowerOfTwoPadding()"),
        ("padme", "Padme()"),
        ("tor", "TorCells()"),
        ("block:512", "BlockPadding(512)"),
        ("random:16777216", "RandomPadding(16777216)"),
        ("keyed:100", "KeyedPadding(..., 100)"),
        ("buckets:4000,1000", "BucketPadding([1000, 4000])"),
    ],
)
def test_a_name_gives_its_policy(text: str, policy: str) -> None:
    assert repr(parse_padding(text)) == policy


def test_every_form_that_a_help_text_shows_is_taken() -> None:
    for form in PADDING_FORMS:
        parse_padding(form.replace(",...", "").replace("SIZE", "7"))


def test_a_keyed_padding_has_a_key_of_its_own_each_time() -> None:
    content = memoryview(b"the same")
    assert len({parse_padding("keyed:16777216").pad_content(content) for _ in range(8)}) > 1


UNKNOWN = "a padding is one of: none, full, power-of-two, padme, tor, block:SIZE, random:SIZE, keyed:SIZE, buckets:"
BOUNDS = "a size of padding is 1 to 16,777,216 bytes, not "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", UNKNOWN),
        ("Padme", UNKNOWN),
        ("padme ", UNKNOWN),
        ("padme:512", UNKNOWN),
        ("none:", UNKNOWN),
        (":512", UNKNOWN),
        ("block", "block takes bytes behind a colon, as block:512"),
        ("block:", "block takes bytes behind a colon, as block:512"),
        ("block:-1", "block takes bytes behind a colon, as block:512"),
        ("block:1_000", "block takes bytes behind a colon, as block:512"),
        ("block: 1", "block takes bytes behind a colon, as block:512"),
        ("block:٣", "block takes bytes behind a colon, as block:512"),
        ("block:²", "block takes bytes behind a colon, as block:512"),
        ("block:512:1", "block takes bytes behind a colon, as block:512"),
        ("block:123456789", f"{BOUNDS}123456789"),
        ("block:0", f"{BOUNDS}0"),
        ("keyed:0", f"{BOUNDS}0"),
        ("random:16777217", f"{BOUNDS}16777217"),
        ("buckets:", "buckets takes bytes behind a colon, as buckets:512"),
        ("buckets:1,,2", "buckets takes bytes behind a colon, as buckets:512"),
        ("x" * (MAX_LENGTH + 1), "a padding is named in at most 1,024 characters"),
    ],
)
def test_what_is_no_padding_is_refused_with_what_would_do(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_padding(text)
    assert str(caught.value).startswith(message)
