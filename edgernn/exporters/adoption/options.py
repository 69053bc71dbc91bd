"""The caller's options about graphs, by the names in the files, and what they mean for each graph."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgernn.contract import BATCH, Axis
from edgernn.contract.declaration import check_name
from edgernn.errors import ConfigError, ContractError, few
from edgernn.exporters.adoption.graph import OpenGraph, Port

__all__ = ["AdoptSpec", "Pair", "Wishes", "could_feed"]

_CUT = re.compile(r"(.+)\[(\d{1,9}):(\d{1,9})\]", re.DOTALL)


@dataclass(frozen=True)
class AdoptSpec:
    """How graphs are to be driven, by the names in the files; GRAPH.NAME if several graphs have the name.

    states: INPUT:OUTPUT for each, or a pattern for several, cache_in_*:cache_out_*; for an output that packs several
    states, INPUT:OUTPUT[FROM:TO] selects a part of its last axis. Empty for graphs without states; None to find them by
    names and data flow. conditions: inputs that stay the same for a stream. constants: values of inputs that never
    change. carries: for some inputs, the number of last samples to prepend to the next ones. axes: names or sizes of
    the axes of inputs. example: a `.npz` file of real inputs, each with a leading axis of steps.

    Messages name these fields by the options of `edgernn adopt`: --state for states, --carry for carries.
    Raises ConfigError for an input with more than one of these roles.
    """

    states: Sequence[str] | None = None
    conditions: Sequence[str] = ()
    constants: Mapping[str, float] = field(default_factory=dict)
    carries: Mapping[str, int] = field(default_factory=dict)
    axes: Mapping[str, Sequence[Axis]] = field(default_factory=dict)
    example: Path | None = None

    def __post_init__(self) -> None:
        kinds = {"condition": self.conditions, "constant": self.constants, "carry": self.carries}
        seen: dict[str, str] = {}
        for kind, names in kinds.items():
            for name in names:
                if name in seen:
                    raise ConfigError(f"{name} is named by both --{seen[name]} and --{kind}: leave one of them out")
                seen[name] = kind
        for name, axes in self.axes.items():
            _check_axes(name, axes)

    def wishes(self, graphs: Sequence[OpenGraph]) -> list[Wishes]:
        """Return what the options mean for each of `graphs`. Raises ConfigError for names that no graph has."""
        _check_inputs(self, graphs)
        found = [self._of(graph) for graph in graphs]
        for text in self.states or ():
            pairs = [list(_pairs(text, graph)) for graph in graphs]
            if not any(pairs):
                raise _unknown_state(text, graphs)
            for wishes, each, graph in zip(found, pairs, graphs, strict=True):
                wishes.add(each, graph)
        return found

    def _of(self, graph: OpenGraph) -> Wishes:
        """Return the options for one graph, without its states."""

        def mine(names: Iterable[str]) -> dict[str, str]:
            """Return the given names that are inputs of this graph, by the model's names."""
            return {name: here for name in names if (here := _find(graph, name)) is not None}

        return Wishes(
            states=None if self.states is None else [],
            conditions=tuple(mine(self.conditions).values()),
            constants={here: self.constants[name] for name, here in mine(self.constants).items()},
            carries={here: self.carries[name] for name, here in mine(self.carries).items()},
            axes={here: tuple(self.axes[name]) for name, here in mine(self.axes).items()},
        )


@dataclass(frozen=True)
class Pair:
    """A state, by names in the model: the input that takes it, and the output, or part of one, that returns it."""

    given: str
    made: str
    part: tuple[int, int] | None = None

    def text(self, graph: OpenGraph, prefix: str = "") -> str:
        """Return the state in the format of `--state`."""
        part = "" if self.part is None else f"[{self.part[0]}:{self.part[1]}]"
        return f"{prefix}{graph.own(self.given)}:{graph.own(self.made)}{part}"


@dataclass
class Wishes:
    """The options for one graph, by the names in its model. states: None if they are to be found."""

    states: list[Pair] | None
    conditions: tuple[str, ...]
    constants: Mapping[str, float]
    carries: Mapping[str, int]
    axes: Mapping[str, tuple[Axis, ...]]

    @property
    def other(self) -> set[str]:
        """The inputs that are not states."""
        return {*self.conditions, *self.constants, *self.carries}

    def add(self, pairs: Sequence[Pair], graph: OpenGraph) -> None:
        """Add states. Raises ConfigError for an input or output that is then used twice."""
        assert self.states is not None
        for pair in pairs:
            given, made = graph.own(pair.given), graph.own(pair.made)
            kinds = {"condition": self.conditions, "constant": self.constants, "carry": self.carries}
            for kind, names in kinds.items():
                if pair.given in names:
                    raise ConfigError(f"{given} is named by both --state and --{kind}: leave one of them out")
            for other in self.states:
                if pair.given == other.given:
                    raise ConfigError(f"--state names {given} twice")
                if pair.made == other.made and _overlap(pair.part, other.part):
                    taken = graph.own(other.given)
                    raise ConfigError(
                        f"--state {given}:{made}: the output already feeds the state {taken}, and it can feed only one"
                    )
            self.states.append(pair)


def could_feed(made: Port, given: Port) -> bool:
    """Return whether type and axes of an output allow it to be the next value of an input."""
    if made.kind != given.kind:
        return False
    if made.axes is None or given.axes is None:
        return True
    if len(made.axes) != len(given.axes):
        return False
    return all(a == b or isinstance(a, str) or isinstance(b, str) for a, b in zip(made.axes, given.axes, strict=True))


def _overlap(one: tuple[int, int] | None, other: tuple[int, int] | None) -> bool:
    return one is None or other is None or (one[0] < other[1] and other[0] < one[1])


def _check_axes(name: str, axes: Sequence[Axis]) -> None:
    option = f"--axes {name}={','.join(map(str, axes))}"
    for axis in axes:
        if isinstance(axis, int) and axis < 1:
            raise ConfigError(f"{option}: a size is at least 1")
        if isinstance(axis, str):
            try:
                check_name(axis, f"an axis of {name}")
            except ContractError as error:
                raise ConfigError(f"{option}: {error}") from None
    if list(axes).count(BATCH) > 1:
        raise ConfigError(f"{option} names batch twice: only one axis counts the streams")


def _check_inputs(spec: AdoptSpec, graphs: Sequence[OpenGraph]) -> None:
    options: dict[str, Collection[str]] = {
        "condition": spec.conditions,
        "constant": spec.constants,
        "carry": spec.carries,
        "axes": spec.axes,
    }
    for option, names in options.items():
        for name in names:
            if not any(_find(graph, name) for graph in graphs):
                raise ConfigError(f"--{option} {name}: there is no such input; there is {_known_inputs(graphs)}")


def _known_inputs(graphs: Sequence[OpenGraph]) -> str:
    return few(sorted({graph.own(name) for graph in graphs for name in graph.inputs}))


def _find(graph: OpenGraph, name: str) -> str | None:
    """Return the model's name of an input, given its name in the file or the contract, or GRAPH.NAME."""
    for text in (name, name.removeprefix(f"{graph.name}.")):
        for here in graph.inputs:
            if text == graph.own(here):
                return here
        if text in graph.inputs:
            return text
    return None


def _splits(text: str) -> Iterator[tuple[str, str]]:
    """Yield every split of `text` at a colon, since names may contain colons."""
    return ((text[:place], text[place + 1 :]) for place, sign in enumerate(text) if sign == ":")


def _pairs(text: str, graph: OpenGraph) -> Iterator[Pair]:
    """Yield the states of `graph` that INPUT:OUTPUT, which may be a pattern, describes."""
    outputs = {graph.own(name): name for name in graph.outputs} | {name: name for name in graph.outputs}
    for given, made in _splits(text):
        here = _find(graph, given)
        if here is not None and made in outputs:
            yield Pair(here, outputs[made])
            return
        cut = _CUT.fullmatch(made)
        if here is not None and cut is not None and cut[1] in outputs:
            yield Pair(here, outputs[cut[1]], (int(cut[2]), int(cut[3])))
            return
    for given, made in _splits(text):
        if given.count("*") == made.count("*") == 1:
            inputs = {graph.own(name): name for name in graph.inputs}
            yield from _matches(text, given.removeprefix(f"{graph.name}."), made, inputs, outputs)


def _matches(text: str, given: str, made: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> Iterator[Pair]:
    before, after = given.split("*")
    for own, name in inputs.items():
        if own.startswith(before) and own.endswith(after) and len(own) >= len(before) + len(after):
            other = made.replace("*", own[len(before) : len(own) - len(after)])
            if other not in outputs:
                raise ConfigError(f"--state {text}: the input {own} fits, but there is no output {other}")
            yield Pair(name, outputs[other])


def _unknown_state(text: str, graphs: Sequence[OpenGraph]) -> ConfigError:
    for given, made in _splits(text):
        for graph in graphs:
            if _find(graph, given) is not None:
                known = few(sorted(map(graph.own, graph.outputs)))
                output = cut[1] if (cut := _CUT.fullmatch(made)) else made
                return ConfigError(f"--state {text}: there is no output {output} of {graph.name}; there is {known}")
    if ":" not in text.strip(":"):
        return ConfigError(f"--state {text!r} is not of the form INPUT:OUTPUT")
    given = text.partition(":")[0]
    return ConfigError(f"--state {given}: there is no such input; there is {_known_inputs(graphs)}")
