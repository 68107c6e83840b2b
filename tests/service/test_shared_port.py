"""One port for several processes."""

from __future__ import annotations

import errno
import socket
from functools import partial

import pytest
import trio
import trio.testing

import securestream as ss

from ..streams.support import PATIENCE, Configs
from .support import ask


async def say_which(stream: ss.SecureStream[trio.SocketStream], which: bytes) -> None:
    async for _ in stream:
        await stream.send_all(which)


async def which_one(port: int, client: ss.ClientConfig) -> bytes:
    async with await ss.open_secure_tcp_stream("127.0.0.1", port, client) as stream:
        return await ask(stream)


async def test_connections_are_dealt_out_among_those_that_listen_at_the_moment(configs: Configs) -> None:
    """Two servers of this process stand for two processes: to the kernel they are the same."""
    client, server = configs
    with ss.SharedPort(0, "127.0.0.1") as port, trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            scopes = []
            for which in (b"one", b"two"):
                scopes.append(trio.CancelScope())

                async def serve(
                    task_status: trio.TaskStatus[list[trio.SocketListener]],
                    which: bytes = which,
                    scope: trio.CancelScope = scopes[-1],
                ) -> None:
                    with scope:
                        await ss.serve_secure_listeners(
                            partial(say_which, which=which), port.listeners(), server, task_status=task_status
                        )

                await nursery.start(serve)
            asked: set[bytes] = set()
            while asked != {b"one", b"two"}:
                asked.add(await which_one(port.port, client))
            scopes[0].cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert {await which_one(port.port, client) for _ in range(20)} == {b"two"}
            nursery.cancel_scope.cancel()


async def test_nobody_is_let_in_before_there_are_listeners_and_the_port_is_kept_all_the_same() -> None:
    with ss.SharedPort(0, "127.0.0.1") as port:
        with pytest.raises(OSError):
            await trio.open_tcp_stream("127.0.0.1", port.port)
        with socket.socket() as other, pytest.raises(OSError) as caught:
            other.bind(("127.0.0.1", port.port))
        assert caught.value.errno == errno.EADDRINUSE
    with socket.socket() as other:
        other.bind(("127.0.0.1", port.port))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_nobody_else_listens_there_while_no_process_does(host: str) -> None:
    """Every server sets SO_REUSEADDR, any user's; where all are bound with it, Linux lets the first one listen."""
    with ss.SharedPort(0) as chosen:
        number = chosen.port
    with ss.SharedPort(number, "0.0.0.0") as port:
        with pytest.raises(OSError) as caught:
            socket.create_server((host, port.port))
        assert caught.value.errno == errno.EADDRINUSE


async def test_all_interfaces_have_one_port_number() -> None:
    with ss.SharedPort(0) as port:
        assert {number for _, number in port.addresses} == {port.port}
        listeners = port.listeners()
        assert [listener.socket.getsockname()[:2] for listener in listeners] == port.addresses
        for listener in listeners:
            await listener.aclose()
    assert port.addresses == []


def test_where_ipv6_is_missing_ipv4_does(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def without(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6")
        return real(family, kind)

    monkeypatch.setattr("securestream.service.shared_port.socket.socket", without)
    with ss.SharedPort(0) as port:
        assert [host for host, _ in port.addresses] == ["0.0.0.0"]
    with pytest.raises(OSError, match="no IPv6"):
        ss.SharedPort(0, "::1")


def test_a_port_that_another_server_has_for_itself_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError) as caught:
        ss.SharedPort(taken.getsockname()[1], "127.0.0.1")
    assert caught.value.errno == errno.EADDRINUSE
