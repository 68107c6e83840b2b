"""What an error says: each refusal has a text of its own, by which a log tells what was wrong."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, ParamSpec

import pytest

from securestream.protocol import sodium
from securestream.protocol.alerts import Alert, decode_alert_untrusted
from securestream.protocol.errors import ProtocolError
from securestream.protocol.handshake import SecretPolicy
from securestream.protocol.keys import LOW_ORDER, PrivateKey, PublicKey, SharedSecret
from securestream.protocol.messages import (
    MODE_PSK0,
    FrameReader,
    Kind,
    decode_alert_body_untrusted,
    decode_hello_untrusted,
)
from securestream.protocol.noise import XX, CipherState, HandshakeState
from securestream.protocol.padding import BlockPadding, BucketPadding, KeyedPadding, PaddingPolicy, RecordPadding
from securestream.protocol.records import RecordReader, RecordWriter
from securestream.protocol.suites import RecordType, Suite, sealer

from .support import (
    CLIENT_KEY,
    KEY,
    OTHER_KEY,
    OTHER_SECRET,
    SECRET,
    SERVER_KEY,
    body,
    flipped,
    new_client,
    new_forged,
    new_server,
    receive,
    shake_hands,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

P = ParamSpec("P")
XCHACHA, AEGIS = Suite.XCHACHA20_POLY1305, Suite.AEGIS_256


def text_of(step: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> str:
    with pytest.raises((ProtocolError, ValueError, TypeError)) as caught:
        step(*args, **kwargs)
    return str(caught.value)


# --- keys -------------------------------------------------------------------------------------------------


def test_texts_of_what_is_no_key() -> None:
    ones, low = b"\xff" * 32, min(LOW_ORDER)
    assert text_of(PublicKey, bytes(31)) == "a public key has 32 bytes, not 31"
    assert text_of(PublicKey, ones) == "not a public key: its encoding is not canonical"
    assert text_of(PublicKey, low) == "not a public key: a point of low order, which no honest program has"
    assert text_of(PrivateKey, bytes(31)) == "a private key has 32 bytes, not 31"
    assert text_of(PrivateKey, bytes(32)) == "a private key of nothing but zeros is no key"
    assert text_of(SharedSecret, bytes(32)) == "a shared secret of nothing but zeros is no secret"
    assert text_of(SharedSecret, bytes(31)) == "a shared secret has 32 to 4,096 bytes, not 31"
    assert text_of(CLIENT_KEY.exchange, bytes(33)) == "a public key has 32 bytes, not 33"
    assert text_of(CLIENT_KEY.exchange, low) == "a Diffie-Hellman with a point of low order"


def test_texts_of_what_is_no_keys_text() -> None:
    secret, shared = CLIENT_KEY.to_text(), SECRET.to_text()
    told = "this is a secret where a public key belongs; don't hand it out"
    assert text_of(PublicKey.from_text, secret) == text_of(PublicKey.from_text, shared) == told
    assert text_of(PublicKey.from_text, "!") == "not a public key: it is 44 characters of base64"
    assert text_of(PublicKey.from_text, "AAAA") == "not a public key: it is 44 characters of base64, this is 4"
    assert text_of(PrivateKey.from_text, shared) == "this is a shared secret where a private key belongs"
    assert text_of(PrivateKey.from_text, "!") == "not a private key: it is 44 characters of base64"
    assert text_of(SharedSecret.from_text, secret) == "this is a private key where a shared secret belongs"
    assert text_of(SharedSecret.from_text, "!") == "not a shared secret: not base64"


@pytest.mark.parametrize("secret", [CLIENT_KEY, SECRET], ids=lambda secret: type(secret).__name__)
def test_text_of_a_secret_that_is_copied(secret: PrivateKey | SharedSecret) -> None:
    name = type(secret).__name__
    assert text_of(copy.copy, secret) == f"{name} is not pickled or copied: use to_text() and from_text()"


# --- alerts -----------------------------------------------------------------------------------------------


def test_texts_of_what_is_no_alert() -> None:
    assert text_of(Alert, 0) == "an alert's code is between 1 and 65,535, not 0"
    assert text_of(Alert, 1, "x" * 16_346) == "an alert's message has at most 16345 bytes of UTF-8"
    assert text_of(Alert, 1, "\ud800") == "an alert's message must be encodable as UTF-8"
    told = "an alert has a number for a code and text for a message"
    assert text_of(Alert.of_application, "1", "") == text_of(Alert.of_application, 1, b"") == told  # type: ignore[arg-type]
    told = "an alert of the application's own has a code from 4,096 up, not 99"
    assert text_of(Alert.of_application, 99, "") == told
    assert text_of(decode_alert_untrusted, b"\1") == "an ALERT record without a code"
    for content in (b"\0\0", b"\1\0\xff"):
        assert text_of(decode_alert_untrusted, content) == "an ALERT record of code 0 or with bad UTF-8"
    assert text_of(decode_alert_body_untrusted, b"\1") == "an alert frame of the wrong length"
    assert text_of(decode_alert_body_untrusted, b"\0\0") == "an alert frame of code 0"


# --- frames and hello -------------------------------------------------------------------------------------


def test_texts_of_frames_that_are_refused() -> None:
    def read(frame: bytes, expected: Sequence[Kind]) -> None:
        reader = FrameReader()
        reader.feed(frame)
        reader.next_frame(expected)

    assert text_of(read, b"\x50\0\7", list(Kind)) == "the other side does not speak securestream"
    assert text_of(read, b"\x50\0\3", [Kind.HELLO]) == "a handshake frame of kind 3 where it does not belong"
    assert text_of(read, b"\x50\0\1", [Kind.HELLO]) == "a hello of 80 bytes"


@pytest.mark.parametrize(
    ("first", "name"),
    [
        (b"GET / HTTP/1.1\r\n", "HTTP"),
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (b"\x16\3\1\2\0\1\0\1\xfc\3\3", "TLS"),  # whose length and kind would be a hello's of 790 bytes
        (b"\x15\3\3\0\2\2\x46", "TLS"),
        (b"PROXY TCP4 192.0.2.1 ", "PROXY"),
        (b"\r\n\r\n\0\r\nQUIT\n", "PROXY"),
    ],
    ids=["http-request", "http-answer", "ssh", "tls-hello", "tls-alert", "proxy-1", "proxy-2"],
)
@pytest.mark.parametrize("expected", [Kind.HELLO, Kind.CHALLENGE])
def test_whoever_speaks_something_else_is_named(first: bytes, name: str, expected: Kind) -> None:
    def read(data: bytes) -> None:
        reader = FrameReader()
        reader.feed(data)
        reader.next_frame({expected, Kind.ALERT})

    assert name in text_of(read, first)
    assert text_of(read, first[:3]) == text_of(read, first)


def test_texts_of_a_hello_that_is_refused() -> None:
    plain = body(new_client().hello(), Kind.HELLO)
    header_only, duplicates = plain[:5], plain[:6] + b"\1\1" + plain[8:]
    assert text_of(decode_hello_untrusted, b"GET ") == "not a hello of this protocol"
    assert (
        text_of(decode_hello_untrusted, b"SSv2")
        == "version '2' of the protocol, and here is '1': update the older side"
    )
    assert text_of(decode_hello_untrusted, b"SSv\x1b").startswith(r"version '\x1b' of the protocol")
    assert text_of(decode_hello_untrusted, header_only) == "a hello that ends in its header"
    assert text_of(decode_hello_untrusted, plain[:4] + b"\4" + plain[5:]) == "mode 0x04, which is not known here"
    hybrid = plain[:4] + b"\2" + plain[5:]
    told = "a post-quantum handshake, which is not known here"
    assert text_of(decode_hello_untrusted, hybrid, MODE_PSK0) == told
    told = "a hello whose length is not what its mode and suite count say"
    assert text_of(decode_hello_untrusted, plain[:-1]) == told
    assert text_of(decode_hello_untrusted, duplicates) == "a hello whose suite list is empty or has duplicates"
    assert text_of(decode_hello_untrusted, plain[:-32] + b"\xff" * 32).startswith("not a public key")


# --- handshake --------------------------------------------------------------------------------------------


def hello(**client: object) -> bytes:
    return body(new_client(**client).hello(), Kind.HELLO)  # type: ignore[arg-type]


def test_texts_of_a_hello_that_the_server_refuses() -> None:
    required = new_server(secrets=[SECRET], secret_policy=SecretPolicy.REQUIRED)
    assert text_of(required.hello, hello()) == "no secret where this server demands one"
    assert text_of(new_server().hello, hello(secret=SECRET)) == "a secret where this server takes none"
    required = new_server(secrets=[SECRET], secret_policy=SecretPolicy.REQUIRED)
    assert text_of(required.hello, hello(secret=OTHER_SECRET)) == "a wrong secret"
    assert text_of(new_server(suites=[AEGIS]).hello, hello(suites=[XCHACHA])) == "no suite in common"
    told = "a route that is not for this server"
    assert text_of(new_server(require_route=True).hello, hello(server_key=None)) == told
    elsewhere = hello(server_key=OTHER_KEY.public_key, middlebox_key=SERVER_KEY.public_key)
    assert text_of(new_server().hello, elsewhere) == "a route that names another server"


def test_texts_of_messages_that_are_not_genuine() -> None:
    client, server = new_client(), new_server()
    server.hello(body(client.hello(), Kind.HELLO))
    challenge = body(server.challenge(), Kind.CHALLENGE)
    forged = flipped(challenge, 8 * 90)
    assert text_of(client.challenge, forged) == (
        "the challenge is not genuine: a ciphertext that does not authenticate"
    )
    told = "the response is not genuine: a ciphertext that does not authenticate"
    assert text_of(server.response, bytes(64)) == told


def test_text_of_a_suite_that_was_not_offered() -> None:
    client, server = new_client(suites=[AEGIS]), new_server()
    server.hello(body(client.hello(), Kind.HELLO))
    server._suite = XCHACHA
    told = "the server chose a suite that was not offered"
    assert text_of(client.challenge, body(server.challenge(), Kind.CHALLENGE)) == told


def test_text_of_a_diffie_hellman_that_a_server_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What decodes as a key and gives zeros all the same is refused by the Diffie-Hellman itself."""
    low_order = min(LOW_ORDER)
    exchange = PrivateKey.exchange
    monkeypatch.setattr(PrivateKey, "exchange", lambda own, _: exchange(own, low_order))
    server, told = new_server(), "a Diffie-Hellman with a point of low order"
    assert text_of(server.hello, hello(server_key=None)) == told


def test_texts_of_steps_out_of_order() -> None:
    client, server = new_client(), new_server()
    assert text_of(client.split) == "the handshake is not finished"
    assert text_of(client.response) == "RESPONSE in state START"
    assert text_of(server.response, b"") == "RESPONSE in state START"
    assert text_of(getattr, client, "handshake_hash") == "no handshake hash in state START"
    shake_hands(client, server)
    assert text_of(client.hello) == "HELLO in state FINISHED"
    told = "a handshake payload has at most 32,768 bytes, not 32,769"
    assert text_of(client.response, bytes(32_769)) == told


def test_texts_of_noise() -> None:
    cipher = CipherState(KEY)
    assert text_of(cipher.decrypt_with_ad, b"", bytes(15)) == "a ciphertext shorter than its tag"
    assert text_of(cipher.decrypt_with_ad, b"", bytes(16)) == "a ciphertext that does not authenticate"
    assert text_of(CipherState().key_bytes) == "a cipher without a key"
    told = "2^64 - 1 messages under one Noise key"
    assert text_of(CipherState(KEY, 2**64 - 1).encrypt_with_ad, b"", b"") == told
    noise = HandshakeState(XX, initiator=False, prologue=b"", s=SERVER_KEY)
    assert text_of(noise.split) == "split() before the last message"
    assert text_of(noise.write_message) == "not this side's turn in the handshake"
    assert text_of(noise.read_message, bytes(31)) == "a handshake message that ends too early"


# --- records ----------------------------------------------------------------------------------------------


def failure_of(reader: RecordReader, wire: bytes) -> str:
    receive(reader, wire)
    assert reader.failure is not None
    return str(reader.failure)


def test_texts_of_records_that_are_refused(suite: Suite) -> None:
    def fails(record_type: int, content: bytes = b"", *, first: bool = False, size: int | None = None) -> str:
        forger, reader = new_forged(suite, expects_verdict=first)
        return failure_of(reader, forger.record(record_type, content, size=size))

    assert fails(9) == "a record of unknown type 9"
    assert fails(RecordType.DATA, first=True) == "the server's first record is neither ACCEPT nor ALERT"
    assert fails(RecordType.CLOSE, b"x") == "a CLOSE record with content"
    assert fails(RecordType.ACCEPT) == "an ACCEPT out of place"
    length = 22 if suite is XCHACHA else 37
    assert fails(RecordType.DATA, size=4) == f"a record of {length} bytes with a size of 4"
    forger, reader = new_forged(suite)
    assert failure_of(reader, flipped(forger.record(RecordType.DATA), 100)) == "a record that does not authenticate"
    assert failure_of(new_forged(suite)[1], b"\3\0") == "a record of 3 bytes"
    forger, reader = new_forged(suite)
    assert failure_of(reader, forger.record(RecordType.DATA) + b"\4\0") == "a record of 4 bytes"


def test_text_of_a_tag_that_disagrees() -> None:
    forger, reader = new_forged(XCHACHA)
    told = "a record whose tag and type disagree"
    assert failure_of(reader, forger.record(RecordType.CLOSE, tag=0)) == told


def test_texts_of_what_is_not_sealed(suite: Suite) -> None:
    writer = RecordWriter(suite, KEY)
    told = f"a record has at most {writer.capacity:,} bytes of content, not {writer.capacity + 1:,}"
    assert text_of(writer.control, RecordType.DATA, bytes(writer.capacity + 1)) == told
    writer.control(RecordType.CLOSE)
    assert text_of(writer.control, RecordType.DATA) == "a record after the last one of its direction"


def test_text_of_a_key_that_is_exhausted() -> None:
    seal = sealer(AEGIS, KEY)
    seal._number = 2**64 - 1  # type: ignore[attr-defined]
    buffer = sodium.backend.Buffer(64)
    assert text_of(seal.seal, buffer, 0, 3, RecordType.DATA) == "2^64 records under one AEGIS-256 key"


class WrongFlush(PaddingPolicy):
    def pad_flush(self, length: int) -> int:
        return -1


class WrongRecord(PaddingPolicy):
    def pad_record(self, record_type: int, length: int, room: int) -> int:
        return -2


def test_texts_of_a_padding_policy_that_is_out_of_bounds() -> None:
    writer = RecordWriter(AEGIS, KEY, WrongFlush())
    told = "WrongFlush.pad_flush(4) returned -1: out of bounds, an int from 4 to 16,777,220"
    assert text_of(writer.data, memoryview(b"text")) == told
    told = "WrongFlush.pad_flush(1) returned -1: out of bounds, an int from 1 to 16,777,217"
    assert text_of(writer.control, RecordType.CLOSE) == told
    writer.padding = WrongRecord()
    told = "WrongRecord.pad_record(0, 4, 16343) returned -2: out of bounds, an int from 0 to 16,343"
    assert text_of(writer.data, memoryview(b"text")) == told


def test_texts_of_what_is_no_padding_policy() -> None:
    assert text_of(BucketPadding, []) == "buckets are at least one size"
    assert text_of(BlockPadding, 0) == "a size of padding is 1 to 16,777,216 bytes, not 0"
    assert text_of(KeyedPadding, bytes(65), 1) == "the key of a padding has 16 to 64 bytes, not 65"
    told = "RecordPadding takes a callable: (record_type, length, room) -> padding"
    assert text_of(RecordPadding, None) == told  # type: ignore[arg-type]
