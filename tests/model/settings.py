"""Models the surroundings of the handshake: who takes part, which modes and suites, which keys leak and when.

A setting turns into the rules that an engine gets.  "Anyone" stands for every party: its clients expect any server
key, use any middlebox, and each party's one long-term key serves as client, server and middlebox.  The other casts
keep one public key back from the attacker, to ask who learns it; in them everyone without a name is the attacker.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.model import flawed_2021
from tests.model.attacker import (
    att,
    constants,
    knowledge,
    leak_of,
    leak_of_secret,
    leak_on_request,
    leaks_afterwards,
    record,
    static,
    x25519_breaks_afterwards,
)
from tests.model.handshake_model import (
    C_PARTY,
    CHOSEN,
    HEARD_OFFER,
    MIDDLEBOX,
    NO_FLAWS,
    OFFER,
    OFFER_1,
    OFFER_BOTH,
    S_PARTY,
    SERVER,
    SUITE,
    SUITE_1,
    SUITE_2,
    ClientRun,
    Flaws,
    ServerRun,
    client_ends,
    client_rules,
    server_ends,
    server_rules,
)
from tests.model.noise_model import PATTERNS, is_hybrid, named, protocol_name
from tests.model.saturate import Rule
from tests.model.terms import Term, function, var

if TYPE_CHECKING:
    from collections.abc import Iterator

ALICE, BOB, CAROL, ROUTER = (function(name)() for name in ("alice", "bob", "carol", "router"))
other = function("other")  # other(x): any further party, where alice and bob are set apart.

_CONSTANTS = (
    "empty",
    "zero",
    "one",
    "two",
    "three",
    "securestream_1",
    "accept",
    "data",
    "suite_1",
    "suite_2",
    "suite_1_only",
    "suites_1_and_2",
    *(f"mode_{pattern}" for pattern in PATTERNS),
    *(f"Noise_{protocol_name(pattern)}" for pattern in PATTERNS),
)


class Cast(enum.Enum):
    """In all but the first, the attacker plays everyone who is not named."""

    ANYONE = "every party"
    SECRET_CLIENT = "alice, whose public key is a secret, connects to bob"
    SECRET_CLIENT_BOTH_ROLES = "the same, and bob is a client of anyone too, with the same key"
    SECRET_CLIENT_UNPINNED = "alice, whose public key is a secret, connects to whoever answers"
    SECRET_SERVER = "carol connects through the router to bob, whose public key is a secret"
    SECRET_SILENT_SERVER = "the same, and bob does not answer"


@dataclass(frozen=True)
class Setting:
    patterns: tuple[str, ...] = ("XX",)
    cast: Cast = Cast.ANYONE
    secret_leaked: bool = False
    all_keys_leaked: bool = False
    leaked: tuple[Term, ...] = ()  # These parties' keys, from the start.
    leaked_later: tuple[Term, ...] = ()  # These parties' keys and the secret, after the sessions.
    x25519_broken_later: bool = False  # Beside that.
    suite_1_broken: bool = False  # A record of suite 1 gives its key away; suites are really negotiated.
    flaws: Flaws = NO_FLAWS

    @property
    def identities_known(self) -> bool:
        return self.cast is Cast.ANYONE

    @property
    def has_kem(self) -> bool:
        return any(is_hybrid(pattern) for pattern in self.patterns)

    def rules(self) -> Iterator[Rule]:
        yield from constants(_CONSTANTS)
        yield from knowledge(identities_known=self.identities_known, kem=self.has_kem)
        yield from self._leaks()
        if self.patterns == (flawed_2021.PATTERN,):
            yield from flawed_2021.rules()
            return
        for pattern in self.patterns:
            yield from self._clients(pattern)
            yield from self._servers(pattern)

    def _leaks(self) -> Iterator[Rule]:
        if self.secret_leaked:
            yield leak_of_secret()
        for party in (var(1),) if self.all_keys_leaked else self.leaked:
            yield leak_of(party)
        if self.cast is Cast.ANYONE and not self.all_keys_leaked:
            yield leak_on_request()
        if self.leaked_later:
            yield from leaks_afterwards(self.leaked_later, identities_known=self.identities_known, kem=self.has_kem)
        if self.x25519_broken_later:
            yield x25519_breaks_afterwards()
        if self.suite_1_broken:
            key, plain = var(1), var(2)
            words = "suite 1 is broken: the attacker gets the key of the record with {m}"
            yield Rule((att(record(SUITE_1, key, plain)),), att(key), words, (("m", plain),))
        if self.cast is not Cast.ANYONE:
            yield from self._identities()

    def _identities(self) -> Iterator[Rule]:
        secret = BOB if self.cast in (Cast.SECRET_SERVER, Cast.SECRET_SILENT_SERVER) else ALICE
        for party in (ALICE, BOB, CAROL, ROUTER, other(var(1))):
            if party is not secret:
                yield Rule((), att(named(static(party))))

    # Who connects to whom through whom: client, private key of the expected server, of the middlebox, premises.
    def _connections(self) -> Iterator[tuple[Term, Term, Term, tuple[Term, ...]]]:
        anybody = (att(named(SERVER)),)
        if self.cast is Cast.ANYONE:
            yield C_PARTY, SERVER, MIDDLEBOX, ()
        elif self.cast in (Cast.SECRET_CLIENT, Cast.SECRET_CLIENT_BOTH_ROLES):
            yield ALICE, static(BOB), MIDDLEBOX, ()
            if self.cast is Cast.SECRET_CLIENT_BOTH_ROLES:
                yield BOB, SERVER, MIDDLEBOX, anybody
        elif self.cast is Cast.SECRET_CLIENT_UNPINNED:
            yield ALICE, SERVER, MIDDLEBOX, anybody
        else:
            yield CAROL, static(BOB), static(ROUTER), ()

    def _clients(self, pattern: str) -> Iterator[Rule]:
        offers: tuple[tuple[Term, Term], ...] = ((OFFER, SUITE),)
        if self.suite_1_broken:
            offers = ((OFFER_BOTH, SUITE_1), (OFFER_BOTH, SUITE_2), (OFFER_1, SUITE_1))
        for client, server, middlebox, premises in self._connections():
            for offer, suite in offers:
                run = ClientRun(pattern, client, server, middlebox, offer, suite, pattern, self.flaws)
                yield from client_rules(run, (*premises, att(offer)))
                if self.flaws.falls_back and pattern == "XX":
                    run = ClientRun(pattern, client, server, middlebox, offer, suite, "XXpsk0", self.flaws)
                    yield from client_rules(run, (*premises, att(offer)))
                if self.cast is Cast.ANYONE:
                    run = ClientRun(pattern, client, static(S_PARTY), middlebox, offer, suite, pattern, self.flaws)
                    yield from client_ends(run, (att(offer),))

    def _servers(self, pattern: str) -> Iterator[Rule]:
        choices: tuple[tuple[Term, Term], ...] = ((HEARD_OFFER, CHOSEN),)
        if self.suite_1_broken:
            choices = ((OFFER_BOTH, SUITE_2), (OFFER_1, SUITE_1))
        if self.cast is Cast.SECRET_SILENT_SERVER:
            return
        server = S_PARTY if self.cast is Cast.ANYONE else BOB
        for offer, suite in choices:
            run = ServerRun(pattern, server, offer, suite, self.flaws)
            yield from server_rules(run, (att(suite),))
            if self.cast is Cast.ANYONE:
                yield from server_ends(run, (att(suite),))
