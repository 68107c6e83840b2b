"""A peer in another language, written from `docs/protocol.md` alone, and this package understand each other.

Each test is over real sockets on loopback, in both directions where that makes a difference.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import securestream as ss

from ..cli.support import process, read_line
from ..service.support import serving_tcp
from .support import PEER, Both, Event, Steps, node, node_server, require_node

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from securestream.protocol.hybrid import ClientPostQuantum, PostQuantum

Stream = ss.SecureStream[trio.SocketStream]

SUITES = pytest.mark.parametrize("suite", list(ss.Suite), ids=lambda suite: str(suite.name))
SECRETS = pytest.mark.parametrize("with_secret", [False, True], ids=["keys only", "with a secret"])
PADDINGS = pytest.mark.parametrize("pad", ["none", "full"])

# More than a record holds, an empty record, two key updates, and then the half-close: the answer comes after it.
SENDS: Steps = [
    ["write", 40_000, 1],
    ["updateKey"],
    ["writeNothing", 700],
    ["write", 1, 2],
    ["updateKey"],
    ["write", 20_000, 3],
    ["end"],
]
SENT = b"\1" * 40_000 + b"\2" + b"\3" * 20_000
ANSWER = b"an answer behind the end " * 4_000


@pytest.fixture(autouse=True)
def node_is_there() -> None:
    require_node()


async def read_to_end(stream: Stream) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def send_answer(stream: Stream) -> None:
    """In padded records, with a key update in the middle, and then the end."""
    stream.padding = ss.FullRecords()
    half = len(ANSWER) // 2
    await stream.send_all(ANSWER[:half])
    await stream.update_key()
    stream.padding = ss.NoPadding()
    await stream.send_all(ANSWER[half:])
    await stream.send_eof()


def check_reports(connected: Event, rest: list[Event], suite: ss.Suite, peer: ss.PublicKey, binding: bytes) -> None:
    assert connected["event"] == "connected"
    assert connected["suite"] == suite
    assert connected["peer"] == str(peer)
    assert connected["binding"] == binding.hex()
    digest = hashlib.sha256(ANSWER).hexdigest()
    assert rest == [{"event": "end", "size": len(ANSWER), "sha256": digest, "updates": 1}]


@SUITES
@SECRETS
@PADDINGS
async def test_a_client_in_node_sends_updates_keys_ends_its_half_and_reads_the_answer(
    suite: ss.Suite, with_secret: bool, pad: str
) -> None:
    both = Both.fresh(suite, with_secret=with_secret)
    seen: list[tuple[bytes, ss.Peer, bytes, int]] = []

    async def answer(stream: Stream) -> None:
        received = await read_to_end(stream)
        await send_answer(stream)
        seen.append((received, stream.peer, stream.session.handshake_hash, stream.statistics().wire_bytes_received))

    async with serving_tcp(answer, both.server_config()) as port:
        settings = {**both.node_client(port), "pad": pad}
        async with node("client", settings, [*SENDS, ["readToEnd"]]) as client:
            connected, rest = await client.next_event(), await client.other_events()
    ((received, peer, binding, on_the_wire),) = seen
    assert received == SENT
    assert (peer.public_key, peer.used_secret) == (both.client.public_key, with_secret)
    assert (on_the_wire > 6 * 16_384) == (pad == "full")
    check_reports(connected, rest, suite, both.server.public_key, binding)


@SUITES
@SECRETS
async def test_a_client_in_python_sends_updates_keys_ends_its_half_and_reads_the_answer(
    suite: ss.Suite, with_secret: bool
) -> None:
    both = Both.fresh(suite, with_secret=with_secret)
    async with node_server(both, [["readToEnd"], *SENDS], pad="full") as (server, port):
        async with await ss.open_secure_tcp_stream("127.0.0.1", port, both.client_config()) as stream:
            await send_answer(stream)
            received, binding = await read_to_end(stream), stream.session.handshake_hash
        assert received == SENT
        connected, rest = await server.next_event(), await server.other_events()
    check_reports(connected, rest, suite, both.client.public_key, binding)


# --- the hybrid handshake -----------------------------------------------------------------------------

# Whether it is hybrid, by what the client and the server want; None: there is no connection.
OUTCOMES: dict[tuple[ClientPostQuantum, PostQuantum], bool | None] = {
    ("prefer", "prefer"): True,
    ("require", "require"): True,
    ("off", "off"): False,
    ("prefer", "off"): False,  # at the second attempt
    ("off", "prefer"): False,
    ("require", "off"): None,
    ("off", "require"): None,
    ("fallback", "prefer"): None,  # nobody has refused the first attempt
}
WANTS = pytest.mark.parametrize(("client", "server"), OUTCOMES)


def refusal(client: ClientPostQuantum) -> ss.AlertCode:
    return ss.AlertCode.INAPPROPRIATE_FALLBACK if client == "fallback" else ss.AlertCode.UNSUPPORTED_VERSION


@WANTS
async def test_a_client_in_node_gets_the_handshake_that_both_sides_want(
    client: ClientPostQuantum, server: PostQuantum
) -> None:
    both = replace(Both.fresh(), client_wants=client, server_wants=server)
    hybrid = OUTCOMES[client, server]
    async with (
        serving_tcp(tell_the_mode, both.server_config()) as port,
        node("client", both.node_client(port), [["readToEnd"]]) as started,
    ):
        first, *rest = await started.other_events()
    if hybrid is None:
        assert (first["event"], first["code"], first["authentic"]) == ("PeerAlert", refusal(client), False)
    else:
        assert (first["event"], first["postQuantum"]) == ("connected", hybrid)
        assert rest[0]["sha256"] == hashlib.sha256(str(hybrid).encode()).hexdigest()


@WANTS
async def test_a_client_in_python_gets_the_handshake_that_both_sides_want(
    client: ClientPostQuantum, server: PostQuantum
) -> None:
    both = replace(Both.fresh(with_secret=True), client_wants=client, server_wants=server)
    hybrid = OUTCOMES[client, server]
    async with node_server(both, [["write", 5, 65], ["end"]]) as (started, port):
        if hybrid is None:
            with pytest.raises(ss.HandshakeRefused) as caught:
                await ss.open_secure_tcp_stream("127.0.0.1", port, both.client_config())
            assert (caught.value.alert.code, caught.value.authenticated) == (refusal(client), False)
            return
        async with await ss.open_secure_tcp_stream("127.0.0.1", port, both.client_config()) as stream:
            assert (await read_to_end(stream), stream.session.post_quantum) == (b"AAAAA", hybrid)
        connected = await started.next_event()
        assert (connected["postQuantum"], connected["binding"]) == (hybrid, stream.session.handshake_hash.hex())


async def test_a_slip_in_the_settings_is_no_classical_handshake() -> None:
    both = Both.fresh()
    async with (
        serving_tcp(tell_the_mode, both.server_config()) as port,
        node("client", {**both.node_client(port), "postQuantum": "required"}, []) as started,
    ):
        (event,) = await started.other_events()
    assert event["text"] == "postQuantum is one of prefer, require, off, fallback, not required"


async def tell_the_mode(stream: Stream) -> None:
    await stream.send_all(str(stream.session.post_quantum).encode())


# --- alerts and ends ----------------------------------------------------------------------------------


async def send_and_alert(stream: Stream) -> None:
    await stream.send_all(b"before")
    await stream.send_alert(5001, "no more, señor")


async def send_and_vanish(stream: Stream) -> None:
    await stream.send_all(b"before")
    await trio.aclose_forcefully(stream.transport_stream)


IN_NODE: Steps = [["read", 6], ["readToEnd"]]
ENDS = pytest.mark.parametrize(
    ("leave", "error"),
    [
        pytest.param(
            send_and_alert,
            {"event": "PeerAlert", "code": 5001, "text": "no more, señor", "authentic": True},
            id="an alert",
        ),
        pytest.param(
            send_and_vanish,
            {"event": "Truncated", "code": None, "text": "the transport ended in mid-stream", "authentic": None},
            id="a cut",
        ),
    ],
)


@SUITES
@ENDS
async def test_a_client_in_node_gets_what_was_sent_and_then_the_reason(
    suite: ss.Suite, leave: Callable[[Stream], Awaitable[None]], error: Event
) -> None:
    both = Both.fresh(suite)
    async with (
        serving_tcp(leave, both.server_config()) as port,
        node("client", both.node_client(port), IN_NODE) as client,
    ):
        assert (await client.other_events())[1:] == [{"event": "read", "size": 6}, error]


@SUITES
@ENDS
async def test_a_server_in_node_gets_what_was_sent_and_then_the_reason(
    suite: ss.Suite, leave: Callable[[Stream], Awaitable[None]], error: Event
) -> None:
    both = Both.fresh(suite)
    async with node_server(both, IN_NODE) as (server, port):
        stream = await ss.open_secure_tcp_stream("127.0.0.1", port, both.client_config())
        await leave(stream)
        await stream.aclose()
        assert (await server.other_events())[1:] == [{"event": "read", "size": 6}, error]


async def what_python_sees(stream: Stream) -> tuple[bytes, ss.StreamError | None]:
    received = b""
    try:
        async for chunk in stream:
            received += chunk
    except ss.StreamError as exc:
        return received, exc
    return received, None


@SUITES
@pytest.mark.parametrize("from_client", [True, False], ids=["from a client", "from a server"])
@pytest.mark.parametrize("last", [["alert", 4711, "töö late"], ["cut"], ["close"]], ids=lambda last: str(last[0]))
async def test_python_gets_what_node_sent_and_then_its_end(
    suite: ss.Suite, from_client: bool, last: list[str | int]
) -> None:
    both = Both.fresh(suite)
    steps: Steps = [["write", 30_000, 7], last]
    seen: list[tuple[bytes, ss.StreamError | None]] = []

    async def look(stream: Stream) -> None:
        seen.append(await what_python_sees(stream))

    if from_client:
        async with serving_tcp(look, both.server_config()) as port:
            async with node("client", both.node_client(port), steps) as client:
                await client.other_events()
            while not seen:
                await trio.lowlevel.checkpoint()
    else:
        async with (
            node_server(both, steps) as (_, port),
            await ss.open_secure_tcp_stream("127.0.0.1", port, both.client_config()) as stream,
        ):
            await look(stream)
    ((received, error),) = seen
    assert received == b"\7" * 30_000
    if last[0] == "alert":
        assert isinstance(error, ss.PeerAlert)
        assert (error.alert.code, error.alert.message, error.authenticated) == (4711, "töö late", True)
    else:
        assert isinstance(error, ss.TruncatedStream) if last[0] == "cut" else error is None


# --- refusals -----------------------------------------------------------------------------------------


async def refusal_in_node(server: Both, client: Both) -> Event:
    """What a client in Node says of a server that doesn't let it in."""
    async with (
        serving_tcp(read_to_end, server.server_config()) as port,
        node("client", client.node_client(port), [["readToEnd"]]) as started,
    ):
        (event,) = await started.other_events()
    return event


async def refusal_in_python(server: Both, client: Both) -> tuple[ss.HandshakeRefused, Event]:
    """What a client says of a server in Node that doesn't let it in, and what that server says."""
    async with node_server(server, []) as (started, port):
        with pytest.raises(ss.HandshakeRefused) as caught:
            await ss.open_secure_tcp_stream("127.0.0.1", port, client.client_config())
        (event,) = await started.other_events()
    return caught.value, event


def stranger(both: Both) -> Both:
    return replace(both, client=ss.PrivateKey.generate())


def seeker_of_another_server(both: Both) -> Both:
    """Its route says so to the server, as if that were a middlebox."""
    return replace(both, server=ss.PrivateKey.generate(), middlebox=both.server.public_key)


def holder_of_another_secret(both: Both) -> Both:
    return replace(both, secret=ss.SharedSecret.generate())


def holder_of_no_secret(both: Both) -> Both:
    return replace(both, secret=None)


def lover_of_another_suite(both: Both) -> Both:
    return replace(both, suite=ss.Suite.XCHACHA20_POLY1305)


REFUSED = pytest.mark.parametrize(
    ("change", "code", "authentic"),
    [
        (stranger, ss.AlertCode.ACCESS_DENIED, True),
        (seeker_of_another_server, ss.AlertCode.UNKNOWN_SERVER_KEY, False),
        (holder_of_another_secret, ss.AlertCode.BAD_SECRET, False),
        (holder_of_no_secret, ss.AlertCode.BAD_SECRET, False),
        (lover_of_another_suite, ss.AlertCode.NO_COMMON_SUITE, False),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)


@REFUSED
async def test_a_client_in_node_that_does_not_fit_hears_why(
    change: Callable[[Both], Both], code: ss.AlertCode, authentic: bool
) -> None:
    both = Both.fresh(with_secret=True)
    event = await refusal_in_node(both, change(both))
    assert (event["event"], event["code"], event["authentic"]) == ("PeerAlert", code, authentic)


@REFUSED
async def test_a_client_in_python_that_does_not_fit_hears_why(
    change: Callable[[Both], Both], code: ss.AlertCode, authentic: bool
) -> None:
    both = Both.fresh(with_secret=True)
    error, event = await refusal_in_python(both, change(both))
    assert (error.alert.code, error.authenticated) == (code, authentic)
    assert (event["event"], event["code"]) == ("Refused", code)


async def test_a_client_in_node_turns_away_from_an_impostor_before_it_shows_who_it_is() -> None:
    both = Both.fresh()
    impostor = replace(both.server_config(), key=ss.PrivateKey.generate(), authorize=ss.ANYONE)
    seen: list[ss.HandshakeError] = []

    async def pose(transport: trio.SocketStream) -> None:
        with pytest.raises(ss.HandshakeError) as caught:
            await ss.wrap_server(transport, impostor)
        seen.append(caught.value)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, pose, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        async with node("client", both.node_client(port), []) as client:
            (event,) = await client.other_events()
        nursery.cancel_scope.cancel()
    assert event["text"] == "another server answers"
    assert isinstance(seen[0], ss.HandshakeTruncated)


async def test_the_two_programs_of_the_readme_talk_to_each_other_and_to_python(tmp_path: Path) -> None:
    both, told = Both.fresh(with_secret=True), tmp_path / "settings.json"
    told.write_text(json.dumps(both.node_server()), encoding="utf-8")
    async with process(["node", str(PEER / "server.js"), str(told)]) as server:
        address, key = (await read_line(server)).split()
        assert key == str(both.server.public_key)
        port = int(address.rpartition(":")[2])
        told.write_text(json.dumps(both.node_client(port)), encoding="utf-8")
        said = await trio.run_process(["node", str(PEER / "client.js"), str(told)], stdin=b"hello", capture_stdout=True)
        assert said.stdout == b"hello"
        async with await ss.open_secure_tcp_stream("127.0.0.1", port, both.client_config()) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
