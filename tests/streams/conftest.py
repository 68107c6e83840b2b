"""What the tests of the streams are run over: both suites, and transports that differ where it matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import securestream as ss

from .support import Configs, matching_configs
from .transports import Tls, Transports, close_sockets, lockstep_pair, memory_pair, socket_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


@pytest.fixture(autouse=True)
def sockets() -> Iterator[None]:
    """Sockets of a test end with it, also where the test is about a peer that never closes."""
    yield
    close_sockets()


@pytest.fixture(scope="session")
def tls() -> Tls:
    """TLS with an authority of its own."""
    return Tls()


@pytest.fixture(params=list(ss.Suite), ids=lambda suite: str(suite.name))
def suite(request: pytest.FixtureRequest) -> ss.Suite:
    """Each record cipher."""
    return ss.Suite(request.param)


@pytest.fixture
def configs(suite: ss.Suite) -> Configs:
    """Both sides, with one suite."""
    return matching_configs(suite)


@pytest.fixture(params=[memory_pair, lockstep_pair, socket_pair], ids=["memory", "lockstep", "socket"])
def make_transports(request: pytest.FixtureRequest) -> Callable[[], Awaitable[Transports]]:
    """Transports of each kind: with buffers, without, and one that knows how much it has sent."""
    make: Callable[[], Awaitable[Transports]] = request.param
    return make
