"""Load a bundle with the engine of its target, or a run in torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgernn.cli.console import starting
from edgernn.execution import DEFAULT, Execution

if TYPE_CHECKING:
    from edgernn.bundle import Bundle
    from edgernn.runtime import BundleEngine, Model
    from edgernn.training import Run

__all__ = ["load_bundle", "load_model", "load_run"]


def load_model(path: Path, execution: Execution = DEFAULT) -> Model:
    """The model of the bundle at `path`, in the engine of its target. ONNX bundles need none of the extras."""
    from edgernn.runtime import Model

    return Model(*load_bundle(path, execution), execution)


def load_bundle(path: Path, execution: Execution = DEFAULT) -> tuple[Bundle, type[BundleEngine]]:
    """Return the bundle at `path` and the engine of its target.

    Raises BundleError for a target without an engine, ConfigError for a bundle in C unless `execution` allows to
    execute its code.
    """
    from edgernn.bundle import Bundle
    from edgernn.errors import BundleError, ConfigError
    from edgernn.runtime.compiled import CompiledEngine
    from edgernn.runtime.engine import DEVICE_ENGINES

    bundle = Bundle.load(path)
    target = bundle.manifest.target
    if target == CompiledEngine.target:
        if execution.engine != CompiledEngine.target:
            raise ConfigError(
                f"{path} is source code in C, which would be compiled and executed: if you trust it, add --engine c"
            )
        return bundle, CompiledEngine
    if target in DEVICE_ENGINES:
        return bundle, DEVICE_ENGINES[target]
    with starting("train"):
        from edgernn.engines import ENGINES
    if target not in ENGINES:
        raise BundleError(f"{path} is for {target}, and this version of edgernn has engines for {', '.join(ENGINES)}")
    return bundle, ENGINES[target]


def load_run(path: Path, execution: Execution = DEFAULT) -> tuple[Run, Callable[[], Model]]:
    """The run at `path`, and what loads its network as a model, in eager torch on the CPU."""
    with starting("train"):
        import torch

        from edgernn.engines.eager import eager_model
        from edgernn.training import Run
    run = Run.load(path)
    torch.set_num_threads(1)  # single steps are too small to share between threads
    return run, lambda: eager_model(run.source(), execution)
