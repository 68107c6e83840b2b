"""Models the handshake of docs/protocol.md as it is on the wire: hello, challenge, response, the verdict, the first
records.

Each function below is one frame of the protocol and returns rules "who has heard this says that".  The names on the
left are the document's:

    header    = mode | suites | route                       (magic and count carry nothing and are left out)
    route     = encrypt(route key, zero, empty, expected server key)
    hello     = header | noise1                             prologue = "securestream/1" | header
    challenge = noise2(payload = suite | server payload)
    response  = noise3(payload = client credentials)
    verdict   = the server's first record, ACCEPT | answer

Approximations, all of which give the attacker more than he has:
  - the offered suites are any list that the attacker likes and the server chooses any suite that he likes, but in
    settings about downgrade, where the lists are real and the choice is the server's;
  - a server never refuses: not for the route, not for the client's key;
  - the client sends data right after response, before the verdict (an option of the client).

A fresh value is a function of all that its maker had chosen and heard before, led by the number of the session.  Fewer
arguments would merge runs of one session with different inputs and show attacks that do not exist.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.model.attacker import PSK, att, beg, end, record, static
from tests.model.noise_model import (
    EMPTY,
    NO_NOISE_FLAWS,
    NONCES,
    Keys,
    NoiseFlaws,
    Transcript,
    dh,
    encrypt,
    is_hybrid,
    named,
    public,
    transcript,
)
from tests.model.saturate import Rule
from tests.model.terms import Term, function, var

if TYPE_CHECKING:
    from collections.abc import Iterator

pair = function("tuple")
route_key = function("route_key")
LABEL = function("securestream_1")()
ACCEPT, DATA = function("accept")(), function("data")()
SUITE_1, SUITE_2 = function("suite_1")(), function("suite_2")()
OFFER_1, OFFER_BOTH = function("suite_1_only")(), function("suites_1_and_2")()
NOBODY = function("nobody")()

client_data, server_data = function("client_data"), function("server_data")
credentials, server_payload = function("credentials"), function("server_payload")

# Variables of the client's rules, then of the server's.
C_SESSION, C_PARTY, SERVER, MIDDLEBOX, OFFER, SUITE, RE, PAYLOAD = (var(number) for number in range(11, 19))
S_SESSION, S_PARTY, CLIENT, HEARD_OFFER, HEARD_ROUTE, CHOSEN, HEARD_E, HEARD_CREDENTIALS = (
    var(number) for number in range(31, 39)
)
KEM_RANDOM, HEARD_E1 = var(19), var(39)  # What the KEM adds to the client's and the server's.
BODY = var(51)


def mode(pattern: str) -> Term:
    return function(f"mode_{pattern}")()


@dataclass(frozen=True)
class Flaws:
    """What the mutants leave out or do in the wrong order."""

    noise: NoiseFlaws = NO_NOISE_FLAWS
    prologue: frozenset[str] = frozenset({"mode", "suites", "route"})  # Which fields of the header are in it.
    reveals_before_checking: bool = False
    verdict_in_clear: bool = False
    suite_in_clear: bool = False
    falls_back: bool = False


NO_FLAWS = Flaws()


@dataclass(frozen=True)
class Header:
    pattern: str
    suites: Term
    route: Term

    def wire(self) -> Term:
        return pair(mode(self.pattern), self.suites, self.route)

    def prologue(self, flaws: Flaws) -> Term:
        fields = {"mode": mode(self.pattern), "suites": self.suites, "route": self.route}
        return pair(LABEL, pair(*(fields[name] if name in flaws.prologue else EMPTY for name in fields)))


holder = function("holder")  # In words only: whoever has this private key.


def challenge_frame(t: Transcript, suite: Term, flaws: Flaws) -> Term:
    return att(pair(*((suite,) if flaws.suite_in_clear else ()), *t.messages[1]))


def event(name: str, session: Term, client: Term, server: Term, *agreed: Term) -> Term:
    """All events have one layout, so that a query can compare the client's with the server's, argument by argument."""
    return function(name)(session, client, server, *agreed)


@dataclass(frozen=True)
class ClientRun:
    """Session `C_SESSION` of a client: what it has chosen (`wanted` differs from `pattern` only where a mutant falls
    back).
    """

    pattern: str
    client: Term
    server: Term  # The private key behind the key that the client expects, the pinned one.
    middlebox: Term
    offer: Term
    suite: Term
    wanted: str
    flaws: Flaws

    @property
    def e(self) -> Term:
        return self._fresh("e_client")

    @property
    def e1(self) -> Term:
        return self._fresh("e1_client")

    def _fresh(self, head: str) -> Term:
        choices = (static(self.client), self.server, self.middlebox, self.offer, mode(self.pattern))
        return function(head)(C_SESSION, *choices)

    def header(self) -> Header:
        """route key = BLAKE2b-256(key = X25519(e, R), label | e.public | R)."""
        r = public(self.middlebox)
        key = route_key(dh(self.e, self.middlebox), public(self.e), r)
        return Header(self.pattern, self.offer, encrypt(key, NONCES[0], EMPTY, named(self.server)))

    def transcript(self, rs: Term) -> Transcript:
        """`rs`: the private key behind the server key in the challenge, which a right client compares with the pinned
        one.
        """
        keys = Keys(self.e, static(self.client), RE, rs, PSK)
        if is_hybrid(self.pattern):
            keys = replace(keys, e1_initiator=self.e1, encapsulation=KEM_RANDOM)
        payload = PAYLOAD if self.flaws.suite_in_clear else pair(self.suite, PAYLOAD)
        return transcript(
            self.pattern,
            keys,
            self.header().prologue(self.flaws),
            (EMPTY, payload, self.credentials()),
            self.flaws.noise,
        )

    def credentials(self) -> Term:
        return credentials(C_SESSION, self.client, self.server, mode(self.wanted))

    def data(self) -> Term:
        return client_data(C_SESSION, self.client, self.server, mode(self.wanted), self.offer)

    def hears_challenge(self, t: Transcript) -> Term:
        return challenge_frame(t, self.suite, self.flaws)

    def event(self, name: str, t: Transcript, message: int) -> Term:
        """At message 2 (challenge) nobody has named the client yet, and the keys so far are those in ck."""
        keys = (t.to_responder, t.to_initiator) if message == 3 else (t.ck[1],)
        who = public(static(self.client)) if message == 3 else NOBODY
        agreed = (self.header().wire(), public(self.e), public(RE), self.suite, t.h[message - 1], *keys)
        return event(name, C_SESSION, who, public(self.server), *agreed)

    def about(self) -> tuple[tuple[str, Term], ...]:
        return (
            ("client", self.client),
            ("server", holder(self.server)),
            ("session", C_SESSION),
            ("e", public(self.e)),
            ("re", public(RE)),
            ("offer", self.offer),
            ("suite", self.suite),
            ("r", public(self.middlebox)),
            ("mode", mode(self.pattern)),
        )


def client_rules(run: ClientRun, configuration: tuple[Term, ...]) -> Iterator[Rule]:
    """What the client says.  `configuration` is what must be known for such a client to be set up."""
    t, about = run.transcript(run.server), run.about()
    hello = event("c_hello", C_SESSION, NOBODY, NOBODY, run.header().wire(), *t.messages[0])
    words = (
        "{client}'s client (session {session}) sends hello, {mode}, ephemeral {e}, offering {offer}, meant for {server}"
    )
    yield Rule((*configuration, beg(hello)), att(pair(run.header().wire(), *t.messages[0])), words, about)
    if run.flaws.reveals_before_checking:
        t = run.transcript(SERVER)
        words = "{client}'s client (session {session}) answers with response before looking at the server's key"
        yield Rule((*configuration, run.hears_challenge(t)), att(pair(*t.messages[2])), words, about)
        return
    heard = (*configuration, run.hears_challenge(t), beg(run.event("c_response", t, 3)))
    words = (
        "{client}'s client (session {session}) takes the challenge with ephemeral {re} for {server}'s, sends response"
    )
    yield Rule(heard, att(pair(*t.messages[2])), words, about)
    words = "{client}'s client (session {session}) got ephemeral {re} and sends its first record, meant for {server}"
    yield Rule(heard, att(record(run.suite, t.to_responder, pair(DATA, run.data()))), words, about)


def client_ends(run: ClientRun, configuration: tuple[Term, ...]) -> Iterator[Rule]:
    """What the client believes, and when.  The expected server is a party of the model here."""
    t, about = run.transcript(run.server), run.about()
    heard = (*configuration, run.hears_challenge(t))
    words = "{client}'s client (session {session}) believes that {server} sent this challenge to its hello"
    yield Rule(heard, end(run.event("c_challenge", t, 2)), words, about)
    responded = (*heard, beg(run.event("c_response", t, 3)))
    verdict = () if run.flaws.verdict_in_clear else (att(record(run.suite, t.to_initiator, pair(ACCEPT, BODY))),)
    words = "{client}'s client (session {session}) believes that {server} has accepted it"
    yield Rule((*responded, *verdict), end(run.event("c_verdict", t, 3)), words, about)


@dataclass(frozen=True)
class ServerRun:
    """Session `S_SESSION` of a server: what it is and what it has heard."""

    pattern: str
    server: Term
    offer: Term
    suite: Term
    flaws: Flaws

    def header(self) -> Header:
        return Header(self.pattern, self.offer, HEARD_ROUTE)

    def fresh(self, head: str) -> Term:
        heard = (HEARD_E, HEARD_E1) if is_hybrid(self.pattern) else (HEARD_E,)
        return function(head)(S_SESSION, static(self.server), *heard, self.header().wire(), self.suite)

    def transcript(self, client: Term) -> Transcript:
        """`client`: the private key behind the key that response names."""
        keys = Keys(HEARD_E, client, self.fresh("e_server"), static(self.server), PSK)
        if is_hybrid(self.pattern):
            keys = replace(keys, e1_initiator=HEARD_E1, encapsulation=self.fresh("encapsulation"))
        own = self.fresh("server_payload")
        payload = own if self.flaws.suite_in_clear else pair(self.suite, own)
        payloads = (EMPTY, payload, HEARD_CREDENTIALS)
        return transcript(self.pattern, keys, self.header().prologue(self.flaws), payloads, self.flaws.noise)

    def hears_hello(self, t: Transcript) -> Term:
        return att(pair(self.header().wire(), *t.messages[0]))

    def event(self, name: str, t: Transcript, message: int, client: Term) -> Term:
        keys = (t.to_responder, t.to_initiator) if message == 3 else (t.ck[1],)
        who = public(client) if message == 3 else NOBODY
        f = public(self.fresh("e_server"))
        agreed = (self.header().wire(), public(HEARD_E), f, self.suite, t.h[message - 1], *keys)
        return event(name, S_SESSION, who, public(static(self.server)), *agreed)

    def about(self, client: Term) -> tuple[tuple[str, Term], ...]:
        return (
            ("server", self.server),
            ("client", holder(client)),
            ("session", S_SESSION),
            ("e", public(HEARD_E)),
            ("f", public(self.fresh("e_server"))),
            ("offer", self.offer),
            ("suite", self.suite),
            ("mode", mode(self.pattern)),
            ("route", HEARD_ROUTE),
        )


def server_rules(run: ServerRun, configuration: tuple[Term, ...]) -> Iterator[Rule]:
    """What the server says to any client."""
    t, about = run.transcript(CLIENT), run.about(CLIENT)
    heard = (*configuration, run.hears_hello(t), beg(run.event("s_challenge", t, 2, CLIENT)))
    words = (
        "{server}'s server (session {session}) gets hello, {mode}, ephemeral {e}, offer {offer}, and sends"
        " challenge with ephemeral {f}, choosing {suite}"
    )
    yield Rule(heard, challenge_frame(t, run.suite, run.flaws), words, about)
    accepted = (*heard, att(pair(*t.messages[2])), beg(run.event("s_verdict", t, 3, CLIENT)))
    words = "{server}'s server (session {session}) gets response, takes it for {client}'s, sends ACCEPT with its answer"
    answer = server_data(S_SESSION, run.server, CLIENT, mode(run.pattern))
    yield Rule(accepted, att(record(run.suite, t.to_initiator, pair(ACCEPT, answer))), words, about)


def server_ends(run: ServerRun, configuration: tuple[Term, ...]) -> Iterator[Rule]:
    """What the server believes, and when.  The client is a party of the model here."""
    t, about = run.transcript(static(C_PARTY)), run.about(static(C_PARTY))
    hello = event("s_hello", S_SESSION, NOBODY, NOBODY, run.header().wire(), *t.messages[0])
    words = (
        "{server}'s server (session {session}) believes that this hello is fresh and comes from a holder of the secret"
    )
    yield Rule((*configuration, run.hears_hello(t)), end(hello), words, about)
    heard = (
        *configuration,
        run.hears_hello(t),
        beg(run.event("s_challenge", t, 2, static(C_PARTY))),
        att(pair(*t.messages[2])),
    )
    words = "{server}'s server (session {session}) believes that {client} sent this response to its challenge"
    yield Rule(heard, end(run.event("s_response", t, 3, static(C_PARTY))), words, about)
    first_record = att(record(run.suite, t.to_responder, BODY))
    words = "{server}'s server (session {session}) believes that {client} sent this first record"
    heard = (*heard, beg(run.event("s_verdict", t, 3, static(C_PARTY))), first_record)
    yield Rule(heard, end(run.event("s_record", t, 3, static(C_PARTY))), words, about)
