"""The dissector for Wireshark, on captures of this package's own traffic over sockets of this machine."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

import securestream as ss
from securestream.protocol import sodium
from securestream.protocol.messages import encode_alert_frame
from securestream.testing import secure_stream_pair

from ..lab.captures import PORT, Capture, Tapped
from ..programs.support import need
from ..streams.transports import close_sockets, socket_pair
from ..vectors.fixed import FixedPush
from ..vectors.handshakes import handshake_vectors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..streams.support import Configs

DISSECTOR = Path(ss.__file__).parents[1] / "examples" / "wireshark" / "securestream.lua"
FIELDS = (
    "frame.kind", "hello.magic", "hello.suite", "hello.secret", "alert.code", "stream_header", "record.suite",
    "record.length", "record.number", "record.sealed", "bad",
)  # fmt: skip
XCHACHA20, AEGIS = ss.Suite
FULL, OVERHEAD = 16_384, {XCHACHA20: 22, AEGIS: 37}
ROW = "\x1f"

Shown = dict[tuple[bool, str], list[str]]
"""The values of a field in the order of the capture, by direction (True: from the client) and name."""


@pytest.fixture(autouse=True)
def sockets_and_a_fixed_header() -> Iterator[None]:
    """The header of suite 1 is random; one in 32,768 looks like a server's first record of suite 2."""
    with mock.patch.object(sodium.backend, "SecretStreamPush", FixedPush):
        yield
    close_sockets()


def shown(capture: Capture, folder: Path, *options: str) -> Shown:
    """What tshark finds."""
    path = capture.write(folder / "x.pcap")
    command = [need("tshark"), "-n", "-X", f"lua_script:{DISSECTOR}", "-r", str(path), *options]
    command += ["-T", "fields", "-E", f"separator={ROW}", "-e", "tcp.dstport"]
    command += [part for field in FIELDS for part in ("-e", f"securestream.{field}")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert "lua" not in done.stderr.lower(), done.stderr
    found: Shown = defaultdict(list)
    for port, *values in (line.split(ROW) for line in done.stdout.splitlines()):
        for field, value in zip(FIELDS, values, strict=True):
            found[port == str(PORT), field] += value.split(",") if value else []
    return found


def configs(
    offered: Sequence[ss.Suite], chosen: ss.Suite, *, wait: bool = True
) -> tuple[ss.ClientConfig, ss.ServerConfig]:
    server = ss.ServerConfig(key=ss.PrivateKey.generate(), authorize=ss.ANYONE, suites=[chosen])
    return ss.ClientConfig(server_key=server.key.public_key, suites=offered, wait_for_accept=wait), server


async def talk(capture: Capture, pair: Configs) -> None:
    """Two records and a key update, an answer in full records, and both ends."""
    near, far = await socket_pair()
    client, server = await secure_stream_pair((Tapped(near, capture), far), pair)
    await client.send_all(bytes(20_000))
    await client.update_key()
    await client.send_eof()
    assert sum([len(chunk) async for chunk in server]) == 20_000
    server.padding = ss.FullRecords()
    await server.send_all(b"answer")
    await server.send_eof()
    assert [chunk async for chunk in client] == [b"answer"]
    await server.aclose()
    await client.aclose()


@pytest.mark.parametrize("suite", list(ss.Suite), ids=lambda suite: str(suite.name))
@pytest.mark.parametrize(
    ("others", "segment", "options"),
    [
        pytest.param([], 65_000, [], id="one suite is offered"),
        pytest.param(list(ss.Suite), 65_000, [], id="both are offered"),
        pytest.param(list(ss.Suite), 70, ["-2"], id="in small segments, read in two passes"),
    ],
)
async def test_every_frame_and_record_is_shown(
    suite: ss.Suite, others: list[ss.Suite], segment: int, options: list[str], tmp_path: Path
) -> None:
    capture, offered = Capture(segment=segment), others or [suite]
    await talk(capture, configs(offered, suite))
    found, overhead = shown(capture, tmp_path, *options), OVERHEAD[suite]
    assert (found[True, "frame.kind"], found[False, "frame.kind"]) == (["1", "3"], ["2"])
    assert found[True, "hello.magic"] == ["SSv1"]
    assert found[True, "hello.suite"] == [str(int(each)) for each in offered]
    for is_client, lengths in {
        True: [FULL, 20_000 + 2 * overhead - FULL, overhead, overhead],
        False: [512, FULL, FULL],
    }.items():
        assert [int(length) for length in found[is_client, "record.length"]] == lengths
        assert [len(sealed) // 2 + 2 for sealed in found[is_client, "record.sealed"]] == lengths
        assert [int(number) for number in found[is_client, "record.number"]] == list(range(len(lengths)))
        assert set(found[is_client, "record.suite"]) == {str(int(suite))}
        assert len(found[is_client, "stream_header"]) == (suite is XCHACHA20)
        assert found[is_client, "bad"] == []


async def test_a_client_that_sends_before_the_verdict_is_followed(tmp_path: Path) -> None:
    capture = Capture(segment=65_000)
    await talk(capture, configs(list(ss.Suite), XCHACHA20, wait=False))
    found = shown(capture, tmp_path)
    assert [int(length) for length in found[True, "record.length"]] == [FULL, 20_044 - FULL, 22, 22]
    assert found[False, "record.length"][0] == "512"


def test_refusals_in_clear_are_shown_with_their_code(tmp_path: Path) -> None:
    capture = Capture()
    capture.segment(frame("XX", "hello"), outgoing=True)
    capture.segment(encode_alert_frame(4), outgoing=False)
    capture.segment(frame("XXpsk0", "hello"), outgoing=True)  # the port is used again
    capture.segment(frame("XXpsk0", "challenge"), outgoing=False)
    capture.segment(frame("XXpsk0", "response"), outgoing=True)
    capture.segment(encode_alert_frame(9), outgoing=False)
    found = shown(capture, tmp_path)
    assert (found[True, "frame.kind"], found[False, "frame.kind"]) == (["1", "1", "3"], ["4", "2", "4"])
    assert found[False, "alert.code"] == ["4", "9"]
    assert [value in ("1", "True") for value in found[True, "hello.secret"]] == [False, True]


def test_what_may_not_stand_there_is_marked(tmp_path: Path) -> None:
    capture = Capture()
    capture.segment(frame("XX", "hello"), outgoing=True)
    capture.segment(b"HTTP/1.1 400 Bad Request\r\n\r\n", outgoing=False)
    found = shown(capture, tmp_path)
    assert (len(found[True, "bad"]), len(found[False, "bad"])) == (0, 1)


def test_other_protocols_are_left_alone(tmp_path: Path) -> None:
    capture = Capture()
    for data in (b"", b"\1", b"SSv1", b"GET / HTTP/1.1\r\n\r\n", bytes(90), b"\x5a\0\2SSv1" + bytes(83)):
        capture.segment(data, outgoing=True)
    assert not any(shown(capture, tmp_path).values())


def frame(start_of_name: str, part: str) -> bytes:
    """A frame of the first handshake among the test vectors whose name begins so."""
    vector = next(vector for vector in handshake_vectors() if vector.name.startswith(f"{start_of_name}:"))
    return bytes.fromhex({"hello": vector.hello, "challenge": vector.challenge, "response": vector.response}[part])
