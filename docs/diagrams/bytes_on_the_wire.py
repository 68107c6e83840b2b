"""What lies where in a frame and in a record, as boxes of bytes. Sizes are the code's."""

from __future__ import annotations

from dataclasses import dataclass

from pen import LINE, WIDTH, Drawing

from securestream.protocol.hybrid import CIPHERTEXT_SIZE
from securestream.protocol.hybrid import ENCAPSULATION_KEY_SIZE as E1
from securestream.protocol.keys import KEY_SIZE
from securestream.protocol.messages import FRAME_HEADER_SIZE, MAGIC, MAX_PAYLOAD, ROUTE_SIZE
from securestream.protocol.noise import TAG_SIZE
from securestream.protocol.suites import LENGTH_SIZE, MAX_RECORD, PLAIN_HEADER_SIZE, AegisSealer, SecretStreamSealer

HEIGHT = 40


@dataclass(frozen=True)
class Field:
    """Some bytes: what they are, how many, and how wide they are drawn beside the others."""

    name: str
    size: str
    share: float
    sealed: bool = False


@dataclass(frozen=True)
class Row:
    """Fields that follow one another, below a heading and above remarks, a line each."""

    heading: str
    fields: tuple[Field, ...]
    remarks: tuple[str, ...] = ()


def bytes_drawing(title: str, rows: tuple[Row, ...]) -> str:
    drawing, y = Drawing(title), 1.0
    for row in rows:
        drawing.text(1, y + 11, row.heading, style="strong")
        draw_fields(drawing, row.fields, y + 18)
        y += 18 + HEIGHT
        for remark in row.remarks:
            y += LINE
            drawing.text(1, y, remark, style="small")
        y += 20
    return drawing.svg(y - 12)


def draw_fields(drawing: Drawing, fields: tuple[Field, ...], top: float) -> None:
    unit, x = (WIDTH - 2) / sum(field.share for field in fields), 1.0
    for field in fields:
        width = field.share * unit
        drawing.box(x, top, width, HEIGHT, "tint" if field.sealed else "line", 0)
        drawing.text(x + width / 2, top + 17, field.name, "middle", "small")
        drawing.text(x + width / 2, top + 32, field.size, "middle", "small mono")
        x += width


LENGTH = Field("length", str(LENGTH_SIZE), 9)
KIND = Field("kind", str(FRAME_HEADER_SIZE - LENGTH_SIZE), 7)
SESSION_KEY = Field("e", str(KEY_SIZE), 10)
TINTED = "grey: sealed"


def hello() -> str:
    header = (
        Field("magic", str(len(MAGIC)), 9),
        Field("mode", "1", 8),
        Field("count", "1", 8),
        Field("suites", "count", 9),
        Field("route", str(ROUTE_SIZE), 10, sealed=True),
    )
    secret = Field("tag", str(TAG_SIZE), 8, sealed=True)
    return bytes_drawing(
        "Hello, byte by byte",
        (
            Row("hello", (LENGTH, KIND, Field("header", "54 + count", 18), Field("noise1", "32, 48, ...", 18))),
            Row("header", header, (f"{TINTED}, for one reader: the router, or the server itself",)),
            Row(
                "noise1",
                (SESSION_KEY, secret),
                (
                    "e: a fresh key. The tag is there with a shared secret only",
                    f"hybrid: e1 behind e, {E1:,} bytes, with a secret {E1 + TAG_SIZE:,}",
                ),
            ),
        ),
    )


def challenge_and_response() -> str:
    key = Field("long-term key", f"{KEY_SIZE} + {TAG_SIZE}", 17, sealed=True)
    payload = Field("payload", f"n + {TAG_SIZE}", 17, sealed=True)
    return bytes_drawing(
        "Challenge and response, byte by byte",
        (
            Row(
                "challenge",
                (LENGTH, KIND, SESSION_KEY, key, payload),
                (
                    "payload: the suite, the server's credentials",
                    f"hybrid: ekem1 behind e, {CIPHERTEXT_SIZE + TAG_SIZE:,} bytes",
                ),
            ),
            Row(
                "response",
                (LENGTH, KIND, key, payload),
                (f"payload: credentials, at most {MAX_PAYLOAD:,} bytes",),
            ),
        ),
    )


def record() -> str:
    plain = (
        Field("size", "2", 8, sealed=True),
        Field("type", "1", 8, sealed=True),
        Field("content", "size - 3", 20, sealed=True),
        Field("padding", "zeros", 14, sealed=True),
    )
    assert PLAIN_HEADER_SIZE == 3  # size and type
    secretstream = SecretStreamSealer.tag_size
    least = [LENGTH_SIZE + PLAIN_HEADER_SIZE + size for size in (AegisSealer.tag_size, secretstream)]
    return bytes_drawing(
        "A record, byte by byte",
        (
            Row(
                "with AEGIS-256",
                (LENGTH, *plain, Field("tag", str(AegisSealer.tag_size), 8)),
                (f"{TINTED}. At most {MAX_RECORD:,} bytes, everything included",),
            ),
            Row(
                "with secretstream",
                (LENGTH, Field("tag", "1", 8, sealed=True), *plain, Field("MAC", str(secretstream - 1), 9)),
                (f"so an empty record has {least[0]} bytes, or {least[1]}",),
            ),
        ),
    )
