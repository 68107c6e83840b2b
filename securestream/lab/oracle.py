"""`lab oracle`: a secret beside a stranger's text, compressed together and then encrypted (BREACH).

Theory of operation
-------------------

A server compresses pages that hold a secret and a text that came with the request. The attacker can make the victim's
browser send requests with texts of his choice, and sees how long the answers are on the wire (Gluck, Harris, Prado:
"BREACH: reviving the CRIME attack", 2013). A text that repeats the secret and one right symbol more compresses
better, by less than a byte. He guesses symbol by symbol: 16 candidates, so chance is 1/16.

Padding stands in his way, and he gets round it as well as he can:

    single         asks once for each candidate and takes the shortest answer
    fillers:K      puts K random fillers of 1 to K letters in front, one after the other, and adds up. That moves the
                   length across the steps of a rounding. Each candidate is also asked for out of its place, which
                   takes out that some letters have shorter codes than others
    minimum:N      asks N times each, and takes the shortest: what is drawn afresh wears off
    cliff          makes the page longer until one letter more takes the padded length over its next step, and
                   asks there: a byte less is then a whole step less

All of it goes through a real `SecureStream`, and only the sizes of records behind the handshake are looked at.
"""

from __future__ import annotations

import contextlib
import math
import string
import zlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from .policies import lab_policy
from .results import generator
from .wire import RecordedPair, recorded_pair, run_in_virtual_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    import numpy as np

    from ..protocol.padding import PaddingPolicy

    Ask = Callable[[str], Awaitable[int]]  # a text; the length of the answer on the wire
    Guess = Callable[[Ask, str, np.random.Generator], Awaitable[str]]

ALPHABET = "0123456789abcdef"
CHANCE = 1 / len(ALPHABET)
SECRET_SIZE = 32  # symbols
MARK = "{}"  # stands nowhere in the page and in no secret
LETTERS = string.ascii_letters + "+/"
MAX_FILLER = 24_000  # letters, of 6 bits each: more than a full record
HEADER = 4  # bytes of length in front of requests and answers

FORM = 'name="csrf" value="'
_TOP = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Search</title>'
    '<link rel="stylesheet" href="/main.css"></head><body><nav><a href="/">Home</a> <a href="/orders">Orders</a> '
    '<a href="/account">Account</a> <a href="/help">Help</a></nav><h1>Search</h1><p>No results for <q>'
)
_MIDDLE = (
    '</q>. Try fewer words, or look at <a href="/orders/recent">recent orders</a>.</p>'
    f'<form method="post" action="/search"><input type="hidden" {FORM}'
)
_END = (
    '"><input name="query"><button>Search again</button></form><footer><p>Customers who looked for this have also '
    "looked for shoes, lamps, kettles and garden chairs. Prices are in euros and include the taxes of your country. "
    'Delivery takes two to four days.</p><a href="/terms">Terms</a> <a href="/privacy">Privacy</a></footer></body>'
)


def page(secret: str, text: str) -> bytes:
    """What the server answers, before it is compressed."""
    return f"{_TOP}{text}{_MIDDLE}{secret}{_END}".encode()


# --- the victim -------------------------------------------------------------------------------------


class Victim:
    """A browser and its server. `ask(text)` is one request: the bytes of the answer's records."""

    def __init__(self, pair: RecordedPair) -> None:
        self._pair = pair
        self.requests: int = 0

    async def ask(self, text: str) -> int:
        self.requests += 1
        self._pair.wire.records.clear()
        await _send(self._pair.client, text.encode())
        await _receive(self._pair.client)
        return sum(self._pair.wire.sizes(outgoing=False))


@contextlib.asynccontextmanager
async def victim(policy: PaddingPolicy, secret: str) -> AsyncIterator[Victim]:
    """A connection on which the server pads by `policy`."""
    async with recorded_pair(server_padding=policy) as pair, trio.open_nursery() as nursery:
        nursery.start_soon(_serve, pair, secret)
        yield Victim(pair)
        nursery.cancel_scope.cancel()


async def _serve(pair: RecordedPair, secret: str) -> None:
    while True:
        text = await _receive(pair.server)
        await _send(pair.server, zlib.compress(page(secret, text.decode())))


async def _send(stream: trio.abc.SendStream, body: bytes) -> None:
    await stream.send_all(len(body).to_bytes(HEADER, "little") + body)


async def _receive(stream: trio.abc.ReceiveStream) -> bytes:
    """One message of `_send`: the two ends take turns, so nothing comes behind it."""
    data = bytearray()
    while len(data) < HEADER or len(data) < HEADER + int.from_bytes(data[:HEADER], "little"):
        chunk = await stream.receive_some()
        if not chunk:
            raise EOFError("the other end has left")
        data += chunk
    return bytes(data[HEADER:])


# --- the attackers ----------------------------------------------------------------------------------


async def single(ask: Ask, known: str, rng: np.random.Generator) -> str:
    """One request a candidate."""
    return _shortest({symbol: await ask(FORM + known + symbol) for symbol in ALPHABET}, rng)


async def fillers(ask: Ask, known: str, rng: np.random.Generator, *, count: int) -> str:
    """Two requests a candidate and filler: with the symbol in its place, and behind a mark."""
    lengths = dict.fromkeys(ALPHABET, 0)
    for size in range(1, count + 1):
        filler = _filler(rng, size)
        for symbol in ALPHABET:
            lengths[symbol] += await ask(filler + FORM + known + symbol + MARK)
            lengths[symbol] -= await ask(filler + FORM + known + MARK + symbol)
    return _shortest(lengths, rng)


async def minimum(ask: Ask, known: str, rng: np.random.Generator, *, samples: int) -> str:
    """`samples` requests for each of what `fillers` asks, with two fillers."""

    async def shortest(text: str) -> int:
        return min([await ask(text) for _ in range(samples)])

    return await fillers(shortest, known, rng, count=2)


async def cliff(ask: Ask, known: str, rng: np.random.Generator) -> str:
    """Looks for the step with a symbol that is surely wrong, then asks for all around it, four times over with
    other letters."""
    lengths = dict.fromkeys(ALPHABET, 0)
    for _ in range(4):
        letters = _filler(rng, MAX_FILLER)
        edge = await _edge(ask, letters, known)
        for symbol in ALPHABET:
            for size in range(max(0, edge - 2), edge + 3):
                lengths[symbol] += await ask(letters[:size] + FORM + known + symbol + MARK)
                lengths[symbol] -= await ask(letters[:size] + FORM + known + MARK + symbol)
    return _shortest(lengths, rng)


async def _edge(ask: Ask, letters: str, known: str) -> int:
    """The number of letters from which on the answer is longer than without any, by halving."""
    low, high = 0, 1
    least = await ask(FORM + known + MARK)
    while high < len(letters) and await ask(letters[:high] + FORM + known + MARK) <= least:
        low, high = high, 2 * high
    high = min(high, len(letters))
    while high - low > 1:
        middle = (low + high) // 2
        longer = await ask(letters[:middle] + FORM + known + MARK) > least
        low, high = (low, middle) if longer else (middle, high)
    return high


def _filler(rng: np.random.Generator, size: int) -> str:
    return "".join(LETTERS[place] for place in rng.integers(len(LETTERS), size=size))


def _shortest(lengths: Mapping[str, int], rng: np.random.Generator) -> str:
    """Where several are as short, one of them by chance."""
    least = min(lengths.values())
    candidates = [symbol for symbol, length in lengths.items() if length == least]
    return candidates[int(rng.integers(len(candidates)))]


ATTACKERS: Mapping[str, Guess] = {
    "single": single,
    **{f"fillers:{count}": partial(fillers, count=count) for count in (4, 16, 64)},
    **{f"minimum:{samples}": partial(minimum, samples=samples) for samples in (16, 64)},
    "cliff": cliff,
}
POLICIES = (
    *("none", "full", "block:128", "block:512", "power-of-two", "padme"),
    *("random:32", "random:512", "keyed:32", "keyed:512"),
)


# --- the experiment ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class OracleRow:
    """One attacker against one policy: `trials` symbols, each of a secret of its own, some of which is known already.

    `low` and `high` bound the chance of guessing right, with a confidence of 95 % (Wilson). `requests_per_byte` is what
    a byte of the secret costs, two symbols: all requests by all right guesses; None where the attacker is no better
    than chance, as far as the trials show.
    """

    policy: str
    attacker: str
    trials: int
    correct: int
    requests: int
    success: float
    low: float
    high: float
    chance: float
    requests_per_byte: float | None


def attack(policy: str, attacker: str, trials: int, seed: int) -> OracleRow:
    """`attacker` is one of `ATTACKERS`, `policy` a name. Raises `ValueError` when the policy misbehaves."""
    found = [run_in_virtual_time(partial(_trial, policy, attacker, seed, number)) for number in range(trials)]
    correct = sum(right for right, _ in found)
    requests = sum(asked for _, asked in found)
    low, high = wilson(correct, trials)
    return OracleRow(
        policy=policy,
        attacker=attacker,
        trials=trials,
        correct=correct,
        requests=requests // trials,
        success=correct / trials,
        low=low,
        high=high,
        chance=CHANCE,
        requests_per_byte=2 * requests / correct if low > CHANCE else None,
    )


async def _trial(policy: str, attacker: str, seed: int, number: int) -> tuple[bool, int]:
    """Whether the guess was right, and what it cost."""
    rng = generator(seed, "oracle", policy, attacker, str(number))
    secret = "".join(ALPHABET[place] for place in rng.integers(len(ALPHABET), size=SECRET_SIZE))
    known = int(rng.integers(SECRET_SIZE))
    async with victim(lab_policy(policy, int(rng.integers(2**32))), secret) as server:
        guess = await ATTACKERS[attacker](server.ask, secret[:known], rng)
        return guess == secret[known], server.requests


def wilson(correct: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval for a chance of which `correct` of `trials` is known."""
    share, weight = correct / trials, z * z / trials
    middle = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / trials + weight / trials / 4) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)
