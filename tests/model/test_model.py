"""Every query about the handshake has the verdict written beside it, from every engine; every mutant is attacked, in
words.
"""

from __future__ import annotations

import functools
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.model import engine, tptp
from tests.model.attacks import tell
from tests.model.handshake_model import Flaws
from tests.model.mutants import MUTANTS, Mutant
from tests.model.queries import PROVERS, QUERIES, Query, Secret, Verdict
from tests.model.saturate import EverythingDerivable, OutOfTime, Rule, Saturation
from tests.model.terms import Term, function, match, subterms, unify, var

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.model.engine import Finding

pytestmark = pytest.mark.xdist_group("model")  # in one process: the queries share what has been derived

ALL = (*QUERIES, *(mutant.query for mutant in MUTANTS))
BATCH = {query: batch for batch in engine.batches(ALL) for query in batch}
Answers = dict[tuple[str, str], Future[Verdict]]


def name_of(query: Query) -> str:
    return query.name


@functools.cache
def findings(batch: tuple[Query, ...]) -> dict[Query, Finding]:
    return engine.decide(batch, engine.SECONDS)


def finding_for(query: Query) -> Finding:
    return findings(BATCH[query])[query]


def questions() -> list[tuple[Query, str]]:
    return [(query, prover) for query in ALL for prover in query.provers]


@pytest.fixture(scope="module")
def answers(request: pytest.FixtureRequest) -> Iterator[Answers]:
    """Asks SPASS and E, two at a time and while other tests run, what the selected tests will want to know."""
    selected = {item.name for item in request.session.items}
    with ThreadPoolExecutor(2) as pool:
        yield {
            (query.name, prover): pool.submit(tptp.decide, query, prover, tptp.SECONDS)
            for query, prover in (() if tptp.missing() else questions())
            if f"test_prover_gives_the_expected_verdict[{prover}: {query.name}]" in selected
        }


@pytest.fixture(autouse=True, scope="module")
def start_provers_first(answers: Answers) -> None:
    """So that they run beside the saturator."""


@pytest.mark.slow
@pytest.mark.shows("model")
@pytest.mark.parametrize("query", QUERIES, ids=name_of)
def test_saturator_gives_the_expected_verdict(query: Query) -> None:
    assert finding_for(query).verdict is query.expected, query.because


@pytest.mark.slow
@pytest.mark.shows("model")
@pytest.mark.parametrize(
    ("query", "prover"),
    [
        pytest.param(query, prover, id=f"{prover}: {query.name}", marks=[pytest.mark.long] * query.slow_for_provers)
        for query, prover in questions()
    ],
)
def test_prover_gives_the_expected_verdict(query: Query, prover: str, answers: Answers) -> None:
    if tptp.missing():
        reason = f"not installed: {', '.join(tptp.missing())} (Debian packages spass and eprover)"
        if os.environ.get("SECURESTREAM_REQUIRE_PROVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    assert answers[query.name, prover].result() is query.expected, query.because


@pytest.mark.slow
@pytest.mark.shows("model-mutants")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.query.name)
def test_mutant_is_attacked_and_the_attack_can_be_told(mutant: Mutant) -> None:
    finding = finding_for(mutant.query)
    assert finding.verdict is Verdict.FAILS
    assert finding.attack is not None
    story = list(tell(mutant.query, finding.attack))
    print(mutant.query.name, mutant.meaning, *story, sep="\n")
    assert len(story) >= 2
    assert all("{" not in line for line in story)


@pytest.mark.slow
@pytest.mark.shows("model-mutants")
@pytest.mark.parametrize(
    "mutant",
    [mutant for mutant in MUTANTS if mutant.query.setting.flaws != Flaws()],
    ids=lambda mutant: mutant.query.name,
)
def test_the_real_protocol_withstands_what_breaks_the_mutant(mutant: Mutant) -> None:
    setting = mutant.query.setting
    real = [query for query in QUERIES if mutant.query.name.endswith(f" / {query.name}")]
    assert [query.goal for query in real] == [mutant.query.goal]
    assert real[0].expected is Verdict.HOLDS
    assert setting.flaws != real[0].setting.flaws


@pytest.mark.shows("model")
@pytest.mark.parametrize("query", [query for query in QUERIES if isinstance(query.goal, Secret)], ids=name_of)
def test_every_secret_is_on_the_wire(query: Query) -> None:
    """A secret that nobody ever sends would be kept by any protocol."""
    assert isinstance(query.goal, Secret)
    said = [
        rule.conclusion for rule in query.setting.rules() if rule.about and rule.conclusion.head in ("att", "later")
    ]
    parts = [part for conclusion in said for part in subterms(conclusion)]
    for message in query.goal.messages:
        assert any(True for part in parts for _ in unify(engine.apart(message), part))


@pytest.mark.shows("model")
@pytest.mark.parametrize("query", [query for query in ALL if query.implied_by], ids=name_of)
def test_who_can_not_do_more_can_not_do_less(query: Query) -> None:
    """A query that SPASS and E are not asked has the goal of one that they are asked, and an attacker who has less."""
    (stronger,) = [other for other in QUERIES if other.name == query.implied_by]
    assert (stronger.goal, stronger.expected) == (query.goal, Verdict.HOLDS)
    assert set(stronger.setting.rules()) > set(query.setting.rules())
    assert stronger.provers == PROVERS


def test_names_of_queries_are_unique() -> None:
    assert len({query.name for query in ALL}) == len(ALL)


# The saturator itself.

att, beg, end, f, dh = (function(head) for head in ("att", "beg", "end", "f", "dh"))
A, B, C = (function(head)() for head in "abc")
X, Y = var(1), var(2)


def saturated(*rules: Rule) -> Saturation:
    saturation = Saturation(rules, frozenset({"point"}))
    saturation.run(10)
    return saturation


def derivable(saturation: Saturation, event: Term) -> bool:
    return any(clause.conclusion.args[0] is event for clause in saturation.ends(event.head))


def test_terms_that_are_equal_are_one_object() -> None:
    assert f(A, X) is f(A, X)
    assert dh(A, B) is dh(B, A)


def test_unification_tries_both_orders_of_a_shared_secret() -> None:
    assert {frozenset(s.items()) for s in unify(dh(X, Y), dh(A, B))} == {
        frozenset({(X, A), (Y, B)}),
        frozenset({(X, B), (Y, A)}),
    }
    assert not list(unify(dh(X, X), dh(A, B)))


def test_unification_of_constants_yields_the_empty_substitution() -> None:
    assert list(unify(A, A)) == [{}]
    assert not list(unify(A, B))


def test_unification_refuses_a_term_inside_itself() -> None:
    assert not list(unify(X, f(X)))


def test_matching_binds_the_pattern_only() -> None:
    assert list(match(f(X), f(Y), {})) == [{X: Y}]
    assert not list(match(f(A), f(Y), {}))


def test_a_message_in_a_tuple_is_known() -> None:
    rules = Rule((), att(function("tuple")(A, B))), Rule((att(B),), end(f(B)))
    assert derivable(saturated(*rules), f(B))


def test_nothing_comes_from_nothing() -> None:
    assert not derivable(saturated(Rule((), att(A)), Rule((att(B),), end(f(B)))), f(B))


def test_the_record_of_what_must_have_happened_is_kept() -> None:
    saturation = saturated(Rule((beg(function("point")(A)),), att(A)), Rule((att(A),), end(f(A))))
    assert [clause.premises for clause in saturation.ends("f")] == [(beg(function("point")(A)),)]


def test_a_model_in_which_everything_is_known_is_refused() -> None:
    with pytest.raises(EverythingDerivable):
        saturated(Rule((), att(X)))


def test_running_out_of_time_is_no_proof() -> None:
    grow = Rule((att(f(X)),), att(f(f(X))))
    with pytest.raises(OutOfTime):
        Saturation([Rule((), att(f(A))), grow], frozenset()).run(0.05)


def test_running_out_of_time_is_undecided_for_every_query() -> None:
    query = QUERIES[0]
    assert engine.decide((query,), 0.0)[query].verdict is Verdict.UNDECIDED


# The reading of the provers.


@pytest.mark.parametrize(
    ("output", "verdict"),
    [
        ("SPASS beiseite: Completion found.", Verdict.HOLDS),
        ("SPASS beiseite: Proof found.", Verdict.FAILS),
        ("SPASS beiseite: Ran out of time.", Verdict.UNDECIDED),
        ("# SZS status Satisfiable", Verdict.HOLDS),
        ("# SZS status Unsatisfiable", Verdict.FAILS),
        ("# SZS status ResourceOut", Verdict.UNDECIDED),
        ("# SZS status GaveUp", Verdict.UNDECIDED),
        ("", Verdict.UNDECIDED),
        ("SPASS beiseite: Proof found. SPASS beiseite: Completion found.", Verdict.UNDECIDED),
    ],
)
def test_only_a_clear_answer_of_a_prover_counts(output: str, verdict: Verdict) -> None:
    assert tptp.read_verdict(output) is verdict
