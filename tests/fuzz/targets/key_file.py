"""A file with a private key of either kind, locked or not, or in PEM: read, or refused with the number of a line."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from securestream.protocol.keys import PrivateKey
from securestream.protocol.tls_keys import TlsPrivateKey
from securestream.trust.keyfile import OWN_KEY, PRIVATE_KEY, TLS_KEY, KeyFileError, find_secret, find_tls_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from securestream.protocol.tls_keys import OwnKey

SHOWS = "fuzz-parsers"
PARSERS = ()

SECRET, TLS_SECRET = PrivateKey(bytes([3]) * 32).to_text(), TlsPrivateKey(bytes([4]) * 32).to_text()
PEM = base64.b64encode(bytes(TlsPrivateKey(bytes([4]) * 32))).decode()
PEM_FILE = f"-----BEGIN PRIVATE KEY-----\n{PEM}\n-----END PRIVATE KEY-----\n"
SALT, BOX = "A" * 22 + "==", "A" * 160


def ask() -> str:
    """Asked once a line is understood: deriving a key would take longer than all else."""
    raise ValueError("asked")


def one_input(data: bytes) -> None:
    noise = key_or_none(lambda: find_secret(data, "file", PRIVATE_KEY, ask))
    tls = key_or_none(lambda: find_tls_key(data, "file", TLS_KEY, ask))
    own = key_or_none(lambda: find_tls_key(data, "file", OWN_KEY, ask))
    assert noise is None or isinstance(noise, PrivateKey)
    assert tls is None or isinstance(tls, TlsPrivateKey)
    assert noise is None or tls is None
    assert own == (noise or tls)


def key_or_none(find: Callable[[], OwnKey]) -> OwnKey | None:
    try:
        return find()
    except KeyFileError as exc:
        told = str(exc)
        assert re.match(r"file(, line \d+)?: ", told)
        assert not any(secret[15:40] in told for secret in (SECRET, TLS_SECRET, PEM))
        return None


def seeds() -> dict[str, bytes]:
    texts = {
        "plain": f"# a key\n\n{SECRET}\n",
        "windows": f"\ufeff{SECRET}\r\n",
        "twice": f"{SECRET}\n{SECRET}\n",
        "shared": "ss-shared:" + SECRET[10:],
        "locked": f"# a key\nss-encrypted:argon2id:t=3:m=262144:{SALT}:{BOX}\n",
        "locked_dearly": f"ss-encrypted:argon2id:t=99:m=999999:{SALT}:{BOX}\n",
        "tls": f"# a key\n{TLS_SECRET}\n",
        "pem": PEM_FILE,
        "pem_of_another_kind": PEM_FILE.replace("PRIVATE", "EC PRIVATE"),
        "pem_locked": PEM_FILE.replace("PRIVATE", "ENCRYPTED PRIVATE"),
        "empty": "",
    }
    return {name: text.encode() for name, text in texts.items()}
