"""`edgernn export` and `edgernn verify`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgernn.cli.console import Json, Overwrite, log, require_extra, result
from edgernn.cli.load import load_bundle
from edgernn.cli.options import number
from edgernn.errors import CheckFailedError, ExportWarning, ParityError

if TYPE_CHECKING:
    from edgernn.runtime.parity import Parity

__all__ = ["export", "verify"]


def export(
    run: Annotated[Path, typer.Argument(help="The run to export.")],
    out: Annotated[Path, typer.Option(help="The bundle directory to write.")],
    to: Annotated[str, typer.Option(help="Target: onnx, ort, torchscript or executorch.")] = "onnx",
    precision: Annotated[str, typer.Option(help="Precision of the weights: fp32, fp16, int8 or int4.")] = "fp32",
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Do not quantise the matrices whose names match this pattern. It can be repeated."),
    ] = None,
    block: Annotated[
        int,
        typer.Option(
            parser=number("block"),
            help="At int4, the number of inputs that share a scale: 16, 32, 64 or 128.",
        ),
    ] = 32,
    reduce_range: Annotated[
        bool, typer.Option("--reduce-range", help="At int8, use weights of 7 bits, for x86 processors without VNNI.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Export a run to a bundle, which is written only if it proves to behave like the run.

    [bold]Example:[/bold] edgernn export runs/shakespeare --to onnx --out bundles/shakespeare
    """
    with require_extra("export"):
        from edgernn.exporters import TARGETS, Quantization
        from edgernn.exporters import export as write
        from edgernn.training import Run

    quantization = Quantization(precision, tuple(keep or ()), block, reduce_range)
    source = Run.load(run).source()
    if to in TARGETS and TARGETS[to].legacy:
        log(TARGETS[to].legacy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExportWarning)  # they are printed below
        exported = write(source, out, target=to, precision=quantization, overwrite=overwrite)
    for text in exported.warnings:
        log(f"warning: {text}")
    text = f"{out}: {to} {precision}, {exported.bytes:,} bytes, {exported.seconds:.1f} s; {describe(exported.parity)}"
    result(exported.to_json(), "\n".join([text, *exported.report]), as_json=json)


def verify(
    bundle: Annotated[Path, typer.Argument(help="The bundle to check.")],
    against: Annotated[Path | None, typer.Option(help="The run that it was exported from, to be driven again.")] = None,
    json: Json = False,
) -> None:
    """Check that a bundle still behaves like its source, a run, a module or ONNX files; exit status 1 if it does not.

    Without --against, verify replays the golden vectors of the bundle: recorded steps of its source. With it, verify
    drives the network of a run again, side by side with the bundle.

    [bold]Example:[/bold] edgernn verify bundles/shakespeare --against runs/shakespeare
    """
    try:
        parity = _replay(bundle) if against is None else _drive(bundle, against)
    except CheckFailedError as error:
        if json:
            measured = error.measured if isinstance(error, ParityError) else None
            result({"passed": False, "parity": measured, "reason": str(error)}, "", as_json=True)
        raise
    source = "its golden vectors" if against is None else str(against)
    values = {"passed": True, "parity": parity.to_json()}
    result(values, f"{bundle} agrees with {source} within the tolerance: {describe(parity)}", as_json=json)


def _replay(bundle: Path) -> Parity:
    from edgernn.runtime.golden import verify as check

    loaded, engine = load_bundle(bundle)
    return check(loaded, engine)


def _drive(bundle: Path, run: Path) -> Parity:
    with require_extra("export"):
        from edgernn.exporters import verify as check
        from edgernn.training import Run

    return check(bundle, Run.load(run).source())


def describe(parity: Parity) -> str:
    """Parity for people."""
    limit = parity.tolerance
    text = (
        f"parity over {parity.steps:,} chained steps: outputs within {parity.max_abs_diff_outputs:.1e}, "
        f"state within {parity.max_abs_diff_state:.1e} ({100 * parity.max_share:.2g} % of the tolerance)"
    )
    if parity.compared:
        text += f", {parity.mismatches:,} of {parity.compared:,} whole numbers differ"
    if limit.absolute > 0.01:
        text += f", root mean square {parity.rms_diff_outputs:.1e} (tolerance {limit.rms:g})"
    if parity.loss is not None:
        before, after = parity.loss.source, parity.loss.artifact
        text += f"; held-out loss {before:.4f} before and {after:.4f} after (tolerance +{limit.loss:g})"
    if parity.matches is not None:
        text += f"; {parity.matches.same} of {parity.matches.of} whole sequences equal"
    return text
