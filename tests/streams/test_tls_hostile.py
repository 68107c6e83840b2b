"""Hostile peers and networks over TLS: frames and records that TLS lets through, connections cut at any byte,
certificates that make no sense. What comes of it is one family of errors, and never an end or a crash."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from cryptography.hazmat.primitives import serialization
from OpenSSL import crypto

import securestream as ss
from securestream.protocol.messages import Kind, encode_frame
from securestream.protocol.openssl import private_key_of
from securestream.protocol.records import End, RecordReader
from securestream.protocol.suites import RecordType
from securestream.streams.tls_certificate import self_signed
from securestream.streams.tls_channel import TlsChannel
from securestream.testing import secure_stream_pair

from .support import (
    Configs,
    Puppet,
    TlsStream,
    client_and_puppet,
    in_background,
    matching_tls_configs,
    puppet_client,
    receive_until_error,
)
from .transports import Tap, memory_pair

if TYPE_CHECKING:
    from trio.testing import MockClock

    from ..conftest import Tries


@pytest.fixture
def configs() -> Configs:
    return matching_tls_configs()


# --- frames and records inside TLS ------------------------------------------------------------------------


def record(record_type: int, content: bytes = b"", *, size: int | None = None, length: int | None = None) -> bytes:
    """By hand: a size or a length that isn't true may be given."""
    size, length = size or 3 + len(content), length or 5 + len(content)
    return length.to_bytes(2, "little") + size.to_bytes(2, "little") + bytes([record_type]) + content


RESPONSES = {
    "nothing but zeros": bytes(67),
    "a hello": encode_frame(Kind.HELLO, b"SSv1" + bytes(90)),
    "a challenge": encode_frame(Kind.CHALLENGE, bytes(97)),
    "an alert in clear": encode_frame(Kind.ALERT, b"\x07\0"),
    "too short": b"\x42\x00\x03" + bytes(63),
    "too long": b"\xff\xff\x03",
    "another head": encode_frame(Kind.RESPONSE, bytes(63) + b"\1"),
    "a record": record(RecordType.DATA, bytes(100)),
    "TLS once more": b"\x16\x03\x01\x02\x00\x01" + bytes(200),
}


@pytest.mark.shows("tls-hostile")
@pytest.mark.parametrize("said", RESPONSES.values(), ids=RESPONSES)
async def test_a_client_that_says_anything_but_a_response_inside_tls_is_told_so(
    said: bytes, configs: Configs, autojump_clock: MockClock
) -> None:
    code = ss.AlertCode.BAD_RESPONSE if said == RESPONSES["another head"] else ss.AlertCode.PROTOCOL_ERROR
    near, far = await memory_pair()
    async with in_background(partial(refused, far, configs[1])):
        inside = inside_tls(configs[0], near)
        await inside.shake_hands()
        await inside.send_all(said)
        reader = RecordReader(ss.TlsSuite.TLS_1_3, b"", expects_verdict=True)
        reader.feed(await inside.receive_some())
        assert (reader.read(), reader.end) == (b"", End.ALERTED)
        assert reader.alert == ss.Alert(code)
        await near.aclose()


async def refused(transport: trio.abc.Stream, config: ss.ServerConfig) -> None:
    with pytest.raises(ss.HandshakeError):
        await ss.wrap_server(transport, config)


def inside_tls(config: ss.ClientConfig, transport: trio.abc.Stream) -> TlsStream:
    channel = config._new_channel(transport)
    assert isinstance(channel, TlsChannel)
    return TlsStream(channel)


RECORDS = {
    "no length": bytes(5),
    "a length of 4": record(RecordType.DATA, length=4),
    "too long": record(RecordType.DATA, length=16_385),
    "a size below 3": record(RecordType.DATA, b"xx", size=2),
    "a size beyond the record": record(RecordType.DATA, b"xx", size=6),
    "an unknown type": record(5),
    "a second ACCEPT": record(RecordType.ACCEPT),
    "an alert of code 0": record(RecordType.ALERT, b"\0\0"),
    "an alert of one byte": record(RecordType.ALERT, b"\7"),
    "an alert that is no text": record(RecordType.ALERT, b"\7\0\xff"),
    "a CLOSE with content": record(RecordType.CLOSE, b"x"),
    "a KEY_UPDATE with content": record(RecordType.KEY_UPDATE, b"x"),
    "an alert in clear": encode_frame(Kind.ALERT, b"\x07\0"),
}


@pytest.mark.shows("tls-hostile")
@pytest.mark.parametrize("by", ["client", "server"])
@pytest.mark.parametrize("said", RECORDS.values(), ids=RECORDS)
async def test_a_wrong_record_inside_tls_is_a_bad_record_and_its_writer_hears_of_it(
    said: bytes, by: str, configs: Configs, autojump_clock: MockClock
) -> None:
    transports: tuple[trio.abc.Stream, trio.abc.Stream] = await memory_pair()
    meet = client_and_puppet if by == "server" else server_and_puppet
    stream, puppet = await meet(transports, configs)
    await puppet.say(puppet.data(b"whole"), said, puppet.data(b"never"))
    received, error = await receive_until_error(stream)
    assert received == b"whole"
    assert isinstance(error, ss.BadRecord)
    async with in_background(stream.aclose):
        assert (await puppet.hear())[1] is End.ALERTED
        await puppet.transport.aclose()


async def server_and_puppet(
    transports: tuple[trio.abc.Stream, trio.abc.Stream], configs: Configs
) -> tuple[ss.SecureStream[trio.abc.Stream], Puppet[trio.abc.Stream]]:
    """A server whose client is moved by hand."""
    puppets: list[Puppet[trio.abc.Stream]] = []

    async def connect() -> None:
        puppets.append(await puppet_client(transports[0], configs[0]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        stream = await ss.wrap_server(transports[1], configs[1])
    return stream, puppets[0]


# --- a connection that is cut -----------------------------------------------------------------------------


CLOSE_NOTIFY = 5 + 2 + 1 + 16  # as TLS sends it behind CLOSE: a header, the alert, its type, a tag


class CutAt(Tap):
    """Lets so many bytes through, and then ends."""

    def __init__(self, inner: trio.abc.HalfCloseableStream, most: int) -> None:
        super().__init__(inner)
        self._left = most

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._left < 0:
            return await trio.lowlevel.checkpoint()
        await super().send_all(bytes(data)[: self._left])
        self._left -= len(data)
        if self._left < 0:
            await self.inner.send_eof()
        return None


@pytest.mark.shows("tls-end")
@pytest.mark.parametrize("who", ["client", "server"])
async def test_a_connection_that_is_cut_at_any_byte_gives_a_prefix_and_an_error_and_never_an_end(
    who: str, configs: Configs, autojump_clock: MockClock, tries: Tries
) -> None:
    whole = len((await conversation(configs, who, 10**6))[0]) - CLOSE_NOTIFY
    places = random.Random(0).sample(range(whole), tries.choose(small=60, full=whole))
    for place in places:
        _, received, error = await conversation(configs, who, place)
        assert b"questionquestion".startswith(received)
        assert isinstance(error, ss.TruncatedStream | ss.HandshakeTruncated), (place, error)
    tries.tried(len(places))
    assert (await conversation(configs, who, whole))[2] is None


async def conversation(configs: Configs, who: str, most: int) -> tuple[bytes, bytes, ss.StreamError | None]:
    """What `who` has sent, where so many bytes of it pass; what the other side has received, and its error."""
    near, far = await memory_pair()
    tap = CutAt(near if who == "client" else far, most)
    transports = (tap, far) if who == "client" else (near, tap)
    sides = partial(ss.wrap_client, transports[0], configs[0]), partial(ss.wrap_server, transports[1], configs[1])
    speak, listen = sides if who == "client" else sides[::-1]
    ends: list[tuple[bytes, ss.StreamError | None]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speaking, speak)
        nursery.start_soon(listening, listen, ends)
    return tap.sent, *ends[0]


Wrap = Callable[[], Awaitable[ss.SecureStream[trio.abc.Stream]]]


async def speaking(wrap: Wrap) -> None:
    with contextlib.suppress(ss.StreamError):
        async with await wrap() as stream:
            for _ in range(2):
                await stream.send_all(b"question")
            await stream.send_eof()
            await stream.receive_some()


async def listening(wrap: Wrap, ends: list[tuple[bytes, ss.StreamError | None]]) -> None:
    received = b""
    try:
        async with await wrap() as stream:
            async for chunk in stream:
                received += chunk
        ends.append((received, None))
    except ss.StreamError as exc:
        ends.append((received, exc))


# --- certificates -----------------------------------------------------------------------------------------

VERSION = bytes.fromhex("a003020102")
NONSENSE = {
    "version 10": (VERSION, VERSION[:-1] + b"\x09"),
    "serial number 0": (VERSION + b"\2\1\1", VERSION + b"\2\1\0"),
    "serial number -1": (VERSION + b"\2\1\1", VERSION + b"\2\1\xff"),
    "a date that is none": (b"500101000000Z", b"509901000000Z"),
    "a name of zeros": (b"securestream", bytes(12)),
}


@pytest.mark.shows("tls-keys")
@pytest.mark.parametrize("name", NONSENSE)
async def test_a_certificate_that_makes_no_sense_is_as_good_as_any_for_its_key(
    name: str, configs: Configs, autojump_clock: MockClock
) -> None:
    for config in configs:
        show(config, *NONSENSE[name])
    near, far = await secure_stream_pair(await memory_pair(), configs)
    assert near.peer.public_key == configs[1].key.public_key
    assert far.peer.principal == far.peer.public_key


def show(config: ss.ClientConfig | ss.ServerConfig, genuine: bytes, put_in: bytes) -> None:
    """Has it show a certificate with something changed; nobody looks at the signature."""
    assert isinstance(config, ss.TlsClientConfig | ss.TlsServerConfig)
    assert config.key is not None
    der = self_signed(private_key_of(config.key)).public_bytes(serialization.Encoding.DER)
    assert genuine in der
    changed = crypto.load_certificate(crypto.FILETYPE_ASN1, der.replace(genuine, put_in))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pyOpenSSL's, for what `cryptography` would not take
        config._endpoint._context.use_certificate(changed)
