"""Instruments: what they are told, that a broken one harms nobody, and the two that are ready."""

from __future__ import annotations

import importlib
import io
import logging
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import structlog
import trio
import trio.testing

import securestream as ss
from securestream.service.metrics import MAX_REQUEST, Metrics, serve_metrics

from ..streams.support import PATIENCE, Configs, failure_of, matching_configs, receive_until_error
from .support import ask, serving, serving_tcp, shout

if TYPE_CHECKING:
    from trio.testing import MockClock

    Stream = ss.SecureStream[trio.abc.Stream]


class Seen(ss.Instrument):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []
        self.last: ss.StreamStatistics | None = None

    def handshake_started(self, address: str) -> None:
        self.events.append(("started", address))

    def handshake_done(self, stream: Stream, seconds: float) -> None:
        self.events.append(("done", stream.peer.public_key, seconds))

    def handshake_failed(self, address: str, reason: str, seconds: float) -> None:
        self.events.append(("failed", reason, seconds))

    def alert_sent(self, stream: Stream, alert: ss.Alert) -> None:
        self.events.append(("sent", alert))

    def alert_received(self, stream: Stream, alert: ss.Alert) -> None:
        self.events.append(("received", alert))

    def stream_closed(self, stream: Stream, reason: str, statistics: ss.StreamStatistics) -> None:
        self.events.append(("closed", reason))
        self.last = statistics

    @property
    def names(self) -> list[object]:
        return [event[0] for event in self.events]


def seen_by(configs: Configs) -> tuple[Configs, Seen, Seen]:
    near, far = Seen(), Seen()
    return (replace(configs[0], instruments=[near]), replace(configs[1], instruments=[far])), near, far


async def test_both_sides_are_told_of_a_conversation_from_its_beginning_to_its_end(autojump_clock: MockClock) -> None:
    (client, server), near, far = seen_by(matching_configs(ss.Suite.AEGIS_256))
    async with serving(shout, server) as served, await served.connect(client) as stream:
        assert await ask(stream) == b"HELLO"
        await stream.send_eof()
        assert await stream.receive_some() == b""
    assert client.key is not None
    assert near.events == [("started", ""), ("done", server.key.public_key, 0.0), ("closed", "closed")]
    assert far.events == [("started", ""), ("done", client.key.public_key, 0.0), ("closed", "closed")]
    assert near.last is not None
    assert far.last is not None
    assert (near.last.bytes_sent, near.last.bytes_received, near.last.records_sent) == (5, 5, 2)
    assert (far.last.bytes_sent, far.last.records_received, far.last.padding_sent) == (5, 2, 475)  # the verdict's


async def test_alerts_are_told_to_both_sides(autojump_clock: MockClock) -> None:
    async def fail(stream: Stream) -> None:
        raise ss.StreamFailure(5_001, "no luck")

    (client, server), near, far = seen_by(matching_configs())
    async with serving(fail, server) as served:
        stream = await served.connect(client)
        await receive_until_error(stream)
        await stream.aclose()
    alert = ss.Alert(5_001, "no luck")
    assert near.events[2:] == [("received", alert), ("closed", "alert_5001")]
    assert far.events[2:] == [("sent", alert), ("closed", "alert_5001")]


async def test_what_a_peer_did_wrong_is_an_alert_sent(autojump_clock: MockClock) -> None:
    (client, server), _, far = seen_by(matching_configs())
    async with serving(shout, server) as served:
        stream = await served.connect(client)
        await stream.transport_stream.send_all(bytes(100))
        await receive_until_error(stream)
    assert far.events[2:] == [("sent", ss.Alert(ss.AlertCode.BAD_RECORD)), ("closed", "bad_record")]


@pytest.mark.parametrize("ending", ["eof", "cut", "cancelled"])
async def test_an_end_has_its_reason(autojump_clock: MockClock, ending: str) -> None:
    (client, server), near, far = seen_by(matching_configs())
    async with serving(shout, server) as served:
        stream = await served.connect(client)
        match ending:
            case "eof":
                await stream.aclose()
                await trio.testing.wait_all_tasks_blocked()
            case "cut":
                await trio.aclose_forcefully(stream)
                await trio.testing.wait_all_tasks_blocked()
            case _:
                served.nursery.cancel_scope.cancel()
    reasons = {"eof": ("closed", "closed"), "cut": ("cut", "truncated_stream"), "cancelled": (None, "cut")}
    left, right = reasons[ending]
    assert far.events[-1] == ("closed", right)
    assert left is None or near.events[-1] == ("closed", left)


async def test_a_handshake_that_fails_has_its_reason(autojump_clock: MockClock) -> None:
    (client, server), near, far = seen_by(matching_configs())
    async with serving(shout, server) as served:
        stranger = replace(client, key=ss.PrivateKey.generate())
        await failure_of(served.connect(stranger), ss.HandshakeRefused)
        with trio.move_on_after(1):
            transport, _ = trio.testing.memory_stream_pair()
            await ss.wrap_client(transport, client)
        silent = await served.listener.connect()
        assert await silent.receive_some()
        await silent.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert near.names == ["started", "failed"] * 2
    assert [event[1:] for event in near.events if event[0] == "failed"] == [("access_denied", 0.0), ("cancelled", 1.0)]
    assert [event[1] for event in far.events if event[0] == "failed"] == ["access_denied", "handshake_timeout"]


async def test_a_client_for_whom_there_is_no_room_is_told_of_too(autojump_clock: MockClock) -> None:
    (client, server), _, far = seen_by(matching_configs())
    async with serving(shout, replace(server, limits=ss.Limits(connections=1))) as served:
        first = await served.connect(client)
        await failure_of(served.connect(client), ss.HandshakeRefused)
        await first.aclose()
    assert ("failed", "busy", 0.0) in far.events
    assert far.names.count("started") == 2


class Broken(ss.Instrument):
    """Fails at the first thing it is told."""

    def handshake_started(self, address: str) -> None:
        self.asked = getattr(self, "asked", 0) + 1
        raise ValueError("a bug of the instrument's")


async def test_an_instrument_that_fails_is_logged_and_left_out_and_the_others_go_on(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    client, server = matching_configs()
    broken, seen = Broken(), Seen()
    async with serving(shout, replace(server, instruments=[broken, seen])) as served:
        for _ in range(3):
            async with await served.connect(client) as stream:
                assert await ask(stream) == b"HELLO"
    assert broken.asked == 1
    assert seen.names.count("done") == 3
    assert [record.message for record in caplog.records if "not called any more" in record.message] != []
    assert len(caplog.records) == 1


def test_what_is_no_instrument_is_refused() -> None:
    client, server = matching_configs()
    for config in (client, server):
        with pytest.raises(TypeError, match="Instrument"):
            replace(config, instruments=[print])  # type: ignore[list-item]  # the mistake


async def test_one_that_overrides_nothing_is_none_the_worse(autojump_clock: MockClock) -> None:
    client, server = matching_configs()
    config = replace(server, instruments=[ss.Instrument()])
    async with serving(shout, config) as served, await served.connect(client) as stream:
        assert await ask(stream) == b"HELLO"


# --- the log ------------------------------------------------------------------------------------------------


async def conversation(configs: Configs) -> None:
    """One that goes well, one that is refused, one that ends with an alert whose text is meant to deceive."""

    async def handler(stream: Stream) -> None:
        if await stream.receive_some() == b"fail":
            raise ss.StreamFailure(5_001, 'a "forged"\nhandshake_done peer=mallory')
        await stream.send_all(b"HELLO")

    client, server = configs
    async with serving(handler, server) as served:
        async with await served.connect(client) as stream:
            assert await ask(stream) == b"HELLO"
        await failure_of(served.connect(replace(client, key=ss.PrivateKey.generate())), ss.HandshakeRefused)
        stream = await served.connect(client)
        await stream.send_all(b"fail")
        await receive_until_error(stream)
        await stream.aclose()


async def test_the_log_has_a_line_of_keys_and_values_for_each_event(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    client, server = matching_configs()
    assert client.key is not None
    names = ss.AuthorizedPeers({client.key.public_key: "alice"})
    with caplog.at_level(logging.INFO, "securestream.events"):
        await conversation((client, replace(server, authorize=names, instruments=[ss.LogInstrument()])))
    records = [record for record in caplog.records if record.name == "securestream.events"]
    who = f'address="" peer={client.key.public_key} name=alice'
    assert [record.message.partition(" ")[0] for record in records] == [
        *("handshake_done", "stream_closed", "handshake_failed", "handshake_done", "alert_sent", "stream_closed")
    ]
    assert records[0].message.startswith(f"handshake_done {who} suite=")
    assert " secret=no post_quantum=yes seconds=" in records[0].message
    assert records[2].message == 'handshake_failed address="" reason=access_denied seconds=0'
    assert records[4].message.endswith('reason=alert_5001 message="a \\"forged\\"\\\\nhandshake_done peer=mallory"')
    assert records[1].__dict__["fields"]["bytes_received"] == 5
    assert all("\n" not in record.message for record in records)


async def test_the_log_shows_which_clients_have_the_secret_yet(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    secret = ss.SharedSecret.generate()
    client, server = matching_configs()
    with caplog.at_level(logging.INFO, "securestream.events"):
        async with serving(shout, replace(server, secrets=[secret], instruments=[ss.LogInstrument()])) as served:
            for config in (client, replace(client, secret=secret)):
                async with await served.connect(config) as stream:
                    assert await ask(stream) == b"HELLO"
    told = [record.__dict__["fields"] for record in caplog.records if record.message.startswith("handshake_done")]
    assert [fields["secret"] for fields in told] == ["no", "yes"]


async def test_the_log_suits_structlog(autojump_clock: MockClock) -> None:
    out = io.StringIO()
    log = structlog.wrap_logger(structlog.PrintLogger(out), processors=[structlog.processors.LogfmtRenderer()])
    client, server = matching_configs()
    await conversation((client, replace(server, instruments=[ss.LogInstrument(log)])))
    lines = out.getvalue().splitlines()
    assert len(lines) == 6
    assert all("event=" in line for line in lines)
    assert "reason=access_denied" in lines[2]


async def test_a_log_that_is_not_read_costs_no_text(autojump_clock: MockClock) -> None:
    log = logging.getLogger("securestream.events")
    assert not log.isEnabledFor(logging.INFO)
    client, server = matching_configs()
    await conversation((client, replace(server, instruments=[ss.LogInstrument()])))


# --- figures for Prometheus -----------------------------------------------------------------------------------


def figures(metrics: Metrics) -> dict[str, float]:
    """Every sample that is not nought."""
    return {
        sample.name.removeprefix("securestream_")
        + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.value and not sample.name.endswith(("_created", "_bucket"))
    }


async def test_figures_add_up(autojump_clock: MockClock) -> None:
    metrics = Metrics()
    client, server = matching_configs()
    await conversation((client, replace(server, instruments=[metrics])))
    found = figures(metrics)
    assert {
        name: value for name, value in found.items() if not name.startswith(("wire_bytes", "padding", "records"))
    } == {
        "handshakes_total done": 2,
        "handshakes_total access_denied": 1,
        "post_quantum_handshakes_total": 2,
        "handshake_seconds_count": 2,
        "streams_closed_total closed": 1,
        "streams_closed_total application": 1,
        "alerts_total sent application": 1,
        "bytes_total sent": 5 + len('a "forged"\nhandshake_done peer=mallory') + 2,
        "bytes_total received": 5 + 4,
    }


async def test_what_is_open_is_shown_while_it_is(autojump_clock: MockClock) -> None:
    metrics = Metrics()
    client, server = matching_configs()
    async with serving(shout, replace(server, instruments=[metrics])) as served:
        stream, _ = await served.connect(client), await served.listener.connect()
        await trio.testing.wait_all_tasks_blocked()
        assert (figures(metrics)["streams_open"], figures(metrics)["handshakes_pending"]) == (1, 1)
        await stream.aclose()
    assert not {"streams_open", "handshakes_pending"} & figures(metrics).keys()


async def test_no_peer_can_make_new_series(autojump_clock: MockClock) -> None:
    metrics = Metrics()

    async def wait(stream: Stream) -> None:
        await stream.receive_some()

    client, server = matching_configs()
    async with serving(wait, replace(server, instruments=[metrics])) as served:
        for code in [*range(4_096, 4_116), *ss.AlertCode]:
            stream = await served.connect(client)
            await stream.send_alert(code)
            await stream.aclose()
    labels = [name for name in figures(metrics) if name.startswith("alerts_total received")]
    assert len(labels) == 1 + len(ss.AlertCode)
    metrics.handshake_failed("", "a reason of the next version", 0.0)
    assert figures(metrics)["handshakes_total other"] == 1


async def get(port: int, request: bytes) -> bytes:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request)
        return b"".join([chunk async for chunk in stream])


async def test_figures_are_shown_over_http(configs: Configs) -> None:
    metrics = Metrics()
    client, server = configs
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery, serving_tcp(shout, replace(server, instruments=[metrics])) as port:
            shown = (await nursery.start(serve_metrics, metrics, 0))[0].socket.getsockname()
            assert shown[0] == "127.0.0.1"
            async with await ss.open_secure_tcp_stream("127.0.0.1", port, client) as stream:
                assert await ask(stream) == b"HELLO"
            answer = await get(shown[1], f"GET /metrics HTTP/1.1\r\nHost: localhost:{shown[1]}\r\n\r\n".encode())
            nursery.cancel_scope.cancel()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; ")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b'securestream_handshakes_total{result="done"} 1.0\n' in body


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"HTTP/1.1 404"),
        (b"GET /metrics?x=1 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200"),
        (b"\r\n\r\n", b"HTTP/1.1 404"),
        (b"\x16\x03\x01" + bytes(range(256)) + b"\r\n\r\n", b"HTTP/1.1 404"),
        (b"GET /metrics", b""),
        (b"x" * (MAX_REQUEST + 1), b""),
    ],
    ids=["other path", "other method", "query", "empty", "garbage", "cut", "too long"],
)
async def test_other_requests_are_refused_and_bounded(request_: bytes, status: bytes) -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            port = (await nursery.start(serve_metrics, Metrics(), 0))[0].socket.getsockname()[1]
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(request_)
                await stream.send_eof()
                answer = b""
                try:
                    while chunk := await stream.receive_some():
                        answer += chunk
                except trio.BrokenResourceError:  # closed with something unread
                    pass
            nursery.cancel_scope.cancel()
    assert answer.startswith(status)
    assert bool(answer) == bool(status)


HOSTS = {
    "127.0.0.1": True,
    "127.0.0.1:9464": True,
    "[::1]:9464": True,
    "[::1]": True,
    "LocalHost": True,
    "figures.internal:443": True,
    "rebound.example": False,
    "rebound.example:9464": False,
    "localhost.rebound.example": False,
    "127.0.0.1.rebound.example": False,
    "localhost@rebound.example": False,
    "": False,
}


@pytest.mark.parametrize("host", HOSTS)
async def test_a_page_whose_name_leads_to_this_machine_is_shown_nothing(host: str) -> None:
    request = f"GET /metrics HTTP/1.1\r\nAccept: */*\r\nhoST:\t{host} \r\n\r\n".encode()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            serve = partial(serve_metrics, Metrics(), 0, names=["Figures.internal"])
            port = (await nursery.start(serve))[0].socket.getsockname()[1]
            answer = await get(port, request)
            two = await get(port, request[:-2] + b"Host: 127.0.0.1\r\n\r\n")
            nursery.cancel_scope.cancel()
    status = b"HTTP/1.1 200 " if HOSTS[host] else b"HTTP/1.1 421 "
    assert answer.startswith(status)
    assert two.startswith(status)
    assert (b"securestream_" in answer) is HOSTS[host]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org", ""])
async def test_figures_are_shown_to_this_machine_only(host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        await serve_metrics(Metrics(), 0, host=host)


async def test_a_reader_that_says_nothing_is_dropped(autojump_clock: MockClock) -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            port = (await nursery.start(serve_metrics, Metrics(), 0))[0].socket.getsockname()[1]
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                assert await stream.receive_some() == b""
            nursery.cancel_scope.cancel()


def test_without_the_extra_it_is_said_which_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "securestream.service.metrics")
    with pytest.raises(ImportError, match=r"pip install 'securestream\[metrics\]'"):
        importlib.import_module("securestream.service.metrics")
