"""What a router tells its instruments: who came, where they went, and how it ended. Each beginning has one end."""

from __future__ import annotations

import logging
import re

import pytest
import trio

import securestream as ss
from securestream.service.metrics import Metrics

from ..streams.transports import reset
from .router_support import NOWHERE, OTHER, SERVER, a_place, ask, client_config, config, connect, refusal, until
from .test_instrument import figures


class Seen(ss.Instrument):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []

    def handshake_started(self, address: str) -> None:
        self.events.append(("started",))

    def handshake_failed(self, address: str, reason: str, seconds: float) -> None:
        self.events.append(("failed", reason))

    def client_routed(self, address: str, backend: str, seconds: float) -> None:
        assert address.startswith("127.0.0.1:")
        assert 0 <= seconds < 60
        self.events.append(("routed", backend))

    def route_closed(self, address: str, backend: str, reason: str) -> None:
        self.events.append(("closed", backend, reason))


async def test_a_client_is_routed_and_its_connection_ends_in_order() -> None:
    seen = Seen()
    async with a_place() as place:
        backend = await place.server()
        router = await place.router(config({SERVER.public_key: [NOWHERE, backend]}, instruments=[seen]))
        await ask(router)
        await until(lambda: len(seen.events) == 3)
    assert seen.events == [("started",), ("routed", backend.address), ("closed", backend.address, "closed")]


async def test_who_is_refused_is_told_of_with_the_reason() -> None:
    seen = Seen()
    async with a_place() as place:
        routes = {SERVER.public_key: [NOWHERE]}
        router = await place.router(config(routes, instruments=[seen]))
        for client in (client_config(server_key=OTHER.public_key), client_config()):
            await refusal(router, client)
        async with await router.dial() as garbage:
            await garbage.send_all(bytes(3))
            await garbage.receive_some()
        await until(lambda: len(seen.events) == 6)
    reasons = ["unknown_server_key", "backend_unavailable", "protocol_error"]
    assert seen.events == [event for reason in reasons for event in (("started",), ("failed", reason))]


async def test_a_router_without_room_tells_so() -> None:
    seen = Seen()
    async with a_place() as place:
        routes = {SERVER.public_key: [await place.server()]}
        router = await place.router(config(routes, limits=ss.Limits(connections=1), instruments=[seen]))
        stream = await connect(router)
        await refusal(router)
        await until(lambda: ("failed", "busy") in seen.events)
        await trio.aclose_forcefully(stream)
    assert [event[0] for event in seen.events].count("started") == 2


async def test_a_connection_that_breaks_and_one_that_is_cut_are_no_ends() -> None:
    seen, drain = Seen(), ss.Drain(grace=0)
    async with a_place() as place:
        backend = await place.server()
        router = await place.router(config({SERVER.public_key: [backend]}, instruments=[seen]), drain=drain)
        first, second = await connect(router), await connect(router)
        reset(first.transport_stream)
        await until(lambda: seen.events[-1] == ("closed", backend.address, "broken"))
        drain.start()
        await until(lambda: seen.events[-1] == ("closed", backend.address, "cut"))
        await trio.aclose_forcefully(second)


async def test_figures_of_a_router_add_up() -> None:
    metrics = Metrics()
    async with a_place() as place:
        router = await place.router(config({SERVER.public_key: [await place.server()]}, instruments=[metrics]))
        async with await connect(router):
            assert figures(metrics)["streams_open"] == 1
        await refusal(router, client_config(server_key=OTHER.public_key))
        await until(lambda: "handshakes_total unknown_server_key" in figures(metrics))
        await until(lambda: "streams_open" not in figures(metrics))
    found = figures(metrics)
    assert found.pop("handshake_seconds_sum") > 0
    assert found == {
        "handshakes_total done": 1,
        "handshakes_total unknown_server_key": 1,
        "handshake_seconds_count": 1,
        "streams_closed_total closed": 1,
    }


async def test_events_of_a_router_are_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "securestream.events")
    async with a_place() as place:
        backend = await place.server()
        router = await place.router(config({SERVER.public_key: [backend]}, instruments=[ss.LogInstrument()]))
        await ask(router)
        await until(lambda: "route_closed" in caplog.text)
    client = r"address=127\.0\.0\.1:\d+"
    assert re.search(rf"client_routed {client} backend={backend.address} seconds=\S+\n", caplog.text)
    assert re.search(rf"route_closed {client} backend={backend.address} reason=closed\n", caplog.text)


def test_what_is_no_instrument_is_refused() -> None:
    with pytest.raises(TypeError, match="instruments are of the class Instrument"):
        config({}, instruments=[print])
