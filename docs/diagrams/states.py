"""The handshake's states, laid out from its table of transitions."""

from __future__ import annotations

from pen import Drawing

from securestream.protocol.handshake import TRANSITIONS, State, Step

BOX, HEIGHT, GAP = 150, 30, 36
LEFT, FAILED_LEFT = 1, 250


def way_through() -> list[tuple[Step | None, State]]:
    """The states from the start on, each with the step that leads to it, failures aside."""
    way: list[tuple[Step | None, State]] = [(None, State.START)]
    while following := [
        (step, to) for (state, step), to in TRANSITIONS.items() if state is way[-1][1] and step is not Step.FAIL
    ]:
        ((step, to),) = following  # a table that branches needs another drawing
        way.append((step, to))
    return way


def words(member: State | Step) -> str:
    return member.name.lower().replace("_", " ")


def handshake_states() -> str:
    drawing = Drawing("States of the handshake, and the steps that lead from one to the next")
    rows = {}
    for number, (step, state) in enumerate(way_through()):
        rows[state] = top = 1 + number * (HEIGHT + GAP)
        drawing.box(LEFT, top, BOX, HEIGHT, "tint", 15)
        drawing.text(LEFT + BOX / 2, top + 20, words(state), "middle", "strong")
        if step is not None:
            drawing.arrow(LEFT + BOX / 2, top - GAP, LEFT + BOX / 2, top)
            drawing.text(LEFT + BOX / 2 + 8, top - GAP / 2 + 4, words(step))
    draw_failures(drawing, rows)
    return drawing.svg(max(rows.values()) + HEIGHT + 1)


def draw_failures(drawing: Drawing, rows: dict[State, int]) -> None:
    failing = [rows[state] for (state, step) in TRANSITIONS if step is Step.FAIL]
    for top in failing:
        drawing.arrow(LEFT + BOX, top + HEIGHT / 2, FAILED_LEFT, top + HEIGHT / 2)
        drawing.text((LEFT + BOX + FAILED_LEFT) / 2, top + HEIGHT / 2 - 6, words(Step.FAIL), "middle")
    height = max(failing) - min(failing) + HEIGHT
    drawing.box(FAILED_LEFT, min(failing), 109, height, "tint", 15)
    drawing.text(FAILED_LEFT + 54, min(failing) + height / 2 + 4, words(State.FAILED), "middle", "strong")
