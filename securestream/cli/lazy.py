"""A group of commands, each imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class LazyGroup(click.Group):
    """To subclass. `modules` names each command's module in this package; its function has the command's name, with
    _ for -. `requires` are the packages that the commands import, which `extra` brings."""

    modules: ClassVar[Mapping[str, str]]
    requires: ClassVar[Sequence[str]] = ()
    extra: ClassVar[str] = ""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.modules:
            return None
        missing = [name for name in self.requires if find_spec(name) is None]
        if missing:
            raise click.ClickException(
                f"{' and '.join(missing)} not installed: pip install 'securestream[{self.extra}]'"
            )
        module = import_module(f".{self.modules[cmd_name]}", __package__)
        command = getattr(module, cmd_name.replace("-", "_"))
        return command if isinstance(command, click.Command) else None
