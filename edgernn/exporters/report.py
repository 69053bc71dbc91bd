"""Describe in words how an export below fp32 stores each matrix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from edgernn.errors import ExportError, few
from edgernn.exporters.target import Weight

__all__ = ["BITS", "check_quantised", "larger", "summary"]

BITS = {"fp16": 16, "int8": 8, "int4": 4}
"""The bits of a weight at each precision below fp32."""


def summary(precision: str, weights: Mapping[str, Sequence[Weight]]) -> str:
    """Return how many matrices have the bits of `precision`, and why others do not; "" at fp32."""
    if precision not in BITS:
        return ""
    all_weights = _by_name(weights)
    left = {name: weight for name, weight in all_weights.items() if weight.bits > BITS[precision]}
    text = f"{len(all_weights) - len(left)} of {len(all_weights)} matrices are stored in {BITS[precision]} bits"
    return "; ".join([text, *_reasons(left)])


def check_quantised(precision: str, weights: Mapping[str, Sequence[Weight]]) -> None:
    """Raise ExportError if no matrix of any graph has the bits of `precision`."""
    if precision not in BITS:
        return
    all_weights = _by_name(weights)
    if any(weight.bits <= BITS[precision] for weight in all_weights.values()):
        return
    graphs = f"graph{'s' if len(weights) > 1 else ''} {', '.join(weights)}"
    reasons = "; ".join(_reasons(all_weights)) or "it has no floating-point matrix of two axes or more"
    raise ExportError(f"no weight matrix of {graphs} can be stored at {precision}: {reasons}; export at fp32")


def larger(precision: str, bytes: int, single: int | None) -> str:
    """Return a sentence if a bundle is not smaller than at fp32; "" if it is smaller, or if that is unknown."""
    if precision not in BITS or single is None or bytes < single:
        return ""
    return (
        f"{precision} takes {bytes:,} bytes and fp32 {single:,}: scales and operators outweigh what so few weights save"
    )


def _by_name(weights: Mapping[str, Sequence[Weight]]) -> dict[str, Weight]:
    """Return each matrix by its name in its graph; if it is stored in two ways, the one with more bits."""
    found: dict[str, Weight] = {}
    for graph, each in weights.items():
        for weight in each:
            name = weight.name if len(weights) == 1 else f"{graph}: {weight.name}"
            if name not in found or found[name].bits < weight.bits:
                found[name] = weight
    return found


def _reasons(weights: Mapping[str, Weight]) -> Iterable[str]:
    groups: dict[tuple[int, str], list[str]] = {}
    for name, weight in weights.items():
        groups.setdefault((weight.bits, weight.reason), []).append(name)
    for (bits, reason), names in groups.items():
        yield f"{few(names)} {'stays' if len(names) == 1 else 'stay'} in {bits} bits: {reason}"
