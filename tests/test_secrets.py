"""Secrets never show: not in `repr`, `str`, the log or an exception, whatever succeeds or fails."""

from __future__ import annotations

import base64
import copy
import gc
import logging
import pickle
import traceback
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import pytest
import trio
import trio.testing

import securestream as ss
from securestream.protocol.handshake import ClientHandshake, SecretPolicy, ServerHandshake
from securestream.protocol.messages import FrameReader, Kind

from .service.support import serving
from .streams.support import Configs, receive_until_error
from .streams.transports import WithoutHalfClose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trio.testing import MockClock

pytestmark = pytest.mark.shows("no-secrets-shown")

CLIENT_KEY = ss.PrivateKey(bytes(range(1, 33)))
SERVER_KEY = ss.PrivateKey(bytes(range(33, 65)))
STRANGER = ss.PrivateKey(bytes(range(65, 97)))
CLIENT_EPHEMERAL = ss.PrivateKey(bytes(range(97, 129)))
SERVER_EPHEMERAL = ss.PrivateKey(bytes(range(129, 161)))
SECRET = ss.SharedSecret(bytes(range(161, 193)))
OTHER_SECRET = ss.SharedSecret(bytes(range(193, 225)))
TOKEN = b"bearer-token-of-alice-0123456789"

# The same with everything that is derived from them in a handshake whose ephemeral keys are known.
SECRETS: dict[str, bytes] = {
    "the client's key": bytes(CLIENT_KEY),
    "the server's key": bytes(SERVER_KEY),
    "a stranger's key": bytes(STRANGER),
    "the client's ephemeral key": bytes(CLIENT_EPHEMERAL),
    "the server's ephemeral key": bytes(SERVER_EPHEMERAL),
    "the secret": bytes(SECRET),
    "another secret": bytes(OTHER_SECRET),
    "the psk of the secret": SECRET.psk,
    "the psk of another secret": OTHER_SECRET.psk,
    "the credentials": TOKEN,
}


def forms(secret: bytes) -> Iterator[str]:
    """How a secret may look in a text: whole, and its first half."""
    for part in (secret, secret[: len(secret) // 2]):
        yield part.hex()
        yield part.hex().upper()
        yield part.hex(":")
        yield part.hex(" ")
        yield repr(part)[2:-1]
        yield repr(list(part))[1:-1]
        yield part.decode("latin-1")
    for encode in (base64.b64encode, base64.urlsafe_b64encode, base64.b32encode):
        yield encode(secret).decode().rstrip("=")[:-1]


def assert_nothing_shows(text: str, secrets: dict[str, bytes] = SECRETS) -> None:
    for name, secret in secrets.items():
        assert not any(form in text for form in forms(secret)), f"{name} shows"


def chain(exc: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    """An exception and all that hang from it: causes, contexts, members of groups."""
    if exc is None or id(exc) in seen:
        return
    seen.add(id(exc))
    yield exc
    members = exc.exceptions if isinstance(exc, BaseExceptionGroup) else ()
    for other in (exc.__cause__, exc.__context__, *members):
        yield from chain(other, seen)


def text_of(exc: BaseException) -> str:
    """All that an exception says, in whatever way it is asked."""
    texts = ["".join(traceback.format_exception(exc))]
    for each in chain(exc, set()):
        texts += [str(each), repr(each), repr(each.args), repr(vars(each)), *map(str, vars(each).values())]
    return "\n".join(texts)


def text_of_everything_alive() -> str:
    """The `repr` and `str` of every object of this package that exists at the moment."""
    gc.collect()
    ours = [each for each in gc.get_objects() if str(type(each).__module__).split(".")[0] == "securestream"]
    assert len(ours) > 20
    return "\n".join(f"{each!r}\n{each!s}\n{each:}" for each in ours)


# --- what a test of the test would find --------------------------------------------------------------------


@pytest.mark.parametrize("name", SECRETS)
def test_the_search_finds_a_secret_in_every_form(name: str) -> None:
    secret = SECRETS[name]
    shown = (secret.hex(), repr(secret), base64.b64encode(secret).decode(), str(list(secret)), f"key={secret!r}, ...")
    for text in shown:
        with pytest.raises(AssertionError, match="shows"):
            assert_nothing_shows(text, {name: secret})


# --- keys and configurations ---------------------------------------------------------------------------------


def configs(**client: object) -> Configs:
    return (
        ss.ClientConfig(
            **{  # type: ignore[arg-type]
                "key": CLIENT_KEY,
                "server_key": SERVER_KEY.public_key,
                "secret": SECRET,
                "credentials": TOKEN,
                **client,
            }
        ),
        ss.ServerConfig(
            key=SERVER_KEY, secrets=[SECRET], authorize=ss.AuthorizedPeers([CLIENT_KEY.public_key]), close_timeout=0.5
        ),
    )


def test_keys_secrets_and_configurations_do_not_show_them() -> None:
    for value in (CLIENT_KEY, SECRET, *configs(), [CLIENT_KEY], {"key": SECRET}):
        assert_nothing_shows(f"{value!r} {value!s} {value:}" if not isinstance(value, list | dict) else repr(value))


@pytest.mark.parametrize("secret", [CLIENT_KEY, SECRET], ids=lambda secret: type(secret).__name__)
@pytest.mark.parametrize("copy_of", [pickle.dumps, copy.copy, copy.deepcopy])
def test_secrets_are_not_pickled_or_copied_by_accident(secret: object, copy_of: Callable[[object], object]) -> None:
    with pytest.raises(TypeError) as caught:
        copy_of(secret)
    assert_nothing_shows(text_of(caught.value))


WRONGS: list[Callable[[], object]] = [
    lambda: ss.PublicKey.from_text(CLIENT_KEY.to_text()),
    lambda: ss.PublicKey.from_text(SECRET.to_text()),
    lambda: ss.PrivateKey.from_text(SECRET.to_text()),
    lambda: ss.SharedSecret.from_text(CLIENT_KEY.to_text()),
    lambda: ss.PrivateKey.from_text(CLIENT_KEY.to_text() + "!"),
    lambda: ss.PrivateKey.from_text(CLIENT_KEY.to_text()[:-2]),
    lambda: ss.PrivateKey.from_text(CLIENT_KEY.to_text() + "ü"),
    lambda: ss.PrivateKey.from_text(bytes(CLIENT_KEY).hex()),
    lambda: ss.SharedSecret.from_text(SECRET.to_text() + "!"),
    lambda: ss.SharedSecret.from_text(SECRET.to_text() + "ü"),
    lambda: ss.PrivateKey(bytes(CLIENT_KEY)[:31]),
    lambda: ss.PrivateKey(bytes(CLIENT_KEY) * 2),
    lambda: ss.SharedSecret(bytes(SECRET)[:31]),
    lambda: ss.SharedSecret(bytes(SECRET) * 200),
    lambda: ss.ClientConfig(server_key=CLIENT_KEY.to_text()),  # type: ignore[arg-type]
    lambda: ss.ClientConfig(server_key=bytes(CLIENT_KEY)),  # type: ignore[arg-type]
    lambda: configs(secret=bytes(SECRET)),
    lambda: configs(secret=SECRET.to_text()),
    lambda: configs(key=bytes(CLIENT_KEY)),
    lambda: configs(key=CLIENT_KEY.to_text()),
    lambda: configs(credentials=TOKEN.decode()),
    lambda: configs(credentials=TOKEN * 2_000),
    lambda: ss.ServerConfig(key=CLIENT_KEY.to_text(), authorize=ss.ANYONE),  # type: ignore[arg-type]
    lambda: ss.ServerConfig(key=SERVER_KEY, authorize=ss.ANYONE, secrets=[SECRET.to_text()]),  # type: ignore[list-item]
]


@pytest.mark.parametrize("wrong", WRONGS, ids=range(len(WRONGS)))
def test_an_error_about_a_secret_does_not_repeat_it(wrong: Callable[[], object]) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        wrong()
    assert_nothing_shows(text_of(caught.value))


# --- handshakes and streams -------------------------------------------------------------------------------------


async def upside_down(stream: ss.SecureStream[trio.abc.Stream]) -> None:
    """A handler that serves, fails, and ends in every way, as its client wants it."""
    command = await stream.receive_some()
    match command:
        case b"fail":
            raise ValueError("a handler's mistake")
        case b"failure":
            raise ss.StreamFailure(5_001, "a handler's word")
        case b"alert":
            await stream.send_alert(5_002, "bye")
        case _:
            await stream.send_all(command)


class Forging(WithoutHalfClose):
    """A transport that spoils what goes out through it, from some moment on."""

    forges = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await super().send_all(bytes(data)[:-1] + b"!" if self.forges else data)


async def refuse(peer: ss.Peer) -> NoReturn:
    assert_nothing_shows(f"{peer!r} {peer!s}")
    raise PermissionError(f"{peer!r} is not wanted")


async def break_down(peer: ss.Peer) -> NoReturn:
    raise ValueError(f"{peer!r}")


CLIENTS: dict[str, dict[str, object]] = {
    "an accepted one": {},
    "one without waiting": {"wait_for_accept": False},
    "a stranger": {"key": STRANGER},
    "one with another server's key": {"server_key": STRANGER.public_key},
    "one with another secret": {"secret": OTHER_SECRET},
    "one without the secret": {"secret": None},
}
SERVERS: dict[str, dict[str, object]] = {
    "as configured": {},
    "demanding the secret": {"require_secret": True},
    "refusing": {"authorize": refuse},
    "breaking down": {"authorize": break_down},
    "with another secret": {"secrets": [OTHER_SECRET]},
    "demanding the route": {"require_route": True},
}


async def visit(transport: trio.abc.Stream, client: ss.ClientConfig, command: bytes) -> str:
    """What there is to see of one connection."""
    forging = Forging(transport)
    texts = []
    try:
        async with await ss.wrap_client(forging, client) as stream:
            texts.append(f"{stream!r} {stream.peer!r} {stream.session!r} {stream.statistics()!r}")
            forging.forges = command == b"forged"
            await stream.send_all(command)
            texts.append(text_of((await receive_until_error(stream))[1]))
            if command == b"fail":
                texts.append(text_of_everything_alive())
    except BaseException as exc:  # noqa: BLE001  pytest's own failure, where the stream ended in order
        texts.append(text_of(exc))
    return "\n".join(texts)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_whatever_a_handshake_and_its_stream_come_to_no_secret_shows(
    client: str, server: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.DEBUG)
    client_config, server_config = configs(**CLIENTS[client])
    async with serving(upside_down, replace(server_config, **SERVERS[server])) as served:  # type: ignore[arg-type]
        for command in (b"data", b"fail", b"failure", b"alert", b"forged"):
            assert_nothing_shows(await visit(await served.listener.connect(), client_config, command))
            await trio.testing.wait_all_tasks_blocked()
    assert_nothing_shows(caplog.text)
    for record in caplog.records:
        assert_nothing_shows(repr(vars(record)))
        if record.exc_info and record.exc_info[1]:
            assert_nothing_shows(text_of(record.exc_info[1]))


async def test_timeouts_and_cancellations_show_no_secret(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.DEBUG)
    client, server = configs()
    wrappings = (partial(ss.wrap_client, config=client), partial(ss.wrap_server, config=server))
    for wrap in wrappings:
        near, far = trio.testing.memory_stream_pair()
        with pytest.raises(ss.HandshakeTimeout) as timeout:
            await wrap(near)
        assert_nothing_shows(text_of(timeout.value))
        near, far = trio.testing.memory_stream_pair()
        with pytest.raises(trio.TooSlowError) as too_slow, trio.fail_after(1):
            await wrap(near)
        assert_nothing_shows(text_of(too_slow.value))
        await far.aclose()
    assert_nothing_shows(caplog.text)


def test_the_machines_of_a_handshake_and_its_keys_do_not_show_them() -> None:
    client = ClientHandshake(
        key=CLIENT_KEY,
        server_key=SERVER_KEY.public_key,
        suites=tuple(ss.Suite),
        secret=SECRET,
        ephemeral=CLIENT_EPHEMERAL,
    )
    server = ServerHandshake(
        key=SERVER_KEY,
        suites=tuple(ss.Suite),
        secrets=[SECRET],
        secret_policy=SecretPolicy.REQUIRED,
        ephemeral=SERVER_EPHEMERAL,
    )
    server.hello(body_of(client.hello()))
    client.challenge(body_of(server.challenge()))
    server.response(body_of(client.response(TOKEN)))
    keys = client.split()
    both = {**SECRETS, "a session key": keys.send, "the other session key": keys.receive}
    assert_nothing_shows(text_of_everything_alive() + repr(keys) + str(server.split()), both)


def body_of(frame: bytes) -> bytes:
    reader = FrameReader()
    reader.feed(frame)
    result = reader.next_frame(set(Kind))
    assert result is not None
    return result[1]


def test_a_machine_that_is_used_wrongly_shows_no_secret() -> None:
    client = ClientHandshake(
        key=CLIENT_KEY, server_key=None, suites=tuple(ss.Suite), secret=SECRET, ephemeral=CLIENT_EPHEMERAL
    )
    for misuse in (client.split, client.response, lambda: client.session, lambda: client.challenge(b"")):
        with pytest.raises(Exception, match=r".") as caught:
            misuse()
        assert_nothing_shows(text_of(caught.value))
    with suppress(ss.HandshakeError):
        client.hello()
