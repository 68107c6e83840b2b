"""`--workers N`: what a command serves, served by several processes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from ..service.workers import WorkersFailed, run_workers
from .common import Address, Failure, complain, main_cause
from .places import share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..service.workers import Worker
    from .places import Place
    from .running import Post

    Ready = Callable[[Sequence[Place]], None]

# What a worker needs at most to end when its grace is over.
_MORE_THAN_GRACE = 10.0


def serve_in_workers(serve: Callable[[Post, Ready], int], post: Post, count: int, ready: Ready) -> int:
    """Runs `serve` in so many processes; gives the signal that ended them. `ready` is told where they are.

    Raises `Failure` where it can't, `click.UsageError` for what can't be shared.
    """
    if (last := _metrics_of(count - 1, post.metrics)) is not None and last.port > 65_535:
        raise click.UsageError(f"--metrics takes {count} ports, and there are none above 65535")
    with share(post.listen) as port:

        def work(worker: Worker) -> int:
            own = replace(post, listen=port, metrics=_metrics_of(worker.number, post.metrics))
            return _told(lambda: serve(own, lambda _: worker.ready()))

        places = [Address(*where) for where in port.addresses]
        kill_after = post.grace + _MORE_THAN_GRACE
        try:
            return run_workers(work, count, ready=lambda: ready(places), kill_after=kill_after)
        except WorkersFailed as exc:
            raise Failure(str(exc)) from None


def _told(serve: Callable[[], int]) -> int:
    """Its exit status. What it can't do is a line on standard error, as in a command that is one process."""
    try:
        return serve()
    except (click.ClickException, ExceptionGroup) as exc:
        if not isinstance(cause := main_cause(exc), click.ClickException):
            raise
        complain(cause.message)
        return cause.exit_code


def _metrics_of(number: int, where: Address | None) -> Address | None:
    """A worker's own: the port, the next one, and so on."""
    return where._replace(port=where.port + number) if where is not None and where.port else where
