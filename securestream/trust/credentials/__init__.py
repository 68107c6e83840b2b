"""Credentials: what a peer shows beside its key, and who it turns out to be.

Each kind is two objects. The one that shows is called with the statement and gives bytes; it is the
`credentials=` of either configuration. The one that verifies is an `authorize=`, or a client's `verify_server=`: it
returns who the peer is, which becomes `stream.peer.principal`, or raises `CredentialsRefused`.

    ed25519        a signature by a listed key (PyNaCl, always there)
    several        two or more of the others, all of which have to hold
    ecdsa          a signature by a listed P-256 key
    certificates   a signature by the key of an X.509 certificate
    tokens         a JSON Web Token made for this connection

The last three need the extra `credentials` and are imported from their modules:
`from securestream.trust.credentials.tokens import TokenVerifier`.
"""
