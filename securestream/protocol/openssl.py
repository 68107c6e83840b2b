"""TLS 1.3 as a machine without I/O: OpenSSL, through pyOpenSSL. Needs the extra `tls`.

Why pyOpenSSL and not the standard library's `ssl`: who may connect is for `authorize` to say, which may know a peer by
the hash of its key, by a database, or not before it is there. `ssl` takes a client only if a trust anchor for it was
loaded beforehand, and an anchor is made of the whole key. Here every certificate is let pass, TLS proves that the peer
has its key (CertificateVerify, RFC 8446 section 4.4.3), and the program judges the key. Besides, with buffers of our
own a client looks at the server's key before anything that shows who it is leaves it (`TlsConnection.handshake`), and
there is a channel binding (RFC 8446 section 7.5), which `ssl` doesn't give for TLS 1.3.

What is in a certificate beside the key is nobody's business here: no names, no dates, no issuer, no revocation, no
chain. So nothing is looked up anywhere, and no clock is needed.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from .codes import AlertCode
from .errors import RemoteProtocolError
from .tls import TlsAlert, TlsFacts
from .tls_keys import KeyHash

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from OpenSSL import SSL, crypto

    from .key_kinds import KINDS, SigningKey, VerifyingKey, check_signing, check_verifying
except ImportError as _exc:
    raise ImportError("TLS needs the extra `tls`: pip install 'securestream[tls]'") from _exc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from .tls_keys import TlsPrivateKey

ALPN = b"securestream/1"
# The one suite of TLS 1.3 whose key never has to be changed (RFC 8446 section 5.5). OpenSSL doesn't change keys by
# itself, and AES-GCM's would be worn out after 400 GB of a connection.
CIPHERS = b"TLS_CHACHA20_POLY1305_SHA256"
_BINDING_LABEL = b"EXPERIMENTAL securestream/tls"  # RFC 5705 section 4: what is not registered begins so
_BINDING_SIZE = 64
_TLS_RECORD = 16_384
_MOST_AT_ONCE = 2**17
# What a peer may say before the handshake is done: a few certificates of the largest keys. OpenSSL would take 131 KB of
# a hello, and 102 KB of certificates.
_MOST_OF_HANDSHAKE = 32_768
# What may be due to a peer that takes nothing: answers to 150 changes of its keys (RFC 8446 section 4.6.3).
_MOST_DUE = 4_096


# --- keys -------------------------------------------------------------------------------------------


def read_pem(data: bytes, passphrase: bytes | None) -> tuple[bytes, bytes]:
    """A private key as PKCS #8 and its public key as SubjectPublicKeyInfo, in DER. Raises `ValueError`, which repeats
    nothing of `data`."""
    try:
        key = serialization.load_pem_private_key(data, passphrase)
    except TypeError:
        given = "is locked with a passphrase, and none was given" if passphrase is None else "is not locked"
        raise ValueError(f"the private key in PEM {given}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("not a private key in PEM that can be used, or a wrong passphrase") from None
    signing = check_signing(key)
    return _pkcs8(signing), _spki(signing.public_key())


def private_key_of(key: TlsPrivateKey) -> SigningKey:
    """As OpenSSL takes it."""
    return check_signing(serialization.load_der_private_key(bytes(key), None))


def key_in_certificate_untrusted(certificate: crypto.X509 | None) -> KeyHash:
    """The key in it, as OpenSSL has read and used it. The rest isn't read once more: a parser that is stricter than
    OpenSSL would judge what is nobody's business here. Raises `RemoteProtocolError` only."""
    try:
        if certificate is None:
            raise ValueError("there is none")
        return KeyHash.of_spki(_spki(check_verifying(certificate.get_pubkey().to_cryptography_key())))
    except Exception as exc:  # a stranger's key: whatever the libraries think of it, it is refused
        raise RemoteProtocolError(f"TLS: a certificate that can't be used; its key has to be {KINDS}") from exc


def _spki(key: VerifyingKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _pkcs8(key: SigningKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


# --- TLS --------------------------------------------------------------------------------------------


class TlsEndpoint:
    """One side with its key, and a certificate for it: makes its connections."""

    def __init__(self, key: TlsPrivateKey, certificate: x509.Certificate, *, is_client: bool) -> None:
        self._key_hash = key.public_key
        self._is_client = is_client
        self._context = context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_max_proto_version(SSL.TLS1_3_VERSION)
        context.set_tls13_ciphersuites(CIPHERS)
        # No resumption: every connection proves both keys.
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _let_pass)
        context.set_verify_depth(0)  # or a stranger's chain is verified, for 0.1 s of computing, before it is let pass
        if is_client:
            context.set_alpn_protos([ALPN])
        else:
            context.set_alpn_select_callback(_select_alpn)
        context.use_certificate(certificate)
        context.use_privatekey(private_key_of(key))

    def connection(self) -> TlsConnection:
        """The machine for one connection."""
        connection = SSL.Connection(self._context, None)
        if self._is_client:
            connection.set_connect_state()
        else:
            connection.set_accept_state()
        return TlsConnection(connection, self._key_hash)


def _let_pass(connection: SSL.Connection, certificate: object, error: int, depth: int, ok: int) -> bool:
    """The key is judged by the program, and the rest of a certificate by nobody."""
    return True


def _select_alpn(connection: SSL.Connection, offered: Sequence[bytes]) -> bytes:
    """RFC 7301: b"" ends it. Who offers nothing isn't asked, so that `openssl s_client` needs no option."""
    return ALPN if ALPN in offered else b""


class TlsConnection:
    """One connection's TLS: bytes in, bytes out.

    `feed()` takes what came from the peer, `encrypt()` gives what is to go to it: content, or what TLS has to say by
    itself. `handshake()` and `decrypt()` go on as far as they can. What the peer did wrong raises
    `RemoteProtocolError`, and nothing else does.
    """

    def __init__(self, connection: SSL.Connection, own_key: KeyHash) -> None:
        self._tls = connection
        self._own_key = own_key
        self.is_done: bool = False  # the handshake
        self._is_closed = False
        self._fed = 0  # before the handshake is done
        self._due = b""  # what TLS has to say by itself, kept for what is sent next
        self.has_begun: bool = False  # whether it has said anything
        self.has_more: bool = False  # whether something may be there to decrypt
        self.has_ended: bool = False  # the peer has said that it sends nothing more

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """What the transport gave."""
        if data:
            self._tls.bio_write(data)
            self._fed += len(data)
            self.has_more = True

    def handshake(self) -> TlsFacts | None:
        """Goes on as far as it can; None where it isn't done.

        A client's is done before what shows its key was sent: it goes in front of what is encrypted next.
        """
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            if self._fed > _MOST_OF_HANDSHAKE:
                raise RemoteProtocolError(f"TLS: a handshake of more than {_MOST_OF_HANDSHAKE:,} bytes") from None
            return None
        except SSL.Error as exc:
            raise _remote(exc) from None
        self.is_done = True
        peer = key_in_certificate_untrusted(self._tls.get_peer_certificate())
        return TlsFacts(self._own_key, peer, self._tls.export_keying_material(_BINDING_LABEL, _BINDING_SIZE, b""))

    def encrypt(self, data: bytes | memoryview) -> bytes:
        """`data` as it goes to the peer, behind what is due. Before the handshake is done nothing goes but what is due,
        and after a failure the alert that says so."""
        if data and self.is_done:
            try:
                self._tls.sendall(data)
            except SSL.Error as exc:
                if not (wire := self._take()):
                    raise _remote(exc) from None
                return wire
        return self._take()

    def decrypt(self, most: int) -> bytes:
        """What has come, about `most` bytes at once; b"" where more has to be fed first, or `has_ended`."""
        parts: list[bytes] = []
        size = 0
        while self.has_more and size < most:
            try:
                parts.append(self._tls.recv(_TLS_RECORD))
                size += len(parts[-1])
            except SSL.WantReadError:
                self.has_more = False
            except SSL.ZeroReturnError:
                self.has_ended, self.has_more = True, False
            except SSL.Error as exc:
                if parts:
                    break  # it comes again at the next call
                raise _remote(exc) from None
        self._keep_due()
        return b"".join(parts)

    def _keep_due(self) -> None:
        """A peer may ask for answers without end, each for itself of no more than a few bytes."""
        self._due = self._take()
        if len(self._due) > _MOST_DUE:
            raise RemoteProtocolError("TLS: more questions of TLS's own than may be open", AlertCode.PROTOCOL_ERROR)

    def close(self) -> bytes:
        """close_notify (RFC 8446 section 6.1), once, behind what is due."""
        if self.is_done and not self._is_closed:
            self._is_closed = True
            with contextlib.suppress(SSL.Error):  # after a failure
                self._tls.shutdown()
        return self._take()

    def _take(self) -> bytes:
        """What is due."""
        parts = [self._due] if self._due else []
        self._due = b""
        try:
            while True:
                parts.append(self._tls.bio_read(_MOST_AT_ONCE))
        except SSL.WantReadError:
            self.has_begun = self.has_begun or bool(parts)
            return b"".join(parts)


def _remote(exc: SSL.Error) -> RemoteProtocolError:
    """With OpenSSL's own words, which are from a list and repeat nothing of a peer's."""
    errors = exc.args[0] if exc.args and isinstance(exc.args[0], list) else []
    reasons = ", ".join(dict.fromkeys(str(error[-1]) for error in errors))
    if _ALERT.match(reasons):
        return TlsAlert(f"TLS: {reasons}")
    doubt = "; does the other side speak TLS?" if reasons in _NOT_TLS else ""
    return RemoteProtocolError(f"TLS: {reasons or 'broken'}{doubt}", AlertCode.BAD_RECORD)


_NOT_TLS = {"wrong version number", "http request"}
_ALERT = re.compile(r"(ssl/tls|sslv3|tls|tlsv1|tlsv13) alert ")
