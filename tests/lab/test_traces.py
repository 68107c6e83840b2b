"""A user's own files: what they may hold, and what is said of those that can't be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.lab import traces
from securestream.lab.traces import BadTrace, read_capture, read_csv
from securestream.lab.wire import Seen
from securestream.testing import secure_stream_pair

from ..programs.support import need
from .captures import PORT, Capture, Tapped

if TYPE_CHECKING:
    from pathlib import Path


def csv(folder: Path, text: str | bytes) -> Path:
    path = folder / "x.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("text", ["10\n20\n", "size\n10\n20", b"\xef\xbb\xbfsize\r\n10\r\n20", " 10 \r\n\r\n20\r\n"])
def test_a_file_may_have_a_size_a_line(text: str | bytes, tmp_path: Path) -> None:
    trace = read_csv(csv(tmp_path, text))
    assert trace.sizes == [10, 20]
    assert trace.provenance.kind == "yours"
    assert trace.provenance.details == {"file": str(tmp_path / "x.csv")}


def test_a_file_may_have_times_and_directions(tmp_path: Path) -> None:
    trace = read_csv(csv(tmp_path, "time,direction,size\n0.5,>,10\n1e1,in,20\n"))
    assert trace.events == (Seen(0.5, True, 10), Seen(10.0, False, 20))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no message in it"),
        ("size\n", "no message in it"),
        ("10\nx\n", r"x\.csv, line 2: a size is a number of bytes"),
        ("0\n", "line 1: a size is"),
        ("-5\n", "line 1: a size is"),
        ("1e3\n", "line 1: a size is"),
        (str(2**40 + 1), "line 1: a size is"),
        ("9" * 5_000, "line 1: a size is"),
        ("1,2\n", "line 1: a line is a size, or time,direction,size"),
        ("10\n1,>,5\n", "line 2: 3 columns, where a line above has 1"),
        ("1,up,5\n", "line 1: a direction is > or <"),
        ("nan,>,5\n", "line 1: a time is"),
        ("inf,>,5\n", "line 1: a time is"),
        ("-1,>,5\n", "line 1: a time is"),
        (b"\xff\xfe1\x00", "not a text of numbers"),
        ("10\nsize\n", "line 2: a size is"),
    ],
    ids=range(16),
)
def test_a_mistake_is_named_with_its_line(text: str | bytes, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(BadTrace, match=complaint):
        read_csv(csv(tmp_path, text))


def test_files_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(traces, "MAX_LINES", 3)
    with pytest.raises(BadTrace, match="more than 3 lines"):
        read_csv(csv(tmp_path, "1\n2\n3\n4\n"))
    monkeypatch.setattr(traces, "MAX_FILE", 2**20)
    with pytest.raises(BadTrace, match="more than 1 MiB"):
        read_csv(csv(tmp_path, "1\n" * 2**19 + "1"))


# --- captures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", ss.Suite)
async def test_a_capture_of_the_project_s_own_port_gives_its_records(suite: ss.Suite, tmp_path: Path) -> None:
    need("tshark")
    capture = Capture()
    near, far = trio.testing.memory_stream_pair()
    server = ss.ServerConfig(key=ss.PrivateKey.generate(), authorize=ss.ANYONE, suites=[suite])
    client = ss.ClientConfig(server_key=server.key.public_key, suites=[suite])
    pair: tuple[trio.abc.Stream, trio.abc.Stream] = (Tapped(near, capture), far)
    client_end, server_end = await secure_stream_pair(pair, (client, server))
    await client_end.send_all(bytes(5_000))
    await server_end.receive_some()
    await server_end.send_all(bytes(77))
    await client_end.receive_some()
    path = capture.write(tmp_path / "x.pcap")
    trace = await trio.to_thread.run_sync(read_capture, path, PORT)
    sizes = [(event.outgoing, event.size) for event in trace.events]
    verdict = {ss.Suite.XCHACHA20_POLY1305: 490, ss.Suite.AEGIS_256: 475}[suite]
    assert sorted(sizes) == [(False, 77), (False, verdict), (True, 5_000)]
    with pytest.raises(BadTrace, match="no message in it"):
        await trio.to_thread.run_sync(read_capture, path, 1)
    await trio.aclose_forcefully(client_end)
    await trio.aclose_forcefully(server_end)


def test_what_is_no_capture_is_one_error(tmp_path: Path) -> None:
    need("tshark")
    with pytest.raises(BadTrace, match="tshark can't read it"):
        read_capture(csv(tmp_path, Capture().write(tmp_path / "x.pcap").read_bytes()[:10]), PORT)


def test_without_tshark_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadTrace, match="apt-get install tshark"):
        read_capture(csv(tmp_path, "10\n"), PORT)
