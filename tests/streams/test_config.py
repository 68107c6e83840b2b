"""A configuration is checked when it is made, so that no handshake can meet a bad value."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from typing import TYPE_CHECKING, Protocol

import pytest

import securestream as ss
from securestream.protocol.handshake import SecretPolicy
from securestream.streams.secure import SecureStream

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from _typeshed import DataclassInstance


class Make(Protocol):
    def __call__(self, **changes: object) -> object: ...


KEY = ss.PrivateKey(bytes(range(32)))  # fixed, for it is in the names of tests
SECRET = ss.SharedSecret(bytes(range(32)))


def client(**changes: object) -> ss.ClientConfig:
    return ss.ClientConfig(**{"server_key": KEY.public_key, **changes})  # type: ignore[arg-type]


def server(**changes: object) -> ss.ServerConfig:
    return ss.ServerConfig(**{"key": KEY, "authorize": ss.ANYONE, **changes})  # type: ignore[arg-type]


FROZEN = [client(), server(), ss.Limits(), ss.Peer(public_key=KEY.public_key)]
BOTH: list[tuple[str, object, type[Exception]]] = [
    ("suites", (), ValueError),
    ("suites", [ss.Suite.AEGIS_256] * 2, ValueError),
    ("suites", [1], ValueError),
    ("suites", ["AEGIS_256"], ValueError),
    ("suites", None, TypeError),
    ("suites", ss.Suite.AEGIS_256, TypeError),
    ("padding", None, TypeError),
    ("padding", ss.FullRecords, TypeError),
    ("handshake_timeout", 0, ValueError),
    ("handshake_timeout", -1, ValueError),
    ("handshake_timeout", math.nan, ValueError),
    ("handshake_timeout", None, TypeError),
    ("handshake_timeout", "5", TypeError),
    ("close_timeout", -1, ValueError),
    ("close_timeout", math.nan, ValueError),
    ("close_timeout", None, TypeError),
    ("key", bytes(KEY), TypeError),
    ("key", KEY.public_key, TypeError),
    ("key", KEY.to_text(), TypeError),
]
CLIENT: list[tuple[str, object, type[Exception]]] = [
    ("server_key", KEY, TypeError),
    ("server_key", str(KEY.public_key), TypeError),
    ("server_key", bytes(32), TypeError),
    ("middlebox_key", KEY, TypeError),
    ("middlebox_key", str(KEY.public_key), TypeError),
    ("secret", bytes(SECRET), TypeError),
    ("secret", SECRET.to_text(), TypeError),
    ("secret", KEY, TypeError),
    ("credentials", "text", TypeError),
    ("credentials", bytearray(b"x"), TypeError),
    ("credentials", None, TypeError),
    ("credentials", bytes(32_769), ValueError),
]
SERVER: list[tuple[str, object, type[Exception]]] = [
    ("key", None, TypeError),
    ("authorize", None, TypeError),
    ("authorize", [KEY.public_key], TypeError),
    ("secrets", [bytes(SECRET)], TypeError),
    ("secrets", [None], TypeError),
    ("secrets", SECRET, TypeError),
    ("require_secret", True, ValueError),
    ("limits", 10, TypeError),
    ("limits", None, TypeError),
]


@pytest.mark.parametrize(
    ("make", "name", "value", "kind"),
    [
        *[(make, *wrong) for make in (client, server) for wrong in BOTH],
        *[(client, *wrong) for wrong in CLIENT],
        *[(server, *wrong) for wrong in SERVER],
    ],
)
def test_each_bad_value_is_refused_when_the_configuration_is_made(
    make: Make, name: str, value: object, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught:
        make(**{name: value})
    assert str(caught.value)


def test_neither_server_key_nor_secret_is_refused_as_anyone_could_stand_in_the_middle() -> None:
    with pytest.raises(ValueError, match="anyone could stand in the middle"):
        ss.ClientConfig()
    with pytest.raises(ValueError, match="anyone could stand in the middle"):
        ss.ClientConfig(key=KEY)
    ss.ClientConfig(secret=SECRET)
    ss.ClientConfig(server_key=KEY.public_key)


def test_options_are_keyword_only() -> None:
    with pytest.raises(TypeError):
        ss.ClientConfig(KEY)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        ss.ServerConfig(KEY, ss.ANYONE)  # type: ignore[call-arg]


def test_who_may_connect_has_no_default() -> None:
    with pytest.raises(TypeError, match="authorize"):
        ss.ServerConfig(key=KEY)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "value",
    [client(), server(), ss.Limits(), ss.Peer(public_key=KEY.public_key)],
    ids=lambda value: type(value).__name__,
)
def test_a_configuration_cannot_be_changed(value: DataclassInstance) -> None:
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, None)
    with pytest.raises(TypeError):
        type(value)(*[getattr(value, field.name) for field in dataclasses.fields(value)])


def forgot(asked: object) -> None:
    """An `async` that was left out."""


class Forgot:
    def __call__(self, asked: object) -> None:
        pass

    def method(self, asked: object) -> None:
        pass


@pytest.mark.parametrize("call", [forgot, Forgot(), Forgot().method, functools.partial(forgot)])
def test_a_callable_that_is_not_async_is_found_at_once(call: object) -> None:
    for make in (
        lambda: server(authorize=call),
        lambda: client(verify_server=call),
        lambda: client(server_key=call),
        lambda: ss.RouterConfig(keys=[KEY], routes=call),  # type: ignore[arg-type]  # the mistake
    ):
        with pytest.raises(TypeError, match="is to be async: async def "):
            make()


def test_what_gives_an_awaitable_without_being_async_is_taken() -> None:
    async def judge(peer: ss.Peer, name: str = "") -> None:
        pass

    @functools.wraps(judge)
    def wrapped(peer: ss.Peer) -> object:
        return judge(peer)

    def annotated(peer: ss.Peer) -> Awaitable[None]:
        return judge(peer)

    class Judge:
        async def __call__(self, peer: ss.Peer) -> None:
            pass

        async def method(self, peer: ss.Peer) -> None:
            pass

    functions = [judge, wrapped, annotated, lambda peer: judge(peer), functools.partial(judge, name="x")]
    for way in [*functions, Judge(), Judge().method]:
        assert server(authorize=way).authorize is way


@pytest.mark.parametrize("make", [client, server])
def test_forever_and_at_once_are_timeouts(make: Make) -> None:
    make(handshake_timeout=math.inf, close_timeout=math.inf)
    make(close_timeout=0)


def test_what_was_given_as_an_iterator_is_kept() -> None:
    config = server(secrets=iter([SECRET]), suites=iter([ss.Suite.AEGIS_256]), require_secret=True)
    assert config.secrets == (SECRET,)
    assert config.suites == (ss.Suite.AEGIS_256,)
    assert client(suites=iter(ss.Suite)).suites == tuple(ss.Suite)


def test_a_list_that_is_changed_later_changes_nothing() -> None:
    secrets = [SECRET]
    config = server(secrets=secrets, require_secret=True)
    secrets.clear()
    assert config.secrets == (SECRET,)


@pytest.mark.parametrize(
    ("changes", "policy"),
    [
        ({}, SecretPolicy.OFF),
        ({"secrets": [SECRET]}, SecretPolicy.OPTIONAL),
        ({"secrets": [SECRET], "require_secret": True}, SecretPolicy.REQUIRED),
    ],
)
def test_the_gate_is_off_optional_or_required(changes: dict[str, object], policy: SecretPolicy) -> None:
    assert server(**changes).secret_policy is policy


def test_a_callable_is_no_pinned_key() -> None:
    async def judge(key: ss.PublicKey) -> None:
        pass

    assert client(server_key=judge).pinned_key is None
    assert client().pinned_key == KEY.public_key


@pytest.mark.parametrize("wrong", [0, -1])
def test_limits_are_at_least_1(wrong: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ss.Limits(pending_handshakes=wrong)
    with pytest.raises(ValueError, match="at least 1"):
        ss.Limits(connections=wrong)


def test_anyone_says_what_it_is() -> None:
    assert repr(ss.ANYONE) == "ANYONE"
    assert "authorize=ANYONE" in repr(server())


@pytest.mark.parametrize("arguments", [(), (None,), (object(), object()), (b"key",)])
def test_a_secure_stream_has_no_public_constructor(arguments: tuple[object, ...]) -> None:
    with pytest.raises(TypeError):
        SecureStream(*arguments)  # type: ignore[arg-type]


def test_a_secure_stream_is_final() -> None:
    assert getattr(SecureStream, "__final__", False)


def test_every_public_name_has_a_docstring_or_is_a_constant() -> None:
    for name in ss.__all__:
        value = getattr(ss, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name
