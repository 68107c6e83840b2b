"""Models deduction: everything that an attacker and unboundedly many sessions can bring about, saturated.

Theory of operation.  A rule says "from these premises follows this conclusion".  The facts are
    att(m), later(m)   the attacker knows m during the sessions; and after long-term keys leaked
    beg(e)             an honest party has reached point e (a premise only: it is recorded, never resolved)
    end(e)             what a query asks about

Resolution with free selection (Weidenbach 1999, Blanchet 2001): in a clause a premise about a message that is not a
variable is selected, and resolved with each clause that has nothing selected.  When no new clause comes, every
derivable end(e) is an instance of the conclusion of a clause with nothing selected, and that clause's beg(..)
premises are what must have happened.  This holds for any number of sessions, as session numbers are variables.  What
is not a proof is never reported as one: running out of time raises.

The other direction is weaker: a derivation found may use one session twice with different inputs, which no real
session does.  Names made by a party are therefore functions of all that the party has chosen and heard before (see
handshake_model.py).
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.model.terms import PAIRING, Substitution, Term, match, rename, substitute, term, unify, var, variables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KNOWLEDGE = ("att", "later")

# Which premise to look at first: what the attacker can hardly ever know kills a hopeless clause at once.
_SELECTION_ORDER = ("dh", "hkdf1", "hkdf2", "hkdf3", "public", "encrypt", "record", "hash")
_RANK = {head: rank for rank, head in enumerate(_SELECTION_ORDER, start=1)}


@dataclass(frozen=True)
class Rule:
    """An input clause and what it means in words, `{names}` standing for the terms in `about`."""

    premises: tuple[Term, ...]
    conclusion: Term
    words: str = ""
    about: tuple[tuple[str, Term], ...] = ()


@dataclass(eq=False)
class Clause:
    premises: tuple[Term, ...]
    conclusion: Term
    origin: Rule | Resolution
    names: Substitution = field(repr=False)  # From the origin's variables to this clause's.
    selected: Term | None = field(init=False)
    mask: int = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.selected = _select(self.premises)
        self.mask, self.size = self.conclusion.mask, self.conclusion.size
        for fact in self.premises:
            self.mask |= fact.mask
            self.size += fact.size

    def __repr__(self) -> str:
        return f"{' & '.join(map(repr, self.premises))} -> {self.conclusion!r}"


@dataclass(frozen=True)
class Resolution:
    """Where a derived clause comes from: the fact of `giver` fed the selected premise of `taker`, by its unifier
    number `which`.
    """

    giver: Clause
    taker: Clause
    which: int


def _select(premises: tuple[Term, ...]) -> Term | None:
    choices = [fact for fact in premises if fact.head in KNOWLEDGE and fact.args[0].head]
    return min(choices, key=lambda fact: _RANK.get(fact.args[0].head, 0), default=None)


def _parts(fact: Term) -> list[Term]:
    """att((a, b)) is att(a) and att(b)."""
    if fact.head in KNOWLEDGE and fact.args[0].head == PAIRING:
        return [part for arg in fact.args[0].args for part in _parts(term(fact.head, arg))]
    return [fact]


def _says_everything(clause: Clause) -> bool:
    """Whether the clause gives the attacker any message x without his knowing x."""
    message = clause.conclusion.args[0]
    if clause.conclusion.head not in KNOWLEDGE or message.head or clause.selected is not None:
        return False
    return not any(fact.head in KNOWLEDGE and fact.args[0] is message for fact in clause.premises)


class OutOfTime(Exception):
    """Saturation did not end within its deadline: nothing is proved."""


class EverythingDerivable(Exception):
    """The rules let the attacker know every message: the model is broken."""


class Saturation:
    """Give it rules, call `run`, read `ends`."""

    def __init__(self, rules: Iterable[Rule], events: frozenset[str]) -> None:
        """`events`: which beg(..) premises to record.  Others are dropped, which only adds derivations."""
        self._events = events
        self._queue: list[tuple[int, int, Clause]] = []
        self._serial = itertools.count()
        self._by_conclusion: dict[tuple[str, str], list[Clause]] = defaultdict(list)  # All kept clauses.
        self._facts: dict[str, list[Clause]] = defaultdict(list)  # Those with nothing selected, by predicate.
        self._seekers: dict[str, list[Clause]] = defaultdict(list)  # Those with a selected premise, by predicate.
        for rule in rules:
            for conclusion in _parts(rule.conclusion):
                self._add(rule.premises, conclusion, rule)

    def run(self, seconds: float) -> int:
        """Saturates; returns how many clauses were kept."""
        deadline = time.monotonic() + seconds
        kept = 0
        while self._queue:
            if time.monotonic() > deadline:
                raise OutOfTime(f"{kept} clauses kept, {len(self._queue)} waiting")
            clause = heapq.heappop(self._queue)[2]
            if any(subsumes(other, clause) for other in self._candidates(clause)):
                continue
            self._keep(clause)
            kept += 1
            self._resolve_with_all(clause)
        return kept

    def ends(self, event: str) -> Iterator[Clause]:
        for clause in self._facts["end"]:
            if clause.conclusion.args[0].head == event:
                yield clause

    def _candidates(self, clause: Clause) -> Iterator[Clause]:
        fact = clause.conclusion
        yield from self._by_conclusion[fact.head, fact.args[0].head]
        if fact.args[0].head:
            yield from self._by_conclusion[fact.head, ""]

    def _keep(self, clause: Clause) -> None:
        fact = clause.conclusion
        bucket = self._by_conclusion[fact.head, fact.args[0].head]
        for old in [old for old in bucket if subsumes(clause, old)]:
            bucket.remove(old)
            self._shelf(old).remove(old)
        bucket.append(clause)
        self._shelf(clause).append(clause)

    def _shelf(self, clause: Clause) -> list[Clause]:
        if clause.selected is None:
            return self._facts[clause.conclusion.head]
        return self._seekers[clause.selected.head]

    def _resolve_with_all(self, clause: Clause) -> None:
        if clause.selected is not None:
            for giver in list(self._facts[clause.selected.head]):
                self._resolve(giver, clause)
        elif clause.conclusion.head in KNOWLEDGE:
            for taker in list(self._seekers[clause.conclusion.head]):
                self._resolve(clause, taker)

    def _resolve(self, giver: Clause, taker: Clause) -> None:
        for which, (premises, conclusion, _) in enumerate(resolvents(giver, taker)):
            for part in _parts(conclusion):
                self._add(premises, part, Resolution(giver, taker, which))

    def _add(self, premises: tuple[Term, ...], conclusion: Term, origin: Rule | Resolution) -> None:
        tidied = self._tidy(premises, conclusion)
        if tidied is None:
            return
        facts, names = normalise((*tidied, conclusion))
        clause = Clause(facts[:-1], facts[-1], origin, names)
        if _says_everything(clause):
            raise EverythingDerivable(repr(clause))
        heapq.heappush(self._queue, (clause.size, next(self._serial), clause))

    def _tidy(self, premises: tuple[Term, ...], conclusion: Term) -> list[Term] | None:
        """Splits tuples, drops repeated and unneeded premises; None for a clause that says nothing new."""
        facts: dict[Term, None] = {}
        for premise in premises:
            if premise.head != "beg" or premise.args[0].head in self._events:
                facts.update(dict.fromkeys(_parts(premise)))
        if conclusion in facts:
            return None
        for fact in list(facts):
            message = fact.args[0]
            if fact.head == "later" and term("att", message) in facts:
                del facts[fact]
            elif fact.head in KNOWLEDGE and not message.head:
                # The attacker knows something: a message that nothing else mentions is no condition.
                others = variables([conclusion, *(other for other in facts if other is not fact)])
                if message not in others:
                    del facts[fact]
        return list(facts)


def normalise(facts: Iterable[Term]) -> tuple[tuple[Term, ...], Substitution]:
    """Renames variables to 1, 2, 3... in order of occurrence."""
    facts = tuple(facts)
    names = {v: var(number) for number, v in enumerate(variables(facts), start=1)}
    memo: Substitution = {}
    return tuple(rename(fact, names, memo) for fact in facts), names


APART = 100_000


def move_apart(names: Iterable[Term]) -> Substitution:
    return {v: var(v.number + APART) for v in names}


def resolvents(giver: Clause, taker: Clause) -> Iterator[tuple[tuple[Term, ...], Term, Substitution]]:
    """Premises, conclusion and unifier of each way to feed `giver`'s fact to `taker`; giver's variables are moved
    apart.
    """
    assert taker.selected is not None
    own = (*giver.premises, giver.conclusion)
    names = move_apart(variables(own))
    memo: Substitution = {}
    moved = [rename(fact, names, memo) for fact in own]
    rest = [fact for fact in taker.premises if fact is not taker.selected]
    for s in unify(moved[-1], taker.selected):
        done: Substitution = {}
        premises = tuple(substitute(fact, s, done) for fact in (*moved[:-1], *rest))
        yield premises, substitute(taker.conclusion, s, done), s


def subsumes(general: Clause, special: Clause) -> bool:
    """`special` says nothing beyond `general`.  Premises map to distinct premises, so that the search ends."""
    if len(general.premises) > len(special.premises) or general.mask & ~special.mask:
        return False
    order = sorted(general.premises, key=lambda fact: -fact.size)
    return any(_covers(order, list(special.premises), s) for s in match(general.conclusion, special.conclusion, {}))


def _covers(general: list[Term], special: list[Term], s: Substitution) -> bool:
    if not general:
        return True
    for index, fact in enumerate(special):
        if fact.head == general[0].head:
            for extended in match(general[0], fact, s):
                if _covers(general[1:], special[:index] + special[index + 1 :], extended):
                    return True
    return False
