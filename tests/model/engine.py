"""Models judgement: decides queries with the saturator of this package.

For secrecy, `end(told(..))` is added to the rules; the saturated clauses that conclude it are all the ways to the
secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.model.attacker import att, end, later
from tests.model.flawed_2021 import PATTERN as PATTERN_2021
from tests.model.handshake_model import NO_FLAWS, mode
from tests.model.queries import Agreement, Query, Secret, Unreachable, Verdict
from tests.model.saturate import Clause, OutOfTime, Rule, Saturation
from tests.model.terms import Term, function, substitute, unify, var, variables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.model.settings import Setting

SECONDS = 180.0  # For one saturation, which takes a few; running out of them is a failure.


@dataclass(frozen=True)
class Finding:
    verdict: Verdict
    attack: Clause | None = None


def told(goal: Secret, message: Term) -> Term:
    """The event that the attacker has the message; it names the message and whose leak excuses that."""
    return function("told_later" if goal.afterwards else "told")(message, *goal.excuses)


def goal_rules(goal: Secret) -> Iterator[Rule]:
    known = later if goal.afterwards else att
    for message in goal.messages:
        yield Rule((known(message),), end(told(goal, message)), "the attacker knows {m}", (("m", message),))


def batches(queries: Iterable[Query]) -> list[tuple[Query, ...]]:
    """Queries that share a saturation: those about the real protocol, by setting.

    Mutants are asked one thing each: with the events of several queries the 2021 protocol's saturation does not end.
    """
    grouped: dict[tuple[Setting, str], list[Query]] = {}
    for query in queries:
        real = query.setting.flaws == NO_FLAWS and query.setting.patterns != (PATTERN_2021,)
        grouped.setdefault((query.setting, "" if real else query.name), []).append(query)
    return [tuple(batch) for batch in grouped.values()]


def decide(queries: tuple[Query, ...], seconds: float) -> dict[Query, Finding]:
    """All these queries of one setting from one saturation."""
    setting = queries[0].setting
    assert all(query.setting == setting for query in queries)
    saturation = Saturation(rules_for(setting, queries), events_for(queries))
    try:
        saturation.run(seconds)
    except OutOfTime:
        return dict.fromkeys(queries, Finding(Verdict.UNDECIDED))
    return {query: judge(query, saturation) for query in queries}


def rules_for(setting: Setting, queries: tuple[Query, ...]) -> Iterator[Rule]:
    """The setting's rules, without conclusions that no query asks about."""
    asked = {goal.end for goal in (query.goal for query in queries) if isinstance(goal, Agreement)}
    asked |= {goal.event for goal in (query.goal for query in queries) if isinstance(goal, Unreachable)}
    for rule in setting.rules():
        if rule.conclusion.head != "end" or rule.conclusion.args[0].head in asked:
            yield rule
    yield from dict.fromkeys(
        rule for query in queries if isinstance(query.goal, Secret) for rule in goal_rules(query.goal)
    )


def events_for(queries: tuple[Query, ...]) -> frozenset[str]:
    """The beg(..) premises that the queries look at."""
    return frozenset({"leaked", *(query.goal.begin for query in queries if isinstance(query.goal, Agreement))})


def judge(query: Query, saturation: Saturation) -> Finding:
    goal = query.goal
    if isinstance(goal, Secret):
        bad = [
            clause for clause in _tellings(goal, saturation) if not _excused(clause, clause.conclusion.args[0].args[1:])
        ]
    elif isinstance(goal, Unreachable):
        bad = [clause for clause in saturation.ends(goal.event) if not _leaks(clause)]
    else:
        ends = [clause for clause in saturation.ends(goal.end) if _in_mode(clause.conclusion.args[0], goal.pattern)]
        if not ends:
            return Finding(Verdict.EMPTY)
        bad = [clause for clause in ends if not _agrees(clause, goal)]
    if not bad:
        return Finding(Verdict.HOLDS)
    return Finding(Verdict.FAILS, min(bad, key=lambda clause: (len(clause.premises), clause.size)))


def _tellings(goal: Secret, saturation: Saturation) -> Iterator[Clause]:
    """Conclusions about this goal's messages; those about other goals do not unify."""
    for message in goal.messages:
        event = apart(told(goal, message))
        for clause in saturation.ends(event.head):
            if next(unify(event, clause.conclusion.args[0]), None) is not None:
                yield clause


def apart(t: Term) -> Term:
    return substitute(t, {v: var(v.number + 1_000_000) for v in variables([t])}, {})


def begun(clause: Clause) -> list[Term]:
    return [fact.args[0] for fact in clause.premises if fact.head == "beg"]


def _leaks(clause: Clause) -> list[Term]:
    return [event.args[0] for event in begun(clause) if event.head == "leaked"]


def _excused(clause: Clause, parties: Iterable[Term]) -> bool:
    leaks = _leaks(clause)
    return any(party in leaks for party in parties)


def _in_mode(event: Term, pattern: str) -> bool:
    """The fourth argument of an event is the header; its first field is the mode."""
    return not pattern or event.args[3].args[0] is mode(pattern)


def _agrees(clause: Clause, goal: Agreement) -> bool:
    reached = clause.conclusion.args[0]
    session, *agreed = reached.args
    if goal.excuse:
        peer = agreed[("client", "server").index(goal.excuse)]  # public(static(party))
        if _excused(clause, [peer.args[0].args[0]]):
            return True
    partners = [event for event in begun(clause) if event.head == goal.begin and list(event.args[1:]) == agreed]
    return any(not goal.injective or _holds_fresh_name_of(session, event) for event in partners)


def _holds_fresh_name_of(session: Term, event: Term) -> bool:
    """Whether the partner's event mentions an ephemeral key that this session made.

    Then two sessions never share a partner: each made its own ephemeral key, and a partner's one event names one.
    """
    for arg in event.args:
        if arg.head == "public" and arg.args[0].head in ("e_client", "e_server") and arg.args[0].args[0] is session:
            return True
    return False
