"""How much zero padding goes into records: the user's decision, asked here.

Two hooks, each with a default. Both are pure functions; what they return out of bounds is a `ValueError` before
anything is sent, and the stream stays whole.

    pad_flush(length)                     the padded length of all that one send_all() or flush() puts out
    pad_record(type, length, room)        the padding of one record, with OpenSSL's argument order
                                          (SSL_CTX_set_record_padding_callback)

A flush is cut into records by its padded length alone, the content first and then zeros, so that what is
seen on the wire depends on the padded length and on nothing else. An alert, a verdict, an end and a key update are
flushes of their own of at least one byte, as far as one record goes, so that they look like small ones of data.
"""

from __future__ import annotations

import hashlib
import operator
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class PaddingPolicy:
    """Base of all policies: subclass it and override a hook, or both."""

    def pad_flush(self, length: int) -> int:
        """`length` bytes of content are about to go out: how many, with padding? At least `length`,
        at most 16 MiB more, or twice `length`. The bytes that each record's sealing adds don't count."""
        return length

    def pad_content(self, content: memoryview) -> int:
        """As `pad_flush`, for a policy that looks at the content too; it is what is asked first."""
        return self.pad_flush(len(content))

    def pad_record(self, record_type: int, length: int, room: int) -> int:
        """A record of `length` bytes (content and the flush's padding) is about to be sealed: how many
        zeros more? 0 to `room`. Asked for every record that has room, alerts and the end of the stream included."""
        return 0

    @property
    def is_none(self) -> bool:
        """Whether the policy never pads, so that it needn't be asked."""
        return False

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


MAX_FLUSH_PADDING = 16 * 2**20


# --- the policies -----------------------------------------------------------------------------------


class NoPadding(PaddingPolicy):
    """Records as long as their content."""

    @property
    def is_none(self) -> bool:
        return True


class FullRecords(PaddingPolicy):
    """Records of exactly 16,384 bytes on the wire, whatever they hold."""

    def pad_record(self, record_type: int, length: int, room: int) -> int:
        return room


class BlockPadding(PaddingPolicy):
    """Up to the next multiple of `size` bytes, 1 to 16 MiB. RFC 8467 has 128 for DNS queries and 468 for answers.

    Raises `ValueError` and `TypeError` for another size.
    """

    def __init__(self, size: int) -> None:
        self.size: int = checked_size(size)

    def pad_flush(self, length: int) -> int:
        return _up_to(length, self.size)

    def __repr__(self) -> str:
        return f"BlockPadding({self.size})"


class PowerOfTwoPadding(PaddingPolicy):
    """Up to the next power of two, in bytes: less than twice as long."""

    def pad_flush(self, length: int) -> int:
        return 1 << (length - 1).bit_length() if length else 0


class BucketPadding(PaddingPolicy):
    """Up to the smallest of `sizes` that is enough, each 1 byte to 16 MiB; beyond the largest, to a multiple of that.

    Raises `ValueError` and `TypeError` for other sizes, and for none.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes: tuple[int, ...] = tuple(sorted({checked_size(size) for size in sizes}))
        if not self.sizes:
            raise ValueError("buckets are at least one size")

    def pad_flush(self, length: int) -> int:
        if not length:
            return 0
        enough = (size for size in self.sizes if size >= length)
        return next(enough, _up_to(length, self.sizes[-1]))

    def __repr__(self) -> str:
        return f"BucketPadding({list(self.sizes)})"


class TorCells(PaddingPolicy):
    """As Tor's cells: 514 bytes for each 509 of content (tor-spec, "Cell packet format")."""

    def pad_flush(self, length: int) -> int:
        return -(-length // 509) * 514


class Padme(PaddingPolicy):
    """Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019,
    section 4): lengths whose binary form ends in zeros, ever more of them. It leaks O(log log L) bits and adds
    11.63 % at most (at 129 bytes), less as lengths grow."""

    def pad_flush(self, length: int) -> int:
        # E = floor(log2 L), S = floor(log2 E) + 1, z = E - S; L is rounded up to a multiple of 2^z.
        if length < 2:
            return length
        exponent = length.bit_length() - 1
        zeros = exponent - exponent.bit_length()
        return _up_to(length, 1 << zeros)


class RandomPadding(PaddingPolicy):
    """0 to `most` bytes more, afresh each time. Whoever sees the same content sent again and again learns its size
    all the same: the smallest length he sees comes near it. `KeyedPadding` gives nothing to average.

    `randbelow(n)` gives a number of 0 to n - 1. Another than the default is for experiments that are to be repeated.
    Raises `ValueError` and `TypeError` for a `most` that isn't 1 byte to 16 MiB.
    """

    def __init__(self, most: int, *, randbelow: Callable[[int], int] = secrets.randbelow) -> None:
        self.most: int = checked_size(most)
        self._randbelow = randbelow

    def pad_flush(self, length: int) -> int:
        return length + self._randbelow(self.most + 1)

    def __repr__(self) -> str:
        return f"RandomPadding({self.most})"


class KeyedPadding(PaddingPolicy):
    """0 to `most` bytes more, which a secret key and the content decide: the same content is always as long.

    `key` is 16 to 64 random bytes of this side's own, the same for all connections that may carry the same content.
    Raises `ValueError` and `TypeError` for another key, and for a `most` that isn't 1 byte to 16 MiB.
    """

    def __init__(self, key: bytes, most: int) -> None:
        if not isinstance(key, bytes):
            raise TypeError(f"the key of a padding is bytes, not {type(key).__name__}")
        if not 16 <= len(key) <= 64:
            raise ValueError(f"the key of a padding has 16 to 64 bytes, not {len(key)}")
        self._key = key
        self.most: int = checked_size(most)

    def pad_content(self, content: memoryview) -> int:
        digest = hashlib.blake2b(content, key=self._key, digest_size=16, person=b"securestream-pad").digest()
        return len(content) + int.from_bytes(digest, "little") % (self.most + 1)

    def pad_flush(self, length: int) -> int:
        """Without content to look at, the length decides."""
        return self.pad_content(memoryview(length.to_bytes(8, "little"))) - 8 + length

    def __repr__(self) -> str:
        return f"KeyedPadding(..., {self.most})"


class RecordPadding(PaddingPolicy):
    """What a callable of the user's says, record by record: `callback(record_type, length, room)` gives the padding,
    0 to `room` bytes, with the arguments of OpenSSL's `SSL_CTX_set_record_padding_callback` in their order. Raises
    `TypeError` for what is no callable."""

    def __init__(self, callback: Callable[[int, int, int], int]) -> None:
        if not callable(callback):
            raise TypeError("RecordPadding takes a callable: (record_type, length, room) -> padding")
        self._callback = callback

    def pad_record(self, record_type: int, length: int, room: int) -> int:
        return self._callback(record_type, length, room)


def _up_to(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def checked_size(size: int) -> int:
    """`size`, 1 byte to 16 MiB. Raises `ValueError`, `TypeError`."""
    size = operator.index(size)
    if not 1 <= size <= MAX_FLUSH_PADDING:
        raise ValueError(f"a size of padding is 1 to {MAX_FLUSH_PADDING:,} bytes, not {size}")
    return size


# --- asking them ------------------------------------------------------------------------------------


def padded_length(policy: PaddingPolicy, content: memoryview) -> int:
    """What `policy` makes of a flush of `content`. Raises `ValueError`."""
    return _checked_length(policy, len(content), policy.pad_content(content))


def padded_size(policy: PaddingPolicy, length: int) -> int:
    """What `policy` makes of a flush of `length` bytes of which it sees no more than that. Raises `ValueError`."""
    return _checked_length(policy, length, policy.pad_flush(length))


def record_padding(policy: PaddingPolicy, record_type: int, length: int, room: int) -> int:
    """What `policy` adds to one record. Raises `ValueError`."""
    padding = policy.pad_record(record_type, length, room)
    if not isinstance(padding, int) or not 0 <= padding <= room:
        raise _out_of_bounds(policy, f"pad_record({record_type}, {length}, {room})", padding, 0, room)
    return padding


def control_padding(policy: PaddingPolicy, record_type: int, length: int, room: int) -> int:
    """What `policy` adds to a record of `length` bytes that is a flush of its own. Raises `ValueError`."""
    least = max(length, 1)
    flush = min(padded_size(policy, least) - length, room)
    return flush + record_padding(policy, record_type, length + flush, room - flush)


def _checked_length(policy: PaddingPolicy, length: int, padded: int) -> int:
    most = length + max(length, MAX_FLUSH_PADDING)
    if not isinstance(padded, int) or not length <= padded <= most:
        raise _out_of_bounds(policy, f"pad_flush({length})", padded, length, most)
    return padded


def _out_of_bounds(policy: PaddingPolicy, asked: str, answer: object, least: int, most: int) -> ValueError:
    name = type(policy).__name__
    return ValueError(f"{name}.{asked} returned {answer!r}: out of bounds, an int from {least:,} to {most:,}")
