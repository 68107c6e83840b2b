"""How a command that serves runs: in one process or in several, watched by whoever asks for it, until a signal."""

from __future__ import annotations

import logging
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypedDict, TypeVar

import click
import trio

from ..service.descriptors import raise_descriptors
from ..service.drain import Drain, drain_on
from ..service.router import RouterConfig
from ..service.workers import MAX_WORKERS
from ..streams.config import ServerConfig
from .common import Address, Failure, address, ending_signals, reason
from .logs import event_instruments, log_to_stderr
from .places import PLACE_HELP, Listener, Place, listen, place, place_of
from .workers import serve_in_workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..protocol.tls_keys import PeerKey
    from ..streams.instrument import Instrument
    from .workers import Ready

T_Config = TypeVar("T_Config", ServerConfig, RouterConfig)
Accept = Callable[[list[Listener], T_Config, Drain, trio.TaskStatus[list[Listener]]], Awaitable[None]]
"""Serves on these listeners until the drain is done."""


# --- options ----------------------------------------------------------------------------------------


class Running(TypedDict):
    """The values of these options, and of `--events`."""

    listen: Place
    workers: int | None
    grace: float
    metrics: Address | None
    events: bool


def with_options(*options: click.Option) -> Callable[[click.Command], click.Command]:
    """Gives a command these options, behind its own."""

    def add(command: click.Command) -> click.Command:
        command.params += options
        return command

    return add


def listen_option() -> click.Option:
    """`--listen`."""
    return click.Option(["--listen"], required=True, metavar="PLACE", type=place, help=PLACE_HELP)


def running_options() -> list[click.Option]:
    """`--workers`, `--metrics` and `--grace`."""
    return [
        click.Option(
            ["--workers"],
            metavar="N",
            type=click.IntRange(1, MAX_WORKERS),
            help="Serve in so many processes, and replace those that die. Limits are for each of them; --metrics is one"
            " port for each, from the one given on.",
        ),
        click.Option(
            ["--metrics"], metavar="HOST:PORT", type=address, help="Show figures for Prometheus, on loopback."
        ),
        grace_option(),
    ]


def grace_option() -> click.Option:
    """`--grace`."""
    return click.Option(
        ["--grace"],
        metavar="SECONDS",
        type=click.FloatRange(min=0),
        default=3,
        show_default=True,
        help="What connections at work get to finish it, at the end.",
    )


# --- what is said -----------------------------------------------------------------------------------


def say_where(public_key: PeerKey, listening: Sequence[Place]) -> None:
    """The one line on standard output."""
    click.echo(f"Listening on {', '.join(map(str, listening))} as {public_key}")


# --- running ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Post:
    """Where one process listens and shows its figures, and how it ends."""

    listen: Place
    metrics: Address | None
    events: bool
    grace: float


def run_server(accept: Accept[T_Config], config: T_Config, public_key: PeerKey, given: Running) -> int:
    """Serves as the command line says, until a signal; the exit status. Raises `click.ClickException`."""
    post = Post(given["listen"], given["metrics"], given["events"], given["grace"])
    log_to_stderr(logging.WARNING)
    raise_descriptors(4 * config.limits.connections)  # two each for a router, and what descriptors.py keeps back
    say = partial(say_where, public_key)

    def serve_here(post: Post, ready: Ready) -> int:
        return trio.run(_serve_until_signal, accept, config, post, ready)

    if given["workers"] is None:
        return serve_here(post, say)
    return _status_after(serve_in_workers(serve_here, post, given["workers"], say))


def _status_after(ended_by: int | None) -> int:
    """The exit status of what was drained at a signal: 0, or 128 and the number of one other than SIGTERM."""
    return 0 if ended_by in (None, signal.SIGTERM) else 128 + ended_by


async def _serve_until_signal(accept: Accept[T_Config], config: T_Config, post: Post, ready: Ready) -> int:
    """Drains at SIGTERM and Ctrl-C; the exit status."""
    with drain_on(*ending_signals(), grace=post.grace) as drain:
        async with trio.open_nursery() as nursery:
            watched = replace(config, instruments=await _instruments(post, nursery))
            await serve_until_drained(accept, watched, post.listen, drain, ready)
            nursery.cancel_scope.cancel()
    return _status_after(drain.signal)


async def _instruments(post: Post, nursery: trio.Nursery) -> list[Instrument]:
    events = event_instruments(post.events)
    return [*events] if post.metrics is None else [*events, await _metrics_shown(post.metrics, nursery)]


async def _metrics_shown(where: Address, nursery: trio.Nursery) -> Instrument:
    """What fills figures that are shown in that nursery. Raises `Failure` where they can't be."""
    try:
        from ..service.metrics import Metrics, serve_metrics
    except ImportError as exc:
        raise Failure(str(exc)) from None
    metrics = Metrics()
    try:
        listeners = await nursery.start(partial(serve_metrics, metrics, where.port, host=where.host))
    except (OSError, ValueError) as exc:
        raise Failure(f"can't show metrics on {where}: {reason(exc) if isinstance(exc, OSError) else exc}") from None
    places = ", ".join(f"http://{place_of(listener)}/metrics" for listener in listeners)
    click.echo(f"securestream: metrics on {places}", err=True)
    return metrics


async def serve_until_drained(
    accept: Accept[T_Config], config: T_Config, where: Place, drain: Drain, ready: Ready
) -> None:
    """Serves until `drain` was started and is done. `ready` is told where. Raises `Failure` where it can't listen."""
    listeners = list(await listen(where))
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: accept(listeners, config, drain, task_status))
        ready([place_of(listener) for listener in listeners])
