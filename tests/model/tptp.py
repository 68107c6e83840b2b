"""Models the same rules in the language of two general provers, SPASS and E: a second and third opinion on questions
of reachability.

Nothing is abstracted on the way: each rule is a clause, and tuples get the rules that the saturator has built in.
That `dh` is commutative is said to the two provers in two ways, to each in the one with which it ends:
    SPASS  by the axiom dh(x, y) = dh(y, x)
    E      without an equation: everyone may write each shared secret in either order, a clause for each choice
The two say the same.  A derivation with the equation becomes one without by writing every secret in one fixed order
of the terms, and a derivation without it is one with it.

The goal's negation is added.  A refutation is a derivation of the goal; a completed search without one is a proof
that there is none.  Everything else, time-out included, is "undecided".

Parties: alice is the client of the query and bob the server; every further party's key, `other(x)`, has leaked, and
so has that of the one of the two whose leak does not excuse the loss.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.model.attacker import att, end, later, leak_of, static
from tests.model.handshake_model import C_PARTY, S_PARTY
from tests.model.noise_model import public
from tests.model.queries import Query, Secret, Unreachable, Verdict
from tests.model.saturate import Rule
from tests.model.settings import ALICE, BOB, Cast, other
from tests.model.terms import COMMUTATIVE, PAIRING, Term, function, substitute, subterms, var

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Of processor time for one question, which takes a few, in the long run most of a minute; running out of them is a
# failure. SPASS counts the clock's, and gets more of them: other programs run, too.
SECONDS = 120
BY_THE_CLOCK = 6
COMMANDS = {
    # Neither option costs completeness: -Auto=1 leaves all to SPASS, -W picks among E's selections of negative
    # literals, any of which is complete.  E says "Satisfiable" only when it is.
    "SPASS": ("SPASS", "-TPTP", "-Auto=1", "-PGiven=0", "-PProblem=0", "-TimeLimit={by_the_clock}"),
    "E": (
        "eprover",
        "--silent",
        "--literal-selection-strategy=SelectMaxLComplexAPPNTNp",
        "--term-ordering=LPO4",
        "--cpu-limit={seconds}",
    ),
}
_HOLDS = ("SPASS beiseite: Completion found", "SZS status Satisfiable")
_FAILS = ("SPASS beiseite: Proof found", "SZS status Unsatisfiable")


def missing() -> list[str]:
    return [command[0] for command in COMMANDS.values() if shutil.which(command[0]) is None]


def decide(query: Query, prover: str, seconds: int) -> Verdict:
    with tempfile.TemporaryDirectory() as folder:
        problem = Path(folder, "problem.p")
        problem.write_text("\n".join(clauses(query, prover)) + "\n")
        by_the_clock = BY_THE_CLOCK * seconds
        command = [part.format(seconds=seconds, by_the_clock=by_the_clock) for part in COMMANDS[prover]]
        try:
            done = subprocess.run(
                [*command, str(problem)], check=False, capture_output=True, text=True, timeout=by_the_clock + 1
            )
        except subprocess.TimeoutExpired:
            return Verdict.UNDECIDED
    return read_verdict(done.stdout)


def read_verdict(output: str) -> Verdict:
    holds, fails = (any(sign in output for sign in signs) for signs in (_HOLDS, _FAILS))
    if holds == fails:
        return Verdict.UNDECIDED
    return Verdict.HOLDS if holds else Verdict.FAILS


def clauses(query: Query, prover: str) -> Iterator[str]:
    """The problem: is the goal derivable?"""
    rules = [*_reachability_rules(query), *_leaks(query)]
    arities = {
        len(t.args) for rule in rules for fact in (*rule.premises, rule.conclusion) for t in _subterms(fact, PAIRING)
    }
    if prover == "SPASS":
        yield "cnf(commutativity, axiom, f_dh(X, Y) = f_dh(Y, X))."
    for predicate in sorted({rule.conclusion.head for rule in rules} & {"att", "later"}):
        for arity in sorted(arities):
            yield from _tuple_clauses(predicate, arity)
    for number, rule in enumerate(rules):
        for swapped in _orders(rule) if prover == "E" else [frozenset[Term]()]:
            yield _clause(f"rule_{number}", rule.premises, rule.conclusion, swapped)
    for goal in _goals(query):
        yield f"cnf(goal, negated_conjecture, ~ {_text(goal, frozenset())})."


def _orders(rule: Rule) -> Iterator[frozenset[Term]]:
    """Which of the rule's shared secrets to write the other way round: each choice."""
    secrets = list(dict.fromkeys(t for fact in (*rule.premises, rule.conclusion) for t in _subterms(fact, COMMUTATIVE)))
    for choice in itertools.product((False, True), repeat=len(secrets)):
        yield frozenset(itertools.compress(secrets, choice))


def _reachability_rules(query: Query) -> Iterator[Rule]:
    """Without beg(..) premises, leaks on request, and conclusions about other queries."""
    for rule in query.setting.rules():
        if any(fact.head == "beg" and fact.args[0].head == "leaked" for fact in rule.premises):
            continue
        conclusion = rule.conclusion
        if conclusion.head == "end":
            if not isinstance(query.goal, Unreachable) or conclusion.args[0].head != query.goal.event:
                continue
            conclusion = _who(conclusion.args[0])
        yield Rule(tuple(fact for fact in rule.premises if fact.head != "beg"), conclusion)


def _who(event: Term) -> Term:
    """Of an event only which client and which server: all that reachability asks."""
    return end(function(event.head)(*event.args[1:3]))


def _goals(query: Query) -> list[Term]:
    """None of these is derivable, says the query."""
    if isinstance(query.goal, Secret):
        known = later if query.goal.afterwards else att
        return [known(substitute(message, {C_PARTY: ALICE, S_PARTY: BOB}, {})) for message in query.goal.messages]
    assert isinstance(query.goal, Unreachable)
    return [end(function(query.goal.event)(public(static(ALICE)), public(static(BOB))))]


def _leaks(query: Query) -> Iterator[Rule]:
    if query.setting.cast is not Cast.ANYONE or query.setting.all_keys_leaked:
        return
    yield leak_of(other(var(1)))
    if isinstance(query.goal, Secret):
        for party, name in ((C_PARTY, ALICE), (S_PARTY, BOB)):
            if party not in query.goal.excuses:
                yield leak_of(name)


def _subterms(fact: Term, head: str) -> Iterator[Term]:
    return (t for t in subterms(fact) if t.head == head)


def _tuple_clauses(predicate: str, arity: int) -> Iterator[str]:
    known = function(predicate)
    parts = [var(number) for number in range(arity)]
    whole = known(function(PAIRING)(*parts))
    yield _clause(f"{predicate}_pair_{arity}", map(known, parts), whole)
    for number, part in enumerate(parts):
        yield _clause(f"{predicate}_part_{arity}_{number}", (whole,), known(part))


def _clause(name: str, premises: Iterable[Term], conclusion: Term, swapped: frozenset[Term] = frozenset()) -> str:
    literals = [f"~ {_text(fact, swapped)}" for fact in premises] + [_text(conclusion, swapped)]
    return f"cnf({name}, axiom, {' | '.join(literals)})."


def _text(t: Term, swapped: frozenset[Term]) -> str:
    if not t.head:
        return f"X{t.number}"
    # A symbol of TPTP has one arity, and begins with a small letter.
    name = f"f_{t.head.lower().replace('+', '_')}" + (str(len(t.args)) if t.head == PAIRING else "")
    args = t.args[::-1] if t in swapped else t.args
    return f"{name}({', '.join(_text(arg, swapped) for arg in args)})" if args else name
