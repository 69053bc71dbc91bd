"""All engines: the device's, those that need torch or a compiler, and the source network itself."""

from edgernn.engines.eager import EagerEngine, eager_model
from edgernn.engines.executorch import ExecuTorchEngine
from edgernn.engines.torchscript import TorchScriptEngine
from edgernn.runtime import BundleEngine
from edgernn.runtime.compiled import CompiledEngine
from edgernn.runtime.engine import DEVICE_ENGINES
from edgernn.runtime.wasm import WasmEngine

__all__ = ["ENGINES", "EagerEngine", "ExecuTorchEngine", "TorchScriptEngine", "eager_model"]

_OTHER_ENGINES: tuple[type[BundleEngine], ...] = (CompiledEngine, WasmEngine, TorchScriptEngine, ExecuTorchEngine)
ENGINES = DEVICE_ENGINES | {engine.target: engine for engine in _OTHER_ENGINES}
