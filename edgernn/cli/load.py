"""Loading what the user names, with the engine that fits it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgernn.cli.console import needs

if TYPE_CHECKING:
    from edgernn.runtime import Model

__all__ = ["load_model"]


def load_model(path: Path) -> Model:
    """The bundle at `path` in the engine of its target; only ONNX runs without the host's extras."""
    from edgernn.bundle import Bundle
    from edgernn.errors import BundleError
    from edgernn.runtime import Model, OnnxEngine

    bundle = Bundle.load(path)
    target = bundle.manifest.target
    if target == OnnxEngine.target:
        return Model(bundle)
    with needs("train"):
        from edgernn.engines import ENGINES
    if target not in ENGINES:
        raise BundleError(f"{path} is for {target}, and this edgernn has engines for {', '.join(ENGINES)}")
    return Model(bundle, ENGINES[target])
