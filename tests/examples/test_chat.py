"""The chat: who hears what, and who can't be in the way of whom."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss
from examples.chat import LINES_A_SECOND, MAX_MESSAGE, MAX_SAID, QUEUE_LINES, TOO_SLOW, Room, decode_line_untrusted

from ..cli.support import read_line
from ..service.support import serving
from ..streams.support import PATIENCE, receive_until_error
from ..streams.transports import lockstep_pair, small_socket_pair
from .programs import Home, ran, rest_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from trio.testing import MockClock

    from ..service.support import Server
    from ..streams.transports import Transports

KEYS = {name: ss.PrivateKey.generate() for name in ("alice", "bob", "carol")}
SERVER_CONFIG = ss.ServerConfig(
    key=ss.PrivateKey.generate(),
    authorize=ss.AuthorizedPeers({key.public_key: name for name, key in KEYS.items()}),
    close_timeout=1,
)


def config(name: str) -> ss.ClientConfig:
    return ss.ClientConfig(key=KEYS[name], server_key=SERVER_CONFIG.key.public_key, close_timeout=1)


@asynccontextmanager
async def room() -> AsyncIterator[Server]:
    async with serving(Room().handle, SERVER_CONFIG) as server:
        yield server


@asynccontextmanager
async def member(server: Server, name: str) -> AsyncIterator[ss.MessageChannel]:
    """Somebody who has heard that he is there himself."""
    async with ss.MessageChannel(await server.connect(config(name)), max_size=MAX_MESSAGE) as channel:
        while await channel.receive() != f"* {name} has come".encode():
            pass
        yield channel


async def alert_after(channel: ss.MessageChannel) -> ss.Alert:
    """What ends it, whatever is said before."""
    with pytest.raises(ss.PeerAlert) as caught:
        async for _ in channel:
            pass
    return caught.value.alert


async def test_everybody_hears_everything_in_one_order_under_the_name_that_belongs_to_the_key() -> None:
    async with room() as server, member(server, "alice") as alice, member(server, "bob") as bob:
        assert await alice.receive() == b"* bob has come"
        await alice.send("grüß dich, bob".encode())
        for each in (alice, bob):
            assert (await each.receive()).decode() == "alice: grüß dich, bob"
        await bob.send(b"alice: it was me")
        for each in (alice, bob):
            assert await each.receive() == b"bob: alice: it was me"


async def test_who_leaves_in_order_has_heard_all_that_was_said_before() -> None:
    async with room() as server, member(server, "alice") as alice, member(server, "bob") as bob:
        for number in range(20):
            await bob.send(b"%d" % number)
        await bob.stream.send_eof()
        assert [line async for line in bob] == [b"bob: %d" % number for number in range(20)]
        heard = [await alice.receive() for _ in range(22)]
        assert (heard[0], heard[-1]) == (b"* bob has come", b"* bob has left")


async def test_who_is_cut_off_has_left() -> None:
    async with room() as server, member(server, "alice") as alice:
        async with member(server, "bob") as bob:
            await trio.aclose_forcefully(bob.stream)
        assert [await alice.receive() for _ in range(2)] == [b"* bob has come", b"* bob has left"]


async def full_sockets() -> Transports:
    """Sockets that take a few lines, and then no more."""
    near, far = await small_socket_pair()
    far.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 4_096)
    return near, far


@pytest.mark.parametrize("make", [lockstep_pair, full_sockets])
async def test_who_takes_nothing_is_taken_out_and_nobody_waits_for_him(
    make: Callable[[], Awaitable[Transports]], autojump_clock: MockClock
) -> None:
    lines = [b"%d " % number + b"x" * 900 for number in range(3 * QUEUE_LINES)]
    patient = replace(SERVER_CONFIG, close_timeout=PATIENCE)
    async with (
        serving(Room().handle, patient) as server,
        member(server, "alice") as alice,
        member(server, "bob") as bob,
    ):
        near, far = await make()
        await server.listener.deliver(far)
        carol = await ss.wrap_client(near, config("carol"))
        for line in lines:
            await alice.send(line)
        heard = [await bob.receive() for _ in range(len(lines) + 2)]
        assert [line for line in heard if line[:1] != b"*"] == [b"alice: " + line for line in lines]
        assert b"* carol has left" in heard
        assert heard.index(b"* carol has left") < 2 * QUEUE_LINES
        _, error = await receive_until_error(carol)
        if isinstance(error, ss.PeerAlert):  # can be sent behind what he had not taken, over sockets
            assert error.alert == ss.Alert(TOO_SLOW, "you were 100 lines behind")
        else:
            assert make is lockstep_pair
        await carol.aclose()


async def test_who_floods_is_read_at_the_pace_of_the_room(autojump_clock: MockClock) -> None:
    async with room() as server, member(server, "alice") as alice, member(server, "bob") as bob:
        lines, start = 10 * LINES_A_SECOND, trio.current_time()
        for _ in range(lines):
            await bob.send(b"again")
        for _ in range(lines + 1):
            await alice.receive()
        assert trio.current_time() - start >= (lines - 2) * 2 / LINES_A_SECOND


BAD_LINES = {
    "no UTF-8": b"\xff\xfe",
    "an escape sequence": b"\x1b[2J",
    "a line end": b"one\ntwo",
    "text that runs backwards": "\u202eabc".encode(),
    "a NUL": b"\0",
    "too long": b"x" * (MAX_SAID + 1),
    "far too long": b"x" * (MAX_MESSAGE + 1),
}


@pytest.mark.parametrize("name", BAD_LINES)
async def test_a_line_that_is_none_ends_its_sender_and_nobody_hears_it(name: str) -> None:
    async with room() as server, member(server, "alice") as alice:
        async with member(server, "bob") as bob:
            await bob.stream.send_all(len(BAD_LINES[name]).to_bytes(4, "little") + BAD_LINES[name])
            alert = await alert_after(bob)
        assert alert.code == ss.AlertCode.PROTOCOL_ERROR
        assert alert.message
        assert [await alice.receive() for _ in range(2)] == [b"* bob has come", b"* bob has left"]


@pytest.mark.parametrize("content", [b"", b"x" * MAX_SAID, "ä".encode() * (MAX_SAID // 2)])
def test_lines_up_to_the_longest_are_taken(content: bytes) -> None:
    assert decode_line_untrusted(content).encode() == content


async def test_what_a_member_hears_fits_whatever_his_name(tmp_path: Path) -> None:
    long = replace(SERVER_CONFIG, authorize=ss.AuthorizedPeers({KEYS["alice"].public_key: "ä" * 10_000}))
    async with (
        serving(Room().handle, long) as server,
        ss.MessageChannel(await server.connect(config("alice")), max_size=MAX_MESSAGE) as alice,
    ):
        await alice.receive()
        await alice.send(b"x" * MAX_SAID)
        assert (await alice.receive()).endswith(b"x" * MAX_SAID)


async def test_two_people_at_their_terminals(tmp_path: Path) -> None:
    home = Home(tmp_path)
    bob = ss.PrivateKey.generate()
    ss.write_key_file(tmp_path / "bob.key", bob)
    with (tmp_path / "clients").open("a", encoding="ascii") as file:
        file.write(f"{bob.public_key} bob\n")
    async with home.serving("chat") as (_, connection), home.client("chat", connection) as alice:
        assert await read_line(alice) == "* alice has come\n"
        port = ss.read_address_file(connection).port
        result = await ran("chat", "client", home.connection(port, "bob.key"), stdin=b"hello\n")
        assert (result.status, result.out) == (0, b"* bob has come\nbob: hello\n")
        assert alice.stdin is not None
        await alice.stdin.aclose()
        ended = await rest_of(alice)
    assert (ended.status, ended.out, ended.err) == (0, b"* bob has come\nbob: hello\n* bob has left\n", "")
