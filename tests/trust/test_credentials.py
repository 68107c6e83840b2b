"""What holds for every kind of credentials: good for one connection, side and time, and else refused with one error."""

from __future__ import annotations

import functools
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import securestream as ss
from securestream.protocol.credentials import MAX_PARTS, decode_parts_untrusted, encode_parts

from ..protocol.support import PROPERTY, outcome
from .credential_kinds import KINDS, OTHER_STATEMENTS, STATEMENT, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..conftest import Tries

pytestmark = pytest.mark.shows("credentials")

every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


async def refusal(verifier: ss.Verifier, shown: bytes, statement: bytes = STATEMENT) -> str:
    """What the peer is told. A verifier that raises anything else, or nothing, fails the test."""
    with pytest.raises(ss.CredentialsRefused) as caught:
        await verifier.verify(shown, statement)
    assert str(caught.value)
    return str(caught.value)


@every_kind
async def test_what_is_shown_for_a_statement_is_taken_for_it(make: Callable[[], Kind]) -> None:
    kind = make()
    principal = await kind.verifier.verify(await kind.show(), STATEMENT)
    assert getattr(principal, "name", "") == kind.name


@every_kind
@pytest.mark.parametrize("other", OTHER_STATEMENTS)
async def test_it_is_worth_nothing_for_another_connection_key_or_side(make: Callable[[], Kind], other: str) -> None:
    kind = make()
    await refusal(kind.verifier, await kind.show(), OTHER_STATEMENTS[other])
    await refusal(kind.verifier, await kind.show(OTHER_STATEMENTS[other]))


@every_kind
async def test_it_is_taken_until_it_expires_and_not_a_moment_longer(make: Callable[[], Kind]) -> None:
    kind = make()
    shown = await kind.show()
    kind.clock.now = kind.expires.timestamp() - 1
    await kind.verifier.verify(shown, STATEMENT)
    kind.clock.now = kind.expires.timestamp()
    assert await refusal(kind.verifier, shown)


@every_kind
async def test_who_trusts_somebody_else_refuses_it(make: Callable[[], Kind]) -> None:
    kind = make()
    await refusal(kind.stranger, await kind.show())


@every_kind
@pytest.mark.parametrize("shown", [b"", b"\0", bytes(96), bytes(97), b"." * 200, b"\xff" * 32_768, bytes(32_768)])
async def test_bytes_that_are_none_are_refused(make: Callable[[], Kind], shown: bytes) -> None:
    await refusal(make().verifier, shown)


@every_kind
async def test_what_is_cut_or_has_something_behind_is_refused(make: Callable[[], Kind], tries: Tries) -> None:
    kind = make()
    shown = await kind.show()
    for size in range(len(shown)):
        await refusal(kind.verifier, shown[:size])
    for behind in (b"\0", b"=", b" ", b"\n", shown):
        await refusal(kind.verifier, shown + behind)
    tries.tried(len(shown) + 5)


@every_kind
async def test_no_changed_byte_goes_unseen(make: Callable[[], Kind], tries: Tries) -> None:
    """But for the last character of a token, where base64 has bits that mean nothing."""
    kind = make()
    shown = bytearray(await kind.show())
    end = len(shown) - shown.startswith(b"ey")
    for at in range(end):
        changed = bytes(shown[:at]) + bytes([shown[at] ^ 1]) + bytes(shown[at + 1 :])
        await refusal(kind.verifier, changed)
    tries.tried(end)


@every_kind
def test_any_bytes_are_refused_with_the_one_error(make: Callable[[], Kind], tries: Tries) -> None:
    """Made at random, and made from what is genuine."""
    kind = make()
    genuine = trio.run(kind.show)

    async def run(chance: random.Random) -> None:
        cut = chance.randrange(len(genuine))
        junk = chance.randbytes(chance.randrange(60))
        for shown in (junk, genuine[:cut] + junk + genuine[cut:], genuine[:cut] + junk, junk + genuine[cut:]):
            if shown != genuine:
                with pytest.raises(ss.CredentialsRefused):
                    await kind.verifier.verify(shown, STATEMENT)

    for seed in tries.seeds(small=20, full=5_000):
        trio.run(functools.partial(run, random.Random(seed)))


# --- parts -------------------------------------------------------------------------------------------------


@PROPERTY
@given(parts=st.lists(st.binary(max_size=40), min_size=1, max_size=MAX_PARTS))
def test_parts_are_what_was_put_together(parts: list[bytes]) -> None:
    assert decode_parts_untrusted(encode_parts(parts)) == parts


@PROPERTY
@given(data=st.binary(max_size=60))
def test_any_bytes_are_parts_or_bad_credentials(data: bytes) -> None:
    parts = outcome(decode_parts_untrusted, data)
    if isinstance(parts, list):
        assert encode_parts(parts) == data
    else:
        assert parts is ss.AlertCode.BAD_CREDENTIALS


@pytest.mark.parametrize("count", [0, MAX_PARTS + 1])
def test_no_parts_and_too_many_are_no_credentials(count: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 8 parts, not {count}"):
        encode_parts([b""] * count)


def test_a_part_that_is_too_long_is_no_credential() -> None:
    with pytest.raises(ValueError, match="at most 65,535 bytes"):
        encode_parts([bytes(65_536)])


# --- several -----------------------------------------------------------------------------------------------


class Says(ss.Verifier):
    """Takes everything, and says who it is."""

    def __init__(self, principal: object) -> None:
        self._principal = principal

    async def verify(self, credentials: bytes, statement: bytes) -> object:
        return self._principal


async def test_several_give_all_principals_in_their_order() -> None:
    verifier = ss.SeveralVerifier(Says("a"), Says(None))
    assert await verifier.verify(encode_parts([b"1", b"2"]), STATEMENT) == ("a", None)


async def test_several_are_not_taken_in_another_order_or_where_one_is_left_out_or_doubled() -> None:
    kind = KINDS["several"]()
    first, second = decode_parts_untrusted(await kind.show())
    for parts in ([second, first], [first], [second], [first, first], [first, second, second], [first, b""]):
        await refusal(kind.verifier, encode_parts(parts))
    await kind.verifier.verify(encode_parts([first, second]), STATEMENT)
    assert await refusal(kind.verifier, first) == "not the 2 credentials that are wanted here"


async def test_a_verifier_that_answers_false_takes_nobody() -> None:
    with pytest.raises(TypeError, match="refuses by raising CredentialsRefused"):
        await ss.SeveralVerifier(Says(True), Says(False)).verify(encode_parts([b"", b""]), STATEMENT)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_several_are_two_to_eight(count: int) -> None:
    with pytest.raises(ValueError, match=f"2 to 8, not {count}"):
        ss.SeveralVerifier(*[Says(None)] * count)
    with pytest.raises(ValueError, match=f"2 to 8, not {count}"):
        ss.SeveralCredentials(*[lambda statement: statement] * count)


# --- listed keys -------------------------------------------------------------------------------------------

ALICE = ss.TrustedKey(ss.Ed25519Credentials(bytes([1]) * 32).public_key, "alice")


def test_a_key_that_is_none_or_is_listed_twice_is_refused_when_it_is_listed() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        ss.Ed25519Verifier([ss.TrustedKey(bytes(31), "alice")])
    with pytest.raises(ValueError, match="'bob' is listed twice"):
        ss.Ed25519Verifier([ALICE, replace(ALICE, name="bob")])
    with pytest.raises(ValueError, match="32 bytes, not 33"):
        ss.Ed25519Credentials(bytes(33))


def test_a_key_s_end_is_a_moment() -> None:
    with pytest.raises(TypeError, match="takes a datetime, not a str"):
        ss.TrustedKey(ALICE.public_key, "alice", "2027-06-30")  # type: ignore[arg-type]  # the mistake


def test_a_key_s_end_has_a_time_zone() -> None:
    with pytest.raises(ValueError, match="with a time zone"):
        ss.TrustedKey(ALICE.public_key, "alice", KINDS["ed25519"]().expires.replace(tzinfo=None))


def test_what_shows_and_verifies_does_not_show_its_secrets() -> None:
    seed = bytes(range(100, 132))
    mine = ss.Ed25519Credentials(seed)
    for text in (repr(mine), repr(ss.SeveralCredentials(mine, mine)), repr(vars(mine))):
        assert seed.hex() not in text
        assert repr(seed)[2:-1] not in text
