"""Asking `authorize` again about the clients that are in: so that a key that is removed, or has lasted its time, ends
the connections that it has, and not only keeps new ones out.

One task for all of a server's connections, which asks about one after the other. An `authorize` that fails, or takes
longer than a handshake may, has refused nobody: the verdict of before stays in force, as it does for a list that can't
be read, and the log tells.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NoReturn, TypeVar

import trio

from ..protocol.alerts import AlertCode, printable
from ..streams.errors import AccessDenied, AuthorizationFailed, BadCredentials
from ..streams.wrap import ask_about, verdict_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..streams.config import ServerConfig
    from .connection import Connection

T_Stream = TypeVar("T_Stream", bound=trio.abc.Stream)

logger: logging.Logger = logging.getLogger("securestream")


async def keep_asking(config: ServerConfig, live: Callable[[], Iterable[Connection[T_Stream]]]) -> NoReturn:
    """Each `config.recheck` seconds, about each of the connections that `live` gives then."""
    while True:
        await trio.sleep(config.recheck)
        for connection in list(live()):
            await _ask_again(config, connection)
            await trio.lowlevel.checkpoint()


async def _ask_again(config: ServerConfig, connection: Connection[T_Stream]) -> None:
    peer = connection.stream.peer
    try:
        with trio.fail_after(config.handshake_timeout):
            await ask_about(peer, config)
    except (AccessDenied, BadCredentials) as exc:
        verdict = verdict_of(exc)
        connection.end(AlertCode(verdict.code), verdict.message)
        logger.warning("ended %s, %s: %s [%s]", peer.address, peer.public_key, printable(verdict.message), exc.code)
    except (AuthorizationFailed, trio.TooSlowError) as exc:
        cause = exc.__cause__ or exc
        logger.error("%s, %s stays, for authorize failed", peer.address, peer.public_key, exc_info=cause)
