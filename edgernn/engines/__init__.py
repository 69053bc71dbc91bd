"""Engines that need torch, for the host: other targets than the device's ONNX, and the source network itself."""

from edgernn.engines.eager import EagerEngine
from edgernn.engines.executorch import ExecuTorchEngine
from edgernn.engines.torchscript import TorchScriptEngine
from edgernn.runtime import BundleEngine, OnnxEngine

__all__ = ["ENGINES", "EagerEngine", "ExecuTorchEngine", "TorchScriptEngine"]

_ENGINES: tuple[type[BundleEngine], ...] = (OnnxEngine, TorchScriptEngine, ExecuTorchEngine)
ENGINES = {engine.target: engine for engine in _ENGINES}
