"""The two families of protocol errors, after h11: who is at fault decides the class.

`LocalProtocolError`   this program used the protocol wrongly; nothing was sent.
`RemoteProtocolError`  the peer did; it names the alert that the peer is to get.

Every function whose name ends in `_untrusted`, and every method that takes bytes from the peer,
raises `RemoteProtocolError` for whatever those bytes hold, and nothing else.
"""

from __future__ import annotations

from .codes import AlertCode


class ProtocolError(Exception):
    """Base of both families."""


class LocalProtocolError(ProtocolError):
    """This side broke the rules: a step out of order, a value out of bounds."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the rules.

    `alert_code` is what the peer is told, where it can still be told anything (`docs/protocol.md`,
    "Alert codes"). The text is for this side's log and never holds a secret.
    """

    def __init__(self, message: str, alert_code: AlertCode = AlertCode.PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.alert_code = alert_code
