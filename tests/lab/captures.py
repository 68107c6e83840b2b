"""Captures of the project's own traffic, written by the test itself: nobody needs the right to listen to a network."""

from __future__ import annotations

import ipaddress
import struct
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from pathlib import Path

PORT = 9_222


class Capture:
    """Writes what passed as a capture file: raw IP packets (link type 101), a segment of at most `segment` bytes each.
    What is sent may come `again`, as lost packets do."""

    def __init__(self, *, segment: int = 1_400) -> None:
        self.packets: list[bytes] = []
        self._segment = segment
        self._next = {True: 1, False: 1}

    def segment(self, data: bytes, *, outgoing: bool, again: bool = False) -> None:
        for start in range(0, len(data), self._segment):
            self._packet(data[start : start + self._segment], outgoing, again)

    def _packet(self, data: bytes, outgoing: bool, again: bool) -> None:
        ports = (40_000, PORT) if outgoing else (PORT, 40_000)
        seq, ack = self._next[outgoing], self._next[not outgoing]
        self._next[outgoing] += len(data)
        tcp = struct.pack(">HHIIBBHHH", *ports, seq, ack, 5 << 4, 0x18, 65_535, 0, 0) + data
        address = ipaddress.ip_address("127.0.0.1").packed
        packet = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + address + address + tcp
        head = struct.pack("<IIII", 1_700_000_000 + len(self.packets), 0, len(packet), len(packet))
        self.packets += [head + packet] * (2 if again else 1)

    def write(self, path: Path) -> Path:
        path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101) + b"".join(self.packets))
        return path


class Tapped(trio.abc.Stream):
    """A client's transport whose bytes are captured."""

    def __init__(self, transport: trio.abc.Stream, capture: Capture) -> None:
        self._transport, self._capture = transport, capture

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._capture.segment(bytes(data), outgoing=True, again=True)
        await self._transport.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._transport.receive_some(max_bytes)
        self._capture.segment(bytes(data), outgoing=False)
        return data

    async def aclose(self) -> None:
        await self._transport.aclose()
