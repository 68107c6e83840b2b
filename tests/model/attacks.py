"""Models the telling: turns a derivation found by the saturator into an attack in words.

A clause remembers the two clauses that it was resolved from.  Replaying those resolutions carries the words of the
rules along, and what the names in them stand for, down to the clause that answers the query.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.model.engine import begun
from tests.model.handshake_model import ACCEPT, DATA
from tests.model.queries import Agreement, Query
from tests.model.saturate import APART, Clause, Rule, resolvents
from tests.model.terms import Substitution, Term, rename, substitute, var, variables

if TYPE_CHECKING:
    from collections.abc import Iterator

_spare = itertools.count(10_000_000)  # Variables that a clause has forgotten and its story still mentions.


@dataclass(frozen=True)
class Step:
    """A rule's words and what the names in them stand for."""

    words: str
    about: tuple[tuple[str, Term], ...]

    def change(self, names: Substitution, *, triangular: bool) -> Step:
        memo: Substitution = {}
        if triangular:
            return Step(self.words, tuple((name, substitute(t, names, memo)) for name, t in self.about))
        for v in variables(t for _, t in self.about):
            names.setdefault(v, v if v.number >= 10_000_000 else var(next(_spare)))
        return Step(self.words, tuple((name, rename(t, names, memo)) for name, t in self.about))


def replay(clause: Clause, memo: dict[Clause, list[Step]] | None = None) -> list[Step]:
    """The steps behind a clause, in its own variables, causes before effects."""
    memo = {} if memo is None else memo
    if clause not in memo:
        if isinstance(clause.origin, Rule):
            steps = [Step(clause.origin.words, clause.origin.about)]
        else:
            giver, taker, which = clause.origin.giver, clause.origin.taker, clause.origin.which
            unifier = next(itertools.islice(resolvents(giver, taker), which, None))[2]
            apart = [_move(step) for step in replay(giver, memo)]
            steps = [step.change(unifier, triangular=True) for step in (*apart, *replay(taker, memo))]
        names = dict(clause.names)
        memo[clause] = list(dict.fromkeys(step.change(names, triangular=False) for step in steps if step.words))
    return memo[clause]


def _move(step: Step) -> Step:
    names = {v: var(v.number + APART) for v in variables(t for _, t in step.about) if v.number < APART}
    return step.change(names, triangular=False)


_KINDS = {
    "hash": "h",
    "hkdf1": "ck",
    "hkdf2": "k",
    "hkdf3": "k",
    "e_client": "e",
    "e_server": "f",
    "encrypt": "ciphertext ",
    "route_key": "route key ",
}
_SAYINGS = {
    "static": "{0}'s private key",
    "public": "public({0})",
    "named": "public({0})",
    "dh": "DH({0}, {1})",
    "record": "record of {2}",
    "client_data": "the data of {1}'s client, session {0}",
    "server_data": "the answer of {1}'s server, session {0}",
    "credentials": "the credentials of {1}'s client, session {0}",
    "server_payload": "the server payload of session {0}",
    "other": "third party {0}",
}
_POINTS = {
    "c_hello": "no client sent this hello",
    "s_challenge": "no run of the server's sent this challenge",
    "c_response": "no run of the client's sent this response",
    "s_verdict": "no run of the server's has accepted anyone",
}
_AGREED = ("client", "server", "header", "client's ephemeral key", "server's ephemeral key", "suite", "h", "key", "key")


class Namer:
    """Short names for long terms: the same term has the same name through one story."""

    def __init__(self) -> None:
        self._names: dict[Term, str] = {}
        self._counts: dict[str, int] = {}

    def name(self, t: Term) -> str:
        if t.head == "holder":
            inner = t.args[0]
            return self.name(inner.args[0]) if inner.head == "static" else f"the holder of {self.name(inner)}"
        if t.head == "tuple":
            return ", ".join(self.name(arg) for arg in t.args if arg not in (ACCEPT, DATA))
        if t.head in _SAYINGS:
            return _SAYINGS[t.head].format(*map(self.name, t.args))
        if t.head and not t.args:
            return t.head.replace("_", " ") if t.head != t.head.lower() or "_" in t.head else t.head.capitalize()
        return self._numbered(t)

    def _numbered(self, t: Term) -> str:
        kind = _KINDS.get(t.head, t.head) if t.head else "x"
        if t not in self._names:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._names[t] = f"{kind}{self._counts[kind]}"
        return self._names[t]

    def introduce(self, steps: list[Step]) -> None:
        """A variable in the place of a party or a session is any one of them: A, B, C... and 1, 2, 3..."""
        letters, numbers = iter("ABCDEFGHKLMNPQRSTUVWXYZ"), itertools.count(1)
        for step in steps:
            for name, t in step.about:
                party = t.args[0].args[0] if t.head == "holder" and t.args[0].head == "static" else t
                named = party is not t or name in ("i", "client", "server")
                if name == "session" and t not in self._names:
                    self._names[t] = str(next(numbers))
                elif named and not party.head and party not in self._names:
                    self._names[party] = next(letters)


def tell(query: Query, attack: Clause) -> Iterator[str]:
    """The attack, a line a step; causes stand before effects, which is not always the order in time.  Names like x1
    stand for values of the attacker's choice, or for any party.
    """
    namer, steps = Namer(), replay(attack)
    namer.introduce(steps)
    told = dict.fromkeys(step.words.format(**{name: namer.name(t) for name, t in step.about}) for step in steps)
    for number, text in enumerate(told, start=1):
        yield f"{number}. {text[0].upper()}{text[1:]}."
    if isinstance(query.goal, Agreement):
        yield f"   {_disagreement(query.goal, attack)}"


def _disagreement(goal: Agreement, attack: Clause) -> str:
    """What is wrong with that belief."""
    reached = attack.conclusion.args[0]
    partners = [event for event in begun(attack) if event.head == goal.begin]
    if not partners:
        return f"But {_POINTS[goal.begin]}."
    partner = min(partners, key=lambda event: len(_differences(reached, event)))
    differences = _differences(reached, partner)
    if not differences:
        return "But that belief can be had again and again for one act of the peer: a replay."
    return f"But the peer's own view differs in: {', '.join(dict.fromkeys(differences))}."


def _differences(reached: Term, partner: Term) -> list[str]:
    pairs = zip(reached.args[1:], partner.args[1:], strict=True)
    return [label for label, (ours, theirs) in zip(_AGREED, pairs, strict=False) if ours is not theirs]
