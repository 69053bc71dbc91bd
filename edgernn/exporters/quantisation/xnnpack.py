"""int8 for ExecuTorch, with the quantiser of its XNNPACK backend.

Linear layers, and products that can be written as linear layers, have per-channel scales and dynamically quantised
activations, with one scale per row. Embeddings are stored in 8 bits. Convolutions use static quantisation if there are
real inputs for calibration.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from edgernn.exporters.capture.fx import constant, constants, fold, forget_unused, place_constant
from edgernn.exporters.quantisation.rounding import TINY, harm, round_channels
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.target import NO_WEIGHT, Weight, is_matrix, weight_name

__all__ = ["quantised"]

_aten = torch.ops.aten
_CONVOLUTIONS = (_aten.conv1d.default, _aten.conv2d.default)
_TRANSPOSED = (_aten.conv_transpose1d.default, _aten.conv_transpose2d.input)
_PRODUCTS = {
    *(_aten.linear.default, _aten.matmul.default, _aten.mm.default, _aten.bmm.default, _aten.einsum.default),
    *(_aten.bilinear.default, _aten.embedding.default, _aten.index.Tensor, *_CONVOLUTIONS, *_TRANSPOSED),
}
_ROWS = ("each output", "int8, dynamic quantisation per row")
_RANGES = ("each output", "int8, static quantisation")
_TABLE = ("each column", "fp32")
_NOT_SINGLE = "its elements are {}, and XNNPACK quantises float32 only: call .float() and declare float32"
_NO_RANGES = "convolutions are quantised only with examples, which calibrate their activations"
_NO_TRANSPOSED = "transposed convolutions are not quantised for XNNPACK"
_OTHER = "only linear layers, convolutions and tables are quantised for XNNPACK"


def quantised(
    program: fx.GraphModule,
    tensors: tuple[Tensor, ...],
    examples: Sequence[tuple[Tensor, ...]],
    quantization: Quantization,
) -> tuple[fx.GraphModule, tuple[Weight, ...]]:
    """Return `program` with its matrices quantised to 8 bits, and how each matrix is stored.

    tensors: arbitrary inputs. examples: real inputs, for calibration.
    """
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    names = fold(program)
    kept = {
        name: reason
        for name, tensor in _matrices(program).items()
        if (reason := _kept(_called(names, name), tensor, _takers(program, name), quantization))
    }
    weights = _round_lookups(program, names, kept)
    transposed = _as_linear(program)
    names.update(transposed)
    kept.update({name: kept[old] for name, old in transposed.items() if old in kept})
    matrices = _matrices(program)
    others = {name: _left(_takers(program, name), ranges=bool(examples)) for name in matrices}
    prepared = prepare_pt2e(program, _quantizer(kept, static=bool(examples)))
    for inputs in examples or [tensors]:
        prepared(*inputs)
    converted = convert_pt2e(prepared)
    forget_unused(converted)
    left = constants(converted)
    for name, tensor in matrices.items():
        about = _called(names, name), tuple(tensor.shape)
        if name in left:
            bits = 8 * tensor.element_size()
            weights.append(Weight(*about, bits, "none", f"fp{bits}", kept.get(name) or others[name]))
        else:
            weights.append(Weight(*about, 8, *(_ROWS if tensor.ndim == 2 else _RANGES)))
    return converted, tuple(weights)


def _matrices(program: fx.GraphModule) -> dict[str, Tensor]:
    floats = {name: tensor for name, tensor in constants(program).items() if tensor.is_floating_point()}
    return {name: tensor for name, tensor in floats.items() if is_matrix(tensor.shape)}


def _called(names: Mapping[str, str], name: str) -> str:
    """Return the network's own name of a matrix."""
    while name in names:
        name = names[name]
    return weight_name(name)


def _takers(program: fx.GraphModule, name: str) -> set[Any]:
    """Return the operators that use a constant."""
    nodes = (node for node in program.graph.nodes if node.op == "get_attr" and node.target == name)
    return {user.target for node in nodes for user in node.users}


def _kept(name: str, tensor: Tensor, takers: Collection[Any], quantization: Quantization) -> str:
    """Return why a matrix must not be quantised, or ""."""
    if kept := quantization.reason_to_keep(name):
        return kept
    if not _PRODUCTS.intersection(takers):
        return NO_WEIGHT
    if tensor.dtype != torch.float32:
        return _NOT_SINGLE.format(str(tensor.dtype).removeprefix("torch."))
    return harm(tensor.numpy())


def _left(takers: Collection[Any], *, ranges: bool) -> str:
    """Return why a matrix that these operators use is not quantised, if that is so."""
    if not ranges and {*_CONVOLUTIONS}.intersection(takers):
        return _NO_RANGES
    return _NO_TRANSPOSED if {*_TRANSPOSED}.intersection(takers) else _OTHER


def _quantizer(kept: Collection[str], *, static: bool) -> Any:
    """Return a quantiser: dynamic for linear layers and, if `static`, static for convolutions."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e import PerChannelMinMaxObserver

    def config(*, dynamic: bool) -> Any:
        usual = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=dynamic)
        observer = PerChannelMinMaxObserver.with_args(eps=TINY)  # the default of eps, 2**-12, loses small weights
        return replace(usual, weight=replace(usual.weight, observer_or_fake_quant_ctr=observer))

    quantizer = XNNPACKQuantizer()
    quantizer.transform_for_annotation = lambda model: model  # the default turns every added number into a float
    quantizer.set_filter_function(lambda node: not any(each.target in kept for each in node.all_input_nodes))
    quantizer.set_operator_type(_aten.linear.default, config(dynamic=True))
    for convolution in _CONVOLUTIONS if static else ():
        quantizer.set_operator_type(convolution, config(dynamic=False))
    return quantizer


def _round_lookups(program: fx.GraphModule, names: Mapping[str, str], kept: Collection[str]) -> list[Weight]:
    """Replace embeddings by look-ups in tables of bytes, with a scale for each column."""
    weights: dict[str, Weight] = {}
    for node in list(program.graph.nodes):
        found = _lookup(program, node)
        if found is None or found[0] in kept:
            continue
        (name, places), call = found, program.graph.call_function
        table = constant(program, name)
        levels, scales = map(torch.from_numpy, round_channels(table.numpy()))
        with program.graph.inserting_before(node):
            stored = _once(program, f"levels_of_{name}".replace(".", "_"), levels)
            steps = _once(program, f"scales_of_{name}".replace(".", "_"), scales[0])
            rows = call(_aten.embedding.default, (stored, places))
            scaled = call(_aten.mul.Tensor, (call(_aten.to.dtype, (rows, torch.float32)), steps))
        node.replace_all_uses_with(scaled)
        program.graph.erase_node(node)
        weights[name] = Weight(_called(names, name), tuple(table.shape), 8, *_TABLE)
    forget_unused(program)
    return list(weights.values())


def _lookup(program: fx.GraphModule, node: Any) -> tuple[str, Any] | None:
    """Return the table and the indices of a look-up `node`, or None for another node."""
    if node.target not in (_aten.embedding.default, _aten.index.Tensor) or node.args[0].op != "get_attr":
        return None
    name, places = str(node.args[0].target), node.args[1]
    table = constant(program, name)
    if node.target is _aten.index.Tensor:
        if len(places) != 1 or places[0].meta["val"].dtype != torch.int64:
            return None
        (places,) = places
    return (name, places) if table.ndim == 2 and table.is_floating_point() else None


def _once(program: fx.GraphModule, name: str, tensor: Tensor) -> fx.Node:
    return program.graph.get_attr(name) if hasattr(program, name) else place_constant(program, name, tensor)


def _as_linear(program: fx.GraphModule) -> dict[str, str]:
    """Rewrite products with constant matrices as linear layers, which the quantiser supports.

    Returns the old name of each new matrix.
    """
    made: dict[str, str] = {}
    for node in list(program.graph.nodes):
        place = _constant_side(program, node)
        if place is None:
            continue
        given = [*node.args]
        name, call = str(given[place].target), program.graph.call_function
        with program.graph.inserting_before(node):
            if place == 0:  # W x is the transpose of (x transposed) (W transposed)
                columns = call(_aten.transpose.int, (given[1], -2, -1))
                product = call(_aten.linear.default, (columns, given[0]))
                result = call(_aten.transpose.int, (product, -2, -1))
            else:
                new = f"transposed_{name}".replace(".", "_")
                matrix = _once(program, new, constant(program, name).t())
                matrix.meta["val"] = given[1].meta["val"].t()
                made[new] = name
                result = call(_aten.linear.default, (given[0], matrix))
        result.meta = dict(node.meta)
        node.replace_all_uses_with(result)
        program.graph.erase_node(node)
    forget_unused(program)
    return made


def _constant_side(program: fx.GraphModule, node: Any) -> int | None:
    """Return the position of the constant matrix in the product `node`, if the other operand varies and has 2 axes."""
    if node.target not in (_aten.matmul.default, _aten.mm.default):
        return None
    for place in (1, 0):
        one, other = node.args[place], node.args[1 - place]
        if one.op == "get_attr" and other.op != "get_attr" and constant(program, str(one.target)).ndim == 2:
            return place if place == 1 or other.meta["val"].ndim > 1 else None
    return None
