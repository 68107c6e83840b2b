"""`connect()`: from a connection string to a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import securestream as ss

from ..streams.support import PATIENCE
from .support import ask, serving_tcp, shout

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

SERVER, CLIENT = ss.PrivateKey.generate(), ss.PrivateKey.generate()
SECRET = ss.SharedSecret.generate()
CONFIG = ss.ServerConfig(
    key=SERVER, authorize=ss.AuthorizedPeers([CLIENT.public_key]), secrets=[SECRET], require_secret=True
)


def private_file(path: Path, text: str) -> Path:
    path.touch(0o600)
    path.write_text(text)
    return path


async def test_a_connection_string_is_all_a_client_needs(tmp_path: Path) -> None:
    gate = private_file(tmp_path / "gate", SECRET.to_text())
    key = private_file(tmp_path / "my key", CLIENT.to_text())
    with trio.fail_after(PATIENCE):
        async with serving_tcp(shout, CONFIG) as port:
            start = f"Server=127.0.0.1:{port};Server Key={SERVER.public_key};Shared Secret File={gate}"
            for own in (f"Client Key={key}", f"Client Secret Key={CLIENT.to_text()}"):
                async with await ss.connect(f"{start};Database=Orders;{own}") as stream:
                    assert await ask(stream) == b"HELLO"


async def test_a_connection_string_may_be_in_a_file_which_is_private_if_it_holds_a_key(tmp_path: Path) -> None:
    string = f"Server=db.example:9222;Server Key={SERVER.public_key};Client Secret Key={CLIENT.to_text()}"
    path = private_file(tmp_path / "connection", f"# to the orders\n\n{string}\n")
    address = ss.read_address_file(path)
    assert (address.host, address.config.key) == ("db.example", CLIENT)
    path.chmod(0o644)
    with pytest.raises(ss.KeyFileError, match="chmod 600") as caught:
        ss.read_address_file(path)
    assert CLIENT.to_text() not in str(caught.value)


async def test_what_it_says_can_be_looked_at_first(tmp_path: Path) -> None:
    address = ss.parse_address(f"Server=db.example:9222;Database=Orders;Server Key={SERVER.public_key};Timeout=3")
    assert (address.host, address.port, address.fields["Database"]) == ("db.example", 9222, "Orders")
    assert address.config.server_key == SERVER.public_key
    assert (address.timeout, address.config.handshake_timeout) == (3, 3)


async def test_an_address_is_written_as_text_again_and_shows_its_secret_only_when_asked_to(tmp_path: Path) -> None:
    own = private_file(tmp_path / "own", CLIENT.to_text())
    for client in (f"Client Key={own}", f"Client Secret Key={CLIENT.to_text()}"):
        address = ss.parse_address(f"Server=[::1]:9222;Database=Orders;Server Key={SERVER.public_key};{client}")
        again = ss.parse_address(address.to_text(with_secrets=True))
        assert (again.string, again.config.key) == (address.string, CLIENT)
        assert CLIENT.to_text() not in address.to_text() + repr(address)


async def test_an_address_made_by_hand_is_no_connection_string() -> None:
    address = ss.Address("h", 1, ss.ClientConfig(server_key=SERVER.public_key))
    with pytest.raises(ValueError, match="only what parse_address made"):
        address.to_text()


async def test_a_file_that_is_missing_or_open_to_others_is_an_error_that_names_it(tmp_path: Path) -> None:
    start = f"Server=h:1;Server Key={SERVER.public_key}"
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ss.parse_address(f"{start};Client Key={tmp_path / 'nowhere'}")
    (tmp_path / "open").write_text(CLIENT.to_text())
    (tmp_path / "open").chmod(0o644)
    with pytest.raises(ss.KeyFileError, match="chmod 600"):
        ss.parse_address(f"{start};Client Key={tmp_path / 'open'}")


async def test_connecting_is_within_the_timeout_too(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    async def never(host: str, port: int, *, local_address: str | None) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", never)
    with pytest.raises(ss.HandshakeTimeout, match="connecting to h took more than 3 s"):
        await ss.connect(f"Server=h:1;Server Key={SERVER.public_key};Timeout=3")
    assert trio.current_time() == pytest.approx(3)
