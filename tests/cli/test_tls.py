"""TLS from the command line: it is the keys that say so. With OpenSSL's own client, too."""

from __future__ import annotations

import contextlib
import shlex
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from securestream.trust.keyfile import write_key_file

from ..streams.tls_support import KINDS, files, hash_of, needs_openssl, pem, s_client
from .support import Keys, cli, port_of, read_all, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

RESPONSE = b"\x43\x00\x03" + bytes(64)


class TlsKeys:
    """A server's and a client's, in files."""

    def __init__(self, folder: Path) -> None:
        self.server, self.client = ss.TlsPrivateKey.generate(), ss.TlsPrivateKey.generate()
        self.server_file, self.client_file = folder / "tls-server.key", folder / "tls-client.key"
        write_key_file(self.server_file, self.server)
        write_key_file(self.client_file, self.client)
        self.server_public, self.client_public = str(self.server.public_key), str(self.client.public_key)

    def string(self, port: int) -> str:
        hash_of_server = self.server.public_key.base64
        return f"Server=127.0.0.1:{port};Server Key Hash={hash_of_server};Client Key={self.client_file}"


@pytest.fixture
def tls(tmp_path: Path) -> TlsKeys:
    return TlsKeys(tmp_path)


@contextlib.asynccontextmanager
async def echo(key: Path, *more: str) -> AsyncIterator[int]:
    async with running("echo", "--key", key, "--listen", "127.0.0.1:0", *more) as server:
        yield await port_of(server)


async def test_with_keys_for_tls_echo_and_connect_talk_over_it(tls: TlsKeys) -> None:
    async with echo(tls.server_file, "--allow", tls.client_public) as port:
        where = ["connect", f"127.0.0.1:{port}", "--server-key", tls.server_public]
        known = await cli(*where, "--key", tls.client_file, stdin=b"hello")
        stranger = await cli(*where, stdin=b"hello")
        string = await cli("connect", tls.string(port), stdin=b"hello")
    assert (known.status, known.out, known.err) == (string.status, string.out, string.err) == (0, b"hello", "")
    assert (stranger.status, stranger.out) == (1, b"")
    assert "is not authorised here [access_denied]; without --key FILE a client is nobody" in stranger.err


async def test_who_comes_over_the_other_wire_is_told_which_one_it_is(tls: TlsKeys, keys: Keys) -> None:
    async with echo(tls.server_file, "--allow-anyone") as port:
        noise = await cli("connect", f"127.0.0.1:{port}", "--server-key", keys.server_public)
    async with running("echo", "--key", keys.server_file, "--allow-anyone", "--listen", "127.0.0.1:0") as server:
        over_tls = await cli("connect", f"127.0.0.1:{await port_of(server)}", "--server-key", tls.server_public)
        server.terminate()
        told = await read_all(server.stderr)
    assert (noise.status, noise.err) == (
        1,
        "securestream: the other side speaks TLS, and this side's keys are not for TLS\n",
    )
    assert (over_tls.status, over_tls.err) == (
        1,
        "securestream: TLS: wrong version number; does the other side speak TLS?\n",
    )
    assert b": the other side speaks TLS, and this side's keys are not for TLS [protocol_error]\n" in told


async def test_a_server_s_hash_is_believed_at_first_use_and_then_only_that_one(tls: TlsKeys, tmp_path: Path) -> None:
    servers = tmp_path / "servers"
    async with echo(tls.server_file, "--allow-anyone") as port:
        where = ["connect", f"127.0.0.1:{port}", "--known-servers", str(servers)]
        first = await cli(*where, "--trust-first-use", "--key", tls.client_file, stdin=b"hello")
        again = await cli(*where, stdin=b"hello")  # what is known of the server says which wire it is
        servers.write_text(f"{tls.client_public} 127.0.0.1:{port}\n")
        other = await cli(*where, stdin=b"hello")
    assert (first.status, first.out) == (0, b"hello")
    assert f"trusted at first use with the key {tls.server_public}" in first.err
    assert (again.status, again.out, again.err) == (0, b"hello", "")
    assert (other.status, other.out) == (1, b"")
    assert f"has {tls.client_public} for 127.0.0.1:{port}" in other.err


async def test_a_tunnel_goes_over_tls_where_its_keys_are_for_it(tls: TlsKeys) -> None:
    served = ["--key", str(tls.server_file), "--allow", tls.client_public, "--listen", "127.0.0.1:0"]
    async with running("tunnel", "server", *served, "--target", "/bin/cat") as far:
        string = tls.string(await port_of(far))
        async with (
            running("tunnel", "client", "--listen", "127.0.0.1:0", "--connect", string) as near,
            await trio.open_tcp_stream("127.0.0.1", await port_of(near)) as local,
        ):
            await local.send_all(b"hello")
            await local.send_eof()
            assert await read_all(local) == b"hello"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--server-key", "{server}", "--key", "{noise}"], "one of --key and --server-key is for TLS"),
        (["--server-key", "{noise_public}", "--key", "{client}"], "one of --key and --server-key is for TLS"),
        (["--server-key", "{server}", "--secret-file", "{secret}"], "--secret-file is not for TLS"),
        (["--server-key", "{server}", "--post-quantum", "require"], "--post-quantum is not for TLS"),
    ],
)
async def test_what_belongs_to_the_other_wire_is_refused(
    options: list[str], message: str, tls: TlsKeys, keys: Keys, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text(ss.SharedSecret(bytes(range(32))).to_text())
    names = {"server": tls.server_public, "client": str(tls.client_file), "secret": str(secret)}
    names |= {"noise": str(keys.client_file), "noise_public": keys.server_public}
    result = await cli("connect", "127.0.0.1:1", *(option.format(**names) for option in options))
    assert (result.status, result.out) == (2, b"")
    assert result.err.startswith(f"securestream: {message}")


@pytest.mark.parametrize("command", [("echo",), ("tunnel", "server", "--target", "127.0.0.1:1")])
async def test_a_server_is_given_no_client_of_the_other_wire(
    command: tuple[str, ...], tls: TlsKeys, keys: Keys
) -> None:
    served = (*command, "--listen", "127.0.0.1:0", "--key")
    over_tls = await cli(*served, str(tls.server_file), "--allow", tls.client_public, "--allow", keys.client_public)
    without = await cli(*served, str(keys.server_file), "--allow", tls.client_public)
    assert (over_tls.status, without.status) == (2, 2)
    assert over_tls.err.startswith(f"securestream: --allow {keys.client_public} is not for TLS, and --key is (see")
    assert without.err.startswith(f"securestream: --allow {tls.client_public} is for TLS, and --key is not (see")


async def test_a_key_of_the_other_wire_in_a_connection_string_is_told_where_it_belongs(
    tls: TlsKeys, keys: Keys
) -> None:
    noise = await cli("connect", f"Server=h:1;Server Key Hash={tls.server_public};Client Key={keys.client_file}")
    hash_in_key = await cli("connect", f"Server=h:1;Server Key={tls.server_public};Client Key={tls.client_file}")
    assert (noise.status, hash_in_key.status) == (2, 2)
    assert "a private key for Noise, where one for TLS belongs: keygen --tls makes one" in noise.err
    assert "Server Key: this is the hash of a key for TLS; give it as Server Key Hash" in hash_in_key.err


async def test_a_secret_for_tls_on_the_command_line_is_not_repeated(tls: TlsKeys) -> None:
    secret = tls.client.to_text()
    for arguments in (["connect", secret], ["echo", "--listen", secret], ["check", "--connect", f"Key {secret}=x"]):
        assert secret[15:] not in (await cli(*arguments)).err


async def test_check_knows_keys_for_tls(tls: TlsKeys, tmp_path: Path) -> None:
    clients = tmp_path / "clients"
    clients.touch(0o600)
    clients.write_text(f"{tls.client_public} alice\n")
    looked = ["--key", str(tls.server_file), "--clients", str(clients), "--connect", tls.string(1)]
    result = await cli("check", *looked)
    assert (result.status, result.err) == (0, "")
    for told in (tls.server_public, f"{tls.client_public}  alice", "Transport=tls", tls.server.public_key.base64):
        assert told in result.out.decode()


# --- with OpenSSL -------------------------------------------------------------------------------------


@needs_openssl
async def test_s_client_with_a_listed_key_is_echoed_and_others_are_not(tls: TlsKeys, tmp_path: Path) -> None:
    record = b"\x0a\x00\x08\x00\x00hello"  # length, size, type 0: data
    close = b"\x05\x00\x03\x00\x02"
    key, stranger = KINDS["ECDSA P-256"], KINDS["Ed25519"]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with echo(tls.server_file, "--allow", str(hash_of(key))) as port:
        said = await s_client(port, *files(tmp_path / "a", key).arguments, says=RESPONSE + record + close)
        refused = await s_client(port, *files(tmp_path / "b", stranger).arguments, says=RESPONSE + record + close)
        nobody = await s_client(port, says=RESPONSE + record + close)
    assert "hello" in said
    assert f"{hash_of(stranger)} is not authorised here" in refused
    assert "hello" not in refused
    assert "certificate required" in nobody


@needs_openssl
async def test_a_key_made_by_openssl_serves_and_its_hash_is_what_openssl_says(tmp_path: Path) -> None:
    file = tmp_path / "server.pem"
    file.touch(0o600)
    file.write_bytes(pem(KINDS["RSA"]))
    public = f"openssl pkey -in {shlex.quote(str(file))} -pubout -outform DER | openssl dgst -sha256 -binary | base64"
    told = (await trio.run_process(["sh", "-c", public], capture_stdout=True)).stdout.decode().strip()
    async with echo(file, "--allow-anyone") as port:
        result = await cli("connect", f"Server=127.0.0.1:{port};Server Key Hash={told}", stdin=b"hello")
    assert (result.status, result.out, result.err) == (0, b"hello", "")
