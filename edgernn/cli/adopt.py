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
            help="A state: INPUT:OUTPUT or GRAPH.INPUT:OUTPUT. It can be repeated.", show_default="by name and shape"
        ),
    ] = None,
    condition: Annotated[list[str] | None, typer.Option(help="An input that is given once for a stream.")] = None,
    constant: Annotated[list[str] | None, typer.Option(help="INPUT=VALUE that never changes.")] = None,
    carry: Annotated[
        list[str] | None,
        typer.Option(
            help="INPUT:COUNT: keep the last COUNT samples of INPUT and put them before the next ones. Repeatable."
        ),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make a bundle of ONNX files from elsewhere, which the runtime streams like one of edgernn's own.

    [bold]Example:[/bold] edgernn adopt silero_vad.onnx --constant sr=16000 --carry input:64 --out bundles/silero
    """
    from edgernn.contract import contract_to_json

    with require_extra("export"):
        from edgernn.exporters.adopt import AdoptSpec, infer_states
        from edgernn.exporters.adopt import adopt as write

    constants = _pairs(constant, "=", "--constant INPUT=VALUE")
    carries = _pairs(carry, ":", "--carry INPUT:COUNT")
    states = _pairs(state, ":", "--state INPUT:OUTPUT")
    if not states:
        states = infer_states(files, {*constants, *carries, *(condition or ())})
        log(f"states: {', '.join(f'{given} <- {made}' for given, made in states.items()) or 'none'}")
    spec_ = AdoptSpec(
        states,
        tuple(condition or ()),
        {name: _number(float, text, "--constant") for name, text in constants.items()},
        {name: _number(int, text, "--carry") for name, text in carries.items()},
    )
    contract = write(files, spec_, out, overwrite=overwrite)
    names = ", ".join(graph.name for graph in contract.graphs)
    result({"bundle": str(out), "contract": contract_to_json(contract)}, f"{out}: {names}", as_json=json)


def _pairs(texts: list[str] | None, sign: str, usage: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts or []:
        name, found, value = text.partition(sign)
        if not (name and found and value):
            raise ConfigError(f"{text!r} is not {usage}")
        if name in pairs:
            raise ConfigError(f"{usage.split()[0]} names {name} twice")
        pairs[name] = value
    return pairs


def _number(kind: type[Number], text: str, option: str) -> Number:
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(f"{option}: {text[:40]!r} is not a {'whole ' if kind is int else ''}number") from None
