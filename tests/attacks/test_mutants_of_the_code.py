"""The attacks have teeth: each weakness of the code, made here on both sides, lets one of them win.

A mutant still works between honest sides, or its attack would prove nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest

import securestream as ss
from securestream.protocol import handshake
from securestream.protocol.messages import ROUTE_SIZE
from securestream.protocol.mlkem import DecapsulationKey, EncapsulationKey
from securestream.protocol.noise import HandshakeState, Pattern, SymmetricState, Token
from securestream.protocol.suites import Suite
from securestream.streams import wrap

from ..protocol.support import CLIENT_KEY, SERVER_EPHEMERAL, SERVER_KEY, new_client, new_server
from .attackers import (
    eavesdropper_with_stolen_keys,
    impostor_client_with_a_public_key,
    impostor_server_with_a_public_key,
    impostor_who_wants_the_clients_name,
    stripper_of_suites,
    swapper_of_routes,
)
from .support import converse, honest_configs, meet

if TYPE_CHECKING:
    import trio
    from trio.testing import MockClock

pytestmark = pytest.mark.shows("code-mutants")

Mutate = Callable[[pytest.MonkeyPatch], None]


# --- the mutants ------------------------------------------------------------------------------------------


def without(token: Token) -> Mutate:
    """Noise without one of its Diffie-Hellmans."""

    def mutate(monkeypatch: pytest.MonkeyPatch) -> None:
        for mode, pattern in handshake.PATTERNS.items():
            messages = tuple(tuple(kept for kept in message if kept != token) for message in pattern.messages)
            monkeypatch.setitem(handshake.PATTERNS, mode, Pattern(pattern.name, messages))

    return mutate


def no_ee(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise where that Diffie-Hellman is public: without it, the server's key would cross in clear."""
    dh = HandshakeState._dh
    monkeypatch.setattr(HandshakeState, "_dh", lambda noise, token: bytes(32) if token == "ee" else dh(noise, token))


def no_kem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A KEM whose shared secrets are public."""
    encapsulate = EncapsulationKey.encapsulate
    monkeypatch.setattr(EncapsulationKey, "encapsulate", lambda key: (encapsulate(key)[0], bytes(32)))
    monkeypatch.setattr(DecapsulationKey, "decapsulate_untrusted", lambda _key, _ciphertext: bytes(32))


def no_ee_and_no_kem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither of the two that are to give forward secrecy does. Classical: only ee is there to be lost."""
    no_ee(monkeypatch)
    no_kem(monkeypatch)


def without_associated_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """encrypt_and_hash and decrypt_and_hash that hash the ciphertext, and don't authenticate h with it."""

    def encrypt_and_hash(state: SymmetricState, plaintext: bytes) -> bytes:
        ciphertext = state._cipher.encrypt_with_ad(b"", plaintext)
        state.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(state: SymmetricState, ciphertext: bytes) -> bytes:
        plaintext = state._cipher.decrypt_with_ad(b"", ciphertext)
        state.mix_hash(ciphertext)
        return plaintext

    monkeypatch.setattr(SymmetricState, "encrypt_and_hash", encrypt_and_hash)
    monkeypatch.setattr(SymmetricState, "decrypt_and_hash", decrypt_and_hash)


def with_prologue(change: Callable[[bytes], bytes]) -> Mutate:
    """Another prologue than the protocol's, on both sides."""

    def mutate(monkeypatch: pytest.MonkeyPatch) -> None:
        original = HandshakeState.__init__

        def init(noise: HandshakeState, pattern: Pattern, *, prologue: bytes, **others: object) -> None:
            partial(original, noise, pattern, prologue=change(prologue), **others)()  # type: ignore[arg-type]

        monkeypatch.setattr(HandshakeState, "__init__", init)

    return mutate


def judge_the_server_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that looks at the server's key when it has said who it is."""
    judge, wait = wrap._judge, ss.SecureStream._wait_for_verdict
    put_off: list[Callable[[], Awaitable[None]]] = []

    async def judge_later(config: ss.ClientConfig, server_key: ss.PublicKey) -> None:
        put_off.append(partial(judge, config, server_key))

    async def wait_and_judge(stream: ss.SecureStream[trio.abc.Stream]) -> None:
        await wait(stream)
        await put_off.pop()()

    monkeypatch.setattr(wrap, "_judge", judge_later)
    monkeypatch.setattr(ss.SecureStream, "_wait_for_verdict", wait_and_judge)


no_es, no_se = without("es"), without("se")
no_prologue = with_prologue(lambda _: b"")
route_not_bound = with_prologue(lambda prologue: prologue[:-ROUTE_SIZE])


# --- and who wins against them -------------------------------------------------------------------------------

STOLEN = (SERVER_KEY, CLIENT_KEY)
WINS: dict[str, tuple[Mutate, Callable[[], bool]]] = {
    "no_es": (no_es, impostor_server_with_a_public_key),
    "no_se": (no_se, impostor_client_with_a_public_key),
    "no_ee_and_no_kem": (no_ee_and_no_kem, partial(eavesdropper_with_stolen_keys, STOLEN, Suite.XCHACHA20_POLY1305)),
    "no_associated_data_suites": (without_associated_data, stripper_of_suites),
    "no_associated_data_route": (without_associated_data, swapper_of_routes),
    "no_prologue_suites": (no_prologue, stripper_of_suites),
    "no_prologue_route": (no_prologue, swapper_of_routes),
    "route_not_bound": (route_not_bound, swapper_of_routes),
}
every_mutant = pytest.mark.parametrize("name", WINS)


@every_mutant
def test_the_attacker_loses_against_the_real_code_and_wins_against_the_mutant(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate, attack = WINS[name]
    assert not attack()
    mutate(monkeypatch)
    assert attack()


@every_mutant
def test_the_mutant_works_between_honest_sides(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    WINS[name][0](monkeypatch)
    meeting = meet(new_client(), new_server())
    assert meeting.succeeded
    assert meeting.client_key == CLIENT_KEY.public_key


@pytest.mark.parametrize(
    ("mutate", "attack"),
    [(no_es, impostor_client_with_a_public_key), (no_se, impostor_server_with_a_public_key)],
    ids=["no_es", "no_se"],
)
def test_the_mutant_is_no_weaker_than_it_says(
    mutate: Mutate, attack: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    assert not attack()
    assert not swapper_of_routes()


def test_the_kem_gives_forward_secrecy_where_ee_does_not(hybrid: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    no_ee(monkeypatch)
    assert eavesdropper_with_stolen_keys(STOLEN, Suite.XCHACHA20_POLY1305) is not hybrid


def test_a_quantum_computer_reads_a_hybrid_connection_whose_kem_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    no_kem(monkeypatch)
    everything = (*STOLEN, SERVER_EPHEMERAL)
    assert eavesdropper_with_stolen_keys(everything, Suite.XCHACHA20_POLY1305, ephemeral=SERVER_EPHEMERAL)


async def test_an_impostor_learns_the_clients_name_from_a_mutant_that_judges_too_late(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    assert not await impostor_who_wants_the_clients_name()
    judge_the_server_too_late(monkeypatch)
    assert await impostor_who_wants_the_clients_name()
    talk = await converse(honest_configs())
    assert talk.client.ended
    assert talk.server.ended
