"""The layers: each wraps the one below it."""

from __future__ import annotations

from pen import LINE, WIDTH, Drawing

STACK = (
    ("your program", "a handler, or what takes a Trio stream"),
    ("service/", "connects, serves, pools, relays, routes"),
    ("SecureStream", "16 KB padded records, alerts, a true end"),
    ("wrap_client, wrap_server", "hello, challenge, response"),
    ("transport", "TCP, a Unix socket: any Trio stream"),
)
HEIGHT, GAP = 44, 14
WIDE, NARROW = 260, 82


def layers() -> str:
    drawing = Drawing("Layers: your program, service, SecureStream, wrap, transport; protocol and trust beside them")
    for number, (name, what) in enumerate(STACK):
        top = 1 + number * (HEIGHT + GAP)
        drawing.box(1, top, WIDE, HEIGHT, "tint")
        drawing.text(10, top + 18, name, style="strong")
        drawing.text(10, top + 18 + LINE, what, style="small")
        if number:
            drawing.arrow(WIDE / 2, top - GAP, WIDE / 2, top)
    beside(drawing, 1, 2, ("trust/", "who is let in"))
    beside(drawing, 2, 4, ("protocol/", "bytes in,", "bytes out;", "no I/O,", "no clock"))
    return drawing.svg(len(STACK) * (HEIGHT + GAP) - GAP + 2)


def beside(drawing: Drawing, first: int, end: int, lines: tuple[str, ...]) -> None:
    """What the layers from `first` to before `end` use."""
    top = 1 + first * (HEIGHT + GAP)
    height = (end - first) * (HEIGHT + GAP) - GAP
    drawing.box(WIDTH - 1 - NARROW, top, NARROW, height, "tint")
    for number, line in enumerate(lines):
        drawing.text(
            WIDTH - NARROW + 6, top + LINE + number * (LINE - 2), line, style="small" if number else "small strong"
        )
    for number in range(first, end):
        y = 1 + number * (HEIGHT + GAP) + HEIGHT / 2
        drawing.arrow(1 + WIDE, y, WIDTH - 1 - NARROW, y)
