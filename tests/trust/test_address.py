"""Connection strings: the seed's forms, quoting, and what a person gets to read who wrote one wrongly."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import securestream as ss
from securestream.protocol import hybrid
from securestream.protocol.hybrid import PostQuantum
from securestream.trust.address import NAMES, ConnectionString, Transport, parse_connection_string

from ..protocol.support import PROPERTY

if TYPE_CHECKING:
    from pathlib import Path

SERVER, CLIENT, ROUTER = (ss.PrivateKey(bytes([n]) * 32) for n in (1, 2, 3))
SERVER_KEY, ROUTER_KEY = str(SERVER.public_key), str(ROUTER.public_key)
PLAIN_SECRET = CLIENT.to_text().removeprefix("ss-secret:")
SEED = f"Server=northwind.database.local:9222;Database=Orders;Server Key={SERVER_KEY};Client Secret Key={PLAIN_SECRET}"
HASH = base64.b64encode(bytes(32)).decode()
SEED_TLS = f"Server=northwind.database.local:9222;Database=Orders;Server Key Hash={HASH};Client Key=client.key"
MINIMAL = f"Server=host:1;Server Key={SERVER_KEY}"


def test_the_seeds_form_holds_all_one_needs() -> None:
    found = parse_connection_string(SEED)
    assert (found.host, found.port) == ("northwind.database.local", 9222)
    assert (found.server_key, found.client_key) == (SERVER.public_key, CLIENT)
    assert found.fields == {"Database": "Orders"}


def test_every_field_is_understood() -> None:
    found = parse_connection_string(
        f"{MINIMAL};Middlebox Key={ROUTER_KEY};Shared Secret File=gate.key;Client Key=client.key;Timeout=2.5"
        ";Transport=secure;Post Quantum=Require"
    )
    assert found.middlebox_key == ROUTER.public_key
    assert (found.shared_secret_file, found.client_key_file, found.timeout) == ("gate.key", "client.key", 2.5)
    assert found.post_quantum == "require"


def test_names_are_compared_without_regard_to_case_and_blanks() -> None:
    shouted = SEED.replace("Server Key", "SERVERKEY").replace("Client Secret Key", "client secret  KEY")
    assert parse_connection_string(shouted) == parse_connection_string(SEED)


def test_blanks_around_names_and_values_and_empty_fields_mean_nothing() -> None:
    spread = " ; " + SEED.replace(";", " ;; ").replace("=n", " = n") + " ; "
    assert parse_connection_string(spread) == parse_connection_string(SEED)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('"a;b"', "a;b"), ("'a;b'", "a;b"), ('"say ""hi"""', 'say "hi"'), ("'it''s'", "it's"), ('" x "', " x "),
        ('""', ""), ("", ""), ("a=b", "a=b"), ("a'b", "a'b"), ("\"it's\"", "it's"),
    ],
)  # fmt: skip
def test_values_may_be_quoted(written: str, value: str) -> None:
    assert parse_connection_string(f"{MINIMAL};Note={written};Last=1").fields == {"Note": value, "Last": "1"}


@pytest.mark.parametrize("host", ["db.example", "10.0.0.1", "[::1]", "[fe80::1%eth0]"])
def test_a_server_is_a_name_or_an_address_and_a_port(host: str) -> None:
    found = parse_connection_string(f"Server={host}:65535;Server Key={SERVER_KEY}")
    assert (found.host, found.port) == (host.strip("[]"), 65_535)


names = st.from_regex(r"App[a-z]{0,6}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@PROPERTY
@given(
    host=st.sampled_from(["db.example", "::1"]),
    port=st.integers(1, 65_535),
    timeout=st.none() | st.sampled_from([0.5, 1, 30]),
    client=st.sampled_from(["", "secret", "file"]),
    post_quantum=st.sampled_from([None, *get_args(PostQuantum)]),
    files=st.from_regex(r"[a-z][ -~]{0,10}[a-z]", fullmatch=True),
    fields=st.dictionaries(names, texts, max_size=3),
)
def test_what_is_written_out_is_read_back_the_same(
    host: str,
    port: int,
    timeout: float | None,
    client: str,
    post_quantum: PostQuantum | None,
    files: str,
    fields: dict[str, str],
) -> None:
    written = ConnectionString(
        host=host,
        port=port,
        server_key=SERVER.public_key,
        client_key=CLIENT if client == "secret" else None,
        client_key_file=files if client == "file" else "",
        shared_secret_file=files,
        post_quantum=post_quantum,
        timeout=timeout,
        fields=fields,
    )
    assert parse_connection_string(written.to_text(with_secrets=True)) == written


def test_it_shows_its_secret_only_when_asked_to_by_name() -> None:
    found = parse_connection_string(SEED)
    assert PLAIN_SECRET in found.to_text(with_secrets=True)
    for text in (repr(found), str(found), f"{found}", found.to_text()):
        assert PLAIN_SECRET not in text
    assert str(found).endswith(";Client Secret Key=(hidden)")
    assert parse_connection_string(found.to_text()) == replace(found, client_key=None)


@pytest.mark.parametrize("seconds", ["0.00001", "0.1", "1234.5678", "86400"])
def test_a_timeout_is_written_as_exactly_as_it_was_read(seconds: str) -> None:
    assert f"Timeout={seconds}" in parse_connection_string(f"{MINIMAL};Timeout={seconds}").to_text()


def test_the_seeds_other_form_asks_for_tls() -> None:
    found = parse_connection_string(SEED_TLS)
    assert (found.transport, found.server_key_hash, found.client_key_file) == (
        Transport.TLS,
        ss.KeyHash(bytes(32)),
        "client.key",
    )
    assert parse_connection_string(found.to_text()) == found
    assert parse_connection_string(f"Server=host:1;Server Key Hash={HASH};Transport=TLS").transport is Transport.TLS


def test_a_connection_string_for_tls_gives_a_configuration_for_it(tmp_path: Path) -> None:
    key = ss.TlsPrivateKey.generate()
    ss.write_key_file(tmp_path / "client.key", key)
    text = f"Server=host:1;Database=Orders;Server Key Hash={HASH};Client Key={tmp_path / 'client.key'};Timeout=3"
    found = ss.parse_address(text)
    assert isinstance(found.config, ss.TlsClientConfig)
    assert (found.config.key, found.config.server_key) == (key, ss.KeyHash(bytes(32)))
    assert found.config.handshake_timeout == 3
    assert found.to_text() == text.replace("Orders", "Orders;Transport=tls")


@pytest.mark.parametrize("choice", get_args(PostQuantum))
def test_what_it_says_of_post_quantum_is_what_the_client_does(choice: PostQuantum) -> None:
    assert ss.parse_address(f"{MINIMAL};Post Quantum={choice}").config.post_quantum == choice


def test_to_require_post_quantum_without_the_extra_is_an_error_that_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hybrid, "available", lambda: False)
    assert ss.parse_address(MINIMAL).config.post_quantum == "off"
    with pytest.raises(ss.AddressError, match=r"^Post Quantum: .* pip install 'securestream\[pq\]'$"):
        ss.parse_address(f"{MINIMAL};Post Quantum=require")


WRONG = {
    "": "Server: give it as host:port",
    "Server=host": "Server: give it as host:port",
    "Server=:9": "Server: give it as host:port",
    "Server=a b:9": "Server: give it as host:port",
    "Server=::1:9": "Server: an IPv6 address goes in brackets, as in [::1]:9222",
    "Server=host:0": "Server: the port is a number from 1 to 65535",
    "Server=host:65536": "Server: the port is a number from 1 to 65535",
    "Server=host:ssh": "Server: the port is a number from 1 to 65535",
    "Server=host:٣": "Server: the port is a number from 1 to 65535",
    "Server=host:1": "Server Key is missing: without it, or a Shared Secret File, anyone could stand in the middle",
    "host:1": "field 1: a name and a value, with = in between, as Server=db.example:9222",
    f"{MINIMAL};x": "field 3: a name and a value, with = in between, as Server=db.example:9222",
    f"{MINIMAL};=x": "field 3: a value without a name",
    f"{MINIMAL};server key=x": "server key: given twice",
    f"{MINIMAL};Note=1;NOTE=2": "NOTE: given twice",
    f"{MINIMAL};Note='x": "Note: the closing ' is missing",
    f"{MINIMAL};Note='x'y": "Note: something follows the closing '",
    f"Server=host:1;Sever Key={SERVER_KEY}": "Sever Key: not known here; is it to be Server Key?",
    f"{MINIMAL};Client Secert Key={PLAIN_SECRET}": "Client Secert Key: not known here; is it to be Client Secret Key?",
    f"{MINIMAL};Client Key=": "Client Key: name a file",
    f"{MINIMAL};Client Key={CLIENT.to_text()}": "Client Key: this is a secret where the name of a file belongs",
    f"{MINIMAL};Client Key=a;Client Secret Key={PLAIN_SECRET}": "Client Key and Client Secret Key: give one of them",
    f"Server=host:1;Server Key={CLIENT.to_text()}": (
        "Server Key: this is a secret where a public key belongs; don't hand it out"
    ),
    "Server=host:1;Server Key=abc": "Server Key: not a public key: it is 44 characters of base64",
    f"{MINIMAL};Client Secret Key={SERVER_KEY}": (
        "Server Key and Client Secret Key are the same text; one of them is in the wrong place"
    ),
    f"{MINIMAL};Client Secret Key={SERVER.to_text()}": (
        "Client Secret Key is the secret key of the server itself; make one for the client"
    ),
    f"{MINIMAL};Client Secret Key=ss-shared:{PLAIN_SECRET}": (
        "Client Secret Key: this is a shared secret where a private key belongs"
    ),
    f"{MINIMAL};Timeout=0": "Timeout: seconds, more than none and at most 86,400",
    f"{MINIMAL};Timeout=-1": "Timeout: seconds, more than none and at most 86,400",
    f"{MINIMAL};Timeout=nan": "Timeout: seconds, more than none and at most 86,400",
    f"{MINIMAL};Timeout=1e9": "Timeout: seconds, more than none and at most 86,400",
    f"{MINIMAL};Transport=udp": "Transport: secure, which goes without saying, or tls",
    f"{MINIMAL};Post Quantum=": "Post Quantum: prefer, which goes without saying, require, or off",
    f"{MINIMAL};Post Quantum=fallback": "Post Quantum: prefer, which goes without saying, require, or off",
    f"{MINIMAL};Post-Quantum=require": "a field with a strange name: not known here; is it to be Post Quantum?",
    f"{SEED_TLS};Post Quantum=prefer": "Post Quantum: not with Transport=tls",
    f"{MINIMAL};Server Key Hash=x": "Server Key Hash: not the SHA-256 of a public key: it is 44 characters of base64",
    f"{MINIMAL};Server Key Hash={HASH};Transport=secure": (
        "Server Key Hash is for Transport=tls; without TLS give the Server Key"
    ),
    "Server=host:1;Transport=tls": (
        "Server Key Hash is missing: without it, anyone could stand in the middle of Transport=tls"
    ),
    f"{SEED_TLS};Server Key={SERVER_KEY}": "Server Key: not with Transport=tls; give Server Key Hash",
    f"Server=h:1;Server Key Hash={HASH};Client Secret Key={PLAIN_SECRET}": (
        "Client Secret Key: not with Transport=tls; give Client Key, a file"
    ),
    f"{SEED_TLS};Middlebox Key={ROUTER_KEY}": "Middlebox Key: not with Transport=tls",
    f"{SEED_TLS};Shared Secret File=group.secret": "Shared Secret File: not with Transport=tls",
    f"Server=h:1;Server Key Hash=ss-ed25519:{PLAIN_SECRET}": (
        "Server Key Hash: this is a secret where the hash of a public key belongs; don't hand it out"
    ),
    "x" * 65_537: "a connection string has at most 65,536 characters",
}


@pytest.mark.parametrize("text", WRONG)
def test_each_mistake_has_one_line_that_says_what_to_do(text: str) -> None:
    with pytest.raises(ss.AddressError) as caught:
        parse_connection_string(text)
    assert str(caught.value) == WRONG[text]
    assert PLAIN_SECRET not in str(caught.value)


@PROPERTY
@given(st.text(max_size=100) | st.text(st.sampled_from("Server Key=;'\"abc:1 "), max_size=60))
def test_any_text_is_a_connection_string_or_an_address_error(text: str) -> None:
    with contextlib.suppress(ss.AddressError):
        parse_connection_string(text)


@PROPERTY
@given(st.sampled_from(NAMES), st.text(max_size=60))
def test_any_value_of_a_known_field_is_taken_or_refused(name: str, value: str) -> None:
    with contextlib.suppress(ss.AddressError):
        parse_connection_string(f"{MINIMAL};{name}={value}")


def test_a_secret_without_its_name_is_not_repeated() -> None:
    with pytest.raises(ss.AddressError) as caught:
        parse_connection_string(f"{PLAIN_SECRET};{PLAIN_SECRET};{MINIMAL}")
    assert str(caught.value) == "a field with a strange name: given twice"
