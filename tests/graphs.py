"""Small ONNX files, as other programs write them."""

from pathlib import Path

import numpy as np
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


def lstm(path, *, opset=17, scale=0.2, inside=False):
    """64 numbers in, an LSTM of 64, 64 numbers out; optionally in a branch whose condition is a constant."""
    random = np.random.default_rng(0)

    def weights(*shape):
        return (scale * random.standard_normal(shape)).astype(np.float32)

    constants = {"W": weights(1, 256, 64), "R": weights(1, 256, 64), "B": weights(1, 512), "out": weights(64, 64)}
    nodes = [
        ("Unsqueeze", ["x", "zero"], ["frames"]),
        ("LSTM", ["frames", "W", "R", "B", "", "h", "c"], ["", "h_out", "c_out"], {"hidden_size": 64}),
        ("Squeeze", ["h_out", "zero"], ["top"]),
        ("MatMul", ["top", "out"], ["y"]),
    ]
    constants["zero"] = np.array([0])
    inputs = {"x": (F, ["batch", 64]), "h": (F, [1, "batch", 64]), "c": (F, [1, "batch", 64])}
    outputs = {"y": (F, ["batch", 64]), "h_out": (F, [1, "batch", 64]), "c_out": (F, [1, "batch", 64])}
    if inside:
        branch = helper.make_graph(
            [helper.make_node("MatMul", ["top", "out"], ["y_then"])],
            "then",
            [],
            [helper.make_tensor_value_info("y_then", F, ["batch", 64])],
        )
        other = helper.make_graph(
            [helper.make_node("Identity", ["top"], ["y_else"])],
            "else",
            [],
            [helper.make_tensor_value_info("y_else", F, ["batch", 64])],
        )
        nodes[-1] = ("If", ["yes"], ["y"], {"then_branch": branch, "else_branch": other})
        constants["yes"] = np.array(True)
    return save(path, inputs, outputs, nodes, constants, opset=opset)


def _node(operator, inputs, outputs, attributes=None):
    return helper.make_node(operator, inputs, outputs, **(attributes or {}))
