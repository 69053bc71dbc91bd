"""`edgernn cells`: which units of a language model can be interpreted, and what holding them changes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgernn.cli.console import Json, progress, result
from edgernn.cli.load import CellFile, load_model, load_run, refuse_cell, run_model
from edgernn.cli.options import Given
from edgernn.cli.shades import paint, shows_colours
from edgernn.errors import ConfigError, OutputError, counted
from edgernn.execution import Execution
from edgernn.media.text import TextFormat, read_pieces
from edgernn.paths import Kind, identify, refusal
from edgernn.settings import option

if TYPE_CHECKING:
    from edgernn.runtime import Model
    from edgernn.runtime.units.drawing import Drawing
    from edgernn.runtime.units.finding import Finding
    from edgernn.runtime.units.holding import Held
    from edgernn.runtime.units.properties import Property
    from edgernn.runtime.units.recording import Recording
    from edgernn.runtime.units.unit import Unit

__all__ = ["CellsSettings", "cells"]

_UNKNOWN_CHOICES = ("refuse", "skip", "replace")  # as of the tokenizer, whose module is heavy to import
_STANDARD_INPUT = "-"


@dataclass(frozen=True, kw_only=True)
class CellsSettings(TextFormat):
    """Which text is read, for which properties units are sought, and what is drawn."""

    text: str = option("", "The text file that the model reads; - is standard input.")
    chars: int = option(50_000, "Read this many characters of the text at most.", low=1, high=10_000_000)
    unknown: str = option(
        "refuse",
        "What to do with characters of the text that are not in the vocabulary: refuse the text, skip them, or replace "
        "each with the unknown token.",
        choices=_UNKNOWN_CHOICES,
    )
    properties: tuple[str, ...] = option(
        (),
        "A property to find a unit for: the name of a built-in one; NAME=REGEX, which holds inside each match; or "
        "FILE.py:FUNCTION, a function that returns one value for each character of a text, whose file is executed. "
        "Can be given more than once.",
        flag="property",
        unset="all built-in ones",
    )
    unit: str | None = option(
        None, "Score and draw only this unit: its number, or its name, such as c.1.56.", unset="all units"
    )
    out: Path = option(Path("cells.html"), "The page (.html) or picture (.svg) to write.")
    length: int = option(600, "The number of characters to draw for each property.", low=1, high=1_000_000)
    clamp: bool = option(
        False,
        "Generate texts with each unit held as if its property holds and as if it does not, and measure how the texts "
        "differ.",
    )
    max_tokens: int = option(200, "With --clamp, the number of tokens of each generated text.", low=1, high=1_000_000)
    temperature: float = option(0.8, "With --clamp, the sampling temperature; 0 is greedy.", low=0, high=1e6)
    seed: int = option(0, "With --clamp, the seed of the random number generator.", low=0, below=2**63)


def cells(
    path: Annotated[
        Path, typer.Argument(metavar="RUN_OR_BUNDLE", help="The run or bundle of a language model.", show_default=False)
    ],
    *,
    cell: CellFile = None,
    given: Given,
    json: Json = False,
) -> None:
    """Find the units of a language model that indicate properties of a text, such as being inside a comment.

    For each property, a unit, its sign and its threshold are chosen on the first half of the text and scored on the
    second. The baseline is the score of units that are chosen in the same way after pieces of the property have been
    shuffled. The text is drawn in the colours of the unit, from blue to red, on the terminal and in a file.

    [bold]Example:[/bold] edgernn cells bundles/linux --text val.txt --out cells.html

    [bold]Example:[/bold] edgernn cells bundles/linux --text val.txt --property "number=[0-9]+" --clamp
    """
    settings = CellsSettings(**given.of(CellsSettings))
    _check(settings, given)
    from edgernn.runtime.pipelines.language import LanguagePipeline
    from edgernn.runtime.pipelines.pipeline import text_graph
    from edgernn.runtime.units.properties import PROPERTIES, named
    from edgernn.runtime.units.recording import record

    properties = [named(each) for each in settings.properties] or list(PROPERTIES.values())
    model = _load(path, cell, Execution(**given.of(Execution)))
    LanguagePipeline(model)  # raises an error that says so for a model that does not continue a text
    graph = text_graph(model)
    assert graph is not None
    text = _read(settings)
    unit = _unit(model, graph.name, settings)
    with progress("reading") as show:
        recording = record(model, text, graph=graph.name, unknown=settings.unknown, progress=show)
    findings, skipped = _find(recording, properties, unit, every=not settings.properties)
    held = _hold(model, recording, findings, settings, graph.name) if settings.clamp else []
    drawings = _drawings(recording, findings, unit, settings.length)
    read = f"{counted(len(text), 'character')} of {settings.text}, {counted(len(recording.units), 'unit')}; {_HALVES}"
    _write(drawings, read, settings.out)
    if not json and shows_colours():
        for each in drawings:
            print(each.title)
            paint(each)
    values = {
        **{"text": settings.text, "characters": len(text), "tokens": len(recording.tokens)},
        **{"units": len(recording.units), "properties": _to_json(findings, held)},
        **{"skipped": [{"name": name, "reason": reason} for name, reason in skipped.items()], "out": str(settings.out)},
    }
    lines = [read, *_table(findings), *skipped.values(), *_held_table(findings, held), str(settings.out)]
    result(values, "\n".join(lines), as_json=json)


def _check(settings: CellsSettings, given: Given) -> None:
    """Raise ConfigError for what is missing or cannot be, before anything is loaded."""
    if not settings.text:
        raise ConfigError("edgernn cells needs a text that the model reads: name a file with --text")
    if not settings.clamp:
        for flag in given.flags:
            if flag in ("--max-tokens", "--temperature", "--seed"):
                raise ConfigError(f"{flag} goes with --clamp: leave it out, or add --clamp")
    from edgernn.runtime.pipelines.pipeline import check_output
    from edgernn.runtime.units.drawing import FORMATS

    check_output("--out", settings.out, [Path(settings.text)], FORMATS)


def _load(path: Path, cell: str | None, execution: Execution) -> Model:
    found = identify(path)
    if found.kind is Kind.BUNDLE:
        refuse_cell(cell)
        return load_model(path, execution)
    if found.kind is not Kind.RUN:
        raise ConfigError(refusal(path, Kind.RUN, Kind.BUNDLE))
    return run_model(load_run(path, cell), execution)()


def _read(settings: CellsSettings) -> str:
    """The beginning of the text."""
    standard_input = settings.text == _STANDARD_INPUT
    source = sys.stdin.buffer.read() if standard_input else Path(settings.text)
    text = ""
    for piece in read_pieces(source, "standard input" if standard_input else settings.text, settings):
        text += piece
        if len(text) >= settings.chars:
            break
    return text[: settings.chars]


def _unit(model: Model, graph: str, settings: CellsSettings) -> Unit | None:
    from edgernn.runtime.units.unit import Units

    return None if settings.unit is None else Units(model.contract[graph]).find(settings.unit)


def _find(
    recording: Recording, properties: Sequence[Property], unit: Unit | None, *, every: bool
) -> tuple[list[Finding], dict[str, str]]:
    """Return what tells the properties, and why some are skipped: of built-in ones, those that the text lacks.

    every: whether the properties are the built-in ones and not asked for by name.
    """
    from edgernn.runtime.units.finding import Finder

    findings, skipped = [], {}
    with progress("finding units") as show:
        finder = Finder(recording, None if unit is None else [unit])
        for number, each in enumerate(properties):
            show(number / len(properties), each.name)
            try:
                findings.append(finder.find(each))
            except ConfigError as error:
                if not every:
                    raise
                skipped[each.name] = str(error)
    if not findings and unit is None:
        raise ConfigError(f"the text has none of the built-in properties: {next(iter(skipped.values()))}")
    return findings, skipped


def _hold(
    model: Model, recording: Recording, findings: Sequence[Finding], settings: CellsSettings, graph: str
) -> list[Held]:
    from edgernn.runtime.units.holding import hold
    from edgernn.sampling import Sampler

    sampler = Sampler(settings.temperature, seed=settings.seed)
    found = []
    with progress("generating") as show:
        for number, each in enumerate(findings):
            show(number / len(findings), each.property.name)
            found.append(hold(model, recording, each, sampler, settings.max_tokens, graph=graph))
    return found


def _drawings(recording: Recording, findings: Sequence[Finding], unit: Unit | None, length: int) -> list[Drawing]:
    from edgernn.runtime.units.drawing import draw_finding, draw_unit

    if unit is not None:
        return [draw_unit(recording, unit, length)]
    return [draw_finding(recording, each, length) for each in findings]


def _write(drawings: Sequence[Drawing], read: str, out: Path) -> None:
    from edgernn.atomic import replace_file
    from edgernn.runtime.units.drawing import page, picture

    as_page = out.suffix.lower() == ".html"
    content = page("Interpretable units", [f"{read}.", _COLOURS], drawings) if as_page else picture(drawings)
    try:
        replace_file(out, content.encode())
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from None


_HALVES = "chosen on the first half, scored on the second"
_COLOURS = (
    "Characters are red where the unit indicates that the property holds or is large, and underlined where the "
    "property holds."
)


def _table(findings: Sequence[Finding]) -> list[str]:
    """The findings as aligned lines, below a line of headings."""
    rows: list[tuple[str, ...]] = [
        ("property", "unit", "score", "shuffled", "the property holds, or is large, where the unit is")
    ]
    for each in findings:
        high = "above" if each.sign > 0 else "below"
        where = f"{high} {each.threshold:.3g}" if each.threshold is not None else "high" if each.sign > 0 else "low"
        scores = ("-" if score is None else _score(each, score) for score in (each.score, each.baseline))
        rows.append((each.property.name, str(each.unit), *scores, where))
    return _aligned(rows) if findings else []


def _to_json(findings: Sequence[Finding], held: Sequence[Held]) -> list[dict[str, Any]]:
    """The findings as JSON values, each with what holding its unit changed, if that was measured."""
    values = [each.to_json() for each in findings]
    for each, found in zip(values, held, strict=False):
        each["clamp"] = found.to_json()
    return values


def _score(finding: Finding, score: float) -> str:
    """A score as people read it: a percentage of balanced accuracy, or a correlation."""
    return f"{score:.1%}" if finding.threshold is not None else f"{score:.2f}"


def _held_table(findings: Sequence[Finding], held: Sequence[Held]) -> list[str]:
    """What holding the units changed in generated texts, as aligned lines below a line of headings."""
    if not held:
        return []
    head = ("property", "in generated texts", "held as if it holds", "as if not", "unit free", "change")
    rows: list[tuple[str, ...]] = [head]
    for finding, each in zip(findings, held, strict=True):
        number = finding.threshold is None
        for what, measured in (
            ("its mean" if number else "the share of characters", each.mean),
            ("likeness, bits per character", each.likeness),
        ):
            form = "+.2f" if measured is each.likeness else ".2f" if number else ".1%"
            values = (format(value, form) for value in (measured.high, measured.low, measured.free))
            rows.append((finding.property.name, what, *values, _DIRECTIONS[measured.direction]))
    return _aligned(rows)


_DIRECTIONS = {1: "as expected", -1: "opposite", 0: "not significant"}


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in lines]
