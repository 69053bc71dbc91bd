"""Names of tensors and axes that contracts accept, and the similarity of the names of tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from edgernn.exporters.adoption.graph import OpenGraph, free_name, rename

__all__ = ["contract_name", "is_signal", "is_state_like", "name_axes", "name_tensors", "part_axes", "stem", "words"]

_UNKNOWN = ("", "?", "-1", "None", "unknown", "dynamic")  # placeholders of exporters for axes without a name
_LONGEST = 100  # characters
_FITTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+|[^\W\d_a-zA-Z]+")


def contract_name(own: str, longest: int = _LONGEST) -> str:
    """Return a name that contracts accept, for the file's name `own`."""
    name = re.sub(r"[^A-Za-z0-9_.]", "_", own) or "_"
    return (name if re.match(r"[A-Za-z_]", name) else f"_{name}")[:longest]


def name_tensors(graph: OpenGraph) -> None:
    """Give inputs and outputs distinct names that contracts accept; `own_names` keeps the file's names."""
    body = graph.model.graph
    for value in (*body.input, *body.output):
        own = value.name
        graph.own_names.setdefault(own, own)
        if not _FITTING.fullmatch(own):
            name = free_name(body, contract_name(own))
            rename(body, own, name)
            graph.own_names[name] = graph.own_names.pop(own)


def name_axes(graph: OpenGraph) -> None:
    """Name every axis of unknown size: the file's name, or the tensor's name and the position."""
    given: dict[str, str] = {}  # by the file's names
    for port in graph.inputs.values():
        if port.axes is not None:
            sizes = [size if isinstance(size, str) or size > 0 else "" for size in port.axes]
            axes = [
                size if isinstance(size, int) else _axis_name(port.name, place, size, given)
                for place, size in enumerate(sizes)
            ]
            graph.set_axes(port.name, tuple(axes))
    for value in graph.model.graph.output:
        for place, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param:
                dim.dim_param = given.get(dim.dim_param) or contract_name(dim.dim_param)
            elif dim.dim_value <= 0:
                dim.dim_param = contract_name(f"{value.name[:80]}_{place}")


def part_axes(graph: OpenGraph, names: Iterable[str]) -> bool:
    """Give every axis of unknown size of the inputs `names` its own name; return whether any shared one before."""
    ports, parted = graph.inputs, False
    axes = [axis for port in ports.values() for axis in port.known_axes if isinstance(axis, str)]
    given = {axis: axis for axis in axes}  # no new name is an old one
    for name in names:
        parted |= any(axes.count(axis) > 1 for axis in ports[name].known_axes if isinstance(axis, str))
        own = [
            axis if isinstance(axis, int) else _axis_name(name, place, "", given)
            for place, axis in enumerate(ports[name].known_axes)
        ]
        graph.set_axes(name, tuple(own))
    return parted


def _axis_name(tensor: str, place: int, own: str, given: dict[str, str]) -> str:
    if own in _UNKNOWN:
        own = f"\0{tensor}_{place}"  # no axis of the file has such a name
    if own not in given:
        wished = contract_name(own.lstrip("\0"))
        name, number = wished, 2
        while name in given.values():
            name, number = f"{wished[: _LONGEST - 6]}_{number}", number + 1
        given[own] = name
    return given[own]


def words(name: str) -> list[str]:
    """Return the words of a name in lower case: hidden, state, in and 0 for `hiddenState_in0`."""
    return [word.lower() for word in _WORD.findall(name)]


def stem(name: str) -> tuple[str, ...]:
    """Return the words of a name without a direction: `state_in`, `stateN` and `next_state` have the same."""
    parts = [part for word in words(_PAST.sub("past", name)) for part in _SPLIT.get(word, (word,))]
    parts = ["past" if part == "present" else part for part in parts]
    return tuple(part for part in parts if part not in _DIRECTIONS)


def is_signal(name: str) -> bool:
    """Return whether a name is typical of signals, which are inputs and outputs but not states."""
    return bool(_SIGNALS.intersection(words(name)))


def is_state_like(name: str) -> bool:
    """Return whether a name is typical of states."""
    return bool(_STATES.intersection(stem(name)))


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PAST = re.compile(r"(past|present)_key_values?")
_SPLIT: dict[str, Sequence[str]] = {"hn": ("h",), "cn": ("c",), "hy": ("h",), "cy": ("c",), "hx": ("h",), "cx": ("c",)}
_DIRECTIONS = _set(
    "in out ins outs i o inp outp input output inputs outputs next new nxt updated update prev previous last current "
    "cur old n t init initial final begin end start before after onnx serving default"
)
_SIGNALS = _set(
    "x y u audio frame frames image images img input inputs src obs observation observations token tokens id ids wav "
    "wave waveform signal speech sound sample samples noisy mel mels spec spectrum feature features feat feats pcm "
    "chunk data pixel pixels video text logits mask mix mixture query"
)
_STATES = _set("h c state states hidden cell memory mem cache past carry rnn lstm gru ssm kv")
