"""The package makes what the files of vectors say, and reads it as they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.handshake import SecretPolicy, ServerHandshake
from securestream.protocol.keys import PrivateKey, SharedSecret
from securestream.protocol.messages import LENGTHS, FrameReader, Kind, Lengths, decode_alert_body_untrusted
from securestream.protocol.records import End, RecordReader
from securestream.protocol.suites import RecordType, Suite

from ..protocol.support import drain
from .files import FOLDER, VECTORS, text_of
from .frame_failures import FrameFailure, frame_failures
from .handshakes import SETUPS, handshake_vectors
from .hello_failures import HelloFailure, hello_failures
from .stream_failures import StreamFailure, stream_failures
from .streams import StreamVector, stream_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from securestream.protocol.codes import AlertCode

    from .files import Vector
    from .handshakes import Sides
    from .streams import Writer

PIECES = pytest.mark.parametrize("piece", [1, 2**20], ids=["byte by byte", "whole"])


@pytest.mark.parametrize("name", VECTORS)
def test_the_file_is_what_the_package_makes(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == text_of(VECTORS[name]())


@pytest.mark.parametrize("make", VECTORS.values(), ids=VECTORS)
def test_no_two_vectors_have_one_name(make: Callable[[], Sequence[Vector]]) -> None:
    names = [vector.name for vector in make()]
    assert len(set(names)) == len(names)


def test_each_type_each_suite_and_each_mode_are_there() -> None:
    assert {record.type for vector in stream_vectors() for record in vector.records} == set(RecordType)
    assert {vector.suite for vector in stream_vectors()} == set(Suite)
    modes = {(vector.client.secret is None, vector.kem is None) for vector in handshake_vectors()}
    assert len(modes) == 4


# --- handshakes -------------------------------------------------------------------------------------


def read_frame(data: bytes, kinds: Collection[Kind], lengths: Lengths = LENGTHS) -> tuple[Kind, bytes]:
    reader = FrameReader(lengths)
    reader.feed(data)
    frame = reader.next_frame(kinds)
    assert frame is not None
    return frame


def refused_with(step: Callable[[], object]) -> AlertCode | None:
    try:
        step()
    except RemoteProtocolError as exc:
        return exc.alert_code
    return None


@pytest.mark.parametrize("vector", hello_failures(), ids=lambda vector: vector.name)
def test_the_server_refuses_the_hello(vector: HelloFailure) -> None:
    server = ServerHandshake(
        key=PrivateKey(bytes.fromhex(vector.server_private_key)),
        suites=[Suite(number) for number in vector.server_suites],
        secrets=[SharedSecret(bytes.fromhex(secret)) for secret in vector.server_secrets],
        secret_policy=SecretPolicy[vector.gate.upper()],
        require_route=vector.require_route,
        post_quantum=vector.server_post_quantum,
    )
    assert refused_with(lambda: server.hello(read_frame(bytes.fromhex(vector.frame), {Kind.HELLO})[1])) == vector.alert


def sides_of(vector: FrameFailure) -> Sides:
    """Both sides, the client waiting for the challenge."""
    both = SETUPS[vector.handshake].sides()
    handshake = next(each for each in handshake_vectors() if each.name == vector.handshake)
    assert both.hello().hex() == handshake.hello
    return both


@pytest.mark.parametrize("vector", frame_failures(), ids=lambda vector: vector.name)
def test_the_reader_refuses_the_frame(vector: FrameFailure) -> None:
    frame, both = bytes.fromhex(vector.frame), sides_of(vector)
    if vector.reader == "server":
        both.challenge()
        assert refused_with(lambda: both.server.response(read_frame(frame, {Kind.RESPONSE})[1])) == vector.alert
    else:
        alerts: list[int] = []
        assert refused_with(lambda: alerts.extend(take_challenge(both, frame))) == vector.alert
        assert alerts == ([vector.alert_in_clear] if vector.alert_in_clear else [])


def take_challenge(both: Sides, frame: bytes) -> list[int]:
    """The code, where it is an alert frame."""
    kind, body = read_frame(frame, {Kind.CHALLENGE, Kind.ALERT}, both.client.lengths)
    if kind is Kind.ALERT:
        return [decode_alert_body_untrusted(body)]
    both.client.challenge(body)
    return []


# --- records ----------------------------------------------------------------------------------------


def read_stream(suite: int, key: str, writer: Writer, stream: bytes, piece: int) -> tuple[bytes, RecordReader]:
    reader = RecordReader(Suite(suite), bytes.fromhex(key), expects_verdict=writer == "server")
    content = b""
    for at in range(0, len(stream), piece):
        reader.feed(stream[at : at + piece])
        content += drain(reader)
    reader.feed_eof()
    return content + drain(reader), reader


@PIECES
@pytest.mark.parametrize("vector", stream_vectors(), ids=lambda vector: vector.name)
def test_the_stream_is_read_as_it_was_written(vector: StreamVector, piece: int) -> None:
    stream = bytes.fromhex(vector.header + "".join(record.record for record in vector.records))
    content, reader = read_stream(vector.suite, vector.key, vector.writer, stream, piece)
    written = {kind: [record.content for record in vector.records if record.type == kind] for kind in RecordType}
    assert content.hex() == "".join(written[RecordType.DATA])
    assert reader.records == len(vector.records)
    assert reader.key_updates == len(written[RecordType.KEY_UPDATE])
    assert (reader.end is End.CLOSED) == bool(written[RecordType.CLOSE])
    assert ([] if reader.accepted is None else [reader.accepted.hex()]) == written[RecordType.ACCEPT]
    alert = reader.alert
    told = [] if alert is None else [(alert.code.to_bytes(2, "little") + alert.message.encode()).hex()]
    assert told == written[RecordType.ALERT]


@PIECES
@pytest.mark.parametrize("vector", stream_failures(), ids=lambda vector: vector.name)
def test_the_reader_finds_the_fault(vector: StreamFailure, piece: int) -> None:
    content, reader = read_stream(vector.suite, vector.key, vector.writer, bytes.fromhex(vector.stream), piece)
    assert content.hex() == vector.content
    assert (reader.failure.alert_code if reader.failure else None) == vector.refused
    assert (reader.end is End.TRUNCATED) == vector.truncated
    assert (reader.end is End.CLOSED) == vector.closed
    code = reader.alert.code if reader.alert else None
    assert (code if reader.authenticated else None) == vector.alert
    assert (None if reader.authenticated else code) == vector.alert_in_clear
