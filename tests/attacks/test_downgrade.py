"""The attacker who makes two sides agree on less than they would: no secret, another suite, another route."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

import securestream as ss
from securestream.protocol.codes import AlertCode
from securestream.protocol.handshake import SecretPolicy
from securestream.protocol.messages import (
    MODE_HFS,
    MODE_PSK0,
    Kind,
    decode_hello_untrusted,
    encode_alert_frame,
    encode_frame,
    seal_route,
)

from ..protocol.support import (
    BOTH_SUITES,
    CLIENT_KEY,
    KEM_EPHEMERAL,
    MIDDLEBOX_KEY,
    OTHER_KEY,
    SECRET,
    SERVER_KEY,
    body,
    new_client,
    new_server,
)
from .attackers import COUNT, E_END, MODE, E, stripper_of_suites, swapper_of_routes, with_route, with_suites
from .support import Change, Meeting, at, converse, honest_configs, meet, only

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

    from securestream.protocol.hybrid import ClientPostQuantum, PostQuantum
    from securestream.protocol.suites import Suite

pytestmark = pytest.mark.shows("downgrade")


def in_mode(mode: int) -> Callable[[bytes], bytes]:
    """A hello in another mode, as far as who doesn't know the client can make it fit: what Noise's message is to have
    behind e is his own."""

    def change(frame: bytes) -> bytes:
        tag = bytes(16) if mode & MODE_PSK0 else b""
        e1 = KEM_EPHEMERAL.public_bytes + tag if mode & MODE_HFS else b""
        return encode_frame(Kind.HELLO, frame[3:MODE] + bytes([mode]) + frame[COUNT:E_END] + e1 + tag)

    return change


def without_secret(frame: bytes) -> bytes:
    return in_mode(frame[MODE] & ~MODE_PSK0)(frame)


def with_secret(frame: bytes) -> bytes:
    return in_mode(frame[MODE] | MODE_PSK0)(frame)


def code_of(meeting: Meeting) -> AlertCode | None:
    return None if meeting.error is None else meeting.error.alert_code


def test_nobody_strips_a_suite_or_swaps_a_route_and_is_not_noticed() -> None:
    assert not stripper_of_suites()
    assert not swapper_of_routes()


# --- suites ---------------------------------------------------------------------------------------------

LISTS = [(1,), (2,), (2, 1), (1, 2, 3), (3, 1), (0, 1, 2), (1, 2, 255)]


@pytest.mark.parametrize("suites", LISTS, ids=str)
def test_a_list_of_suites_stripped_reordered_or_added_to_leads_nowhere(suites: tuple[int, ...]) -> None:
    meeting = meet(new_client(), new_server(), only(Kind.HELLO, with_suites(*suites)))
    assert code_of(meeting) is AlertCode.PROTOCOL_ERROR
    assert Kind.RESPONSE not in meeting.frames


@pytest.mark.parametrize("suites", [(), (1, 1), (2, 1, 2)], ids=str)
def test_an_empty_list_of_suites_or_one_with_duplicates_is_alert_11(suites: tuple[int, ...]) -> None:
    meeting = meet(new_client(), new_server(), only(Kind.HELLO, with_suites(*suites)))
    assert code_of(meeting) is AlertCode.PROTOCOL_ERROR
    assert Kind.CHALLENGE not in meeting.frames


def test_a_list_of_unknown_suites_is_alert_4_and_not_a_default() -> None:
    meeting = meet(new_client(), new_server(), only(Kind.HELLO, with_suites(0, 3, 77, 255)))
    assert code_of(meeting) is AlertCode.NO_COMMON_SUITE


async def test_a_suite_stripped_on_the_way_ends_both_sides(autojump_clock: MockClock) -> None:
    for kept in (1, 2):
        talk = await converse(honest_configs(), to_server=at(0, with_suites(kept)))
        assert talk.failed
        assert len(talk.from_client) == 1


# --- the secret -----------------------------------------------------------------------------------------

POLICIES = [
    (SecretPolicy.OPTIONAL, AlertCode.PROTOCOL_ERROR),  # the client finds it, at the challenge
    (SecretPolicy.REQUIRED, AlertCode.BAD_SECRET),
]


@pytest.mark.parametrize(("policy", "code"), POLICIES, ids=["optional", "required"])
def test_a_secret_taken_out_of_hello_leads_nowhere(policy: SecretPolicy, code: AlertCode) -> None:
    client, server = new_client(secret=SECRET), new_server(secrets=[SECRET], secret_policy=policy)
    meeting = meet(client, server, only(Kind.HELLO, without_secret))
    assert code_of(meeting) is code
    assert Kind.RESPONSE not in meeting.frames


@pytest.mark.parametrize("policy", SecretPolicy, ids=lambda policy: str(policy.name))
def test_a_secret_put_into_hello_leads_nowhere(policy: SecretPolicy) -> None:
    meeting = meet(new_client(), new_server(secrets=[SECRET], secret_policy=policy), only(Kind.HELLO, with_secret))
    assert code_of(meeting) is AlertCode.BAD_SECRET


def set_byte(place: int, value: int) -> Callable[[bytes], bytes]:
    return lambda frame: frame[:place] + bytes([value]) + frame[place + 1 :]


@pytest.mark.parametrize("mode", [value for value in range(256) if value & ~3][::3])
def test_a_mode_that_is_not_known_is_alert_3_and_not_a_default(mode: int) -> None:
    meeting = meet(new_client(), new_server(), only(Kind.HELLO, set_byte(MODE, mode)))
    assert code_of(meeting) is AlertCode.UNSUPPORTED_VERSION


@pytest.mark.parametrize("version", [0, ord("0"), ord("2"), 255])
def test_another_version_is_alert_3_and_not_a_default(version: int) -> None:
    meeting = meet(new_client(), new_server(), only(Kind.HELLO, set_byte(6, version)))
    assert code_of(meeting) is AlertCode.UNSUPPORTED_VERSION


@pytest.mark.parametrize("code", [*AlertCode, 4_096, 65_535])
async def test_a_refusal_that_the_attacker_made_up_never_makes_a_client_try_with_less(
    code: int, autojump_clock: MockClock
) -> None:
    """He answers each hello with an alert in clear, in the hope of one without the secret, or with fewer suites."""
    client = ss.ClientConfig(key=CLIENT_KEY, server_key=SERVER_KEY.public_key, secret=SECRET)
    server = ss.ServerConfig(key=SERVER_KEY, authorize=ss.ANYONE, secrets=[SECRET])
    talk = await converse((client, server), to_client=at(0, lambda _: encode_alert_frame(code)))
    assert isinstance(talk.client.error, ss.HandshakeRefused)
    assert not talk.client.error.authenticated
    assert talk.client.error.alert.code == code
    assert [unit[2] for unit in talk.from_client] == [Kind.HELLO]


async def test_a_refusal_in_clear_in_place_of_the_verdict_is_shown_as_one(
    suite: Suite, autojump_clock: MockClock
) -> None:
    def refuse(number: int, unit: bytes) -> bytes | None:
        return (unit, encode_alert_frame(7))[number] if number < 2 else None

    talk = await converse(honest_configs(suite), to_client=refuse)
    assert isinstance(talk.client.error, ss.HandshakeRefused)
    assert not talk.client.error.authenticated


# --- the hybrid handshake ------------------------------------------------------------------------------

SERVERS: tuple[PostQuantum, ...] = ("prefer", "require")
CLASSICAL: tuple[ClientPostQuantum, ...] = ("off", "fallback")


@pytest.mark.parametrize("secret", [None, SECRET], ids=["XX", "XXpsk0"])
def test_the_hybrid_mode_taken_out_of_hello_leads_nowhere(secret: ss.SharedSecret | None) -> None:
    server = new_server(post_quantum="prefer", secrets=[SECRET], secret_policy=SecretPolicy.OPTIONAL)
    to_classical = only(Kind.HELLO, lambda frame: in_mode(frame[MODE] & ~MODE_HFS)(frame))
    meeting = meet(new_client(post_quantum="prefer", secret=secret), server, to_classical)
    assert code_of(meeting) is (AlertCode.BAD_SECRET if secret else AlertCode.PROTOCOL_ERROR)
    assert Kind.RESPONSE not in meeting.frames


def test_the_hybrid_mode_put_into_hello_leads_nowhere() -> None:
    meeting = meet(
        new_client(post_quantum="off"), new_server(post_quantum="prefer"), only(Kind.HELLO, in_mode(MODE_HFS))
    )
    assert code_of(meeting) is AlertCode.PROTOCOL_ERROR
    assert Kind.RESPONSE not in meeting.frames


def test_a_kem_key_of_the_attackers_in_a_hybrid_hello_leads_nowhere() -> None:
    client = new_client(post_quantum="prefer", ephemeral=None)
    meeting = meet(client, new_server(post_quantum="prefer"), only(Kind.HELLO, in_mode(MODE_HFS)))
    assert code_of(meeting) is AlertCode.PROTOCOL_ERROR
    assert Kind.RESPONSE not in meeting.frames


def test_a_client_that_was_told_that_there_is_no_hybrid_mode_is_refused_where_there_is_one() -> None:
    for policy in SERVERS:
        meeting = meet(new_client(post_quantum="fallback"), new_server(post_quantum=policy))
        assert code_of(meeting) is AlertCode.INAPPROPRIATE_FALLBACK
        assert Kind.CHALLENGE not in meeting.frames
    assert meet(new_client(post_quantum="fallback"), new_server(post_quantum="off")).succeeded


def test_the_mark_of_a_fallback_taken_out_of_hello_leads_nowhere() -> None:
    """Who has made up the refusal would have to hide from the server that the client believed it."""
    meeting = meet(
        new_client(post_quantum="fallback"),
        new_server(post_quantum="prefer"),
        only(Kind.HELLO, with_suites(*BOTH_SUITES)),
    )
    assert code_of(meeting) is AlertCode.PROTOCOL_ERROR
    assert Kind.RESPONSE not in meeting.frames


def test_the_mark_of_a_fallback_changes_no_choice_of_a_suite() -> None:
    for offer in itertools.permutations(BOTH_SUITES):
        meetings = [
            meet(new_client(post_quantum=choice, suites=offer), new_server(post_quantum="off")) for choice in CLASSICAL
        ]
        assert len({meeting.client.session.suite for meeting in meetings}) == 1


def test_a_server_that_demands_the_hybrid_mode_refuses_a_classical_hello_with_alert_3() -> None:
    meeting = meet(new_client(post_quantum="off"), new_server(post_quantum="require"))
    assert code_of(meeting) is AlertCode.UNSUPPORTED_VERSION


# --- the route ------------------------------------------------------------------------------------------


def attackers_route(e: bytes) -> bytes:
    """A route that names another server; sealed with all that he has, which isn't the client's session key."""
    r = bytes(MIDDLEBOX_KEY.public_key)
    return seal_route(bytes(OTHER_KEY.public_key), OTHER_KEY.exchange(r), e, r)


ROUTES: dict[str, Change] = {
    "random_bytes": only(Kind.HELLO, with_route(bytes(range(48)))),
    "zeros": only(Kind.HELLO, with_route(bytes(48))),
    "one_of_another_hello": only(
        Kind.HELLO,
        with_route(decode_hello_untrusted(body(new_client(ephemeral=OTHER_KEY).hello(), Kind.HELLO)).route),
    ),
    "one_of_his_own": only(Kind.HELLO, lambda frame: with_route(attackers_route(frame[E:E_END]))(frame)),
}


@pytest.mark.parametrize("name", ROUTES)
@pytest.mark.parametrize("middlebox", [None, MIDDLEBOX_KEY.public_key], ids=["direct", "behind_a_router"])
def test_a_route_swapped_on_the_way_leads_nowhere(name: str, middlebox: ss.PublicKey | None) -> None:
    meeting = meet(new_client(middlebox_key=middlebox), new_server(), ROUTES[name])
    assert code_of(meeting) is AlertCode.PROTOCOL_ERROR
    assert Kind.RESPONSE not in meeting.frames


@pytest.mark.parametrize("name", ROUTES)
def test_a_route_swapped_on_the_way_to_a_server_that_demands_it_is_alert_5(name: str) -> None:
    meeting = meet(new_client(), new_server(require_route=True), ROUTES[name])
    assert code_of(meeting) is AlertCode.UNKNOWN_SERVER_KEY


async def test_a_route_swapped_on_the_way_ends_both_sides(suite: Suite, autojump_clock: MockClock) -> None:
    talk = await converse(honest_configs(suite), to_server=at(0, with_route(bytes(48))))
    assert talk.failed
    assert len(talk.from_client) == 1
