"""What the tests of the streams are run over: both suites and the profile dev, and transports that differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import securestream as ss

from .support import Configs, matching_configs
from .transports import Tls, Transports, close_sockets, lockstep_pair, memory_pair, socket_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from securestream.protocol.suites import AnySuite


@pytest.fixture(autouse=True)
def sockets() -> Iterator[None]:
    """Sockets of a test end with it, also where the test is about a peer that never closes."""
    yield
    close_sockets()


@pytest.fixture(scope="session")
def tls() -> Tls:
    """TLS with an authority of its own."""
    return Tls()


# The one suite of tests that both profiles, and both wires, have to pass: whatever a program may rely on is the same.
BOTH_PROFILES = [
    *(pytest.param(suite, id=suite.name) for suite in ss.Suite),
    pytest.param(ss.DevSuite.PLAINTEXT, id="dev", marks=pytest.mark.shows("same-semantics")),
    pytest.param(ss.TlsSuite.TLS_1_3, id="tls", marks=[pytest.mark.tls, pytest.mark.shows("same-over-tls")]),
]


@pytest.fixture(params=BOTH_PROFILES)
def suite(request: pytest.FixtureRequest) -> AnySuite:
    """Each record cipher, and none."""
    suite: AnySuite = request.param
    return suite


@pytest.fixture
def configs(suite: AnySuite) -> Configs:
    """Both sides, with one suite."""
    return matching_configs(suite)


@pytest.fixture(params=list(ss.Suite), ids=lambda suite: str(suite.name))
def keyed_configs(request: pytest.FixtureRequest) -> Configs:
    """Both sides with one suite, for what is about their keys: the profile dev has none."""
    return matching_configs(ss.Suite(request.param))


@pytest.fixture(params=[memory_pair, lockstep_pair, socket_pair], ids=["memory", "lockstep", "socket"])
def make_transports(request: pytest.FixtureRequest) -> Callable[[], Awaitable[Transports]]:
    """Transports of each kind: with buffers, without, and one that knows how much it has sent."""
    make: Callable[[], Awaitable[Transports]] = request.param
    return make
