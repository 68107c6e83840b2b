"""What a peer says inside TLS: a response and records in clear, well made or not. TLS lets through whatever its owner
writes, so here the reader's own rules are all there is."""

from __future__ import annotations

import struct

from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.handshake import State
from securestream.protocol.messages import MAX_PAYLOAD, FrameReader, Kind, encode_frame
from securestream.protocol.plaintext import TlsSuite
from securestream.protocol.records import End
from securestream.protocol.suites import RecordType
from securestream.protocol.tls import TlsClientHandshake, TlsFacts, TlsServerHandshake
from securestream.protocol.tls_keys import KeyHash

from ..choices import Choices
from ..records import BAD_RECORD, MOST, Expectation, WatchedReader

SHOWS = "fuzz-handshake"
PARSERS = ()

OWN, PEER = KeyHash(bytes([17]) * 32), KeyHash(bytes([18]) * 32)
FACTS = TlsFacts(OWN, PEER, bytes(64))
NOTHING = bytes(64)


def one_input(data: bytes) -> None:
    choices = Choices(data)
    if choices.byte() % 2:
        client = TlsClientHandshake()
        assert client.meet(FACTS) == PEER
        assert client.response(b"credentials") == encode_frame(Kind.RESPONSE, NOTHING + b"credentials")
        read_records(choices, written(choices), expects_verdict=True)
        return
    shown = encode_frame(Kind.RESPONSE, choices.edited(NOTHING)[:80] + choices.content())
    respond(choices, choices.edited(shown) + written(choices))


def written(choices: Choices) -> bytes:
    """Records of any type and size, edited as a whole."""
    wire = b""
    for _ in range(choices.byte() % 5):
        record_type, content, padding = choices.byte() % 6, choices.take(choices.byte() % 40), choices.byte() % 20
        size = 3 + len(content) + (choices.number() if choices.byte() == 255 else 0)
        body = content + bytes(padding)
        wire += struct.pack("<HHB", 5 + len(body), size % 65_536, record_type) + body
    return choices.edited(wire)


def respond(choices: Choices, wire: bytes) -> None:
    """To a server."""
    server, frames, refused = TlsServerHandshake(), FrameReader(), False
    server.meet(FACTS)
    frame = None
    for piece in choices.pieces(wire):
        frames.feed(piece)
        try:
            frame = frame or frames.next_frame({Kind.RESPONSE})
            if frame is not None and server.state is not State.FINISHED:
                assert server.response(frame[1]) == PEER
        except RemoteProtocolError:
            refused = True
            break
    assert refused == is_wrong(wire)
    if server.state is State.FINISHED:
        size = int.from_bytes(wire[:2], "little")
        assert NOTHING + server.credentials == wire[3:size]
        assert server.handshake_hash == bytes(64)
        read_records(choices, frames.take_rest(), expects_verdict=False)


def is_wrong(wire: bytes) -> bool:
    """Whether these bytes can't begin a connection, as `docs/tls.md` has it."""
    if len(wire) < 3:
        return False
    size, kind = struct.unpack_from("<HB", wire)
    if kind != Kind.RESPONSE or not 67 <= size <= 67 + MAX_PAYLOAD:
        return True
    return len(wire) >= size and wire[3:67] != NOTHING


def read_records(choices: Choices, wire: bytes, *, expects_verdict: bool) -> None:
    watched = WatchedReader(TlsSuite.TLS_1_3, b"", expects_verdict=expects_verdict, in_place=bool(choices.byte() % 2))
    watched.receive(choices.pieces(wire) or [wire])
    watched.finish()
    expected = understood(wire, expects_verdict=expects_verdict)
    assert watched.received == expected.content
    assert watched.reader.end is (End.TRUNCATED if expected.end is End.OPEN else expected.end)
    failure = watched.reader.failure
    assert (failure.alert_code if failure else None) == expected.refusal
    assert watched.reader.authenticated or watched.reader.end is not End.ALERTED


def understood(wire: bytes, *, expects_verdict: bool) -> Expectation:
    """What these bytes are as records, cut out once more."""
    expected = Expectation(TlsSuite.TLS_1_3, expects_verdict=expects_verdict)
    while expected.end is End.OPEN and len(wire) >= 2:
        length = int.from_bytes(wire[:2], "little")
        if not 5 <= length <= MOST:
            expected.end, expected.refusal = End.FAILED, BAD_RECORD
        elif len(wire) < length:
            break
        else:
            size, record_type = struct.unpack_from("<HB", wire, 2)
            expected.take(size, record_type, wire[5:length], tag=0)
            wire = wire[length:]
    return expected


def seeds() -> dict[str, bytes]:
    def record(record_type: int, content: bytes = b"", padding: int = 0) -> bytes:
        return bytes([record_type, len(content)]) + content + bytes([padding, 0])

    accept, data, close = record(RecordType.ACCEPT), record(RecordType.DATA, b"hello", 7), record(RecordType.CLOSE)
    alert, update = record(RecordType.ALERT, b"\7\0why"), record(RecordType.KEY_UPDATE)
    response = b"\0\0\5\0abcd\0"
    return {
        "response": response + b"\3" + data + update + close + b"\0\0",
        "response_in_bytes": response + b"\2" + data + alert + b"\0\7",
        "another_key": b"\0\1\0\7\0\1\5\0abcd\0",
        "cut_response": b"\0\0\5\0abcd\1\4\x30\0\0\0",
        "another_kind": b"\0\0\5\0abcd\1\1\2\0\1\0",
        "nothing": b"\0",
        "accepted": b"\1\3" + accept + data + close + b"\0\1\0",
        "refused": b"\1\1" + alert + b"\0\0\0",
        "no_verdict": b"\1\1" + data + b"\0\0\0",
        "two_verdicts": b"\1\2" + accept + accept + b"\0\0\0",
        "wrong_size": b"\1\2" + accept + b"\0\1a\0\xff\xff\xff\0\0\0",
        "unknown_type": b"\1\2" + accept + record(5) + b"\0\0\0",
        "content_in_close": b"\1\2" + accept + record(RecordType.CLOSE, b"x") + b"\0\0\0",
        "cut_record": b"\1\2" + accept + data + b"\1\4\x08\0\0\0\0",
        "alert_in_clear": b"\1\0\1\5\0\0\5\5\0\4\7\0\0\0",
    }
