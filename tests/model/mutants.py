"""Models broken protocols: each leaves one thing out, and must be attacked.

Each is asked a query that the real protocol passes, in the same setting, so what is left out is what the query rests
on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.model.flawed_2021 import PATTERN as PATTERN_2021
from tests.model.handshake_model import S_PARTY, Flaws
from tests.model.noise_model import NoiseFlaws
from tests.model.queries import QUERIES, Agreement, Query, Secret, Verdict, from_client_2021
from tests.model.settings import Setting


@dataclass(frozen=True)
class Mutant:
    query: Query
    meaning: str  # What the attack does to a user.


def _without(*tokens: str) -> Flaws:
    return Flaws(noise=NoiseFlaws(tokens=frozenset(tokens)))


def _mutant(name: str, flaws: Flaws, detected_by: str, meaning: str) -> Mutant:
    """`detected_by`: the name of a query that holds for the real protocol."""
    query = next(query for query in QUERIES if query.name == detected_by)
    assert query.expected is Verdict.HOLDS
    setting = replace(query.setting, flaws=flaws)
    attacked = replace(query, setting=setting, expected=Verdict.FAILS, slow_for_provers=False)  # attacks are found soon
    return Mutant(replace(attacked, name=f"{name} / {detected_by}"), meaning)


SERVER_AUTHENTICATION = "XX: after challenge the client agrees with the server"
CLIENT_AUTHENTICATION = "XX: after response the server agrees with the client"
IMPOSTORS = "XX: client identity is secret from outsiders and impostor servers"

MUTANTS: tuple[Mutant, ...] = (
    _mutant(
        "no es",
        _without("es"),
        SERVER_AUTHENTICATION,
        "Nothing in challenge needs the server's private key: who sends the server's public key is the server.",
    ),
    _mutant(
        "no se",
        _without("se"),
        CLIENT_AUTHENTICATION,
        "Nothing in response needs the client's private key: who sends a client's public key is that client.",
    ),
    _mutant(
        "no ee",
        _without("ee"),
        "XX: client's data and credentials stay secret when all keys leak later",
        "Who has recorded a session and gets the long-term keys later reads it.",
    ),
    _mutant(
        "no psk",
        _without("psk"),
        "XXpsk0, all long-term keys leaked: data and credentials are secret",
        "The secret is in no key: stolen long-term keys are enough, as without it.",
    ),
    _mutant(
        "no associated data",
        Flaws(noise=NoiseFlaws(associated_data=False)),
        SERVER_AUTHENTICATION,
        "h is computed and never used: client and server can have seen different hellos, and nobody notices.",
    ),
    _mutant(
        "no prologue",
        Flaws(prologue=frozenset()),
        SERVER_AUTHENTICATION,
        "The header can be changed on the way, mode, suites and route alike.",
    ),
    _mutant(
        "no prologue",
        Flaws(prologue=frozenset()),
        "suite 1 broken: data is secret where both sides know suite 2",
        "The attacker strikes suite 2 from the client's list; both ends then use suite 1, which is broken.",
    ),
    _mutant(
        "suites not bound",
        Flaws(prologue=frozenset({"mode", "route"})),
        "suite 1 broken: data is secret where both sides know suite 2",
        "The same downgrade, by the list alone.",
    ),
    # The route opens to nobody but R, so no secret falls: what falls is agreement on the header, and only that query
    # sees it.
    _mutant(
        "route not bound",
        Flaws(prologue=frozenset({"mode", "suites"})),
        SERVER_AUTHENTICATION,
        "The attacker swaps the route for another and sends the hello where he likes; neither end can tell.",
    ),
    _mutant(
        "client reveals itself before checking the server key",
        Flaws(reveals_before_checking=True),
        IMPOSTORS,
        "Anyone answers with a key of his own and reads in response who the client is.",
    ),
    _mutant(
        "verdict in clear",
        Flaws(verdict_in_clear=True),
        "XX: after verdict the client agrees with the server",
        "The client believes itself accepted by a server that has accepted nobody.",
    ),
    _mutant(
        "suite in clear",
        Flaws(suite_in_clear=True),
        SERVER_AUTHENTICATION,
        "The attacker changes the server's choice on the way: the two ends use different ciphers, or the worse one.",
    ),
    _mutant(
        "no ekem1",
        _without("ekem1"),
        "XXhfs: client's data and credentials stay secret when X25519 breaks",
        "Who has recorded a session and breaks X25519 later reads it: the KEM's key crossed the wire for nothing.",
    ),
    _mutant(
        "client falls back to XX",
        Flaws(falls_back=True),
        "both modes served, long-term keys leaked: data meant for psk0 is secret",
        "An alert that anyone can forge makes the client try without its secret: what the secret was for is lost.",
    ),
)

_SETTING_2021 = Setting(patterns=(PATTERN_2021,))

MUTANTS += (
    Mutant(
        Query(
            "2021 protocol / after challenge the client agrees with the server",
            _SETTING_2021,
            Agreement("c_challenge", "s_challenge", "server"),
            Verdict.FAILS,
            "the server's proof does not cover its session key",
        ),
        "A party's two proofs have one form: as a client of the attacker it makes its server's proof for him.",
    ),
    Mutant(
        Query(
            "2021 protocol / client's data is secret",
            _SETTING_2021,
            Secret(from_client_2021(), (S_PARTY,)),
            Verdict.FAILS,
            "record keys are made from the session keys alone",
        ),
        "The man in the middle takes the proof out of a genuine challenge, puts in his own session key, and reads.",
    ),
    Mutant(
        Query(
            "2021 protocol / after response the server agrees with the client",
            _SETTING_2021,
            Agreement("s_response", "c_response", "client"),
            Verdict.FAILS,
            "the client's proof has the form of the server's",
        ),
        "The same the other way round: the server makes the client's proof, and is answered with it.",
    ),
)
