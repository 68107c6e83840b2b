"""Peers that speak TLS better than OpenSSL's own client would: what they can make a machine compute, and keep."""

from __future__ import annotations

import contextlib
import datetime as dt
import struct
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL

import securestream as ss
from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.openssl import TlsEndpoint, private_key_of
from securestream.streams.tls_certificate import self_signed

from .tls_support import KINDS, hash_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from securestream.protocol.openssl import TlsConnection

    from .tls_support import Key

SERVER = ss.TlsPrivateKey(bytes(range(1, 33)))
ENDPOINT = TlsEndpoint(SERVER, self_signed(private_key_of(SERVER)), is_client=False)
LEAF = KINDS["Ed25519"]
HANDSHAKE, APPLICATION_DATA = 22, 23  # RFC 8446, section 5.1
UPDATE_REQUESTED = b"\x18\0\0\x01\x01"  # section 4.6.3


# --- the attacker -------------------------------------------------------------------------------------


class Attacker:
    """A client whose keys are in the attacker's hands."""

    def __init__(self, certificate: x509.Certificate, chain: Sequence[x509.Certificate] = ()) -> None:
        self._secrets: dict[str, bytes] = {}
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_keylog_callback(self._note_secret)
        context.use_certificate(certificate)
        context.use_privatekey(LEAF)
        for above in chain:
            context.add_extra_chain_cert(above)
        self.tls = SSL.Connection(context, None)
        self.tls.set_connect_state()

    def _note_secret(self, connection: SSL.Connection, line: bytes) -> None:
        label, *_, secret = line.decode().split()
        self._secrets[label] = bytes.fromhex(secret)

    def handshake_with(self, machine: TlsConnection) -> ss.KeyHash:
        """Whom the machine takes it for."""
        while True:
            with contextlib.suppress(SSL.WantReadError):
                self.tls.do_handshake()
            for part in self._said():
                machine.feed(part)
                if (facts := machine.handshake()) is not None:
                    return facts.peer
            self.tls.bio_write(machine.encrypt(b""))

    def _said(self) -> Iterator[bytes]:
        """In pieces, as a network would bring it."""
        try:
            while True:
                yield self.tls.bio_read(4_096)
        except SSL.WantReadError:
            return

    def records(self) -> Records:
        """What it sends from here on, in records of its own making."""
        return Records(self._secrets["CLIENT_TRAFFIC_SECRET_0"])


class Records:
    """TLS's record layer with ChaCha20-Poly1305, sending: RFC 8446, sections 5.2, 5.3, 7.2 and 7.3."""

    def __init__(self, secret: bytes) -> None:
        self._begin(secret)

    def _begin(self, secret: bytes) -> None:
        self._secret, self._number = secret, 0
        self._cipher, self._iv = ChaCha20Poly1305(expand(secret, b"key", 32)), expand(secret, b"iv", 12)

    def seal(self, content: bytes, kind: int) -> bytes:
        inner = content + bytes([kind])
        header = struct.pack(">BHH", APPLICATION_DATA, 0x0303, len(inner) + 16)
        nonce = bytes(a ^ b for a, b in zip(self._iv, self._number.to_bytes(12, "big"), strict=True))
        self._number += 1
        return header + self._cipher.encrypt(nonce, inner, header)

    def key_update(self) -> bytes:
        record = self.seal(UPDATE_REQUESTED, HANDSHAKE)
        self._begin(expand(self._secret, b"traffic upd", 32))
        return record


def expand(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label (section 7.1), with no context."""
    label = b"tls13 " + label
    info = struct.pack(">HB", size, len(label)) + label + b"\0"
    return HKDFExpand(hashes.SHA256(), size, info).derive(secret)


# --- what it tries ------------------------------------------------------------------------------------


def met() -> tuple[TlsConnection, Attacker]:
    machine, attacker = ENDPOINT.connection(), Attacker(self_signed(LEAF))
    attacker.handshake_with(machine)
    return machine, attacker


def test_a_peer_that_changes_its_keys_is_understood_and_answered() -> None:
    machine, attacker = met()
    records = attacker.records()
    for _ in range(100):
        machine.feed(records.key_update() + records.seal(b"said", APPLICATION_DATA))
        assert machine.decrypt(100) == b"said"
    attacker.tls.bio_write(machine.encrypt(b"heard"))
    assert attacker.tls.recv(100) == b"heard"


def test_answers_that_a_peer_asks_for_and_does_not_take_are_not_kept_without_end() -> None:
    machine, attacker = met()
    records = attacker.records()
    with pytest.raises(RemoteProtocolError, match="more questions"):
        for _ in range(200):
            machine.feed(records.key_update())
            machine.decrypt(100)
    assert len(machine.encrypt(b"")) < 5_000


def chain(length: int) -> list[x509.Certificate]:
    """The leaf, and authorities above it whose signatures are as dear as any to verify."""
    authority = ec.derive_private_key(0x1234567890ABCDEF, ec.SECP521R1())
    keys: list[Key] = [LEAF, *[authority] * length]
    return [signed(key, number, by) for number, (key, by) in enumerate(pairwise(keys))]


def signed(key: Key, number: int, by: Key) -> x509.Certificate:
    subject, issuer = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, str(n))]) for n in (number, number + 1))
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(number + 1)
        .not_valid_before(dt.datetime(2001, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2099, 1, 1, tzinfo=dt.UTC))
        .add_extension(x509.BasicConstraints(number > 0, None), critical=True)
    )
    assert isinstance(by, ec.EllipticCurvePrivateKey)
    return builder.sign(by, hashes.SHA256())


def test_a_chain_above_the_certificate_is_let_pass_and_no_signature_in_it_is_verified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged: list[int] = []

    def let_pass(connection: SSL.Connection, certificate: object, error: int, depth: int, ok: int) -> bool:
        judged.append(depth)
        return True

    monkeypatch.setattr("securestream.protocol.openssl._let_pass", let_pass)
    endpoint = TlsEndpoint(SERVER, self_signed(private_key_of(SERVER)), is_client=False)
    leaf, *above = chain(40)
    assert Attacker(leaf, above).handshake_with(endpoint.connection()) == hash_of(LEAF)
    assert max(judged) <= 1  # 39 without a limit, and a signature verified at each


def test_a_chain_of_more_bytes_than_any_needs_is_refused() -> None:
    leaf, *above = chain(120)
    with pytest.raises(RemoteProtocolError, match="more than 32,768 bytes"):
        Attacker(leaf, above).handshake_with(ENDPOINT.connection())


def test_a_hello_that_goes_on_and_on_is_refused() -> None:
    machine, sent = ENDPOINT.connection(), 0
    machine.feed(bytes.fromhex("1603014000 0101ff00") + bytes(16_380))  # it will have 131,000 bytes, it says
    with pytest.raises(RemoteProtocolError, match="more than 32,768 bytes"):
        while machine.handshake() is None and sent < 100_000:
            machine.feed(bytes.fromhex("1603014000") + bytes(16_384))
            sent += 16_384
