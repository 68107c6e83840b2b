"""What this project wants to reach, and whether a run did: ratios within that run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .run import Result

    Results = Mapping[tuple[str, str], Result]

_BASES = {
    "tcp": "TCP",
    "tls": "SSLStream",
    "noise_aesgcm": "noiseprotocol",
    "aegis_256": "the classical one",
    "tcp_relayed": "the TCP relay",
    "alone_xchacha20_poly1305": "libsodium alone",
}


@dataclass(frozen=True)
class Target:
    """`contender` at `workload` is to have at least (`more`), or at most, `wanted` times what `base` has.

    `beyond`  what is wanted is a difference in place of a ratio
    """

    workload: str
    contender: str
    more: bool
    wanted: float
    base: str
    beyond: bool = False

    @property
    def text(self) -> str:
        """As "at least 2.0 x SSLStream"."""
        bound = "at least" if self.more else "at most"
        if self.beyond:
            return f"{bound} {self.wanted:g} {WORKLOADS[self.workload].unit} above {_BASES[self.base]}"
        return f"{bound} {self.wanted:.2f} x {_BASES[self.base]}"

    def reached(self, results: Results) -> list[float]:
        """The ratios or differences that were measured, by workload and contender: one a round, none where one of the
        two was not measured."""
        mine, base = results.get((self.workload, self.contender)), results.get((self.workload, self.base))
        if mine is None or base is None:
            return []
        return mine.beyond(base) if self.beyond else mine.ratios_to(base)

    def holds(self, reached: float) -> bool:
        return reached >= self.wanted if self.more else reached <= self.wanted


AEGIS, XCHACHA = "aegis_256", "xchacha20_poly1305"
TARGETS = (
    Target("bulk-64k", AEGIS, True, 2.0, "tls"),
    Target("bulk-64k", AEGIS, True, 0.55, "tcp"),
    Target("bulk-64k", XCHACHA, True, 0.8, "tls"),
    Target("bulk-64k", XCHACHA, True, 0.75, "alone_xchacha20_poly1305"),
    Target("bulk-1m", AEGIS, True, 2.0, "tls"),
    Target("bulk-1m", AEGIS, True, 0.55, "tcp"),
    Target("bulk-1m", XCHACHA, True, 0.8, "tls"),
    Target("bulk-1m", XCHACHA, True, 0.75, "alone_xchacha20_poly1305"),
    Target("bulk-1k", AEGIS, True, 1.3, "tls"),
    Target("buffered-1k", AEGIS, True, 8.0, "tls"),
    Target("handshake", AEGIS, False, 0.27, "tls"),
    Target("handshake", AEGIS, False, 0.75, "noise_aesgcm"),
    Target("handshake", "post_quantum", False, 1.35, AEGIS),
    Target("roundtrip", AEGIS, False, 1.2, "tcp"),
    Target("idle", AEGIS, False, 8, "tcp", beyond=True),
    Target("many", AEGIS, True, 1.4, "tls"),
    Target("routed-connect", "aegis_256_routed", False, 1.6, AEGIS),
    Target("routed-bulk", "aegis_256_routed", True, 0.6, "tcp_relayed"),
)
