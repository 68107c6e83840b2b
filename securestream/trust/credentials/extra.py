"""What is said where the extra is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


_NEEDED = "this kind of credentials needs the extra `credentials`: pip install 'securestream[credentials]'"


class OfTheExtra:
    """Around imports of the optional libraries: an `ImportError` says how to get them."""

    def __enter__(self) -> None:
        """Nothing yet."""

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Raises `ImportError` in place of one."""
        if exc_type is not None and issubclass(exc_type, ImportError):
            raise ImportError(_NEEDED) from exc
