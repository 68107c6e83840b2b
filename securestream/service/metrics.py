"""Figures for Prometheus: an instrument that counts, and a small server on loopback that shows them.

    metrics = Metrics()
    config = ss.ServerConfig(..., instruments=[metrics])
    nursery.start_soon(serve_metrics, metrics, 9464)

Needs the extra `metrics` (prometheus-client). The labels come from fixed lists, so a peer can't make new series:
alerts of the application are one, and so is whatever is not known here.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

import trio

from ..protocol.codes import FIRST_OF_APPLICATION, AlertCode, code_name
from ..streams.instrument import Instrument

try:
    from prometheus_client import CONTENT_TYPE_LATEST as _CONTENT_TYPE
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
except ImportError as _exc:
    raise ImportError("metrics need prometheus-client: pip install 'securestream[metrics]'") from _exc

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ..protocol.alerts import Alert
    from ..streams.instrument import AnyStream
    from ..streams.secure import StreamStatistics

# A request is read to its empty line; more of it, or for longer, nobody needs.
MAX_REQUEST = 8_192
REQUEST_SECONDS = 5.0
MAX_READERS = 16

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_REASONS = frozenset(code_name(code) for code in AlertCode) | {
    *("closed", "half_closed", "cut", "cancelled", "error", "broken", "truncated_stream", "transport_broken"),
    *("server_key_mismatch", "handshake_truncated"),
}


class Metrics(Instrument):
    """Counts handshakes, streams, alerts, bytes, records and padding, in `registry`: one of its own by default.

    Bytes, records and padding are counted when a stream is closed. A router's handshakes are the hellos that it hands
    on, its streams the connections behind them; it counts no bytes. One for a program: two in one registry are
    a `ValueError`.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry: CollectorRegistry = CollectorRegistry() if registry is None else registry

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"securestream_{name}", text, labels, registry=self.registry)

        self._handshakes = counter("handshakes", "Handshakes by result: done, or why not", "result")
        self._post_quantum = counter("post_quantum_handshakes", "Of those that are done, the post-quantum ones")
        self._pending = Gauge("securestream_handshakes_pending", "Handshakes under way", registry=self.registry)
        self._seconds = Histogram(
            "securestream_handshake_seconds", "Handshakes that succeeded", registry=self.registry, buckets=_SECONDS
        )
        self._open = Gauge("securestream_streams_open", "Streams whose handshake is done", registry=self.registry)
        self._closed = counter("streams_closed", "Streams that have ended, by how", "reason")
        self._alerts = counter("alerts", "Alerts on streams", "direction", "reason")
        self._bytes = counter("bytes", "The program's bytes on streams that have ended", "direction")
        self._wire_bytes = counter("wire_bytes", "The transport's bytes on streams that have ended", "direction")
        self._records = counter("records", "Records on streams that have ended", "direction")
        self._padding = counter("padding_bytes", "Padding sent on streams that have ended")

    def handshake_started(self, address: str) -> None:
        self._pending.inc()

    def handshake_done(self, stream: AnyStream, seconds: float) -> None:
        self._note_in(seconds)
        self._post_quantum.inc(stream.session.post_quantum)

    def client_routed(self, address: str, backend: str, seconds: float) -> None:
        self._note_in(seconds)

    def _note_in(self, seconds: float) -> None:
        self._pending.dec()
        self._open.inc()
        self._handshakes.labels("done").inc()
        self._seconds.observe(seconds)

    def handshake_failed(self, address: str, reason: str, seconds: float) -> None:
        self._pending.dec()
        self._handshakes.labels(_label(reason)).inc()

    def alert_sent(self, stream: AnyStream, alert: Alert) -> None:
        self._alerts.labels("sent", _label_of(alert)).inc()

    def alert_received(self, stream: AnyStream, alert: Alert) -> None:
        self._alerts.labels("received", _label_of(alert)).inc()

    def stream_closed(self, stream: AnyStream, reason: str, statistics: StreamStatistics) -> None:
        self._open.dec()
        self._closed.labels(_label(reason)).inc()
        self._bytes.labels("sent").inc(statistics.bytes_sent)
        self._bytes.labels("received").inc(statistics.bytes_received)
        self._wire_bytes.labels("sent").inc(statistics.wire_bytes_sent)
        self._wire_bytes.labels("received").inc(statistics.wire_bytes_received)
        self._records.labels("sent").inc(statistics.records_sent)
        self._records.labels("received").inc(statistics.records_received)
        self._padding.inc(statistics.padding_sent)

    def route_closed(self, address: str, backend: str, reason: str) -> None:
        self._open.dec()
        self._closed.labels(_label(reason)).inc()


def _label_of(alert: Alert) -> str:
    return "application" if alert.code >= FIRST_OF_APPLICATION else _label(alert.name)


def _label(reason: str) -> str:
    if reason in _REASONS:
        return reason
    return "application" if reason.startswith("alert_") else "other"


# --- showing them -----------------------------------------------------------------------------------


async def serve_metrics(
    metrics: Metrics,
    port: int,
    *,
    host: str = "127.0.0.1",
    names: Iterable[str] = (),
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answers `GET /metrics` over HTTP on a loopback address, for ever. `task_status.started()` gets the listeners.

    In clear and to whoever asks, so it listens on this machine only. And so that no page in a browser on this machine
    can read them (DNS rebinding), a request whose `Host` is a name gets 421: only IP addresses, `localhost` and `names`
    are taken, which a proxy in front may need. At most 16 requests at once, each of at most 8 KiB and 5 s.

    Raises `ValueError` for any other address to listen on, `OSError` where it can't listen.
    """
    if host != "localhost" and not _is_loopback(host):
        raise ValueError(f"metrics are shown on loopback only, as 127.0.0.1 or [::1], not on {host}")
    listeners = await trio.open_tcp_listeners(port, host=host)
    readers, own_names = trio.CapacityLimiter(MAX_READERS), {"localhost", *(name.lower() for name in names)}

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                readers.acquire_nowait()
            except trio.WouldBlock:
                return
            try:
                with trio.move_on_after(REQUEST_SECONDS):
                    await _answer(stream, metrics.registry, own_names)
            except trio.BrokenResourceError:
                pass
            finally:
                readers.release()

    await trio.serve_listeners(answer, listeners, task_status=task_status)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _answer(stream: trio.SocketStream, registry: CollectorRegistry, names: Collection[str]) -> None:
    request = b""
    while b"\r\n\r\n" not in request:
        more = await stream.receive_some(MAX_REQUEST)
        request += more
        if not more or len(request) > MAX_REQUEST:
            return
    method, _, rest = request.partition(b" ")
    if method != b"GET" or rest.partition(b" ")[0].partition(b"?")[0] != b"/metrics":
        await stream.send_all(_response("404 Not Found", _TEXT, b"GET /metrics\n"))
    elif not all(_is_own(host, names) for host in _HOST.findall(request)):
        await stream.send_all(_response("421 Misdirected Request", _TEXT, b"this is not the host's name\n"))
    else:
        await stream.send_all(_response("200 OK", _CONTENT_TYPE, generate_latest(registry)))
    await stream.send_eof()
    await stream.receive_some(1)  # until the client has closed: a reset could take the answer back


_TEXT = "text/plain; charset=utf-8"
_HOST = re.compile(rb"(?im)^host[ \t]*:(.*)$")


def _is_own(host: bytes, names: Collection[str]) -> bool:
    """Whether a `Host` (RFC 9110 section 7.2) is one of `names`, or an IP address: no page is that of another one."""
    name = re.sub(r":[0-9]*$", "", host.decode("latin-1").strip().lower())
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return name in names
    return True


def _response(status: str, content_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
