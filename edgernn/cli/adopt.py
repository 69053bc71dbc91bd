"""`edgernn adopt`: make a bundle of ONNX files that another program exported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from edgernn.cli.console import Json, Overwrite, log, result, starting, waiting
from edgernn.cli.targets import Name, Size, Weights, chosen
from edgernn.errors import ConfigError

__all__ = ["adopt"]

Number = TypeVar("Number", int, float)


def adopt(
    files: Annotated[list[Path], typer.Argument(help="ONNX files, one for each graph.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The bundle directory to write.")],
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="A state, INPUT:OUTPUT: the graph reads it from INPUT and returns its next value as OUTPUT. "
            "The pattern 'in_*:out_*' declares several states; both stars stand for the same text. "
            "INPUT:OUTPUT[FROM:TO] selects a part of the last axis of an output that packs several states. "
            "Can be given more than once.",
            show_default="found by names and data flow, if that is certain",
        ),
    ] = None,
    no_states: Annotated[
        bool, typer.Option("--no-states", help="Declare that no input is a state, so that the graph has no memory.")
    ] = False,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            help="An input that is given once, at the beginning of a stream, and then stays the same. "
            "Can be given more than once."
        ),
    ] = None,
    constant: Annotated[
        list[str] | None,
        typer.Option(
            help="INPUT=VALUE: replace INPUT by a constant with this value in every element, such as sr=16000. "
            "Can be given more than once."
        ),
    ] = None,
    carry: Annotated[
        list[str] | None,
        typer.Option(
            help="INPUT:COUNT: keep the last COUNT samples of INPUT (along its last axis) as a state, and prepend them "
            "to INPUT at the next step, for models that need overlapping chunks. Can be given more than once."
        ),
    ] = None,
    axes: Annotated[
        list[str] | None,
        typer.Option(
            help="INPUT=AXIS,AXIS…: the name or size of each axis of INPUT; the axis named batch counts streams. "
            "Can be given more than once.",
            show_default="from the file and by trial",
        ),
    ] = None,
    example: Annotated[
        Path | None,
        typer.Option(
            help="A .npz file of real inputs: an array for each input, under its name, with a leading axis of steps. "
            "The graphs are tested with these values, and the golden vectors store them.",
            show_default="random inputs",
        ),
    ] = None,
    to: Annotated[
        str,
        typer.Option(
            help="The target: onnx or c. A bundle in C, or of a precision below fp32, is compared with the ONNX files, "
            "and is written only if its outputs agree within a stated tolerance."
        ),
    ] = "onnx",
    precision: Annotated[
        str,
        typer.Option(help="The precision of the weights: fp32 (unchanged), fp16, int8 or int4."),
    ] = "fp32",
    name: Name = "model",
    weights: Weights = "auto",
    size: Size = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make a bundle of ONNX files that another program exported, so that edgernn's runtime can stream it.

    The options refer to tensors by their names in the files, or by GRAPH.NAME if several files use the same name. A
    single graph is named step; otherwise each graph is named after its file.

    [bold]Example:[/bold] edgernn adopt silero_vad.onnx --constant sr=16000 --carry input:64 --out bundles/silero
    """
    from edgernn.contract import contract_to_json

    with starting("export"):
        from edgernn.exporters.adoption import AdoptSpec
        from edgernn.exporters.adoption import adopt as write

    if state and no_states:
        raise ConfigError("--state and --no-states exclude each other: leave one of them out")
    constants = _pairs(constant, "=", "--constant INPUT=VALUE")
    carries = _pairs(carry, ":", "--carry INPUT:COUNT")
    adopt_spec = AdoptSpec(
        states=[] if no_states else state or None,
        conditions=tuple(condition or ()),
        constants={name: _number(float, text, "--constant") for name, text in constants.items()},
        carries={name: _number(int, text, "--carry") for name, text in carries.items()},
        axes={name: _axes(text) for name, text in _pairs(axes, "=", "--axes INPUT=AXIS,AXIS…", empty=True).items()},
        example=example,
    )
    target = chosen(to, name, weights, size or [])
    with waiting("adopting"):
        adoption = write(files, adopt_spec, out, target=target, precision=precision, overwrite=overwrite)
    log(f"states: {', '.join(f'{given} <- {made}' for given, made in adoption.states.items()) or 'none'}")
    for graph, names in adoption.renamed.items():
        log(f"renamed in {graph}: {', '.join(f'{own} is now {name}' for name, own in names.items())}")
    for text in adoption.warnings:
        log(f"warning: {text}")
    for note in (*adoption.notes, *adoption.report):
        log(f"note: {note}")
    contract = contract_to_json(adoption.contract)
    values = {
        "bundle": str(out),
        "contract": contract,
        "names": adoption.renamed,
        "notes": adoption.notes,
        "warnings": adoption.warnings,
        "report": adoption.report,
    }
    graphs = ", ".join(graph.name for graph in adoption.contract.graphs)
    result(values, f"{out}: {graphs}", as_json=json)


def _pairs(texts: list[str] | None, sign: str, usage: str, *, empty: bool = False) -> dict[str, str]:
    """Return names and values, split at the last sign, since names may contain it.

    empty: whether a value may be empty.
    """
    pairs: dict[str, str] = {}
    for text in texts or []:
        name, found, value = text.rpartition(sign)
        if not (name and found and (value or empty)):
            raise ConfigError(f"{usage.split()[0]} {text!r} is not of the form {usage.split()[1]}")
        if name in pairs:
            raise ConfigError(f"{usage.split()[0]} names {name} twice")
        pairs[name] = value
    return pairs


def _axes(text: str) -> tuple[int | str, ...]:
    """Return names and sizes, split at commas; none for a tensor of rank 0."""
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    return tuple(int(part) if part.isdecimal() and len(part) < _DIGITS else part for part in parts)


_DIGITS = 12  # a longer number is not a size


def _number(kind: type[Number], text: str, option: str) -> Number:
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(f"{option} {text[:40]!r} is not a {'whole ' if kind is int else ''}number") from None
