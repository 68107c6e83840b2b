"""Ids of requests: the same id with the same content is the same request, with other content it is a mistake.

A client whose connection broke doesn't know whether its request was carried out. It asks again under the same id, and
gets the answer of the first time; nothing happens twice. An id that comes with other content is refused: somebody makes
ids that aren't unique, and would get the answer to another question.

Memory is bounded: the last `most` ids of each client, with a digest of the content and, where the request changed
something, its answer, which is one number or a short text. An older id is forgotten, and would count as a new one.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from .messages import Done, Refused, encode

if TYPE_CHECKING:
    from .messages import Question

Kept = Done | Refused


class IdUsedTwice(Exception):
    """An id that stood for something else before."""


class Repeats:
    """The last ids of one client."""

    def __init__(self, most: int = 1_000) -> None:
        self._most = most
        self._seen: OrderedDict[bytes, tuple[bytes, Kept | None]] = OrderedDict()  # the oldest first

    def earlier_answer(self, question: Question) -> Kept | None:
        """The answer that this question has had, if it was kept. Raises `IdUsedTwice`."""
        digest, answer = self._seen.get(question.id, (None, None))
        if digest is not None and digest != _digest(question):
            raise IdUsedTwice
        return answer

    def note(self, question: Question, answer: Kept | None = None) -> None:
        """This question was asked, and `answer` is what it gets if it comes again."""
        self._seen[question.id] = (_digest(question), answer)
        self._seen.move_to_end(question.id)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)

    def __len__(self) -> int:
        return len(self._seen)


def _digest(question: Question) -> bytes:
    return hashlib.blake2b(encode(question.call), digest_size=32).digest()
