"""Connection strings: all that a client needs, in one line of a configuration file.

    Server=northwind.database.local:9222;Database=Orders;Server Key=<base64>;Client Secret Key=<base64>
    Server=northwind.database.local:9222;Database=Orders;Server Key Hash=<base64>;Client Key=client.key

The second is the one for TLS. In both:

    string = field *( ";" field )         empty fields mean nothing
    field  = name "=" value               the first "=" ends the name
    value  = plain | "'" ... "'" | '"' ... '"'      in quotes everything, a quote of its kind doubled

Names are compared without regard to case and blanks. Values that are not quoted lose the blanks around them. A name
that is not one of `NAMES` is the application's, unless it is so like one that it is surely a slip: with `Sever Key`
taken for the application's, a client would run with less protection than was asked for. What is raised here says which
field is wrong and never what is in it.
"""

from __future__ import annotations

import difflib
import enum
import hmac
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar, get_args

from ..protocol.hybrid import PostQuantum
from ..protocol.keys import HASH_PREFIX, PrivateKey, PublicKey
from ..protocol.tls_keys import KeyHash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

MAX_LENGTH = 65_536
MAX_SECONDS = 86_400.0

NAMES: tuple[str, ...] = (
    "Server",
    "Server Key",
    "Client Key",
    "Client Secret Key",
    "Middlebox Key",
    "Shared Secret File",
    "Post Quantum",
    "Server Key Hash",
    "Transport",
    "Timeout",
)


class AddressError(ValueError):
    """A connection string that can't be used. Names the field, never its value."""


class Transport(enum.Enum):
    """What a connection goes over. `Server Key Hash` asks for TLS, also without `Transport=tls`."""

    SECURE = "secure"
    TLS = "tls"


@dataclass(frozen=True)
class ConnectionString:
    """A connection string's fields, checked. What it doesn't give is None, `""` or empty.

    `host`, `port`          where the server is
    `transport`             this protocol, or TLS
    `server_key`            whose answer is taken
    `server_key_hash`       the same over TLS: SHA-256 of the server's key
    `client_key`            the client's own key, given in the string
    `client_key_file`       or the file that holds it
    `middlebox_key`         the router's
    `shared_secret_file`    the file with the shared secret
    `post_quantum`          whether the handshake is hybrid
    `timeout`               seconds for connecting and the handshake together
    `fields`                the application's, by their names as they were written

    Its secret doesn't show in `repr()` and `str()`; `to_text()` is the string again.
    """

    host: str
    port: int
    transport: Transport = Transport.SECURE
    server_key: PublicKey | None = None
    server_key_hash: KeyHash | None = None
    client_key: PrivateKey | None = field(default=None, repr=False)
    client_key_file: str = ""
    middlebox_key: PublicKey | None = None
    shared_secret_file: str = ""
    post_quantum: PostQuantum | None = None
    timeout: float | None = None
    fields: dict[str, str] = field(default_factory=dict)

    def to_text(self, *, with_secrets: bool = False) -> str:
        """A connection string that gives the same fields. It leaves out a `Client Secret Key` unless asked for it."""
        secret = "" if self.client_key is None or not with_secrets else self.client_key.to_text()
        return self._joined({"Client Secret Key": secret})

    def __str__(self) -> str:
        """For people: as `to_text()`, and with `(hidden)` where a secret is."""
        return self._joined({"Client Secret Key": "" if self.client_key is None else "(hidden)"})

    def _joined(self, secrets: dict[str, str]) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        known = {
            "Server": f"{host}:{self.port}",
            **self.fields,
            "Transport": "" if self.transport is Transport.SECURE else self.transport.value,
            "Server Key": "" if self.server_key is None else str(self.server_key),
            "Server Key Hash": "" if self.server_key_hash is None else self.server_key_hash.base64,
            **secrets,
            "Client Key": self.client_key_file,
            "Middlebox Key": "" if self.middlebox_key is None else str(self.middlebox_key),
            "Shared Secret File": self.shared_secret_file,
            "Post Quantum": self.post_quantum or "",
            "Timeout": "" if self.timeout is None else _decimal(self.timeout),
        }
        return ";".join(f"{name}={_quoted(value)}" for name, value in known.items() if value or name in self.fields)


def parse_connection_string(text: str) -> ConnectionString:
    """Raises `AddressError`, and `TypeError` for what is no text."""
    given, application = _sorted_fields(text)
    host, port = parse_server(given.get(_plain("Server"), ""))
    found = ConnectionString(
        host=host,
        port=port,
        transport=_parsed(given, "Transport", _transport) or _usual_transport(given),
        server_key=_parsed(given, "Server Key", _server_key),
        server_key_hash=_parsed(given, "Server Key Hash", KeyHash.from_text),
        client_key=_parsed(given, "Client Secret Key", PrivateKey.from_text),
        client_key_file=_file(given, "Client Key"),
        middlebox_key=_parsed(given, "Middlebox Key", PublicKey.from_text),
        shared_secret_file=_file(given, "Shared Secret File"),
        post_quantum=_parsed(given, "Post Quantum", _post_quantum),
        timeout=_parsed(given, "Timeout", _seconds),
        fields=application,
    )
    _check_sense(found)
    return found


def parse_server(text: str) -> tuple[str, int]:
    """`host:port`, `[IPv6]:port`. Raises `AddressError`."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise AddressError("Server: an IPv6 address goes in brackets, as in [::1]:9222")
    if not colon or not host or not host.isprintable() or any(c.isspace() for c in host):
        raise AddressError("Server: give it as host:port")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65_535):
        raise AddressError("Server: the port is a number from 1 to 65535")
    return host, int(port)


def _sorted_fields(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """The fields known here, by their plain names; and the application's."""
    known = {_plain(name): name for name in NAMES}
    given: dict[str, str] = {}
    application: dict[str, str] = {}
    seen: set[str] = set()
    for name, value in _fields(text):
        plain = _plain(name)
        if plain in seen:
            raise AddressError(f"{_shown(name)}: given twice")
        seen.add(plain)
        if plain in known:
            given[plain] = value
        elif meant := difflib.get_close_matches(plain, known, n=1, cutoff=0.85):
            raise AddressError(f"{_shown(name)}: not known here; is it to be {known[meant[0]]}?")
        else:
            application[name] = value
    return given, application


def _fields(text: str) -> Iterator[tuple[str, str]]:
    """Names and values, as they are written. What is left of the string is cut off at its next mark each time."""
    if not isinstance(text, str):
        raise TypeError(f"a connection string is text, not {type(text).__name__}")
    if len(text) > MAX_LENGTH:
        raise AddressError(f"a connection string has at most {MAX_LENGTH:,} characters")
    number = 1
    while text:
        before, _, after = text.partition(";")
        if "=" not in before:
            if before.strip():
                raise AddressError(f"field {number}: a name and a value, with = in between, as Server=db.example:9222")
            text = after
            continue
        name, _, text = text.partition("=")
        if not name.strip() or not name.strip().isprintable():
            raise AddressError(f"field {number}: a value without a name")
        value, text = _value(text.lstrip(), name.strip())
        yield name.strip(), value
        number += 1


def _value(text: str, name: str) -> tuple[str, str]:
    """The value that `text` begins with, and what comes after it and its semicolon."""
    if text[:1] not in ("'", '"'):
        value, _, rest = text.partition(";")
        return value.strip(), rest
    quote, value, text = text[0], "", text[1:]
    while True:
        part, closing, text = text.partition(quote)
        if not closing:
            raise AddressError(f"{_shown(name)}: the closing {quote} is missing")
        value += part
        if not text.startswith(quote):
            break
        value, text = value + quote, text[1:]
    gap, _, rest = text.partition(";")
    if gap.strip():
        raise AddressError(f"{_shown(name)}: something follows the closing {quote}")
    return value, rest


def _quoted(value: str) -> str:
    if value and not any(c in value for c in ";'\"") and value == value.strip():
        return value
    return '"' + value.replace('"', '""') + '"'


def _plain(name: str) -> str:
    return "".join(name.split()).casefold()


def _shown(name: str) -> str:
    """A name as an error may show it. Who forgot a name put a value in its place."""
    return name if len(name) <= 32 and name.replace(" ", "").isalnum() else "a field with a strange name"


def _parsed(given: dict[str, str], name: str, parse: Callable[[str], T]) -> T | None:
    text = given.get(_plain(name))
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as exc:
        raise AddressError(f"{name}: {exc}") from None


def _server_key(text: str) -> PublicKey:
    if text.strip().startswith(HASH_PREFIX):
        raise ValueError("this is the hash of a key for TLS; give it as Server Key Hash")
    return PublicKey.from_text(text)


def _file(given: dict[str, str], name: str) -> str:
    path = given.get(_plain(name))
    if path is None:
        return ""
    if not path:
        raise AddressError(f"{name}: name a file")
    if path.startswith("ss-"):
        raise AddressError(f"{name}: this is a secret where the name of a file belongs")
    return path


def _seconds(text: str) -> float:
    seconds = float(text) if text.replace(".", "", 1).isdecimal() and text.isascii() else 0.0
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"seconds, more than none and at most {MAX_SECONDS:,.0f}")
    return seconds


def _decimal(seconds: float) -> str:
    """Without an exponent, and exact."""
    return format(Decimal(repr(seconds)), "f").removesuffix(".0")


def _transport(text: str) -> Transport:
    try:
        return Transport(text.lower())
    except ValueError:
        raise ValueError("secure, which goes without saying, or tls") from None


def _post_quantum(text: str) -> PostQuantum:
    choices: tuple[PostQuantum, ...] = get_args(PostQuantum)
    for choice in choices:
        if text.lower() == choice:
            return choice
    raise ValueError("prefer, which goes without saying, require, or off")


def _usual_transport(given: dict[str, str]) -> Transport:
    return Transport.TLS if _plain("Server Key Hash") in given else Transport.SECURE


def _check_tls(found: ConnectionString) -> None:
    """TLS has keys of its own kind, and neither routers, shared secrets nor the hybrid handshake."""
    if found.server_key_hash is None:
        raise AddressError("Server Key Hash is missing: without it, anyone could stand in the middle of Transport=tls")
    given = {
        "Server Key": found.server_key,
        "Client Secret Key": found.client_key,
        "Middlebox Key": found.middlebox_key,
        "Shared Secret File": found.shared_secret_file or None,
        "Post Quantum": found.post_quantum,
    }
    for name, value in given.items():
        if value is not None:
            instead = {"Server Key": "Server Key Hash", "Client Secret Key": "Client Key, a file"}.get(name)
            raise AddressError(f"{name}: not with Transport=tls" + (f"; give {instead}" if instead else ""))


def _check_sense(found: ConnectionString) -> None:
    if found.client_key is not None and found.client_key_file:
        raise AddressError("Client Key and Client Secret Key: give one of them")
    if found.server_key_hash is not None and found.transport is not Transport.TLS:
        raise AddressError("Server Key Hash is for Transport=tls; without TLS give the Server Key")
    if found.transport is Transport.TLS:
        _check_tls(found)
    if found.server_key is None and found.server_key_hash is None and not found.shared_secret_file:
        raise AddressError(
            "Server Key is missing: without it, or a Shared Secret File, anyone could stand in the middle"
        )
    # Plain base64 doesn't say what it is. These are the mistakes that still show.
    if found.client_key is not None and found.server_key is not None:
        if hmac.compare_digest(bytes(found.server_key), bytes(found.client_key)):
            raise AddressError("Server Key and Client Secret Key are the same text; one of them is in the wrong place")
        if found.client_key.public_key == found.server_key:
            raise AddressError("Client Secret Key is the secret key of the server itself; make one for the client")
