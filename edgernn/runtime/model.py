"""A loaded bundle: weights and the pure step over them. Whoever carries a state is a stream."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from edgernn.arrays import from_npy
from edgernn.bundle import Bundle, Manifest
from edgernn.contract import BATCH, Array, Contract, FromFile, FromGraph, GraphSpec, State, StateSpec
from edgernn.errors import BundleError, ContractError, FormatError
from edgernn.runtime.cursor import Cursor, open_cursor
from edgernn.runtime.engine import DEVICE_ENGINES, BundleEngine, Engine, OnnxEngine
from edgernn.runtime.scoring import score
from edgernn.runtime.stream import LOGITS, TOKEN, Stream
from edgernn.sampling import Sampler
from edgernn.score import Score
from edgernn.tokenizer import Tokenizer

__all__ = ["STEP", "Model"]

STEP = "step"
_NOTHING: Mapping[str, Array] = MappingProxyType({})


class Model:
    """The graphs of one bundle, ready to run. Immutable: threads and streams share it freely."""

    def __init__(self, bundle: Bundle, engine: type[BundleEngine] | None = None) -> None:
        """Load the graphs of `bundle` in `engine`, or in the device's engine for its target.

        Raises BundleError if its target is not the engine's, EngineError if a graph fails to load.
        """
        manifest = bundle.manifest
        engine = engine or DEVICE_ENGINES.get(manifest.target, OnnxEngine)
        if manifest.target != engine.target:
            raise BundleError(
                f"the bundle is for {manifest.target} and {engine.__name__} runs {engine.target}: "
                "load it with the engine of its target, or export the run again"
            )
        self.manifest: Manifest = manifest
        self.contract: Contract = manifest.contract
        self.tokenizer: Tokenizer | None = bundle.tokenizer()
        self.labels: tuple[str, ...] | None = bundle.labels()
        if self.tokenizer is not None:
            _check_text(self.contract, len(self.tokenizer))
        self._engines: dict[str, tuple[GraphSpec, Engine]] = {
            spec.name: (spec, engine(bundle.graph(spec.name), spec)) for spec in self.contract.graphs
        }
        states = (state for graph in self.contract.graphs for state in graph.states)
        self._tensors = {
            state.initial.file: _tensor(bundle, state.initial.file, state)
            for state in states
            if isinstance(state.initial, FromFile)
        }

    @classmethod
    def load(cls, path: str | Path, engine: type[BundleEngine] | None = None) -> Model:
        """Load the bundle at `path`. Raises BundleError or EngineError, which say what is wrong with it."""
        return cls(Bundle.load(path), engine)

    def step(
        self,
        inputs: Mapping[str, Array],
        state: Mapping[str, Array] = _NOTHING,
        *,
        conditions: Mapping[str, Array] = _NOTHING,
        graph: str = STEP,
    ) -> tuple[dict[str, Array], State]:
        """Run one step of `graph` for any batch of streams: (outputs, next state), by name.

        Pure: the arguments are not changed and nothing is kept. Raises ContractError for tensors that do not fit.
        """
        try:
            spec, engine = self._engines[graph]
        except KeyError:
            spec, engine = self._engines[self.contract[graph].name]
        spec.check(inputs, conditions, state)
        feeds = {**inputs, **conditions}
        for carried in spec.states:
            feeds[carried.input] = state[carried.name]
        results = engine.run(feeds)
        outputs = {output.name: array for output, array in zip(spec.outputs, results, strict=False)}
        carried_on = results[len(spec.outputs) :]
        return outputs, State({s.name: array for s, array in zip(spec.states, carried_on, strict=True)})

    def score(self, text: str) -> Score:
        """How well the model predicts `text`: log-likelihood, perplexity. See `edgernn.runtime.scoring`."""
        return score(self, text)

    def cursor(self, conditions: Mapping[str, Array], state: Mapping[str, Array], *, graph: str = STEP) -> Cursor:
        """Where one stream of `graph` stands, for those that step it very often."""
        spec, engine = self._engines[graph]
        return open_cursor(engine, spec, conditions, state)

    def begin(
        self, inputs: Mapping[str, Array] = _NOTHING, *, graph: str = STEP, batch: int = 1
    ) -> tuple[dict[str, Array], State]:
        """Conditions and initial state of a stream of `graph`.

        inputs: what the graphs that make them need (an image, say), and the conditions that the caller gives.
        batch: number of streams, where `inputs` do not say it.
        """
        spec = self.contract[graph]
        sources = _sources(spec)
        graphs = dict.fromkeys(source.graph for source in sources.values())  # each runs once, whatever it makes
        made = {name: self._run_source(name, inputs) for name in graphs}
        values = {name: made[source.graph][source.output] for name, source in sources.items()}
        given = [condition.name for condition in spec.conditions if condition.source is None]
        self._check_given(inputs, spec, given, list(made))
        values.update((name, np.array(inputs[name])) for name in given)  # the caller may go on to use its own
        conditions = {condition.name: values[condition.name] for condition in spec.conditions}
        sizes: dict[str, int] = {}
        for tensor in (*spec.conditions, *spec.states):
            if tensor.name in values:
                tensor.check(values[tensor.name], sizes)
        if sizes.setdefault(BATCH, batch) < 1:
            raise ContractError(f"a batch of {batch} streams cannot begin")
        return conditions, State({s.name: self._initial(s, values, sizes) for s in spec.states})

    def stream(
        self,
        sampler: Sampler | None = None,
        *,
        inputs: Mapping[str, Array] = _NOTHING,
        graph: str = STEP,
    ) -> Stream:
        """A new stream of `graph` at its initial state; `inputs` as in `begin`."""
        return Stream(self, Sampler() if sampler is None else sampler, inputs, graph)

    def _run_source(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        needed = (spec.name for spec in self.contract[graph].inputs)
        outputs, _ = self.step({name: inputs[name] for name in needed if name in inputs}, graph=graph)
        return outputs

    def _check_given(self, inputs: Mapping[str, Array], spec: GraphSpec, given: list[str], sources: list[str]) -> None:
        for name in given:
            if name not in inputs:
                raise ContractError(f"a stream of {spec.name} needs the condition {name!r}")
        known = {*given, *(tensor.name for source in sources for tensor in self.contract[source].inputs)}
        if unknown := sorted(inputs.keys() - known):
            raise ContractError(f"a stream of {spec.name} begins without {', '.join(map(repr, unknown))}")

    def _initial(self, spec: StateSpec, values: Mapping[str, Array], sizes: Mapping[str, int]) -> Array:
        if spec.name in values:
            return values[spec.name]
        try:
            return spec.first(sizes, self._tensors)
        except ContractError as error:
            raise BundleError(str(error)) from None


def _sources(spec: GraphSpec) -> dict[str, FromGraph]:
    """Which conditions and states another graph makes."""
    made: dict[str, FromGraph] = {c.name: c.source for c in spec.conditions if c.source is not None}
    made.update((s.name, s.initial) for s in spec.states if isinstance(s.initial, FromGraph))
    return made


def _check_text(contract: Contract, vocabulary: int) -> None:
    """Raise BundleError unless every graph that reads and predicts tokens does so with this vocabulary."""
    for graph in contract.graphs:
        tokens = [spec for spec in graph.inputs if spec.name == TOKEN]
        logits = [spec for spec in graph.outputs if spec.name == LOGITS]
        if not (tokens and logits):
            continue
        fits = (tokens[0].axes, tokens[0].bound, logits[0].axes) == ((BATCH,), vocabulary, (BATCH, vocabulary))
        if not fits:
            raise BundleError(f"graph {graph.name} does not read and predict the {vocabulary} tokens of the tokenizer")


def _tensor(bundle: Bundle, file: str, spec: StateSpec) -> Array:
    try:
        tensor = from_npy(bundle.files[file], file)
    except FormatError as error:
        raise BundleError(str(error)) from None
    if tensor.dtype != spec.numpy_dtype:
        raise BundleError(f"{file} is no {spec.dtype} tensor, as state {spec.name} says")
    return tensor
