"""The table of commands. A command is imported when it is used, and its errors are one line each."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, ClassVar

import click

from .. import __version__
from .common import complain, main_cause, reason
from .lazy import LazyGroup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EXAMPLES = """\b
Examples:
  securestream demo
  securestream keygen -o server.key
  securestream echo --key server.key --listen 127.0.0.1:9222 --allow-anyone
  securestream connect 127.0.0.1:9222 \\
      --server-key "$(securestream pubkey server.key)"
"""


class _App(LazyGroup):
    modules: ClassVar[Mapping[str, str]] = {
        "keygen": "keys",
        "pubkey": "keys",
        "check": "check",
        "echo": "echo",
        "connect": "connect",
        "tunnel": "tunnel",
        "route": "route",
        "demo": "demo",
        "demo-server": "demo_server",
        "decode": "decode",
        "bench": "bench",
        "lab": "lab",
    }


def run(args: Sequence[str]) -> int:
    """One command line; its exit status. A command returns its own, or None for 0."""
    try:
        status = securestream.main(args, prog_name="securestream", standalone_mode=False)
    except (Exception, BaseExceptionGroup, KeyboardInterrupt) as exc:
        code = _report(main_cause(exc))
        if code is None:
            raise
        return code
    return status if isinstance(status, int) else 0


def _report(exc: BaseException) -> int | None:
    """Says what went wrong; the exit status. None for what nobody has foreseen, a fault of this program."""
    match exc:
        case click.UsageError():
            complain(exc.format_message() + _where_to_look(exc))
            return exc.exit_code
        case click.ClickException():
            complain(exc.message)
            return exc.exit_code
        case BrokenPipeError():  # who read our output has left: as after a SIGPIPE, without a word
            return 128 + signal.SIGPIPE
        case OSError():
            complain(reason(exc))
            return 1
        case click.Abort() | KeyboardInterrupt():
            return 128 + signal.SIGINT
    return None


def _where_to_look(exc: click.UsageError) -> str:
    return f" (see: {exc.ctx.command_path} --help)" if exc.ctx else ""


@click.group(cls=_App, epilog=_EXAMPLES, invoke_without_command=True)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def securestream(ctx: click.Context) -> int:
    """Secure streams between two programs that know each other's public keys.

    No certificates, no authority: a key pair on each side, and each knows the other's public key.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        return 2
    return 0
