"""Draw a part of a text, coloured by a unit, as a page in HTML or as a picture in SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from edgernn.contract import Array
from edgernn.runtime.units.finding import Finding
from edgernn.runtime.units.properties import TAB
from edgernn.runtime.units.recording import Recording
from edgernn.runtime.units.shades import STEPS, Scale, colour, runs, window
from edgernn.runtime.units.unit import Unit

__all__ = ["FORMATS", "Drawing", "draw_finding", "draw_unit", "expanded", "page", "picture"]

FORMATS = (".html", ".svg")


@dataclass(frozen=True)
class Drawing:
    """A part of a text and the shades of a unit over it.

    title: what is drawn. note: a sentence about it. text: the part, with each tab as spaces. shades: from -1 to 1
    (characters,). holds: whether the property holds (characters,), which is underlined; None for one that is a number.
    """

    title: str
    note: str
    scale: Scale
    text: str
    shades: Array
    holds: Array | None


def draw_finding(recording: Recording, finding: Finding, length: int) -> Drawing:
    """Draw a property's unit over about `length` characters of the second half, where the property varies most."""
    truth = finding.property(recording.text)
    part = window(recording.text, truth, int(recording.places[recording.half]), length)
    form = ".1%" if finding.threshold is not None else ".2f"
    shuffled = "" if finding.baseline is None else f", {finding.baseline:{form}} if shuffled"
    meaning = finding.property.meaning
    note = f"{meaning[:1].upper()}{meaning[1:]}: {finding.kind} {finding.score:{form}}{shuffled}"
    title = f"{finding.property.name}: unit {finding.unit}"
    holds = truth if truth.dtype == bool else None
    return _drawing(recording, finding.unit, title, note, part, finding, holds)


def draw_unit(recording: Recording, unit: Unit, length: int) -> Drawing:
    """Draw any unit over about `length` characters of the second half, where it varies most."""
    values = recording.of_characters(recording.values[:, unit.number])
    part = window(recording.text, values, int(recording.places[recording.half]), length)
    return _drawing(recording, unit, f"unit {unit}", "Red is high and blue is low", part)


def _drawing(
    recording: Recording,
    unit: Unit,
    title: str,
    note: str,
    part: slice,
    finding: Finding | None = None,
    holds: Array | None = None,
) -> Drawing:
    values = recording.values[:, unit.number]
    scale = Scale.of(values, finding)
    shades = recording.of_characters(scale(values))[part]
    text, times = expanded(recording.text[part])
    marks = None if holds is None else np.repeat(holds[part], times)
    return Drawing(title, note, scale, text, np.repeat(shades, times), marks)


def expanded(text: str) -> tuple[str, Array]:
    """Return a text with each tab as spaces, up to the next multiple of eight, and the width of each character."""
    column, widths = 0, []
    for character in text:
        widths.append(TAB - column % TAB if character == "\t" else 1)
        column = 0 if character == "\n" else column + widths[-1]
    parts = (" " * width if character == "\t" else character for character, width in zip(text, widths, strict=True))
    return "".join(parts), np.array(widths, int)


def page(title: str, notes: Sequence[str], drawings: Sequence[Drawing]) -> str:
    """Return a page in HTML that needs no other file and no script."""
    shades = "\n".join(f".{_class(level)} {{ background: {colour(level)} }}" for level in range(-STEPS, STEPS + 1))
    parts = "\n".join(map(_section, drawings))
    about = "\n".join(f"<p>{escape(note)}</p>" for note in notes)
    return _PAGE.format(title=escape(title), shades=shades, about=about, parts=parts)


def _section(drawing: Drawing) -> str:
    marked = (_span(run, level, mark) for run, level, mark in runs(drawing.text, drawing.shades, drawing.holds))
    legend = "".join(f'<i class="{_class(level)}"> </i>' for level in range(-STEPS, STEPS + 1))
    scale = drawing.scale
    return (
        f"<h2>{escape(drawing.title)}</h2>\n<p>{escape(drawing.note)}.</p>\n"
        f"<p>{scale.blue:.2f} {legend} {scale.red:.2f}; white is {scale.white:.2f}</p>\n<pre>{''.join(marked)}</pre>"
    )


def _span(run: str, level: int, mark: bool) -> str:
    if run == "\n":
        return "\n"
    written = escape(_written(run))
    inner = f"<u>{written}</u>" if mark else written
    return f'<i class="{_class(level)}">{inner}</i>'


def _class(level: int) -> str:
    return f"{'r' if level >= 0 else 'b'}{abs(level)}"


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ background: white; color: black; font-family: sans-serif; margin: 2em; }}
pre {{ font-family: monospace; line-height: 1.4; overflow-x: auto; }}
i {{ font-style: normal; white-space: pre; }}
u {{ text-decoration-thickness: 2px; text-underline-offset: 3px; }}
{shades}
</style>
</head>
<body>
<h1>{title}</h1>
{about}
{parts}
</body>
</html>
"""


def picture(drawings: Sequence[Drawing]) -> str:
    """Return the drawings, one below the other, as a picture in SVG that needs no other file."""
    parts: list[str] = []
    top = widest = 0
    for drawing in drawings:
        lines = drawing.text.rstrip("\n").split("\n")
        parts += [_text(top, drawing.title, 'font-weight="bold"'), *_cells(drawing, top + 1)]
        parts += [_text(top + 1 + row, line, f'textLength="{_x(len(line))}"') for row, line in enumerate(lines) if line]
        widest = max(widest, len(drawing.title), *map(len, lines))
        top += len(lines) + 2
    return _PICTURE.format(width=_x(widest + 2), height=(top - 1) * _HIGH + 12, parts="\n".join(parts))


def _cells(drawing: Drawing, top: int) -> Iterator[str]:
    """The coloured backgrounds of a drawing whose first line is `top`, and the lines below what is underlined."""
    column, row = 0, top
    for run, level, mark in runs(drawing.text, drawing.shades, drawing.holds):
        if run == "\n":
            column, row = 0, row + 1
            continue
        place = f'x="{_x(column + 1)}" width="{_x(len(run))}"'
        yield f'<rect {place} y="{row * _HIGH + 5}" height="{_HIGH}" fill="{colour(level)}"/>'
        if mark:
            yield f'<rect {place} y="{row * _HIGH + _HIGH + 2}" height="2"/>'
        column += len(run)


def _text(row: int, text: str, attributes: str) -> str:
    place = f'x="{_x(1)}" y="{(row + 1) * _HIGH}"'
    return f'<text {place} xml:space="preserve" {attributes}>{escape(_written(text))}</text>'


def _x(columns: int) -> str:
    """The width of so many characters, in pixels."""
    return f"{columns * _WIDE:g}"


def _written(text: str) -> str:
    """A text without what XML cannot hold: control characters are shown as U+FFFD."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


_WIDE, _HIGH = 7.8, 18  # of a character, in pixels
_PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">
<style>text {{ font-family: monospace; font-size: 13px; }}</style>
<rect width="100%" height="100%" fill="white"/>
{parts}
</svg>
"""
