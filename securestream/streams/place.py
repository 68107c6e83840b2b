"""A client's place among those that have come and are not in yet, and how one is turned away from it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio

from ..protocol.alerts import Alert, AlertCode
from .channel import address_of
from .errors import HandshakeError, HandshakeTimeout, ServerBusy

if TYPE_CHECKING:
    from collections.abc import Iterator


class Refused(Exception):
    """The client is to be told `alert`, and the program, or its log, to get `error`."""

    def __init__(self, alert: Alert, error: HandshakeError, *, linger: bool = True) -> None:
        super().__init__(str(error))
        self.alert = alert
        self.error = error
        self.linger = linger


class Place:
    """A client's place among the handshakes that are under way, as the server's limits count them.

    `address`      where the client is, as text
    `destination`  where it has connected to, if a proxy says so
    `since`        when it came, on Trio's clock
    `waits`        whether the server waits for the client, and not the client for `authorize`; so it does for one that
                   was refused, until it goes
    """

    __slots__ = ("_scope", "_taken_away", "_timeout", "address", "destination", "since", "waits")

    def __init__(self, transport: trio.abc.Stream, timeout: float) -> None:
        self.address: str = address_of(transport)
        self.destination: str = ""
        self.since: float = trio.current_time()
        self.waits: bool = True
        self._taken_away = False
        self._timeout = timeout
        self._scope = trio.CancelScope()

    def take_away(self) -> None:
        """Another client needs it: this one is told "busy" and let go."""
        self._taken_away = True
        self._scope.cancel()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While it is waited for, in one part or several. Raises `Refused` where it is taken away or held too long."""
        with trio.CancelScope(deadline=self.since + self._timeout) as self._scope:
            yield
            return
        if self._taken_away:
            raise Refused(
                Alert(AlertCode.BUSY), ServerBusy("too slow: its place was needed for another client"), linger=False
            )
        raise Refused(
            Alert(AlertCode.HANDSHAKE_TIMEOUT),
            HandshakeTimeout(f"the client took more than {self._timeout:g} s for the handshake"),
        )

    @contextlib.contextmanager
    def given_up(self, timeout: float) -> Iterator[None]:
        """While a client that is refused is told so, at most `timeout` seconds. Another one may have its place at once:
        a stranger who hears that he is one, and stays, keeps nobody out."""
        self.waits = True
        with trio.CancelScope(relative_deadline=timeout) as self._scope:
            yield
