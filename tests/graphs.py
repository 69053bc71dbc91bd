"""Small ONNX files, as other programs write them."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper, numpy_helper

F, I64, I32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32


def save(path, inputs, outputs, nodes, constants=(), *, opset=17, ir_version=8, **rest):
    """Write a model. inputs, outputs: (element type, shape) by name. nodes: (operator, inputs, outputs, attributes)."""
    values = [
        [
            value if isinstance(value, onnx.TypeProto) else helper.make_tensor_value_info(name, *value)
            for name, value in each.items()
        ]
        for each in (inputs, outputs)
    ]
    weights = [numpy_helper.from_array(array, name) for name, array in dict(constants).items()]
    made = [node if isinstance(node, onnx.NodeProto) else _node(*node) for node in nodes]
    graph = helper.make_graph(made, "g", *values, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version, **rest)
    onnx.save(model, path)
    return Path(path)


def _node(operator, inputs, outputs, attributes=None):
    return helper.make_node(operator, inputs, outputs, **(attributes or {}))
