"""The attacker who has all that a router has: its key, its table, every byte that passes, its memory, and its place in
the middle. He reads nothing, poses as nobody, and does not learn who the clients are.

What passes is what the client and the server have said, byte by byte; so the attackers on the machines of a handshake,
who have the frames in their hands, stand where a router stands.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.protocol.handshake import ServerHandshake
from securestream.protocol.messages import Kind, decode_hello_untrusted, seal_route
from securestream.protocol.records import RecordReader

from ..cli.support import Keys, port_of, running, serving
from ..protocol.support import (
    CLIENT_KEY,
    MIDDLEBOX_KEY,
    OTHER_KEY,
    SERVER_EPHEMERAL,
    SERVER_KEY,
    body,
    flush,
    new_client,
    new_server,
    receive,
)
from ..service.router_support import config
from ..service.support import MemoryListener, shout
from ..service.support import serving as serving_in_memory
from ..streams.support import FrameStream, failure_of, in_background, receive_all
from ..streams.transports import Tap
from .attackers import SAID, _keys_from_record, with_route
from .support import DEADLINE, claim, meet, only

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trio.testing import MockClock

    from securestream.protocol.messages import Hello
    from securestream.protocol.suites import Suite

pytestmark = pytest.mark.shows("router")

ROUTED = ss.ClientConfig(key=CLIENT_KEY, server_key=SERVER_KEY.public_key, middlebox_key=MIDDLEBOX_KEY.public_key)


# --- what passes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wiretap(ss.Backend):
    """The way to a server in memory, with everything taken down that goes there."""

    address: str = "127.0.0.1:1"
    listener: MemoryListener = field(default_factory=MemoryListener, compare=False)
    taps: list[Tap] = field(default_factory=list, compare=False)

    async def dial(self) -> trio.SocketStream:
        self.taps.append(Tap(await self.listener.connect()))
        return cast("trio.SocketStream", self.taps[-1])


async def through_a_router(client: ss.ClientConfig, said: bytes) -> tuple[Tap, Tap]:
    """One conversation: what the client, and the router in its name, have sent."""
    server = ss.ServerConfig(key=SERVER_KEY, authorize=ss.ANYONE)
    async with serving_in_memory(shout, server) as served, trio.open_nursery() as nursery:
        backend = Wiretap(listener=served.listener)
        entrance = MemoryListener()
        listeners = cast("list[trio.abc.Listener[trio.abc.HalfCloseableStream]]", [entrance])
        routed = config({SERVER_KEY.public_key: [backend]}, keys=[MIDDLEBOX_KEY])
        await nursery.start(partial(ss.serve_router_listeners, listeners, routed))
        tap = Tap(await entrance.connect())
        async with await ss.wrap_client(tap, client) as stream:
            await stream.send_all(said)
            await stream.send_eof()
            assert await receive_all(stream) == said.upper()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return tap, backend.taps[0]


async def test_what_the_client_says_is_what_arrives_and_nothing_is_added(autojump_clock: MockClock) -> None:
    near, far = await through_a_router(ROUTED, b"question")
    assert near.sent == far.sent


async def test_what_passes_looks_the_same_whoever_the_client_is(autojump_clock: MockClock) -> None:
    shapes = set()
    for key in (CLIENT_KEY, OTHER_KEY):
        near, _ = await through_a_router(replace(ROUTED, key=key), b"question")
        assert not any(form in near.sent for form in forms(bytes(key.public_key)))
        shapes.add(tuple(map(len, near.sends)))
    assert len(shapes) == 1


# --- to read ------------------------------------------------------------------------------------------


def reads(stolen: Sequence[ss.PrivateKey], suite: Suite) -> bool:
    """Whether he who has these keys and what has passed reads what the client said. He even knows who it was."""
    meeting = meet(new_client(suites=[suite], middlebox_key=MIDDLEBOX_KEY.public_key, ephemeral=None), new_server())
    assert meeting.succeeded
    (writer, _), _ = meeting.records()
    recorded = flush(writer, SAID)
    keys = _keys_from_record(meeting.frames, stolen, None)
    return keys is not None and receive(RecordReader(suite, keys, expects_verdict=False), recorded) == SAID


def test_the_router_s_key_opens_nothing_that_has_passed(suite: Suite, hybrid: bool) -> None:
    assert not reads([MIDDLEBOX_KEY], suite)
    assert not reads([MIDDLEBOX_KEY, SERVER_KEY, CLIENT_KEY], suite)  # and with all the others, stolen later
    # What counts are the keys of this one connection, which die at once; of a hybrid one there are more.
    assert reads([SERVER_KEY, SERVER_EPHEMERAL, CLIENT_KEY], suite) is not hybrid


# --- to pose ------------------------------------------------------------------------------------------


class Shameless(ServerHandshake):
    """Answers whoever the client wanted."""

    def _check_route(self, hello: Hello) -> None:
        pass


async def answers_by_itself(key: ss.PrivateKey) -> tuple[bytes, ss.PeerKey | None]:
    """A router that plays the server with that key: what the client has sent behind its hello, and who it is then."""
    near, far = trio.testing.memory_stream_pair()
    frames, impostor = FrameStream(far), Shameless(key=key, suites=tuple(ss.Suite), post_quantum="prefer")
    learned = None
    with trio.fail_after(DEADLINE):
        async with in_background(partial(failure_of_client, near)):
            impostor.hello(await frames.receive(Kind.HELLO))
            await far.send_all(impostor.challenge())
            sent = bytes(await far.receive_some())
            if sent:
                learned = impostor.response(body(sent, Kind.RESPONSE))
            await far.aclose()
    return sent, learned


async def failure_of_client(transport: trio.abc.Stream) -> None:
    with pytest.raises(ss.HandshakeError):
        await ss.wrap_client(transport, ROUTED)


async def test_a_router_that_answers_by_itself_hears_no_more_than_the_hello(autojump_clock: MockClock) -> None:
    for key in (MIDDLEBOX_KEY, OTHER_KEY, claim(SERVER_KEY.public_key)):
        assert await answers_by_itself(key) == (b"", None)
    assert (await answers_by_itself(SERVER_KEY))[1] == CLIENT_KEY.public_key  # what it takes is the server's own key


async def test_a_router_that_calls_the_server_by_itself_is_not_the_client(autojump_clock: MockClock) -> None:
    server = ss.ServerConfig(key=SERVER_KEY, authorize=ss.AuthorizedPeers([CLIENT_KEY.public_key]))
    async with serving_in_memory(shout, server) as served:
        for key, code in [(MIDDLEBOX_KEY, "access_denied"), (claim(CLIENT_KEY.public_key), "bad_response")]:
            client = ss.ClientConfig(key=key, server_key=SERVER_KEY.public_key)
            assert (await failure_of(served.connect(client), ss.HandshakeRefused)).code == code


# --- to change ----------------------------------------------------------------------------------------


def test_a_route_that_the_router_has_sealed_anew_breaks_the_handshake() -> None:
    """He can: he has one half of the secret that it is sealed with, and knows the other's public key."""

    def rerouted(frame: bytes) -> bytes:
        e, r = decode_hello_untrusted(frame[3:]).e, bytes(MIDDLEBOX_KEY.public_key)
        return with_route(seal_route(bytes(OTHER_KEY.public_key), MIDDLEBOX_KEY.exchange(e), e, r))(frame)

    client = partial(new_client, middlebox_key=MIDDLEBOX_KEY.public_key, ephemeral=None)
    assert not meet(client(), new_server(), only(Kind.HELLO, rerouted)).succeeded
    assert meet(client(), new_server()).succeeded


# --- to look into its memory --------------------------------------------------------------------------


def forms(raw: bytes) -> list[bytes]:
    return [raw, raw.hex().encode(), base64.b64encode(raw)]


def memory_of(pid: int) -> bytes:
    """All that a process can write to, at this moment."""
    parts = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            start, end = (int(number, 16) for number in re.split("[- ]", line)[:2])
            if line.split()[1].startswith("rw") and "[v" not in line:
                memory.seek(start)
                with suppress(OSError):
                    parts.append(memory.read(end - start))
    return b"".join(parts)


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of another process is read through /proc")
async def test_in_a_router_s_memory_there_is_no_content_no_client_and_no_key_but_its_own(tmp_path: Path) -> None:
    keys, router_key, said = Keys(tmp_path), ss.PrivateKey.generate(), os.urandom(32)
    ss.write_key_file(tmp_path / "router.key", router_key)

    async def echo(stream: ss.SecureStream[trio.SocketStream]) -> None:
        async for chunk in stream:
            await stream.send_all(chunk)

    async with serving(echo, keys) as port:
        (tmp_path / "routes").write_text(f"{keys.server_public} 127.0.0.1:{port}\n")
        (tmp_path / "routes").chmod(0o600)
        options: list[str | Path] = [
            "--key",
            tmp_path / "router.key",
            "--routes",
            tmp_path / "routes",
            "--listen",
            "127.0.0.1:0",
        ]
        async with running("route", *options) as router:
            string = f"{keys.string(await port_of(router))};Middlebox Key={router_key.public_key}"
            async with await ss.connect(string) as stream:
                for _ in range(100):
                    await stream.send_all(said)
                    assert await stream.receive_some() == said
                memory = memory_of(router.pid)
    assert bytes(router_key) in memory  # what it has
    assert bytes(keys.server.public_key) in memory  # what it has read in the hello
    secrets = {
        "content": said,
        "the client": bytes(keys.client.public_key),
        "the client's key": bytes(keys.client),
        "the server's key": bytes(keys.server),
    }
    assert {name for name, raw in secrets.items() if any(form in memory for form in forms(raw))} == set()
