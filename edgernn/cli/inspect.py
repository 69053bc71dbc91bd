"""`edgernn inspect`: show the contents of a bundle or an ONNX file."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from edgernn.cli.console import Json, result, starting, waiting
from edgernn.cli.options import number
from edgernn.errors import ConfigError, counted
from edgernn.paths import Kind, identify, refusal

__all__ = ["inspect"]


def inspect(
    what: Annotated[list[str], typer.Argument(metavar="BUNDLE_OR_ONNX | gradients RUN…", show_default=False)],
    distance: Annotated[
        int | None,
        typer.Option(
            parser=number("distance", low=1),
            help="gradients: how many steps to look back; by default fewer where sequences are shorter.",
            show_default="64",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="gradients: the picture to write.", show_default="gradients.png")
    ] = None,
    cells: Annotated[
        list[str] | None,
        typer.Option(
            "--cell",
            metavar="FILE.py:CLASS",
            help="gradients: the Python file and the class of a run's recurrent cell, if you wrote the cell; the file "
            "is executed. Can be given more than once.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show the inputs, outputs and states of a bundle or an ONNX file, and how its weights are stored.

    [bold]Example:[/bold] edgernn inspect bundles/shakespeare

    With gradients, measure and draw the norm of the gradient of runs by the distance in time (vanishing or exploding
    gradients).

    [bold]Example:[/bold] edgernn inspect gradients runs/elman runs/lstm --out gradients.png

    A bundle or file that is itself called gradients is named ./gradients.
    """
    if what[0] == "gradients":
        runs = [Path(run) for run in what[1:]]
        _gradients(runs, distance, out or Path("gradients.png"), cells or [], as_json=json)
        return
    for flag, value in (("--distance", distance), ("--out", out), ("--cell", cells)):
        if value is not None:
            raise ConfigError(f"{flag} goes with edgernn inspect gradients: leave it out")
    if len(what) > 1:
        raise ConfigError(f"edgernn inspect shows one bundle or ONNX file at a time, and {len(what)} are named")
    path = Path(what[0])
    found = identify(path)
    inside = found.kind is Kind.FILE and identify(path.absolute().parent).kind is Kind.BUNDLE
    if inside or found.kind not in (Kind.BUNDLE, Kind.ONNX, Kind.FILE):
        raise ConfigError(refusal(path, Kind.BUNDLE, Kind.ONNX))
    with starting("export"):
        from edgernn.exporters.inspection import inspect_bundle, inspect_onnx

    values = inspect_bundle(path) if found.kind is Kind.BUNDLE else inspect_onnx(path)
    result(values, _describe(values), as_json=json)


def _gradients(runs: list[Path], distance: int | None, out: Path, cells: list[str], *, as_json: bool) -> None:
    if not runs:
        raise ConfigError("edgernn inspect gradients needs a RUN")
    with starting("plot"):
        from edgernn.models.cells.user import load_cell
        from edgernn.training.curves import check_picture, labels
        from edgernn.training.gradients import plot_gradients, run_gradient_norms

    check_picture(out)
    for cell in cells:
        load_cell(cell)
    with waiting("measuring"):
        norms = {str(run): run_gradient_norms(run, distance) for run in runs}
    plot_gradients(dict(zip(labels(runs), norms.values(), strict=True)), out)
    lines = [f"{run}: {v[0]:.2e} one step back, {v[-1]:.2e} {counted(len(v), 'step')} back" for run, v in norms.items()]
    result({"picture": str(out), "norms": norms}, "\n".join([*lines, str(out)]), as_json=as_json)


def _describe(values: dict[str, Any]) -> str:
    """Return the report in words."""
    lines = [f"{key:<11} {values[key]}" for key in ("task", "target", "precision", "digest") if key in values]
    for graph in (values["contract"] or {"graphs": []})["graphs"]:
        lines.append(f"graph {graph['name']}")
        for kind in ("inputs", "conditions", "outputs"):
            lines += [f"  {kind[:-1]:<9} {_tensor(tensor)}{_origin(tensor.get('source'))}" for tensor in graph[kind]]
        lines += [
            f"  state     {_tensor(s)}, {_state_bytes(s)}  {s['input']} -> {s['output']}{_origin(s['initial'])}"
            for s in graph["states"]
        ]
    if values["contract"] is None:
        lines.append("no contract: this file does not say how its states are carried; see edgernn adopt --help")
        lines += [f"  input     {given}" for given in values["inputs"]]
        lines += [f"  output    {made}" for made in values["outputs"]]
    operators = sorted(values["operators"].items(), key=lambda item: (-item[1], item[0]))
    lines += [
        f"parameters  {values['parameters'] or 0:,}",
        f"bytes       {values['bytes']:,}",
        f"floor       {values['floor_us']:g} µs a step: reading the weights once on this machine, one thread",
        f"operators   {', '.join(f'{name} {count}' for name, count in operators)}",
        f"opset       {values['opset'] or '-'}   IR version {values['ir_version'] or '-'}",
        f"quantised   {'yes' if values['quantised'] else 'no'}",
    ]
    for weights in values.get("weights", {}).values():
        lines += map(_stored, weights)
    if values["multiply_accumulates"] is None:
        lines.append(f"products    multiply-accumulates are not counted for {values['target']}")
    elif values["multiply_accumulates"]:
        lines.append(f"products    {values['multiply_accumulates']:,} multiply-accumulates a step of one stream")
    lines += _sums(values["tensors"])
    largest = sorted(values["tensors"], key=lambda tensor: -tensor["bytes"])[:_SHOWN]
    lines += [f"  {t['name']}: {t['dtype']}{t['shape']}, {t['bytes']:,} bytes" for t in largest if t["bytes"] > _SMALL]
    return "\n".join(lines)


def _stored(weight: dict[str, Any]) -> str:
    """Describe how a matrix is stored, and why it is not stored in fewer bits."""
    text = f"  {weight['name']} {weight['shape']}: {weight['bits']} bits"
    if weight.get("reason"):
        text += f", since {weight['reason']}"
    return f"{text}; scales: {weight['scales']}; products: {weight['arithmetic']}"


def _origin(source: Any) -> str:
    """Say which graph computes a condition or an initial state; "" if none does."""
    if not isinstance(source, dict) or "graph" not in source:
        return ""
    steps = "all steps of " if "axis" in source else ""
    return f", from {steps}{source['graph']}.{source['output']}"


def _state_bytes(state: dict[str, Any]) -> str:
    """Return the size of a state of one stream, if its axes determine it."""
    sizes = [1 if axis == "batch" else axis for axis in state["axes"]]
    if not all(isinstance(size, int) for size in sizes):
        return "of any size"
    bits = int("".join(c for c in state["dtype"] if c.isdigit()) or 8)
    return f"{math.prod(sizes) * bits // 8:,} bytes a stream"


def _sums(tensors: list[dict[str, Any]]) -> list[str]:
    """Return the number of elements and bytes of each layer, and the number of bytes of each type."""
    layers: dict[str, list[int]] = {}
    kinds: Counter[str] = Counter()
    for tensor in tensors:
        parts = tensor["name"].removeprefix("module.").split(".")
        named = [part for part in parts if part not in ("int8", "int4", "fp16", "scales", "zeros", "levels")]
        layer = layers.setdefault(".".join(named[:-1]) or "the rest", [0, 0])
        layer[0] += 0 if parts[-1] in ("scales", "zeros") else math.prod(tensor["shape"])
        layer[1] += tensor["bytes"]
        kinds[tensor["dtype"]] += tensor["bytes"]
    if not tensors:
        return []
    by_type = ", ".join(f"{kind} {size:,}" for kind, size in kinds.most_common())
    rows = [f"  {name}: {count:,} elements, {size:,} bytes" for name, (count, size) in layers.items()]
    return [f"by type     {by_type} bytes", "by layer", *rows, "largest"]


_SHOWN, _SMALL = 12, 256  # number of tensors to list, and the size in bytes below which a tensor is not listed


def _tensor(tensor: dict[str, Any]) -> str:
    bound = ""
    if "bound" in tensor:
        bound = f" {'within ±' if tensor['dtype'].startswith('float') else 'below '}{tensor['bound']:g}"
    if "low" in tensor:
        to = "to" if tensor["dtype"].startswith("float") else "to below"
        bound = f" from {tensor['low']:g}" + (f" {to} {tensor['bound']:g}" if "bound" in tensor else "")
    rate = f" at {tensor['rate']:,} Hz" if "rate" in tensor else ""
    delay = f", {counted(tensor['delay'], 'step')} late" if "delay" in tensor else ""
    kind = f", {tensor['kind']}{rate}{delay}" if "kind" in tensor else ""
    return f"{tensor['name']}: {tensor['dtype']}[{', '.join(map(str, tensor['axes']))}]{bound}{kind}"
