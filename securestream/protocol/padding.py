"""How much zero padding goes into records: the user's decision, asked here.

Two hooks, each with a default. Both are pure functions of sizes; what they return out of bounds is a
`ValueError` before anything is sent, and the stream stays whole.

    pad_flush(length)                     the padded length of all that one send_all() or flush() puts out
    pad_record(type, length, room)        the padding of one record, with OpenSSL's argument order
                                          (SSL_CTX_set_record_padding_callback)

A flush is cut into records by its padded length alone, the content first and then zeros, so that what is
seen on the wire depends on the padded length and on nothing else.
"""

from __future__ import annotations


class PaddingPolicy:
    """Base of all policies: subclass it and override a hook, or both."""

    def pad_flush(self, length: int) -> int:
        """`length` bytes of content are about to go out: how many, with padding? At least `length`,
        at most `length` + 16 MiB. The bytes that each record's sealing adds don't count."""
        return length

    def pad_record(self, record_type: int, length: int, room: int) -> int:
        """A record of `length` bytes (content and the flush's padding) is about to be sealed: how many
        zeros more? 0 to `room`. Asked for every record, alerts and the end of the stream included."""
        return 0

    @property
    def is_none(self) -> bool:
        """Whether the policy never pads, so that it needn't be asked."""
        return False


class NoPadding(PaddingPolicy):
    """Records as long as their content."""

    @property
    def is_none(self) -> bool:
        return True


class FullRecords(PaddingPolicy):
    """The seed's "all messages are always exactly 16 KB"."""

    def pad_record(self, record_type: int, length: int, room: int) -> int:
        return room


MAX_FLUSH_PADDING = 16 * 2**20


def padded_length(policy: PaddingPolicy, length: int) -> int:
    """What `policy` makes of a flush of `length` bytes. Raises `ValueError`."""
    padded = policy.pad_flush(length)
    if not isinstance(padded, int) or not length <= padded <= length + MAX_FLUSH_PADDING:
        raise ValueError(f"{type(policy).__name__}.pad_flush({length}) returned {padded}: out of bounds")
    return padded


def record_padding(policy: PaddingPolicy, record_type: int, length: int, room: int) -> int:
    """What `policy` adds to one record. Raises `ValueError`."""
    padding = policy.pad_record(record_type, length, room)
    if not isinstance(padding, int) or not 0 <= padding <= room:
        name = type(policy).__name__
        raise ValueError(f"{name}.pad_record({record_type}, {length}, {room}) returned {padding}: out of bounds")
    return padding
