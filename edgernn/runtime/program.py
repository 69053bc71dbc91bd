"""A program: the loaded graphs of a bundle and the pure step function over them. A stream adds the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from edgernn.arrays import from_npy
from edgernn.bundle import Bundle, Manifest, check_labels, check_text
from edgernn.contract import (
    BATCH,
    Array,
    Contract,
    FeedCheck,
    FromFile,
    GraphSpec,
    State,
    StateSpec,
    check_tensor,
    with_kinds,
)
from edgernn.errors import BundleError, ContractError, FormatError
from edgernn.execution import DEFAULT, Execution
from edgernn.pens import StrokeUnits
from edgernn.runtime.compiled import CompiledEngine
from edgernn.runtime.cursor import Cursor, open_cursor
from edgernn.runtime.engine import DEVICE_ENGINES, BundleEngine, Engine, OnnxEngine
from edgernn.runtime.golden import first_given
from edgernn.runtime.reading import Reading
from edgernn.runtime.text import TextTensors
from edgernn.sampling import Draw, Sampler
from edgernn.tokenizer import Tokenizer

__all__ = ["NOTHING", "STEP", "Program"]

STEP = "step"
NOTHING: Mapping[str, Array] = MappingProxyType({})


@dataclass(frozen=True)
class _Graph:
    """A loaded graph: its specification, its engine, and the check of the arrays that it is called with."""

    spec: GraphSpec
    engine: Engine
    check: FeedCheck
    text: TextTensors


class Program:
    """The graphs of one bundle, ready to run, without a state. Immutable; threads and streams can share it.

    manifest: the bundle's manifest. contract: the manifest's contract; in old bundles that declare no kinds, with the
    kinds that the names of tensors imply. tokenizer: the bundle's, or None for a task without text; a graph with a
    vocabulary of its own has another one, which `text_of` returns with its tensors. labels: the names
    of the bundle's classes, in order, or None for a task without classes. channels: the names of the channels of the
    numbers that it reads, in order, or None if they have none. strokes: the units of the strokes that it draws, or
    None.
    """

    def __init__(
        self, bundle: Bundle, engine: type[BundleEngine] | None = None, execution: Execution = DEFAULT
    ) -> None:
        """Load the graphs of `bundle` in `engine`, or in the device's engine for its target.

        Raises BundleError if its target is not the engine's, or its graphs do not fit its tokenizer; EngineError if a
        graph fails to load, or the engine cannot execute it as `execution` says.
        """
        manifest = bundle.manifest
        engine = engine or DEVICE_ENGINES.get(manifest.target, OnnxEngine)
        if manifest.target != engine.target:
            raise BundleError(
                f"the bundle is for {manifest.target} and {engine.__name__} runs {engine.target}: "
                f"give Model.load an engine, ENGINES[{manifest.target!r}] of edgernn.engines, or export for this one"
            )
        self.manifest: Manifest = manifest
        self.contract: Contract = with_kinds(manifest.contract, manifest.task)
        self.tokenizer: Tokenizer | None = bundle.tokenizer()
        tokenizers = _tokenizers(bundle, self.contract, self.tokenizer)
        self.labels: tuple[str, ...] | None = _labels(bundle, self.contract)
        self.channels: tuple[str, ...] | None = bundle.channels()
        self.strokes: StrokeUnits | None = bundle.strokes()
        self._graphs: dict[str, _Graph] = {
            spec.name: _Graph(
                spec,
                engine(bundle.graph(spec.name), spec, execution, bundle.files),
                FeedCheck(spec),
                TextTensors(spec, tokenizers.get(spec.name, self.tokenizer), manifest.task),
            )
            for spec in self.contract.graphs
        }
        self._vectors = {name: data for name, data in bundle.files.items() if name.startswith("golden/")}
        states = (state for graph in self.contract.graphs for state in graph.states)
        self._tensors = {
            state.initial.file: _tensor(bundle, state.initial.file, state)
            for state in states
            if isinstance(state.initial, FromFile)
        }

    @property
    def title(self) -> str:
        """Task, target, precision and the beginning of the digest, as in "language onnx fp32 4d5363ea"."""
        return self.manifest.title

    def __repr__(self) -> str:
        text = "" if self.tokenizer is None else f", a vocabulary of {len(self.tokenizer):,}"
        return f"<{type(self).__name__} {self.title}: {self.contract!r}{text}>"

    def recorded(self, graph: str) -> dict[str, Array]:
        """Return inputs and conditions in the first golden step of `graph`, by name; empty without golden vectors."""
        return first_given(self._graph(graph).spec, self._vectors)

    def step(
        self,
        inputs: Mapping[str, Array],
        state: Mapping[str, Array] = NOTHING,
        *,
        conditions: Mapping[str, Array] = NOTHING,
        graph: str = STEP,
    ) -> tuple[dict[str, Array], State]:
        """Run one step of `graph` for a batch of streams of any size; returns (outputs, next state), each by name.

        The first state and the conditions come from `begin`; each step returns the state of the next one:

            conditions, state = model.begin()
            for token in tokens:
                outputs, state = model.step({"token": np.array([token])}, state, conditions=conditions)

        Pure: the arguments are not changed and nothing is kept. Raises ContractError for tensors that do not fit.
        """
        loaded = self._graph(graph)
        spec = loaded.spec
        loaded.check(inputs, conditions, state)
        feeds = {**inputs, **conditions}
        for carried in spec.states:
            feeds[carried.input] = state[carried.name]
        results = loaded.engine.run(feeds)
        outputs = {output.name: array for output, array in zip(spec.outputs, results, strict=False)}
        carried_on = results[len(spec.outputs) :]
        return outputs, State({s.name: array for s, array in zip(spec.states, carried_on, strict=True)})

    def cursor(self, conditions: Mapping[str, Array], state: Mapping[str, Array], *, graph: str = STEP) -> Cursor:
        """Return a cursor: one stream of `graph`, for callers that step it very often."""
        loaded = self._graph(graph)
        return open_cursor(loaded.engine, loaded.spec, conditions, state)

    def draw(self, sampler: Sampler, *, graph: str = STEP) -> Draw:
        """Return what draws the tokens of a stream of `graph` as `sampler` does, in the fastest way of its engine."""
        engine = self._graph(graph).engine
        return engine.draw(sampler) if isinstance(engine, CompiledEngine) else sampler

    def floor(self, *, graph: str = STEP) -> Callable[[], object] | None:
        """Return a function that takes the least time that a step of `graph` can take: it only reads the weights.

        None where the engine does not say where they lie.
        """
        engine = self._graph(graph).engine
        return engine.floor() if isinstance(engine, CompiledEngine) else None

    def text_of(self, graph: str) -> TextTensors:
        """Return the tensors of `graph` that read and predict tokens."""
        return self._graph(graph).text

    def reading(self, graph: str, *, batch: int = 1) -> Reading:
        """Return a reading of `graph`, from which streams of other graphs begin: for inputs that arrive in pieces.

            reading = model.reading("read")
            for token in tokens:
                reading.push({"source": np.array([[token]])})
            stream = model.stream(readings=[reading])

        batch: the number of streams that are read at once.
        """
        return Reading(
            self.contract[graph],
            lambda inputs, state: self.step(inputs, state, graph=graph),
            self.begin(graph=graph, batch=batch)[1],
        )

    def begin(
        self,
        inputs: Mapping[str, Array] = NOTHING,
        *,
        graph: str = STEP,
        batch: int = 1,
        readings: Sequence[Reading] = (),
    ) -> tuple[dict[str, Array], State]:
        """Conditions and initial state of a stream of `graph`, which the first `step` is called with.

        inputs: the inputs of the graphs that compute conditions or initial states (an image, for example), and the
        conditions that the caller provides. The inputs of a graph with states are those of its successive steps,
        stacked along a new first axis. batch: the number of streams, if `inputs` do not determine it. readings: in
        place of the inputs of the graphs that they have read.
        Raises ContractError for inputs that are missing, unknown or do not fit.
        """
        spec = self.contract[graph]
        tensors = spec.held
        read = {reading.spec.name: reading for reading in readings}
        unread = [name for name in dict.fromkeys(source.graph for source in spec.sources.values()) if name not in read]
        read |= {name: self._read_source(name, inputs) for name in unread}  # each once, even for several tensors
        values = {name: read[source.graph].value(tensors[name]) for name, source in spec.sources.items()}
        given = [condition.name for condition in spec.conditions if condition.source is None]
        self._check_given(inputs, spec, given, unread)
        values.update((name, np.array(inputs[name])) for name in given)  # the caller may change its arrays later
        conditions = {condition.name: values[condition.name] for condition in spec.conditions}
        sizes: dict[str, int] = {}
        for tensor in tensors.values():
            if tensor.name in values:
                check_tensor(tensor, values[tensor.name], sizes)
        if sizes.setdefault(BATCH, batch) < 1:
            raise ContractError(f"a batch of {batch} streams cannot begin")
        return conditions, State({s.name: self._initial(s, values, sizes) for s in spec.states})

    def _graph(self, name: str) -> _Graph:
        try:
            return self._graphs[name]
        except KeyError:
            return self._graphs[self.contract[name].name]  # raises an error that names the existing graphs

    def _read_source(self, graph: str, inputs: Mapping[str, Array]) -> Reading:
        spec = self.contract[graph]
        for tensor in spec.inputs:
            if tensor.name not in inputs:
                advice = ", or describe image files with edgernn caption" if tensor.kind == "image" else ""
                raise ContractError(
                    f"a stream of this model begins with {tensor.name!r}: give it with inputs={{{tensor.name!r}: …}}"
                    f"{advice}"
                )
        steps = {tensor.name: inputs[tensor.name] for tensor in spec.inputs}
        if not spec.states:
            steps = {name: np.asarray(array)[None] for name, array in steps.items()}
        reading = self.reading(graph, batch=_batch(spec, steps))
        reading.push(steps)
        return reading

    def _check_given(self, inputs: Mapping[str, Array], spec: GraphSpec, given: list[str], sources: list[str]) -> None:
        for name in given:
            if name not in inputs:
                raise ContractError(f"a stream of {spec.name} needs the condition {name!r}: give it with inputs")
        known = {*given, *(tensor.name for source in sources for tensor in self.contract[source].inputs)}
        if unknown := sorted(inputs.keys() - known):
            raise ContractError(f"a stream of {spec.name} does not take {', '.join(map(repr, unknown))}")

    def _initial(self, spec: StateSpec, values: Mapping[str, Array], sizes: Mapping[str, int]) -> Array:
        if spec.name in values:
            return values[spec.name]
        try:
            return spec.first(sizes, self._tensors)
        except ContractError as error:
            raise BundleError(str(error)) from None


def _tokenizers(bundle: Bundle, contract: Contract, tokenizer: Tokenizer | None) -> dict[str, Tokenizer]:
    """Return the tokenizers of graphs that have one of their own. Raises BundleError if the graphs do not fit them."""
    if tokenizer is None:
        return {}
    found = {graph.name: bundle.tokenizer(graph.name) for graph in contract.graphs}
    own = {name: each for name, each in found.items() if each is not None}
    try:
        check_text(contract, tokenizer, own)
    except ContractError as error:
        raise BundleError(str(error)) from None
    return own


def _labels(bundle: Bundle, contract: Contract) -> tuple[str, ...] | None:
    """Return the names of the bundle's classes. Raises BundleError if the graphs do not fit them."""
    labels = bundle.labels()
    if labels is not None:
        try:
            check_labels(contract, labels)
        except ContractError as error:
            raise BundleError(str(error)) from None
    return labels


def _batch(spec: GraphSpec, steps: Mapping[str, Array]) -> int:
    """Return the number of streams that are read at once. steps: the inputs, with a first axis that counts steps."""
    shapes = ((np.shape(steps[tensor.name])[1:], tensor.batch_axis) for tensor in spec.inputs)
    return next((shape[axis] for shape, axis in shapes if axis is not None and axis < len(shape)), 1)


def _tensor(bundle: Bundle, file: str, spec: StateSpec) -> Array:
    try:
        tensor = from_npy(bundle.files[file], file)
    except FormatError as error:
        raise BundleError(str(error)) from None
    if tensor.dtype != spec.numpy_dtype:
        raise BundleError(f"{file} is {tensor.dtype}; the state {spec.name} is declared as {spec.dtype}")
    return tensor
