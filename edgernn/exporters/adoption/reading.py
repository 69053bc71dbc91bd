"""Read an ONNX file: load external weights, inline functions, and require tensors as inputs and outputs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import external_data_helper, helper, inliner

from edgernn.contract import DTYPES
from edgernn.errors import ConfigError, EngineError, ExportError, first_line
from edgernn.exporters.adoption.graph import OpenGraph, all_tensors, free_name
from edgernn.exporters.adoption.names import contract_name, name_axes, name_tensors
from edgernn.exporters.capture.rewrite import subgraphs
from edgernn.paths import Kind, identify, refusal
from edgernn.runtime.program import STEP

__all__ = ["check_types", "external_bytes", "open_graphs", "read_model"]

_LARGEST = (2 << 30) - 1  # bytes of a protobuf message
_LONGEST_GRAPH_NAME = 60  # characters; file paths in a bundle contain it together with the name of a tensor
_SCOPED = 4  # since this IR version constants need not be listed among the inputs


def open_graphs(files: Sequence[Path]) -> list[OpenGraph]:
    """Return the graphs in `files` for adoption: a single one is called `step`, several are named after the files.

    Raises EngineError for a file that is not an ONNX file or whose weights are missing, ExportError for one whose
    inputs and outputs a contract cannot describe, ConfigError for two files of the same name.
    """
    names = [STEP] if len(files) == 1 else [contract_name(file.stem, _LONGEST_GRAPH_NAME) for file in files]
    for name, file in zip(names, files, strict=True):
        if names.count(name) > 1:
            raise ConfigError(f"{file}: another file gives its graph the name {name} too: rename one of the files")
    return [_open(name, file) for name, file in zip(names, files, strict=True)]


def read_model(path: Path) -> onnx.ModelProto:
    """Return the model in a file, with its external weights.

    Raises EngineError for a file that cannot be read or is not an ONNX file, or whose weights are missing, truncated,
    in another directory, or larger than 2 GiB in total.
    """
    model = _parse(path)
    size = model.ByteSize() + sum(_claimed(tensor) for tensor in _external(model))
    if size > _LARGEST:
        raise EngineError(f"{path}: {size:,} bytes with its weights: a graph file holds at most {_LARGEST:,}")
    for tensor in _external(model):
        _load_weights(path, tensor)
    return model


def external_bytes(path: Path) -> int:
    """Return the size of a file's external weights in bytes. Raises EngineError if a file is missing."""
    tensors = _external(_parse(path))
    for tensor in tensors:
        _place(path, tensor)
    return sum(map(_stored, tensors))


def check_types(graph: OpenGraph) -> None:
    """Raise ExportError for an input or output of an element type that contracts do not have."""
    for kind, ports in (("input", graph.inputs), ("output", graph.outputs)):
        for port in ports.values():
            if port.kind not in _KINDS:
                raise ExportError(
                    f"graph {graph.name}: {kind} {graph.own(port.name)} holds elements of type {port.type_name}; "
                    f"a contract has {', '.join(DTYPES)}"
                )


_STORED = {kind for name, kind in onnx.TensorProto.DataType.items() if name != "UNDEFINED"}
_KINDS = {helper.np_dtype_to_tensor_dtype(np.dtype(dtype)) for dtype in DTYPES}


def _open(name: str, path: Path) -> OpenGraph:
    model = read_model(path)
    try:
        model = inliner.inline_local_functions(model) if model.functions else model
    except Exception as error:  # noqa: BLE001 - onnx raises bare exceptions
        raise EngineError(f"{path}: its functions cannot be put in place: {first_line(error)}") from None
    _unlist_constants(model)
    _check_borders(path, model)
    graph = OpenGraph(name, model)
    _make_outputs_distinct(graph)
    name_tensors(graph)
    name_axes(graph)
    return graph


def _parse(path: Path) -> onnx.ModelProto:
    """The model in a file, as it stands. Raises EngineError if there is none."""
    if identify(path).kind not in (Kind.ONNX, Kind.FILE):
        raise EngineError(refusal(path, Kind.ONNX))
    try:
        model: onnx.ModelProto = onnx.load_model_from_string(path.read_bytes())
        texts = set(_texts(model.graph))
    except OSError as error:
        raise EngineError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception:  # noqa: BLE001 - protobuf's own exceptions, by implementation
        raise EngineError(f"{path} is not an ONNX file, or a damaged one") from None
    if not all(isinstance(text, str) for text in texts):
        raise EngineError(f"{path} is not an ONNX file: it has names that are not UTF-8")
    for tensor in all_tensors(model):
        if tensor.data_type not in _STORED:
            raise EngineError(f"{path} is not an ONNX file: {tensor.name[:100]!r} has no element type of ONNX")
    if not (model.graph.node or model.graph.output):
        raise EngineError(f"{path} is not an ONNX file: it has no operators")
    return model


def _texts(graph: onnx.GraphProto) -> Iterator[str | bytes]:
    """Yield every name in a graph. A damaged name is bytes, or raises when it is read."""
    yield from (tensor.name for tensor in graph.initializer)
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (entry.name for entry in node.attribute)
        for inner in subgraphs(node):
            yield from _texts(inner)


def _unlist_constants(model: onnx.ModelProto) -> None:
    """Remove constants from the inputs, where old files list them."""
    constants = {tensor.name for tensor in (*model.graph.initializer,)}
    constants |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    given = [value for value in model.graph.input if value.name not in constants]
    if len(given) < len(model.graph.input):
        model.ir_version = max(model.ir_version, _SCOPED)
        _replace(model.graph.input, given)


def _check_borders(path: Path, model: onnx.ModelProto) -> None:
    """Raise ExportError for inputs and outputs that are not tensors, or share a name."""
    for kind, values in (("input", model.graph.input), ("output", model.graph.output)):
        seen: set[str] = set()
        for value in values:
            if not value.name or value.name in seen:
                raise ExportError(
                    f"{path}: {kind} {value.name!r} {'is declared twice' if value.name else 'has no name'}"
                )
            seen.add(value.name)
            _check_tensor(f"{path}: {kind} {value.name}", value.type)
    if not model.graph.output:
        raise ExportError(f"{path}: the graph has no outputs")


def _check_tensor(place: str, kind: onnx.TypeProto) -> None:
    what = kind.WhichOneof("value")
    if what != "tensor_type":
        name = "no type" if what is None else f"the type {what.removesuffix('_type').replace('_', ' ')}"
        raise ExportError(f"{place} is of {name}: a contract holds tensors only")
    for number, dim in enumerate(kind.tensor_type.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value == 0:
            raise ExportError(f"{place} has no elements: the size of its axis {number} is 0")


def _make_outputs_distinct(graph: OpenGraph) -> None:
    """Insert operators for outputs that are themselves inputs or constants."""
    body = graph.model.graph
    made = {name for node in body.node for name in node.output}
    for value in body.output:
        if value.name not in made:
            own = value.name
            value.name = free_name(body, contract_name(f"{own}_out"))
            graph.own_names[value.name] = own
            body.node.append(helper.make_node("Identity", [own], [value.name]))


def _replace(target: object, values: Sequence[onnx.ValueInfoProto]) -> None:
    kept = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in values]
    del target[:]  # type: ignore[attr-defined] # a repeated field of protobuf, which has no public type
    target.extend(kept)  # type: ignore[attr-defined] # as above


def _external(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    return [tensor for tensor in all_tensors(model) if external_data_helper.uses_external_data(tensor)]


def _claimed(tensor: onnx.TensorProto) -> int:
    return int(math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _stored(tensor: onnx.TensorProto) -> int:
    lengths = [entry.value for entry in tensor.external_data if entry.key == "length"]
    return int(lengths[0]) if lengths and lengths[0].isdecimal() else _claimed(tensor)


def _load_weights(path: Path, tensor: onnx.TensorProto) -> None:
    place = _place(path, tensor)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about keys that onnx does not know
            external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
    except Exception as error:  # noqa: BLE001 - onnx raises any exception for a path or size that it refuses
        raise EngineError(f"{place}, which cannot be read: {first_line(error)}") from None
    if len(tensor.raw_data) < _packed(tensor):
        raise EngineError(f"{place}, which is cut: {len(tensor.raw_data)} bytes for {_packed(tensor)}")
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def _place(path: Path, tensor: onnx.TensorProto) -> str:
    """Return the path of external weights, for a message. Raises EngineError if the file is missing."""
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    place = f"{path}: the weights {tensor.name} are in {location!r}"
    if location and not (path.parent / location).exists():
        raise EngineError(f"{place}, which is not beside it")
    return place


def _packed(tensor: onnx.TensorProto) -> int:
    bits = _BITS.get(tensor.data_type, 8 * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize))
    return int(math.prod(tensor.dims) * bits + 7) // 8


_BITS = {
    kind: bits for name, kind in onnx.TensorProto.DataType.items() for bits in (2, 4) if name.endswith(f"INT{bits}")
}
_BITS[onnx.TensorProto.FLOAT4E2M1] = 4
