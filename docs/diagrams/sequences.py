"""Who says what to whom, in order: the handshake, and the attack on the one of 2021."""

from __future__ import annotations

from dataclasses import dataclass

from pen import LINE, WIDTH, Drawing

CLIENT, ATTACKER, SERVER = "client", "attacker", "server"
MARGIN = 34  # from a party's line to the edge of the drawing


@dataclass(frozen=True)
class Said:
    """A message from one party to another; `notes` stand below it."""

    sender: str
    receiver: str
    what: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Thought:
    """What one party does or knows at this point."""

    notes: tuple[str, ...]


def sequence(title: str, parties: tuple[str, ...], steps: tuple[Said | Thought, ...]) -> str:
    drawing = Drawing(title)
    step = (WIDTH - 2 * MARGIN) / (len(parties) - 1)
    places = {party: MARGIN + number * step for number, party in enumerate(parties)}
    for party, x in places.items():
        drawing.box(x - MARGIN + 1, 1, 2 * MARGIN - 2, 22, "tint")
        drawing.text(x, 16, party, "middle", "strong")
    y = 23.0
    for item in steps:
        y = draw_step(drawing, places, item, y)
    return drawing.svg(y + 6)


def draw_step(drawing: Drawing, places: dict[str, float], item: Said | Thought, top: float) -> float:
    """Draws what happens next, and gives where it ends. The parties' lines break where there is text."""
    y = top
    if isinstance(item, Said):
        y += 34
        for x in places.values():
            drawing.line(x, top, x, y + 6, "faint")
        x1, x2 = places[item.sender], places[item.receiver]
        drawing.text((x1 + x2) / 2, y - 6, item.what, "middle", "strong")
        drawing.arrow(x1, y, x2, y)
        y += 6
    else:
        for x in places.values():
            drawing.line(x, top, x, top + 10, "faint")
        y += 10
    for note in item.notes:
        y += LINE
        drawing.text(WIDTH / 2, y - 2, note, "middle", "small")
    return y + (4 if item.notes else 0)


HANDSHAKE = (
    Said(
        CLIENT,
        SERVER,
        "hello",
        ("a fresh key e, the suites, the sealed route", "with a shared secret: a tag made with it"),
    ),
    Said(
        SERVER,
        CLIENT,
        "challenge",
        ("a fresh key e; sealed: the server's key, the suite", "proved by ee and es"),
    ),
    Thought(("the client judges the server's key", "before it shows its own")),
    Said(CLIENT, SERVER, "response", ("sealed: the client's key, its credentials", "proved by se")),
    Thought(("both have the record keys;", "the server asks authorize")),
    Said(SERVER, CLIENT, "ACCEPT, or an alert", ("a record of 512 bytes either way",)),
    Said(CLIENT, SERVER, "records"),
    Said(SERVER, CLIENT, "records"),
)


def handshake() -> str:
    title = "The handshake: hello, challenge, response, verdict, records"
    return sequence(title, (CLIENT, SERVER), HANDSHAKE)


ATTACK = (
    Said(CLIENT, ATTACKER, "hello: C", ("C is the client's session key",)),
    Said(ATTACKER, SERVER, "hello: C", ("handed on as it came",)),
    Said(
        SERVER,
        ATTACKER,
        "challenge",
        ("S, box(S, C: server's key), box(server's key, C: C)", "the last is the proof: it covers C, and not S"),
    ),
    Thought(("he says hello once more, with a key of his own,", "and so learns the server's public key")),
    Said(
        ATTACKER,
        CLIENT,
        "forged",
        ("A, box(A, C: server's key), box(server's key, C: C)", "A is his session key; the proof is the genuine one"),
    ),
    Thought(
        (
            "the client checks the proof: it holds, for the server",
            "has made it, for C. Nothing says that A isn't the server's",
        )
    ),
    Said(
        CLIENT,
        ATTACKER,
        "response",
        ("keys are made of C and A alone, so he has them", "and reads what the client sends"),
    ),
)


def attack_of_2021() -> str:
    title = "The attack of 2021: a man in the middle moves the server's proof to a session key of his own"
    return sequence(title, (CLIENT, ATTACKER, SERVER), ATTACK)
