"""The targets, one file for each."""

from edgernn.exporters.target import Target
from edgernn.exporters.targets.c import C
from edgernn.exporters.targets.executorch import EXECUTORCH
from edgernn.exporters.targets.onnx import ONNX
from edgernn.exporters.targets.ort import ORT
from edgernn.exporters.targets.torchscript import TORCHSCRIPT

__all__ = ["TARGETS"]

TARGETS: dict[str, Target] = {target.name: target for target in (ONNX, ORT, C, TORCHSCRIPT, EXECUTORCH)}
