"""What is said where the optional library of an extra is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class OfTheExtra:
    """Around imports of optional libraries: an `ImportError` says how to get them.

    `what` needs them, `extra` is their name in `pip install 'securestream[extra]'`.
    """

    def __init__(self, what: str, extra: str) -> None:
        self._text = f"{what} needs the extra `{extra}`: pip install 'securestream[{extra}]'"

    def __enter__(self) -> None:
        """Nothing yet."""

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Raises `ImportError` in place of one."""
        if exc_type is not None and issubclass(exc_type, ImportError):
            raise ImportError(self._text) from exc
