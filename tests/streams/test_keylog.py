"""The key log: off unless asked for, for its owner's eyes, and enough to read captured traffic with."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import securestream as ss
from securestream.protocol.capture import (
    LoggedKeys,
    client_records,
    hello_key_of,
    parse_key_log,
    server_records,
)
from securestream.protocol.errors import RemoteProtocolError
from securestream.streams.keylog import KeyLog, key_log
from securestream.testing import secure_stream_pair

from ..protocol.support import PROPERTY
from .support import Configs, matching_configs
from .transports import Tap

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def looked_at_afresh() -> Iterator[None]:
    """The variable is looked at once a process."""
    key_log.cache_clear()
    yield
    key_log.cache_clear()


async def captured(keyed_configs: Configs) -> tuple[bytes, bytes]:
    """What each side sent in a conversation with data, padding, a key update, an alert."""
    near, far = trio.testing.memory_stream_pair()
    taps = Tap(near), Tap(far)
    client, server = await secure_stream_pair(taps, keyed_configs)
    await client.send_all(b"hello")
    await client.update_key()
    await client.send_all(b"x" * 20_000)
    await client.send_eof()
    await server.send_all(b"answer")
    await server.send_alert(5_001, "no luck")
    for stream in (client, server):
        await trio.aclose_forcefully(stream)
    return taps[0].sent, taps[1].sent


def lines_of(path: Path) -> dict[bytes, LoggedKeys]:
    return parse_key_log(path.read_text().splitlines())


async def test_captured_traffic_is_read_with_the_log_of_either_side(
    keyed_configs: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.log"
    monkeypatch.setenv("SECURESTREAM_KEYLOG", str(path))
    client_bytes, server_bytes = await captured((replace(keyed_configs[0], padding=ss.Padme()), keyed_configs[1]))
    both = path.read_text().splitlines()
    assert len(both) == 2  # the two sides are in one process here
    assert both[0] == both[1]
    keys = lines_of(path)[hello_key_of(client_bytes)]
    sent = list(client_records(client_bytes, keys))
    assert [record.kind for record in sent] == ["data", "key_update", "data", "data", "close"]
    assert b"".join(record.content for record in sent) == b"hello" + b"x" * 20_000
    answered = list(server_records(server_bytes, keys))
    assert [(record.kind, record.content) for record in answered] == [
        ("accept", b""),
        ("data", b"answer"),
        ("alert", b"alert 5001: no luck"),
    ]
    assert answered[0].wire_length == 512
    assert bytes(keys.client_to_server).hex() not in repr(keys)
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 1
    assert "THE KEYS OF EVERY CONNECTION ARE WRITTEN" in warnings[0]


async def test_without_the_variable_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECURESTREAM_KEYLOG", raising=False)
    monkeypatch.chdir(tmp_path)
    await captured(matching_configs())
    assert key_log() is None
    assert os.listdir(tmp_path) == []


def test_its_file_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        KeyLog(str(tmp_path / "keys.log"))
    finally:
        os.umask(before)
    assert (tmp_path / "keys.log").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["readable by others", "a folder", "a link", "a pipe", "in no folder"])
async def test_a_file_that_will_not_do_is_not_written_to_and_connections_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    path = tmp_path / "keys.log"
    match kind:
        case "readable by others":
            path.touch()
            path.chmod(0o640)
        case "a folder":
            path.mkdir()
        case "a link":
            (tmp_path / "real").touch(0o600)
            path.symlink_to(tmp_path / "real")
        case "a pipe":
            os.mkfifo(path, 0o600)
        case _:
            path = tmp_path / "nowhere" / "keys.log"
    monkeypatch.setenv("SECURESTREAM_KEYLOG", str(path))
    client_bytes, _ = await captured(matching_configs())
    assert client_bytes
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "no keys are logged to" in caplog.text
    assert not path.is_file() or path.read_bytes() == b""


async def test_keys_of_another_connection_read_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURESTREAM_KEYLOG", str(tmp_path / "keys.log"))
    one, other = [await captured(matching_configs(ss.Suite.AEGIS_256)) for _ in range(2)]
    keys = lines_of(tmp_path / "keys.log")
    with pytest.raises(RemoteProtocolError, match="does not authenticate"):
        list(client_records(one[0], keys[hello_key_of(other[0])]))


async def test_a_capture_that_was_cut_is_read_as_far_as_it_goes(
    keyed_configs: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECURESTREAM_KEYLOG", str(tmp_path / "keys.log"))
    client_bytes, _ = await captured(keyed_configs)
    keys = lines_of(tmp_path / "keys.log")[hello_key_of(client_bytes)]
    handshake = len(client_bytes) - sum(record.wire_length for record in client_records(client_bytes, keys))
    ends = range(handshake, len(client_bytes), 7)
    assert {len(list(client_records(client_bytes[:end], keys))) for end in ends} == {0, 1, 2, 3, 4}
    with pytest.raises(RemoteProtocolError, match="the capture ends before the response does"):
        client_records(client_bytes[: handshake - 50], keys)


KEYS = [LoggedKeys(suite, bytes(32), bytes(32)) for suite in ss.Suite]


@PROPERTY
@given(st.binary(max_size=300), st.sampled_from(KEYS))
def test_whatever_is_in_a_capture_there_is_one_kind_of_error(data: bytes, keys: LoggedKeys) -> None:
    for read in (client_records, server_records):
        with contextlib.suppress(RemoteProtocolError):
            list(read(data, keys))


def test_other_lines_of_a_log_are_passed_over() -> None:
    good = f"SECURESTREAM1 {'ab' * 32} 2 {'cd' * 32} {'ef' * 32}"
    wrong = ["", "# a comment", good[:-1], good.upper(), good.replace(" 2 ", " 3 "), good + "0"]
    assert list(parse_key_log([*wrong, good + "\n"])) == [bytes.fromhex("ab" * 32)]
