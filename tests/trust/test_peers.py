"""Which clients `AuthorizedPeers` lets in."""

from __future__ import annotations

import pytest

import securestream as ss

ALICE, BOB = (ss.PrivateKey.generate().public_key for _ in range(2))


async def test_a_listed_key_is_its_own_principal_and_a_named_one_its_name() -> None:
    assert await ss.AuthorizedPeers([ALICE])(ss.Peer(public_key=ALICE)) == ALICE
    assert await ss.AuthorizedPeers({ALICE: "alice"})(ss.Peer(public_key=ALICE)) == "alice"


@pytest.mark.parametrize("peers", [[], [BOB], {BOB: "bob"}], ids=["nobody", "another", "named"])
async def test_a_key_that_is_not_listed_is_refused_with_its_text(
    peers: list[ss.PublicKey] | dict[ss.PublicKey, str],
) -> None:
    with pytest.raises(PermissionError, match="is not authorised here"):
        await ss.AuthorizedPeers(peers)(ss.Peer(public_key=ALICE))


@pytest.mark.parametrize(
    "wrong", [str(ALICE), bytes(ALICE), ss.PrivateKey.generate()], ids=["text", "bytes", "private"]
)
def test_what_is_no_public_key_is_refused_when_it_is_listed(wrong: ss.PublicKey) -> None:
    with pytest.raises(TypeError, match="AuthorizedPeers takes PublicKeys"):
        ss.AuthorizedPeers([wrong])
