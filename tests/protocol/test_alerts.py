"""Alerts: their codes and texts, and that a hostile text steers nothing."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securestream.protocol.alerts import MAX_MESSAGE_BYTES, Alert, AlertCode, decode_alert_untrusted, printable

from .support import PROPERTY, outcome, refusal


def test_the_codes_are_the_protocols() -> None:
    names = (
        "application_error bad_response unsupported_version no_common_suite unknown_server_key bad_secret access_denied"
        " bad_credentials handshake_timeout busy protocol_error bad_record internal_error shutting_down"
        " backend_unavailable idle_timeout inappropriate_fallback"
    )
    assert [Alert(code).name for code in range(1, 18)] == names.split()
    assert [int(code) for code in AlertCode] == list(range(1, 18))


def test_a_code_of_the_application_has_a_name_too() -> None:
    assert Alert(4711).name == "alert_4711"


@pytest.mark.parametrize("code", [-1, 0, 65_536])
def test_a_code_that_can_not_be_sent_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 65,535"):
        Alert(code)


def test_a_message_has_at_most_16345_bytes_of_utf8() -> None:
    assert MAX_MESSAGE_BYTES == 16_345
    assert len(Alert(1, "\N{EURO SIGN}" * 5_448).encode()) == 2 + 16_344
    for message in ("x" * 16_346, "\N{EURO SIGN}" * 5_449):
        with pytest.raises(ValueError, match="at most 16345 bytes"):
            Alert(1, message)


@pytest.mark.parametrize("code", [18, 4_095])
def test_a_code_that_the_protocol_has_not_named_is_not_the_application_s_to_use(code: int) -> None:
    with pytest.raises(ValueError, match="from 4,096 up"):
        Alert.of_application(code, "")
    assert Alert(code).code == code


def test_an_alert_of_the_application_has_a_number_and_a_text() -> None:
    assert Alert.of_application(4_096, "why") == Alert(4_096, "why")
    assert Alert.of_application(7, "") == Alert(AlertCode.ACCESS_DENIED)
    for code, message in ((5_001, b"why"), ("5001", "why"), (5_001.0, "why")):
        with pytest.raises(TypeError, match="a number for a code and text for a message"):
            Alert.of_application(code, message)  # type: ignore[arg-type]


def test_only_a_code_with_a_name_shows_one() -> None:
    assert str(Alert(7, "no")) == "alert 7 (access_denied): no"
    assert str(Alert(5_001, "no")) == "alert 5001: no"
    assert str(Alert(5_001)) == "alert 5001"


def test_a_message_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match="encodable"):
        Alert(1, "\ud800")


@PROPERTY
@given(st.integers(1, 65_535), st.text(max_size=100))
def test_every_alert_comes_back(code: int, message: str) -> None:
    alert = Alert(code, message)
    assert alert.encode() == struct.pack("<H", code) + message.encode()
    assert decode_alert_untrusted(alert.encode()) == alert


def test_an_alert_is_a_value_and_can_not_be_changed() -> None:
    assert len({Alert(7, "no"), Alert(7, "no"), Alert(7)}) == 2
    with pytest.raises(AttributeError):
        setattr(Alert(7), "code", 0)  # noqa: B010  a type checker refuses it as well


def test_a_known_code_comes_back_with_its_name() -> None:
    assert isinstance(decode_alert_untrusted(b"\x07\x00").code, AlertCode)
    assert decode_alert_untrusted(b"\x67\x12") == Alert(4711)


@pytest.mark.parametrize(
    "content", [b"", b"\x01", b"\x00\x00", b"\x00\x00text", b"\x01\x00\xff", b"\x01\x00\xed\xa0\x80"]
)
def test_an_alert_too_short_of_code_0_or_with_bad_utf8_is_a_protocol_error(content: bytes) -> None:
    assert refusal(decode_alert_untrusted, content) is AlertCode.PROTOCOL_ERROR


@PROPERTY
@given(st.binary(max_size=100))
def test_any_bytes_are_an_alert_or_a_remote_protocol_error(content: bytes) -> None:
    alert = outcome(decode_alert_untrusted, content)
    assert alert == AlertCode.PROTOCOL_ERROR or (isinstance(alert, Alert) and alert.encode() == content)


def test_a_message_longer_than_can_be_sent_is_read_and_cut_off() -> None:
    longest = decode_alert_untrusted(b"\x01\x00" + b"x" * 16_360)  # what a record of suite 1 holds
    assert longest == Alert(1, "x" * 16_345)


@PROPERTY
@given(st.text(alphabet=st.characters(exclude_categories=[])), st.integers(0, 3))
def test_any_text_can_be_clipped_to_an_alert(text: str, more: int) -> None:
    clipped = Alert.clipped(1, "x" * (MAX_MESSAGE_BYTES - more) + text)
    assert len(clipped.encode()) <= 2 + MAX_MESSAGE_BYTES
    assert clipped.message.startswith("x" * (MAX_MESSAGE_BYTES - more))


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}txt", r"\u202etxt"),
        ("\x00\x7f\x9b", r"\x00\x7f\x9b"),
        ("\N{LINE SEPARATOR}", r"\u2028"),
        ("café \N{SNOWMAN}", "café \N{SNOWMAN}"),
    ],
)
def test_a_hostile_message_can_not_steer_a_terminal_or_forge_a_line(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown
    assert str(Alert(7, hostile)) == f"alert 7 (access_denied): {shown}"


def test_an_alert_without_a_message_is_shown_by_its_code() -> None:
    assert str(Alert(AlertCode.BUSY)) == "alert 10 (busy)"
