"""What a target is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgernn.contract import GraphSpec
from edgernn.models import Graph
from edgernn.runtime import BundleEngine

__all__ = ["Artifact", "GraphReport", "Target", "Weight"]


@dataclass(frozen=True)
class Weight:
    """How one weight matrix is kept. scales: what shares one. arithmetic: of the products that take it."""

    name: str
    shape: tuple[int, ...]
    bits: int
    scales: str
    arithmetic: str

    def to_json(self) -> dict[str, Any]:
        """As the manifest holds it."""
        return {**asdict(self), "shape": list(self.shape)}


@dataclass(frozen=True)
class Artifact:
    """The content of a graph file, and what became of its weight matrices where the precision is not fp32."""

    data: bytes
    weights: tuple[Weight, ...] = ()


@dataclass(frozen=True)
class GraphReport:
    """What is in a graph file.

    parameters: elements of its constant tensors. operators: how often each occurs. opset, ir_version: of ONNX, else
    None. quantised: whether any weight is stored in integers. contract: what the file itself says of how it is driven.
    """

    parameters: int
    operators: Mapping[str, int]
    opset: int | None = None
    ir_version: int | None = None
    quantised: bool = False
    contract: GraphSpec | None = None


@dataclass(frozen=True)
class Target:
    """One kind of artifact.

    suffix: of its graph files. write: exports a graph at a precision. engine: runs it here.
    inspect: looks into it. precisions: what it can be written at.
    legacy: what the user should know before relying on it, or empty.
    """

    name: str
    suffix: str
    write: Callable[[Graph, str], Artifact]
    engine: type[BundleEngine]
    inspect: Callable[[bytes], GraphReport]
    precisions: tuple[str, ...] = ("fp32",)
    legacy: str = ""
