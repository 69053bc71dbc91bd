"""Load a bundle with the engine of its target, or a run in torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgernn.cli.console import starting
from edgernn.errors import BundleError, ConfigError
from edgernn.execution import DEFAULT, Execution

if TYPE_CHECKING:
    from edgernn.bundle import Bundle
    from edgernn.runtime import BundleEngine, Model
    from edgernn.training import Run

__all__ = ["CellFile", "load_bundle", "load_model", "load_run", "refuse_cell", "run_model"]

CellFile = Annotated[
    str | None,
    typer.Option(
        "--cell",
        metavar="FILE.py:CLASS",
        help="The Python file and the class of the run's recurrent cell, if you wrote the cell; the file is executed.",
    ),
]


def load_run(path: Path, cell: str | None = None) -> Run:
    """Return the run at `path`, and execute the file of its recurrent cell if `cell` names it: FILE.py:CLASS.

    Raises ConfigError if the file cannot be executed, or the run has another cell.
    """
    with starting("train"):
        from edgernn.models.cells.user import find_loaded, load_cell
        from edgernn.training import Run
        from edgernn.training.run import own_cell

    run = Run.load(path)
    if cell is not None:
        own = own_cell(run.prepared.chosen)
        if own is None:
            raise ConfigError(f"--cell {cell}: the recurrent cell of {path} is built in: leave out --cell")
        load_cell(cell)
        find_loaded(str(own))
    return run


def run_model(run: Run, execution: Execution = DEFAULT) -> Callable[[], Model]:
    """Return what loads the network of a run as a model, in eager torch on the CPU."""
    with starting("train"):
        import torch

        from edgernn.engines.eager import eager_model
    torch.set_num_threads(1)  # single steps are too small to share between threads
    return lambda: eager_model(run.source(), execution)


def refuse_cell(cell: str | None) -> None:
    """Raise ConfigError if `cell` names a recurrent cell where no run is loaded."""
    if cell is not None:
        raise ConfigError(f"--cell {cell} is for runs, and a bundle contains its recurrent cell: leave out --cell")


def load_model(path: Path, execution: Execution = DEFAULT) -> Model:
    """The model of the bundle at `path`, in the engine of its target. ONNX bundles need none of the extras."""
    from edgernn.runtime import Model

    return Model(*load_bundle(path, execution), execution)


def load_bundle(path: Path, execution: Execution = DEFAULT) -> tuple[Bundle, type[BundleEngine]]:
    """Return the bundle at `path` and the engine of its target.

    Raises BundleError for a target without an engine, ConfigError for a bundle with code in C unless `execution` allows
    to execute it.
    """
    from edgernn.bundle import Bundle
    from edgernn.runtime.compiled import CompiledEngine
    from edgernn.runtime.engine import DEVICE_ENGINES
    from edgernn.runtime.wasm import WasmEngine

    bundle = Bundle.load(path)
    target = bundle.manifest.target
    compiled = {engine.target: engine for engine in (CompiledEngine, WasmEngine)}
    if target in compiled:
        if execution.engine != CompiledEngine.target:
            raise ConfigError(
                f"{path} has source code in C, which would be compiled and executed: if you trust it, add --engine c"
            )
        return bundle, compiled[target]
    if target in DEVICE_ENGINES:
        return bundle, DEVICE_ENGINES[target]
    with starting("train"):
        from edgernn.engines import ENGINES
    if target not in ENGINES:
        raise BundleError(f"{path} is for {target}, and this version of edgernn has engines for {', '.join(ENGINES)}")
    return bundle, ENGINES[target]
