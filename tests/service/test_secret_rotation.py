"""The shared secret comes in, and is replaced, while connections come and go and none is lost."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pytest
import trio
import trio.testing

import securestream as ss

from ..streams.support import PATIENCE, failure_of, matching_configs
from .support import ask, serving, serving_tcp, shout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from trio.testing import MockClock

pytestmark = pytest.mark.shows("secret-gate")

T_Stream = TypeVar("T_Stream", bound=trio.abc.Stream)
OLD, NEW = ss.SharedSecret(bytes(range(32))), ss.SharedSecret(bytes(range(1, 33)))


# --- step by step --------------------------------------------------------------------------------------

# Each step changes one side, as an operator would: the server's configuration (by a restart of it, whose old instance
# goes on with the connections it has) or some of the clients'.
STEPS: list[tuple[str, dict[str, object], ss.SharedSecret | None]] = [
    ("without a secret", {}, None),
    ("server: optional", {"secrets": [OLD]}, None),
    ("clients: on", {"secrets": [OLD]}, OLD),
    ("server: required", {"secrets": [OLD], "require_secret": True}, OLD),
    ("server: new beside old", {"secrets": [OLD, NEW], "require_secret": True}, OLD),
    ("clients: new", {"secrets": [OLD, NEW], "require_secret": True}, NEW),
    ("server: old removed", {"secrets": [NEW], "require_secret": True}, NEW),
]


class Instances:
    """A server that is restarted with another configuration; each connection is served by the instance it came to."""

    def __init__(self, nursery: trio.Nursery, config: ss.ServerConfig) -> None:
        self._nursery = nursery
        self.config = config

    async def connect(self, client: ss.ClientConfig) -> ss.SecureStream[trio.abc.Stream]:
        near, far = trio.testing.memory_stream_pair()
        self._nursery.start_soon(ss.secure_handler(shout, self.config), far)
        return await ss.wrap_client(near, client)


async def test_no_step_of_a_roll_out_and_a_rotation_loses_a_connection(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    async with trio.open_nursery() as nursery:
        instances, streams = Instances(nursery, server), []
        secret_before: ss.SharedSecret | None = None
        for name, changes, secret in STEPS:
            print(name)
            instances.config = replace(server, **changes)  # type: ignore[arg-type]  # the fields are of many types
            for shown in (secret_before, secret):  # in each step some clients are changed already, some not yet
                stream = await instances.connect(replace(client, secret=shown))
                streams.append(stream)
            assert [await ask(stream) for stream in streams] == [b"HELLO"] * len(streams)
            secret_before = secret
        for stream in streams:
            await stream.aclose()
    assert len(streams) == 2 * len(STEPS)


@pytest.mark.parametrize("shown", [None, OLD])
async def test_after_the_last_step_nothing_but_the_new_secret_will_do(
    shown: ss.SharedSecret | None, autojump_clock: MockClock
) -> None:
    client, server = matching_configs()
    async with serving(shout, replace(server, secrets=[NEW], require_secret=True)) as served:
        refused = await failure_of(served.connect(replace(client, secret=shown)), ss.HandshakeRefused)
    assert refused.code == "bad_secret"


async def test_with_a_callable_a_running_server_takes_the_new_secret_and_drops_the_old() -> None:
    client, server = matching_configs()
    taken: Sequence[ss.SharedSecret] = [OLD]
    config = replace(server, secrets=lambda: taken, require_secret=True)
    with trio.fail_after(PATIENCE):
        async with serving_tcp(shout, config) as port:
            connect = partial(ss.open_secure_tcp_stream, "127.0.0.1", port)
            async with await connect(replace(client, secret=OLD)) as first:
                taken = [OLD, NEW]
                async with await connect(replace(client, secret=NEW)) as second:
                    taken = [NEW]
                    assert (await failure_of(connect(replace(client, secret=OLD)), ss.HandshakeRefused)).code == (
                        "bad_secret"
                    )
                    async with await connect(replace(client, secret=NEW)) as third:
                        for stream in (first, second, third):
                            assert stream.peer.public_key == server.key.public_key
                            assert await ask(stream) == b"HELLO"


# --- callables ----------------------------------------------------------------------------------------------


class Hours:
    """A secret for each hour, derived from one that never changes: the guide's example."""

    def __init__(self) -> None:
        self.now = 1_000_000 * 3_600.0

    def secret(self, hours_ago: int = 0) -> ss.SharedSecret:
        hour = int(self.now) // 3_600 - hours_ago
        return ss.SharedSecret(hashlib.blake2b(hour.to_bytes(8, "big"), key=bytes(NEW)).digest())

    def secrets(self) -> list[ss.SharedSecret]:
        return [self.secret(), self.secret(1), self.secret(-1)]


@pytest.mark.parametrize(("apart", "fits"), [(-3_600, True), (0, True), (3_600, True), (7_200, False), (-7_200, False)])
async def test_hourly_secrets_bear_clocks_an_hour_apart(apart: float, fits: bool, autojump_clock: MockClock) -> None:
    here, there = Hours(), Hours()
    here.now += apart
    client, server = matching_configs()
    async with serving(shout, replace(server, secrets=there.secrets, require_secret=True)) as served:
        connecting = served.connect(replace(client, secret=here.secret))
        if fits:
            assert await ask(await connecting) == b"HELLO"
        else:
            assert (await failure_of(connecting, ss.HandshakeRefused)).code == "bad_secret"


async def test_both_sides_are_asked_at_each_handshake(autojump_clock: MockClock) -> None:
    asked: list[str] = []

    def taken() -> list[ss.SharedSecret]:
        asked.append("server")
        return [OLD]

    def shown() -> ss.SharedSecret:
        asked.append("client")
        return OLD

    client, server = matching_configs()
    async with serving(shout, replace(server, secrets=taken)) as served:
        for _ in range(3):
            await served.connect(replace(client, secret=shown))
    assert asked == ["client", "server"] * 3


async def test_a_server_is_not_asked_before_there_is_a_hello(autojump_clock: MockClock) -> None:
    def never() -> list[ss.SharedSecret]:
        raise AssertionError

    _, server = matching_configs()
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(b"GET / HTTP/1.1\r\n\r\n")
    await failure_of(ss.wrap_server(far, replace(server, secrets=never)), ss.HandshakeError)


def fails() -> list[ss.SharedSecret]:
    raise OSError("vault down")


def not_iterable() -> Iterable[ss.SharedSecret]:
    return OLD  # type: ignore[return-value]  # the mistake that is tested


def raw() -> list[ss.SharedSecret]:
    return [bytes(OLD)]  # type: ignore[list-item]  # the mistake that is tested


WRONG: dict[str, tuple[Callable[[], Iterable[ss.SharedSecret]], str]] = {
    "fails": (fails, "secrets failed: OSError"),
    "too short": (lambda: [ss.SharedSecret(bytes(31))], "secrets failed: ValueError"),
    "nothing but zeros": (lambda: [OLD, ss.SharedSecret(bytes(32))], "secrets failed: ValueError"),
    "one and no list": (not_iterable, "secrets failed: TypeError"),
    "raw bytes": (raw, "secrets failed: TypeError"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("required", [True, False])
async def test_a_callable_that_fails_lets_nobody_in_and_the_server_goes_on(
    name: str, required: bool, autojump_clock: MockClock, log: pytest.LogCaptureFixture
) -> None:
    client, server = matching_configs()
    broken = True
    config = replace(server, secrets=lambda: WRONG[name][0]() if broken else [OLD], require_secret=required)
    async with serving(shout, config) as served:
        for shown in (None, OLD):
            refused = await failure_of(served.connect(replace(client, secret=shown)), ss.HandshakeRefused)
            assert refused.code == "internal_error"
        broken = False
        assert await ask(await served.connect(replace(client, secret=OLD))) == b"HELLO"
    assert [record.levelname for record in log.records][:2] == ["ERROR"] * 2
    assert "for secrets failed" in log.text
    assert bytes(OLD).hex() not in log.text
    assert repr(bytes(OLD)) not in log.text


@pytest.mark.parametrize("name", WRONG)
async def test_wrap_server_says_what_failed(name: str, autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(failure_of, ss.wrap_client(near, client), ss.HandshakeRefused)
        failed = await failure_of(ss.wrap_server(far, replace(server, secrets=WRONG[name][0])), ss.SecretsFailed)
    assert (str(failed), failed.code) == (WRONG[name][1], "internal_error")


async def test_a_callable_that_gives_no_secrets_lets_in_who_shows_none_unless_one_is_required(
    autojump_clock: MockClock,
) -> None:
    client, server = matching_configs()
    async with serving(shout, replace(server, secrets=list)) as served:
        assert await ask(await served.connect(client)) == b"HELLO"
        assert (await failure_of(served.connect(replace(client, secret=OLD)), ss.HandshakeRefused)).code == "bad_secret"
    async with serving(shout, replace(server, secrets=list, require_secret=True)) as served:
        for shown in (None, OLD):
            refused = await failure_of(served.connect(replace(client, secret=shown)), ss.HandshakeRefused)
            assert refused.code == "bad_secret"


async def test_a_client_s_callable_that_gives_no_secret_is_its_own_error(autojump_clock: MockClock) -> None:
    client, _ = matching_configs()
    near, _ = trio.testing.memory_stream_pair()
    wrong = replace(client, secret=lambda: bytes(OLD))  # type: ignore[arg-type,return-value]  # what is tested
    with pytest.raises(TypeError, match="secret takes a SharedSecret, not a bytes"):
        await ss.wrap_client(near, wrong)
