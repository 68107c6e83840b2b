"""A connection string: read, or refused with one line that repeats no secret."""

from __future__ import annotations

from securestream.protocol.keys import PrivateKey
from securestream.trust.address import AddressError, parse_connection_string

SHOWS = "fuzz-parsers"
PARSERS = ()

KEY = str(PrivateKey(bytes([1]) * 32).public_key)
SECRET = PrivateKey(bytes([2]) * 32).to_text()


def one_input(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        found = parse_connection_string(text)
    except AddressError as exc:
        told = str(exc)
        assert SECRET[10:30] not in told
        assert told.isprintable()
        return
    assert parse_connection_string(found.to_text(with_secrets=True)) == found
    assert found.server_key is not None or found.server_key_hash is not None or found.shared_secret_file


def seeds() -> dict[str, bytes]:
    start = f"Server=db.example:9222;Server Key={KEY}"
    texts = {
        "seed": f"{start};Database=Orders;Client Secret Key={SECRET}",
        "files": 'Server=[::1]:1;Shared Secret File=\'a;b\';Client Key="say ""hi""";Timeout=2.5',
        "tls": f"Server=h:1;Server Key Hash={KEY};Timeout=0.00001;Note=",
        "middlebox": f"{start};Middlebox Key={KEY};TRANSPORT=secure;;",
        "twice": f"{SECRET}={SECRET};{SECRET}={SECRET};{start}",
        "slip": f"{start};Clinet Key=x",
        "empty": "",
    }
    return {name: text.encode() for name, text in texts.items()}
