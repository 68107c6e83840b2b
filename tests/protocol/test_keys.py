"""Keys and secrets: their text forms, what is refused, and that nothing shows a secret."""

from __future__ import annotations

import ast
import base64
import copy
import hashlib
import inspect
import itertools
import pickle
import traceback
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securestream.protocol import keys
from securestream.protocol.codes import AlertCode
from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.handshake import SessionKeys
from securestream.protocol.keys import LOW_ORDER, PrivateKey, PublicKey, SharedSecret, decode_public_key_untrusted

from .support import CLIENT_KEY, PROPERTY, SECRET, SERVER_KEY, outcome, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

P = 2**255 - 19
SECRETS: list[PrivateKey | SharedSecret] = [CLIENT_KEY, SECRET]


def little_endian(number: int) -> bytes:
    return number.to_bytes(32, "little")


# --- text -------------------------------------------------------------------------------------------


@PROPERTY
@given(st.binary(min_size=32, max_size=32).filter(any))
def test_every_key_comes_back_from_its_text(raw: bytes) -> None:
    private = PrivateKey(raw)
    public = private.public_key
    assert PrivateKey.from_text(private.to_text()) == private
    assert PrivateKey.from_text(base64.b64encode(raw).decode()) == private
    assert len(str(public)) == 44
    assert PublicKey.from_text(str(public)) == public
    assert eval(repr(public), {"PublicKey": PublicKey}) == public


@PROPERTY
@given(st.binary(min_size=32, max_size=200).filter(any))
def test_every_shared_secret_comes_back_from_its_text(raw: bytes) -> None:
    secret = SharedSecret(raw)
    assert SharedSecret.from_text(secret.to_text()) == secret
    assert SharedSecret.from_text(base64.b64encode(raw).decode()) == secret


def test_spaces_around_a_text_are_forgiven() -> None:
    assert PublicKey.from_text(f" {SERVER_KEY.public_key}\n") == SERVER_KEY.public_key
    assert PrivateKey.from_text(f" {CLIENT_KEY.to_text()}\n") == CLIENT_KEY
    assert SharedSecret.from_text(f" {SECRET.to_text()}\n") == SECRET


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (PublicKey.from_text, CLIENT_KEY.to_text()),
        (PublicKey.from_text, SECRET.to_text()),
        (PublicKey.from_text, "\t" + CLIENT_KEY.to_text()),
        (PrivateKey.from_text, SECRET.to_text()),
        (SharedSecret.from_text, CLIENT_KEY.to_text()),
    ],
)
def test_a_secret_in_the_wrong_place_is_told_without_being_printed(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match=r"where a .* belongs") as caught:
        parse(text)
    assert text.strip().partition(":")[2] not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A" * 43,
        "A" * 44,
        "A" * 42 + "B=",
        "A" * 64,
        "AQ" + "A" * 41 + "\N{LATIN SMALL LETTER E WITH ACUTE}",
        "AQ==" * 11,
        "AQ" + "A" * 39 + "\nAA=",
        base64.urlsafe_b64encode(b"\xfb\xff" * 16).decode(),
        base64.b64encode(bytes(31) + b"\x01").decode().replace("AE=", "AF="),  # the same bytes, written otherwise
    ],
)
@pytest.mark.parametrize("parse", [PublicKey.from_text, PrivateKey.from_text])
def test_a_text_that_is_not_exactly_a_key_is_refused_and_not_repeated(
    parse: Callable[[str], object], text: str
) -> None:
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert not text or text not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("text", ["", "ss-shared:", "ss-shared:!!!!", "ss-shared:AAAA", "\N{SNOWMAN}" * 44, "A=="])
def test_a_text_that_is_not_a_shared_secret_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"shared secret|ASCII"):
        SharedSecret.from_text(text)


# --- what is a key ----------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", sorted(LOW_ORDER), ids=lambda raw: raw[:4].hex())
def test_every_point_of_low_order_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="low order"):
        PublicKey(raw)
    with pytest.raises(RemoteProtocolError, match="low order"):
        CLIENT_KEY.exchange(raw)


WITH_BIT_255 = [2**255 + int.from_bytes(raw, "little") for raw in sorted(LOW_ORDER)]


@pytest.mark.parametrize("number", [P, P + 1, P + 9, 2**255 - 1, 2**255 + 9, 2**256 - 1, *WITH_BIT_255])
def test_every_encoding_that_is_not_canonical_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="not canonical"):
        PublicKey(little_endian(number))


@pytest.mark.parametrize("number", [2, 9, P - 2])
def test_the_numbers_next_to_the_refused_ones_are_keys(number: int) -> None:
    assert bytes(PublicKey(little_endian(number))) == little_endian(number)


@PROPERTY
@given(st.binary(max_size=40))
def test_a_public_key_off_the_wire_is_a_key_or_a_remote_protocol_error(raw: bytes) -> None:
    key = outcome(decode_public_key_untrusted, raw)
    assert key == AlertCode.PROTOCOL_ERROR or (isinstance(key, PublicKey) and bytes(key) == raw)


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64])
def test_a_key_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match=f"32 bytes, not {size}"):
        PublicKey(b"\x05" * size)
    with pytest.raises(ValueError, match=f"32 bytes, not {size}"):
        PrivateKey(b"\x05" * size)


@pytest.mark.parametrize("size", [0, 1, 31, 4_097])
def test_a_shared_secret_that_is_too_short_or_too_long_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 to 4,096 bytes"):
        SharedSecret(b"\x05" * size)


def test_a_shared_secret_has_32_to_4096_bytes() -> None:
    assert bytes(SharedSecret(b"\x05" * 32)) == b"\x05" * 32
    assert bytes(SharedSecret(b"\x05" * 4_096)) == b"\x05" * 4_096


@pytest.mark.parametrize("size", [32, 33, 4_096])
def test_a_secret_of_nothing_but_zeros_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="zeros"):
        SharedSecret(bytes(size))
    with pytest.raises(ValueError, match="zeros"):
        PrivateKey(bytes(32))


def test_the_callers_bytes_are_copied_and_never_changed() -> None:
    callers = bytearray(b"\x07" * 32)
    raw = cast("bytes", callers)  # any bytes-like object will do
    private, secret, public = PrivateKey(raw), SharedSecret(raw), PublicKey(raw)
    assert callers == b"\x07" * 32
    callers[:] = bytes(32)
    assert {bytes(private), bytes(secret), bytes(public)} == {b"\x07" * 32}


def test_generated_keys_and_secrets_differ() -> None:
    assert PrivateKey.generate() != PrivateKey.generate()
    assert SharedSecret.generate() != SharedSecret.generate()
    assert len(bytes(SharedSecret.generate())) == 32


def test_two_key_pairs_agree_on_one_secret() -> None:
    assert CLIENT_KEY.exchange(bytes(SERVER_KEY.public_key)) == SERVER_KEY.exchange(bytes(CLIENT_KEY.public_key))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_an_exchange_takes_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match=f"32 bytes, not {size}"):
        CLIENT_KEY.exchange(b"\x05" * size)


def test_the_psk_is_derived_as_the_protocol_says() -> None:
    assert SECRET.psk == hashlib.blake2b(bytes(SECRET), digest_size=32, person=b"securestream-psk").digest()
    assert SECRET.psk != bytes(SECRET)


# --- equality ---------------------------------------------------------------------------------------


def test_keys_are_equal_by_value_and_within_their_own_class() -> None:
    raw = b"\x07" * 32
    kinds: list[Callable[[bytes], object]] = [PublicKey, PrivateKey, SharedSecret]
    for kind in kinds:
        assert kind(raw) == kind(raw)
        assert hash(kind(raw)) == hash(kind(raw))
        assert kind(raw) != kind(b"\x08" * 32)
        assert kind(raw) != raw
    assert len({kind(raw) for kind in kinds}) == 3
    assert all(a(raw) != b(raw) for a, b in itertools.permutations(kinds, 2))


def test_secrets_are_compared_in_constant_time() -> None:
    tree = ast.parse(inspect.getsource(keys))
    compared = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    assert not [text for text in compared if "_raw" in text]
    methods = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "__eq__"]
    assert len(methods) == 2
    assert all("return hmac.compare_digest(self._raw, other._raw)" in ast.unparse(method) for method in methods)


# --- secrets don't show -----------------------------------------------------------------------------


def shown_forms(raw: bytes) -> list[str]:
    """How a secret could turn up in a text."""
    encoded = (base64.b64encode(raw), base64.urlsafe_b64encode(raw))
    return [raw.hex(), repr(raw), str(list(raw)), *(text.decode() for text in encoded)]


def assert_hidden(raw: bytes, text: str) -> None:
    assert not [form for form in shown_forms(raw) if form in text]


@pytest.mark.parametrize("secret", SECRETS, ids=["private", "shared"])
def test_no_text_of_a_secret_shows_it(secret: PrivateKey | SharedSecret) -> None:
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{secret!a}", str([secret]), str((secret, 1))):
        assert_hidden(bytes(secret), text)
        assert type(secret).__name__ in text


def test_a_private_key_is_shown_by_its_public_key() -> None:
    assert str(CLIENT_KEY.public_key) in repr(CLIENT_KEY)


def test_session_keys_do_not_show() -> None:
    send, receive = bytes(range(32)), bytes(range(32, 64))
    assert_hidden(send, repr(SessionKeys(send=send, receive=receive)))
    assert_hidden(receive, repr(SessionKeys(send=send, receive=receive)))


@pytest.mark.parametrize("secret", SECRETS, ids=["private", "shared"])
@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_a_secret_is_not_pickled_or_copied(
    secret: PrivateKey | SharedSecret, duplicate: Callable[[object], object]
) -> None:
    with pytest.raises(TypeError, match="not pickled or copied") as caught:
        duplicate(secret)
    assert_hidden(bytes(secret), str(caught.value))


def test_a_secret_has_no_dict_that_could_be_dumped() -> None:
    assert not [secret for secret in SECRETS if hasattr(secret, "__dict__")]


@pytest.mark.parametrize("kind", [PublicKey, PrivateKey, SharedSecret])
def test_an_error_about_the_size_does_not_repeat_the_bytes(kind: Callable[[bytes], object]) -> None:
    raw = bytes(range(31))
    with pytest.raises(ValueError) as caught:
        kind(raw)
    assert_hidden(raw, "".join(traceback.format_exception(caught.value)))


def test_a_refused_exchange_does_not_show_the_private_key() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        CLIENT_KEY.exchange(bytes(32))
    assert_hidden(bytes(CLIENT_KEY), "".join(traceback.format_exception(caught.value)))
    assert refusal(CLIENT_KEY.exchange, bytes(32)) is AlertCode.PROTOCOL_ERROR
