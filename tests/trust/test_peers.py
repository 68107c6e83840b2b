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


def test_a_name_that_a_list_gives_is_the_peer_s_name_and_other_principals_give_none() -> None:
    peer = ss.Peer(public_key=ALICE)
    assert peer.accepted_as("alice").name == "alice"
    assert peer.accepted_as(ss.TrustedKey(bytes(32), "alice")).name == "alice"
    for nameless in (None, ALICE, ("alice", "bob"), b"alice"):
        assert peer.accepted_as(nameless).name == ""


def test_one_key_where_several_belong_is_refused_with_the_way_out() -> None:
    with pytest.raises(TypeError, match=r"takes several PublicKeys: \[key, \.\.\.\]"):
        ss.AuthorizedPeers(ALICE)  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize(
    "wrong", [str(ALICE), bytes(ALICE), ss.PrivateKey.generate()], ids=["text", "bytes", "private"]
)
def test_what_is_no_public_key_is_refused_when_it_is_listed(wrong: ss.PublicKey) -> None:
    with pytest.raises(TypeError, match="AuthorizedPeers takes PublicKeys"):
        ss.AuthorizedPeers([wrong])
