"""A router's table: what a line may say, that a change of it is all or nothing, and that it needs no restart."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import securestream as ss
from securestream.service.routes import parse_routes

from ..streams.support import failure_of
from .router_support import OTHER, SERVER, a_place, ask, config, connect

if TYPE_CHECKING:
    from pathlib import Path

KEY = SERVER.public_key


def test_a_key_may_have_several_servers_and_each_what_concerns_it() -> None:
    text = f"""
# who is where
{KEY} 10.0.0.5:9222
{KEY} [::1]:9222 proxy=v2
{OTHER.public_key} unix:/run/orders/socket note="on this machine"   # and here
"""
    assert parse_routes(text.encode(), "routes") == {
        KEY: (ss.Backend("10.0.0.5:9222"), ss.Backend("[::1]:9222", proxy=True)),
        OTHER.public_key: (ss.Backend("unix:/run/orders/socket", note="on this machine"),),
    }


WRONG = {
    f"{KEY}": "a backend belongs behind the key",
    f"{KEY} 10.0.0.5": "a backend is HOST:PORT, [IPv6]:PORT or unix:PATH",
    f"{KEY} ::1:9222": "a backend is HOST:PORT",
    f"{KEY} 10.0.0.5:0": "a backend is HOST:PORT",
    f"{KEY} 10.0.0.5:65536": "a backend is HOST:PORT",
    f"{KEY} unix:": "a backend is HOST:PORT",
    f"{KEY} h:1 proxy=v1": "proxy= takes v2",
    f"{KEY} h:1 proxy=": "proxy= takes v2",
    f"{KEY} h:1 weight=3": "behind key and backend there may be proxy= and note=",
    f"{KEY} h:1\n{KEY} h:1 proxy=v2": "line 2: the key of line 1 again",
    "10.0.0.5:9222": "line 1: ",
}


@pytest.mark.parametrize("text", WRONG, ids=WRONG.values())
def test_a_wrong_line_is_named(text: str) -> None:
    with pytest.raises(ss.PeersFileError) as caught:
        parse_routes(text.encode(), "routes")
    assert WRONG[text] in str(caught.value)
    assert str(caught.value).startswith("routes, line ")


class File:
    """The file, written to long ago each time, but never at the same moment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.moment = 1_000_000_000

    def write(self, text: str) -> None:
        self.path.touch(0o600)
        self.path.write_text(text)
        self.moment += 1
        os.utime(self.path, (self.moment, self.moment))


async def test_a_change_is_in_force_for_the_next_client_and_a_mistake_is_not(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    file = File(tmp_path / "routes")
    async with a_place() as place:
        one, two = await place.server("one"), await place.server("two")
        file.write(f"{KEY} {one.address}\n")
        router = await place.router(config(ss.RoutesFile(file.path)))
        assert (await ask(router)).startswith("one ")
        staying = await connect(router)
        file.write(f"{KEY} {two.address}\n")
        assert (await ask(router)).startswith("two ")
        file.write(f"{KEY} nonsense\n")
        assert (await ask(router)).startswith("two ")
        file.write("")
        assert (await failure_of(connect(router), ss.HandshakeRefused)).code == "unknown_server_key"
        await staying.send_eof()
        assert (await staying.receive_some()).startswith(b"one ")
        await staying.aclose()
    assert "line 1: a backend is HOST:PORT, [IPv6]:PORT or unix:PATH; the 1 routes of before stay in force" in log.text


def test_a_file_that_is_wrong_at_the_start_is_an_error_then(tmp_path: Path) -> None:
    (tmp_path / "routes").write_text("nonsense")
    (tmp_path / "routes").chmod(0o600)
    with pytest.raises(ss.PeersFileError):
        ss.RoutesFile(tmp_path / "routes")
    with pytest.raises(OSError):
        ss.RoutesFile(tmp_path / "none")


async def test_a_table_in_force_can_be_read(tmp_path: Path) -> None:
    file = File(tmp_path / "routes")
    file.write(f"{KEY} h:1\n")
    routes = ss.RoutesFile(file.path)
    assert routes.table == {KEY: (ss.Backend("h:1"),)}
    assert await routes(OTHER.public_key) == ()
    assert repr(routes) == f"<RoutesFile {file.path}: 1 keys>"
