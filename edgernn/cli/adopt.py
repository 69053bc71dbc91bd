"""`edgernn adopt`: a bundle from ONNX files that somebody else exported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from edgernn.cli.console import Json, Overwrite, log, require_extra, result
from edgernn.errors import ConfigError

__all__ = ["adopt"]

Number = TypeVar("Number", int, float)


def adopt(
    files: Annotated[list[Path], typer.Argument(help="ONNX files, one for each graph.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The bundle directory to write.")],
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="A state, INPUT:OUTPUT: the graph takes it as INPUT and returns its next value as OUTPUT. "
            "'in_*:out_*' stands for all that fit, with the same text for both stars; INPUT:OUTPUT[FROM:TO] takes a "
            "part of the last axis of an output that holds several states. It can be repeated.",
            show_default="by names and data flow, if they are certain",
        ),
    ] = None,
    no_states: Annotated[bool, typer.Option("--no-states", help="No input is a state.")] = False,
    condition: Annotated[
        list[str] | None,
        typer.Option(help="An input that is given once, when a stream begins. It can be repeated."),
    ] = None,
    constant: Annotated[
        list[str] | None,
        typer.Option(help="INPUT=VALUE: every element of INPUT always has this value. It can be repeated."),
    ] = None,
    carry: Annotated[
        list[str] | None,
        typer.Option(
            help="INPUT:COUNT: keep the last COUNT samples of INPUT, along its last axis, and put them before the next "
            "ones. It can be repeated."
        ),
    ] = None,
    axes: Annotated[
        list[str] | None,
        typer.Option(
            help="INPUT=AXIS,AXIS…: the name or the size of each axis of INPUT; batch is the axis that counts streams. "
            "It can be repeated.",
            show_default="from the file, and by trial",
        ),
    ] = None,
    example: Annotated[
        Path | None,
        typer.Option(
            help="A .npz file with an array for each input, by its name, with a leading axis of steps: values to "
            "test the graphs with, which the golden vectors store.",
            show_default="random inputs",
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="How weights are stored: fp32 (as they are), fp16, int8 or int4. Below fp32, the bundle is compared "
            "with the ONNX files, and refused if its outputs differ too much."
        ),
    ] = "fp32",
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make a bundle of ONNX files that another program exported, which the runtime streams like one of edgernn's own.

    Inputs have the names that the files give them, or GRAPH.INPUT where another file has the same name. Each graph is
    named after its file; a single graph is named step.

    [bold]Example:[/bold] edgernn adopt silero_vad.onnx --constant sr=16000 --carry input:64 --out bundles/silero
    """
    from edgernn.contract import contract_to_json

    with require_extra("export"):
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
    adoption = write(files, adopt_spec, out, precision=precision, overwrite=overwrite)
    log(f"states: {', '.join(f'{given} <- {made}' for given, made in adoption.states.items()) or 'none'}")
    for graph, names in adoption.renamed.items():
        log(f"renamed in {graph}: {', '.join(f'{own} is now {name}' for name, own in names.items())}")
    for note in (*adoption.notes, *adoption.report):
        log(f"note: {note}")
    contract = contract_to_json(adoption.contract)
    values = {
        "bundle": str(out),
        "contract": contract,
        "names": adoption.renamed,
        "notes": adoption.notes,
        "report": adoption.report,
    }
    graphs = ", ".join(graph.name for graph in adoption.contract.graphs)
    result(values, f"{out}: {graphs}", as_json=json)


def _pairs(texts: list[str] | None, sign: str, usage: str, *, empty: bool = False) -> dict[str, str]:
    """Names and values, parted at the last sign, since names may hold it. empty: whether a value may be so."""
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
    """Names and sizes, parted by commas; none for a tensor of rank 0."""
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    return tuple(int(part) if part.isdecimal() and len(part) < _DIGITS else part for part in parts)


_DIGITS = 12  # a size of more is none


def _number(kind: type[Number], text: str, option: str) -> Number:
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(f"{option} {text[:40]!r} is not a {'whole ' if kind is int else ''}number") from None
