"""Engines that need torch, for the host: those of targets other than ONNX, and the source network itself."""

from edgernn.engines.eager import EagerEngine, eager_model
from edgernn.engines.executorch import ExecuTorchEngine
from edgernn.engines.torchscript import TorchScriptEngine
from edgernn.runtime import BundleEngine
from edgernn.runtime.engine import DEVICE_ENGINES

__all__ = ["ENGINES", "EagerEngine", "ExecuTorchEngine", "TorchScriptEngine", "eager_model"]

_HOST_ENGINES: tuple[type[BundleEngine], ...] = (TorchScriptEngine, ExecuTorchEngine)
ENGINES = DEVICE_ENGINES | {engine.target: engine for engine in _HOST_ENGINES}
