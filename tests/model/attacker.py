"""Models the attacker: the network is his, cryptography is perfect, and some long-term keys are his too.

He may put any group element `public(X)` into a Diffie-Hellman and on the wire, even one that he has never seen: more
than he can do, and there are fewer clauses.  What he may not have seen is `named(s)`, a static public key as bytes on
the wire: who learns one, learns who takes part.  Unless identities are what is asked about, all are known.

A second predicate, later(..), is what he knows once keys leaked after the sessions (forward secrecy).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.noise_model import dh, encapsulated, encrypt, kem_output, kem_public, named, public
from tests.model.saturate import Rule
from tests.model.terms import Term, function, var

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

att, later, beg, end = function("att"), function("later"), function("beg"), function("end")
static = function("static")  # The long-term private key of a party, usable as client, server and middlebox.
leaked = function("leaked")  # beg(leaked(i)): the attacker asked for i's long-term key and got it.
record = function("record")  # record(suite, key, plain)
PSK = function("psk")()

# What the attacker can compute from its parts, with the number of parts.
CONSTRUCTORS = {"hash": 2, "hkdf1": 2, "hkdf2": 2, "hkdf3": 2, "encrypt": 4, "record": 3, "route_key": 3}
_WORDS = {
    "encrypt": "the attacker encrypts {part_4} under a key that he knows",
    "record": "the attacker makes a record of {part_3} under a key that he knows",
}


# The same for the KEM, where a setting has one.
KEM_CONSTRUCTORS = {"kem_public": 1, "encapsulated": 2, "kem_output": 2}


def knowledge(*, phase: str = "att", identities_known: bool = True, kem: bool = False) -> Iterator[Rule]:
    """What follows from what he knows."""
    known = function(phase)
    x, y, z, m = (var(number) for number in range(1, 5))
    for head, arity in (CONSTRUCTORS | (KEM_CONSTRUCTORS if kem else {})).items():
        parts = [var(number) for number in range(1, arity + 1)]
        about = tuple((f"part_{number}", part) for number, part in enumerate(parts, start=1))
        yield Rule(tuple(map(known, parts)), known(function(head)(*parts)), _WORDS.get(head, ""), about)
    yield Rule((known(x), known(encrypt(x, y, z, m))), known(m), "the attacker decrypts {m}", (("m", m),))
    yield Rule((known(x), known(record(y, x, m))), known(m), "the attacker decrypts a record: {m}", (("m", m),))
    if kem:
        opened = known(kem_output(kem_public(x), y))
        words = "the attacker decapsulates with a key that he knows"
        yield Rule((known(x), known(encapsulated(kem_public(x), y))), opened, words)
    yield Rule((), known(public(x)))
    yield Rule((known(x),), known(dh(x, y)), "the attacker computes DH({x}, {y})", (("x", x), ("y", public(y))))
    yield Rule(() if identities_known else (known(x),), known(named(x)))


def constants(heads: Iterable[str]) -> Iterator[Rule]:
    for head in heads:
        yield Rule((), att(function(head)()))


def leak_on_request() -> Rule:
    """Of any party; the beg(..) premise keeps the record of whose."""
    i = var(1)
    return Rule((beg(leaked(i)),), att(static(i)), "the long-term key of {i} has leaked", (("i", i),))


def leak_of(party: Term) -> Rule:
    return Rule((), att(static(party)), "the long-term key of {i} has leaked", (("i", party),))


def leak_of_secret() -> Rule:
    return Rule((), att(PSK), "the shared secret has leaked")


def x25519_breaks_afterwards() -> Rule:
    """After the sessions every private key of X25519 is computed, so that every Diffie-Hellman is known."""
    return Rule((), later(dh(var(1), var(2))), "after the session X25519 is broken")


def leaks_afterwards(parties: Iterable[Term], *, identities_known: bool, kem: bool = False) -> Iterator[Rule]:
    """After the sessions the secret and these parties' long-term keys leak."""
    yield Rule((att(var(1)),), later(var(1)))
    yield from knowledge(phase="later", identities_known=identities_known, kem=kem)
    yield Rule((), later(PSK), "after the session the shared secret leaks")
    for party in parties:
        yield Rule((), later(static(party)), "after the session the long-term key of {i} leaks", (("i", party),))
