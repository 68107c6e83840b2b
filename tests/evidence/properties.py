"""The properties that the stack claims, each with the sentence that its evidence supports.

A test says with `pytest.mark.shows("name")` which of them it shows; `python -m tests.evidence` fails if one has no
passing test, or a test names one that is not here."""

from __future__ import annotations

PROPERTIES = {
    # From tests/attacks:
    "attack-of-2021": "The attack of 2021 succeeds against the old scheme and fails here",
    "reflection": "Nothing reflected, and no key that serves both roles, lets an attacker in",
    "replay": "No message of another connection is accepted",
    "downgrade": "No suite, mode or route can be changed on the way",
    "every-bit": "No flipped bit, cut or lying length of a handshake message is accepted",
    "bad-points": "No low-order or non-canonical X25519 key is accepted anywhere",
    "stolen-keys": "Stolen keys give no more than the argument for security says",
    "identities": "An impostor or a stranger learns no long-term key that he does not know",
    "secret-gate": "Without the secret the server does no X25519 at all",
    "hostile-records": "Records dropped, doubled, moved, cut or made up are refused",
    "router": "A router, and whoever has all that it has, reads nothing, poses as nobody, and learns no client's key",
    "floods": "Floods cost bounded work and stall no other connection",
    "router-alerts": "A router tells whom it refuses why, by the alert for it, and stores nothing of what follows",
    # From tests/trust and tests/service:
    "credentials": "No credential is accepted in another connection, for the other side, after its end, or changed",
    # From tests/streams:
    "same-semantics": "What a program sees of a stream is the same in the profiles dev and secure",
    "profiles": "Neither profile takes the other, and dev stays on its machine",
    "same-over-tls": "What a program sees of a stream is the same over both wires",
    "tls-keys": "Over TLS a peer is who has a listed key; another key, an authority's word or no key lets nobody in",
    "tls-downgrade": "No older TLS, other cipher, other protocol and no session of before is taken",
    "tls-end": "A connection that ends inside TLS, or with it, is never the end of a stream",
    "tls-hostile": "What comes in TLS's place, or wrong inside it, is refused with one family of errors",
    # From tests/faults:
    "faults": "A faulty transport leads to all bytes, or to a prefix and an error; never a hang or a false end",
    "faulty-clients": "A server under faulty connections serves the others, and ends each handler",
    "kill-9": "A killed process is seen as an error after a prefix",
    # From tests/fuzz:
    "fuzz-parsers": "No parser of untrusted bytes raises anything but RemoteProtocolError",
    "fuzz-handshake": "No bytes make a handshake raise anything but RemoteProtocolError",
    "fuzz-records": "No bytes make a record reader raise anything but RemoteProtocolError",
    "hostile-network": "Two endpoints over a hostile network, by any sequence of steps, keep the promises",
    # From tests/model:
    "model": "Every query of the symbolic model has its expected verdict, by every engine",
    "model-mutants": "Each weakened protocol is attacked in the model",
    "code-mutants": "Each weakness made in the code lets an attack of the suite succeed",
    # From tests/examples:
    "rpc-threats": "Forged queries, ticks and log segments, and replays, fail without the secret and the key",
    # About the code itself:
    "mutation-score": "At least 90 % of the mutants of protocol/, less TLS, dev and credentials, are killed",
    "constant-time": "Secrets are compared in constant time only",
    "no-secrets-shown": "No repr, log, error or command line shows a secret",
    # From tests/load:
    "many-connections": "Idle and busy connections by the thousand in one process all get their bytes",
    "soak": "Connects, aborts, alerts, half-closes and pools at random leak no memory, task or descriptor",
    "slow-loris": "Slow clients do not keep honest ones from connecting",
}
