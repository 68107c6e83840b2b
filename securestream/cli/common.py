"""What the commands share: how arguments are read, how errors are worded, how signals end a command."""

from __future__ import annotations

import math
import os
import re
import signal
import socket
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar, get_args

import click
import trio

from ..protocol.alerts import AlertCode, printable
from ..protocol.hybrid import PostQuantum, what_can_be
from ..protocol.padding_text import PADDING_FORMS, parse_padding
from ..protocol.tls_keys import parse_peer_key
from ..streams.errors import HandshakeRefused, HandshakeTimeout, HandshakeTruncated, StreamError, TruncatedStream
from ..streams.secure import leaves
from ..trust.address import AddressError
from ..trust.keyfile import KeyFileError
from ..trust.lists import PeersFileError
from ..trust.networks import parse_networks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..protocol.padding import PaddingPolicy
    from ..protocol.tls_keys import PeerKey

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

# --- arguments --------------------------------------------------------------------------------------


class Address(NamedTuple):
    """Where to listen or to connect."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^:\[\]\s]+)):(?P<port>[0-9]{1,5})")


def address(text: str) -> Address:
    """HOST:PORT, an IPv6 address in brackets. For click: raises `click.BadParameter`."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise click.BadParameter("it is HOST:PORT, as 127.0.0.1:9222, db.example:9222 or [::1]:9222")
    port = int(match["port"])
    if port > 65_535:
        raise click.BadParameter(f"a port is a number up to 65535, not {port}")
    return Address(match["v6"] or match["host"], port)


def public_key(text: str) -> PeerKey:
    """44 characters of base64, or for TLS a hash. For click: raises `click.BadParameter`, which repeats nothing."""
    try:
        return parse_peer_key(text)
    except ValueError as exc:
        if os.path.isfile(text):
            raise click.BadParameter(
                "that is a file, and what belongs here is the key: `securestream pubkey FILE` prints it"
            ) from None
        raise click.BadParameter(str(exc)) from None


def padding(text: str) -> PaddingPolicy:
    """The name of a padding policy. For click: raises `click.BadParameter`."""
    try:
        return parse_padding(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None


def padding_option(function: Callable[P, R]) -> Callable[P, R]:
    """`--padding NAME`."""
    return click.option(
        "--padding",
        metavar="NAME",
        type=padding,
        shell_complete=_complete_padding,
        default="none",
        help="Pads what is sent: padme, block:512, ...",
    )(function)


def _complete_padding(context: object, option: object, incomplete: str) -> list[str]:
    """For click: the names that begin like this; what goes behind a colon is left to the user."""
    names = (form[: form.find(":") + 1] or form for form in PADDING_FORMS)
    return [name for name in names if name.startswith(incomplete)]


def post_quantum_option(function: Callable[P, R]) -> Callable[P, R]:
    """`--post-quantum prefer|require|off`; None where it isn't given."""
    return click.option(
        "--post-quantum",
        type=click.Choice(get_args(PostQuantum)),
        callback=_possible_here,
        help="Whether the handshake is hybrid, against who records now and computes later.  [default: prefer]",
    )(function)


def _possible_here(context: object, option: object, chosen: PostQuantum | None) -> PostQuantum | None:
    try:
        return None if chosen is None else what_can_be(chosen, get_args(PostQuantum))
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None


# Not looked at before it is used; the shell completes it.
FILE_NAME: click.Path = click.Path(readable=False)


def seconds(text: str | float) -> float:
    """A number, more than none. For click: raises `click.BadParameter`."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not number > 0:
        raise click.BadParameter(f"it is a number of seconds, more than 0, not {text}")
    return number


def proxy(text: str) -> str:
    """An address, a network, or `unix`. For click: raises `click.BadParameter`."""
    try:
        if text != "unix":
            parse_networks([text])
    except ValueError as exc:
        raise click.BadParameter(f"{exc}, or the word unix") from None
    return text


def load(read: Callable[[str], T], name: str) -> T:
    """What `read` makes of a file's name, or of a connection string that names files. Raises `BadFile`."""
    try:
        return read(name)
    except (AddressError, KeyFileError, PeersFileError) as exc:
        raise BadFile(str(exc)) from None
    except ImportError as exc:  # TLS without its extra
        raise BadFile(str(exc)) from None
    except OSError as exc:
        raise BadFile(reason(exc)) from None


# --- errors -----------------------------------------------------------------------------------------


class Failure(click.ClickException):
    """What was to be done could not be done."""

    exit_code = 1


class BadFile(click.ClickException):
    """A file given on the command line can't be used."""

    exit_code = 2


class AlertReceived(click.ClickException):
    """The peer ended the stream with an alert."""

    exit_code = 3


def main_cause(exc: BaseException) -> BaseException:
    """Of the errors in a group the one to speak of: the first, unless there is one that nobody has foreseen."""
    foreseen = (StreamError, OSError, click.ClickException, click.Abort, KeyboardInterrupt)
    return min(leaves(exc), key=lambda leaf: isinstance(leaf, foreseen))


_SECRET = re.compile(r"""(?i)(ss-(?:secret|shared|ed25519):|client\s*secret\s*key\s*=\s*["']?)[^\s"';]{8,}""")


def complain(message: str) -> None:
    """One line on standard error. Whatever is in `message` can't steer the terminal; secrets that somebody
    put into the command line are not repeated."""
    shown = _SECRET.sub(r"\1(hidden)", printable(message))
    click.echo(f"securestream: {shown}", err=True)


def reason(exc: OSError) -> str:
    """An `OSError` in words: its file, and what the system said."""
    text = exc.strerror or str(exc)
    return text if exc.filename is None else f"{exc.filename or repr('')}: {text}"


def why_unconnected(exc: OSError) -> str:
    """Why there is no connection: what the system said of the host's name, or of each of its addresses."""
    if isinstance(exc, socket.gaierror):
        return reason(exc)
    numbers = {leaf.errno for leaf in leaves(exc.__cause__ or exc) if isinstance(leaf, OSError) and leaf.errno}
    return ", ".join(map(os.strerror, sorted(numbers))) or str(exc)


def explain(exc: StreamError, *, has_key: bool = True) -> str:
    """What a person is told of a failed handshake or stream: what happened, and what can be done."""
    return f"{exc}{_advice(exc, has_key=has_key)}"


def _advice(exc: StreamError, *, has_key: bool) -> str:
    if isinstance(exc, HandshakeRefused):
        if exc.alert.code != AlertCode.ACCESS_DENIED:
            return ""
        return (
            "; its operator can allow this key" if has_key else "; without --key FILE a client is nobody in particular"
        )
    if isinstance(exc, HandshakeTimeout | HandshakeTruncated):
        return "; is a securestream server listening there?"
    if isinstance(exc, TruncatedStream):
        return "; what came before is genuine, and not all"
    return ""


# --- signals ----------------------------------------------------------------------------------------


def ending_signals() -> list[signal.Signals]:
    """SIGTERM, and SIGINT unless whoever started this process wants it ignored, as shells do in the background."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return [signal.SIGTERM] if ignored else [signal.SIGTERM, signal.SIGINT]


def run(work: Callable[[], Awaitable[None]]) -> int:
    """Runs `work` to its end, or cancels it at a signal. The exit status: 0, or 128 and the signal's number."""
    return trio.run(_until_signal, work)


async def _until_signal(work: Callable[[], Awaitable[None]]) -> int:
    caught: list[int] = []

    async def watch() -> None:
        async for number in arrived:
            caught.append(number)
            nursery.cancel_scope.cancel()

    with trio.open_signal_receiver(*ending_signals()) as arrived:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await work()
            nursery.cancel_scope.cancel()
    return 128 + caught[0] if caught else 0
