"""Models the claims: each query, the verdict that it must have, and why; those that must fail too.

A query is decided in a setting.  HOLDS: proved for any number of sessions.  FAILS: there is a derivation, an attack
(or, for `Unreachable`, an honest run).  Anything else, running out of time included, is an error.

Queries that must fail guard against empty truths: a model in which nobody can say anything keeps all secrets.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.model.attacker import static
from tests.model.handshake_model import (
    C_PARTY,
    C_SESSION,
    CHOSEN,
    HEARD_E,
    HEARD_OFFER,
    HEARD_ROUTE,
    OFFER,
    OFFER_1,
    OFFER_BOTH,
    S_PARTY,
    S_SESSION,
    Header,
    client_data,
    credentials,
    mode,
    server_data,
    server_payload,
)
from tests.model.noise_model import EMPTY, named
from tests.model.settings import ALICE, BOB, CAROL, ROUTER, Cast, Setting, other
from tests.model.terms import Term, substitute, var

PROVERS = ("SPASS", "E")


class Verdict(enum.Enum):
    HOLDS = "holds"
    FAILS = "fails"
    UNDECIDED = "undecided"
    EMPTY = "empty: the event cannot happen at all"


@dataclass(frozen=True)
class Secret:
    """The attacker learns none of `messages`, unless the key of a party in `excuses` has leaked."""

    messages: tuple[Term, ...]
    excuses: tuple[Term, ...] = ()
    afterwards: bool = False


@dataclass(frozen=True)
class Agreement:
    """When `end` happens, `begin` has happened with the same arguments; if `injective`, once for each time.

    `excuse`:  "client" or "server", the party whose leaked key excuses the lack; "" for none.  As only the peer's
    leaked key does, each such query is about key compromise impersonation too.  `pattern` narrows it to one mode.
    """

    end: str
    begin: str
    excuse: str = ""
    injective: bool = True
    pattern: str = ""


@dataclass(frozen=True)
class Unreachable:
    """No honest run, without a leak, ends in `event`.  Must fail."""

    event: str


Goal = Secret | Agreement | Unreachable


@dataclass(frozen=True)
class Query:
    name: str
    setting: Setting
    goal: Goal
    expected: Verdict
    because: str
    slow_for_provers: bool = False  # SPASS and E are asked in the long run only.
    asked_of: tuple[str, ...] = PROVERS  # Those that can decide it.
    implied_by: str = ""  # The name of a query with the same goal and more of an attacker: SPASS and E are asked that.

    @property
    def provers(self) -> tuple[str, ...]:
        """SPASS and E decide questions of reachability; agreement, which compares two events, is the saturator's
        alone.
        """
        return () if self.implied_by or isinstance(self.goal, Agreement) else self.asked_of


EVERYBODY = (var(1),)


def holds(name: str, setting: Setting, goal: Goal, because: str) -> Query:
    return Query(name, setting, goal, Verdict.HOLDS, because)


def fails(name: str, setting: Setting, goal: Goal, because: str) -> Query:
    """Must fail, that is."""
    return Query(name, setting, goal, Verdict.FAILS, because)


Judge = Callable[[str, Setting, Goal, str], Query]


def slow(query: Query) -> Query:
    return replace(query, slow_for_provers=True)


XX = Setting()
PSK0 = Setting(patterns=("XXpsk0",))
PSK0_SECRET_KNOWN = replace(PSK0, secret_leaked=True)
PSK0_KEYS_KNOWN = replace(PSK0, all_keys_leaked=True)
HELLO = Agreement("s_hello", "c_hello", injective=False)


def both_ways(pattern: str) -> tuple[Term, ...]:
    return (*from_client(pattern), *from_server(pattern))


def from_client(pattern: str, offer: Term = OFFER) -> tuple[Term, ...]:
    """The client's first data, and its credentials in response."""
    who = (C_SESSION, C_PARTY, static(S_PARTY), mode(pattern))
    return client_data(*who, offer), credentials(*who)


def from_client_2021() -> tuple[Term, ...]:
    return (client_data(C_SESSION, C_PARTY, static(S_PARTY), mode("2021"), EMPTY),)


def from_server(pattern: str) -> tuple[Term, ...]:
    """The answer in ACCEPT."""
    return (server_data(S_SESSION, S_PARTY, static(C_PARTY), mode(pattern)),)


def payload_of_server(pattern: str) -> tuple[Term, ...]:
    header = Header(pattern, HEARD_OFFER, HEARD_ROUTE).wire()
    return (server_payload(S_SESSION, static(S_PARTY), HEARD_E, header, CHOSEN),)


# Families of queries, for both modes.

AFTER = {
    "challenge": ("client", "server", "c_challenge", "s_challenge"),
    "response": ("server", "client", "s_response", "c_response"),
    "verdict": ("client", "server", "c_verdict", "s_verdict"),
    "client's first record": ("server", "client", "s_record", "c_response"),
}


def _agreement(verdict: Judge, label: str, setting: Setting, excused: bool, because: str) -> list[Query]:
    """Agreement on header, both ephemerals, suite, transcript hash, keys and roles."""
    return [
        verdict(
            f"{label}: after {when} the {who} agrees with the {peer}",
            setting,
            Agreement(end, begin, peer if excused else ""),
            because,
        )
        for when, (who, peer, end, begin) in AFTER.items()
    ]


def _honest_runs(label: str, setting: Setting) -> list[Query]:
    why = "honest runs complete in the model"
    return [
        fails(f"{label}: no client ever gets a verdict", setting, Unreachable("c_verdict"), why),
        fails(f"{label}: no server ever gets a first record", setting, Unreachable("s_record"), why),
    ]


def _secrecy(pattern: str, setting: Setting) -> list[Query]:
    only = "only the peer's own key opens what is meant for the peer; one's own leaked key is no excuse (KCI)"
    client, server = Secret(from_client(pattern), (S_PARTY,)), Secret(from_server(pattern), (C_PARTY,))
    data, papers, answer = (Secret((message,)) for message in both_ways(pattern))
    thief = "such a thief is the peer"
    return [
        holds(f"{pattern}: client's data and credentials are secret", setting, client, only),
        holds(f"{pattern}: server's answer is secret", setting, server, only),
        fails(f"{pattern}: client's data is secret from who has the server's key", setting, data, thief),
        fails(f"{pattern}: client credentials are secret from who has the server's key", setting, papers, thief),
        fails(f"{pattern}: server's answer is secret from who has the client's key", setting, answer, thief),
    ]


def _forward_secrecy(pattern: str, setting: Setting) -> list[Query]:
    later = replace(setting, leaked_later=EVERYBODY)
    client = Secret(from_client(pattern), (S_PARTY,), afterwards=True)
    server = Secret(from_server(pattern), (C_PARTY,), afterwards=True)
    keys = Secret((static(C_PARTY),), afterwards=True)
    gone = "ephemeral keys are in every key, and they are gone"
    return [
        holds(f"{pattern}: client's data and credentials stay secret when all keys leak later", later, client, gone),
        holds(f"{pattern}: server's answer stays secret when all keys leak later", later, server, gone),
        fails(f"{pattern}: the keys that leak later stay secret", later, keys, "the rules for later leaks are at work"),
    ]


def _mode(pattern: str, honest: Setting, setting: Setting) -> list[Query]:
    bound = "each side's proof is bound to the whole transcript (also KCI: only the peer's leaked key excuses)"
    return [
        *_honest_runs(pattern, honest),
        *_secrecy(pattern, setting),
        *_forward_secrecy(pattern, setting),
        *_agreement(holds, pattern, setting, True, bound),
    ]


XX_ALONE = (
    fails("XX: server payload is secret", XX, Secret(payload_of_server("XX")), "challenge answers any hello"),
    fails("XX: hello comes from a client", XX, HELLO, "nothing in hello is authenticated"),
    *_agreement(
        fails, "XX, all long-term keys leaked", replace(XX, all_keys_leaked=True), False, "XX has no other keys"
    ),
)

# What the secret of psk0 adds.

ALONE = "the secret is in the chaining key from the first token on"
PSK0_NOTHING_LEFT = replace(PSK0_KEYS_KNOWN, secret_leaked=True)
SERVER_PAYLOAD = Secret(payload_of_server("XXpsk0"))

SECRET = (
    *_agreement(holds, "XXpsk0, all long-term keys leaked", PSK0_KEYS_KNOWN, False, ALONE),
    holds(
        "XXpsk0, all long-term keys leaked: data and credentials are secret",
        PSK0_KEYS_KNOWN,
        Secret(both_ways("XXpsk0")),
        ALONE,
    ),
    holds(
        "XXpsk0: server payload is secret from those without the secret",
        PSK0,
        SERVER_PAYLOAD,
        "only a holder of the secret passes hello",
    ),
    fails("XXpsk0, secret leaked: server payload is secret", PSK0_SECRET_KNOWN, SERVER_PAYLOAD, "as in XX"),
    holds("XXpsk0: hello comes from a holder of the secret", PSK0, HELLO, "the tag needs the secret"),
    fails(
        "XXpsk0: hello is fresh",
        PSK0,
        replace(HELLO, injective=True),
        "hello can be replayed, costs the server its Diffie-Hellmans and yields nothing",
    ),
    fails("XXpsk0, secret leaked: hello comes from a client", PSK0_SECRET_KNOWN, HELLO, "the tag is all there is"),
    *_agreement(fails, "XXpsk0, secret and all long-term keys leaked", PSK0_NOTHING_LEFT, False, "nothing is left"),
)

# No downgrade.

DOWNGRADE = Setting(suite_1_broken=True)
BOTH_MODES = Setting(patterns=("XX", "XXpsk0"), all_keys_leaked=True)
SERVED = "both modes served, long-term keys leaked"

NO_DOWNGRADE = (
    holds(
        "suite 1 broken: data is secret where both sides know suite 2",
        DOWNGRADE,
        Secret(from_client("XX", OFFER_BOTH)[:1], (S_PARTY,)),
        "the list is in the prologue and the choice in an encrypted payload",
    ),
    fails(
        "suite 1 broken: data of a client that knows only suite 1 is secret",
        DOWNGRADE,
        Secret(from_client("XX", OFFER_1)[:1], (S_PARTY,)),
        "suite 1 is broken, and used",
    ),
    *(
        holds(
            f"{SERVED}, psk0 wanted: after {when} the {who} agrees with the {peer}",
            BOTH_MODES,
            Agreement(end, begin, pattern="XXpsk0"),
            "mode is in the prologue and in the protocol name: no way from psk0 to XX",
        )
        for when, (who, peer, end, begin) in AFTER.items()
    ),
    slow(
        holds(
            f"{SERVED}: data meant for psk0 is secret",
            BOTH_MODES,
            Secret(from_client("XXpsk0")),
            "a client with a secret never says it under XX",
        )
    ),
    fails(f"{SERVED}: data meant for XX is secret", BOTH_MODES, Secret(from_client("XX")), "XX has no other keys"),
)

# The hybrid mode: with all long-term keys, the secret, and every Diffie-Hellman known later.

HFS = Setting(patterns=("XXhfs",))
HFS_PSK0 = Setting(patterns=("XXhfs+psk0",), secret_leaked=True)
COMPUTED = "the KEM's shared secret is in every key, and no Diffie-Hellman gives it"


def _quantum(verdict: Judge, pattern: str, setting: Setting, because: str) -> list[Query]:
    later = replace(setting, leaked_later=EVERYBODY, x25519_broken_later=True)
    client = Secret(from_client(pattern), (S_PARTY,), afterwards=True)
    server = Secret(from_server(pattern), (C_PARTY,), afterwards=True)
    return [
        verdict(f"{pattern}: client's data and credentials stay secret when X25519 breaks", later, client, because),
        verdict(f"{pattern}: server's answer stays secret when X25519 breaks", later, server, because),
    ]


def _for_provers(query: Query) -> Query:
    """What holds takes SPASS and E up to a minute. That all keys leak later is a part of what "X25519 breaks" means."""
    later = " when all keys leak later"
    implied_by = query.name.replace(later, " when X25519 breaks") if query.name.endswith(later) else ""
    return replace(query, slow_for_provers=query.expected is Verdict.HOLDS, implied_by=implied_by)


def _too_large_for_spass(query: Query) -> Query:
    """It stops at its limit for variables, as clauses are written out here, each place counted; with static soft typing
    off it doesn't, and hasn't ended after ten minutes."""
    return replace(query, asked_of=("E",))


HYBRID = (
    *map(_for_provers, _mode("XXhfs", HFS, HFS)),
    *map(_for_provers, _quantum(holds, "XXhfs", HFS, COMPUTED)),
    *_honest_runs("XXhfs+psk0", replace(HFS_PSK0, secret_leaked=False)),
    *map(_too_large_for_spass, map(_for_provers, _quantum(holds, "XXhfs+psk0", HFS_PSK0, COMPUTED))),
    *_quantum(fails, "XX", XX, "all of XX's keys are made of Diffie-Hellmans"),
    *_quantum(fails, "XXpsk0", PSK0_SECRET_KNOWN, "with the secret, all of XXpsk0's keys are, too"),
)

# Who learns who the client is.

EVERYBODY_ELSE = (other(var(1)),)
WITH_R = (*EVERYBODY_ELSE, ROUTER)
WITH_SERVERS_KEY = (*WITH_R, BOB)
SECRET_CLIENT = Setting(cast=Cast.SECRET_CLIENT, leaked=EVERYBODY_ELSE)
SECRET_CLIENT_PSK0 = replace(SECRET_CLIENT, patterns=("XXpsk0",))
ALICES_KEY = Secret((named(static(ALICE)),))
CHECKS = "the client names itself under keys with es, and only after it has checked the server key"

CLIENT_IDENTITY = (
    # An impostor server has the keys of all third parties, an outsider less.
    holds("XX: client identity is secret from outsiders and impostor servers", SECRET_CLIENT, ALICES_KEY, CHECKS),
    holds(
        "XX: client identity is secret from the middlebox", replace(SECRET_CLIENT, leaked=WITH_R), ALICES_KEY, CHECKS
    ),
    slow(
        holds(
            "XX: client identity is secret, the server's key in use as a client's too",
            replace(SECRET_CLIENT, cast=Cast.SECRET_CLIENT_BOTH_ROLES, leaked=WITH_R),
            ALICES_KEY,
            CHECKS,
        )
    ),
    holds(
        "XX: client identity stays secret when all others' keys leak later",
        replace(SECRET_CLIENT, leaked_later=WITH_SERVERS_KEY),
        replace(ALICES_KEY, afterwards=True),
        "ee is in that key too",
    ),
    fails(
        "XX: client identity is secret from who has the server's key",
        replace(SECRET_CLIENT, leaked=WITH_SERVERS_KEY),
        ALICES_KEY,
        "he is the server",
    ),
    fails(
        "XX: client identity is secret without a pinned key",
        replace(SECRET_CLIENT, cast=Cast.SECRET_CLIENT_UNPINNED, leaked=WITH_R),
        ALICES_KEY,
        "a client without a pinned key shows itself to whoever answers",
    ),
    holds(
        "XXpsk0: client identity is secret from who has the server's key and not the secret",
        replace(SECRET_CLIENT_PSK0, leaked=WITH_SERVERS_KEY),
        ALICES_KEY,
        "without the secret nobody makes a challenge",
    ),
    holds(
        "XXpsk0, secret leaked: client identity is secret from outsiders, impostors and middlebox",
        replace(SECRET_CLIENT_PSK0, leaked=WITH_R, secret_leaked=True),
        ALICES_KEY,
        CHECKS,
    ),
)

# What the middlebox learns, and who learns the server's key.

SECRET_SERVER = Setting(cast=Cast.SECRET_SERVER, leaked=EVERYBODY_ELSE)
SILENT_SERVER = Setting(cast=Cast.SECRET_SILENT_SERVER, leaked=EVERYBODY_ELSE)
BOBS_KEY = Secret((named(static(BOB)),))
CAROL_TO_BOB = Secret(tuple(substitute(t, {C_PARTY: CAROL, S_PARTY: BOB}, {}) for t in from_client("XX")))

MIDDLEBOX_LEARNS = (
    holds("hello: expected server key is secret from the network", SILENT_SERVER, BOBS_KEY, "it is sealed to R"),
    fails(
        "hello: expected server key is secret from the middlebox",
        replace(SILENT_SERVER, leaked=WITH_R),
        BOBS_KEY,
        "reading it is what the middlebox is for",
    ),
    fails(
        "hello: expected server key stays secret when R's key leaks later",
        replace(SILENT_SERVER, leaked_later=(ROUTER,)),
        replace(BOBS_KEY, afterwards=True),
        "the route is sealed to R's long-term key, without forward secrecy",
    ),
    fails(
        "XX: server key is secret from who says hello to the server",
        SECRET_SERVER,
        BOBS_KEY,
        "challenge tells it to anyone who says hello",
    ),
    holds(
        "XXpsk0: server key is secret from who says hello without the secret",
        replace(SECRET_SERVER, patterns=("XXpsk0",)),
        BOBS_KEY,
        "the secret is the gate",
    ),
    holds(
        "middlebox: client's data and credentials are secret",
        replace(SECRET_SERVER, leaked=WITH_R),
        CAROL_TO_BOB,
        "R's key opens the route and nothing else",
    ),
)

QUERIES: tuple[Query, ...] = (
    *_mode("XX", XX, XX),
    *XX_ALONE,
    *_mode("XXpsk0", PSK0, PSK0_SECRET_KNOWN),
    *SECRET,
    *NO_DOWNGRADE,
    *HYBRID,
    *CLIENT_IDENTITY,
    *MIDDLEBOX_LEARNS,
)
