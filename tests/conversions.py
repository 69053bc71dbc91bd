"""Converting a network to ONNX takes most of the time of an export; tests convert each only once."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import onnx
import pytest
from torch import nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

from edgernn.exporters.targets import onnx as target
from edgernn.models import Graph
from edgernn.tasks.language.network import LanguageModel

_convert = target.convert
_operators = cache(ONNXRegistry.from_torchlib)
_converted: dict[int, bytes] = {}


@contextmanager
def read_operators_once() -> Iterator[None]:
    """While this is entered, torch reads its table of ONNX operators once, which it otherwise does at each conversion.

    That takes half of the time of a conversion of a small network.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(_operators))
        yield


@contextmanager
def convert_once(*kinds: type[nn.Module], name: str = "") -> Iterator[None]:
    """While this is entered, equal language models, and equal modules of these kinds, are converted to ONNX once.

    Modules are equal that have equal contracts and weights, and print alike. Modules that differ in something else have
    different names.
    """

    def once(graph: Graph) -> onnx.ModelProto:
        if not isinstance(graph.module, (LanguageModel, *kinds)):
            return _convert(graph)
        weights = tuple((each, tensor.numpy().tobytes()) for each, tensor in graph.module.state_dict().items())
        key = hash((name, repr(graph.module), repr(getattr(graph.module, "config", None)), repr(graph.spec), weights))
        if key not in _converted:
            _converted[key] = _convert(graph).SerializeToString()
        return onnx.load_model_from_string(_converted[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, "convert", once)
        yield


def forget() -> None:
    """Convert everything anew from now on."""
    _converted.clear()
