"""What several tests share: fixed keys, machines with defaults, and a second opinion on records.

`Forger` and `Witness` are the record layer written once more, in a few lines, from `docs/protocol.md` and
PyNaCl's public functions alone: what they and the package agree on is what the document says.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import secrets
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import pytest
from hypothesis import settings
from nacl import bindings

from securestream.protocol.errors import RemoteProtocolError
from securestream.protocol.handshake import ClientHandshake, SecretPolicy, ServerHandshake
from securestream.protocol.keys import PrivateKey, PublicKey, SharedSecret
from securestream.protocol.messages import FrameReader, Kind
from securestream.protocol.mlkem import DecapsulationKey, EncapsulationKey
from securestream.protocol.plaintext import DevSuite, TlsSuite
from securestream.protocol.records import End, RecordReader, RecordWriter
from securestream.protocol.suites import AnySuite, RecordType, Suite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import ModuleType

    from securestream.protocol import sodium
    from securestream.protocol.codes import AlertCode
    from securestream.protocol.hybrid import ClientPostQuantum, PostQuantum
    from securestream.protocol.padding import PaddingPolicy
    from securestream.protocol.tls_keys import PeerKey

P = ParamSpec("P")
T = TypeVar("T")

# The same examples at every run, and none kept on disk.
PROPERTY = settings(derandomize=True, deadline=None, max_examples=60, database=None)

CLIENT_KEY, SERVER_KEY, MIDDLEBOX_KEY, OTHER_KEY = (PrivateKey(bytes([n]) * 32) for n in (1, 2, 3, 4))
CLIENT_EPHEMERAL, SERVER_EPHEMERAL = PrivateKey(bytes([5]) * 32), PrivateKey(bytes([6]) * 32)
SECRET, OTHER_SECRET = SharedSecret(bytes(range(32))), SharedSecret(bytes(range(1, 33)))
KEY = bytes(range(100, 132))
KEM_EPHEMERAL = DecapsulationKey.from_seed(bytes(range(64)))
BOTH_SUITES = (Suite.XCHACHA20_POLY1305, Suite.AEGIS_256)

CAPACITY: dict[AnySuite, int] = {
    Suite.XCHACHA20_POLY1305: 16_362,
    Suite.AEGIS_256: 16_347,
    DevSuite.PLAINTEXT: 16_363,
    TlsSuite.TLS_1_3: 16_379,
}
OVERHEAD: dict[AnySuite, int] = {
    Suite.XCHACHA20_POLY1305: 22,
    Suite.AEGIS_256: 37,
    DevSuite.PLAINTEXT: 21,
    TlsSuite.TLS_1_3: 5,
}
PREFIX: dict[AnySuite, int] = {suite: 24 if suite is Suite.XCHACHA20_POLY1305 else 0 for suite in OVERHEAD}


def refusal(step: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> AlertCode:
    """The alert that the peer gets for what `step` refuses."""
    with pytest.raises(RemoteProtocolError) as caught:
        step(*args, **kwargs)
    return caught.value.alert_code


def outcome(step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | AlertCode:
    """What `step` gives, or the alert for what it refuses; any other exception is a fault."""
    try:
        return step(*args, **kwargs)
    except RemoteProtocolError as exc:
        return exc.alert_code


def flipped(data: bytes, bit: int) -> bytes:
    """`data` with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def buffer_of(backend: ModuleType, data: bytes) -> sodium.backend.Buffer:
    """A buffer of either backend that holds `data`."""
    buffer: sodium.backend.Buffer = backend.Buffer(len(data))
    buffer.view[:] = data
    return buffer


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` in pieces, cut at `places`; none of them empty."""
    edges = [0, *sorted({place for place in places if 0 < place < len(data)}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def loaded_again(module: ModuleType) -> ModuleType:
    """The module's code run once more, under another name."""
    assert module.__file__ is not None
    spec = importlib.util.spec_from_file_location(f"{module.__name__}_again", module.__file__)
    assert spec is not None
    assert spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    return again


@dataclass
class Defaults:
    """What the machines below do unless they are told."""

    post_quantum: PostQuantum = "off"


DEFAULTS = Defaults()


# --- handshakes ------------------------------------------------------------------------------------


def new_client(
    *,
    key: PrivateKey = CLIENT_KEY,
    server_key: PublicKey | None = SERVER_KEY.public_key,
    suites: Sequence[Suite] = BOTH_SUITES,
    middlebox_key: PublicKey | None = None,
    secret: SharedSecret | None = None,
    post_quantum: ClientPostQuantum | None = None,
    ephemeral: PrivateKey | None = CLIENT_EPHEMERAL,
) -> ClientHandshake:
    """A client whose messages are the same at every run."""
    return ClientHandshake(
        key=key,
        server_key=server_key,
        suites=suites,
        middlebox_key=middlebox_key,
        secret=secret,
        post_quantum=post_quantum or DEFAULTS.post_quantum,
        ephemeral=ephemeral,
        kem_ephemeral=KEM_EPHEMERAL if ephemeral else None,
    )


def new_server(
    *,
    key: PrivateKey = SERVER_KEY,
    suites: Sequence[Suite] = BOTH_SUITES,
    secrets: Sequence[SharedSecret] = (),
    secret_policy: SecretPolicy = SecretPolicy.OFF,
    require_route: bool = False,
    post_quantum: PostQuantum | None = None,
    ephemeral: PrivateKey | None = SERVER_EPHEMERAL,
) -> ServerHandshake:
    """A server whose messages are the same at every run, but for the ciphertext in a hybrid challenge."""
    return ServerHandshake(
        key=key,
        suites=suites,
        secrets=secrets,
        secret_policy=secret_policy,
        require_route=require_route,
        post_quantum=post_quantum or DEFAULTS.post_quantum,
        ephemeral=ephemeral,
    )


def repeatable_kem(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is encapsulated to the fixed key is the same at every run, so that frames of one run do in another."""
    encapsulate = EncapsulationKey.encapsulate
    fixed = encapsulate(EncapsulationKey(KEM_EPHEMERAL.public_bytes))

    def repeated(key: EncapsulationKey) -> tuple[bytes, bytes]:
        return fixed if key._key.public_bytes_raw() == KEM_EPHEMERAL.public_bytes else encapsulate(key)

    monkeypatch.setattr(EncapsulationKey, "encapsulate", repeated)


def body(frame: bytes, kind: Kind) -> bytes:
    """The body of one whole frame of this kind."""
    reader = FrameReader()
    reader.feed(frame)
    found = reader.next_frame({kind})
    assert found is not None
    assert found[0] is kind
    assert reader.take_rest() == b""
    return found[1]


def shake_hands(
    client: ClientHandshake, server: ServerHandshake, *, credentials: bytes = b"", payload: bytes = b""
) -> tuple[PeerKey, PeerKey]:
    """All three messages. Gives the key that the client saw, and the one that the server saw."""
    server.hello(body(client.hello(), Kind.HELLO))
    server_key = client.challenge(body(server.challenge(payload), Kind.CHALLENGE))
    client_key = server.response(body(client.response(credentials), Kind.RESPONSE))
    return server_key, client_key


# --- records ----------------------------------------------------------------------------------------


def flush(writer: RecordWriter, content: bytes) -> bytes:
    """The wire bytes of one flush, in one piece."""
    return b"".join(bytes(batch) for batch in writer.data(memoryview(content)))


def drain(reader: RecordReader) -> bytes:
    """All content that can be read without another `feed()`."""
    content = reader.read()
    while reader.has_more:
        before = reader.records
        content += reader.read()
        assert reader.records > before or reader.end is not End.OPEN  # or this would go on for ever
    return content


def receive(reader: RecordReader, *pieces: bytes) -> bytes:
    """The content of what a transport gives in these pieces."""
    content = b""
    for piece in pieces:
        reader.feed(piece)
        content += drain(reader)
    return content


def new_pair(
    suite: Suite, *, padding: PaddingPolicy | None = None, expects_verdict: bool = False
) -> tuple[RecordWriter, RecordReader]:
    """Both ends of one direction."""
    return RecordWriter(suite, KEY, padding), RecordReader(suite, KEY, expects_verdict=expects_verdict)


def new_forged(suite: Suite, *, expects_verdict: bool = False) -> tuple[Forger, RecordReader]:
    """A forger, and a reader that has taken the stream's prefix already."""
    forger, reader = Forger(suite), RecordReader(suite, KEY, expects_verdict=expects_verdict)
    assert receive(reader, forger.prefix) == b""
    return forger, reader


_TAGS: dict[int, int] = {RecordType.ALERT: 3, RecordType.CLOSE: 3, RecordType.KEY_UPDATE: 2}


def _next_key(key: bytes) -> bytes:
    return hashlib.blake2b(b"securestream/1 rekey", key=key, digest_size=32).digest()


class Forger:
    """A peer that has the key and not the rules: it seals whatever it is told."""

    def __init__(self, suite: Suite, *, header: bytes | None = None) -> None:
        self._suite, self._key, self._number = suite, KEY, 0
        self._state = bindings.crypto_secretstream_xchacha20poly1305_state()
        header = header or secrets.token_bytes(24)
        # The writer's state is the reader's: both are derived from key and header alone.
        bindings.crypto_secretstream_xchacha20poly1305_init_pull(self._state, header, KEY)
        self.prefix = header if suite is Suite.XCHACHA20_POLY1305 else b""

    def record(
        self, record_type: int, content: bytes = b"", *, size: int | None = None, tag: int | None = None
    ) -> bytes:
        """One record; `size` and secretstream's `tag` are what they should be unless given."""
        told = 3 + len(content) if size is None else size
        return self.seal(struct.pack("<HB", told, record_type) + content, _TAGS.get(record_type, 0), tag)

    def seal(self, plain: bytes, honest_tag: int = 0, tag: int | None = None) -> bytes:
        """One record of any plain bytes."""
        if self._suite is Suite.AEGIS_256:
            nonce = self._number.to_bytes(8, "little") + bytes(24)
            sealed = bindings.crypto_aead_aegis256_encrypt(plain, None, nonce, self._key)
            self._number += 1
            if honest_tag == _TAGS[RecordType.KEY_UPDATE]:
                self._key, self._number = _next_key(self._key), 0
        else:
            tag = honest_tag if tag is None else tag
            sealed = bindings.crypto_secretstream_xchacha20poly1305_push(self._state, plain, None, tag)
        return struct.pack("<H", 2 + len(sealed)) + sealed


@dataclass(frozen=True)
class Seen:
    """One record as a witness found it."""

    length: int
    tag: int | None
    record_type: int
    content: bytes
    padding: bytes


class Witness:
    """Opens what a writer wrote, and tells all there is to see."""

    def __init__(self, suite: Suite) -> None:
        self._suite, self._key, self._number = suite, KEY, 0
        self._state: bindings.crypto_secretstream_xchacha20poly1305_state | None = None

    def open(self, wire: bytes) -> list[Seen]:
        """The records in `wire`, whole ones, behind the prefix if it is the first."""
        if self._suite is Suite.XCHACHA20_POLY1305 and self._state is None:
            self._state = bindings.crypto_secretstream_xchacha20poly1305_state()
            bindings.crypto_secretstream_xchacha20poly1305_init_pull(self._state, wire[:24], self._key)
            wire = wire[24:]
        seen: list[Seen] = []
        while wire:
            length = int.from_bytes(wire[:2], "little")
            assert 0 < length <= len(wire)
            seen.append(self._open_one(wire[2:length], length))
            wire = wire[length:]
        return seen

    def _open_one(self, sealed: bytes, length: int) -> Seen:
        tag: int | None = None
        if self._suite is Suite.AEGIS_256:
            nonce = self._number.to_bytes(8, "little") + bytes(24)
            plain = bindings.crypto_aead_aegis256_decrypt(sealed, None, nonce, self._key)
            self._number += 1
        else:
            assert self._state is not None
            plain, tag = bindings.crypto_secretstream_xchacha20poly1305_pull(self._state, sealed, None)
        size, record_type = struct.unpack_from("<HB", plain)
        if self._suite is Suite.AEGIS_256 and record_type == RecordType.KEY_UPDATE:
            self._key, self._number = _next_key(self._key), 0
        return Seen(length, tag, record_type, plain[3:size], plain[size:])
