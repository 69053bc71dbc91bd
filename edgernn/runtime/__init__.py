r"""The runtime of the device side, which needs only numpy, onnxruntime and tokenizers.

model = Model.load("bundles/shakespeare")
stream = model.stream(Sampler(temperature=0.8, top_k=40, seed=0))
stream.prefill("ROMEO:\n")
for text in stream.decode(max_tokens=400):
    print(text, end="", flush=True)
"""

from edgernn.contract import State
from edgernn.runtime.batch import Batch
from edgernn.runtime.beam import beam_search
from edgernn.runtime.engine import BundleEngine, Engine, OnnxEngine
from edgernn.runtime.model import Model
from edgernn.runtime.reading import Reading
from edgernn.runtime.stream import Stream
from edgernn.runtime.suggest import suggest
from edgernn.sampling import Sampler

__all__ = [
    "Batch",
    "BundleEngine",
    "Engine",
    "Model",
    "OnnxEngine",
    "Reading",
    "Sampler",
    "State",
    "Stream",
    "beam_search",
    "suggest",
]
