"""What the tests against the Node peer share: its programs, run as processes of their own and never left behind.

The peer in `examples/node-peer` was written from `docs/protocol.md` alone. It needs Node and `npm ci` in its folder.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import securestream as ss

from ..cli.support import process, read_all, read_line
from ..programs.support import missing, need

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import trio

    from securestream.protocol.hybrid import ClientPostQuantum, PostQuantum

PEER = Path(ss.__file__).parents[1] / "examples" / "node-peer"
DRIVER = Path(__file__).with_name("driver.js")

Event = dict[str, "str | int | bool | None"]
Steps = list[list["str | int"]]
"""What a driver does once it is connected: the name of a step and its values."""


def require_node() -> None:
    """Skips where Node or the peer's packages are missing; where everything has to be there, fails."""
    need("node")
    if not (PEER / "node_modules").is_dir():
        missing("`npm ci` has not been run in examples/node-peer")


@dataclass(frozen=True)
class Both:
    """The keys and the secret of one client and one server, whichever language they are in."""

    client: ss.PrivateKey
    server: ss.PrivateKey
    secret: ss.SharedSecret | None
    suite: ss.Suite
    middlebox: ss.PublicKey | None = None
    client_wants: ClientPostQuantum = "prefer"
    server_wants: PostQuantum = "prefer"

    @classmethod
    def fresh(cls, suite: ss.Suite = ss.Suite.AEGIS_256, *, with_secret: bool = False) -> Both:
        secret = ss.SharedSecret.generate() if with_secret else None
        return cls(ss.PrivateKey.generate(), ss.PrivateKey.generate(), secret, suite)

    def client_config(self) -> ss.ClientConfig:
        return ss.ClientConfig(
            key=self.client,
            server_key=self.server.public_key,
            middlebox_key=self.middlebox,
            secret=self.secret,
            suites=[self.suite],
            post_quantum=self.client_wants,
        )

    def server_config(self) -> ss.ServerConfig:
        return ss.ServerConfig(
            key=self.server,
            authorize=ss.AuthorizedPeers([self.client.public_key]),
            secrets=[self.secret] if self.secret else (),
            require_secret=self.secret is not None,
            suites=[self.suite],
            post_quantum=self.server_wants,
        )

    def node_client(self, port: int) -> dict[str, object]:
        """The settings of a client in Node."""
        own = {"key": self.client.to_text(), "serverKey": str(self.server.public_key), "suites": [int(self.suite)]}
        secret = {} if self.secret is None else {"secret": self.secret.to_text()}
        middlebox = {} if self.middlebox is None else {"middleboxKey": str(self.middlebox)}
        where = {"host": "127.0.0.1", "port": port, "postQuantum": self.client_wants}
        return {**where, **own, **secret, **middlebox}

    def node_server(self) -> dict[str, object]:
        """The settings of a server in Node."""
        secrets = [] if self.secret is None else [self.secret.to_text()]
        clients = [str(self.client.public_key)]
        own = {"key": self.server.to_text(), "suites": [int(self.suite)], "postQuantum": self.server_wants}
        return {**own, "clients": clients, "secrets": secrets}


class Node:
    """A driver that runs, and what it has reported."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process

    async def next_event(self) -> Event:
        event: Event = json.loads(await read_line(self._process))
        return event

    async def other_events(self) -> list[Event]:
        """All that it still reports until it ends by itself; it must have nothing to complain of."""
        lines = (await read_all(self._process.stdout)).decode().splitlines()
        complaints = (await read_all(self._process.stderr)).decode()
        assert (await self._process.wait(), complaints) == (0, "")
        return [json.loads(line) for line in lines]


@asynccontextmanager
async def node(role: str, settings: dict[str, object], steps: Steps) -> AsyncIterator[Node]:
    """The driver in that role while it runs."""
    require_node()
    async with process(["node", str(DRIVER)]) as started:
        assert started.stdin is not None
        task = {"role": role, "settings": settings, "steps": steps}
        await started.stdin.send_all(json.dumps(task).encode())
        await started.stdin.aclose()
        yield Node(started)


@asynccontextmanager
async def node_server(both: Both, steps: Steps, **more: object) -> AsyncIterator[tuple[Node, int]]:
    """A server in Node for one client, and its port."""
    async with node("server", {**both.node_server(), **more}, steps) as started:
        event = await started.next_event()
        assert event["event"] == "listening"
        yield started, int(event["port"] or 0)
