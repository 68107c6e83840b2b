"""PyPI's noiseprotocol as a Trio stream, the way one would use it: u16 lengths around its messages."""

from __future__ import annotations

import warnings

import trio

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it is not maintained
    from noise.connection import Keypair, NoiseConnection

_MAX_PLAIN = 65_535 - 16


class NoiseStream(trio.abc.Stream):
    """Noise_XX with static keys on both sides. Its end is not authenticated."""

    def __init__(self, transport: trio.abc.Stream, noise: NoiseConnection) -> None:
        self._transport = transport
        self._noise = noise
        self._received = bytearray()

    @classmethod
    async def handshake(cls, transport: trio.abc.Stream, cipher: str, key: bytes, *, initiator: bool) -> NoiseStream:
        noise = NoiseConnection.from_name(f"Noise_XX_25519_{cipher}_BLAKE2b".encode())
        noise.set_keypair_from_private_bytes(Keypair.STATIC, key)
        noise.set_as_initiator() if initiator else noise.set_as_responder()
        noise.start_handshake()
        stream = cls(transport, noise)
        writes = initiator
        while not noise.handshake_finished:
            if writes:
                await stream._send_message(bytes(noise.write_message()))
            else:
                noise.read_message(await stream._receive_message())
            writes = not writes
        return stream

    async def _send_message(self, message: bytes) -> None:
        await self._transport.send_all(len(message).to_bytes(2, "big") + message)

    async def _receive_message(self) -> bytes:
        while (message := self._take_message()) is None:
            data = await self._transport.receive_some(2**18)
            if not data:
                return b""
            self._received += data
        return message

    def _take_message(self) -> bytes | None:
        end = 2 + int.from_bytes(self._received[:2], "big")
        if len(self._received) < max(end, 2):
            return None
        message = bytes(self._received[2:end])
        del self._received[:end]
        return message

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        parts = []
        for start in range(0, len(data), _MAX_PLAIN):
            sealed = self._noise.encrypt(bytes(data[start : start + _MAX_PLAIN]))
            parts += [len(sealed).to_bytes(2, "big"), sealed]
        await self._transport.send_all(b"".join(parts))

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        message = await self._receive_message()
        return self._noise.decrypt(message) if message else b""

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._transport.aclose()
