"""Models the protocol of the 2021 blog series that docs/protocol.md mends, to see that the method finds what is wrong
with it.

hello     = E | box(e, R: expected server key)            box(a, B: m) is sealed with DH(a, B)
challenge = E' | box(ee: S) | box(s, E: E)                the proof of S does not cover E'
response  = box(ee: C) | box(c, E': E')
records   under keys made from ee alone
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.attacker import att, beg, end, record, static
from tests.model.handshake_model import (
    C_PARTY,
    C_SESSION,
    CLIENT,
    DATA,
    HEARD_E,
    MIDDLEBOX,
    NOBODY,
    RE,
    S_PARTY,
    S_SESSION,
    SERVER,
    SUITE_1,
    client_data,
    event,
    holder,
    mode,
    pair,
    server_data,
)
from tests.model.noise_model import EMPTY, NONCES, dh, encrypt, hkdf1, hkdf2, public
from tests.model.saturate import Rule
from tests.model.terms import Term, function

if TYPE_CHECKING:
    from collections.abc import Iterator

PATTERN = "2021"


def box(shared: Term, message: Term) -> Term:
    return encrypt(shared, NONCES[0], EMPTY, message)


def client(server: Term) -> Iterator[Rule]:
    e = function("e_client")(C_SESSION, static(C_PARTY), server, MIDDLEBOX)
    about = (
        ("client", C_PARTY),
        ("server", holder(server)),
        ("session", C_SESSION),
        ("e", public(e)),
        ("re", public(RE)),
    )
    words = "{client}'s client (session {session}) sends hello with session key {e}, meant for {server}"
    yield Rule((), att(pair(public(e), box(dh(e, MIDDLEBOX), public(server)))), words, about)
    yield from client_after_challenge(server, e, about)


def client_after_challenge(server: Term, e: Term, about: tuple[tuple[str, Term], ...]) -> Iterator[Rule]:
    me, ee = static(C_PARTY), dh(e, RE)
    heard = att(pair(public(RE), box(ee, public(server)), box(dh(e, server), public(e))))
    words = "{client}'s client (session {session}) believes that {server} sent this challenge to its hello"
    believed = event("c_challenge", C_SESSION, NOBODY, public(server), public(e), public(RE), ee)
    yield Rule((heard,), end(believed), words, about)
    responded = beg(event("c_response", C_SESSION, public(me), public(server), public(e), public(RE), ee))
    words = "{client}'s client (session {session}) takes session key {re} for {server}'s and sends response"
    response = pair(box(ee, public(me)), box(dh(me, RE), public(RE)))
    yield Rule((heard, responded), att(response), words, about)
    data = pair(DATA, client_data(C_SESSION, C_PARTY, server, mode(PATTERN), EMPTY))
    words = "{client}'s client (session {session}) got session key {re} and sends its first record, meant for {server}"
    yield Rule((heard, responded), att(record(SUITE_1, hkdf1(ee, EMPTY), data)), words, about)


def server(client_key: Term) -> Iterator[Rule]:
    f = function("e_server")(S_SESSION, static(S_PARTY), HEARD_E)
    ee = dh(HEARD_E, f)
    s = public(static(S_PARTY))
    about = (
        ("client", holder(client_key)),
        ("server", S_PARTY),
        ("session", S_SESSION),
        ("e", public(HEARD_E)),
        ("f", public(f)),
    )
    heard = (att(public(HEARD_E)), beg(event("s_challenge", S_SESSION, NOBODY, s, public(HEARD_E), public(f), ee)))
    words = "{server}'s server (session {session}) answers session key {e} with session key {f} and the proof for {e}"
    yield Rule(
        heard, att(pair(public(f), box(ee, s), box(dh(static(S_PARTY), HEARD_E), public(HEARD_E)))), words, about
    )
    response = att(pair(box(ee, public(client_key)), box(dh(client_key, f), public(f))))
    words = "{server}'s server (session {session}) takes the response for {client}'s and sends data"
    data = server_data(S_SESSION, S_PARTY, client_key, mode(PATTERN))
    yield Rule((*heard, response), att(record(SUITE_1, hkdf2(ee, EMPTY), data)), words, about)
    if client_key.head:
        words = "{server}'s server (session {session}) believes that {client} sent this response to its challenge"
        finished = end(event("s_response", S_SESSION, public(client_key), s, public(HEARD_E), public(f), ee))
        yield Rule((*heard, response), finished, words, about)


def rules() -> Iterator[Rule]:
    yield from (rule for rule in client(SERVER) if rule.conclusion.head != "end")
    yield from (rule for rule in client(static(S_PARTY)) if rule.conclusion.head == "end")
    yield from (rule for rule in server(CLIENT) if rule.conclusion.head != "end")
    yield from (rule for rule in server(static(C_PARTY)) if rule.conclusion.head == "end")
