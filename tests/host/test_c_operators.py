"""Operators of the C target, each against onnxruntime, at all levels of instructions."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgernn.contract import Array, GraphSpec, TensorSpec
from edgernn.errors import ExportError
from edgernn.exporters.c.folding import fold
from edgernn.exporters.c.fusing import fuse
from edgernn.exporters.c.operators import lower
from edgernn.exporters.c.program import Activated, Copy, Program, places
from edgernn.exporters.c.source import write

COMPILER = shutil.which("cc")
pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="needs a C compiler"),
    pytest.mark.matrix,  # each test compiles twice
]
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
Check = Callable[..., list[Array]]


def graph(
    nodes: list[onnx.NodeProto], feeds: Mapping[str, Array], constants: Mapping[str, Array], outputs: int = 1
) -> tuple[bytes, GraphSpec]:
    """A graph from the inputs to y, or y0, y1 …, and its contract."""
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    names = ["y"] if outputs == 1 else [f"y{place}" for place in range(outputs)]
    results = [onnx.ValueInfoProto(name=name) for name in names]
    initialisers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, results, initialisers), opset_imports=opsets, ir_version=10
    )
    data = model.SerializeToString()
    made = onnxruntime.InferenceSession(data).run(None, dict(feeds))
    specs = [
        tuple(TensorSpec(name, str(array.dtype), array.shape) for name, array in named)
        for named in (feeds.items(), zip(names, made, strict=True))
    ]
    return data, GraphSpec("g", specs[0], specs[1])


def compiled(program: Program, folder: Path, *options: str) -> tuple[ctypes.CDLL, bytes]:
    code = write("m", [program], about="A test.", blob=True)
    folder.mkdir()
    (folder / "m.c").write_text(code.source)
    command = [str(COMPILER), "-std=c99", "-O1", "-shared", "-fPIC", *WARNINGS, *options, "m.c", "-o", "m.so"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert code.weights is not None
    return ctypes.CDLL(str(folder / "m.so")), code.weights


def aligned(size: int, fill: int = 0) -> Array:
    room = np.full(size + 64, fill, np.uint8)
    begin = -room.ctypes.data % 64
    return room[begin : begin + size]


def run(
    library: ctypes.CDLL, weights: bytes, program: Program, feeds: Mapping[str, Array], like: list[Array], level: int
) -> list[Array]:
    """The outputs of one step, whose scratch memory holds anything."""
    inputs, outputs = [np.ascontiguousarray(array) for array in feeds.values()], [np.zeros_like(each) for each in like]
    pointers = [(ctypes.c_void_p * len(group))(*(each.ctypes.data for each in group)) for group in (inputs, outputs)]
    stored = aligned(len(weights))
    stored[:] = np.frombuffer(weights, np.uint8)
    scratch = aligned(sum(8 * buffer.room + 64 for buffer in program.buffers.values()), 0xAB)
    step = library.m_g_run
    step.argtypes, step.restype = [ctypes.c_void_p] * 4 + [ctypes.c_int], None
    step(*map(ctypes.addressof, pointers), scratch.ctypes.data, stored.ctypes.data, level)
    return outputs


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Compile a graph, and compare it with onnxruntime and each level with the others."""
    torch.set_flush_denormal(False)  # onnxruntime may have switched it on in an earlier test; portable C leaves it on

    def checked(
        nodes: list[onnx.NodeProto],
        feeds: Mapping[str, Array],
        constants: Mapping[str, Array] | None = None,
        *,
        outputs: int = 1,
        atol: float = 1e-6,
        rtol: float = 1e-6,
        wanted: list[Array] | None = None,
    ) -> list[Array]:
        data, spec = graph(nodes, feeds, constants or {}, outputs)
        program = lower(fold(data, spec, {}))
        wanted = wanted or onnxruntime.InferenceSession(data).run(None, dict(feeds))
        library, weights = compiled(program, tmp_path / "best")
        portable, _ = compiled(program, tmp_path / "portable", "-DM_PORTABLE")
        first = run(library, weights, program, feeds, wanted, 0)
        for other, level in ((library, library.m_level()), (portable, 0)):
            again = run(other, weights, program, feeds, wanted, level)
            assert [each.tobytes() for each in again] == [each.tobytes() for each in first]
        for mine, theirs in zip(first, wanted, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=atol)
        return first

    return checked


def normal(*sizes: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(sizes).astype(np.float32)


def node(operator: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    """A node of tensors named by letters; - leaves one out."""
    given = ["" if each == "-" else each for each in inputs.split()]
    domain = "com.microsoft" if operator.startswith("ms.") else ""
    return helper.make_node(operator.removeprefix("ms."), given, outputs.split(), domain=domain, **attributes)


SPECIAL = np.array([[0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 3.5, 1e-40, 1e30, -1e30, 88.0, -104.0, 0.5, -0.5]], np.float32)


def each(operators: list[str], inputs: str, **attributes: Any) -> list[onnx.NodeProto]:
    """Return a node of each operator, which makes y0, y1 …: one program is compiled for all of them."""
    return [node(operator, inputs, f"y{place}", **attributes) for place, operator in enumerate(operators)]


def test_each_element_is_computed_from_one(check: Check) -> None:
    values = np.concatenate([SPECIAL, 3 * normal(1, 99)], axis=1)
    operators = ["Floor", "Round", "Abs", "Neg", "Relu", "Sigmoid", "Tanh", "Exp", "Erf"]
    made = check(each(operators, "x"), {"x": values}, outputs=len(operators))
    for found, exact in zip(made, (np.floor, np.round, np.abs), strict=False):
        assert np.array_equal(found, exact(values))


def test_each_element_is_computed_from_one_that_is_not_negative(check: Check) -> None:
    values = np.abs(np.concatenate([SPECIAL, 3 * normal(1, 99)], axis=1))
    root, _ = check(each(["Sqrt", "Log"], "x"), {"x": values}, outputs=2)
    assert np.array_equal(root, np.sqrt(values))


@pytest.mark.parametrize(
    "sizes",
    [((1, 3, 5), (1, 3, 5)), ((1, 3, 5), (5,)), ((1, 3, 1), (4, 1, 5)), ((1, 1), (2, 3))],
)
def test_two_tensors_are_broadcast(check: Check, sizes: tuple[tuple[int, ...], ...]) -> None:
    operators = ["Add", "Sub", "Mul", "Div", "Max", "Min"]
    check(each(operators, "a b"), {"a": normal(*sizes[0])}, {"b": normal(*sizes[1], seed=1)}, outputs=6)


def test_operators_of_three_tensors(check: Check) -> None:
    feeds = {"a": normal(1, 9), "b": normal(1, 9, seed=1)}
    check(each(["Sum", "Max", "Min"], "a b c"), feeds, {"c": normal(9, seed=2)}, outputs=3)


def test_comparisons_choose(check: Check) -> None:
    feeds = {"a": normal(1, 6).round(), "b": normal(1, 6, seed=1).round(), "c": normal(1, 6), "d": normal(1, 1)}
    operators = ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]
    nodes = []
    for place, operator in enumerate(operators):
        nodes += [node(operator, "a b", f"m{place}"), node("Not", f"m{place}", f"n{place}")]
        nodes.append(node("Where", f"n{place} c d", f"y{place}"))
    check(nodes, feeds, outputs=len(operators))


def test_masks_are_joined_and_cast(check: Check) -> None:
    nodes = [
        node("Cast", "a", "b", to=TensorProto.BOOL),
        node("And", "b c", "d"),
        node("Or", "d e", "f"),
        node("Cast", "f", to=TensorProto.FLOAT),
    ]
    masks = {"c": np.array([[True, False, True]]), "e": np.array([[False, False, True]])}
    check(nodes, {"a": np.array([[0, 3, 0]]), **masks})


def test_powers(check: Check) -> None:
    powers = {f"p{place}": np.float32(power) for place, power in enumerate((0.5, 1.0, 2.0, 3.0, -0.5, 1.7))}
    nodes = [node("Pow", f"x {name}", f"y{place}") for place, name in enumerate(powers)]
    check(nodes, {"x": np.abs(normal(1, 20)) + 0.1}, powers, outputs=len(nodes), rtol=3e-6)


def test_clip(check: Check) -> None:
    nodes = [node("Clip", limits, f"y{place}") for place, limits in enumerate(("x l h", "x l", "x - h", "x"))]
    check(nodes, {"x": normal(1, 20)}, {"l": np.float32(-0.5), "h": np.float32(0.3)}, outputs=len(nodes))


def test_remainders_of_integers_have_the_sign_of_the_divisor(check: Check) -> None:
    (made,) = check([node("Mod", "a b")], {"a": np.array([[7, -7, 6, -6]])}, {"b": np.array([3])})
    assert made.tolist() == [[1, 2, 0, 0]]


MOVED: dict[str, tuple[onnx.NodeProto, tuple[int, ...], dict[str, Array]]] = {
    "slice within rows": (
        node("Slice", "x s e a"),
        (1, 4, 6),
        {"s": np.array([1]), "e": np.array([5]), "a": np.array([2])},
    ),
    "slice backwards": (
        node("Slice", "x s e a t"),
        (1, 9),
        {"s": np.array([-1]), "e": np.array([-99]), "a": np.array([1]), "t": np.array([-2])},
    ),
    "gather rows": (node("Gather", "x r", axis=1), (1, 7, 3), {"r": np.array([4, 5, 0, 0, 6, 3])}),
    "transpose": (node("Transpose", "x", perm=[0, 3, 1, 2]), (1, 4, 5, 3), {}),
    "expand": (node("Expand", "x s"), (1, 3, 1), {"s": np.array([2, 3, 4])}),
    "tile": (node("Tile", "x r"), (1, 2, 3), {"r": np.array([1, 2, 3])}),
    "pad": (node("Pad", "x p v"), (1, 3, 4), {"p": np.array([0, 1, 2, 0, 0, 1]), "v": np.float32(7)}),
    "reflect": (node("Pad", "x p", mode="reflect"), (1, 2, 9), {"p": np.array([0, 0, 3, 0, 0, 5])}),
    "reflect one row": (node("Pad", "x p", mode="reflect"), (1, 40), {"p": np.array([0, 20, 0, 30])}),
    "edge": (node("Pad", "x p", mode="edge"), (1, 2, 4), {"p": np.array([0, 0, 2, 0, 0, 3])}),
    "concat rows": (node("Concat", "x x x", axis=2), (1, 12, 3), {}),
    "concat channels": (node("Concat", "x x", axis=-1), (1, 2, 2), {}),
}


@pytest.mark.parametrize("name", MOVED)
def test_elements_move(check: Check, name: str) -> None:
    moved, sizes, constants = MOVED[name]
    check([moved], {"x": normal(*sizes)}, constants, atol=0, rtol=0)


def test_split_within_rows(check: Check) -> None:
    check([node("Split", "x p", "y0 y1", axis=2)], {"x": normal(1, 4, 7)}, {"p": np.array([2, 5])}, outputs=2, rtol=0)


@pytest.mark.parametrize("axis", [0, 1])
def test_one_of_a_table_is_chosen_at_each_step(check: Check, axis: int) -> None:
    check([node("Gather", "t i", axis=axis)], {"i": np.array([3])}, {"t": normal(5, 6)}, rtol=0)


@pytest.mark.parametrize("axes", [[-1], [1], [1, 2], [2, 3], []])
def test_reductions(check: Check, axes: list[int]) -> None:
    inputs, constants = ("x a", {"a": np.array(axes)}) if axes else ("x", {})
    nodes = each(["ReduceSum", "ReduceMean", "ReduceMax"], inputs, keepdims=0 if axes else 1)
    check(nodes, {"x": normal(1, 3, 40, 5)}, constants, outputs=3, atol=1e-5)


@pytest.mark.parametrize("axis", [-1, 1])
def test_softmax(check: Check, axis: int) -> None:
    check(each(["Softmax", "LogSoftmax"], "x", axis=axis), {"x": 5 * normal(2, 3, 37)}, outputs=2, atol=2e-6)


def test_what_is_masked_has_no_share(check: Check) -> None:
    nodes = [node("Where", "m x n", "s"), node("Softmax", "s")]
    feeds = {"m": np.array([[True, False, True, False]]), "x": normal(1, 4)}
    (made,) = check(nodes, feeds, {"n": np.float32(-np.inf)})
    assert made[0, 1] == made[0, 3] == 0


def test_the_first_of_equal_elements_is_the_largest(check: Check) -> None:
    (made,) = check([node("ArgMax", "x", axis=1, keepdims=0)], {"x": np.array([[1, 5, 5, 2]], np.float32)})
    assert made.tolist() == [1]


def test_layer_normalisation(check: Check) -> None:
    constants = {"s": normal(37, seed=1), "b": normal(37, seed=2)}
    check([node("LayerNormalization", "x s b")], {"x": 3 * normal(1, 4, 37) + 1}, constants, atol=3e-6)


@pytest.mark.parametrize("sizes", [((1, 5), (5, 33)), ((1, 7, 5), (5, 83)), ((1, 40), (40, 1))])
def test_products_with_a_constant(check: Check, sizes: tuple[tuple[int, ...], ...]) -> None:
    check([node("MatMul", "x w")], {"x": normal(*sizes[0])}, {"w": normal(*sizes[1], seed=1)}, atol=1e-5)


@pytest.mark.parametrize(
    "sizes", [((1, 5), (5, 33)), ((1, 2, 3, 5), (1, 2, 5, 7)), ((1, 3, 5), (5, 7)), ((3, 5), (1, 4, 5, 7))]
)
def test_products_of_two_tensors(check: Check, sizes: tuple[tuple[int, ...], ...]) -> None:
    check([node("MatMul", "a b")], {"a": normal(*sizes[0]), "b": normal(*sizes[1], seed=1)}, atol=1e-5)


@pytest.mark.parametrize(("rows", "kernel"), [(1, "product_f16"), (7, "products_f16")])
def test_a_matrix_that_half_precision_holds_is_stored_in_it(check: Check, rows: int, kernel: str) -> None:
    weights = {"w": normal(20, 33, seed=1).astype(np.float16).astype(np.float32), "c": normal(20, seed=2)}
    feeds = {"x": normal(rows, 33)}
    check([node("Gemm", "x w c", transB=1)], feeds, weights, atol=1e-5)
    data, spec = graph([node("Gemm", "x w c", transB=1)], feeds, weights)
    assert kernel in lower(fold(data, spec, {})).kernels


def test_products_with_the_identity_are_left_out(check: Check) -> None:
    nodes = [node("MatMul", "i x", "a"), node("MatMul", "a i")]
    check(nodes, {"x": normal(1, 2, 5, 5)}, {"i": np.eye(5, dtype=np.float32)})
    data, spec = graph(nodes, {"x": normal(1, 2, 5, 5)}, {"i": np.eye(5, dtype=np.float32)})
    assert not lower(fold(data, spec, {})).kernels


def test_a_product_is_added_to_what_is_computed(check: Check) -> None:
    feeds = {"x": normal(2, 5), "h": normal(2, 33, seed=1)}
    check([node("Gemm", "x w h")], feeds, {"w": normal(5, 33, seed=2)}, atol=1e-5)


def test_rows_of_bytes(check: Check) -> None:
    random = np.random.default_rng(0)
    constants = {
        "w": random.integers(1, 256, (18, 21), dtype=np.uint8),
        "f": np.float32(0.5),
        "s": np.abs(normal(21, seed=1)),
        "z": np.uint8(128),
        "b": normal(21, seed=2),
    }
    feeds = {"x": random.integers(1, 256, (5, 18), dtype=np.uint8)}
    check([node("ms.MatMulIntegerToFloat", "x w f s z z b")], feeds, constants, rtol=0, atol=0)


@pytest.mark.parametrize("zero", [np.uint8(128), np.uint8(7), np.int8(-3)])
def test_bytes_with_any_zero_point(check: Check, zero: Any) -> None:
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z")]
    check(nodes, {"x": 50 * normal(1, 90)}, {"s": np.float32(0.5), "z": zero}, rtol=0, atol=0)


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "one axis": ((1, 3, 9), (5, 3, 3), {}),
    "one channel, whose rows overlap": ((1, 1, 23), (35, 1, 8), {"strides": [3]}),
    "as wide as what it sees": ((1, 3, 4), (5, 3, 4), {}),
    "one axis, dilated": ((1, 2, 12), (4, 2, 3), {"dilations": [2], "pads": [4, 0]}),
    "padded": ((1, 3, 6, 5), (7, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
    "strided": ((1, 3, 8, 7), (4, 3, 3, 3), {"strides": [2, 2], "pads": [0, 1, 1, 0]}),
    "depthwise": ((1, 4, 6, 5), (8, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1], "strides": [2, 1]}),
    "depthwise, wide": ((1, 37, 5, 4), (37, 1, 3, 2), {"group": 37, "pads": [1, 0, 1, 1], "dilations": [2, 1]}),
    "groups": ((1, 6, 5, 4), (9, 2, 3, 3), {"group": 3, "pads": [1, 1, 1, 1]}),
    "pointwise": ((1, 6, 3, 3), (70, 6, 1, 1), {}),
    "whole": ((1, 6, 3), (40, 6, 3), {}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(check: Check, name: str) -> None:
    sizes, weights, attributes = CONVOLUTIONS[name]
    constants = {"w": normal(*weights, seed=1), "b": normal(weights[0], seed=2)}
    check([node("Conv", "x w b", **attributes)], {"x": normal(*sizes)}, constants, atol=1e-5)


@pytest.mark.parametrize(("axis", "sizes", "scales"), [(1, (9, 32), (9, 2)), (2, (9, 2, 16), (9, 2, 1))])
def test_a_row_of_several_blocks(check: Check, axis: int, sizes: tuple[int, ...], scales: tuple[int, ...]) -> None:
    made = node("GatherBlockQuantized", "w x s", bits=4, block_size=32, gather_axis=0, quantize_axis=axis)
    made.domain = "com.microsoft"
    halves = np.random.default_rng(0).integers(0, 256, sizes).astype(np.uint8)
    check([made], {"x": np.array([7])}, {"w": halves, "s": np.abs(normal(*scales))})


POOLS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "one axis": ((1, 3, 9), {"kernel_shape": [2], "strides": [2]}),
    "padded": ((1, 3, 6, 5), {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [2, 1]}),
    "rounded up": ((1, 2, 8, 7), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
}


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("name", POOLS)
def test_pools(check: Check, operator: str, name: str) -> None:
    sizes, attributes = POOLS[name]
    check([node(operator, "x", **attributes)], {"x": normal(*sizes) - 3})


def test_padding_counts_where_it_is_asked_for(check: Check) -> None:
    sizes, attributes = POOLS["padded"]
    check([node("AveragePool", "x", count_include_pad=1, **attributes)], {"x": normal(*sizes)})


def test_one_convolution_after_another(check: Check) -> None:
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Sub", "t m", "s"),
        node("Conv", "s w b", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "r"),
        node("Conv", "r v", "d", group=20),
        node("Mul", "d g", "e"),
        node("Add", "e d", "f"),
        node("GlobalAveragePool", "f", "y"),
        node("Transpose", "f", "z", perm=[0, 2, 3, 1]),
        node("Softmax", "f", "p"),
    ]
    constants = {"m": normal(3, 1, 1, seed=1), "w": normal(20, 3, 3, 3, seed=2), "b": normal(20, seed=3)}
    constants |= {"v": normal(20, 1, 2, 2, seed=4)}
    feeds = {"x": normal(1, 6, 5, 3), "g": normal(1, 1, 5, 4, seed=5)}
    with_outputs = [*nodes, *(node("Identity", name, f"y{at}") for at, name in enumerate("yzp"))]
    check(with_outputs, feeds, constants, outputs=3, atol=1e-5, rtol=1e-5)


def convolution_of_bytes(x: Array, by: Mapping[str, Array], pads: list[int] | None = None, **attributes: Any) -> Array:
    """QLinearConv with exact sums: those of onnxruntime saturate on a processor without VNNI."""
    axes = x.ndim - 2
    names = {"strides": "stride", "dilations": "dilation", "group": "groups"}
    around = list(zip(pads[:axes], pads[axes:], strict=True)) if pads else [(0, 0)] * axes
    centred = np.pad(x.astype(np.float64) - by["z"], [(0, 0), (0, 0), *around])
    convolution = getattr(torch.nn.functional, f"conv{axes}d")
    tensors = [torch.from_numpy(array.astype(np.float64)) for array in (centred, by["w"], by["b"])]
    sums = convolution(*tensors, **{names[name]: value for name, value in attributes.items()}).numpy()
    scale = (by["s"] * by["f"] / by["t"]).reshape(-1, *[1] * axes)
    return np.clip(np.rint(sums * scale) + by["u"], 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if name != "padded"])
def test_convolutions_of_bytes(check: Check, name: str) -> None:
    sizes, weights, attributes = CONVOLUTIONS[name]
    random = np.random.default_rng(0)
    constants = {
        "s": np.float32(0.02),
        "z": np.uint8(117),
        "w": random.integers(-127, 128, weights, dtype=np.int8),
        "f": np.abs(normal(weights[0], seed=1)) / 100,
        "o": np.int8(0),
        "t": np.float32(0.03),
        "u": np.uint8(100),
        "b": random.integers(-900, 900, weights[0], dtype=np.int32),
    }
    feeds = {"x": random.integers(0, 256, sizes, dtype=np.uint8)}
    nodes = [node("QLinearConv", "x s z w f o t u b", **attributes)]
    wanted = convolution_of_bytes(feeds["x"], constants, **attributes)
    (made,) = check(nodes, feeds, constants, atol=1, rtol=0, wanted=[wanted])
    assert np.mean(made != wanted) < 0.02  # the product of the scales, rounded in another order


def test_sums_of_bytes(check: Check) -> None:
    random = np.random.default_rng(0)
    feeds = {name: random.integers(0, 256, (1, 40), dtype=np.uint8) for name in "ab"}
    scales = {"s": np.float32(0.02), "t": np.float32(0.05), "u": np.float32(0.06)}
    zeros = {"z": np.uint8(3), "y0": np.uint8(90), "w": np.uint8(128)}
    check([node("ms.QLinearAdd", "a s z b t y0 u w")], feeds, scales | zeros, atol=1, rtol=0)


@pytest.mark.parametrize(("axis", "count"), [(0, 5), (1, 3), (2, 4)])
def test_weights_in_bytes_are_numbers_in_c(check: Check, axis: int, count: int) -> None:
    nodes = [node("DequantizeLinear", "w s", "v", axis=axis), node("Conv", "x v")]
    weights = np.random.default_rng(0).integers(-127, 128, (5, 3, 4), dtype=np.int8)
    feeds, constants = {"x": normal(1, 3, 9)}, {"w": weights, "s": np.abs(normal(count)) / 99}
    check(nodes, feeds, constants, atol=1e-5)
    data, spec = graph(nodes, feeds, constants)
    stored = lower(fold(data, spec, {})).weights
    assert [each.dtype for each in stored.values() if each.size >= weights.size].count(np.dtype(np.int8)) == 1
    assert not any(each.dtype == np.float32 and each.size >= 32 * 12 for each in stored.values())


@pytest.mark.parametrize(
    ("operator", "gates", "more"),
    [("LSTM", 4, {}), ("GRU", 3, {"linear_before_reset": 1}), ("GRU", 3, {"linear_before_reset": 0})],
)
@pytest.mark.parametrize("steps", [1, 3])
def test_recurrent_layers(check: Check, operator: str, gates: int, more: dict[str, int], steps: int) -> None:
    size = 6
    constants = {
        "w": normal(1, gates * size, 5, seed=1) / 2,
        "r": normal(1, gates * size, size, seed=2) / 2,
        "b": normal(1, 2 * gates * size, seed=3) / 2,
    }
    states = {"h": normal(1, 1, size, seed=4)} | ({"c": normal(1, 1, size, seed=5)} if operator == "LSTM" else {})
    names = " ".join(f"y{place}" for place in range(1 + len(states)))
    nodes = [node(operator, f"x w r b - {' '.join(states)}", names, hidden_size=size, **more)]
    check(nodes, {"x": normal(steps, 1, 5)} | states, constants, outputs=1 + len(states))


@pytest.mark.parametrize("zeros_first", [False, True])
def test_a_result_is_not_computed_where_zeros_are_written_after_it(zeros_first: bool) -> None:
    data, spec = graph([node("Relu", "x", "a"), node("Pad", "a p")], {"x": normal(3)}, {"p": np.array([2, 2])})
    program = Program(fold(data, spec, {}))
    to = program.result("y")
    clear = partial(program.copy, to, None, 7, "zeros")
    if zeros_first:
        clear()
    program.elementwise("a", "{0}", ["x"])
    if not zeros_first:
        clear()
    program.copy(to.after(2), program.place("a"), 3, "a")
    fuse(program)
    kept = [each for each in program.steps if isinstance(each, Copy) and each.source is not None]
    assert bool(kept) is not zeros_first


ACTIVATED = {  # the sizes of the first outputs, what else is computed of them, and the functions that are expected
    "whole parts": ((128, 128, 128), [], [("NAME_sigmoid({0})", 0, 256), ("NAME_tanh({0})", 256, 128)]),
    "another size": ((128, 100, 156), [], [("NAME_sigmoid({0})", 0, 128)]),
    "outputs that are needed": ((128, 128, 128), [node("Mul", "a b", "more")], [("NAME_tanh({0})", 256, 128)]),
}


@pytest.mark.parametrize("name", ACTIVATED)
def test_functions_of_a_product_follow_its_parts(check: Check, name: str) -> None:
    sizes, others, expected = ACTIVATED[name]
    split = node("Split", "p sizes", "a b c y0", axis=1)
    functions = [node("Sigmoid", "a", "fa"), node("Sigmoid", "b", "fb"), node("Tanh", "c", "fc")]
    results = [
        node("Neg", each, f"y{at}") for at, each in enumerate(["fa", "fb", "fc", *(["more"] if others else [])], 1)
    ]
    nodes = [node("MatMul", "x w", "p"), split, *functions, *others, *results]
    feeds, constants = {"x": normal(1, 24)}, {"w": normal(24, 420, seed=1) / 4, "sizes": np.array([*sizes, 36])}
    check(nodes, feeds, constants, outputs=1 + len(results))
    program = lower(fold(*graph(nodes, feeds, constants, 1 + len(results)), {}))
    steps = [each for each in program.steps if isinstance(each, Activated)]
    begins = {step: next(iter(places(step))).offset for step in steps}
    made = [(each.expression, each.to.offset - begins[step], each.count) for step in steps for each in step.functions]
    assert made == expected


def test_all_operators_without_a_kernel_are_named_at_once() -> None:
    nodes = [node("Asinh", "x", "a"), node("Atanh", "a", "b"), node("Relu", "b")]
    data, spec = graph(nodes, {"x": normal(1, 3) / 9}, {})
    with pytest.raises(ExportError, match=r"Asinh \(which makes a\); Atanh \(which makes b\)$"):
        lower(fold(data, spec, {}))
