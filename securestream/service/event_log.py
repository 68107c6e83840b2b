"""An instrument that writes a line for each event: `handshake_done address=... peer=... seconds=0.004`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from ..protocol.alerts import printable
from ..streams.instrument import Instrument

if TYPE_CHECKING:
    from ..protocol.alerts import Alert
    from ..streams.instrument import AnyStream
    from ..streams.secure import StreamStatistics

Value = str | int | float


class EventLogger(Protocol):
    """A logger that takes an event and its fields, as structlog's do."""

    def info(self, event: str, **fields: Value) -> object:
        """Writes it."""


class LogInstrument(Instrument):
    """Writes what happens to a log, an event and its fields as key=value.

    `log`  a logger of the standard library, default `securestream.events`, which gets one line of text with the
           fields in it and, as `record.fields`, beside it; or one of structlog, which gets them as they are

    What a peer wrote can't forge a line or a field. Alerts' messages are written, data and keys other than public
    ones never.
    """

    def __init__(self, log: logging.Logger | logging.LoggerAdapter[logging.Logger] | EventLogger | None = None) -> None:
        chosen = logging.getLogger("securestream.events") if log is None else log
        self._log: EventLogger
        if isinstance(chosen, logging.Logger | logging.LoggerAdapter):
            self._log = _Lines(chosen)
        else:
            self._log = chosen

    def handshake_done(self, stream: AnyStream, seconds: float) -> None:
        self._log.info(
            "handshake_done",
            **_who(stream),
            suite=stream.session.suite.name.lower(),
            secret=_yes_or_no(stream.peer.used_secret),
            post_quantum=_yes_or_no(stream.session.post_quantum),
            seconds=round(seconds, 6),
        )

    def handshake_failed(self, address: str, reason: str, seconds: float) -> None:
        self._log.info("handshake_failed", address=address, reason=reason, seconds=round(seconds, 6))

    def alert_sent(self, stream: AnyStream, alert: Alert) -> None:
        self._log.info("alert_sent", **_who(stream), code=int(alert.code), reason=alert.name, message=alert.message)

    def alert_received(self, stream: AnyStream, alert: Alert) -> None:
        self._log.info("alert_received", **_who(stream), code=int(alert.code), reason=alert.name, message=alert.message)

    def stream_closed(self, stream: AnyStream, reason: str, statistics: StreamStatistics) -> None:
        self._log.info(
            "stream_closed",
            **_who(stream),
            reason=reason,
            bytes_sent=statistics.bytes_sent,
            bytes_received=statistics.bytes_received,
            records_sent=statistics.records_sent,
            records_received=statistics.records_received,
            padding_sent=statistics.padding_sent,
        )

    def client_routed(self, address: str, backend: str, seconds: float) -> None:
        self._log.info("client_routed", address=address, backend=backend, seconds=round(seconds, 6))

    def route_closed(self, address: str, backend: str, reason: str) -> None:
        self._log.info("route_closed", address=address, backend=backend, reason=reason)


def _who(stream: AnyStream) -> dict[str, Value]:
    peer = stream.peer
    name: dict[str, Value] = {"name": peer.name} if peer.name else {}
    return {"address": peer.address, "peer": str(peer.public_key), **name}


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"


class _Lines:
    """The standard library's loggers, for events."""

    def __init__(self, log: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._log = log

    def info(self, event: str, **fields: Value) -> None:
        if self._log.isEnabledFor(logging.INFO):
            text = " ".join([event, *(f"{name}={_quoted(value)}" for name, value in fields.items())])
            self._log.info("%s", text, extra={"event": event, "fields": fields})


def _quoted(value: Value) -> str:
    """A value that ends where it seems to: one with blanks, quotes, marks or nothing in it stands in quotes."""
    text = printable(str(value)) if not isinstance(value, float) else f"{value:g}"
    if text and not set(text) & set(' "\\'):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
