"""Load a bundle with the engine of its target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgernn.cli.console import starting
from edgernn.execution import DEFAULT, Execution

if TYPE_CHECKING:
    from edgernn.bundle import Bundle
    from edgernn.runtime import BundleEngine, Model

__all__ = ["load_bundle", "load_model"]


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
