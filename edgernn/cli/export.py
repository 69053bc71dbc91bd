"""`edgernn export` and `edgernn verify`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgernn.cli.console import Json, Overwrite, log, result, starting, waiting
from edgernn.cli.load import CellFile, load_bundle, load_run, refuse_cell
from edgernn.cli.options import Given, number
from edgernn.cli.targets import Name, Size, Weights, chosen
from edgernn.errors import CheckFailedError, ExportWarning, ParityError
from edgernn.execution import Execution

if TYPE_CHECKING:
    from edgernn.runtime.parity import Parity

__all__ = ["export", "verify"]


def export(
    run: Annotated[Path, typer.Argument(help="The run to export.")],
    out: Annotated[Path, typer.Option(help="The bundle directory to write.")],
    to: Annotated[str, typer.Option(help="The target: onnx, ort, c, wasm, torchscript or executorch.")] = "onnx",
    precision: Annotated[
        str,
        typer.Option(help="The precision of the weights: fp32, fp16, int8 or int4."),
    ] = "fp32",
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="Do not quantise weight matrices whose names match this pattern, such as '*projection*'. "
            "Can be given more than once."
        ),
    ] = None,
    block: Annotated[
        int,
        typer.Option(
            parser=number("block"),
            help="At int4, the number of weights that share a scale: 16, 32, 64 or 128. Smaller blocks are more "
            "accurate and take more space.",
        ),
    ] = 32,
    cell: CellFile = None,
    name: Name = "model",
    weights: Weights = "auto",
    size: Size = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Export a run to a bundle, which is written only if it behaves like the run within a stated tolerance.

    [bold]Example:[/bold] edgernn export runs/shakespeare --to onnx --out bundles/shakespeare
    """
    with starting("export"):
        from edgernn.exporters import TARGETS, Quantization
        from edgernn.exporters import export as write

    quantization = Quantization(precision, tuple(keep or ()), block)
    target = chosen(to, name, weights, size or [])
    source = load_run(run, cell).source()
    if to in TARGETS and TARGETS[to].legacy:
        log(TARGETS[to].legacy)
    with warnings.catch_warnings(), waiting("exporting"):
        warnings.simplefilter("ignore", ExportWarning)  # they are printed below
        exported = write(source, out, target=target, precision=quantization, overwrite=overwrite)
    for text in exported.warnings:
        log(f"warning: {text}")
    text = f"{out}: {to} {precision}, {exported.bytes:,} bytes, {exported.seconds:.1f} s; {describe(exported.parity)}"
    result(exported.to_json(), "\n".join([text, *exported.report]), as_json=json)


def verify(
    *,
    bundle: Annotated[Path, typer.Argument(help="The bundle to check.")],
    against: Annotated[Path | None, typer.Option(help="The run that it was exported from, to be driven again.")] = None,
    cell: CellFile = None,
    given: Given,
    json: Json = False,
) -> None:
    """Check that a bundle still behaves like its source: a run, a module, or ONNX files.

    Without --against, the bundle is compared with its golden vectors, which are recorded steps of its source. With
    --against, the bundle and the run are driven side by side. The exit status is 1 if they differ.

    [bold]Example:[/bold] edgernn verify bundles/shakespeare --against runs/shakespeare
    """
    execution = Execution(**given.of(Execution))
    if against is None:
        refuse_cell(cell)
    try:
        parity = _replay(bundle, execution) if against is None else _drive(bundle, against, cell, execution)
    except CheckFailedError as error:
        if json:
            measured = error.measured if isinstance(error, ParityError) else None
            result({"passed": False, "parity": measured, "reason": str(error)}, "", as_json=True)
        raise
    source = "its golden vectors" if against is None else str(against)
    values = {"passed": True, "parity": parity.to_json()}
    result(values, f"{bundle} agrees with {source} within the tolerance: {describe(parity)}", as_json=json)


def _replay(bundle: Path, execution: Execution) -> Parity:
    from edgernn.runtime.golden import verify as check

    loaded, engine = load_bundle(bundle, execution)
    with waiting("verifying"):
        return check(loaded, engine, execution)


def _drive(bundle: Path, run: Path, cell: str | None, execution: Execution) -> Parity:
    with starting("export"):
        from edgernn.exporters import verify as check

    with waiting("verifying"):
        return check(bundle, load_run(run, cell).source(), execution=execution)


def describe(parity: Parity) -> str:
    """Return the figures of a parity check in words."""
    limit = parity.tolerance
    text = (
        f"parity over {parity.steps:,} chained steps: outputs within {parity.max_abs_diff_outputs:.1e}, "
        f"state within {parity.max_abs_diff_state:.1e} "
        f"(the worst element uses {100 * parity.max_share:.2g} % of its tolerance)"
    )
    if parity.compared:
        text += f", {parity.mismatches:,} of {parity.compared:,} whole numbers differ"
    if limit.absolute > 0.01:
        text += f", root mean square {parity.rms_diff_outputs:.1e} (tolerance {limit.rms:g})"
    if parity.loss is not None:
        before, after = parity.loss.source, parity.loss.artifact
        text += f"; loss on a part of the held-out data {before:.4f} before and {after:.4f} after"
        text += f" (tolerance +{limit.loss:g})"
    if parity.matches is not None:
        text += f"; {parity.matches.same} of {parity.matches.of} whole sequences equal"
    return text
