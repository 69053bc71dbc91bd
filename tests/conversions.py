"""Converting a network to ONNX takes most of the time of an export; tests convert each only once."""

from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import pytest

from edgernn.contract import Contract
from edgernn.exporters import onnx as target
from edgernn.models import Graph, weights_digest
from edgernn.tasks.language.network import LanguageModel

_convert = target.convert
_converted: dict[tuple[str, str], bytes] = {}


def _once(graph: Graph) -> onnx.ModelProto:
    if type(graph.module) is not LanguageModel:
        return _convert(graph)
    key = repr(graph.module.config), weights_digest(graph.module, Contract((graph.spec,)))
    if key not in _converted:
        _converted[key] = _convert(graph).SerializeToString()
    return onnx.load_model_from_string(_converted[key])


@contextmanager
def convert_once() -> Iterator[None]:
    """While this is entered, language models with equal settings and weights are converted to ONNX once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, "convert", _once)
        yield
