"""With OpenSSL's own commands: `openssl s_client` against our server, and our client against `openssl s_server`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import securestream as ss
from securestream.protocol.messages import Kind, encode_frame

from .tls_support import KINDS, files, hash_of, needs_openssl, s_client, s_server, serving

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_openssl

SERVER = ss.TlsPrivateKey(bytes(range(32, 64)))
ED25519, P256, RSA = KINDS["Ed25519"], KINDS["ECDSA P-256"], KINDS["RSA"]
P521 = ec.derive_private_key(7, ec.SECP521R1())
RESPONSE = encode_frame(Kind.RESPONSE, bytes(64))


def server(*listed: ss.KeyHash) -> ss.TlsServerConfig:
    return ss.TlsServerConfig(key=SERVER, authorize=ss.AuthorizedPeers(listed), handshake_timeout=10)


# --- s_client -------------------------------------------------------------------------------------------


@pytest.mark.shows("tls-keys")
@pytest.mark.parametrize("kind", KINDS)
async def test_s_client_with_a_listed_key_gets_in_though_its_certificate_has_expired(kind: str, tmp_path: Path) -> None:
    seen: list[ss.Peer] = []
    async with serving(server(hash_of(KINDS[kind])), seen) as port:
        said = await s_client(port, *files(tmp_path, KINDS[kind]).arguments, says=RESPONSE)
    assert "TLSv1.3, Cipher is TLS_CHACHA20_POLY1305_SHA256" in said
    assert "hello from the handler" in said
    assert [peer.public_key for peer in seen] == [hash_of(KINDS[kind])]


@pytest.mark.shows("tls-keys")
async def test_s_client_with_another_key_is_told_so_in_mid_stream(tmp_path: Path) -> None:
    seen: list[ss.Peer] = []
    async with serving(server(hash_of(P256)), seen) as port:
        said = await s_client(port, *files(tmp_path, ED25519).arguments, says=RESPONSE)
    assert f"the public key {hash_of(ED25519)} is not authorised here" in said
    assert not seen


@pytest.mark.shows("tls-keys")
async def test_s_client_with_another_key_that_an_authority_has_certified_for_the_name_is_refused(
    tmp_path: Path,
) -> None:
    seen: list[ss.Peer] = []
    certified = files(tmp_path, ED25519, issuer=P256, years=(2020, 2099))
    async with serving(server(hash_of(P256)), seen) as port:
        said = await s_client(port, *certified.arguments, says=RESPONSE)
    assert "is not authorised here" in said
    assert not seen


@pytest.mark.shows("tls-keys")
async def test_s_client_with_a_key_of_a_kind_that_is_not_taken_is_refused_whoever_may_come(tmp_path: Path) -> None:
    seen: list[ss.Peer] = []
    config = ss.TlsServerConfig(key=SERVER, authorize=ss.ANYONE)
    async with serving(config, seen) as port:
        said = await s_client(port, *files(tmp_path, P521).arguments, says=RESPONSE)
    assert "\x05\0\x01\x0b\0" in said  # as a record: an alert, protocol error
    assert not seen


@pytest.mark.shows("tls-keys")
async def test_s_client_without_a_key_gets_no_further_than_tls() -> None:
    seen: list[ss.Peer] = []
    async with serving(server(hash_of(ED25519)), seen) as port:
        said = await s_client(port, says=RESPONSE)
    assert "certificate required" in said
    assert not seen


@pytest.mark.shows("tls-hostile")
async def test_s_client_that_says_nothing_inside_tls_is_told_that_it_was_too_slow(tmp_path: Path) -> None:
    config = ss.TlsServerConfig(key=SERVER, authorize=ss.ANYONE, handshake_timeout=3)  # within which it has to start
    async with serving(config, []) as port:
        said = await s_client(port, *files(tmp_path, ED25519).arguments)
    assert "TLSv1.3" in said
    assert "hello" not in said


@pytest.mark.shows("tls-downgrade")
@pytest.mark.parametrize("arguments", [["-tls1_2"], ["-ciphersuites", "TLS_AES_128_GCM_SHA256"], ["-alpn", "h2"]])
async def test_s_client_of_an_older_version_another_cipher_or_another_protocol_is_refused(
    arguments: list[str], tmp_path: Path
) -> None:
    seen: list[ss.Peer] = []
    async with serving(server(hash_of(ED25519)), seen) as port:
        said = await s_client(port, *files(tmp_path, ED25519).arguments, *arguments, says=RESPONSE)
    assert "alert" in said
    assert "hello from the handler" not in said
    assert not seen


@pytest.mark.shows("tls-downgrade")
async def test_s_client_gets_no_ticket_and_so_proves_its_key_each_time(tmp_path: Path) -> None:
    seen: list[ss.Peer] = []
    session = tmp_path / "session"
    ours = files(tmp_path, ED25519)
    async with serving(server(hash_of(ED25519)), seen) as port:
        await s_client(port, *ours.arguments, "-sess_out", str(session), says=RESPONSE)
        again = ["-sess_in", str(session)] if session.exists() else []
        said = await s_client(port, *ours.arguments, *again, says=RESPONSE)
    assert "New, TLSv1.3" in said
    assert "Reused" not in said


# --- s_server ------------------------------------------------------------------------------------------


def client(server_key: ss.KeyHash) -> ss.TlsClientConfig:
    return ss.TlsClientConfig(key=SERVER, server_key=server_key, wait_for_accept=False)


@pytest.mark.shows("tls-keys")
@pytest.mark.parametrize("kind", KINDS)
async def test_s_server_with_the_right_key_is_believed_though_its_certificate_has_expired(
    kind: str, tmp_path: Path
) -> None:
    async with (
        s_server(*files(tmp_path, KINDS[kind]).arguments, "-Verify", "1") as port,
        await ss.open_secure_tcp_stream("127.0.0.1", port, client(hash_of(KINDS[kind]))) as stream,
    ):
        assert stream.peer.public_key == hash_of(KINDS[kind])
        assert stream.session.profile is ss.Profile.SECURE


@pytest.mark.shows("tls-keys")
@pytest.mark.parametrize("issuer", [None, RSA], ids=["self-signed", "certified by an authority"])
async def test_s_server_with_another_key_is_refused(issuer: object, tmp_path: Path) -> None:
    signer = RSA if issuer else None
    async with s_server(*files(tmp_path, P256, issuer=signer, years=(2020, 2099)).arguments) as port:
        with pytest.raises(ss.ServerKeyMismatch) as caught:
            await ss.open_secure_tcp_stream("127.0.0.1", port, client(hash_of(ED25519)))
    assert (caught.value.expected, caught.value.received) == (hash_of(ED25519), hash_of(P256))


@pytest.mark.shows("tls-keys")
async def test_s_server_with_a_key_of_a_kind_that_is_not_taken_is_refused(tmp_path: Path) -> None:
    async with s_server(*files(tmp_path, P521).arguments) as port:
        with pytest.raises(ss.HandshakeError, match="its key has to be Ed25519, ECDSA P-256 or P-384"):
            await ss.open_secure_tcp_stream("127.0.0.1", port, client(hash_of(P521)))


@pytest.mark.shows("tls-keys")
async def test_s_server_without_a_key_is_no_server() -> None:
    async with s_server("-nocert") as port:
        with pytest.raises(ss.HandshakeError, match=r"TLS: \w+ alert "):
            await ss.open_secure_tcp_stream("127.0.0.1", port, client(hash_of(ED25519)))


@pytest.mark.shows("tls-downgrade")
async def test_s_server_of_an_older_version_is_refused(tmp_path: Path) -> None:
    async with s_server(*files(tmp_path, ED25519).arguments, "-tls1_2") as port:
        with pytest.raises(ss.HandshakeError, match="TLS"):
            await ss.open_secure_tcp_stream("127.0.0.1", port, client(hash_of(ED25519)))
