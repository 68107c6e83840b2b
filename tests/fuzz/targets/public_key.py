"""A public key off the wire: taken are 32 canonical bytes of a point that can be used, and nothing else."""

from __future__ import annotations

from nacl.bindings import crypto_scalarmult

from securestream.protocol.keys import LOW_ORDER, PublicKey, decode_public_key_untrusted

from ...protocol.support import CLIENT_KEY, outcome

SHOWS = "fuzz-parsers"
PARSERS = ("decode_public_key_untrusted",)

PRIME = 2**255 - 19


def one_input(data: bytes) -> None:
    key = outcome(decode_public_key_untrusted, data)
    if isinstance(key, PublicKey):
        assert bytes(key) == data
        assert int.from_bytes(data, "little") < PRIME
        assert any(crypto_scalarmult(bytes(CLIENT_KEY), data))
        assert PublicKey.from_text(str(key)) == key
    else:
        assert len(data) != 32 or int.from_bytes(data, "little") >= PRIME or data in LOW_ORDER


def seeds() -> dict[str, bytes]:
    made = {f"low_order_{n}": point for n, point in enumerate(sorted(LOW_ORDER))}
    made |= {f"near_prime_{n}": (PRIME + n).to_bytes(32, "little") for n in (-2, 0, 1, 18)}
    return made | {"key": bytes(CLIENT_KEY.public_key), "all_ones": b"\xff" * 32, "short": bytes(31), "empty": b""}
