"""Models messages: the terms of the symbolic (Dolev-Yao) world, and unification on them.

Theory of operation.  A message is a term: a variable, or a function applied to terms.  Cryptography is perfect:
`encrypt(k, n, ad, m)` has no other way in than the rules of `attacker.py`.  One function obeys an equation:
`dh(x, y) = dh(y, x)`.

Noise's chain makes terms that are small as graphs and huge as trees (h goes into every ciphertext and every
ciphertext into the next h).  So terms are interned: equal terms are one object, `is` is equality, and each walk here
visits a shared part once.  The arguments of `dh` are kept in the order of their birth, so equality modulo
commutativity is `is` as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

COMMUTATIVE = "dh"
PAIRING = "tuple"  # Everyone builds a tuple and takes it apart freely.

Substitution = dict["Term", "Term"]


class Term:
    """A variable (head "" and a number) or `head(*args)`.  Never made directly: `var` and `term` intern."""

    __slots__ = ("args", "ground", "head", "mask", "number", "size")

    def __init__(self, head: str, args: tuple[Term, ...], number: int) -> None:
        self.head, self.args, self.number = head, args, number
        self.ground: bool = bool(head) and all(arg.ground for arg in args)
        self.size: int = 1 + sum(arg.size for arg in args)  # As a tree; used only to try small clauses first.
        self.mask: int = _symbol_bit(head) if head else 0  # The set of function symbols, a bit each.
        for arg in args:
            self.mask |= arg.mask

    def __repr__(self) -> str:
        if not self.head:
            return f"X{self.number}"
        return f"{self.head}({', '.join(map(repr, self.args))})" if self.args else self.head


_symbols: dict[str, int] = {}
_variables: dict[int, Term] = {}
_terms: dict[tuple[str, tuple[Term, ...]], Term] = {}


def _symbol_bit(head: str) -> int:
    return 1 << _symbols.setdefault(head, len(_symbols))


def var(number: int) -> Term:
    if number not in _variables:
        _variables[number] = Term("", (), number)
    return _variables[number]


def term(head: str, *args: Term) -> Term:
    if head == COMMUTATIVE and args[0].number > args[1].number:
        args = (args[1], args[0])
    found = _terms.get((head, args))
    if found is None:
        # Numbers of variables are small and of terms large, so variables come first under `dh`.
        found = _terms[head, args] = Term(head, args, 1_000_000_000 + len(_terms))
    return found


class Function(Protocol):
    def __call__(self, *args: Term) -> Term: ...


def function(head: str) -> Function:
    """`hash_ = function("hash")` and then `hash_(h, data)`."""

    def apply(*args: Term) -> Term:
        return term(head, *args)

    return apply


def variables(terms: Iterable[Term]) -> dict[Term, None]:
    """The variables in order of first occurrence."""
    found: dict[Term, None] = {}
    seen: set[Term] = set()
    todo = list(terms)[::-1]
    while todo:
        t = todo.pop()
        if t.ground or t in seen:
            continue
        seen.add(t)
        if t.head:
            todo.extend(reversed(t.args))
        else:
            found[t] = None
    return found


def subterms(whole: Term) -> Iterator[Term]:
    """Each once."""
    seen = {whole}
    todo = [whole]
    while todo:
        t = todo.pop()
        yield t
        fresh = [arg for arg in t.args if arg not in seen]
        seen.update(fresh)
        todo.extend(fresh)


def rename(t: Term, names: Substitution, memo: Substitution) -> Term:
    """Replaces variables once; `memo` may be shared by terms that are renamed alike."""
    if t.ground:
        return t
    if not t.head:
        return names[t]
    if t not in memo:
        memo[t] = term(t.head, *[rename(arg, names, memo) for arg in t.args])
    return memo[t]


def substitute(t: Term, s: Substitution, memo: Substitution) -> Term:
    """Applies a triangular substitution (its values may hold variables that it binds too)."""
    if t.ground:
        return t
    if t not in memo:
        if t.head:
            memo[t] = term(t.head, *[substitute(arg, s, memo) for arg in t.args])
        else:
            memo[t] = substitute(s[t], s, memo) if t in s else t
    return memo[t]


def _walk(t: Term, s: Substitution) -> Term:
    while not t.head and t in s:
        t = s[t]
    return t


def _occurs(v: Term, t: Term, s: Substitution) -> bool:
    seen: set[Term] = set()
    todo = [t]
    while todo:
        t = _walk(todo.pop(), s)
        if t is v:
            return True
        if t.head and not t.ground and t not in seen:
            seen.add(t)
            todo.extend(t.args)
    return False


Pairs = list[tuple[Term, Term]]


def unify(a: Term, b: Term) -> Iterator[Substitution]:
    """A complete set of unifiers modulo commutativity of `dh`."""
    return _unify([(a, b)], {}, set())


def _unify(todo: Pairs, s: Substitution, done: set[tuple[Term, Term]]) -> Iterator[Substitution]:
    while todo:
        a, b = todo.pop()
        a, b = _walk(a, s), _walk(b, s)
        if a is b or (a, b) in done:
            continue
        if not a.head or not b.head:
            v, t = (b, a) if a.head else (a, b)
            if _occurs(v, t, s):
                return
            s[v] = t
            continue
        if a.head != b.head or len(a.args) != len(b.args) or (a.ground and b.ground):
            return
        done.add((a, b))
        if a.head == COMMUTATIVE:
            for right in (b.args, b.args[::-1]):
                yield from _unify([*todo, *zip(a.args, right, strict=True)], dict(s), set(done))
            return
        todo.extend(zip(a.args, b.args, strict=True))
    yield s


def match(pattern: Term, t: Term, s: Substitution) -> Iterator[Substitution]:
    """Every extension of `s` that turns `pattern` into `t`, whose variables are constants here."""
    return _match([(pattern, t)], s, set())


def _match(todo: Pairs, s: Substitution, done: set[tuple[Term, Term]]) -> Iterator[Substitution]:
    todo, s = list(todo), dict(s)
    while todo:
        p, t = todo.pop()
        if not p.head:
            if s.setdefault(p, t) is not t:
                return
        elif p.ground or (p, t) in done:
            if p.ground and p is not t:
                return
        elif p.head != t.head or len(p.args) != len(t.args) or p.mask & ~t.mask:
            return
        elif p.head == COMMUTATIVE:
            done.add((p, t))
            for right in (t.args, t.args[::-1]):
                yield from _match([*todo, *zip(p.args, right, strict=True)], s, set(done))
            return
        else:
            done.add((p, t))
            todo.extend(zip(p.args, t.args, strict=True))
    yield s
