"""Secrets are compared in constant time only: the source is read, and held against a list of names.

What counts as secret is known by its name: keys, shared secrets, what is derived from them, hashes of the transcript,
tags. An expression with such a name in it may be no operand of `==`, `in` and the like, no subject of `match`, and
nothing that `if` or `while` looks into. `hmac.compare_digest` and libsodium may look. It is a matter of names, so it
can be fooled; who writes `if key == other` is told at once.
"""

from __future__ import annotations

import ast
import hmac
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import securestream
from securestream.protocol.keys import PrivateKey, PublicKey, SharedSecret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.shows("constant-time")

PACKAGE = Path(securestream.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))

# --- what is secret ---------------------------------------------------------------------------------------

# Names of variables, arguments, attributes, and of functions whose result is secret. Public keys are among them where
# they have the same name as a secret: comparing them in constant time costs nothing.
SECRET = {
    # long-term and ephemeral keys, shared secrets
    *("raw", "_raw", "key", "_key", "private_key", "secret", "secrets", "_secrets", "psk", "_psk", "psks", "_psks"),
    *("server_key", "client_key", "pinned_key", "to_text", "s", "e", "_ephemeral", "ephemeral"),
    # what is derived from them
    *("shared", "dh", "exchange", "x25519", "k", "_k", "ck", "_ck", "chaining_key", "input_key_material", "temp_key"),
    *("temp_k", "key_bytes", "hkdf", "following", "_route_key", "named"),
    # hashes of the transcript, authentication codes and the like
    *("h", "_h", "temp_h", "handshake_hash", "get_handshake_hash", "transcript", "tag", "mac", "digest", "hexdigest"),
    # what clients show who have no key
    *("credentials", "password"),
}
# Calls that tell nothing of the contents, and those that are made for looking at them.
BLIND = {"len", "isinstance", "type", "callable", "compare_digest", "sodium_memcmp"}
LIBSODIUM = {"lib", "bindings", "backend"}
LOOKS_INTO = {"startswith", "endswith", "find", "index", "count", "removeprefix"}


@dataclass(frozen=True)
class Look:
    """A place where the source looks into a secret."""

    place: str
    text: str


def called(node: ast.AST) -> str:
    """The name of the function that a call is of, without what stands before the dot."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def is_blind(node: ast.AST) -> bool:
    """Whether what stands below this node stays unseen."""
    if isinstance(node, ast.Compare):
        return all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops)
    func = node.func if isinstance(node, ast.Call) else None
    of = func.value if isinstance(func, ast.Attribute) else None
    from_libsodium = of is not None and {n.id for n in ast.walk(of) if isinstance(n, ast.Name)} & LIBSODIUM
    return called(node) in BLIND or bool(from_libsodium)


def is_secret(node: ast.AST) -> bool:
    """Whether the value of an expression tells of a secret. `key.size` does not."""
    if is_blind(node):
        return False
    if isinstance(node, ast.Name):
        return node.id in SECRET
    if isinstance(node, ast.Attribute):
        return node.attr in SECRET
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
        of = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        return called(node) in SECRET or any(map(is_secret, [*of, *node.args]))
    return any(map(is_secret, ast.iter_child_nodes(node)))


def decisions_of(node: ast.AST) -> Iterator[ast.expr]:
    """What decides which way a program goes."""
    if isinstance(node, ast.If | ast.While | ast.IfExp | ast.Assert):
        yield node.test
    elif isinstance(node, ast.comprehension):
        yield from node.ifs
    elif isinstance(node, ast.Match):
        yield node.subject


def looks_into(test: ast.expr) -> bool:
    """A test of a bare name asks whether it is there; its bytes are asked for by an index or a call."""
    inner = [node for node in unblinded(test) if isinstance(node, ast.Subscript | ast.Call)]
    return any(is_secret(node) for node in inner)


def unblinded(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in an expression and is not judged elsewhere."""
    if not is_blind(node) and not isinstance(node, ast.Compare):
        yield node
        for child in ast.iter_child_nodes(node):
            yield from unblinded(child)


def is_look(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        return not is_blind(node) and any(map(is_secret, [node.left, *node.comparators]))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOOKS_INTO:
        return any(map(is_secret, [node.func.value, *node.args]))
    if isinstance(node, ast.Match):
        return is_secret(node.subject)
    return any(map(looks_into, decisions_of(node)))


def looks_in(source: str, module: str) -> Iterator[Look]:
    """Every place of a module where it looks into a secret, by the function it is in."""

    def walk(node: ast.AST, place: str) -> Iterator[Look]:
        if is_look(node):
            shown = next(decisions_of(node), node)
            yield Look(place, ast.unparse(shown))
        for child in ast.iter_child_nodes(node):
            named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            yield from walk(child, f"{place}.{child.name}" if named else place)  # type: ignore[attr-defined]

    yield from walk(ast.parse(source), module)


@cache
def all_looks() -> set[Look]:
    return {
        look for path in MODULES for look in looks_in((PACKAGE / path).read_text(), path.with_suffix("").as_posix())
    }


# --- what may be looked into, and why ---------------------------------------------------------------------

PUBLIC = "public keys, which are sent in clear or known to whoever may time this"
OWN = "this program's own key, when it is read or made: nobody else chooses what it is compared with"
NUMBER = "libsodium's number for a message's purpose, of a record that is genuine; no authentication code"
FORM = "which characters are in a token; whoever has sent it knows them"
KEYS = "PublicKey.__eq__, which takes constant time"

_ALL_KEYS = "not all((isinstance(key, PublicKey | KeyHash) for key in self._keys))"
_OWN_CERTIFICATE = "private_key.public_key() != chain[0].public_key()"
_ROUTER_KEYS = "not self.keys or not all((isinstance(key, PrivateKey) for key in self.keys))"

ALLOWED: dict[Look, str] = {
    Look("lab/oracle._trial", "guess == secret[known]"): "made up for an experiment, and its result",
    Look("protocol/handshake.ServerHandshake._check_route", "named != own"): PUBLIC,
    Look("protocol/key_kinds.check_signing", "key"): "types",
    Look("protocol/key_kinds.check_verifying", "key"): "types",
    Look("protocol/key_kinds.check_verifying", "key.public_numbers().e < 2 ** 32"): "an RSA public key",
    Look("protocol/keys.PrivateKey.__init__", "raw == bytes(KEY_SIZE)"): OWN,
    Look("protocol/keys.SharedSecret.__init__", "not any(raw)"): OWN,
    Look("protocol/keys.decode_base64", "base64.b64encode(raw).decode() != text"): OWN,
    Look("protocol/keys.check_public_key", "raw in LOW_ORDER"): PUBLIC,
    Look("protocol/keys.check_public_key", "raw[31] >= 127"): PUBLIC,
    Look("protocol/keys.check_public_key", "int.from_bytes(raw, 'little') >= _PRIME"): PUBLIC,
    Look("protocol/noise.HandshakeState.__init__", "len(self._psks) != pattern.psks"): "a count",
    Look("protocol/noise.Pattern.has_psk", "self.psks > 0"): "a count",
    Look("protocol/records.RecordReader._judge_control", "not tag_and_type_agree(tag, record_type)"): NUMBER,
    Look("protocol/records.RecordReader._open_records", "tag == FORGED"): NUMBER,
    Look("protocol/records.RecordReader._open_records", "tag > _DATA_TAG"): NUMBER,
    Look("protocol/records.RecordReader._refuse", "tag == FORGED"): NUMBER,
    Look("protocol/suites.tag_and_type_agree", "tag == ANY_TYPE"): NUMBER,
    Look("protocol/suites.tag_and_type_agree", "_TAG_OF_TYPE[record_type] == tag"): NUMBER,
    Look("service/errand.Errand._only_one", "hello.e in self._under_way"): PUBLIC,
    Look("service/router.RouterConfig.__post_init__", _ROUTER_KEYS): "types",
    Look("streams/wrap._judge", "wanted == server_key"): KEYS,
    Look("trust/credentials/certificates.CertificateCredentials.__init__", _OWN_CERTIFICATE): PUBLIC,
    Look("trust/credentials/tokens.TokenVerifier.verify", "not _COMPACT.fullmatch(credentials)"): "his own",
    Look("trust/address._check_sense", "found.client_key.public_key == found.server_key"): KEYS,
    Look("trust/servers.KnownServers.__call__", "key not in self._keys"): KEYS,
    Look(
        "trust/servers.KnownServers.__init__", "not all((isinstance(key, PublicKey | KeyHash) for key in self._keys))"
    ): "types",
    Look("trust/servers.KnownServersFile.__call__", "key not in self._valid(lines)"): KEYS,
    Look("trust/servers.KnownServersFile._refusal", "any((line.public_key == key for line in lines))"): KEYS,
    Look("trust/servers.KnownServersFile._refusal", "line.public_key == key"): KEYS,
}


def test_no_secret_is_looked_into_but_where_it_may_be() -> None:
    assert {look for look in all_looks() if look not in ALLOWED} == set()


def test_every_exception_is_still_needed() -> None:
    assert {look for look in ALLOWED if look not in all_looks()} == set()


# --- the check itself -------------------------------------------------------------------------------------

PLANTED = [
    "if key == other: pass",
    "x = a != self._raw",
    "if mac in known: pass",
    "ok = bytes(self.key) == given",
    "ok = hashlib.blake2b(data).digest() == given",
    "ok = noise.get_handshake_hash() != given",
    "ok = private.exchange(public) == given",
    "while psk[0]: pass",
    "if any(shared): pass",
    'y = 1 if secret.find(b"x") else 2',
    "assert credentials.startswith(given)",
    "z = [n for n in range(9) if raw[n]]",
    "match temp_k:\n  case b'x': pass",
    "if len(x) == 3 and tag == y: pass",
    "if compare(mac, given): pass",
]
INNOCENT = [
    "if key is None: pass",
    "if len(key) != 32: pass",
    "if hmac.compare_digest(key, other): pass",
    "if nacl.bindings.sodium_memcmp(mac, other): pass",
    "if not lib.crypto_scalarmult(output, private_key, public_key): pass",
    "if isinstance(secret, bytes) and secret: pass",
    "x = ephemeral or PrivateKey.generate()",
    "if key.size == 32: pass",
    "if policy == other_policy: pass",
    "match command:\n  case b'x': pass",
]


@pytest.mark.parametrize("source", PLANTED)
def test_a_planted_look_is_found(source: str) -> None:
    assert {look.place for look in looks_in(source, "planted")} == {"planted"}


@pytest.mark.parametrize("source", INNOCENT)
def test_what_looks_into_nothing_is_not_found(source: str) -> None:
    assert list(looks_in(source, "innocent")) == []


def test_a_look_is_told_by_its_function() -> None:
    source = "class A:\n  def f(self):\n    def g():\n      return self.psk == 1\n"
    assert list(looks_in(source, "m")) == [Look("m.A.f.g", "self.psk == 1")]


def test_every_module_is_read() -> None:
    assert {Path("protocol/noise.py"), Path("streams/wrap.py"), Path("trust/keyfile.py")} <= set(MODULES)


# --- keys compare as values -------------------------------------------------------------------------------

A, B = bytes(range(1, 33)), bytes(range(2, 34))
MAKE: list[Callable[[bytes], PrivateKey | PublicKey | SharedSecret]] = [PrivateKey, PublicKey, SharedSecret]
every_kind = pytest.mark.parametrize("make", MAKE, ids=lambda make: make.__name__)


@every_kind
def test_keys_are_equal_where_their_bytes_are(make: Callable[[bytes], PrivateKey | PublicKey | SharedSecret]) -> None:
    assert make(A) == make(A)
    assert make(A) != make(B)
    assert hash(make(A)) == hash(make(A))
    assert len({make(A), make(A), make(B)}) == 2
    for other in (A, A.hex(), None, 0, *(different(A) for different in MAKE if different is not make)):
        assert make(A) != other
        assert (make(A) == other) is False


@every_kind
def test_keys_are_compared_by_compare_digest_alone(
    make: Callable[[bytes], PrivateKey | PublicKey | SharedSecret], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    compare_digest = hmac.compare_digest

    def watched(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return compare_digest(a, b)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    for first, second in ((A, A), (A, B), (B, A)):
        assert (make(first) == make(second)) == (first is second)
    assert compared == [(A, A), (A, B), (B, A)]


@every_kind
def test_keys_have_no_order(make: Callable[[bytes], object]) -> None:
    for compare in ("__lt__", "__le__", "__gt__", "__ge__"):
        assert getattr(make(A), compare)(make(B)) is NotImplemented
