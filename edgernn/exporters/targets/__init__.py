"""The targets, one file for each."""

from edgernn.errors import ConfigError
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.target import Target
from edgernn.exporters.targets.c import C
from edgernn.exporters.targets.executorch import EXECUTORCH
from edgernn.exporters.targets.onnx import ONNX
from edgernn.exporters.targets.ort import ORT
from edgernn.exporters.targets.torchscript import TORCHSCRIPT
from edgernn.exporters.targets.wasm import WASM

__all__ = ["TARGETS", "chosen_target"]

TARGETS: dict[str, Target] = {target.name: target for target in (ONNX, ORT, C, WASM, TORCHSCRIPT, EXECUTORCH)}


def chosen_target(target: str | Target, quantization: Quantization) -> Target:
    """Return a target, which may be given by name.

    Raises ConfigError if it does not exist, or has not the precision or the options of `quantization`.
    """
    if isinstance(target, str):
        if target not in TARGETS:
            raise ConfigError(f"the target {target} (--to) is not one of {', '.join(TARGETS)}")
        target = TARGETS[target]
    if quantization.name not in target.precisions:
        known = ", ".join(target.precisions)
        raise ConfigError(f"the precision {quantization.name} (--precision) is not one that {target.name} has: {known}")
    for option in quantization.changed:
        if option not in target.options:
            raise ConfigError(f"{option} (--{option}) is no option of the target {target.name}: leave it out")
    return target
