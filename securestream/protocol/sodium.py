"""libsodium: one interface, two ways to reach it, chosen at import.

    x25519, x25519_base, chachapoly_encrypt, chachapoly_decrypt     for the handshake, over bytes; None is a refusal

and the record ciphers, over buffers:

    Buffer(size)      memory; `.view` is a memoryview of it
    Aegis256(key)     encrypt(target, to, source, start, length, number)            in place, or apart
                      decrypt(target, to, source, start, length, number) -> genuine
    SecretStreamPush(key)           encrypt(target, to, source, start, length, tag) never overlapping
    SecretStreamPull(key, header)   decrypt(target, to, source, start, length) -> tag, or -1 if forged
    AES_IN_HARDWARE   without it AEGIS-256 is a hundred times slower than XChaCha20

`length` counts what is read; nothing is checked here. `sodium_raw.py` writes straight into the buffers,
`sodium_bindings.py` does with PyNaCl's public names where its private module is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from . import sodium_bindings as backend
else:

    def _choose() -> ModuleType:
        try:
            from . import sodium_raw
        except (ImportError, AttributeError):  # a PyNaCl without the private module, or with other names in it
            from . import sodium_bindings

            return sodium_bindings
        return sodium_raw

    backend = _choose()

__all__ = ["backend"]
