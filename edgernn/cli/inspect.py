"""`edgernn inspect`: what is in a bundle or an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgernn.cli.console import Json, needs, result

__all__ = ["inspect"]


def inspect(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE_OR_ONNX", help="A bundle directory or any .onnx file.")],
    json: Json = False,
) -> None:
    """Show how a bundle or an ONNX file is driven, and what it is made of.

    [bold]Example:[/bold] edgernn inspect bundles/shakespeare
    """
    with needs("export"):
        from edgernn.exporters.inspection import inspect_bundle, inspect_onnx

    values = inspect_bundle(path) if path.is_dir() else inspect_onnx(path)
    result(values, _describe(values), as_json=json)


def _describe(values: dict[str, Any]) -> str:
    """The report for people."""
    lines = [f"{key:<11} {values[key]}" for key in ("task", "target", "precision", "digest") if key in values]
    for graph in (values["contract"] or {"graphs": []})["graphs"]:
        lines.append(f"graph {graph['name']}")
        for kind in ("inputs", "conditions", "outputs"):
            lines += [f"  {kind[:-1]:<9} {_tensor(tensor)}" for tensor in graph[kind]]
        lines += [f"  state     {_tensor(s)}  {s['input']} -> {s['output']}" for s in graph["states"]]
    if values["contract"] is None:
        lines.append("no contract: this file does not say how its states are carried")
    operators = sorted(values["operators"].items(), key=lambda item: (-item[1], item[0]))
    lines += [
        f"parameters  {values['parameters']:,}",
        f"bytes       {values['bytes']:,}",
        f"operators   {', '.join(f'{name} {count}' for name, count in operators)}",
        f"opset       {values['opset'] or '-'}   IR version {values['ir_version'] or '-'}",
        f"quantised   {'yes' if values['quantised'] else 'no'}",
    ]
    return "\n".join(lines)


def _tensor(tensor: dict[str, Any]) -> str:
    bound = f" below {tensor['bound']}" if "bound" in tensor else ""
    return f"{tensor['name']}: {tensor['dtype']}[{', '.join(map(str, tensor['axes']))}]{bound}"
